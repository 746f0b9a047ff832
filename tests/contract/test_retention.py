"""Retention: what is kept, how long and how fine, per tenant and type; said over HTTP, done when days are sealed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from shahar.model import query as q
from shahar.model.access import HOUSE, Actor, Scope
from shahar.model.evolution import Chronicle
from shahar.model.temporal import Span
from shahar.services import past, retention, temporal
from shahar.services.broker import Broker
from shahar.services.retention import Rule, due
from shahar.services.sealing import Sealing
from shahar.services.temporal import Asked
from shahar.store.lake import LAKE, Lake, Thinning
from shahar.values.errors import Forbidden, Invalid
from shahar.values.instants import DAY, HOUR, MINUTE
from tests.engines import store_at
from tests.whole import BASE, asking_all

pytestmark = pytest.mark.anyio
FIRST = 20_000 * DAY
PATH = "/api/retention"


@dataclass
class Town:
    """A store with a lake."""

    broker: Broker
    sealing: Sealing

    async def tell(self, entity: str, kind: str, readings: dict[int, Any], at: int = FIRST + 2 * DAY) -> None:
        """Tell of an entity's level: minute of the first day -> value."""
        listed = [
            {"type": "Property", "value": value, "unitCode": "CEL", "observedAt": FIRST + minute * MINUTE}
            for minute, value in readings.items()
        ]
        doc = {"id": entity, "type": [kind], "attrs": {"urn:level": listed}}
        await past.tell(self.broker, "", Chronicle(doc), at, create=True)

    async def level(self, entity: str) -> list[tuple[int, Any]]:
        """Minute and value of what is left of it."""
        answer = await temporal.find(
            self.broker, "", q.Query(ids=(entity,)), Asked(Span(), needed=None, most=1_000), limit=10
        )
        listed = answer.found[0].series.get("urn:level", [])
        assert all(one["unitCode"] == "CEL" for one in listed)
        return [((one["observedAt"] - FIRST) // MINUTE, one["value"]) for one in listed]

    async def age(self, days: int) -> None:
        """Look at the city when its first day is so old."""
        assert not (await self.sealing.look(FIRST + days * DAY)).failed


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    """A store of its own."""
    db = store_at(tmp_path / "shahar.db")
    db.lake = Lake(tmp_path / LAKE)
    await db.open()
    yield Town(Broker(db), Sealing(db, db.lake, lambda: 0, 7))
    await db.close()


READINGS: dict[int, Any] = {0: 1, 20: 2, 40: 6, 60: 10.5, 90: 11.5, 130: "off", 150: "on"}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("mean", [(0, 3), (60, 11), (150, "on")]),
        ("min", [(0, 1), (60, 10.5), (150, "on")]),
        ("max", [(0, 6), (60, 11.5), (150, "on")]),
        ("last", [(0, 6), (60, 11.5), (150, "on")]),
    ],
)
async def test_of_numbers_a_figure_is_left_of_anything_else_the_last(
    town: Town, method: str, expected: list[tuple[int, Any]]
) -> None:
    await town.tell("urn:e:1", "urn:T", READINGS)
    await retention.put(town.broker.db, "", Rule("urn:T", None, 20, HOUR, method), 0, by=HOUSE)
    await town.age(20)
    assert await town.level("urn:e:1") == list(READINGS.items())
    await town.age(21)
    assert await town.level("urn:e:1") == expected


async def test_what_is_older_than_it_is_kept_goes_and_other_types_stay(town: Town) -> None:
    for number, kind in enumerate(("urn:T", "urn:U", "urn:V")):
        await town.tell(f"urn:e:{number}", kind, {0: 1.5, 30: 2.5})
    await retention.put(town.broker.db, "", Rule("urn:T", 30), 0, by=HOUSE)
    await retention.put(town.broker.db, "", Rule("urn:U", None, 60, HOUR, "max"), 0, by=HOUSE)
    await retention.put(town.broker.db, "", Rule("*", 90), 0, by=HOUSE)
    await town.age(31)
    assert [await town.level(f"urn:e:{number}") for number in range(3)] == [
        [],
        [(0, 1.5), (30, 2.5)],
        [(0, 1.5), (30, 2.5)],
    ]
    await town.age(100)
    assert [await town.level(f"urn:e:{number}") for number in range(3)] == [[], [(0, 2.5)], []]


async def test_what_comes_late_for_a_thinned_day_is_thinned_with_it(town: Town) -> None:
    await town.tell("urn:e:1", "urn:T", {0: 1, 30: 3})
    await retention.put(town.broker.db, "", Rule("*", None, 10, DAY, "max"), 0, by=HOUSE)
    await town.age(11)
    assert await town.level("urn:e:1") == [(0, 3)]
    await town.tell("urn:e:1", "urn:T", {700: 8}, FIRST + 11 * DAY)
    assert await town.level("urn:e:1") == [(0, 3), (700, 8)]
    await town.age(12)
    assert await town.level("urn:e:1") == [(0, 8)]


async def test_a_day_of_which_nothing_is_left_has_no_file(town: Town) -> None:
    await town.tell("urn:e:1", "urn:T", {0: 1})
    await retention.put(town.broker.db, "", Rule("*", 10), 0, by=HOUSE)
    await town.age(11)
    await town.age(12)
    await town.age(14)
    assert town.broker.db.lake is not None
    assert town.broker.db.lake.names() == []
    rows = await town.broker.db.read(lambda tx: tx.rows("SELECT (SELECT count(*) FROM sealed), count(*) FROM history"))
    assert rows == [(0, 0)]


def test_a_rule_about_all_the_others_leaves_those_that_are_named() -> None:
    rules = [Rule("*", 100), Rule("urn:T", None, 200, HOUR, "mean")]
    assert due(rules, 100) == []
    assert due(rules, 101) == [Thinning("urn:T", -1, ""), Thinning("", 0, "")]
    assert due(rules, 201) == [Thinning("urn:T", HOUR, "mean"), Thinning("", 0, "")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "type"),
        ({"type": "urn:T"}, "keepDays"),
        ({"type": "urn:T", "keepDays": 0}, "keepDays"),
        ({"type": "urn:T", "keepDays": True}, "keepDays"),
        ({"type": "urn:T", "keepDays": 5, "more": 1}, "more"),
        ({"type": "urn:T", "thin": []}, "thin"),
        ({"type": "urn:T", "thin": {"period": "PT1H"}}, "thin.afterDays"),
        ({"type": "urn:T", "thin": {"afterDays": 3, "period": "PT7M"}}, "thin.period"),
        ({"type": "urn:T", "thin": {"afterDays": 3, "period": "P1M"}}, "thin.period"),
        ({"type": "urn:T", "thin": {"afterDays": 3, "period": "PT1H", "method": "mode"}}, "thin.method"),
        ({"type": "urn:T", "keepDays": 3, "thin": {"afterDays": 3, "period": "PT1H"}}, "keepDays"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_member(body: Any, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        retention.read(body)
    assert refused.value.field == field


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody on the same machine, who may do everything."""
    async with asking_all(tmp_path) as found:
        yield found


async def test_an_administrator_says_reads_and_takes_back_rules(client: httpx.AsyncClient) -> None:
    rule = {"type": "urn:T", "keepDays": 730, "thin": {"afterDays": 90, "period": "PT1H", "method": "mean"}}
    made = await client.post(BASE + PATH, json=rule)
    assert made.status_code == 201
    assert (await client.post(BASE + PATH, json=rule | {"keepDays": 900})).status_code == 200
    listed = (await client.get(BASE + PATH)).json()
    assert listed == [{"id": made.json()["id"], **rule, "keepDays": 900}]
    refused = await client.post(BASE + PATH, json=rule | {"keepDays": -1})
    assert refused.status_code == 400
    assert refused.json()["field"] == "keepDays"
    assert (await client.delete(f"{BASE}{PATH}/{made.json()['id']}")).status_code == 204
    assert (await client.delete(f"{BASE}{PATH}/{made.json()['id']}")).status_code == 404
    assert (await client.get(BASE + PATH)).json() == []


async def test_who_may_only_write_the_past_may_not(town: Town) -> None:
    actor = Actor("nodira", "key", "Nodira", (Scope("write", "temporal", ""),))
    with pytest.raises(Forbidden):
        await retention.put(town.broker.db, "", Rule("*", 9), 0, by=actor)
    with pytest.raises(Forbidden):
        await retention.listed(town.broker.db, "", by=actor)
    with pytest.raises(Forbidden):
        await retention.drop(town.broker.db, "", "x", 0, by=actor)
