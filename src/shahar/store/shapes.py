"""Which shapes of entities there are: a shape is the types of an entity and the kinds of its attributes' instances.

For: telling which types and attributes exist, and how often, without reading a single document: a city has hundreds of
thousands of entities and some dozens of shapes. A tally is kept for each shape of a tenant, in the transaction that
changes an entity; an update of a value leaves the shape as it is and costs a comparison of names.
Promises: the sum over the tally is the living entities of the tenant, after every commit.
Does not: know names' meaning, or who may read what.
Source: ETSI GS CIM 009 clauses 5.7.5 to 5.7.11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from shahar.model import shape
from shahar.model.entity import Doc, Instance
from shahar.store.db import Bulk, Tx

_ROWS: Final = Bulk(
    "shape",
    {"tenant": int, "shape": str, "entities": int},
    "ON CONFLICT(tenant, shape) DO UPDATE SET entities = shape.entities + excluded.entities",
    key=2,
    long="shape",
    sums=True,
)
Attrs = Mapping[str, Sequence[Instance]]


@dataclass(frozen=True, slots=True)
class Shape:
    """`entities` of these types have these attributes: IRI -> the type of each of its instances."""

    types: tuple[str, ...]
    attrs: dict[str, list[str]]
    entities: int


def moved(tx: Tx, tenant: int, old: Doc | None, new: Doc | None) -> None:
    """Count an entity that was `old` and is `new` (None: there is none)."""
    if old is not None and new is not None and _alike(old, new):
        return
    became(tx, tenant, old, None if new is None else _text(new["type"], new["attrs"]))


def became(tx: Tx, tenant: int, old: Doc | None, after: str | None) -> None:
    """Count an entity that was `old` and has the shape `after` (None: there is none)."""
    before = None if old is None else _text(old["type"], old["attrs"])
    if before == after:
        return
    rows = [(tenant, text, count) for text, count in ((before, -1), (after, 1)) if text is not None]
    tx.later(_ROWS, rows)


def more(tx: Tx, tenant: int, text: str, count: int) -> None:
    """Count so many new entities of a shape."""
    tx.later(_ROWS, [(tenant, text, count)])


def _alike(old: Doc, new: Doc) -> bool:
    """Whether two states of an entity surely have one shape; what they share by identity is not looked into."""
    before, after = old["attrs"], new["attrs"]
    if old["type"] != new["type"] or before.keys() != after.keys():
        return False
    for iri, instances in after.items():
        held = before[iri]
        if held is not instances and not (len(held) == len(instances) == 1 and held[0]["type"] == instances[0]["type"]):
            return False
    return True


def _text(types: list[str], attrs: Attrs) -> str:
    if sum(map(len, attrs.values())) > len(attrs):
        return shape.written(types, {iri: [one["type"] for one in instances] for iri, instances in attrs.items()})
    return shape.of(tuple(types), tuple(attrs), tuple([listed[0]["type"] for listed in attrs.values()]))


def every(tx: Tx, tenant: int) -> list[Shape]:
    """Every shape that a living entity of the tenant has."""
    rows = tx.iterate("SELECT shape, entities FROM shape WHERE tenant = :tenant AND entities > 0", {"tenant": tenant})
    return [_shape(text, count) for text, count in rows]


def _shape(text: str, count: int) -> Shape:
    read: dict[str, Any] = orjson.loads(text)
    return Shape(tuple(read["types"]), read["attrs"], count)


def prune(tx: Tx) -> int:
    """Drop the shapes that no entity has any longer; how many."""
    return tx.run("DELETE FROM shape WHERE entities = 0")
