"""A batch that is taken in as a pack leaves what the same wishes leave one by one, in the file and in what the writer
remembers.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shahar.model.bulk import Pack
from shahar.model.change import Applied, Change
from shahar.model.context import CORE, Context, compile_context
from shahar.model.entity import PATCH, parse_entity
from shahar.model.told import Whole, read_whole
from shahar.services import previous
from shahar.services.broker import Broker
from shahar.store import packing, records, tenants
from shahar.store.db import Tx
from shahar.store.sqlite import Sqlite
from tests.property.test_bulk import FAR, MEMBERS, OURS, here
from tests.property.test_told import AT

TERMS = compile_context(
    [FAR, {"a": "https://example.org/ä"}], {FAR: {"T": "https://example.org/T", "ex": "https://ex/"}}
)
IDS = [f"urn:e:{number}" for number in range(4)] + ["urn:ö:1"]

VALUES = st.integers(-5, 5) | st.floats(-1, 1)
PLAIN = st.fixed_dictionaries(
    {"type": st.just("Property"), "value": VALUES},
    optional={
        "unitCode": st.just("C62"),
        "observedAt": st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
    },
)
OTHERS = st.just("a text") | st.just({"type": "GeoProperty", "value": {"type": "Point", "coordinates": [69.2, 41.3]}})
ATTRIBUTES = st.dictionaries(st.sampled_from(["a", "b", "хона"]), PLAIN, min_size=1, max_size=3)
MIXED = st.dictionaries(st.sampled_from(["a", "b"]), PLAIN | OTHERS, max_size=2)


@dataclass(frozen=True)
class Step:
    """A batch of `kind`, or one change: of entities (id, types, attributes)."""

    kind: str
    members: list[tuple[str, Any, dict[str, Any]]]


def batches(attributes: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[Step]:
    """Batches that create, upsert, or upsert by appending."""
    member = st.tuples(st.sampled_from(IDS), st.sampled_from(["T", ["T", "U"]]), attributes)
    kinds = st.sampled_from(["create", "upsert", "upsert", "upsert", "append"])
    return st.builds(Step, kinds, st.lists(member, min_size=1, max_size=4, unique_by=lambda one: one[0]))


CHANGES = st.builds(
    lambda kind, entity_id, attributes: Step(kind, [(entity_id, "T", attributes)]),
    st.sampled_from(["update", "delete"]),
    st.sampled_from(IDS),
    ATTRIBUTES,
)
FOLLOWED = st.just(Step("subscribe", []))


def bodies(step: Step) -> list[Any]:
    """What a batch tells."""
    return [{"id": name, "type": types, **rest} for name, types, rest in step.members]


def packed_or_not(step: Step, at: int) -> tuple[list[Any], Pack | None]:
    """The wishes of a batch, and its pack if it can be one."""
    kind: Any = "create" if step.kind == "create" else "upsert"
    wishes = [read_whole(kind, body, CORE, at) for body in bodies(step)]
    return wishes, packing.pack(kind, bodies(step), CORE, at)


def subscribed(tx: Tx, at: int) -> None:
    """A subscription comes: somebody may ask from now on what a change took the place of."""
    tenant = tenants.make(tx, "", at)
    records.put(tx, previous.KIND, tenant, "urn:s", {}, at)
    previous.note(tx, tenant, "urn:s", shows=False, at=at)


async def done(broker: Broker, step: Step, at: int, *, packed: bool) -> list[Any]:
    """What came of a step."""
    if step.kind == "subscribe":
        await broker.db.write(lambda tx: subscribed(tx, at))
        return []
    if step.kind in {"update", "delete"}:
        [(name, _, rest)] = step.members
        fragment = parse_entity(rest, CORE, PATCH, entity_id=name) if step.kind == "update" else {}
        came = await broker.apply("", [Change("update" if step.kind == "update" else "delete", name, fragment)], at)
    else:
        wishes, pack = packed_or_not(step, at)
        update = step.kind == "append"
        came = await (
            broker.take("", pack, update=update) if pack and packed else broker.apply("", wishes, at, update=update)
        )
    return [one.created if isinstance(one, Applied) else type(one) for one in came]


TABLES = {
    "entity": "SELECT pk, tenant, id, gone, multi, doc FROM entity ORDER BY pk",
    "entity_type": "SELECT t.tenant, n.text, t.entity FROM entity_type t JOIN name n ON n.pk = t.type ORDER BY 3, 2",
    "place_of": "SELECT p.tenant, p.entity, n.text FROM place_of p JOIN name n ON n.pk = p.attr ORDER BY 2, 3",
    "history": "SELECT h.entity, h.at, n.text, h.dataset, h.kind, h.modified_at, h.doc FROM history h"
    " JOIN name n ON n.pk = h.attr ORDER BY 1, 2, 3, 4, 5",
    "journal": "SELECT * FROM journal ORDER BY seq",
    "shape": "SELECT * FROM shape WHERE entities ORDER BY 1, 2",
    "expiry": "SELECT * FROM expiry ORDER BY 1",
}


def tables(tx: Tx) -> dict[str, list[Any]]:
    """Every row, with names for their numbers, and documents as values."""
    found = {table: tx.rows(statement) for table, statement in TABLES.items()}
    for table in ("entity", "history", "journal"):
        found[table] = [(*row[:-1], json.loads(row[-1])) for row in found[table]]
    return found


async def lived(folder: Path, steps: list[Step], *, packed: bool) -> tuple[list[Any], dict[str, list[Any]]]:
    """What came of the steps, and what they left."""
    db = Sqlite(folder / f"{packed}.db")
    await db.open()
    try:
        broker = Broker(db)
        came = [await done(broker, step, AT + number, packed=packed) for number, step in enumerate(steps)]
        return came, await db.read(tables)
    finally:
        await db.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(batches(ATTRIBUTES) | batches(ATTRIBUTES) | batches(MIXED) | CHANGES | FOLLOWED, min_size=1, max_size=7)
)
def test_a_pack_leaves_what_its_wishes_leave(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one_by_one = asyncio.run(lived(Path(folder), steps, packed=False))
        assert asyncio.run(lived(Path(folder), steps, packed=True)) == one_by_one


@settings(max_examples=100, deadline=None)
@given(batches(ATTRIBUTES))
def test_a_pack_unpacked_is_what_went_in(step: Step) -> None:
    wishes, pack = packed_or_not(step, AT)
    assert pack is not None
    assert packing.unpacked(pack) == wishes


@settings(max_examples=300, deadline=None)
@given(st.lists(MEMBERS, min_size=1, max_size=3), st.sampled_from([CORE, OURS, TERMS]))
def test_what_is_packed_is_what_would_have_been_read(members: list[Any], context: Context) -> None:
    given_bodies = orjson.loads(orjson.dumps(members))
    pack = packing.pack("upsert", given_bodies, context, AT)
    read = [here(body, context) for body in given_bodies]
    different = len({one.id if isinstance(one, Whole) else None for one in read}) == len(read)
    if pack is None:
        assert not (context.plain and different and all(isinstance(one, Whole) and one.plain for one in read))
    else:
        assert packing.unpacked(pack) == read


def test_a_replaced_entity_is_read_again_when_it_is_asked_for(tmp_path: Path) -> None:
    async def work() -> Any:
        db = Sqlite(tmp_path / "shahar.db")
        await db.open()
        broker = Broker(db)
        step = [("urn:e:1", "T", {"a": {"type": "Property", "value": 1}, "b": {"type": "Property", "value": 2}})]
        assert await done(broker, Step("upsert", step), AT, packed=True) == [True]
        assert await done(broker, Step("upsert", step), AT + 1, packed=True) == [False]
        await done(
            broker, Step("update", [("urn:e:1", "T", {"a": {"type": "Property", "value": 3}})]), AT + 2, packed=True
        )
        kept = await broker.get("", "urn:e:1")
        await db.close()
        return {iri.rpartition("/")[2]: [one["value"] for one in each] for iri, each in kept["attrs"].items()}

    assert asyncio.run(work()) == {"a": [3], "b": [2]}


def test_a_pack_of_measurements_is_taken_in_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New, then replaced: neither goes one by one."""

    def apart(_pack: Pack) -> list[Whole]:
        raise AssertionError("it was taken apart")

    monkeypatch.setattr(packing, "unpacked", apart)

    async def work() -> list[Any]:
        db = Sqlite(tmp_path / "shahar.db")
        await db.open()
        members = [(name, "T", {"a": {"type": "Property", "value": 1}}) for name in IDS]
        came = [await done(Broker(db), Step("upsert", members), AT + turn, packed=True) for turn in range(2)]
        await db.close()
        return came

    assert asyncio.run(work()) == [[True] * len(IDS), [False] * len(IDS)]
