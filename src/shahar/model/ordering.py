"""The order in which entities are wanted: `orderBy` read once, and entities put in that order.

    name;asc,address[city],name.observedAt;desc,location;dist-asc

Promises: what is no such expression raises Invalid naming the parameter; the order is total for any values: entities
that are equal in every term stay in the order in which they came, so that pages of one question fit together.
The meaning, clause 4.23: values of different kinds stand in the order numbers, texts, objects, arrays, booleans,
times, dates, date-times; null and what is missing stand last in both directions. Of several instances of an attribute
the default one counts, or the first. Of a LanguageProperty without a language in brackets, "@none" counts, else "en",
else the first tag. By distance, entities without such a GeoProperty stand behind those with one.
Texts stand in the order of model/collation.
Departures: distance is the one of values/places, on the ellipsoid and not on the sphere.
Source: ETSI GS CIM 009 V1.9.1 clauses 4.23, 5.2.43.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from shahar.model import query as q
from shahar.model.collation import ROOT, Collation
from shahar.model.entity import VALUE_MEMBER, Doc
from shahar.model.projection import MEMBERS
from shahar.values import places
from shahar.values.errors import Invalid

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

T = TypeVar("T")

TERMS_MAX: Final = 8
ORDERED_MAX: Final = 10_000
"""Entities put in order for one answer."""
RULE: Final = "ETSI GS CIM 009 clause 4.23: members with ;asc, ;desc, ;dist-asc or ;dist-desc, separated by commas"

_NUMBER, _TEXT, _OBJECT, _ARRAY, _BOOLEAN, _TIME, _DATE, _DATETIME = range(8)
_MOMENT: Final = {"time": _TIME, "date": _DATE, "datetime": _DATETIME}
_DIRECTIONS: Final = frozenset({"asc", "desc", "dist-asc", "dist-desc"})
_OWN_MOMENTS: Final = {iri: name for iri, name in q.MOMENT_MEMBERS.items() if name != "observedAt"}
_MISSING: Final[Any] = None

Key = tuple[Any, ...] | None
"""Where a value stands, comparable with every other; None: there is no value."""


@dataclass(frozen=True, slots=True)
class Term:
    """One thing to order by: id, type or scope (`member`), or a path; by distance from `origin` where there is one."""

    member: str = ""
    path: q.Path | None = None
    descending: bool = False
    origin: BaseGeometry | None = None
    collation: Collation = ROOT


Order = tuple[Term, ...]


def parse(
    text: str,
    expand: Callable[[str], str],
    origin: str | None = None,
    geometry: str | None = None,
    collation: Collation = ROOT,
) -> Order:
    """The order that `orderBy` asks for; `origin` and `geometry` are orderFrom (coordinates, JSON) and orderGeometry.
    Invalid."""
    shape = _origin(origin, geometry or "Point") if origin is not None else None
    terms = text.split(",")
    if len(terms) > TERMS_MAX:
        raise Invalid("orderBy has too many terms", field="orderBy", rule=f"at most {TERMS_MAX} terms")
    return tuple(replace(_term(term, expand, shape), collation=collation) for term in terms)


def _origin(coordinates: str, geometry: str) -> BaseGeometry:
    if geometry not in places.GEOMETRY_TYPES:
        raise Invalid(
            f"{geometry!r:.60} is not a geometry type",
            field="orderGeometry",
            rule="one of " + ", ".join(places.GEOMETRY_TYPES),
        )
    try:
        read = json.loads(coordinates)
    except (ValueError, RecursionError):
        raise Invalid("the coordinates are not JSON", field="orderFrom", rule="a JSON array") from None
    return places.shape(places.geometry({"type": geometry, "coordinates": read}, "orderFrom"))


def _term(text: str, expand: Callable[[str], str], shape: BaseGeometry | None) -> Term:
    name, _, direction = text.strip().partition(";")
    if direction not in _DIRECTIONS and ";" in text:
        raise Invalid(f"{direction!r:.40} is not a direction", field="orderBy", rule=RULE)
    origin = shape if direction.startswith("dist") else None
    if direction.startswith("dist") and shape is None:
        raise Invalid(
            "an order by distance needs orderFrom", field="orderFrom", rule="coordinates such as [69.24,41.31]"
        )
    descending = direction.endswith("desc")
    if name in MEMBERS:
        return Term(member=name, descending=descending, origin=origin)
    found = q.parse_q(name, expand, field="orderBy")
    if not isinstance(found, q.Exists):
        raise Invalid(f"{name!r:.80} is not the path of an attribute", field="orderBy", rule=RULE)
    return Term(path=found.path, descending=descending, origin=origin)


def keys(order: Order, doc: Doc) -> tuple[Key, ...]:
    """Where an entity stands by each term."""
    return tuple(_key(term, doc) for term in order)


def arrange(rows: Sequence[tuple[tuple[Key, ...], T]], order: Order) -> list[T]:
    """What stands beside the keys, in order; equals stay as they came."""
    ranked = list(rows)
    for index in reversed(range(len(order))):
        there = [row for row in ranked if row[0][index] is not None]
        there.sort(key=_at(index), reverse=order[index].descending)
        ranked = there + [row for row in ranked if row[0][index] is None]
    return [row for _, row in ranked]


def _at(index: int) -> Callable[[tuple[tuple[Key, ...], T]], tuple[Any, ...]]:
    return lambda row: row[0][index] or ()


def _key(term: Term, doc: Doc) -> Key:
    if term.path is None:
        own = doc["id"] if term.member == "id" else sorted(doc.get(term.member, ())) or _MISSING
        return _rank(own, term.collation)
    if term.origin is not None:
        return _nearness(term.path, doc, term.origin)
    return _rank(_value(term.path, doc), term.collation)


def _nearness(path: q.Path, doc: Doc, origin: BaseGeometry) -> Key:
    found = doc["attrs"].get(path.attr)
    if not found or found[0]["type"] != "GeoProperty" or path.subs or path.keys:
        return None
    return (places.within_metres(places.shape(found[0]["value"]), origin),)


def _value(path: q.Path, doc: Doc) -> Any:
    """What a path leads to in the first instance of each attribute on it."""
    if path.attr in _OWN_MOMENTS and path.attr not in doc["attrs"]:
        at = doc.get(_OWN_MOMENTS[path.attr])
        return _MISSING if at is None else q.When("datetime", at)
    one = next(iter(doc["attrs"].get(path.attr, ())), None)
    for sub in path.subs:
        if one is None:
            return _MISSING
        if sub in q.MOMENT_MEMBERS and sub not in one.get("attrs", {}):
            at = one.get(q.MOMENT_MEMBERS[sub])
            return _MISSING if at is None else q.When("datetime", at)
        if sub in q.TEXT_MEMBERS:
            return one.get(q.TEXT_MEMBERS[sub], _MISSING)
        one = next(iter(one.get("attrs", {}).get(sub, ())), None)
    if one is None:
        return _MISSING
    value = one.get(VALUE_MEMBER[one["type"]], _MISSING)
    if one["type"] == "LanguageProperty" and not path.keys:
        return next((value[tag] for tag in ("@none", "en", *sorted(value)) if tag in value), _MISSING)
    for key in path.keys:
        value = value.get(key, _MISSING) if isinstance(value, dict) else _MISSING
    return value


def _rank(value: Any, collation: Collation) -> Key:
    """The place of a value: its kind, then its place within the kind."""
    if isinstance(value, dict) and "@value" in value:
        value = value["@value"]
    match value:
        case None:
            return None
        case bool():
            return _BOOLEAN, value
        case int() | float():
            return _NUMBER, value
        case str():
            known = q.moment(value)
            return (_MOMENT[known[0]], known[1]) if known else (_TEXT, *collation.key(value))
        case q.When():
            return _MOMENT[value.kind], value.at
        case list() if value and all(isinstance(part, str) for part in value):
            return _ARRAY, [collation.key(part) for part in value]
    return (_ARRAY if isinstance(value, list) else _OBJECT), [collation.key(json.dumps(value, sort_keys=True))]
