"""An entity as an earlier version of the standard would have told it, for brokers that know no later one.

    JsonProperty, VocabProperty, ListProperty -> Property, ListRelationship -> Relationship      before 1.8
    LanguageProperty -> Property                                                                before 1.4
    members that a version does not know are left out; several types or instances become one    before 1.3

Promises: what needs no change is given back as it is, so that whoever asks can tell whether anything was changed.
Source: ETSI GS CIM 009 V1.9.1 clause 4.3.6.8 and its tables.
"""

from __future__ import annotations

from typing import Final

from shahar.model.entity import VALUE_MEMBER, Doc, Instance

Version = tuple[int, int]
NEWEST: Final[Version] = (1, 9)

_KIND_SINCE: Final[dict[str, tuple[Version, str]]] = {
    "JsonProperty": ((1, 8), "Property"),
    "VocabProperty": ((1, 8), "Property"),
    "ListProperty": ((1, 8), "Property"),
    "ListRelationship": ((1, 8), "Relationship"),
    "LanguageProperty": ((1, 4), "Property"),
}
_MEMBER_SINCE: Final[dict[str, Version]] = {
    "expiresAt": (1, 9),
    "valueType": (1, 9),
    "objectType": (1, 8),
    "datasetId": (1, 3),
    "observedAt": (1, 3),
    "unitCode": (1, 3),
}
_ENTITY_SINCE: Final[dict[str, Version]] = {"expiresAt": (1, 9), "scope": (1, 4)}
_MANY_SINCE: Final[Version] = (1, 3)


def conform(doc: Doc, version: Version) -> Doc:
    """The entity as `version` (major, minor) would have it; the same object when it is so already."""
    if version >= NEWEST:
        return doc
    attrs = _attributes(doc["attrs"], version)
    types = doc["type"][:1] if version < _MANY_SINCE else doc["type"]
    unknown = [name for name, since in _ENTITY_SINCE.items() if name in doc and version < since]
    if attrs is doc["attrs"] and not unknown and types == doc["type"]:
        return doc
    return {key: value for key, value in doc.items() if key not in unknown} | {"attrs": attrs, "type": types}


def _attributes(attrs: dict[str, list[Instance]], version: Version) -> dict[str, list[Instance]]:
    found = {}
    changed = False
    for iri, instances in attrs.items():
        kept = instances[:1] if version < _MANY_SINCE else instances
        found[iri] = [_instance(one, version) for one in kept]
        same = len(kept) == len(instances) and all(a is b for a, b in zip(found[iri], kept, strict=True))
        changed = changed or not same
    return found if changed else attrs


def _instance(one: Instance, version: Version) -> Instance:
    since, kind = _KIND_SINCE.get(one["type"], (version, one["type"]))
    subs = _attributes(one["attrs"], version) if "attrs" in one else None
    unknown = [name for name, known in _MEMBER_SINCE.items() if name in one and version < known]
    older = version < since
    previous = _instance(one["previous"], version) if "previous" in one else None
    if not older and not unknown and subs is one.get("attrs") and previous is one.get("previous"):
        return one
    found = {key: value for key, value in one.items() if key not in unknown}
    if older:
        value = found.pop(VALUE_MEMBER[one["type"]])
        found |= {"type": kind, VALUE_MEMBER[kind]: value}
    if previous is not None:
        found["previous"] = previous
    return found if subs is None else found | {"attrs": subs}
