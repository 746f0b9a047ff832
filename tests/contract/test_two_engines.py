"""The same history of operations leaves both engines with the same answers, page by page: found, counted, ordered, the
past and its figures, the journal, the tallies, the records, the ends; and the same tables."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import Phase, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from shahar.model import ordering
from shahar.model import query as q
from shahar.model.change import Change, Kind
from shahar.model.entity import parse_entity
from shahar.model.evolution import Chronicle
from shahar.model.temporal import METHODS, Aggregation, Period, Span
from shahar.model.told import read_whole
from shahar.services import past, temporal
from shahar.services.broker import Broker, Mark
from shahar.store import entities, expiries, journal, records, shapes, tenants
from shahar.store.db import Database, Tx
from shahar.store.engines import connect
from shahar.values.errors import ShaharError
from shahar.values.instants import DAY, SECOND, parse
from tests import engines
from tests.contract.test_store_questions import AT, CONTEXT, NAMES, attribute, entity

pytestmark = [pytest.mark.anyio, pytest.mark.sqlite]
IDS: Final = tuple(f"urn:e:{number}" for number in range(4))
IRIS: Final = tuple(CONTEXT.expand(name) for name in NAMES)
HISTORIES_TOLD: Final = int(os.environ.get("SHAHAR_TEST_HISTORIES", "25"))
DAYS: Final = [parse(f"2026-01-0{day}T00:00:00Z") for day in range(1, 6)]


@dataclass(frozen=True, slots=True)
class Both:
    """A store of each engine."""

    stores: tuple[Database, Database]
    turns: itertools.count[int]


@pytest.fixture(scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Both]:
    """Two empty stores; each history has a tenant of its own in them."""
    folder = tmp_path_factory.mktemp("both")
    lite = connect(folder / "city.db")
    engines.use("postgres")
    other = connect(engines.where(folder / "city.db"))
    engines.use("sqlite")
    for db in (lite, other):
        await db.open()
    yield Both((lite, other), itertools.count())
    for db in (lite, other):
        await db.close()


# -- what is done -----------------------------------------------------------------------------------------------------


def body(dice: random.Random) -> dict[str, Any]:
    """An entity of any kind under one of a few ids."""
    made = entity(dice, 0) | {"id": dice.choice(IDS)}
    if dice.random() < 0.2:
        made["expiresAt"] = f"2027-01-0{dice.randrange(1, 9)}T00:00:00Z"
    return made


KINDS: Final[tuple[Kind, ...]] = (
    *("create", "create", "upsert", "upsert", "replace", "append", "append_new", "update", "merge", "partial"),
    *("replace_attr", "delete_attr", "drop", "keep", "delete", "observe"),
)


def wish(dice: random.Random) -> Change:
    """A change of any kind."""
    kind = dice.choice(KINDS)
    told = body(dice)
    if kind == "observe":
        reading = {"type": "Property", "value": dice.randrange(9), "observedAt": dice.choice(DAYS)}
        fragment = {"id": told["id"], "type": [CONTEXT.expand("T")], "attrs": {dice.choice(IRIS): [reading]}}
        return Change("observe", told["id"], fragment)
    if kind in {"partial", "replace_attr", "delete_attr"}:
        name = dice.choice(NAMES)
        fragment = parse_entity({"id": told["id"], "type": "T", name: attribute(dice)}, CONTEXT)
        return Change(kind, told["id"], fragment, CONTEXT.expand(name), dice.choice(["", "", "urn:d:1"]))
    return Change(kind, told["id"], {} if kind == "delete" else parse_entity(told, CONTEXT))


async def one(broker: Broker, tenant: str, at: int, *, dice: random.Random) -> Any:
    """A single change."""
    return (await broker.change(tenant, wish(dice), at)).changed


async def batch(broker: Broker, tenant: str, at: int, *, dice: random.Random) -> Any:
    """A batch of changes, some of them read beforehand."""
    whole = [read_whole(dice.choice(["create", "upsert"]), body(dice), CONTEXT, at) for _ in range(dice.randrange(3))]
    outcomes = await broker.apply(tenant, [*whole, *(wish(dice) for _ in range(3))], at, update=dice.random() < 0.3)
    return [type(outcome).__name__ if isinstance(outcome, ShaharError) else outcome.created for outcome in outcomes]


async def observed(broker: Broker, tenant: str, at: int, *, dice: random.Random) -> Any:
    """A device's frame, sometimes told again."""
    reading = {"type": "Property", "value": dice.random(), "observedAt": dice.choice(DAYS)}
    fragment = {"id": IDS[0], "type": [CONTEXT.expand("T")], "attrs": {IRIS[0]: [reading]}}
    mark = Mark("d", str(dice.randrange(2)), at, 10 * SECOND)
    return await broker.observe(tenant, Change("observe", IDS[0], fragment), at, mark)


async def told(broker: Broker, tenant: str, at: int, *, dice: random.Random) -> Any:
    """Something of the past."""
    count = dice.randrange(1, 4)
    listed = [
        {"type": "Property", "value": dice.choice([1, 2.5, "a", True, [1, 2]]), "observedAt": moment}
        for moment in sorted(dice.sample(DAYS, count))
    ]
    doc = {"id": dice.choice(IDS), "type": [CONTEXT.expand("T")], "attrs": {dice.choice(IRIS): listed}}
    return await past.tell(broker, tenant, Chronicle(doc), at, create=dice.random() < 0.7)


async def corrected(broker: Broker, tenant: str, at: int, *, dice: random.Random) -> Any:
    """An instance of the past put right, or taken out."""
    entity_id, iri = dice.choice(IDS), dice.choice(IRIS)
    listed = (await broker.evolution(tenant, entity_id, Span())).series.get(iri, [])
    if not listed:
        return None
    instance = dice.choice(listed)["instanceId"]
    if dice.random() < 0.5:
        new = {"type": "Property", "value": 77, "observedAt": dice.choice(DAYS)}
        return await past.correct(broker, tenant, entity_id, iri, instance, new, at)
    return await past.drop_instance(broker, tenant, entity_id, iri, instance, at)


async def forgotten(broker: Broker, tenant: str, at: int, *, dice: random.Random) -> Any:
    """The past of an attribute, or of an entity, taken out."""
    if dice.random() < 0.5:
        every = dice.random() < 0.5
        return await past.drop_attribute(broker, tenant, dice.choice(IDS), dice.choice(IRIS), "", at, every=every)
    return await past.drop(broker, tenant, dice.choice(IDS), at)


async def kept(broker: Broker, tenant: str, at: int, *, dice: random.Random) -> Any:
    """A record of some kind, put or dropped; some kinds make the writer tell more of what follows."""
    kind, key = dice.choice(["subscription", "subscription_showing", "device"]), dice.choice("abЖ")

    def work(tx: Tx) -> Any:
        number = tenants.make(tx, tenant, at)
        if dice.random() < 0.3:
            return records.drop(tx, kind, number, key, at)
        return records.put(tx, kind, number, key, {"n": at}, at)

    return await broker.db.write(work)


async def indexed(broker: Broker, tenant: str, at: int, *, dice: random.Random) -> Any:
    """An attribute that gets an index; from now on questions of every tenant go by it."""
    await broker.db.write(partial(tenants.make, name=tenant, at=at))
    return await broker.db.write(partial(entities.make_index, attr=dice.choice(IRIS), at=at), long=True)


ACTS: Final = (one, one, one, batch, observed, told, corrected, forgotten, kept, indexed)
HISTORIES = st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 10**6)), min_size=3, max_size=14)


# -- what is answered -------------------------------------------------------------------------------------------------

QUESTIONS: Final = [
    q.Query(),
    q.Query(types=q.TypeIs(CONTEXT.expand("T"))),
    q.Query(types=q.Or((q.TypeIs(CONTEXT.expand("U")), q.TypeIs(CONTEXT.expand("W"))))),
    *(q.Query(q=q.parse_q(text, CONTEXT.expand)) for text in ("a>1", 'b=="a"', "c==0..2", "d", "a==true", "b!=1;c<7")),
    q.Query(geo=q.parse_geo("near;maxDistance==250000", "Point", "[0,0]")),
    q.Query(scope=q.parse_scope("/n/#")),
    q.Query(ids=IDS[:2]),
]
SPANS: Final = [
    Span(),
    Span(by=""),
    Span(DAYS[1], DAYS[3]),
    Span(by="modifiedAt", last=2),
    Span(by="deletedAt"),
    Span(by="createdAt", start=AT + 3 * DAY),
    Span(by="", last=1),
]
ORDER: Final = ordering.parse("a,b;desc,id", CONTEXT.expand)


async def answers(broker: Broker, tenant: str, seq: int) -> dict[str, Any]:
    """Everything that can be asked, in pages of two."""
    found: dict[str, Any] = {}
    for number, query in enumerate(QUESTIONS):
        for order in ((), ORDER):
            pages = [
                await broker.find(tenant, query, limit=2, offset=offset, count=offset == 0, order=order)
                for offset in (0, 2)
            ]
            found[f"found {number} {bool(order)}"] = [(page.docs, page.pks, page.total) for page in pages]
    for number, span in enumerate(SPANS):
        for most in (2, 100):
            asked = temporal.Asked(span, most=most)
            answer = await temporal.find(broker, tenant, q.Query(), asked, limit=3, count=True)
            found[f"past {number} {most}"] = answer
    found |= await broker.db.read(partial(_rows, tenant=tenant, seq=seq))
    return found


async def figures(broker: Broker, tenant: str) -> list[tuple[Any, ...]]:
    """Figures of every series, by days and of all time."""
    listed = []
    for period in (Period(), Period(0, DAY), Period(1)):
        asked = temporal.Asked(Span(by=""), aggregation=Aggregation(METHODS, period))
        for each in (await temporal.find(broker, tenant, q.Query(), asked, limit=9)).found:
            listed += [(each.doc["id"], replace(one, values={}), one.values) for one in each.figures]
    return listed


def _rows(tx: Tx, tenant: str, seq: int) -> dict[str, Any]:
    number = tenants.number(tx, tenant)
    return {
        "journal": journal.read(tx, seq, 10_000),
        "shapes": sorted(shapes.every(tx, number), key=repr),
        "records": records.every(tx, "device", number),
        "ends": sorted(expiries.due(tx, AT + 10_000 * DAY, 1_000)),
        "rows": entities.last(tx),
        "point": [entities.locate(tx, number, entity_id) for entity_id in IDS],
    }


@settings(max_examples=HISTORIES_TOLD, phases=[Phase.generate])
@for_all(history=HISTORIES)
async def test_a_history_of_operations_is_answered_alike(both: Both, history: list[tuple[Any, int]]) -> None:
    tenant = f"t{next(both.turns)}"
    seqs = [await db.read(journal.last_seq) for db in both.stores]
    assert seqs[0] == seqs[1]
    outcomes: list[list[Any]] = [[], []]
    for db, outcome in zip(both.stores, outcomes, strict=True):
        broker = Broker(db)
        await db.write(partial(tenants.make, name=tenant, at=AT))
        for turn, (act, seed) in enumerate(history):
            try:
                outcome.append(await act(broker, tenant, AT + turn * DAY, dice=random.Random(seed)))
            except ShaharError as problem:
                outcome.append((type(problem), problem.detail))
    assert outcomes[0] == outcomes[1]
    lite, other = [await answers(Broker(db), tenant, seqs[0]) for db in both.stores]
    for name, answer in lite.items():
        assert answer == other[name], name
    for left, right in zip(*[await figures(Broker(db), tenant) for db in both.stores], strict=True):
        assert left[:2] == right[:2]
        assert left[2] == {name: _nearly(value) for name, value in right[2].items()}


def _nearly(value: Any) -> Any:
    """The figure, whichever way it was rounded."""
    return pytest.approx(value, rel=1e-12) if isinstance(value, float) else value


async def test_both_engines_have_the_same_tables_and_columns(both: Both) -> None:
    lite, other = both.stores
    beside = {"schema_version", "writer", "place_node", "place_parent", "place_rowid"}
    here = await lite.read(
        lambda tx: tx.rows(
            "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table'"
            " AND m.name NOT LIKE 'sqlite%'"
        )
    )
    there = await other.read(
        lambda tx: tx.rows(
            "SELECT table_name::text, column_name::text FROM information_schema.columns"
            " WHERE table_schema = current_schema()"
        )
    )
    assert {row for row in here if row[0] not in beside} == {row for row in there if row[0] not in beside}
