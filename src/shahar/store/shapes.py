"""Which shapes of entities there are: a shape is the types of an entity and the kinds of its attributes' instances.

For: telling which types and attributes exist, and how often, without reading a single document: a city has hundreds of
thousands of entities and some dozens of shapes. A tally is kept for each shape of a tenant, in the transaction that
changes an entity; an update of a value leaves the shape as it is and costs a comparison of names.
Promises: the sum over the tally is the living entities of the tenant, after every commit.
Does not: know names' meaning, or who may read what.
Source: ETSI GS CIM 009 clauses 5.7.5 to 5.7.11.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from shahar.model.entity import Doc, Instance
from shahar.model.told import Line
from shahar.store.db import Bulk, Tx

_ROWS: Final = Bulk(
    "INSERT OR FAIL INTO shape(tenant, shape, entities)",
    3,
    "ON CONFLICT(tenant, shape) DO UPDATE SET entities = shape.entities + excluded.entities",
    sums=True,
)
REMEMBERED: Final = 1_000
_TYPE: Final = slice(0, 20)
"""Of an instance's text as much as tells its type from any other's."""


@dataclass(frozen=True, slots=True)
class Shape:
    """`entities` of these types have these attributes: IRI -> the type of each of its instances."""

    types: tuple[str, ...]
    attrs: dict[str, list[str]]
    entities: int


def moved(tx: Tx, tenant: int, old: Doc | None, new: Doc | None, lines: Sequence[Line] | None = None) -> None:
    """Count an entity that was `old` and is `new` (None: there is none); its attributes are in `lines` when given."""
    if old is not None and new is not None and lines is None and _alike(old, new):
        return
    rows = [(tenant, _text(old), -1)] if old is not None else []
    if new is not None:
        rows.append((tenant, _text(new) if lines is None else _text_told(tx, new["type"], lines), 1))
    tx.later(_ROWS, rows)


def _alike(old: Doc, new: Doc) -> bool:
    """Whether two states of an entity have one shape; what they share by identity is not looked into."""
    before, after = old["attrs"], new["attrs"]
    if old["type"] != new["type"] or before.keys() != after.keys():
        return False
    for iri, instances in after.items():
        held = before[iri]
        if held is not instances and [one["type"] for one in held] != [one["type"] for one in instances]:
            return False
    return True


def _text(doc: Doc) -> str:
    kinds = {iri: [one["type"] for one in instances] for iri, instances in doc["attrs"].items()}
    return orjson.dumps({"attrs": kinds, "types": sorted(doc["type"])}, option=orjson.OPT_SORT_KEYS).decode()


def _text_told(tx: Tx, types: list[str], lines: Sequence[Line]) -> str:
    """The same from instances that were told as texts, which begin with their type; remembered by what tells shapes
    apart, for most entities of a batch have one shape.
    """
    key = (tuple(types), tuple([line[0] for line in lines]), tuple([line[3][_TYPE] for line in lines]))
    texts: dict[Any, str] = tx.memory.setdefault("shapes", {})
    found = texts.get(key)
    if found is None:
        attrs: dict[str, list[Instance]] = {}
        for iri, _, _, text in lines:
            attrs.setdefault(iri, []).append(orjson.loads(text))
        if len(texts) >= REMEMBERED:
            texts.clear()
        found = texts[key] = _text({"type": types, "attrs": attrs})
    return found


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
