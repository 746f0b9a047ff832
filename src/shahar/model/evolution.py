"""The temporal evolution of an entity as documents: read from what a caller tells, merged into the present, shown.

As it is told, an attribute is a list of instances, several of one dataset among them, or the simplified form ([value,
instant] pairs). The newest instance of each series is the present value when it is not older than the one that is held;
all others belong to history alone.
Promises: `read` raises Invalid or TooLarge naming the field, and nothing else; two instances of one series and one
observedAt are one, the later in the list; `tell` leaves nothing out and changes no document in place.
Does not: know what history holds; choose the instances that are shown.
Source: ETSI GS CIM 009 clauses 4.5.6 to 4.5.9, 4.5.19, 5.2.20, 5.6.11, 5.6.12.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

from shahar.model import aliases
from shahar.model import change as changes
from shahar.model.change import Applied, Change
from shahar.model.context import Context
from shahar.model.entity import (
    CREATE,
    NULL,
    VALUE_MEMBER,
    Doc,
    Instance,
    inside,
    parse_entity,
    parse_instance,
    parse_scopes,
)
from shahar.model.render import View, below, entity, instance, one_or_many, shows, within
from shahar.model.render import chosen as of_dataset
from shahar.values import instants
from shahar.values.bounds import TEMPORAL_TOLD
from shahar.values.errors import Invalid, TooLarge
from shahar.values.instants import Instant

SCOPE: Final = "scope"
PLURAL: Final = {
    "value": "values",
    "object": "objects",
    "languageMap": "languageMaps",
    "vocab": "vocabs",
    "json": "jsons",
    "valueList": "valueLists",
    "objectList": "objectLists",
}
_WRAPPED: Final = frozenset({"languageMap", "vocab", "json"})
"""Values that the simplified form keeps in an object under their member's name."""
_SHELL: Final = frozenset(
    {"id", "@id", "type", "@type", "@context", "createdAt", "modifiedAt", "deletedAt", "expiresAt"}
)


@dataclass(frozen=True, slots=True)
class Chronicle:
    """What a caller tells of an entity: id, types, by attribute its instances in the order of time, scopes likewise."""

    doc: Doc
    scopes: tuple[Instance, ...] = ()

    def instances(self) -> Iterable[Instance]:
        """Every instance of an attribute."""
        return (one for listed in self.doc["attrs"].values() for one in listed)


def read(body: Any, context: Context, *, entity_id: str | None = None) -> Chronicle:
    """What an EntityTemporal, or a fragment of one about `entity_id`, tells. Raises Invalid, TooLarge."""
    if not isinstance(body, dict):
        raise Invalid("an entity is a JSON object", field="body", rule="ETSI GS CIM 009 clause 5.2.20")
    body, inner = aliases.opened(body, context)
    shell = {name: value for name, value in body.items() if name in _SHELL}
    doc = parse_entity(shell, context, CREATE, entity_id=entity_id)
    told = 0
    for name, given in body.items():
        if name in _SHELL or name == SCOPE:
            continue
        iri = inner.expand(name)
        if iri in doc["attrs"]:
            raise Invalid("two members name the same attribute", field=name, rule="one member an attribute")
        doc["attrs"][iri] = _once(_listed(name, given, inner))
        told += len(doc["attrs"][iri])
        if told > TEMPORAL_TOLD:
            raise TooLarge("too many instances", field=name, rule=f"at most {TEMPORAL_TOLD} instances in one request")
    return Chronicle(doc, tuple(_once(_scopes(body[SCOPE], context))) if SCOPE in body else ())


def _listed(name: str, given: Any, context: Context) -> list[Instance]:
    found: list[Instance] = []
    given, context = inside(name, given, context)
    several = isinstance(given, list) and all(isinstance(one, dict) for one in given)
    for one in given if several else [given]:
        pairs = _pairs_of(name, one)
        found += [parse_instance(name, each, context, CREATE) for each in ([one] if pairs is None else pairs)]
    if not found:
        raise Invalid("an attribute has one instance at least", field=name, rule="ETSI GS CIM 009 clause 4.5.7")
    return found


def _pairs_of(name: str, given: Any) -> list[dict[str, Any]] | None:
    """The instances of a simplified temporal form, None when it is none."""
    kind = given.get("type", given.get("@type")) if isinstance(given, dict) else None
    member = VALUE_MEMBER.get(kind, "") if isinstance(kind, str) else ""
    plural = PLURAL.get(member, "")
    if not plural or plural not in given or member in given:
        return None
    pairs = given[plural]
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        rule = "ETSI GS CIM 009 clause 4.5.9: pairs of value and instant"
        raise Invalid(f"{plural} is a list of pairs", field=f"{name}.{plural}", rule=rule)
    rest = {key: value for key, value in given.items() if key != plural}
    return [{**rest, member: _unwrapped(member, value), "observedAt": at} for value, at in pairs]


def _unwrapped(member: str, value: Any) -> Any:
    if member in _WRAPPED and isinstance(value, dict) and value.keys() == {member}:
        return value[member]
    return value


def _once(listed: Iterable[Instance]) -> list[Instance]:
    """In the order of time, each series once an instant; those without instants stand last, in the order told."""
    found: dict[Any, Instance] = {}
    for number, one in enumerate(listed):
        at = one.get("observedAt")
        found[(one.get("datasetId", ""), number if at is None else None, at)] = one
    return sorted(found.values(), key=lambda one: (one.get("datasetId", ""), *_age(one)))


def _age(one: Instance) -> tuple[bool, Instant]:
    at = one.get("observedAt")
    return (True, 0) if at is None else (False, at)


def _scopes(given: Any, context: Context) -> list[Instance]:
    """Scopes as instances of a Property (clause 4.5.6); a plain scope or list of scopes is one."""
    listed = given if isinstance(given, list) else [given]
    if not any(isinstance(one, dict) for one in listed):
        return [{"type": "Property", "value": parse_scopes(given)}]
    found = []
    for one in listed:
        if not isinstance(one, dict) or one.get("type", "Property") != "Property":
            raise Invalid("a scope over time is a Property", field=SCOPE, rule="ETSI GS CIM 009 clause 4.5.6")
        for each in _pairs_of(SCOPE, {"type": "Property", **one}) or [one]:
            kept: Instance = {"type": "Property", "value": parse_scopes(each.get("value"))}
            if "observedAt" in each:
                kept["observedAt"] = instants.parse(each["observedAt"], "scope.observedAt")
            found.append(kept)
    return found


# -- into the present -------------------------------------------------------------------------------------------------


def tell(told: Chronicle, doc: Doc | None, at: Instant) -> Applied:
    """What comes of it at instant `at`: the newest of each series as a device's reading, the others `late`.

    Raises what a creation raises when there is no `doc`.
    """
    newest: dict[str, list[Instance]] = {}
    late: list[tuple[str, Instance]] = []
    at = max(at, doc["modifiedAt"] + 1 if doc else 0)
    for iri, listed in told.doc["attrs"].items():
        for _, series in groupby(listed, lambda one: one.get("datasetId", "")):
            *older, last = series
            newest.setdefault(iri, []).append(last)
            for one in older:
                stamp = at if "observedAt" in one else (at := at + 1) - 1
                late.append((iri, {**one, "createdAt": stamp, "modifiedAt": stamp}))
    fragment = {**told.doc, "attrs": newest}
    applied = changes.apply(Change("observe", told.doc["id"], fragment), doc, at)
    applied.late = late + applied.late
    return applied


def stamped(told: Chronicle, at: Instant) -> list[tuple[str, Instance]]:
    """Every instance as one that belongs to history alone, entered at instant `at`."""
    found: list[tuple[str, Instance]] = []
    for iri, listed in told.doc["attrs"].items():
        for one in listed:
            found.append((iri, {**one, "createdAt": at, "modifiedAt": at}))
            at += "observedAt" not in one
    return found


def scopes_at(told: Chronicle, at: Instant, *, since_ever: bool) -> list[tuple[Instant, Instance]]:
    """The scopes told, each with the instant from which it holds: its own, else `at`, or of an entity that is new
    (`since_ever`) the oldest instant told of it.
    """
    known = (one["observedAt"] for one in told.instances() if "observedAt" in one)
    first = min(known, default=at) if since_ever else at
    stamps = {"createdAt": at, "modifiedAt": at}
    return sorted(
        ((one.get("observedAt", first), {"observedAt": first, **one, **stamps}) for one in told.scopes),
        key=lambda two: two[0],
    )


# -- shown ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figure:
    """One period of one series: its borders, and the value of each method that is for its values."""

    attr: str
    dataset: str
    type: str
    start: Instant
    end: Instant
    values: dict[str, Any]


def moment(one: Instance, by: str) -> Instant:
    """The instant of an instance in the time property `by`; empty: when it was observed, or else entered."""
    at = one.get(by or "observedAt")
    return int(one["modifiedAt"] if at is None else at)


def shell(doc: Doc, view: View) -> dict[str, Any]:
    """The members of an entity that are no attributes; its scopes are shown as a series."""
    bare = {key: value for key, value in doc.items() if key != SCOPE}
    return entity({**bare, "attrs": {}}, view)


def shown(doc: Doc, series: Mapping[str, Sequence[Instance]], view: View, by: str) -> dict[str, Any]:
    """The evolution in the view's form: `series` maps attribute IRIs to instances in the order of time, `by` is the
    time property of the question."""
    found = shell(doc, view)
    context = within(doc, view)
    for iri, listed in series.items():
        if not shows(iri, view):
            continue
        name = context.compact(iri) if iri != SCOPE else SCOPE
        inner = below(view, context, name)
        kept = [_whole(iri, one) for one in of_dataset(listed, view)]
        if view.form == "simplified":
            found[name] = _pairs(kept, inner, by) if kept else {"type": _kind(doc, iri), PLURAL[_member(doc, iri)]: []}
        else:
            found[name] = [_shown(one, inner) for one in kept]
    return found


def _kind(doc: Doc, iri: str) -> str:
    listed = doc["attrs"].get(iri)
    return str(listed[0]["type"]) if listed else "Property"


def _member(doc: Doc, iri: str) -> str:
    return VALUE_MEMBER[_kind(doc, iri)]


def _whole(iri: str, one: Instance) -> Instance:
    """The instance; that of a deletion with the value that says so (clause 4.5.7)."""
    if "deletedAt" not in one:
        return one
    member = VALUE_MEMBER[one["type"]]
    gone: Any = [] if iri == SCOPE else _GONE.get(member, NULL)
    return {**one, member: gone}


_GONE: Final = {"languageMap": {"@none": NULL}, "objectList": [NULL]}


def _shown(one: Instance, view: View) -> Any:
    kept = instance(one, view)
    if "deletedAt" in one:
        kept["deletedAt"] = instants.text(one["deletedAt"])
    return kept


def _pairs(listed: Iterable[Instance], view: View, by: str) -> Any:
    """The simplified form (clause 4.5.9), one object for each datasetId."""
    found: dict[str, dict[str, Any]] = {}
    for one in listed:
        bare = instance(
            {key: value for key, value in one.items() if key in {"type", "lang", VALUE_MEMBER[one["type"]]}},
            replace(view, form="normalized", sys=False),
        )
        kind = bare.pop("type")
        bare.pop("lang", None)
        member = VALUE_MEMBER[kind]
        dataset = one.get("datasetId", "")
        series = found.setdefault(dataset, {"type": kind} | ({"datasetId": dataset} if dataset else {}))
        value = one[member] if kind == "ListRelationship" else bare[member]
        pair = [{member: value} if member in _WRAPPED else value, instants.text(moment(one, by))]
        series.setdefault(PLURAL[member], []).append(pair)
    return one_or_many(list(found.values()))


def aggregated(doc: Doc, figures: Iterable[Figure], view: View) -> dict[str, Any]:
    """The aggregated form (clause 4.5.19), one object for each datasetId of an attribute."""
    found = shell(doc, view)
    context = within(doc, view)
    series: dict[tuple[str, str], dict[str, Any]] = {}
    for one in figures:
        if one.attr == SCOPE or not shows(one.attr, view) or not one.values:
            continue
        start = {"type": one.type} | ({"datasetId": one.dataset} if one.dataset else {})
        listed = series.setdefault((one.attr, one.dataset), start)
        for method, value in one.values.items():
            listed.setdefault(method, []).append([value, instants.text(one.start), instants.text(one.end)])
    for (iri, _), listed in series.items():
        name = context.compact(iri)
        before = found.get(name)
        found[name] = listed if before is None else [*(before if isinstance(before, list) else [before]), listed]
    return found
