"""The store's promises on a real file: durable together, isolated failures, history once, pages that agree with
evaluation.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from shahar.model import query as q
from shahar.model.change import Applied, Change, Kind
from shahar.model.context import CORE
from shahar.model.entity import parse_entity
from shahar.model.evolution import Chronicle
from shahar.model.temporal import Span
from shahar.model.told import read_whole
from shahar.services import past
from shahar.services.broker import Broker, Mark
from shahar.store import entities, history, instances, journal, tenants
from shahar.store.db import Database, Tx
from shahar.store.entities import Held
from shahar.values.errors import Invalid, NoTenant, NotFound, TooComplex, Unavailable
from tests.engines import store_at

pytestmark = pytest.mark.anyio
D = "https://uri.etsi.org/ngsi-ld/default-context/"
AT = 1_700_000_000_000_000


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    """An open store in a folder of its own."""
    database = store_at(tmp_path / "shahar.db")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def broker(db: Database) -> Broker:
    """The door of the store."""
    return Broker(db)


def create(entity_id: str, **attributes: Any) -> Change:
    """A creation of type T."""
    return Change("create", entity_id, parse_entity({"id": entity_id, "type": "T", **attributes}, CORE))


def observe(entity_id: str, value: Any, at: int) -> Change:
    """A reading of attribute a."""
    return Change(
        "observe",
        entity_id,
        {
            "id": entity_id,
            "type": [D + "T"],
            "attrs": {D + "a": [{"type": "Property", "value": value, "observedAt": at}]},
        },
    )


async def entries(db: Database) -> list[journal.Entry]:
    """The whole journal."""
    return await db.read(lambda tx: journal.read(tx, 0, 10_000))


async def test_document_history_and_journal_are_written_together(db: Database, broker: Broker) -> None:
    await broker.change("", create("urn:a:1", a={"value": 1, "observedAt": "2024-01-01T00:00:00Z"}), AT)
    assert (await broker.get("", "urn:a:1"))["attrs"][D + "a"][0]["value"] == 1
    evolution = await broker.evolution("", "urn:a:1", Span())
    assert [one["value"] for one in evolution.series[D + "a"]] == [1]
    (entry,) = await entries(db)
    assert (entry.kind, entry.key, list(entry.what["set"])) == ("entity.created", "urn:a:1", [D + "a"])


async def test_a_failing_work_takes_nobody_with_it(db: Database) -> None:
    def make(name: str) -> Any:
        return lambda tx: tenants.make(tx, name, AT)

    def spoil(tx: Tx) -> None:
        tenants.make(tx, "spoilt", AT)
        raise Invalid("after writing")

    def crash(tx: Tx) -> None:
        tenants.make(tx, "crashed", AT)
        tx.run("INSERT INTO nowhere VALUES(1)")

    results = await asyncio.gather(
        *(db.write(make(f"t{i}")) for i in range(20)),
        db.write(spoil),
        db.write(crash),
        db.write(make("last")),
        return_exceptions=True,
    )
    assert [isinstance(result, Exception) for result in results] == [False] * 20 + [True, True, False]
    assert isinstance(results[20], Invalid)
    assert set(await db.read(tenants.every)) == {f"t{i}" for i in range(20)} | {"", "last"}


async def test_batch_members_fail_each_for_itself(broker: Broker) -> None:
    await broker.change("", create("urn:a:1", a=1), AT)
    outcomes = await broker.apply("", [create("urn:a:1", a=2), create("urn:a:2", a=2)], AT)
    assert [isinstance(outcome, Applied) for outcome in outcomes] == [False, True]


TOLD: list[tuple[str, dict[str, Any]]] = [
    ("upsert", {"a": 1.5, "b": {"type": "Property", "value": 2, "unitCode": "C62"}, "scope": "/x"}),
    ("upsert", {"a": 2.5, "place": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [69.2, 41.3]}}}),
    ("create", {"a": 3}),
    ("delete", {}),
    ("create", {"c": [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:d:1"}]}),
    ("upsert", {"c": [{"type": "Property", "value": 3, "datasetId": "urn:d:1"}], "type": ["T", "U"]}),
    ("upsert", {"a": {"type": "Property", "value": 1, "observedAt": "2026-01-01T00:00:00Z"}}),
    ("update", {"b": 7, "scope": "/y"}),
    ("upsert", {"a": 1, "b": 2}),
    ("upsert", {"a": 3, "b": {"type": "Property", "value": 4, "unitCode": "C62"}}),
    ("upsert", {"b": 5, "a": 6}),
    ("upsert", {"a": 7}),
    ("update", {"a": 8}),
    ("upsert", {"a": 9}),
    ("delete", {}),
    ("upsert", {"a": 10}),
]


@pytest.mark.parametrize("hurried", [False, True], ids=["time goes on", "time stands still"])
async def test_a_whole_entity_told_beforehand_leaves_the_same_rows(tmp_path: Path, hurried: bool) -> None:
    left = []
    for told in (False, True):
        db = store_at(tmp_path / f"{told}.db")
        await db.open()
        broker = Broker(db)
        for turn, (kind, attributes) in enumerate(TOLD):
            at = 1_000_000 if hurried else 1_000_000 * (turn + 1)
            body = {"id": "urn:e:1", "type": "T", **attributes}
            made: Kind = "create" if kind == "create" else "upsert"
            plain = Change("delete" if kind == "delete" else made, "urn:e:1", parse_entity(body, CORE))
            wish = read_whole(made, body, CORE, at) if told and kind != "delete" else plain
            await broker.apply("", [wish], at, update=kind == "update")
        left.append(await db.read(_tables))
        await db.close()
    assert left[0] == left[1]
    assert len(left[0]["journal"]) == len(TOLD) - 1, "the second creation is refused"


async def test_a_plain_entity_takes_a_plain_one_s_place_without_anybody_reading_it(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(value: float, at: int) -> Any:
        body = {"id": "urn:e:1", "type": "T", "a": {"type": "Property", "value": value}}
        return read_whole("upsert", body, CORE, at)

    await broker.apply("", [told(1, AT)], AT)
    monkeypatch.setattr(Held, "read", lambda _held: pytest.fail("the old document was read"))
    await broker.apply("", [told(2, AT + 1)], AT + 1)
    kept = await broker.get("", "urn:e:1")
    assert (kept["attrs"][D + "a"][0]["value"], kept["createdAt"], kept["modifiedAt"]) == (2, AT, AT + 1)


def _tables(tx: Tx) -> dict[str, list[Any]]:
    found = {
        table: [*tx.rows(f"SELECT * FROM {table} ORDER BY 1, 2")]
        for table in ("entity", "entity_type", "place_of", "history", "journal", "shape", "expiry")
    }
    for table in ("entity", "history", "journal"):
        found[table] = [(*row[:-1], json.loads(row[-1])) for row in found[table]]
    return found


async def test_a_tenant_is_made_by_the_first_creation_alone(db: Database, broker: Broker) -> None:
    with pytest.raises(NotFound):
        await broker.change("north", Change("delete", "urn:a:1"), AT)
    with pytest.raises(NoTenant):
        await broker.find("north", q.Query(ids=("urn:a:1",)), limit=5)
    await broker.change("north", create("urn:a:1", a=1), AT)
    with pytest.raises(NotFound):
        await broker.get("", "urn:a:1")
    assert (await broker.get("north", "urn:a:1"))["id"] == "urn:a:1"


async def test_a_reading_told_twice_is_kept_once(db: Database, broker: Broker) -> None:
    assert await broker.observe("", observe("urn:a:1", 5, 100), AT) == 1
    assert await broker.observe("", observe("urn:a:1", 5, 100), AT) == 0
    assert len((await broker.evolution("", "urn:a:1", Span())).series[D + "a"]) == 1
    assert len(await entries(db)) == 1


async def test_a_frame_told_again_at_another_instant_is_kept_once(broker: Broker) -> None:
    assert await broker.observe("", observe("urn:a:1", 5, 100), AT, Mark("d", "7", 100, 1_000)) == 1
    assert await broker.observe("", observe("urn:a:1", 5, 900), AT, Mark("d", "7", 900, 1_000)) == 0
    assert await broker.observe("", observe("urn:a:1", 5, 5_000), AT, Mark("d", "7", 5_000, 1_000)) == 1


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@for_all(order=st.permutations([10, 20, 30, 40, 50]), number=st.integers(0, 10**9))
async def test_the_order_of_arrival_does_not_matter(broker: Broker, order: list[int], number: int) -> None:
    entity_id = f"urn:order:{number}-{'-'.join(map(str, order))}"
    for at in [*order, *order[:2]]:
        await broker.observe("", observe(entity_id, at, at), AT)
    evolution = await broker.evolution("", entity_id, Span())
    assert [one["value"] for one in evolution.series[D + "a"]] == [10, 20, 30, 40, 50]
    assert (await broker.get("", entity_id))["attrs"][D + "a"][0]["value"] == 50


@pytest.mark.parametrize(
    "place", ["1-{at}-1-ffffffffffffffff-1", "1-{at}-ffffffffffffffff-0-1", "1-8{at}-1-0-1", "f-0-1"]
)
async def test_an_id_of_an_instance_that_cannot_be_is_of_none(broker: Broker, place: str) -> None:
    await broker.change("", create("urn:a:1", a={"value": 1, "observedAt": "2024-01-01T00:00:00Z"}), AT)
    instance_id = instances.PREFIX + place.format(at=f"{AT:015x}")
    with pytest.raises(NotFound):
        await past.correct(broker, "", "urn:a:1", D + "a", instance_id, {"type": "Property", "value": 2}, AT + 1)


async def test_a_deleted_entity_keeps_its_past_and_may_come_again(broker: Broker) -> None:
    await broker.change("", create("urn:a:1", a={"value": 1, "observedAt": "2024-01-01T00:00:00Z"}), AT)
    await broker.change("", Change("delete", "urn:a:1"), AT + 10)
    with pytest.raises(NotFound):
        await broker.get("", "urn:a:1")
    assert len((await broker.evolution("", "urn:a:1", Span())).series[D + "a"]) == 1
    assert D + "a" in (await broker.evolution("", "urn:a:1", Span(by="deletedAt"))).series
    await broker.change("", create("urn:a:1", a={"value": 2, "observedAt": "2024-01-02T00:00:00Z"}), AT + 20)
    assert [one["value"] for one in (await broker.evolution("", "urn:a:1", Span())).series[D + "a"]] == [1, 2]


async def test_the_newest_readings_are_found_by_last(broker: Broker) -> None:
    for at in range(1, 30):
        await broker.observe("", observe("urn:a:1", at, at), AT)
    series = (await broker.evolution("", "urn:a:1", Span(start=5, end=25, last=3))).series
    assert [one["value"] for one in series[D + "a"]] == [22, 23, 24]


async def test_a_chart_of_too_many_points_keeps_the_newest(broker: Broker) -> None:
    for at in range(1, 30):
        await broker.observe("", observe("urn:a:1", at, at), AT)
    assert await broker.points("", "urn:a:1", D + "a", 0, 100, 3) == [(27, 27), (28, 28), (29, 29)]
    assert await broker.points("", "urn:a:1", D + "a", 5, 8, 100) == [(5, 5), (6, 6), (7, 7)]


async def test_sql_and_evaluation_give_the_same_pages(db: Database, broker: Broker) -> None:
    for number in range(60):
        value: Any = [number, -number] if number % 7 == 0 else number if number % 5 else f"text {number}"
        location = {"type": "Point", "coordinates": [69 + number / 1000, 41]}
        await broker.change("", create(f"urn:a:{number}", a=value, location=location), AT)
    everything = (await broker.find("", q.Query(types=q.TypeIs(D + "T")), limit=100)).docs
    near = q.parse_geo("near;maxDistance==2000", "Point", "[69.02,41]")
    asked = [
        q.Query(q=q.parse_q(text, CORE.expand))
        for text in ("a>30", "a==7", "a<=12", "a==10..20", 'a=="text 10"', "a!=5", "a==-14", "a>50;a<58", "a>50|a<3")
    ] + [q.Query(geo=near), q.Query(geo=near, types=q.TypeIs(D + "T"), q=q.parse_q("a>10", CORE.expand))]
    for indexed in (False, True):
        if indexed:
            assert await db.write(lambda tx: entities.make_index(tx, D + "a", AT))
        for query in asked:
            expected = [doc["id"] for doc in everything if q.matches(query, doc)]
            page = await broker.find("", query, limit=100, count=True)
            assert ([doc["id"] for doc in page.docs], page.total) == (expected, len(expected)), (query, indexed)
            second = await broker.find("", query, limit=3, offset=2)
            assert [doc["id"] for doc in second.docs] == expected[2:5]


async def test_an_index_is_used_when_it_is_there(db: Database, broker: Broker, engine: str) -> None:
    await broker.change("", create("urn:a:1", a=1), AT)
    await db.write(lambda tx: entities.make_index(tx, D + "a", AT))

    def plan(tx: Tx) -> str:
        if engine != "sqlite":
            tx.run("SET LOCAL enable_seqscan = off")  # a table of one row is read whole otherwise
        made = entities._Plan(
            tx, tenants.number(tx, ""), q.Query(q=q.parse_q("a==5", CORE.expand), types=q.TypeIs(D + "T")), False
        )
        explain = "EXPLAIN QUERY PLAN " if engine == "sqlite" else "EXPLAIN "
        return " ".join(str(row) for row in tx.rows(explain + made.select("e.pk, e.doc"), made.bindings))

    assert "attribute_" in await db.read(plan)


async def test_a_query_that_does_not_end_is_stopped(db: Database) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(TooComplex):
        await db.read(lambda tx: tx.row(endless), timeout_s=0.2)


@pytest.mark.usefixtures("db")
async def test_a_second_owner_of_a_file_is_refused(tmp_path: Path, engine: str) -> None:
    if engine == "postgres":
        second = store_at(tmp_path / "shahar.db")
        await second.open()
        await second.close()
        return
    with pytest.raises(Unavailable, match="in use"):
        await store_at(tmp_path / "shahar.db").open()


async def test_the_journal_is_kept_until_everybody_has_passed(db: Database, broker: Broker) -> None:
    for number in range(5):
        await broker.change("", create(f"urn:a:{number}", a=1), AT)
    later = AT + 8 * 86_400_000_000
    assert await db.write(lambda tx: journal.prune(tx, later)) == 0
    await db.write(lambda tx: journal.passed(tx, "runner", 3))
    assert await db.write(lambda tx: journal.prune(tx, AT)) == 0
    assert await db.write(lambda tx: journal.prune(tx, later)) == 3
    await broker.change("", create("urn:a:9", a=1), AT)
    assert [entry.seq for entry in await entries(db)] == [4, 5, 6]


def told(entity_id: str, name: str, readings: Sequence[tuple[Any, int]]) -> Chronicle:
    """Readings of one attribute, by value and instant."""
    ordered = sorted(readings, key=lambda reading: reading[1])
    listed = [{"type": "Property", "value": value, "observedAt": at} for value, at in ordered]
    return Chronicle({"id": entity_id, "type": [D + "T"], "attrs": {D + name: listed}})


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@for_all(order=st.permutations([10, 20, 30, 40, 50]), cuts=st.sets(st.integers(1, 4)), number=st.integers(0, 10**9))
async def test_the_past_is_the_same_however_it_is_told(
    broker: Broker, order: list[int], cuts: set[int], number: int
) -> None:
    entity_id = f"urn:told:{number}-{'-'.join(map(str, order))}-{sorted(cuts)}"
    borders = [0, *sorted(cuts), len(order)]
    for begin, end in pairwise(borders):
        await past.tell(broker, "", told(entity_id, "a", [(at, at) for at in order[begin:end]]), AT, create=True)
    evolution = await broker.evolution("", entity_id, Span())
    assert [one["value"] for one in evolution.series[D + "a"]] == [10, 20, 30, 40, 50]
    assert (await broker.get("", entity_id))["attrs"][D + "a"][0]["value"] == 50


async def test_a_correction_of_the_past_is_in_the_journal_and_tells_what_became_of_the_present(
    db: Database, broker: Broker
) -> None:
    await past.tell(broker, "", told("urn:a:1", "a", [(1, 1), (2, 2)]), AT, create=True)
    first, second = (await broker.evolution("", "urn:a:1", Span())).series[D + "a"]
    wrong = {"type": "Property", "value": 7}
    await past.correct(broker, "", "urn:a:1", D + "a", first["instanceId"], {**wrong, "observedAt": 1}, AT + 1)
    await past.correct(broker, "", "urn:a:1", D + "a", second["instanceId"], {**wrong, "observedAt": 2}, AT + 2)
    await past.drop_instance(broker, "", "urn:a:1", D + "a", second["instanceId"], AT + 3)
    await past.drop_attribute(broker, "", "urn:a:1", D + "a", "", AT + 4, every=True)
    await past.drop(broker, "", "urn:a:1", AT + 5)
    kept = await entries(db)
    assert [entry.kind for entry in kept] == ["entity.created", *["entity.updated"] * 4, "entity.deleted"]
    assert kept[0].what["late"][D + "a"][0]["value"] == 1
    values = [[one["value"] for one in entry.what["set"].get(D + "a", ())] for entry in kept]
    assert values == [[2], [], [7], [7], [], []]
    assert kept[4].what["gone"][0][:2] == [D + "a", ""]


async def test_a_long_past_is_taken_out_piece_by_piece_and_nothing_else_goes_with_it(
    db: Database, broker: Broker
) -> None:
    rows = instances.CHUNK + 5_000
    await past.tell(broker, "", told("urn:a:1", "a", [(0, 0)]), AT, create=True)
    await past.tell(broker, "", told("urn:a:2", "a", [(0, 0)]), AT, create=True)

    def fill(tx: Tx) -> None:
        a, b = history.name(tx, D + "a"), history.name(tx, D + "b")
        text = '{"type":"Property","value":1,"createdAt":1,"modifiedAt":1}'
        history.append(tx, [(1, at, name, 0, 1, AT, text) for at in range(1, rows // 2) for name in (a, b)])

    async def count(entity: int) -> int:
        found = await db.read(lambda tx: tx.row("SELECT count(*) FROM history WHERE entity = :e", {"e": entity}))
        return int(found[0]) if found else 0

    await db.write(fill)
    assert await count(1) > instances.CHUNK
    await past.drop_attribute(broker, "", "urn:a:1", D + "b", "", AT + 1, every=False)
    assert await count(1) == rows // 2
    await db.write(fill)
    await past.drop(broker, "", "urn:a:1", AT + 2)
    assert (await count(1), await count(2)) == (0, 1)
    assert await db.read(lambda tx: entities.locate(tx, 1, "urn:a:1")) is None
