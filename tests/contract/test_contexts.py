"""User @contexts: fetched once, kept over a restart, replaceable by local files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from shahar.model.access import ACTS, Scope
from shahar.model.context import CORE
from shahar.model.terms import CORE_URL
from shahar.services.contexts import AGAIN_S, Contexts
from shahar.store import tenants
from shahar.store.db import Database
from shahar.values.bounds import CONTEXT_FRESH_S
from shahar.values.errors import ContextUnavailable, Invalid, NoTenant, NotFound, PeerFailed, TooMany
from shahar.values.instants import SECOND
from tests.engines import store_at
from tests.in_process import asking

pytestmark = pytest.mark.anyio
ADDRESS = "https://a.example/context.jsonld"


class Fetches:
    """A peer that serves documents and counts; None: it is down."""

    def __init__(self, documents: Mapping[str, object] | None) -> None:
        self.documents, self.asked = documents, 0

    async def __call__(self, address: str) -> bytes:
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.documents is None or address not in self.documents:
            raise PeerFailed("down")
        return json.dumps({"@context": self.documents[address]}).encode()


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    """An open store."""
    database = store_at(tmp_path / "shahar.db")
    await database.open()
    yield database
    await database.close()


async def test_a_context_is_fetched_once_however_many_ask(db: Database) -> None:
    fetch = Fetches({ADDRESS: {"speed": "https://a.example/speed"}})
    contexts = Contexts(db, fetch)
    found = await asyncio.gather(*(contexts.get(ADDRESS, 1) for _ in range(20)), contexts.get([ADDRESS], 1))
    assert fetch.asked == 1
    assert {context.expand("speed") for context in found} == {"https://a.example/speed"}


async def test_a_fetched_context_outlives_a_restart_without_network(db: Database) -> None:
    await Contexts(db, Fetches({ADDRESS: {"speed": "https://a.example/speed"}})).get(ADDRESS, 1)
    again = Contexts(db, Fetches(None))
    await again.load()
    assert (await again.get(ADDRESS, 2)).expand("speed") == "https://a.example/speed"


async def test_nested_contexts_are_fetched_too(db: Database) -> None:
    fetch = Fetches({ADDRESS: ["https://a.example/inner"], "https://a.example/inner": {"x": "https://x.example/x"}})
    assert (await Contexts(db, fetch).get(ADDRESS, 1)).expand("x") == "https://x.example/x"


async def test_a_relative_address_in_a_context_is_relative_to_the_context(db: Database) -> None:
    documents: dict[str, object] = {ADDRESS: ["inner.jsonld", {"@import": "/top.jsonld", "y": "https://y.example/y"}]}
    inner: dict[str, object] = {
        "https://a.example/inner.jsonld": {"x": "https://x.example/x"},
        "https://a.example/top.jsonld": {},
    }
    context = await Contexts(db, Fetches(documents | inner)).get(ADDRESS, 1)
    assert (context.expand("x"), context.expand("y")) == ("https://x.example/x", "https://y.example/y")


async def test_scopes_that_are_addresses_are_fetched_too_relative_to_where_they_stand(db: Database) -> None:
    scope = ["car.jsonld", {"owner": {"@id": "https://x.example/owner", "@context": "/human.jsonld"}}]
    documents: dict[str, object] = {
        ADDRESS: {"Car": {"@id": "https://x.example/Car", "@context": scope}},
        "https://a.example/car.jsonld": {"speed": "https://x.example/carSpeed"},
        "https://a.example/human.jsonld": {"name": "https://x.example/humanName"},
    }
    fetch = Fetches(documents)
    car = (await Contexts(db, fetch).get(ADDRESS, 1)).of_types(["Car"])
    assert car.expand("speed") == "https://x.example/carSpeed"
    assert car.within("owner").expand("name") == "https://x.example/humanName"
    assert fetch.asked == 3


async def test_a_scope_that_cannot_be_had_makes_the_context_unavailable(db: Database) -> None:
    scoped = {"Car": {"@id": "https://x.example/Car", "@context": "https://a.example/none"}}
    with pytest.raises(ContextUnavailable):
        await Contexts(db, Fetches({ADDRESS: scoped})).get(ADDRESS, 1)
    many = {f"t{n}": {"@id": "https://x.example/", "@context": f"https://a.example/{n}"} for n in range(40)}
    with pytest.raises(Invalid):
        await Contexts(db, Fetches({f"https://a.example/{n}": {} for n in range(40)})).get(many, 1)


async def test_a_context_that_nests_without_end_is_refused(db: Database) -> None:
    deep: object = {}
    for turn in range(300):
        deep = {"a": {"@id": "https://x.example/a", "@context": deep}} if turn % 2 else [deep]
    with pytest.raises(Invalid):
        await Contexts(db, Fetches({ADDRESS: deep})).get(ADDRESS, 1)
    with pytest.raises(Invalid):
        await Contexts(db, Fetches(None)).get(deep, 1)


async def test_a_local_file_stands_in_for_the_network(db: Database, tmp_path: Path) -> None:
    (tmp_path / "c.jsonld").write_text(json.dumps({"@context": {"x": "https://x.example/x"}}))
    fetch = Fetches(None)
    assert (await Contexts(db, fetch, table={ADDRESS: tmp_path / "c.jsonld"}).get(ADDRESS, 1)).expand(
        "x"
    ) == "https://x.example/x"
    assert fetch.asked == 0


async def test_an_unreachable_context_is_the_peers_fault_and_is_tried_again(db: Database) -> None:
    fetch = Fetches(None)
    contexts = Contexts(db, fetch)
    for _ in range(2):
        with pytest.raises(ContextUnavailable):
            await contexts.get(ADDRESS, 1)
    assert fetch.asked == 2


async def test_core_contexts_are_never_fetched(db: Database) -> None:
    fetch = Fetches(None)
    contexts = Contexts(db, fetch)
    assert await contexts.get(None, 1) is CORE
    core = await contexts.get("https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.6.jsonld", 1)
    assert core.expand("location") == "https://uri.etsi.org/ngsi-ld/location" and fetch.asked == 0


async def test_too_many_contexts_are_refused(db: Database) -> None:
    with pytest.raises(Invalid):
        await Contexts(db, Fetches({f"https://a.example/{n}": {} for n in range(40)})).get(
            [f"https://a.example/{n}" for n in range(40)], 1
        )


# -- management (5.13) ------------------------------------------------------------------------------------------------


async def test_a_hosted_context_is_used_by_its_address_without_a_fetch_and_outlives_a_restart(db: Database) -> None:
    fetch = Fetches(None)
    contexts = Contexts(db, fetch, base="http://city.example")
    entry = await contexts.add("", {"speed": "https://a.example/speed"}, 5)
    address = contexts.address(entry)
    assert (await contexts.get([address], 6)).expand("speed") == "https://a.example/speed"
    assert (entry.hits, entry.used, entry.created) == (1, 6, 5)
    again = Contexts(db, fetch, base="https://other.example")
    await again.load()
    assert (await again.get(address, 7)).expand("speed") == "https://a.example/speed"
    assert (await again.find("", entry.id)).created == 5 and fetch.asked == 0


async def test_a_deleted_context_is_forgotten_by_what_was_compiled_from_it(db: Database) -> None:
    fetch = Fetches({ADDRESS: {"speed": "https://a.example/speed"}})
    contexts = Contexts(db, fetch)
    await contexts.get([ADDRESS, {"x": "https://a.example/x"}], 1)
    await contexts.delete("", ADDRESS, 2)
    with pytest.raises(NotFound):
        await contexts.find("", ADDRESS)
    await contexts.get([ADDRESS, {"x": "https://a.example/x"}], 3)
    assert fetch.asked == 2
    again = Contexts(db, fetch)
    await again.load()
    assert [entry.created for entry in await again.listed("", "Cached")] == [0, 3]


async def test_a_reload_takes_what_is_there_now_and_a_failed_one_changes_nothing(db: Database) -> None:
    fetch = Fetches({ADDRESS: {"x": "https://a.example/old"}})
    contexts = Contexts(db, fetch)
    assert (await contexts.get(ADDRESS, 1)).expand("x") == "https://a.example/old"
    for documents in (None, {ADDRESS: 7}, {ADDRESS: {"a": "b:c", "b": "a:c"}}):
        fetch.documents = documents
        with pytest.raises(ContextUnavailable):
            await contexts.reload("", ADDRESS, 2)
        assert (await contexts.get(ADDRESS, 3)).expand("x") == "https://a.example/old"
    fetch.documents = {ADDRESS: {"x": "https://a.example/new"}}
    await contexts.reload("", (await contexts.find("", ADDRESS)).id, 4)
    assert (await contexts.get(ADDRESS, 5)).expand("x") == "https://a.example/new"
    assert (await contexts.find("", ADDRESS)).created == 4


async def test_what_is_not_a_copy_is_not_reloaded_and_the_core_is_not_deleted(db: Database) -> None:
    contexts = Contexts(db, Fetches(None))
    hosted = await contexts.add("", {"x": "https://x.example/x"}, 1)
    for name in (hosted.id, "nothing"):
        with pytest.raises(Invalid):
            await contexts.reload("", name, 2)
    with pytest.raises(NotFound):
        await contexts.delete("", "nothing", 2)
    with pytest.raises(Invalid):
        await contexts.delete("", CORE_URL, 2)
    await contexts.reload("", CORE_URL, 2)
    assert (await contexts.find("", (await contexts.find("", CORE_URL)).id)).key == CORE_URL


async def test_an_old_copy_is_fetched_again_beside_the_request_and_serves_while_its_source_is_silent(
    db: Database,
) -> None:
    fetch = Fetches({ADDRESS: {"x": "https://a.example/old"}})
    contexts = Contexts(db, fetch)
    await contexts.get(ADDRESS, 1)
    later = 2 + CONTEXT_FRESH_S * SECOND
    fetch.documents = None
    assert (await contexts.get(ADDRESS, later)).expand("x") == "https://a.example/old"
    await asyncio.sleep(0.05)
    assert fetch.asked == 2
    await contexts.get(ADDRESS, later + 1)
    fetch.documents = {ADDRESS: {"x": "https://a.example/new"}}
    again = later + AGAIN_S * SECOND
    assert (await contexts.get(ADDRESS, again)).expand("x") == "https://a.example/old"
    await asyncio.sleep(0.05)
    assert fetch.asked == 3
    assert (await contexts.get(ADDRESS, again + 1)).expand("x") == "https://a.example/new"


async def test_a_tenants_contexts_are_its_own(db: Database) -> None:
    await db.write(lambda tx: tenants.make(tx, "harbour", 1))
    fetch = Fetches({ADDRESS: {"x": "https://a.example/x"}})
    contexts = Contexts(db, fetch, base="http://city.example")
    mine = await contexts.add("harbour", {"sail": "https://a.example/sail"}, 1)
    await contexts.get(ADDRESS, 1, "harbour")
    assert [entry.kind for entry in await contexts.listed("harbour")] == ["Cached", "Hosted", "Cached"]
    assert [entry.key for entry in await contexts.listed("")] == [CORE_URL]
    for name in (mine.id, ADDRESS):
        with pytest.raises(NotFound):
            await contexts.delete("", name, 2)
    fetch.documents = None
    with pytest.raises(ContextUnavailable):
        await contexts.get(contexts.address(mine), 2)
    with pytest.raises(NoTenant):
        await contexts.listed("nobody")
    with pytest.raises(NoTenant):
        await contexts.add("nobody", {}, 1)


async def test_a_tenant_that_was_never_made_leaves_nothing_behind(db: Database) -> None:
    fetch = Fetches({ADDRESS: {"x": "https://a.example/x"}})
    contexts = Contexts(db, fetch)
    assert (await contexts.get(ADDRESS, 1, "nobody")).expand("x") == "https://a.example/x"
    await contexts.get(ADDRESS, 1, "nobody")
    assert fetch.asked == 2 and await db.read(tenants.names) == {1: ""}


async def test_contexts_of_many_share_one_address_of_ours_and_one_of_their_own_keeps_it(db: Database) -> None:
    other = "https://b.example/context.jsonld"
    contexts = Contexts(db, Fetches({ADDRESS: {}, other: {}}), base="http://city.example")
    implied = await contexts.imply("", [ADDRESS, other], 1)
    assert implied.startswith("http://city.example/ngsi-ld/v1/jsonldContexts/")
    assert await contexts.imply("", [ADDRESS, other], 2) == implied
    assert await contexts.imply("", [ADDRESS, CORE_URL], 1) == ADDRESS
    assert await contexts.imply("", None, 1) == CORE_URL
    found = await contexts.find("", implied)
    assert (found.kind, found.document, found.hits) == ("ImplicitlyCreated", [ADDRESS, other], 0)
    assert len(await contexts.listed("", "ImplicitlyCreated")) == 1


@pytest.mark.parametrize(
    "document", [True, 7, "nowhere.jsonld", [7], {"x": 7}, {"a": "b:c", "b": "a:c"}, ["urn:x:y"], {"@import": "z"}]
)  # fmt: skip
async def test_what_is_no_context_is_not_hosted(db: Database, document: object) -> None:
    contexts = Contexts(db, Fetches(None))
    with pytest.raises(Invalid):
        await contexts.add("", document, 1)
    assert await contexts.listed("", "Hosted") == []


async def test_only_so_many_contexts_are_hosted_and_copied(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shahar.services.contexts.CONTEXTS_HOSTED", 2)
    monkeypatch.setattr("shahar.services.contexts.CONTEXTS_KEPT", 2)
    names = [f"https://a.example/{number}" for number in range(3)]
    contexts = Contexts(db, Fetches({name: {} for name in names}))
    for _ in range(2):
        await contexts.add("", {}, 1)
    with pytest.raises(TooMany):
        await contexts.add("", {}, 1)
    for at, name in enumerate([names[0], names[1], names[0], names[2]]):
        await contexts.get(name, at)
    assert [entry.key for entry in await contexts.listed("", "Cached")] == [CORE_URL, names[0], names[2]]


# -- over HTTP (6.29, 6.30) -------------------------------------------------------------------------------------------

PLACE = "/jsonldContexts"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client who may manage contexts and write entities."""
    rights = [Scope(act, what, "") for act in ACTS for what in ("contexts", "entities")]
    async with asking(tmp_path, Fetches({ADDRESS: {"speed": "https://a.example/speed"}}), rights, "") as (found, _):
        yield found


async def test_a_context_is_added_served_listed_and_deleted(client: httpx.AsyncClient) -> None:
    made = await client.post(PLACE, json={"@context": {"x": "https://x.example/x"}, "more": 1})
    assert made.status_code == 201 and not made.content
    place = made.headers["location"]
    name = place.rpartition("/")[2]
    served = await client.get(f"{PLACE}/{name}")
    assert served.json() == {"@context": {"x": "https://x.example/x"}}
    assert served.headers["content-type"] == "application/json"
    told = (await client.get(f"{PLACE}/{name}?details=true")).json()
    assert told["URL"].endswith(place) and told["localId"] == name and told["numberOfHits"] == 1
    assert set(told) == {"URL", "localId", "kind", "createdAt", "numberOfHits", "lastUsage"}
    assert (await client.get(f"{PLACE}?kind=Hosted")).json() == [told["URL"]]
    assert (await client.get(f"{PLACE}?details=true")).json()[1]["localId"] == name
    assert (await client.delete(f"{PLACE}/{name}")).status_code == 204
    assert (await client.get(f"{PLACE}/{name}")).status_code == 404


async def test_a_copy_is_told_of_by_its_address_and_never_served(client: httpx.AsyncClient) -> None:
    link = {"link": f'<{ADDRESS}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'}
    assert (await client.get("/entities?type=Car", headers=link)).status_code == 200
    address = quote(ADDRESS, safe="")
    told = (await client.get(f"{PLACE}/{address}?details=true")).json()
    assert told["URL"] == ADDRESS and told["kind"] == "Cached" and told["expiresAt"] > told["createdAt"]
    assert (await client.get(f"{PLACE}/{told['localId']}?details=true")).json()["URL"] == ADDRESS
    refused = await client.get(f"{PLACE}/{address}")
    assert refused.status_code == 422 and refused.json()["type"].endswith("/OperationNotSupported")
    assert (await client.delete(f"{PLACE}/{address}?reload=true")).status_code == 204
    assert (await client.delete(f"{PLACE}/{address}")).status_code == 204
    assert (await client.get(f"{PLACE}?kind=Cached")).json() == [CORE_URL]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "problem"),
    [
        ("POST", PLACE, '{"x": 1}', 400, "InvalidRequest"),
        ("POST", PLACE, "[]", 400, "InvalidRequest"),
        ("POST", PLACE, "{", 400, "InvalidRequest"),
        ("POST", PLACE, '{"@context": 1}', 400, "BadRequestData"),
        ("GET", f"{PLACE}?kind=cached", "", 400, "BadRequestData"),
        ("GET", f"{PLACE}?details=1", "", 400, "BadRequestData"),
        ("GET", f"{PLACE}?page=1", "", 400, "InvalidRequest"),
        ("GET", f"{PLACE}/nothing", "", 404, "ResourceNotFound"),
        ("DELETE", f"{PLACE}/nothing", "", 404, "ResourceNotFound"),
        ("DELETE", f"{PLACE}/nothing?reload=true", "", 400, "BadRequestData"),
        ("DELETE", f"{PLACE}/nothing?reload=yes", "", 400, "BadRequestData"),
        ("DELETE", f"{PLACE}/{quote(CORE_URL, safe='')}", "", 400, "BadRequestData"),
    ],
)
async def test_what_is_asked_wrongly_of_contexts_is_told(
    client: httpx.AsyncClient, method: str, path: str, body: str, status: int, problem: str
) -> None:
    answer = await client.request(method, path, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (status, problem)
