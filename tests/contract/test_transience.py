"""Transient entities and attributes: they end when they are said to, and only then (ETSI GS CIM 009 clause 4.22)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shahar.model import query as q
from shahar.model.change import Change, Kind
from shahar.model.context import CORE
from shahar.model.entity import PATCH, parse_entity
from shahar.model.ordering import parse as parse_order
from shahar.model.render import View, entity
from shahar.model.told import read_whole
from shahar.services.broker import Broker, Span
from shahar.services.transience import CHUNK, Transience
from shahar.store import expiries, journal
from shahar.store.db import Database
from shahar.values import instants
from shahar.values.errors import Invalid, NotFound, ShaharError
from shahar.values.instants import SECOND, Instant
from tests.engines import store_at

pytestmark = pytest.mark.anyio
NOW = instants.parse("2026-11-22T12:00:00Z")
D = "https://uri.etsi.org/ngsi-ld/default-context/"


class City:
    """A store, and a clock that is moved by hand."""

    def __init__(self, db: Database) -> None:
        self.db, self.broker, self.at = db, Broker(db), NOW
        self.transience = Transience(self.broker, lambda: self.at)

    async def change(self, kind: Kind, name: str, tenant: str = "", **members: Any) -> None:
        """Change entity urn:x:name by these members."""
        fragment = parse_entity({"id": f"urn:x:{name}", "type": "Alert", **members}, CORE, PATCH)
        attr = D + next((member for member in members if member != "expiresAt"), "a")
        await self.broker.change(tenant, Change(kind, f"urn:x:{name}", fragment, attr), self.at)

    async def pass_s(self, seconds: float) -> int:
        """Let time go by and sweep; how many entities were met."""
        self.at += round(seconds * SECOND)
        return await self.transience.sweep(self.at)

    async def shown(self, name: str) -> dict[str, Any]:
        """The entity with system members."""
        return entity(await self.broker.get("", f"urn:x:{name}"), View(CORE, sys=True))

    async def there(self, name: str) -> bool:
        """Whether the entity is there."""
        try:
            await self.broker.get("", f"urn:x:{name}")
        except NotFound:
            return False
        return True


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[City]:
    """An empty city."""
    db = store_at(tmp_path / "city.db")
    await db.open()
    yield City(db)
    await db.close()


def after(seconds: float, start: Instant = NOW) -> str:
    """The instant so many seconds later, as a text."""
    return instants.text(start + round(seconds * SECOND))


async def test_an_entity_is_there_until_its_end_and_gone_after_it(city: City) -> None:
    await city.change("create", "1", expiresAt=after(10), a=1)
    assert await city.pass_s(9.9) == 0 and await city.there("1")
    assert await city.pass_s(0.1) == 1 and not await city.there("1")
    kinds = await city.db.read(lambda tx: [entry.kind for entry in journal.read(tx, 0, 9)])
    assert kinds == ["entity.created", "entity.deleted"]
    evolution = await city.broker.evolution("", "urn:x:1", Span(by="deletedAt"))
    assert [one["deletedAt"] for one in evolution.series[f"{D}a"]] == [city.at]
    await city.change("create", "1", a=2)
    assert await city.pass_s(1e6) == 0 and await city.there("1")


async def test_an_attribute_ends_for_itself_each_instance_and_each_attribute_of_it(city: City) -> None:
    await city.change(
        "create", "1",
        a=[{"value": 1, "expiresAt": after(5)}, {"value": 2, "datasetId": "urn:d:1"}],
        b={"value": 1, "c": {"value": 2, "expiresAt": after(7)}, "d": {"value": 3}},
        e={"value": 1, "f": {"value": 2, "expiresAt": after(8)}},
    )  # fmt: skip
    assert (await city.shown("1"))["a"][0]["expiresAt"] == after(5)
    await city.pass_s(6)
    assert (await city.shown("1"))["a"]["datasetId"] == "urn:d:1"
    assert "c" in (await city.shown("1"))["b"]
    await city.pass_s(3)
    shown = await city.shown("1")
    assert "c" not in shown["b"] and "d" in shown["b"] and shown["e"].keys() == {
        "type", "value", "createdAt", "modifiedAt",
    }  # fmt: skip
    assert await city.db.read(expiries.first) is None


@pytest.mark.parametrize("kind", ["append", "update", "merge", "replace", "upsert", "observe"])
async def test_an_end_can_be_put_off(city: City, kind: Kind) -> None:
    await city.change("create", "1", expiresAt=after(5), a=1)
    await city.change(kind, "1", expiresAt=after(50), b=2)
    await city.pass_s(20)
    assert (await city.shown("1"))["expiresAt"] == after(50)
    await city.pass_s(40)
    assert not await city.there("1")


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("merge", {"expiresAt": "urn:ngsi-ld:null"}),
        ("update", {"expiresAt": "urn:ngsi-ld:null"}),
        ("replace", {"a": 1}),
        ("upsert", {"a": 1}),
    ],
)
async def test_an_end_can_be_taken_back(city: City, kind: Kind, members: dict[str, Any]) -> None:
    await city.change("create", "1", expiresAt=after(5), a=1)
    await city.change(kind, "1", **members)
    assert await city.pass_s(20) == 0 and "expiresAt" not in await city.shown("1")


async def test_an_end_is_not_put_over_another_where_nothing_may_be_overwritten(city: City) -> None:
    await city.change("create", "1", expiresAt=after(5), a=1)
    await city.change("append_new", "1", expiresAt=after(50), b=1)
    assert (await city.shown("1"))["expiresAt"] == after(5)


async def test_an_attributes_end_stays_in_a_partial_update_and_goes_with_a_whole_one(city: City) -> None:
    await city.change("create", "1", a={"value": 1, "expiresAt": after(5)}, b={"value": 1, "expiresAt": after(5)})
    await city.change("partial", "1", a={"value": 2})
    assert (await city.shown("1"))["a"]["expiresAt"] == after(5)
    await city.change("update", "1", a={"value": 3})
    await city.change("merge", "1", b={"expiresAt": "urn:ngsi-ld:null", "value": 1})
    assert await city.pass_s(20) == 0 and {"a", "b"} <= (await city.shown("1")).keys()


@pytest.mark.parametrize(
    "members",
    [
        {"expiresAt": after(0)},
        {"expiresAt": after(-5)},
        {"expiresAt": "tomorrow"},
        {"expiresAt": 5},
        {"a": {"value": 1, "expiresAt": after(-1)}},
        {"a": {"value": 1, "expiresAt": "2026-13-01T00:00:00Z"}},
    ],
)
async def test_an_end_that_is_past_or_none_is_refused_and_nothing_is_written(
    city: City, members: dict[str, Any]
) -> None:
    await city.change("create", "old", a=1)
    tried: list[tuple[Kind, str]] = [("create", "1"), ("merge", "old"), ("append", "old")]
    for kind, name in tried:
        with pytest.raises(Invalid):
            await city.change(kind, name, **members)
    assert not await city.there("1") and "expiresAt" not in await city.shown("old")


async def test_an_end_is_shown_with_system_members_alone_and_can_be_asked_for(city: City) -> None:
    await city.change("create", "1", expiresAt=after(5), a={"value": 1, "expiresAt": after(4)})
    await city.change("create", "2", a=1)
    bare = entity(await city.broker.get("", "urn:x:1"), View(CORE))
    assert "expiresAt" not in bare and "expiresAt" not in bare["a"]

    async def found(text: str) -> list[str]:
        asked = q.Query(q=q.parse_q(text, CORE.expand))
        return [doc["id"] for doc in (await city.broker.find("", asked, limit=9)).docs]

    assert await found(f"expiresAt<={after(5)}") == ["urn:x:1"]
    assert await found(f"a.expiresAt<{after(5)}") == ["urn:x:1"]
    order = parse_order("expiresAt;desc", CORE.expand)
    page = await city.broker.find("", q.Query(), limit=9, order=order)
    assert [doc["id"] for doc in page.docs] == ["urn:x:1", "urn:x:2"]


async def test_many_ends_of_many_tenants_are_met_in_small_works(city: City) -> None:
    for number in range(CHUNK + 10):
        await city.change("create", str(number), "" if number % 2 else "harbour", expiresAt=after(1 + number % 3))
    works = city.db.counters.works
    assert await city.pass_s(5) == CHUNK + 10
    assert city.db.counters.works - works == 4
    for tenant in ("", "harbour"):
        assert (await city.broker.find(tenant, q.Query(), limit=1)).docs == []


async def test_the_sweep_runs_by_itself_and_takes_up_what_ended_before_it_began(city: City) -> None:
    await city.change("create", "1", expiresAt=after(5))
    await city.change("create", "2", expiresAt=after(50))
    city.at += 6 * SECOND
    await city.transience.start()
    await asyncio.sleep(0.1)
    assert not await city.there("1") and await city.there("2")
    city.at += 60 * SECOND
    await city.change("create", "3", expiresAt=after(5, city.at))
    await asyncio.sleep(0.6)
    assert not await city.there("2") and await city.there("3")
    await city.transience.stop()


async def test_a_failing_sweep_is_tried_again(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shahar.services.transience.WAIT_S", 0.05)
    monkeypatch.setattr("shahar.services.transience.TICK_S", 0.05)
    await city.change("create", "1", expiresAt=after(1))
    whole = city.broker.apply

    async def broken(*_: object, **__: object) -> list[ShaharError]:
        raise RuntimeError("not now")

    monkeypatch.setattr(Broker, "apply", broken)
    await city.transience.start()
    city.at += 2 * SECOND
    await asyncio.sleep(0.2)
    assert await city.there("1")
    monkeypatch.setattr(Broker, "apply", lambda _self, *rest, **more: whole(*rest, **more))
    await asyncio.sleep(0.2)
    assert not await city.there("1")
    await city.transience.stop()


async def test_what_a_batch_tells_ends_too(city: City) -> None:
    bodies = [
        {"id": "urn:x:1", "type": "Alert", "expiresAt": after(5), "a": {"type": "Property", "value": 1}},
        {"id": "urn:x:2", "type": "Alert", "a": {"type": "Property", "value": 1, "expiresAt": after(5)}},
    ]
    await city.broker.apply("", [read_whole("upsert", body, CORE, NOW) for body in bodies], NOW)
    assert await city.pass_s(6) == 2
    assert not await city.there("1") and "a" not in await city.shown("2")
    for body in bodies:
        with pytest.raises(Invalid):
            read_whole("create", body, CORE, city.at)
