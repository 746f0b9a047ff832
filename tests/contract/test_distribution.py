"""Two brokers that know of each other, and sources that hang, babble or lie (ETSI GS CIM 009 4.3.6, 5.6, 5.7)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from shahar.model.access import HOUSE, Scope
from shahar.services.accounts import Accounts
from shahar.values.errors import PeerFailed
from tests.in_process import BASE, NOW, asking

pytestmark = pytest.mark.anyio

RIGHTS = [Scope(act, what, "*") for act in ("read", "write") for what in ("entities", "registrations", "temporal")]
D = "https://uri.etsi.org/ngsi-ld/default-context/"
E1 = "urn:ngsi-ld:Car:1"

Answer = tuple[int, dict[str, str], bytes]
Ask = Callable[[str, str, Sequence[tuple[str, str]], bytes | None], Awaitable[Answer]]


@dataclass
class Door:
    """The way out: hosts that answer, and what they were asked."""

    hosts: dict[str, Ask] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)

    async def ask(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes | None, max_bytes: int
    ) -> Answer:
        """Hand a request to its host."""
        self.asked.append((method, url, dict(headers), json.loads(body) if body else None))
        host = httpx.URL(url).host
        if host not in self.hosts:
            raise PeerFailed(f"{host} could not be reached")
        answer = await self.hosts[host](method, url, headers, body)
        assert len(answer[2]) <= max_bytes
        return answer


def saying(status: int, document: Any = None) -> Ask:
    """A source that answers so."""

    async def ask(_method: str, _url: str, _headers: Sequence[tuple[str, str]], _body: bytes | None) -> Answer:
        content = (
            document if isinstance(document, bytes) else b"" if document is None else json.dumps(document).encode()
        )
        return status, {}, content

    return ask


async def hanging(_method: str, _url: str, _headers: Sequence[tuple[str, str]], _body: bytes | None) -> Answer:
    """A source that takes the request and never answers."""
    await asyncio.sleep(60)
    raise AssertionError("nobody waits so long")


@dataclass
class City:
    """A broker here that may know sources, one of which is a broker itself (`there`, at host `there`)."""

    here: httpx.AsyncClient
    accounts: Accounts
    there: httpx.AsyncClient
    door: Door
    alias: str
    count: int = 0

    async def register(self, host: str = "there", within: str = "", **members: Any) -> str:
        """Register a source of cars; its registration's id."""
        self.count += 1
        registration_id = f"urn:ngsi-ld:ContextSourceRegistration:{self.count}"
        body = {
            "id": registration_id,
            "type": "ContextSourceRegistration",
            "endpoint": f"http://{host}",
            "information": [{"entities": [{"type": "Car"}]}],
            "operations": ["redirectionOps", "queryBatch"],
            **members,
        }
        headers = {"ngsild-tenant": within} if within else {}
        answer = await self.here.post(f"{BASE}/csourceRegistrations", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        return registration_id

    async def make(self, where: httpx.AsyncClient, entity_id: str = E1, kind: str = "Car", **attrs: Any) -> None:
        """An entity at one of the brokers alone."""
        body = {"id": entity_id, "type": kind, **attrs}
        answer = await where.post(f"{BASE}/entities?local=true", json=body)
        assert answer.status_code == 201, answer.text

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask here."""
        return await self.here.get(BASE + path, headers=headers)


def of(value: Any, at: str | None = None) -> dict[str, Any]:
    """A Property."""
    return {"type": "Property", "value": value} | ({"observedAt": at} if at else {})


async def no_context(_address: str) -> bytes:
    """Nothing is fetched here."""
    raise AssertionError("a context was fetched")


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[City]:
    """Two brokers, of which the one knows how to reach the other."""
    door = Door()
    async with AsyncExitStack() as stack:
        for name in ("here", "there"):
            (tmp_path / name).mkdir()
        here, accounts = await stack.enter_async_context(asking(tmp_path / "here", no_context, RIGHTS, "*", door))
        there, _ = await stack.enter_async_context(asking(tmp_path / "there", no_context, RIGHTS, "*", Door()))

        async def pass_on(method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes | None) -> Answer:
            told = [(key, value) for key, value in headers if key.lower() != "authorization"]
            answer = await there.request(method, url.replace("http://there", BASE[:19]), headers=told, content=body)
            return answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content

        door.hosts["there"] = pass_on
        told = await here.get(f"{BASE}/info/sourceIdentity")
        yield City(here, accounts, there, door, told.json()["contextSourceAlias"])


# -- reads ------------------------------------------------------------------------------------------------------------


async def test_an_entity_is_one_however_many_hold_it_and_the_newest_value_counts(city: City) -> None:
    await city.make(city.here, a=of(1, "2026-01-01T00:00:00Z"), b=of("here"))
    await city.make(city.there, a=of(2, "2026-01-02T00:00:00Z"), c=of("there"))
    await city.register()
    whole = (await city.get(f"/entities/{E1}?options=keyValues")).json()
    assert whole == {"id": E1, "type": "Car", "a": 2, "b": "here", "c": "there"}
    assert (await city.get("/entities?type=Car&options=keyValues")).json() == [whole]
    posted = await city.here.post(
        f"{BASE}/entityOperations/query?options=keyValues", json={"type": "Query", "entities": [{"type": "Car"}]}
    )
    assert posted.json() == [whole]


async def test_an_auxiliary_source_only_fills_gaps(city: City) -> None:
    await city.make(city.here, a=of(1, "2026-01-01T00:00:00Z"))
    await city.make(city.there, a=of(2, "2026-01-02T00:00:00Z"), c=of(3))
    await city.register(mode="auxiliary", operations=["retrieveOps"])
    assert (await city.get(f"/entities/{E1}?options=keyValues")).json() == {"id": E1, "type": "Car", "a": 1, "c": 3}


@pytest.mark.parametrize("operation", ["retrieveEntity", "queryEntity", "queryBatch"])
async def test_a_source_is_asked_in_a_way_that_it_offers(city: City, operation: str) -> None:
    await city.make(city.there, c=of(3))
    await city.register(operations=[operation])
    assert (await city.get(f"/entities/{E1}?options=keyValues")).json()["c"] == 3
    assert len(city.door.asked) == 1


async def test_asked_for_what_is_local_nobody_else_is_asked(city: City) -> None:
    await city.make(city.there, c=of(3))
    await city.register()
    assert (await city.get(f"/entities/{E1}?local=true")).status_code == 404
    assert (await city.get("/entities?type=Car&local=true")).json() == []
    assert city.door.asked == []


async def test_filters_hold_for_the_whole_entity_though_no_part_of_it_would_do(city: City) -> None:
    await city.make(city.here, a=of(1), b=of(1))
    await city.make(city.there, c=of(3))
    await city.register()
    assert [one["id"] for one in (await city.get("/entities?type=Car&q=a==1;c==3")).json()] == [E1]
    assert (await city.get("/entities?type=Car&q=a==1;c==4")).json() == []
    unsplit = await city.get("/entities?type=Car&q=c==3&splitEntities=false&options=keyValues")
    assert unsplit.json()[0]["c"] == 3
    assert "q=c==3" in city.door.asked[-1][1]


async def test_pages_of_one_question_fit_together_and_their_count_is_that_of_entities(city: City) -> None:
    for number in range(5):
        await city.make(city.here, f"urn:ngsi-ld:Car:h{number}", a=of(1))
    for number in range(5):
        await city.make(city.there, f"urn:ngsi-ld:Car:t{number}", a=of(1))
    await city.make(city.there, "urn:ngsi-ld:Car:h3", c=of(3))
    await city.register()
    seen: list[str] = []
    path = "/entities?type=Car&limit=3&count=true"
    while path:
        answer = await city.get(path)
        assert answer.headers["ngsild-results-count"] == "10"
        seen += [one["id"] for one in answer.json()]
        following = [part for part in answer.headers.get_list("link") if 'rel="next"' in part]
        path = (
            following[0].split('rel="next"')[0].rpartition("<")[2].partition(">")[0].removeprefix("/ngsi-ld/v1")
            if following
            else ""
        )
    assert len(seen) == len(set(seen)) == 10
    counted = await city.get("/entities?type=Car&limit=0&count=true")
    assert (counted.json(), counted.headers["ngsild-results-count"]) == ([], "10")


async def test_entities_of_several_sources_are_not_put_in_order(city: City) -> None:
    await city.register()
    assert (await city.get("/entities?type=Car&orderBy=id")).status_code == 400
    assert (await city.get("/entities?type=Car&orderBy=id&local=true")).status_code == 200


async def test_a_question_may_say_what_the_sources_must_be_like(city: City) -> None:
    await city.make(city.there, a=of(1))
    await city.register(registrationName="north", speedLimit=50)
    assert (await city.get('/entities?type=Car&csf=registrationName=="south"')).json() == []
    assert city.door.asked == []
    assert len((await city.get('/entities?type=Car&csf=registrationName=="north";speedLimit>40')).json()) == 1
    body = {"type": "Query", "entities": [{"type": "Car"}], "csf": 'registrationName=="north"'}
    assert len((await city.here.post(f"{BASE}/entityOperations/query", json=body)).json()) == 1
    assert (await city.get("/entities?type=Car&csf===")).status_code == 400


# -- what may go wrong ------------------------------------------------------------------------------------------------


async def test_a_source_that_hangs_delays_no_longer_than_its_time_and_is_named(city: City) -> None:
    await city.make(city.here, a=of(1))
    city.door.hosts["slow"] = hanging
    await city.register()
    slow = await city.register("slow", management={"timeout": 50})
    loop = asyncio.get_running_loop()
    for path in (f"/entities/{E1}", "/entities?type=Car"):
        began = loop.time()
        answer = await city.get(path)
        assert loop.time() - began < 2
        assert answer.status_code == 200
        assert answer.headers["ngsild-warning"].startswith(f"199 {city.alias} ")
        assert slow in answer.headers["ngsild-warning"]
    missing = await city.get("/entities/urn:ngsi-ld:Car:unknown")
    assert missing.status_code == 404
    assert slow in missing.headers["ngsild-warning"]


@pytest.mark.parametrize(
    "said",
    [saying(500), saying(200, b"<html>"), saying(200, [7]), saying(200, [{"id": "x"}]), saying(302), saying(401),
     saying(200, [{"id": E1, "type": "Car", "a": {"type": "Property"}}])],
)  # fmt: skip
async def test_a_source_that_answers_nonsense_is_named_and_the_rest_is_answered(city: City, said: Ask) -> None:
    await city.make(city.here, a=of(1))
    city.door.hosts["bad"] = said
    bad = await city.register("bad")
    answer = await city.get("/entities?type=Car&options=keyValues")
    assert answer.json() == [{"id": E1, "type": "Car", "a": 1}]
    assert answer.headers["ngsild-warning"].startswith(f"299 {city.alias} ")
    assert bad in answer.headers["ngsild-warning"]


async def test_a_source_that_knows_nothing_of_it_is_not_missing(city: City) -> None:
    await city.make(city.here, a=of(1))
    await city.register()
    assert "ngsild-warning" not in (await city.get(f"/entities/{E1}")).headers
    assert "ngsild-warning" not in (await city.get("/entities?type=Car")).headers


async def test_what_only_one_source_holds_fails_with_it(city: City) -> None:
    city.door.hosts["slow"] = hanging
    await city.register("slow", mode="redirect", management={"timeout": 50})
    assert (await city.get(f"/entities/{E1}")).status_code == 504
    answer = await city.here.delete(f"{BASE}/entities/{E1}")
    assert answer.status_code == 504
    assert (await city.get("/entities?type=Car")).json() == []


async def test_a_source_that_sends_more_than_it_registered_is_not_believed(city: City) -> None:
    sent = [
        {"id": E1, "type": "Car", "speed": of(1), "owner": of("changed")},
        {"id": "urn:ngsi-ld:Car:2", "type": "Car", "speed": of(2)},
        {"id": E1, "type": "Alarm", "speed": of(3)},
    ]
    city.door.hosts["liar"] = saying(200, sent)
    await city.make(city.here, owner=of("true"))
    await city.register("liar", information=[{"entities": [{"id": E1, "type": "Car"}], "propertyNames": ["speed"]}])
    found = (await city.get("/entities?type=Car&options=keyValues")).json()
    assert found == [{"id": E1, "type": "Car", "owner": "true", "speed": 1}]


async def test_a_source_that_fails_again_and_again_is_left_alone(city: City) -> None:
    dead = await city.register("dead")
    for _ in range(12):
        answer = await city.get("/entities?type=Car")
        assert dead in answer.headers["ngsild-warning"]
    assert len(city.door.asked) == 5
    told = (await city.get(f"/csourceRegistrations/{dead}")).json()
    assert (told["status"], told["timesSent"], told["timesFailed"]) == ("failed", 5, 5)


async def test_silence_counts_as_failure_and_then_costs_no_more_time(city: City) -> None:
    city.door.hosts["slow"] = hanging
    slow = await city.register("slow", management={"timeout": 20, "cooldown": 60_000})
    for path in ("/entities?type=Car", f"/entities/{E1}", "/entities?type=Car"):
        assert slow in (await city.get(path)).headers["ngsild-warning"]
    assert len(city.door.asked) == 1
    assert (await city.get(f"/csourceRegistrations/{slow}")).json()["timesFailed"] == 1


async def test_a_request_that_has_been_here_goes_no_further(city: City) -> None:
    await city.make(city.here, a=of(1))
    await city.register()
    answer = await city.get(f"/entities/{E1}", via=f"1.1 other, 1.1 {city.alias}")
    assert answer.json()["id"] == E1
    assert city.door.asked == []
    await city.register(mode="redirect", information=[{"entities": [{"type": "Bus"}]}])
    bus = await city.here.delete(f"{BASE}/entities/urn:ngsi-ld:Bus:1", headers={"via": f"1.1 {city.alias}"})
    assert bus.status_code == 508
    assert (await city.get("/entities/urn:ngsi-ld:Bus:1", via=f"1.1 {city.alias}")).status_code == 508
    assert city.door.asked == []


async def test_a_source_that_the_request_has_passed_is_not_asked_again(city: City) -> None:
    await city.register(contextSourceAlias="that-one")
    await city.get("/entities?type=Car", via="1.1 that-one")
    assert city.door.asked == []
    await city.get("/entities?type=Car", via="1.1 another")
    assert city.door.asked[0][2]["Via"] == f"1.1 another, 1.1 {city.alias}"


async def test_a_chain_without_end_ends(city: City) -> None:
    await city.register()
    await city.get("/entities?type=Car", via=", ".join(f"1.1 hop{number}" for number in range(40)))
    assert city.door.asked == []


# -- rights, credentials, tenants -------------------------------------------------------------------------------------


async def limited(city: City, *types: str) -> dict[str, str]:
    """The header of somebody who may read and write entities of these types alone."""
    scopes = [Scope(act, "entities", "*", tuple(D + one for one in types)) for act in ("read", "write")]
    _, key = await city.accounts.make_key("Aziz", scopes, "*", ["*"], 30, NOW, by=HOUSE)
    return {"authorization": f"Bearer {key}"}


async def test_what_comes_from_elsewhere_is_shown_to_those_who_may_read_its_type(city: City) -> None:
    await city.make(city.there, c=of(3))
    await city.make(city.there, "urn:ngsi-ld:Bus:1", "Bus", c=of(3))
    await city.register(information=[{"entities": [{"type": "Car"}, {"type": "Bus"}]}, {"entities": [{"type": "Bus"}]}])
    who = await limited(city, "Car")
    assert (await city.here.get(f"{BASE}/entities/{E1}", headers=who)).status_code == 200
    assert (await city.here.get(f"{BASE}/entities/urn:ngsi-ld:Bus:1", headers=who)).status_code == 404
    found = (await city.here.get(f"{BASE}/entities?type=Car,Bus", headers=who)).json()
    assert [one["id"] for one in found] == [E1]


async def test_nobody_writes_elsewhere_what_they_might_not_write_here(city: City) -> None:
    await city.register(information=[{"entities": [{"type": "Bus"}]}])
    await city.register(mode="redirect", information=[{"propertyNames": ["secret"]}])
    who = await limited(city, "Car")
    bus = "urn:ngsi-ld:Bus:1"
    body = {"id": bus, "type": "Bus", "a": of(1)}
    refused = [
        await city.here.post(f"{BASE}/entities", json=body, headers=who),
        await city.here.delete(f"{BASE}/entities/{bus}", headers=who),
        await city.here.patch(f"{BASE}/entities/{bus}/attrs", json={"a": of(1)}, headers=who),
        await city.here.patch(f"{BASE}/entities/{bus}/attrs/secret", json={"value": 1}, headers=who),
        await city.here.post(f"{BASE}/entityOperations/delete", json=[bus], headers=who),
    ]
    assert [answer.status_code for answer in refused] == [403] * len(refused)
    batch = await city.here.post(f"{BASE}/entityOperations/upsert", json=[body], headers=who)
    assert [one["error"]["status"] for one in batch.json()["errors"]] == [403]
    assert city.door.asked == []


async def test_no_credential_and_no_tenant_of_ours_leaves_the_house(city: City) -> None:
    city.door.hosts["spy"] = saying(201)
    info = [
        {"key": "Authorization", "value": "urn:ngsi-ld:request"},
        {"key": "X-Trace", "value": "urn:ngsi-ld:request"},
    ]
    await city.register("spy", "water", contextSourceInfo=info, tenant="theirs")
    headers = {"ngsild-tenant": "water", "x-trace": "7", "cookie": "session=secret", "x-other": "private"}
    body = {"id": E1, "type": "Car", "a": of(1)}
    assert (await city.here.post(f"{BASE}/entities", json=body, headers=headers)).status_code == 201
    [(_, url, sent, document)] = city.door.asked
    assert sent.pop("Via") not in {f"1.1 {city.alias}", ""}
    assert sent == {
        "X-Trace": "7", "Accept": "application/json", "Content-Type": "application/json", "NGSILD-Tenant": "theirs",
    }  # fmt: skip
    assert "water" not in url + json.dumps(document)


async def test_a_registration_concerns_its_tenant_alone(city: City) -> None:
    await city.register("there", "water")
    await city.get("/entities?type=Car")
    assert city.door.asked == []
    await city.get("/entities?type=Car", **{"ngsild-tenant": "water"})
    assert len(city.door.asked) == 1


# -- writes -----------------------------------------------------------------------------------------------------------


async def test_an_exclusive_source_gets_its_attributes_and_they_are_not_kept_here(city: City) -> None:
    await city.register(
        mode="exclusive", information=[{"entities": [{"id": E1, "type": "Car"}], "propertyNames": ["speed"]}]
    )
    body = {"id": E1, "type": "Car", "speed": of(1), "owner": of("she")}
    assert (await city.here.post(f"{BASE}/entities", json=body)).status_code == 201
    assert set((await city.get(f"/entities/{E1}?local=true")).json()) == {"id", "type", "owner"}
    assert set((await city.there.get(f"{BASE}/entities/{E1}")).json()) == {"id", "type", "speed"}
    assert set((await city.get(f"/entities/{E1}")).json()) == {"id", "type", "owner", "speed"}
    assert (await city.here.patch(f"{BASE}/entities/{E1}/attrs", json={"speed": of(2)})).status_code == 204
    assert (await city.get(f"/entities/{E1}?options=keyValues")).json()["speed"] == 2
    assert (await city.here.delete(f"{BASE}/entities/{E1}/attrs/speed")).status_code == 204
    assert (await city.here.delete(f"{BASE}/entities/{E1}")).status_code == 204
    assert (await city.there.get(f"{BASE}/entities/{E1}")).status_code == 404


async def test_what_a_redirect_holds_is_not_kept_here(city: City) -> None:
    await city.register(mode="redirect")
    body = {"id": E1, "type": "Car", "a": of(1)}
    assert (await city.here.post(f"{BASE}/entities", json=body)).status_code == 201
    assert (await city.here.put(f"{BASE}/entities/{E1}", json={"type": "Car", "b": of(2)})).status_code == 204
    assert (await city.here.patch(f"{BASE}/entities/{E1}", json={"b": of(3)})).status_code == 204
    assert (await city.get(f"/entities/{E1}?local=true")).status_code == 404
    assert (await city.get(f"/entities/{E1}?options=keyValues")).json() == {"id": E1, "type": "Car", "b": 3}
    assert (await city.here.delete(f"{BASE}/entities/{E1}")).status_code == 204
    assert (await city.here.delete(f"{BASE}/entities/{E1}")).status_code == 404


async def test_a_change_that_is_done_in_part_says_what_was_not_done_and_where(city: City) -> None:
    bad = await city.register("dead")
    await city.register()
    body = {"id": E1, "type": "Car", "a": of(1)}
    answer = await city.here.post(f"{BASE}/entities", json=body)
    assert answer.status_code == 207
    assert answer.headers["location"].endswith(E1)
    told = answer.json()
    assert told["success"] == [E1]
    assert [(one["entityId"], one["registrationId"], one["error"]["status"]) for one in told["errors"]] == [
        (E1, bad, 502)
    ]
    patched = await city.here.patch(f"{BASE}/entities/{E1}/attrs", json={"a": of(2)})
    assert patched.status_code == 207
    assert patched.json()["updated"] == [D + "a"]
    assert [(one["attributeName"], one["registrationId"]) for one in patched.json()["notUpdated"]] == [(D + "a", bad)]


async def test_a_proxied_source_that_does_not_offer_the_operation_is_a_conflict(city: City) -> None:
    information = [{"entities": [{"id": E1, "type": "Car"}], "propertyNames": ["speed"]}]
    await city.register(mode="exclusive", information=information, operations=["retrieveOps"])
    alone = await city.here.post(f"{BASE}/entities", json={"id": E1, "type": "Car", "speed": of(1)})
    assert alone.status_code == 409
    partly = await city.here.post(f"{BASE}/entities", json={"id": E1, "type": "Car", "speed": of(1), "a": of(1)})
    assert partly.status_code == 207
    assert set((await city.get(f"/entities/{E1}?local=true")).json()) == {"id", "type", "a"}
    assert [one[0] for one in city.door.asked] == []


async def test_a_batch_goes_to_a_source_as_one_or_singly_where_it_takes_none(city: City) -> None:
    await city.register(operations=["upsertBatch", "deleteBatch"])
    batch = [{"id": f"urn:ngsi-ld:Car:{number}", "type": "Car", "a": of(number)} for number in range(3)]
    batch.append({"id": "urn:ngsi-ld:Bus:1", "type": "Bus", "a": of(1)})
    answer = await city.here.post(f"{BASE}/entityOperations/upsert", json=batch)
    assert (answer.status_code, len(answer.json())) == (201, 4)
    [(method, url, _, sent)] = city.door.asked
    assert (method, url.endswith("/entityOperations/upsert"), [one["id"] for one in sent]) == (
        "POST", True, [one["id"] for one in batch[:3]],
    )  # fmt: skip
    gone = await city.here.post(f"{BASE}/entityOperations/delete", json=[one["id"] for one in batch])
    assert gone.status_code == 204
    assert (await city.there.get(f"{BASE}/entities?type=Car")).json() == []


async def test_a_batch_is_sent_singly_to_a_source_that_takes_no_batches(city: City) -> None:
    await city.make(city.there, a=of(0), old=of(0))
    await city.register(mode="redirect", operations=["redirectionOps"])
    batch = [{"id": f"urn:ngsi-ld:Car:{number}", "type": "Car", "a": of(number)} for number in (1, 2)]
    answer = await city.here.post(f"{BASE}/entityOperations/upsert", json=batch)
    assert (answer.status_code, answer.json()) == (201, ["urn:ngsi-ld:Car:2"])
    held = (await city.there.get(f"{BASE}/entities?type=Car&options=keyValues")).json()
    assert sorted((one["id"][-1], one["a"], "old" in one) for one in held) == [("1", 1, False), ("2", 2, False)]
    assert (await city.get("/entities?type=Car&local=true")).json() == []


async def test_each_member_of_a_batch_fails_for_itself_at_every_source(city: City) -> None:
    errors = [{"entityId": "urn:ngsi-ld:Car:2", "error": {"title": "full", "detail": "no place"}}]
    city.door.hosts["fussy"] = saying(207, {"success": ["urn:ngsi-ld:Car:1"], "errors": errors})
    fussy = await city.register("fussy", operations=["createBatch"])
    batch = [{"id": f"urn:ngsi-ld:Car:{number}", "type": "Car", "a": of(number)} for number in (1, 2)]
    answer = await city.here.post(f"{BASE}/entityOperations/create", json=batch)
    assert answer.status_code == 207
    [error] = answer.json()["errors"]
    assert (error["entityId"], error["registrationId"]) == ("urn:ngsi-ld:Car:2", fussy)
    assert "full: no place" in error["error"]["detail"]


async def test_a_purge_reaches_what_a_source_registered_and_no_more(city: City) -> None:
    for where in (city.here, city.there):
        for number in (1, 2):
            await city.make(where, f"urn:ngsi-ld:Car:{number}", a=of(number))
    await city.make(city.there, "urn:ngsi-ld:Bus:1", "Bus")
    await city.register(information=[{"entities": [{"id": E1, "type": "Car"}]}])
    assert (await city.here.delete(f"{BASE}/entities?type=Car,Bus")).status_code == 204
    assert (await city.get("/entities?type=Car&local=true")).json() == []
    left = (await city.there.get(f"{BASE}/entities?type=Car,Bus")).json()
    assert sorted(one["id"] for one in left) == ["urn:ngsi-ld:Bus:1", "urn:ngsi-ld:Car:2"]


async def test_a_purge_that_a_source_missed_says_so(city: City) -> None:
    await city.make(city.here, a=of(1))
    dead = await city.register("dead")
    answer = await city.here.delete(f"{BASE}/entities?type=Car&q=a==1")
    assert answer.status_code == 207
    assert [one["registrationId"] for one in answer.json()["errors"]] == [dead]
    assert "q=a==1" in city.door.asked[0][1]
    assert (await city.here.delete(f"{BASE}/entities?type=Car", headers=await limited(city, "Bus"))).status_code == 403


async def test_types_and_attributes_of_registered_sources_are_possibly_there(city: City) -> None:
    await city.make(city.here, "urn:ngsi-ld:Bus:1", "Bus", a=of(1))
    await city.register(information=[{"entities": [{"type": "Car"}], "propertyNames": ["speed"]}])
    assert (await city.get("/types")).json()["typeList"] == ["Bus", "Car"]
    assert (await city.get("/types?local=true")).json()["typeList"] == ["Bus"]
    assert (await city.get("/attributes")).json()["attributeList"] == ["a", "speed"]
    told = (await city.get("/types/Car")).json()
    assert (told["entityCount"], told["attributeDetails"][0]["attributeTypes"]) == (0, [])
    only = await city.here.get(f"{BASE}/types", headers=await limited(city, "Bus"))
    assert only.json()["typeList"] == ["Bus"]
    assert city.door.asked == []


async def test_a_source_of_an_older_version_is_told_what_it_knows(city: City) -> None:
    city.door.hosts["old"] = saying(201)
    await city.register("old", contextSourceInfo=[{"key": "ngsildConformance", "value": "1.3"}])
    body = {
        "id": E1, "type": "Car", "a": of(1), "scope": "/x",
        "b": {"type": "JsonProperty", "json": {"x": 1}}, "c": {"type": "VocabProperty", "vocab": "fast"},
    }  # fmt: skip
    assert (await city.here.post(f"{BASE}/entities", json=body)).status_code == 201
    [(_, _, _, sent)] = city.door.asked
    assert (sent["a"], sent["b"]) == (of(1), of({"x": 1}))
    assert sent["c"]["type"] == "Property"
    assert "scope" not in sent


async def test_a_source_need_not_read_scoped_contexts(city: City) -> None:
    scope = {"speed": "https://v/carSpeed"}
    context = {"Car": {"@id": D + "Car", "@context": scope}}
    told = {"id": E1, "type": "Car", "speed": of(7), "@context": context}
    await city.register()
    ld = {"content-type": "application/ld+json"}
    made = await city.here.post(f"{BASE}/entities", content=json.dumps(told), headers=ld)
    assert made.status_code == 201, made.text
    assert "speed" not in city.door.asked[-1][3]
    assert (await city.there.get(f"{BASE}/entities/{E1}")).json()["https://v/carSpeed"] == of(7)
    body = {
        "type": "Query",
        "entities": [{"type": "Car"}],
        "q": "v:carSpeed==7",
        "@context": [{"v": "https://v/"}, context],
    }
    found = await city.here.post(f"{BASE}/entityOperations/query", content=json.dumps(body), headers=ld)
    assert [one["speed"]["value"] for one in found.json()] == [7]
    none = {**body, "q": "v:carSpeed==8"}
    assert (await city.here.post(f"{BASE}/entityOperations/query", content=json.dumps(none), headers=ld)).json() == []
