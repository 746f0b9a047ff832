"""Registration subscriptions from a change of a registration to an endpoint: real store, real runner, real sockets
(ETSI GS CIM 009 clauses 5.11, 5.3.2, 6.12, 6.13)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import time_ns
from typing import Any

import httpx
import orjson
import pytest

from shahar.model.access import HOUSE, Scope
from shahar.model.context import CORE, Context, Source
from shahar.ports.webhooks import Webhooks
from shahar.services import deliveries, tidings
from shahar.services import registration_subscriptions as service
from shahar.services.broker import Broker
from shahar.services.lanes import Reads
from shahar.services.owners import Rights, everybody
from shahar.services.registration_subscriptions import RegistrationSubscriptions
from shahar.services.registrations import Registrations
from shahar.services.runner import Runner
from shahar.values.errors import Exists, Invalid, NotFound
from shahar.values.instants import SECOND
from shahar.values.outbound import Outbound
from tests.engines import store_at
from tests.in_process import BASE, asking
from tests.subscribing import Receiver

pytestmark = pytest.mark.anyio
D = "https://uri.etsi.org/ngsi-ld/default-context/"
SUB = "urn:ngsi-ld:Subscription:1"
HERE = {"type": "Point", "coordinates": [69.2, 41.3]}
PAST = {"startAt": "2026-01-01T00:00:00Z", "endAt": "2026-02-01T00:00:00Z"}


def now() -> int:
    return time_ns() // 1_000


def source(kind: str = "Car", **members: Any) -> dict[str, Any]:
    base = {
        "type": "ContextSourceRegistration",
        "information": [{"entities": [{"type": kind}]}],
        "endpoint": "http://source.example",
    }
    return {**base, **members}


async def core(_source: Source, _at: int, _tenant: str = "") -> Context:
    return CORE


class City:
    """A house of registrations and those who follow them."""

    def __init__(self, folder: Path, rights: Rights = everybody) -> None:
        self.db = store_at(folder / "city.db")
        self.clock: Callable[[], int] = now
        self.webhooks = Webhooks(Outbound(allow=["127.0.0.0/8"]))
        self.sources = Registrations(self.db, self._now)
        self.subs = RegistrationSubscriptions(self.db, Broker(self.db), self.webhooks, core, self._now, rights)
        self.runner = Runner(self.db, self._now, [self.subs])

    def _now(self) -> int:
        return self.clock()

    async def __aenter__(self) -> City:
        await self.db.open()
        await self.sources.start()
        await self.subs.start()
        await self.runner.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.subs.stop()
        await self.runner.stop()
        await self.sources.stop()
        await self.webhooks.close()
        await self.db.close()

    async def follow(self, uri: str, *, tenant: str = "", note: Any = None, **members: Any) -> str:
        body: dict[str, Any] = {"id": SUB, "type": "Subscription", "entities": [{"type": "Car"}]}
        body |= {"notification": {"endpoint": {"uri": uri}, **(note or {})}, **members}
        return await self.subs.create(tenant, body, CORE, now())

    async def register(self, name: str, tenant: str = "", **members: Any) -> None:
        await self.sources.create(tenant, source(id=f"urn:{name}", **members), CORE, now())

    async def change(self, name: str, tenant: str = "", **members: Any) -> None:
        await self.sources.update(tenant, f"urn:{name}", members, CORE, now())

    async def tally(self) -> Any:
        return (await self.subs.get("", SUB))[1]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failing endpoints are tried again soon."""
    monkeypatch.setattr(deliveries, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(deliveries, "LONGEST_WAIT_S", 0.05)


@asynccontextmanager
async def city(folder: Path, rights: Rights = everybody) -> AsyncIterator[City]:
    async with City(folder, rights) as made:
        yield made


async def until(holds: Callable[[], bool], wait_s: float = 5.0) -> None:
    for _ in range(int(wait_s / 0.005)):
        if holds():
            return
        await asyncio.sleep(0.005)
    assert holds()


def told(receiver: Receiver) -> list[tuple[str, list[str]]]:
    """Reason and names of each notification."""
    return [(one["triggerReason"], [row["id"].removeprefix("urn:") for row in one["data"]]) for one in receiver.got]


# -- what is told -----------------------------------------------------------------------------------------------------


async def test_a_new_subscription_is_told_what_matches_and_then_every_change_with_its_reason(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with city(tmp_path) as house:
        await house.register("a")
        await house.register("bus", information=[{"entities": [{"type": "Bus"}]}])
        await house.register("b")
        await house.follow(receiver.uri)
        await house.change("a", endpoint="http://new.example")
        await house.change("b", information=[{"entities": [{"type": "Bus"}]}])
        await house.change("bus", information=[{"entities": [{"type": "Car"}]}])
        await house.change("b", description="still a bus")
        await house.register("c")
        await house.sources.delete("", "urn:c", now())
        expected = [
            ("newlyMatching", ["a", "b"]), ("updated", ["a"]), ("noLongerMatching", ["b"]), ("newlyMatching", ["bus"]),
            ("newlyMatching", ["c"]), ("noLongerMatching", ["c"]),
        ]  # fmt: skip
        await until(lambda: len(receiver.got) == len(expected))
        assert told(receiver) == expected
        first = receiver.got[0]
        assert (first["type"], first["subscriptionId"]) == ("ContextSourceNotification", SUB)
        assert first["data"][0] == source(information=[{"entities": [{"type": ["Car"]}]}]) | {"id": "urn:a"}
        assert len({one["id"] for one in receiver.got}) == len(expected)
        assert receiver.got[1]["data"][0]["endpoint"] == "http://new.example"


async def test_where_nothing_matches_nothing_is_told(tmp_path: Path, receiver: Receiver) -> None:
    async with city(tmp_path) as house:
        await house.register("bus", information=[{"entities": [{"type": "Bus"}]}])
        await house.follow(receiver.uri)
        await house.sources.delete("", "urn:bus", now())
        await house.register("a")
        await until(lambda: bool(receiver.got))
        assert told(receiver) == [("newlyMatching", ["a"])]
        assert (await house.tally()).times_sent == 1


async def test_only_the_elements_that_matter_are_told_and_no_secret(tmp_path: Path, receiver: Receiver) -> None:
    async with city(tmp_path) as house:
        await house.follow(receiver.uri, note={"endpoint": {"uri": receiver.uri, "accept": "application/ld+json"}})
        both = [{"entities": [{"type": "Bus"}]}, {"entities": [{"type": ["Car", "Van"]}], "propertyNames": ["speed"]}]
        await house.register("a", information=both, contextSourceInfo=[{"key": "Authorization", "value": "secret"}])
        await until(lambda: bool(receiver.got))
        assert receiver.got[0]["data"][0]["information"] == [both[1]] and "@context" in receiver.got[0]
        assert b"secret" not in orjson.dumps(receiver.got)
        assert receiver.headers[0]["Content-Type"] == "application/ld+json"


@pytest.mark.parametrize(
    ("members", "other", "right"),
    [
        ({"csf": "floor==3"}, {"floor": 4}, {"floor": 3}),
        (
            {"geoQ": {"georel": "near;maxDistance==10", "geometry": "Point", "coordinates": [69.2, 41.3]}},
            {"location": {"type": "Point", "coordinates": [0, 0]}},
            {"location": HERE},
        ),
        ({"scopeQ": "/Toshkent"}, {"scope": "/Buxoro"}, {"scope": "/Toshkent"}),
        (
            {"temporalQ": {"timerel": "before", "timeAt": "2026-01-15T00:00:00Z"}},
            {"managementInterval": PAST},
            {"observationInterval": PAST},
        ),
        (
            {"temporalQ": {"timerel": "after", "timeAt": "2026-01-15T00:00:00Z", "timeproperty": "createdAt"}},
            {"observationInterval": PAST},
            {"managementInterval": PAST},
        ),
        ({}, {"observationInterval": PAST}, {}),
        (
            {"watchedAttributes": ["speed"], "note": {"attributes": ["name"]}},
            {"information": [{"propertyNames": ["wheels"]}]},
            {"information": [{"propertyNames": ["name"]}]},
        ),
        (
            {"watchedAttributes": ["speed"]},
            {"information": [{"entities": [{"type": "Bus"}]}]},
            {"information": [{"propertyNames": ["wheels"]}]},
        ),
        (
            {"entities": [{"type": "Car", "id": "urn:car:1"}, {"type": "*", "idPattern": "^urn:x"}]},
            {"information": [{"entities": [{"type": "Car", "id": "urn:car:2"}]}]},
            {"information": [{"entities": [{"type": "Bus", "id": "urn:x:2"}]}]},
        ),
    ],
)
async def test_registrations_are_held_against_what_the_subscription_asks(
    tmp_path: Path, receiver: Receiver, members: dict[str, Any], other: dict[str, Any], right: dict[str, Any]
) -> None:
    async with city(tmp_path) as house:
        await house.follow(receiver.uri, **members)
        await house.register("other", **other)
        await house.register("right", **right)
        await until(lambda: bool(receiver.got))
        assert told(receiver) == [("newlyMatching", ["right"])]


async def test_an_expired_registration_no_longer_matches(tmp_path: Path, receiver: Receiver) -> None:
    async with city(tmp_path) as house:
        await house.follow(receiver.uri)
        await house.register("a", expiresAt="2100-01-01T00:00:00Z")
        await house.sources.expire(5_000_000_000 * SECOND)
        await until(lambda: len(receiver.got) == 2)
        assert told(receiver) == [("newlyMatching", ["a"]), ("noLongerMatching", ["a"])]


async def test_tenants_do_not_hear_of_each_other(tmp_path: Path, receiver: Receiver) -> None:
    async with city(tmp_path) as house:
        await house.follow(receiver.uri, tenant="north")
        await house.register("a")
        await house.register("b", tenant="north")
        await until(lambda: bool(receiver.got))
        assert told(receiver) == [("newlyMatching", ["b"])]
        assert receiver.headers[0]["NGSILD-Tenant"] == "north"


# -- the subscription -------------------------------------------------------------------------------------------------


async def test_a_changed_subscription_is_told_everything_that_matches_now(tmp_path: Path, receiver: Receiver) -> None:
    async with city(tmp_path) as house:
        for name, kind in (("a", "Car"), ("b", "Bus"), ("c", "Bus")):
            await house.register(name, information=[{"entities": [{"type": kind}]}])
        await house.follow(receiver.uri)
        await house.subs.update("", SUB, {"entities": [{"type": "Bus"}]}, CORE, now())
        await until(lambda: len(receiver.got) == 2)
        assert told(receiver) == [("newlyMatching", ["a"]), ("newlyMatching", ["b", "c"])]


async def test_a_paused_subscription_is_told_nothing_and_one_that_runs_again_what_matches(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with city(tmp_path) as house:
        await house.follow(receiver.uri, isActive=False)
        await house.register("a")
        await house.subs.update("", SUB, {"isActive": True}, CORE, now())
        await until(lambda: bool(receiver.got))
        await house.subs.update("", SUB, {"isActive": False}, CORE, now())
        await house.register("b")
        await house.subs.update("", SUB, {"isActive": True}, CORE, now())
        await until(lambda: len(receiver.got) == 2)
        assert told(receiver) == [("newlyMatching", ["a"]), ("newlyMatching", ["a", "b"])]


async def test_a_subscription_that_expires_loses_what_waits_and_begins_anew_when_it_is_prolonged(
    tmp_path: Path, receiver: Receiver, quick: None
) -> None:
    receiver.status = 503
    async with city(tmp_path) as house:
        await house.follow(receiver.uri, expiresAt="2100-01-01T00:00:00Z")
        await house.register("a")
        await house.change("a", description="x")
        await until(lambda: any(lane.failures > 1 for lane in house.subs._lanes.values()))
        late = 4_200_000_000 * SECOND
        house.clock = lambda: late
        await house.sources.create("", source(id="urn:b"), CORE, late)
        await until(lambda: not any(lane.waiting or lane.flying for lane in house.subs._lanes.values()))
        receiver.status = 200
        await house.subs.update("", SUB, {"expiresAt": "2200-01-01T00:00:00Z"}, CORE, late)
        await until(lambda: bool(receiver.got))
        await house.sources.create("", source(id="urn:c"), CORE, late)
        await until(lambda: len(receiver.got) == 2)
        assert told(receiver) == [("newlyMatching", ["a", "b"]), ("newlyMatching", ["c"])]


async def test_a_deleted_subscription_is_told_nothing(tmp_path: Path, receiver: Receiver) -> None:
    async with city(tmp_path) as house:
        await house.follow(receiver.uri)
        await house.subs.delete("", SUB, now())
        await house.register("a")
        await until(lambda: not house.subs.lanes() and not house.subs._forgotten)
        assert told(receiver) == []
        with pytest.raises(NotFound):
            await house.subs.get("", SUB)


async def test_throttled_changes_of_one_reason_are_told_together_and_the_next_a_period_later(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with city(tmp_path) as house:
        await house.register("a")
        await house.follow(receiver.uri, throttling=0.3)
        await until(lambda: len(receiver.got) == 1)
        for name in ("b", "c"):
            await house.register(name)
        for number in range(3):
            await house.change("b", description=str(number))
        await until(lambda: len(receiver.got) == 3)
        assert told(receiver)[1:] == [("newlyMatching", ["b", "c"]), ("updated", ["b"])]
        assert receiver.got[2]["data"][0]["description"] == "2"


async def test_a_periodic_subscription_is_told_at_its_start_and_then_every_period_whatever_changes(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with city(tmp_path) as house:
        await house.register("a")
        await house.follow(receiver.uri, timeInterval=0.3)
        await until(lambda: len(receiver.got) == 1)
        await house.register("b")
        await until(lambda: len(receiver.got) == 3)
        assert told(receiver) == [("newlyMatching", ["a"]), *[("newlyMatching", ["a", "b"])] * 2]


async def test_an_owner_who_may_read_no_longer_is_told_no_longer(tmp_path: Path, receiver: Receiver) -> None:
    reads: list[Reads] = [frozenset({D + "Car"})]

    async def rights(_owner: str, _tenant: str) -> tuple[Reads, float | None]:
        return reads[0], 0.05

    async with city(tmp_path, rights) as house:
        await house.follow(receiver.uri, entities=[{"type": "*"}])
        await house.register("any", information=[{"propertyNames": ["speed"]}])
        await house.register("car")
        await until(lambda: bool(receiver.got))
        reads[0] = frozenset()
        await until(lambda: all(not lane.runs for lane in house.subs._lanes.values()))
        await house.register("late")
        await asyncio.sleep(0.1)
        assert told(receiver) == [("newlyMatching", ["car"])]


# -- endpoints that fail, houses that stop ----------------------------------------------------------------------------


async def test_a_failing_endpoint_is_told_everything_in_order_and_each_is_counted_once(
    tmp_path: Path, receiver: Receiver, quick: None
) -> None:
    async with city(tmp_path) as house:
        receiver.status = 503
        await house.follow(receiver.uri)
        for number in range(20):
            await house.register(f"r{number}")
        await until(lambda: any(lane.failures > 7 for lane in house.subs._lanes.values()))
        tally = await house.tally()
        assert (tally.times_sent, tally.times_failed, tally.ok) == (1, 1, False)
        receiver.status = 200
        await until(lambda: len(receiver.got) == 20)
        assert [names for _, names in told(receiver)] == [[f"r{number}"] for number in range(20)]
        await until(lambda: not any(lane.flying for lane in house.subs._lanes.values()))
        tally = await house.tally()
        assert (tally.times_sent, tally.times_failed, tally.ok) == (20, 1, True)


async def test_what_waits_survives_a_stop(tmp_path: Path, receiver: Receiver, quick: None) -> None:
    receiver.status = 503
    async with city(tmp_path) as house:
        await house.register("a")
        await house.follow(receiver.uri)
        await house.register("b")
        await until(lambda: any(len(lane.pending) == 2 for lane in house.subs._lanes.values()))
    receiver.status = 200
    async with city(tmp_path) as house:
        await house.register("c")
        await until(lambda: len(receiver.got) == 3)
        assert told(receiver) == [("newlyMatching", [name]) for name in ("a", "b", "c")]
    async with city(tmp_path) as house:
        await house.register("d")
        await until(lambda: len(receiver.got) == 4)
        assert told(receiver)[3] == ("newlyMatching", ["d"])
        assert (await house.tally()).times_sent >= 4


async def test_what_was_not_yet_kept_is_read_from_the_journal_again(tmp_path: Path, receiver: Receiver) -> None:
    async with city(tmp_path) as house:
        await house.follow(receiver.uri)
        await until(lambda: bool(house.subs._lanes))
    silent = City(tmp_path)
    await silent.db.open()
    await silent.register("a")
    await silent.db.close()
    async with city(tmp_path):
        await until(lambda: bool(receiver.got))
        assert told(receiver) == [("newlyMatching", ["a"])]


@pytest.mark.sqlite
async def test_what_waits_survives_a_kill(tmp_path: Path, receiver: Receiver, quick: None) -> None:
    receiver.status = 503
    (tmp_path / "live").mkdir()
    (tmp_path / "copy").mkdir()
    async with city(tmp_path / "live") as house:
        await house.follow(receiver.uri)
        for name in ("a", "b"):
            await house.register(name)
        await house.change("a", description="x")
        await until(lambda: any(len(lane.pending) == 3 for lane in house.subs._lanes.values()))
        for file in (tmp_path / "live").iterdir():
            if file.name.startswith("city.db"):
                shutil.copy(file, tmp_path / "copy" / file.name)
        await house.sources.delete("", "urn:b", now())
    receiver.status = 200
    async with city(tmp_path / "copy"):
        await until(lambda: len(receiver.got) >= 3)
        assert told(receiver) == [("newlyMatching", ["a"]), ("newlyMatching", ["b"]), ("updated", ["a"])]


async def test_beyond_a_bound_the_changes_of_one_registration_are_made_one(
    tmp_path: Path, receiver: Receiver, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PENDING", 5)
    async with city(tmp_path) as house:
        receiver.status = 503
        await house.register("a")
        await house.follow(receiver.uri)
        await until(lambda: any(lane.failures > 6 for lane in house.subs._lanes.values()))
        await house.register("b")
        for number in range(20):
            await house.change("b", description=str(number))
        await until(lambda: house.subs._seen >= 23)
        assert all(len(lane.pending) <= 6 for lane in house.subs._lanes.values())
        receiver.status = 200
        await until(lambda: bool(receiver.got) and receiver.got[-1]["data"][0].get("description") == "19")
        assert receiver.got[0]["data"][0]["id"] == "urn:a" and len(receiver.got) < 12


async def test_a_notification_that_is_refused_is_a_dead_letter_and_the_next_goes(
    tmp_path: Path, receiver: Receiver, quick: None
) -> None:
    receiver.answer = lambda note: 400 if note["data"][0]["id"] == "urn:bad" else 200
    async with city(tmp_path) as house:
        await house.follow(receiver.uri)
        await house.register("bad")
        await house.register("good")
        await until(lambda: bool(receiver.got))
        assert told(receiver) == [("newlyMatching", ["good"])]
        letters: list[dict[str, Any]] = []
        while not letters:
            await asyncio.sleep(0.02)
            letters = await house.subs.dead_letters.page("", "", 10, by=HOUSE)
        assert letters[0]["subscription"] == SUB and letters[0]["body"]["data"][0]["id"] == "urn:bad"
        receiver.answer = lambda _: 200
        await house.subs.dead_letters.send("", letters[0]["id"], now(), by=HOUSE)
        assert told(receiver)[-1] == ("newlyMatching", ["bad"])


def test_changes_together_are_told_as_what_they_are_to_somebody_who_heard_of_none() -> None:
    def waits(reason: Any, name: str) -> bytes:
        record = {
            "id": name,
            "body": {"information": [{"propertyNames": ["x"]}], "endpoint": "http://s.example"},
            "instances": {}, "own": {}, "context": None,
        }  # fmt: skip
        return tidings.payload_of(name, reason, [(record, (0,))], 7)

    def together(*reasons: str) -> list[str]:
        found = tidings.folded({number: waits(reason, "urn:a") for number, reason in enumerate(reasons)})
        return [orjson.loads(payload)[0]["reason"] for payload in found.values()]

    new, old, gone = "newlyMatching", "updated", "noLongerMatching"
    assert together(new, old) == [new] and together(new, gone) == []
    assert together(old, old) == [old] and together(old, gone) == [gone]
    assert together(gone, new) == [old] and together(gone, new, gone) == [gone]
    assert together(new, gone, new) == [new]


# -- over HTTP --------------------------------------------------------------------------------------------------------

ROOT = BASE + "/csourceSubscriptions"


def body(**members: Any) -> dict[str, Any]:
    note = {"endpoint": {"uri": "http://followers.example/notify"}}
    return {"type": "Subscription", "entities": [{"type": "Car"}], "notification": note, **members}


async def nowhere(_address: str) -> bytes:
    raise AssertionError("a context was fetched")


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    rights = [Scope(act, what) for act in ("read", "write") for what in ("subscriptions", "registrations")]
    async with asking(tmp_path, nowhere, rights, "*") as (made, _):
        yield made


async def test_a_registration_subscription_is_made_told_changed_listed_and_deleted(client: httpx.AsyncClient) -> None:
    given = body(csf="floor==3", temporalQ={"timerel": "before", "timeAt": "2026-01-01T00:00:00Z"})
    made = (await client.post(ROOT, json=given)).headers["location"].rpartition("/")[2]
    shown = (await client.get(f"{ROOT}/{made}")).json()
    note = {"endpoint": {"uri": "http://followers.example/notify"}}
    assert shown == {"id": made, **given, "notification": note, "status": "active"}
    assert (await client.patch(f"{ROOT}/{made}", json={"isActive": False, "csf": None})).status_code == 204
    listed = await client.get(ROOT, params={"count": "true", "options": "sysAttrs"})
    assert listed.headers["ngsild-results-count"] == "1"
    assert listed.json()[0]["status"] == "paused" and "csf" not in listed.json()[0] and "createdAt" in listed.json()[0]
    assert (await client.delete(f"{ROOT}/{made}")).status_code == 204
    assert (await client.get(f"{ROOT}/{made}")).status_code == 404
    assert (await client.get(ROOT)).json() == []


@pytest.mark.parametrize(
    "members",
    [
        {"type": "Car"},
        {"notification": {}},
        {"csf": "floor=="},
        {"temporalQ": {"timerel": "since", "timeAt": "2026-01-01T00:00:00Z"}},
        {"temporalQ": {"timerel": "between", "timeAt": "2026-02-01T00:00:00Z", "endTimeAt": "2026-01-01T00:00:00Z"}},
        {"temporalQ": 7},
        {"notification": {"endpoint": {"uri": "http://f.example", "accept": "application/geo+json"}}},
        {"entities": [{"id": "urn:x"}]},
        {"watchedAttributes": []},
        {"expiresAt": "2020-01-01T00:00:00Z"},
        {"nonsense": 1},
    ],
)
async def test_a_body_that_breaks_a_rule_is_refused(client: httpx.AsyncClient, members: dict[str, Any]) -> None:
    answer = await client.post(ROOT, json=body(**members))
    assert answer.status_code == 400 and answer.json()["type"].endswith("BadRequestData")
    assert (await client.get(ROOT)).json() == []


async def test_what_cannot_be_done_is_said(client: httpx.AsyncClient) -> None:
    await client.post(ROOT, json=body(id=SUB))
    assert (await client.post(ROOT, json=body(id=SUB))).status_code == 409
    assert (await client.patch(f"{ROOT}/urn:other", json={"isActive": True})).status_code == 404
    assert (await client.patch(f"{ROOT}/noUri", json={"isActive": True})).status_code == 400
    assert (await client.patch(f"{ROOT}/{SUB}", content=b"{")).json()["type"].endswith("InvalidRequest")
    assert (await client.patch(f"{ROOT}/{SUB}", content=b"{}")).status_code == 415
    assert (await client.delete(f"{ROOT}/urn:other")).status_code == 404
    assert (await client.get(ROOT, params={"limit": "0"})).status_code == 400
    assert (await client.get(f"{ROOT}/noUri")).headers["content-type"] == "application/json"


async def test_whoever_follows_must_be_allowed_to_read_what_is_followed(tmp_path: Path) -> None:
    rights = [
        Scope("write", "subscriptions"), Scope("read", "subscriptions"),
        Scope("read", "registrations", types=(D + "Car",)),
    ]  # fmt: skip
    async with asking(tmp_path, nowhere, rights, "*") as (client, _):
        assert (await client.post(ROOT, json=body(id=SUB))).status_code == 201
        assert (await client.post(ROOT, json=body(entities=[{"type": "Bus"}]))).status_code == 403
        assert (await client.post(ROOT, json=body(entities=[{"type": "*"}]))).status_code == 403
        assert (await client.patch(f"{ROOT}/{SUB}", json={"entities": [{"type": "Bus"}]})).status_code == 403


async def test_the_service_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    async with city(tmp_path) as house:
        await house.follow("http://127.0.0.1:1/x")
        with pytest.raises(Exists):
            await house.follow("http://127.0.0.1:1/x")
        with pytest.raises(Invalid):
            await house.subs.update("", SUB, {"csf": "=="}, CORE, now())
