"""One entity out of the parts that several context sources and this broker hold of it.

For: reads that are distributed. Each source answers with what it knows of an entity; the caller sees one entity.
Promises: the order of the parts decides nothing but ties (the earlier part wins them), so that two brokers that are
given the same answers show the same entity; what has expired is not shown; an auxiliary part never replaces anything.
Does not: ask sources (services/federation), narrow parts to a registration or to rights, which is done before.
Source: ETSI GS CIM 009 V1.9.1 clauses 4.3.6.2, 4.5.5, 4.5.5.2, 4.5.5.3, 5.7.1.4, 5.7.2.4. Departure: where two
instances of one datasetId tell no instant, the standard takes one at random; here it is the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from shahar.model import aliases, expiry, fallback
from shahar.model.context import Context
from shahar.model.entity import CREATE, NULL, PATCH, VALUE_MEMBER, Doc, Instance, inside, parse_entity
from shahar.model.render import View, entity
from shahar.values import instants
from shahar.values.errors import Invalid
from shahar.values.instants import Instant

_STAMPS: Final = ("createdAt", "modifiedAt")
_NEVER: Final = -1


def received(body: Any, context: Context) -> Doc:
    """The document of an entity that a source sent, with the instants at which the source says that it changed.

    Raises Invalid or TooLarge for what is no entity: a source is a stranger.
    """
    if not isinstance(body, dict):
        raise Invalid("an entity is a JSON object", field="body", rule="ETSI GS CIM 009 clause 5.2.4")
    plain = {key: value for key, value in body.items() if key != "@context"}
    plain, inner = aliases.opened(plain, context)
    doc = parse_entity(plain, context, CREATE)
    if not doc.get("type"):
        raise Invalid("an entity needs a type", field="type", rule="ETSI GS CIM 009 clause 5.2.4")
    _stamp(doc, plain)
    for name, given in plain.items():
        instances = doc["attrs"].get(inner.expand(name)) if isinstance(given, (dict, list)) else None
        for told in given if instances and isinstance(given, list) else [given]:
            if instances and isinstance(told, dict):
                _stamp_instance(instances, told)
    return doc


def _stamp_instance(instances: Iterable[Instance], told: Mapping[str, Any]) -> None:
    dataset = told.get("datasetId", "")
    for instance in instances:
        if instance.get("datasetId", "") == (dataset if dataset != "@none" else ""):
            _stamp(instance, told)


def _stamp(target: dict[str, Any], told: Mapping[str, Any]) -> None:
    for key in (*_STAMPS, "expiresAt"):
        if isinstance(told.get(key), str):
            target[key] = instants.parse(told[key], key)


def merged(parts: Sequence[Doc], now: Instant) -> Doc | None:
    """The entity that equal parts make together; None when every part has expired."""
    living = [part for part in parts if not expiry.ended(part, now)]
    if len(living) < 2:
        return living[0] if living else None
    living = _ends_pushed_down(living)
    attrs: dict[str, dict[str, list[Instance]]] = {}
    for part in living:
        for iri, instances in part["attrs"].items():
            for instance in instances:
                attrs.setdefault(iri, {}).setdefault(instance.get("datasetId", ""), []).append(instance)
    doc = _shell(living)
    doc["attrs"] = {}
    for iri, datasets in attrs.items():
        kept = [newest for dataset in sorted(datasets) if (newest := _newest(datasets[dataset], now)) is not None]
        if kept:
            doc["attrs"][iri] = kept
    return doc


def supplemented(doc: Doc | None, auxiliaries: Sequence[Doc], now: Instant) -> Doc | None:
    """The entity with those attributes of auxiliary parts that it does not have; the parts' own entity when there is
    no other (4.3.6.2)."""
    extra = merged(auxiliaries, now)
    if doc is None or extra is None:
        return doc if extra is None else extra
    added = {iri: instances for iri, instances in extra["attrs"].items() if iri not in doc["attrs"]}
    return {**doc, "attrs": {**doc["attrs"], **added}} if added else doc


def _shell(parts: Sequence[Doc]) -> Doc:
    """Everything of the entity but its attributes: types and scopes of all parts, the widest instants."""
    first = parts[0]
    doc: Doc = {"id": first["id"], "type": list(dict.fromkeys(kind for part in parts for kind in part["type"]))}
    scopes = list(dict.fromkeys(scope for part in parts for scope in part.get("scope", ())))
    if scopes:
        doc["scope"] = scopes
    for key, best in (("createdAt", min), ("modifiedAt", max)):
        told = [part[key] for part in parts if key in part]
        if told:
            doc[key] = best(told)
    ends = [part["expiresAt"] for part in parts if "expiresAt" in part]
    if len(ends) == len(parts):
        doc["expiresAt"] = max(ends)
    return doc


def _ends_pushed_down(parts: Sequence[Doc]) -> list[Doc]:
    """Where parts disagree about the entity's end, each part's own end becomes that of its attributes (4.5.5.2)."""
    ends = {part.get("expiresAt", _NEVER) for part in parts}
    if len(ends) == 1:
        return list(parts)
    return [_ending(part, part["expiresAt"]) if "expiresAt" in part else part for part in parts]


def _ending(part: Doc, end: Instant) -> Doc:
    attrs = {
        iri: [{**one, "expiresAt": min(end, one.get("expiresAt", end))} for one in instances]
        for iri, instances in part["attrs"].items()
    }
    return {**part, "attrs": attrs}


def _newest(instances: Sequence[Instance], now: Instant) -> Instance | None:
    """Of instances of one datasetId the one observed last, or else changed last, that has not expired (4.5.5.3)."""
    living = [one for one in instances if not expiry.ended(one, now)]
    observed = [one for one in living if "observedAt" in one]
    if observed:
        return max(observed, key=lambda one: one["observedAt"])
    return max(living, key=lambda one: one.get("modifiedAt", _NEVER), default=None)


# -- words ------------------------------------------------------------------------------------------------------------

_PLAIN: Final = frozenset(
    {"id", "@id", "scope", "@context", "createdAt", "modifiedAt", "deletedAt", "expiresAt", "observedAt", "unitCode"}
    | {"datasetId", "instanceId", "valueType", "lang", "previousValue", *VALUE_MEMBER.values()} - {"vocab"}
)
_NAMES: Final = frozenset({"vocab", "objectType"})


def portion(body: Mapping[str, Any], attrs: frozenset[str], context: Context) -> dict[str, Any]:
    """The entity in `body` with its id, type and end, and these attributes alone."""
    body, inner = aliases.opened(body, context)
    return {
        key: value
        for key, value in body.items()
        if key in {"id", "@id", "type", "@type", "expiresAt"} or (key not in _PLAIN and inner.expand(key) in attrs)
    }


def conformed(body: Any, context: Context, version: str) -> Any:
    """An entity or a fragment of one, or a list of them, as a version of the standard ("1.5") knows it (4.3.6.8)."""
    if isinstance(body, list):
        return [conformed(one, context, version) for one in body]
    if not isinstance(body, dict):
        return body
    body, _ = aliases.opened(body, context)
    major, _, minor = version.partition(".")
    doc = parse_entity(body, context, PATCH, entity_id=str(body.get("id", body.get("@id", "urn:x:x"))))
    doc.setdefault("type", [])
    found = fallback.conform(doc, (int(major), int(minor)))
    if found is doc:
        return body
    shown = entity({**found, "type": found["type"] or ["urn:x:x"]}, View(context))
    return {key: value for key, value in shown.items() if key not in {"id", "type"} or key in body}


def recast(body: Any, old: Context, new: Context) -> Any:
    """An entity, or a list of them, whose names are of `old`, with the names that `new` has for the same things."""
    if isinstance(body, list):
        return [recast(one, old, new) for one in body]
    if not isinstance(body, dict):
        return body
    body, inner = aliases.opened(body, old)
    found = {key: _renamed(value, old, new) for key, value in body.items() if key in {"type", "@type"}}
    _, onward = aliases.opened(found, new)
    for key, value in body.items():
        if key in _PLAIN:
            found[key] = value
        elif key not in {"type", "@type"}:
            name = onward.compact(inner.expand(key))
            found[name] = _recast_attribute(key, value, inner, onward.within(name))
    return found


def recast_part(fragment: Any, iri: str, old: Context, new: Context) -> Any:
    """The fragment of one attribute, likewise."""
    fragment, old = inside(old.compact(iri), fragment, old)
    new = new.within(new.compact(iri))
    if isinstance(fragment, list):
        return [_recast_one(one, old, new) for one in fragment]
    return _recast_members(fragment, old, new) if isinstance(fragment, dict) else fragment


def _recast_attribute(name: str, value: Any, old: Context, new: Context) -> Any:
    """What stands in the member `name`, told in `old`, with the names that are used in its place, whose context is
    `new`."""
    value, old = inside(name, value, old)
    if isinstance(value, list):
        return [_recast_one(one, old, new) for one in value]
    return _recast_one(value, old, new)


def _recast_one(value: Any, old: Context, new: Context) -> Any:
    return _recast_members(value, old, new) if isinstance(value, dict) and _is_attribute(value) else value


def _recast_members(value: dict[str, Any], old: Context, new: Context) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, part in value.items():
        if key in _NAMES:
            found[key] = _renamed(part, old, new)
        elif key in _PLAIN or key in {"type", "@type"}:
            found[key] = part
        else:
            name = new.compact(old.expand(key))
            found[name] = _recast_attribute(key, part, old, new.within(name))
    return found


def _is_attribute(value: Mapping[str, Any]) -> bool:
    return value.get("type") in VALUE_MEMBER or any(member in value for member in VALUE_MEMBER.values())


def _renamed(value: Any, old: Context, new: Context) -> Any:
    if isinstance(value, list):
        return [_renamed(one, old, new) for one in value]
    return new.compact(old.expand(value)) if isinstance(value, str) and value != NULL else value
