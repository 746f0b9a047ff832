"""From a request's JSON to the house's entity document: names expanded, structure checked, system members dropped.

The document is a dict (one form for store, queries and rendering):
    {"id", "type": [IRI], "scope": [...], "createdAt": at, "modifiedAt": at, "expiresAt": at,
     "attrs": {IRI: [instance, ...]}}
and an instance is {"type", its value member, "observedAt": at, "unitCode", "datasetId", "expiresAt": at,
"attrs": {IRI: [instance]}}, with `createdAt` and `modifiedAt` set by model/change.py. Default instances stand first.
Whatever comes in normalised, concise or simplified is the same document afterwards.

Promises: raises Invalid or TooLarge naming the field, and nothing else, whatever JSON it is given; a document that it
returns can be rendered.
Does not: know the current state; fetch an @context; keep createdAt, modifiedAt, deletedAt or instanceId of a caller.
Source: ETSI GS CIM 009 clauses 4.5.1 to 4.5.4, 5.2.4 to 5.2.8; concise representation 4.5.1; null as
"urn:ngsi-ld:null" 4.5.0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shahar.model import aliases
from shahar.model.context import Context
from shahar.values import instants, places
from shahar.values.bounds import (
    ATTRIBUTE_INSTANCES,
    ATTRIBUTE_LEVELS,
    ENTITY_ATTRIBUTES,
    ENTITY_SCOPES,
    ENTITY_TYPES,
    ID_CHARS,
    JSON_DEPTH,
    LANGUAGES,
    LIST_ITEMS,
    STRING_BYTES,
)
from shahar.values.errors import Invalid, TooLarge

Doc = dict[str, Any]
Instance = dict[str, Any]

NULL: Final = "urn:ngsi-ld:null"

VALUE_MEMBER: Final[dict[str, str]] = {
    "Property": "value",
    "GeoProperty": "value",
    "Relationship": "object",
    "LanguageProperty": "languageMap",
    "VocabProperty": "vocab",
    "JsonProperty": "json",
    "ListProperty": "valueList",
    "ListRelationship": "objectList",
}
"""Attribute type -> the member that holds its value."""

_KIND_OF_MEMBER: Final = {member: kind for kind, member in VALUE_MEMBER.items() if kind != "GeoProperty"}
_GEOMETRIES: Final = frozenset(places.GEOMETRY_TYPES)
_DROPPED: Final = frozenset(
    {"createdAt", "modifiedAt", "deletedAt", "instanceId", "entity", "entityList", "previousValue", "@context"}
)
_MEMBERS: Final = (
    frozenset(
        {
            "type",
            "@type",
            "observedAt",
            "unitCode",
            "datasetId",
            "objectType",
            "valueType",
            "expiresAt",
            *_KIND_OF_MEMBER,
        }
    )
    | _DROPPED
)
_CODE_CHARS: Final = 16
"""A unit's code is three letters or digits; a longer one is a text of which anything may be."""
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"{}|\\^`\x00-\x20]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a body is to be read: whether null may stand for deletion, whether values stand bare (simplified)."""

    nulls: bool = False
    simplified: bool = False
    partial: bool = False
    """An attribute fragment need not hold a value (partial attribute update)."""


CREATE: Final = Reading()
PATCH: Final = Reading(nulls=True)


def check_uri(value: object, field: str) -> str:
    """The value, when it is a URI; Invalid otherwise."""
    if not isinstance(value, str) or len(value) > ID_CHARS or not _URI.fullmatch(value):
        raise Invalid(f"{value!r:.80} is not a URI", field=field, rule="RFC 3986 URI")
    return value


def check_depth(value: Any, field: str, left: int = JSON_DEPTH) -> None:
    """TooLarge when a value nests deeper, or a text or list in it is longer than the bound; Invalid for a NUL in it."""
    if isinstance(value, str):
        if "\0" in value:
            raise Invalid("a NUL character cannot be kept", field=field, rule="no U+0000 in text")
        if len(value) > STRING_BYTES:
            raise TooLarge("a text is too long", field=field, rule=f"at most {STRING_BYTES} bytes")
    elif isinstance(value, (dict, list)):
        if left <= 0:
            raise TooLarge("the value nests too deeply", field=field, rule=f"at most {JSON_DEPTH} levels")
        if isinstance(value, list) and len(value) > LIST_ITEMS:
            raise TooLarge("a list is too long", field=field, rule=f"at most {LIST_ITEMS} items")
        for member in value.values() if isinstance(value, dict) else value:
            check_depth(member, field, left - 1)
        if isinstance(value, dict) and any("\0" in key for key in value):
            raise Invalid("a NUL character cannot be kept", field=field, rule="no U+0000 in text")


def parse_entity(body: Any, context: Context, reading: Reading = CREATE, *, entity_id: str | None = None) -> Doc:
    """The document of an entity or of an entity fragment.

    `entity_id` is the id from the address; without it the body must carry id and type. Raises Invalid.
    """
    inner = context
    if not context.plain:
        body, inner = aliases.opened(body, context)
    doc = parse_shell(body, context, reading, entity_id=entity_id)
    doc["attrs"] = parse_attributes(body, inner, reading)
    return doc


def parse_shell(body: Any, context: Context, reading: Reading = CREATE, *, entity_id: str | None = None) -> Doc:
    """The document without its attributes: id, type, scope; `body` as `aliases.opened` gives it."""
    if not isinstance(body, dict):
        raise Invalid("an entity is a JSON object", field="body", rule="ETSI GS CIM 009 clause 5.2.4")
    given_id = body.get("id", body.get("@id"))
    if entity_id is None:
        entity_id = check_uri(given_id, "id")
    elif given_id is not None and given_id != entity_id:
        raise Invalid("the id in the body is not the id in the address", field="id", rule="the same id in both")
    doc: Doc = {"id": entity_id}
    kinds = body.get("type", body.get("@type"))
    if kinds is not None:
        doc["type"] = parse_types(kinds, context)
    if "expiresAt" in body:
        end = body["expiresAt"]
        doc["expiresAt"] = None if end == NULL and reading.nulls else instants.parse(end, "expiresAt")
    if "scope" in body:
        doc["scope"] = parse_scopes(body["scope"], reading)
    return doc


_ENTITY_MEMBERS: Final = frozenset(
    {"id", "@id", "type", "@type", "scope", "@context", "createdAt", "modifiedAt", "deletedAt", "expiresAt"}
)


def parse_attributes(body: Mapping[str, Any], context: Context, reading: Reading) -> dict[str, list[Instance]]:
    """Every member of `body` that is an attribute, expanded; `context` is that of the members of its types."""
    attributes: dict[str, list[Instance]] = {}
    for name, iri, given in members(body, context):
        parts = None if reading.simplified or reading.partial else plain(name, given)
        if parts is None:
            attributes[iri] = parse_instances(name, given, context, reading)
            continue
        value, unit, observed = parts
        instance: Instance = {"type": "Property", "value": value}
        if unit is not None:
            instance["unitCode"] = unit
        if observed is not None:
            instance["observedAt"] = observed
        attributes[iri] = [instance]
    return attributes


def plain(name: str, given: Any) -> tuple[float, str | None, instants.Instant | None] | None:
    """Value, unit and instant of what most messages hold: a Property of a number. None for all else, and for what must
    be looked at more closely: `parse_instances` reads that, and reads this the same, in ten times the time.
    """
    if type(given) is not dict or given.get("type") != "Property":
        return None
    value, unit, observed = given.get("value"), given.get("unitCode"), given.get("observedAt")
    if type(value) is not float and type(value) is not int:
        return None
    if len(given) != 2 + (unit is not None) + (observed is not None) or observed == NULL:
        return None
    if unit is not None and not (type(unit) is str and len(unit) <= _CODE_CHARS and unit.isalnum()):
        return None
    return value, unit, None if observed is None else instants.parse(observed, f"{name}.observedAt")


def members(body: Mapping[str, Any], context: Context) -> Iterator[tuple[str, str, Any]]:
    """(name, IRI, what was given) of every member of `body` that is an attribute."""
    if len(body) > ENTITY_ATTRIBUTES + len(_ENTITY_MEMBERS):
        raise TooLarge("too many attributes", field="body", rule=f"at most {ENTITY_ATTRIBUTES} attributes")
    seen: set[str] = set()
    for name, given in body.items():
        if name in _ENTITY_MEMBERS:
            continue
        iri = context.expand(name)
        if iri in seen:
            raise Invalid("two members name the same attribute", field=name, rule="one member an attribute")
        seen.add(iri)
        yield name, iri, given


def parse_types(kinds: Any, context: Context) -> list[str]:
    """Expanded entity types; Invalid when there is none or one is no name."""
    listed = kinds if isinstance(kinds, list) else [kinds]
    if not listed or not all(isinstance(kind, str) and kind for kind in listed):
        raise Invalid("a type is a name or a list of names", field="type", rule="ETSI GS CIM 009 clause 5.2.4")
    if len(listed) > ENTITY_TYPES:
        raise TooLarge("too many types", field="type", rule=f"at most {ENTITY_TYPES} types")
    if not {"id", "type"}.isdisjoint(listed):
        raise Invalid("id and type are keywords, not types", field="type", rule="ETSI GS CIM 009 clause 4.6.2")
    return list(dict.fromkeys(context.expand(kind) for kind in listed))


def parse_scopes(given: Any, reading: Reading = CREATE) -> list[str]:
    """The scopes that a scope, or a list of them, names, each from the root; Invalid, TooLarge."""
    listed = given if isinstance(given, list) else [given]
    if reading.nulls and listed == [NULL]:
        return []
    if len(listed) > ENTITY_SCOPES:
        raise TooLarge("too many scopes", field="scope", rule=f"at most {ENTITY_SCOPES} scopes")
    for scope in listed:
        if (
            not isinstance(scope, str)
            or not re.fullmatch(r"/?[^/\s\0#+,;()]+(/[^/\s\0#+,;()]+)*", scope)
            or len(scope) > ID_CHARS
        ):
            raise Invalid(
                f"{scope!r:.80} is not a scope such as /Madrid/Gardens",
                field="scope",
                rule="ETSI GS CIM 009 clause 4.18",
            )
    return [scope if scope.startswith("/") else "/" + scope for scope in listed]


def parse_instances(name: str, given: Any, context: Context, reading: Reading, depth: int = 0) -> list[Instance]:
    """The instances of one attribute, default first; a list of objects with distinct datasetId is a multi-attribute
    (clause 4.5.5).
    """
    if not context.plain and not reading.simplified:
        given, context = inside(name, given, context)
    if isinstance(given, list) and given and not reading.simplified and all(_is_attribute(part) for part in given):
        if len(given) > ATTRIBUTE_INSTANCES:
            raise TooLarge("too many instances", field=name, rule=f"at most {ATTRIBUTE_INSTANCES} instances")
        found = [parse_instance(name, part, context, reading, depth) for part in given]
        ids = [instance.get("datasetId", "") for instance in found]
        if len(set(ids)) != len(ids):
            raise Invalid(
                "two instances have the same datasetId",
                field=name,
                rule="ETSI GS CIM 009 clause 4.5.5: distinct datasetId",
            )
        return sorted(found, key=lambda instance: instance.get("datasetId", ""))
    return [parse_instance(name, given, context, reading, depth)]


def inside(name: str, given: Any, context: Context) -> tuple[Any, Context]:
    """What was given as an attribute, with the standard's name for its type, and the context that it is read in."""
    return aliases.inside(name, given, context, _is_attribute)


def _is_attribute(given: Any) -> bool:
    """Whether an object is an attribute rather than a bare value."""
    if not isinstance(given, dict):
        return False
    kind = given.get("type", given.get("@type"))
    return (isinstance(kind, str) and kind in VALUE_MEMBER) or not _KIND_OF_MEMBER.keys().isdisjoint(given)


def parse_instance(name: str, given: Any, context: Context, reading: Reading, depth: int = 0) -> Instance:
    """One attribute instance from its normalised, concise or bare form; `context` is that `inside` it. Invalid."""
    if depth >= ATTRIBUTE_LEVELS:
        raise TooLarge("sub-attributes nest too deeply", field=name, rule=f"at most {ATTRIBUTE_LEVELS} levels")
    if not isinstance(given, dict) or reading.simplified:
        return _bare(name, given, reading)
    kind = given.get("type", given.get("@type"))
    if not isinstance(kind, str) or kind not in VALUE_MEMBER:
        if _is_geometry(given):
            return _bare(name, given, reading)
        kind = _infer(name, given, kind, reading)
        if kind is None:
            return _bare(name, given, reading)
    instance: Instance = {"type": kind}
    member = VALUE_MEMBER.get(kind, "")
    if member in given:
        _CHECK[kind](name, given[member], instance, context, reading)
    elif not reading.partial:
        raise Invalid(
            f"a {kind} needs the member {member!r}", field=name, rule="ETSI GS CIM 009 clauses 5.2.5 to 5.2.7"
        )
    subs: dict[str, list[Instance]] | None = None
    for key, value in given.items():
        if key == member or key == "type":
            continue
        read = _MEMBER.get(key)
        if read is not None:
            read(name, key, value, instance, context, reading)
        elif key not in _MEMBERS:
            if subs is None:
                subs = instance["attrs"] = {}
            subs[context.expand(key)] = parse_instances(key, value, context, reading, depth + 1)
    return instance


def _infer(name: str, given: dict[str, Any], kind: Any, reading: Reading) -> str | None:
    """The attribute type of a concise form; None when the object is a bare value."""
    if kind is not None:
        if any(member in given for member in _KIND_OF_MEMBER) or not isinstance(kind, str):
            raise Invalid(
                f"{kind!r:.80} is not a type of attribute", field=name, rule="Property, Relationship, GeoProperty, ..."
            )
        return None
    for member, found in _KIND_OF_MEMBER.items():
        if member in given:
            value = given[member]
            return "GeoProperty" if member == "value" and _is_geometry(value) else found
    return "" if reading.partial else None


def _is_geometry(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and "coordinates" in value
        and isinstance(value.get("type"), str)
        and value["type"] in _GEOMETRIES
    )


def _bare(name: str, value: Any, reading: Reading) -> Instance:
    if _is_geometry(value):
        return {"type": "GeoProperty", "value": places.geometry(value, name)}
    if value is None:
        raise Invalid(
            "null is not a value", field=name, rule="ETSI GS CIM 009 clause 5.5.4: use urn:ngsi-ld:null in a merge"
        )
    if value == NULL and not reading.nulls:
        raise Invalid("urn:ngsi-ld:null is not a value here", field=name, rule="ETSI GS CIM 009 clause 4.5.0")
    check_depth(value, name)
    return {"type": "Property", "value": value}


# -- the value member of each type ----------------------------------------------------------------------------------

_Check = Callable[[str, Any, Instance, Context, Reading], None]


def _value(name: str, value: Any, instance: Instance, _context: Context, reading: Reading) -> None:
    if value is None:
        raise Invalid("null is not a value", field=name, rule="ETSI GS CIM 009 clause 5.5.4")
    if isinstance(value, (dict, list, str)):
        _no_null(name, value, reading)
        check_depth(value, name)
    instance["value"] = value


def _no_null(name: str, value: Any, reading: Reading) -> None:
    if value == NULL and not reading.nulls:
        raise Invalid("urn:ngsi-ld:null is not a value here", field=name, rule="ETSI GS CIM 009 clause 4.5.0")


def _geometry(name: str, value: Any, instance: Instance, _context: Context, reading: Reading) -> None:
    _no_null(name, value, reading)
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            raise Invalid("the value is not a GeoJSON geometry", field=name, rule="RFC 7946 section 3.1") from None
    instance["value"] = value if value == NULL else places.geometry(value, name)


def _object(name: str, value: Any, instance: Instance, _context: Context, _reading: Reading) -> None:
    if isinstance(value, list):
        if not value:
            raise Invalid("an empty list names no object", field=name, rule="ETSI GS CIM 009 clause 5.2.6")
        instance["object"] = [check_uri(part, name) for part in value]
    else:
        instance["object"] = check_uri(value, name)
    _no_null(name, value, _reading)


def _languages(name: str, value: Any, instance: Instance, _context: Context, reading: Reading) -> None:
    if value == NULL and reading.nulls:
        instance["languageMap"] = value
        return
    if not isinstance(value, dict) or not all(isinstance(key, str) and _is_text(part) for key, part in value.items()):
        raise Invalid("a languageMap maps language tags to texts", field=name, rule="ETSI GS CIM 009 clause 4.5.18")
    if len(value) > LANGUAGES:
        raise TooLarge("too many languages", field=name, rule=f"at most {LANGUAGES} languages")
    if not reading.nulls and NULL in value.values():
        raise Invalid("urn:ngsi-ld:null is not a value here", field=name, rule="ETSI GS CIM 009 clause 4.5.0")
    check_depth(value, name)
    instance["languageMap"] = value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(part, str) for part in value))


def _vocab(name: str, value: Any, instance: Instance, context: Context, reading: Reading) -> None:
    if not _is_text(value) or not value:
        raise Invalid("a vocab is a name or a list of names", field=name, rule="ETSI GS CIM 009 clause 4.5.20")
    if value == NULL and reading.nulls:
        instance["vocab"] = value
    else:
        _no_null(name, value, reading)
        instance["vocab"] = (
            [context.expand(part) for part in value] if isinstance(value, list) else context.expand(value)
        )


def _json(name: str, value: Any, instance: Instance, _context: Context, reading: Reading) -> None:
    _no_null(name, value, reading)
    check_depth(value, name)
    instance["json"] = value


def _values(name: str, value: Any, instance: Instance, _context: Context, reading: Reading) -> None:
    if value == NULL and reading.nulls:
        instance["valueList"] = value
        return
    if not isinstance(value, list):
        raise Invalid("a valueList is a list", field=name, rule="ETSI GS CIM 009 clause 4.5.21")
    check_depth(value, name)
    instance["valueList"] = value


def _objects(name: str, value: Any, instance: Instance, _context: Context, reading: Reading) -> None:
    if value == NULL and reading.nulls:
        instance["objectList"] = value
        return
    if not isinstance(value, list):
        raise Invalid("an objectList is a list", field=name, rule="ETSI GS CIM 009 clause 4.5.22")
    instance["objectList"] = [check_uri(part.get("object") if isinstance(part, dict) else part, name) for part in value]


_CHECK: Final[dict[str, _Check]] = {
    "Property": _value,
    "GeoProperty": _geometry,
    "Relationship": _object,
    "LanguageProperty": _languages,
    "VocabProperty": _vocab,
    "JsonProperty": _json,
    "ListProperty": _values,
    "ListRelationship": _objects,
    "": lambda *_: None,
}


# -- the other members ----------------------------------------------------------------------------------------------

_Member = Callable[[str, str, Any, Instance, Context, Reading], None]


def _moment(name: str, key: str, value: Any, instance: Instance, _context: Context, reading: Reading) -> None:
    if value == NULL and reading.nulls:
        instance[key] = value
    else:
        instance[key] = instants.parse(value, f"{name}.{key}")


def _text(name: str, key: str, value: Any, instance: Instance, _context: Context, _reading: Reading) -> None:
    if not isinstance(value, str) or len(value) > 256 or "\0" in value:
        raise Invalid(f"{key} is a short text", field=f"{name}.{key}", rule="at most 256 characters")
    instance[key] = value


def _dataset(name: str, key: str, value: Any, instance: Instance, _context: Context, _reading: Reading) -> None:
    if value != "@none":
        instance[key] = check_uri(value, f"{name}.{key}")


def _names(name: str, key: str, value: Any, instance: Instance, context: Context, _reading: Reading) -> None:
    if not _is_text(value):
        raise Invalid(
            f"{key} is a name or a list of names", field=f"{name}.{key}", rule="ETSI GS CIM 009 clause 4.5.23"
        )
    instance[key] = [context.expand(part) for part in (value if isinstance(value, list) else [value])]


def _embedded(name: str, key: str, _value: Any, _instance: Instance, _context: Context, _reading: Reading) -> None:
    raise Invalid("an attribute has no @context of its own", field=f"{name}.{key}", rule="ETSI GS CIM 009 clause 5.5.7")


_MEMBER: Final[dict[str, _Member]] = {
    "observedAt": _moment,
    "expiresAt": _moment,
    "unitCode": _text,
    "valueType": _text,
    "datasetId": _dataset,
    "objectType": _names,
    "@context": _embedded,
}
