"""Registrations over HTTP and in the service, on a real store (ETSI GS CIM 009 clauses 5.9, 5.10, 6.8, 6.9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from shahar.model.access import HOUSE, Scope
from shahar.model.context import CORE
from shahar.model.registration import Ask
from shahar.services import registrations as service
from shahar.services.accounts import Accounts
from shahar.services.registrations import Registrations
from shahar.store import journal
from shahar.store.db import Database
from shahar.values import bounds
from shahar.values.errors import Conflict, Exists, NoTenant, NotFound, TooMany
from shahar.values.instants import SECOND
from tests.engines import store_at
from tests.in_process import BASE, NOW, asking

pytestmark = pytest.mark.anyio
ROOT = "/csourceRegistrations"
D = "https://uri.etsi.org/ngsi-ld/default-context/"
SECRET = [{"key": "Authorization", "value": "Bearer secret"}]
A = "urn:ngsi-ld:Car:A"


def body(**members: Any) -> dict[str, Any]:
    base = {
        "type": "ContextSourceRegistration",
        "information": [{"entities": [{"type": "Car"}]}],
        "endpoint": "http://source.example",
    }
    return {**base, **members}


def exclusive(**members: Any) -> dict[str, Any]:
    information = [{"entities": [{"id": A, "type": "Car"}], "propertyNames": ["speed"]}]
    return body(information=information, mode="exclusive", **members)


# -- over HTTP --------------------------------------------------------------------------------------------------------


async def nowhere(_address: str) -> bytes:
    """No @context is fetched here."""
    raise AssertionError("a context was fetched")


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Accounts]]:
    """A client who may do all with entities and registrations, and the accounts."""
    rights = [Scope(act, what) for act in ("read", "write") for what in ("entities", "registrations")]
    async with asking(tmp_path, nowhere, rights, "*") as made:
        yield made


async def register(client: httpx.AsyncClient, given: dict[str, Any]) -> str:
    answer = await client.post(BASE + ROOT, json=given)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"].rpartition("/")[2]


async def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition("/")[2]


async def test_a_registration_is_made_told_changed_found_and_deleted(city: Any) -> None:
    client, _ = city
    made = await register(client, body(csourceProperty1="aValue"))
    assert made.startswith("urn:ngsi-ld:ContextSourceRegistration:")
    told = await client.get(f"{BASE}{ROOT}/{made}")
    assert told.json() == {"id": made, **body(csourceProperty1="aValue")}
    changed = await client.patch(
        f"{BASE}{ROOT}/{made}", json={"endpoint": "http://other.example", "csourceProperty1": None}
    )
    assert (changed.status_code, changed.content) == (204, b"")
    found = await client.get(BASE + ROOT, params={"type": "Car", "count": "true", "options": "sysAttrs"})
    assert found.headers["ngsild-results-count"] == "1"
    assert found.json()[0]["endpoint"] == "http://other.example" and "createdAt" in found.json()[0]
    gone = await client.delete(f"{BASE}{ROOT}/{made}")
    assert gone.status_code == 204
    assert (await client.get(BASE + ROOT, params={"type": "Car"})).json() == []
    for answer in (
        await client.get(f"{BASE}{ROOT}/{made}"),
        await client.patch(f"{BASE}{ROOT}/{made}", json={"endpoint": "http://x.example"}),
        await client.delete(f"{BASE}{ROOT}/{made}"),
    ):
        assert await problem(answer) == (404, "ResourceNotFound")


async def test_what_is_refused_leaves_nothing_behind(city: Any) -> None:
    client, _ = city
    named = body(id="urn:ngsi-ld:ContextSourceRegistration:1")
    await register(client, named)
    assert await problem(await client.post(BASE + ROOT, json=named)) == (409, "AlreadyExists")
    assert await problem(await client.post(BASE + ROOT, json=body(mode="loose"))) == (400, "BadRequestData")
    broken = await client.post(BASE + ROOT, content=b"{", headers={"content-type": "application/json"})
    assert await problem(broken) == (400, "InvalidRequest")
    assert await problem(await client.get(f"{BASE}{ROOT}/noUri")) == (400, "BadRequestData")
    assert (await client.delete(f"{BASE}{ROOT}/")).status_code == 405
    assert len((await client.get(BASE + ROOT, params={"type": "Car"})).json()) == 1


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"idPattern": "A"},
        {"scopeQ": "/Madrid"},
        {"csf": "floor==1"},
        {"limit": "0", "type": "Car"},
        {"type": "Car", "georel": "near;maxDistance==1"},
        {"type": "Car", "timeAt": "2026-01-01T00:00:00Z"},
        {"type": "Car", "timerel": "before"},
        {"type": "Car", "timerel": "before", "timeAt": "2026-01-01T00:00:00Z", "timeproperty": "name"},
        {"type": "Car", "csf": "floor=="},
        {"type": "Car", "options": "keyValues"},
        {"type": "Car", "wish": "x"},
    ],
)
async def test_a_discovery_that_asks_for_everything_or_for_nonsense_is_refused(
    city: Any, params: dict[str, str]
) -> None:
    client, _ = city
    assert (await client.get(BASE + ROOT, params=params)).status_code == 400


async def test_discovery_finds_by_what_a_source_offers_and_by_what_it_is(city: Any) -> None:
    client, _ = city
    square = {"type": "Polygon", "coordinates": [[[69, 41], [70, 41], [70, 42], [69, 42], [69, 41]]]}
    past = {"startAt": "2026-01-01T00:00:00Z"}
    sources = {
        "cars": body(location=square, floor=3, scope="/Toshkent"),
        "speeds": body(information=[{"propertyNames": ["speed"]}], datasetId=["urn:d:1"]),
        "buses": body(information=[{"entities": [{"idPattern": "^urn:bus", "type": "Bus"}]}], floor=4),
        "history": body(observationInterval=past),
    }
    for name, given in sources.items():
        await register(client, given | {"id": f"urn:{name}"})

    async def ids(**params: str) -> list[str]:
        answer = await client.get(BASE + ROOT, params=params)
        assert answer.status_code == 200, answer.text
        return [one["id"].removeprefix("urn:") for one in answer.json()]

    assert await ids(type="Car") == ["cars", "speeds"]
    assert await ids(attrs="speed,name") == ["cars", "speeds", "buses"]
    assert await ids(pick="id,name") == ["cars", "buses"]
    assert await ids(q="name==1") == ["cars", "buses"]
    assert await ids(type="Bus", id="urn:bus:1") == ["speeds", "buses"]
    assert await ids(id="urn:train:1") == ["cars", "speeds"]
    assert await ids(type="Bus", idPattern="x") == ["speeds", "buses"]
    assert await ids(type="Car,Bus", csf="floor>3") == ["buses"]
    assert await ids(type="Car", csf='endpoint=="http://source.example"') == ["cars", "speeds"]
    assert await ids(type="Car", scopeQ="/Toshkent") == ["cars"]
    assert await ids(attrs="speed", datasetId="urn:d:2") == ["cars", "buses"]
    near = {"georel": "near;maxDistance==10", "geometry": "Point", "coordinates": "[69.5,41.5]"}
    assert await ids(type="Car", **near) == ["cars"]
    assert await ids(**near) == ["cars"]
    assert await ids(type="Car", timerel="after", timeAt="2026-06-01T00:00:00Z") == ["history"]
    assert await ids(type="Car", timerel="after", timeAt="2026-06-01T00:00:00Z", timeproperty="createdAt") == []
    assert await ids(type="Car", limit="1", offset="1") == ["speeds"]


async def test_pages_name_their_neighbours(city: Any) -> None:
    client, _ = city
    for number in range(3):
        await register(client, body(id=f"urn:{number}"))
    path = "/ngsi-ld/v1/csourceRegistrations?type=Car&limit=1&offset="
    for slash in ("", "/"):  # an address is told without one, however it was asked for
        answer = await client.get(BASE + ROOT + slash, params={"type": "Car", "limit": "1", "offset": "1"})
        links = [value for name, value in answer.headers.multi_items() if name == "link" and "rel=" in value]
        assert any(link.startswith(f'<{path}0>;rel="prev"') for link in links)
        assert any(link.startswith(f'<{path}2>;rel="next"') for link in links)


async def test_an_exclusive_registration_conflicts_with_entities_and_proxies_that_have_the_same(city: Any) -> None:
    client, _ = city
    await client.post(f"{BASE}/entities", json={"id": A, "type": "Car", "speed": 7})
    assert await problem(await client.post(BASE + ROOT, json=exclusive())) == (409, "Conflict")
    await client.delete(f"{BASE}/entities/{A}/attrs/speed")
    await register(client, exclusive(id="urn:first"))
    assert await problem(await client.post(BASE + ROOT, json=exclusive())) == (409, "Conflict")
    redirect = body(information=[{"propertyNames": ["speed"]}], mode="redirect")
    assert await problem(await client.post(BASE + ROOT, json=redirect)) == (409, "Conflict")
    for free in (body(), body(mode="auxiliary", operations=["retrieveOps"])):
        await register(client, free)
    assert (await client.patch(f"{BASE}{ROOT}/urn:first", json={"description": "itself"})).status_code == 204
    await client.delete(f"{BASE}{ROOT}/urn:first")
    await register(client, redirect | {"id": "urn:red"})
    assert await problem(await client.post(BASE + ROOT, json=exclusive())) == (409, "Conflict")


async def test_a_redirect_registration_conflicts_with_entities_that_match_it_also_when_it_becomes_one(
    city: Any,
) -> None:
    client, _ = city
    await client.post(f"{BASE}/entities", json={"id": A, "type": "Car", "name": "x"})
    assert await problem(await client.post(BASE + ROOT, json=body(mode="redirect"))) == (409, "Conflict")
    made = await register(client, body())
    assert await problem(await client.patch(f"{BASE}{ROOT}/{made}", json={"mode": "redirect"})) == (409, "Conflict")
    speeds = [{"entities": [{"type": "Car"}], "propertyNames": ["speed"]}]
    await register(client, body(information=speeds, mode="redirect"))
    assert (await client.get(f"{BASE}{ROOT}/{made}")).json() == {"id": made, **body()}


async def test_tenants_have_registrations_of_their_own(city: Any) -> None:
    client, _ = city
    north = {"ngsild-tenant": "north"}
    await client.post(BASE + ROOT, json=body(id="urn:r"), headers=north)
    assert (await client.get(BASE + ROOT, params={"type": "Car"})).json() == []
    assert len((await client.get(BASE + ROOT, params={"type": "Car"}, headers=north)).json()) == 1
    south = await client.get(BASE + ROOT, params={"type": "Car"}, headers={"ngsild-tenant": "south"})
    assert await problem(south) == (404, "NonexistentTenant")
    assert (await client.get(f"{BASE}{ROOT}/urn:r")).status_code == 404


async def key(accounts: Accounts, *scopes: Scope) -> dict[str, str]:
    _, made = await accounts.make_key("Botir", scopes, "*", ["*"], 30, NOW, by=HOUSE)
    return {"authorization": f"Bearer {made}"}


async def test_secrets_are_seen_by_those_alone_who_may_change_registrations(city: Any) -> None:
    client, accounts = city
    await register(client, body(id="urn:r", contextSourceInfo=SECRET))
    assert (await client.get(f"{BASE}{ROOT}/urn:r")).json()["contextSourceInfo"] == SECRET
    reader = await key(accounts, Scope("read", "registrations"))
    for path in (f"{ROOT}/urn:r", f"{ROOT}?type=Car"):
        answer = await client.get(BASE + path, headers=reader)
        assert answer.status_code == 200 and "secret" not in answer.text


async def test_a_right_over_types_reaches_the_registrations_of_these_types_alone(city: Any) -> None:
    client, accounts = city
    await register(client, body(id="urn:cars"))
    await register(client, body(id="urn:any", information=[{"propertyNames": ["speed"]}]))
    cars = (D + "Car",)
    reader = await key(accounts, Scope("read", "registrations", types=cars))
    found = await client.get(BASE + ROOT, params={"attrs": "speed"}, headers=reader)
    assert [one["id"] for one in found.json()] == ["urn:cars"]
    assert (await client.get(f"{BASE}{ROOT}/urn:cars", headers=reader)).status_code == 200
    assert (await client.get(f"{BASE}{ROOT}/urn:any", headers=reader)).status_code == 403
    other = await key(accounts, Scope("read", "registrations", types=(D + "Bus",)))
    assert (await client.get(f"{BASE}{ROOT}/urn:cars", headers=other)).status_code == 403


async def test_whoever_registers_a_source_must_hold_what_goes_to_it_and_comes_from_it(city: Any) -> None:
    client, accounts = city
    await register(client, body(id="urn:cars"))
    cars = (D + "Car",)
    over = [Scope("write", "registrations", types=cars), Scope("read", "entities", types=cars)]
    lesser = await key(accounts, *over)
    for send in (
        client.post(BASE + ROOT, json=body(), headers=lesser),
        client.patch(f"{BASE}{ROOT}/urn:cars", json={"endpoint": "http://thief.example"}, headers=lesser),
    ):
        assert (await send).status_code == 403
    whole = await key(accounts, *over, Scope("write", "entities", types=cars))
    assert (await client.post(BASE + ROOT, json=body(), headers=whole)).status_code == 201
    wider = body(information=[{"propertyNames": ["speed"]}])
    assert (await client.post(BASE + ROOT, json=wider, headers=whole)).status_code == 403
    assert (await client.patch(f"{BASE}{ROOT}/urn:cars", json={"description": "x"}, headers=whole)).status_code == 204
    aside = await key(accounts, Scope("write", "registrations", types=(D + "Bus",)))
    assert (await client.delete(f"{BASE}{ROOT}/urn:cars", headers=aside)).status_code == 403


# -- the service ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def house(folder: Path, now: Callable[[], int] = lambda: NOW) -> AsyncIterator[tuple[Registrations, Database]]:
    db = store_at(folder / "city.db")
    await db.open()
    held = Registrations(db, now)
    await held.start()
    yield held, db
    await held.stop()
    await db.close()


def asked(held: Registrations, at: int = NOW, tenant: str = "") -> list[str]:
    found = held.parts(tenant, Ask("retrieveEntity", ids=(A,)), at)
    return [share.registration.id for share in found.asked]


async def test_who_takes_part_is_known_as_soon_as_a_registration_is_answered_and_after_a_restart(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as (held, _):
        await held.create("", body(id="urn:2"), CORE, NOW)
        assert asked(held) == ["urn:2"]
        await held.create("", body(id="urn:1"), CORE, NOW)
        await held.update("", "urn:2", {"operations": ["createEntity"]}, CORE, NOW)
        assert asked(held) == ["urn:1"] and held.any("") and not held.any("north")
    async with house(tmp_path) as (held, _):
        assert asked(held) == ["urn:1"] and [one.id for one in held.living("", NOW)] == ["urn:2", "urn:1"]
        await held.delete("", "urn:1", NOW)
        await held.delete("", "urn:2", NOW)
        assert asked(held) == [] and not held.any("")


async def test_changes_made_at_once_leave_the_index_as_the_store_has_it(tmp_path: Path) -> None:
    async with house(tmp_path) as (held, _):
        await held.create("", body(id="urn:1"), CORE, NOW)
        await asyncio.gather(
            *(held.update("", "urn:1", {"endpoint": f"http://s{number}.example"}, CORE, NOW) for number in range(50))
        )
        record, _ = await held.get("", "urn:1", NOW)
        assert held.living("", NOW)[0].endpoint == record["body"]["endpoint"]


async def test_an_expired_registration_takes_part_in_nothing_and_is_deleted(tmp_path: Path) -> None:
    ends = NOW + 10 * SECOND
    async with house(tmp_path) as (held, db):
        await held.create("", body(id="urn:1", expiresAt="2027-01-15T08:00:10Z"), CORE, NOW)
        await held.create("", body(id="urn:2", expiresAt="2027-01-15T08:00:10Z"), CORE, NOW)
        await held.update("", "urn:2", {"expiresAt": None}, CORE, NOW)
        assert asked(held, ends - 1) == ["urn:1", "urn:2"] and asked(held, ends) == ["urn:2"]
        with pytest.raises(NotFound):
            await held.get("", "urn:1", ends)
        await held.expire(ends - 1)
        await held.get("", "urn:1", NOW)
        await held.expire(ends)
        entries = await db.read(lambda tx: journal.read(tx, 0, 100))
        assert entries[-1].kind == "registration.dropped" and entries[-1].what["old"]["id"] == "urn:1"
        with pytest.raises(NotFound):
            await held.get("", "urn:1", NOW)
        await held.get("", "urn:2", ends)


async def test_the_clock_deletes_what_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SWEEP_S", 0.01)
    at = [NOW]
    async with house(tmp_path, lambda: at[0]) as (held, _):
        await held.create("", body(id="urn:1", expiresAt="2027-01-15T08:00:10Z"), CORE, NOW)
        at[0] += 11 * SECOND
        for _ in range(200):
            if not held.any(""):
                break
            await asyncio.sleep(0.01)
        assert not held.any("")


async def test_the_id_of_an_expired_registration_is_free(tmp_path: Path) -> None:
    async with house(tmp_path) as (held, _):
        await held.create("", body(id="urn:1", expiresAt="2027-01-15T08:00:10Z"), CORE, NOW)
        with pytest.raises(Exists):
            await held.create("", body(id="urn:1"), CORE, NOW)
        await held.create("", body(id="urn:1"), CORE, NOW + 20 * SECOND)
        assert asked(held, NOW + 20 * SECOND) == ["urn:1"]


async def test_counts_are_told_and_outlive_a_restart(tmp_path: Path) -> None:
    async with house(tmp_path) as (held, _):
        await held.create("", body(id="urn:1"), CORE, NOW)
        held.count("", "urn:1", ok=True, at=NOW)
        held.count("", "urn:1", ok=False, at=NOW + 1)
        held.count("", "urn:gone", ok=True, at=NOW)
        await held.update("", "urn:1", {"description": "x"}, CORE, NOW)
        _, tally = await held.get("", "urn:1", NOW)
        assert (tally.times_sent, tally.times_failed, tally.ok) == (2, 1, False)
    async with house(tmp_path) as (held, _):
        _, tally = await held.get("", "urn:1", NOW)
        assert (tally.times_sent, tally.last_success, tally.last_failure) == (2, NOW, NOW + 1)


async def test_the_journal_tells_what_a_registration_was_and_is_but_no_secret(tmp_path: Path) -> None:
    async with house(tmp_path) as (held, db):
        await held.create("", body(id="urn:1", contextSourceInfo=SECRET), CORE, NOW)
        await held.update("", "urn:1", {"mode": "auxiliary", "operations": ["retrieveOps"]}, CORE, NOW)
        entries = await db.read(lambda tx: journal.read(tx, 0, 100))
        assert [entry.what["old"] is None for entry in entries] == [True, False]
        assert entries[1].what["new"]["body"]["mode"] == "auxiliary"
        assert b"secret" not in orjson.dumps([entry.what for entry in entries])
        record, _ = await held.get("", "urn:1", NOW)
        assert record["body"]["contextSourceInfo"] == SECRET


async def test_of_two_proxies_that_come_at_once_one_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path) as (held, _):
        given = [held.create("", exclusive(id=f"urn:{number}"), CORE, NOW) for number in range(2)]
        outcomes = await asyncio.gather(*given, return_exceptions=True)
        assert [isinstance(one, Conflict) for one in outcomes] == [False, True]
        assert len(held.living("", NOW)) == 1


async def test_a_tenant_has_at_most_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "REGISTRATIONS", 2)
    assert bounds.REGISTRATIONS >= 1_000
    async with house(tmp_path) as (held, _):
        for number in range(2):
            await held.create("", body(id=f"urn:{number}"), CORE, NOW)
        with pytest.raises(TooMany):
            await held.create("", body(), CORE, NOW)
        with pytest.raises(NoTenant):
            await held.get("north", "urn:1", NOW)
