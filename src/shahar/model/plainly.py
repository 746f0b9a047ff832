"""Many plain entities read straight into the texts and places of rows, no entity and no instance becoming an object.

For: batches of measurements, most of what a city is told at once (store/packing makes a small database of the rows). A
plain entity has an id, types, and attributes of one number each, with its unit and instant at the most.
Promises: the rows say what model/told's `read_whole` makes of each entity (tests/property/test_packs.py).
Refuses, by None: everything else, and whatever has a fault; the longer way reads it, and says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from shahar.model import shape
from shahar.model.context import Context
from shahar.model.entity import check_uri, parse_types, plain
from shahar.values.bounds import ENTITY_ATTRIBUTES
from shahar.values.errors import ShaharError
from shahar.values.instants import Instant

UNOBSERVED: Final = 0
OBSERVED: Final = 1
_ELSE: Final = frozenset({"@id", "@type", "scope", "@context", "createdAt", "modifiedAt", "deletedAt", "expiresAt"})


@dataclass(slots=True)
class Rows:
    """Entities as rows, the values of each row one behind the other.

    `ones`, of five: the entity's number, id, document up to the instant of its creation, attributes as bytes, number of
    its list of types. `lines`, of six: the entity's number, the attribute's, instant, whether it was observed, where in
    the attributes its text stands (from 1), how long it is. `kinds`: lists of types. `shaped`: the number of each
    entity's shape.
    """

    ids: list[str] = field(default_factory=list)
    ones: list[Any] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    kinds: list[list[str]] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    shaped: list[int] = field(default_factory=list)
    attrs: list[str] = field(default_factory=list)


def read(bodies: Sequence[Any], context: Context, at: Instant) -> Rows | None:
    """The rows of plain entities of different ids, told at `at`; None when they are not all that."""
    if not context.plain:
        return None
    reader = _Reader(context, at)
    try:
        if not all(map(reader.take, bodies)):
            return None
    except ShaharError:
        return None
    rows = reader.rows
    return rows if len(set(rows.ids)) == len(rows.ids) else None


class _Reader:
    """What has been read so far, and which names, types and shapes have been met."""

    def __init__(self, context: Context, at: Instant) -> None:
        self.rows = Rows()
        self._context, self._at = context, at
        self._stamps = f',"createdAt":{at},"modifiedAt":{at}}}'
        self._names: dict[str, tuple[str, int, int]] = {}
        self._iris: dict[str, int] = {}
        self._kinds: dict[Any, tuple[int, str]] = {}
        self._shapes: dict[tuple[int, tuple[int, ...]], int] = {}

    def take(self, body: Any) -> bool:
        """Read one; False when it is not plain."""
        if type(body) is not dict or not _ELSE.isdisjoint(body) or len(body) > ENTITY_ATTRIBUTES:
            return False
        rows, names, stamps = self.rows, self._names, self._stamps
        number, lines = len(rows.ids), rows.lines
        entity_id = check_uri(body.get("id"), "id")
        kinds, told_kinds = self._types(body.get("type"))
        parts: list[str] = []
        attrs: list[int] = []
        end = 0
        for name, given in body.items():
            if name == "id" or name == "type":
                continue
            found = plain(name, given)
            if found is None:
                return False
            before, length, attr = names.get(name) or self._name(name)
            value, unit, observed = found
            code = "" if unit is None else f',"unitCode":"{unit}"'
            moment = "" if observed is None else f',"observedAt":{observed}'
            text = f'{{"type":"Property","value":{orjson.dumps(value).decode()}{code}{moment}{stamps}'
            parts.append(f"{before}{text}]")
            long = len(text) if text.isascii() else len(text.encode())
            at, kind = (self._at, UNOBSERVED) if observed is None else (observed, OBSERVED)
            lines += (number, attr, at, kind, end + length + 1, long)
            end += length + long + 1
            attrs.append(attr)
        if len(set(attrs)) < len(attrs):
            return False
        told = f"{{{''.join(parts)[1:]}}}".encode()
        head = f'{{"id":{orjson.dumps(entity_id).decode()},"type":{told_kinds},"createdAt":'
        rows.ids.append(entity_id)
        rows.ones += (number, entity_id, head, told, kinds)
        rows.shaped.append(self._shape(kinds, tuple(attrs)))
        return True

    def _name(self, name: str) -> tuple[str, int, int]:
        """What stands before an instance of the attribute, how many bytes that is, and the attribute's number."""
        iri = self._context.expand(name)
        attr = self._iris.setdefault(iri, len(self._iris))
        if attr == len(self.rows.attrs):
            self.rows.attrs.append(iri)
        before = f",{orjson.dumps(iri).decode()}:["
        self._names[name] = known = (before, len(before.encode()), attr)
        return known

    def _types(self, given: Any) -> tuple[int, str]:
        """The number of a list of types, and its text."""
        key: Any = given if type(given) is str else (repr(given),)
        known = self._kinds.get(key)
        if known is None:
            types = parse_types(given, self._context)
            if types not in self.rows.kinds:
                self.rows.kinds.append(types)
            known = self._kinds[key] = self.rows.kinds.index(types), orjson.dumps(types).decode()
        return known

    def _shape(self, kinds: int, attrs: tuple[int, ...]) -> int:
        known = self._shapes.get((kinds, attrs))
        if known is None:
            iris = tuple([self.rows.attrs[attr] for attr in attrs])
            text = shape.of(tuple(self.rows.kinds[kinds]), iris, ("Property",) * len(iris))
            if text not in self.rows.shapes:
                self.rows.shapes.append(text)
            known = self._shapes[kinds, attrs] = self.rows.shapes.index(text)
        return known
