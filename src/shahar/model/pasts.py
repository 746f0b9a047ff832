"""One evolution out of the parts that several context sources and this broker hold of it.

A *past* is a document whose attributes are series: {IRI: [instance, ...]} in the order of time.
Promises: of instances of one dataset at one instant the one changed last stays; an auxiliary part adds instants that
are not there and never replaces; the newest N of each series are those of the whole.
Does not: ask sources; aggregate.
Source: ETSI GS CIM 009 V1.9.1 clauses 4.5.5, 4.5.6, 5.7.3.4, 5.7.4.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from shahar.model import aliases
from shahar.model import query as q
from shahar.model.context import Context
from shahar.model.entity import PATCH, Doc, Instance, inside, parse_entity, parse_instance, parse_scopes
from shahar.values import instants
from shahar.values.bounds import TEMPORAL_INSTANCES
from shahar.values.errors import Invalid, TooLarge
from shahar.values.instants import Instant

_SHELL: Final = frozenset({"id", "type", "createdAt", "modifiedAt", "deletedAt", "expiresAt", "@context"})
_STAMPS: Final = ("createdAt", "modifiedAt", "deletedAt")
SCOPE: Final = "scope"


def received_past(body: Any, context: Context) -> Doc:
    """The past of an entity that a source sent in the normalised form. Raises Invalid or TooLarge for anything else."""
    body, inner = aliases.opened(body, context)
    if not isinstance(body, dict) or not body.get("type"):
        raise Invalid("an evolution is a JSON object of a type", field="body", rule="ETSI GS CIM 009 clause 5.2.20")
    shell = {key: value for key, value in body.items() if key in {"id", "type"}}
    doc = parse_entity(shell, context)
    for key in _STAMPS:
        if isinstance(body.get(key), str):
            doc[key] = instants.parse(body[key], key)
    left = TEMPORAL_INSTANCES
    for name, given in body.items():
        if name in _SHELL or (name == SCOPE and not _over_time(given)):
            continue
        given, at = inside(name, given, inner)
        listed = given if isinstance(given, list) else [given]
        left -= len(listed)
        if left < 0:
            raise TooLarge("too many instances", field=name, rule=f"at most {TEMPORAL_INSTANCES}")
        iri = SCOPE if name == SCOPE else inner.expand(name)
        doc["attrs"][iri] = [_instance(name, one, at) for one in listed]
    return doc


def _over_time(scope: Any) -> bool:
    """Whether scopes are told with their instants, and not as those of now."""
    return isinstance(scope, dict) or (isinstance(scope, list) and any(isinstance(one, dict) for one in scope))


def _instance(name: str, given: Any, context: Context) -> Instance:
    if not isinstance(given, dict):
        raise Invalid("an instance is a JSON object", field=name, rule="ETSI GS CIM 009 clause 4.5.7")
    one = parse_instance(name, given, context, PATCH)
    for key in _STAMPS:
        if isinstance(given.get(key), str):
            one[key] = instants.parse(given[key], f"{name}.{key}")
    if isinstance(given.get("instanceId"), str):
        one["instanceId"] = given["instanceId"]
    at = one.get("modifiedAt", one.get("observedAt", one.get("deletedAt")))
    if at is None:
        raise Invalid("an instance without any instant has no place in time", field=name, rule="observedAt, modifiedAt")
    one.setdefault("modifiedAt", at)
    if name == SCOPE and "value" in one:
        one["value"] = parse_scopes(one["value"])
    return one


def merged_past(equal: Sequence[Doc], extra: Sequence[Doc], by: str, last: int | None = None) -> Doc | None:
    """The past that equal parts make together, with what auxiliary parts add to it; `by` is the time property, `last`
    the number of instances wanted of each series."""
    parts = [*equal, *extra]
    if not parts:
        return None
    first = equal[0] if equal else extra[0]
    doc = {**first, "type": list(dict.fromkeys(kind for part in parts for kind in part["type"])), "attrs": {}}
    for iri in dict.fromkeys(iri for part in parts for iri in part["attrs"]):
        series = _series([part["attrs"].get(iri, ()) for part in equal], by)
        for part in extra:
            known = {key[1] for key in series}
            added = _series([part["attrs"].get(iri, ())], by)
            series |= {key: one for key, one in added.items() if key[1] not in known}
        ordered = [one for _, one in sorted(series.items(), key=lambda pair: (pair[0][1], pair[0][0]))]
        doc["attrs"][iri] = _newest(ordered, last)
    return doc


def _series(parts: Iterable[Iterable[Instance]], by: str) -> dict[tuple[str, Instant], Instance]:
    found: dict[tuple[str, Instant], Instance] = {}
    for part in parts:
        for one in part:
            key = (one.get("datasetId", ""), moment(one, by))
            known = found.get(key)
            if known is None or one.get("modifiedAt", 0) > known.get("modifiedAt", 0):
                found[key] = one
    return found


def _newest(ordered: list[Instance], last: int | None) -> list[Instance]:
    """The newest `last` of each dataset."""
    if last is None:
        return ordered
    left: dict[str, int] = {}
    kept: list[Instance] = []
    for one in reversed(ordered):
        dataset = one.get("datasetId", "")
        left[dataset] = left.get(dataset, last) - 1
        if left[dataset] >= 0:
            kept.append(one)
    return kept[::-1]


def fits_past(query: q.Query, doc: Doc, series: Mapping[str, Sequence[Instance]]) -> bool:
    """Whether an evolution fits the filters of a question: each of their terms for any one of its instances (5.7.4.4);
    a scope that it had at some time is enough (annex C.5.16)."""
    if query.q is not None and not _holds(query.q, doc, series):
        return False
    geo = query.geo
    if geo is not None and not any(q.matches_geo(geo, one) for one in _single(doc, series, geo.attr)):
        return False
    if query.scope is None:
        return True
    scopes = [scope for one in series.get(SCOPE, ()) for scope in one.get("value", ())] or doc.get("scope", ())
    return q.matches_scope(query.scope, scopes)


def _holds(node: q.Node, doc: Doc, series: Mapping[str, Sequence[Instance]]) -> bool:
    match node:
        case q.And(parts):
            return all(_holds(part, doc, series) for part in parts)
        case q.Or(parts):
            return any(_holds(part, doc, series) for part in parts)
        case q.Compare(path=path) | q.Exists(path=path):
            some = _single(doc, series, path.attr)
            return any(q.matches_q(node, one) for one in some) or q.matches_q(node, {**doc, "attrs": {}})
    return False


def _single(doc: Doc, series: Mapping[str, Sequence[Instance]], attr: str) -> Iterator[Doc]:
    """The entity with one instance of the attribute after the other."""
    return ({**doc, "attrs": {attr: [one]}} for one in series.get(attr, ()))


def moment(one: Instance, by: str) -> Instant:
    """The instant of an instance in a time property; where it has none, or `by` is empty, when it was observed, or
    entered."""
    at = one.get(by or "observedAt", one.get("observedAt"))
    return int(one["modifiedAt"] if at is None else at)
