"""What bodies look like, as JSON Schemas: requests as strictly as the first reading of them, answers as they are told.

Source: ETSI GS CIM 009 clauses 5.2 (data types), 5.3 (notifications are not here: they are sent, not asked for);
RFC 7807; RFC 7946; JSON Schema 2020-12.
"""

from __future__ import annotations

from typing import Any, Final

from shahar.services.retention import METHODS, PERIODS
from shahar.values.bounds import ID_CHARS, NAME_CHARS, RETENTION_DAYS

Schema = dict[str, Any]

URI: Final[Schema] = {
    "type": "string",
    "pattern": r'^[A-Za-z][A-Za-z0-9+.-]*:[^\s<>"{}|\\^`]+$',
    "maxLength": ID_CHARS,
}
TYPE_NAME: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_:/.-]*$", "maxLength": NAME_CHARS}
MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
TEXT: Final[Schema] = {"type": "string", "minLength": 1}
NUMBER: Final[Schema] = {"type": "number"}
FLAG: Final[Schema] = {"type": "boolean"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}


def ref(name: str) -> Schema:
    """A reference to a schema of this room."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(of: Schema, least: int = 0) -> Schema:
    """A list."""
    return {"type": "array", "items": of} | ({"minItems": least} if least else {})


def record(required: tuple[str, ...], /, *, extra: Any = None, **members: Schema) -> Schema:
    """An object; `extra`: the schema of members that are not named, False when there may be none."""
    found: Schema = {"type": "object", "properties": members}
    if required:
        found["required"] = list(required)
    if extra is not None:
        found["additionalProperties"] = extra
    return found


def either(*schemas: Schema) -> Schema:
    """One of several."""
    return {"anyOf": list(schemas)}


def _attribute(kind: str, member: str, value: Schema, **more: Schema) -> Schema:
    own = {"type": {"const": kind}, member: value, "observedAt": MOMENT, "datasetId": URI}
    return record(("type", member), extra=ref("Attribute"), **own, **more)


_ATTRIBUTES: Final[dict[str, Schema]] = {
    "Property": _attribute(
        "Property", "value", {"description": "any JSON value but null"}, unitCode=TEXT, valueType=TEXT
    ),
    "Relationship": _attribute("Relationship", "object", either(URI, listed(URI, 1)), objectType=ref("Types")),
    "GeoProperty": _attribute("GeoProperty", "value", ref("Geometry")),
    "LanguageProperty": _attribute(
        "LanguageProperty", "languageMap", {"type": "object", "additionalProperties": either(TEXT, listed(TEXT))}
    ),
    "VocabProperty": _attribute("VocabProperty", "vocab", either(TEXT, listed(TEXT, 1))),
    "JsonProperty": _attribute("JsonProperty", "json", either({"type": "object"}, {"type": "array"})),
    "ListProperty": _attribute("ListProperty", "valueList", {"type": "array"}, unitCode=TEXT),
    "ListRelationship": _attribute("ListRelationship", "objectList", listed(URI)),
}

_POSITION: Final[Schema] = {
    "type": "array",
    "prefixItems": [
        {"type": "number", "minimum": -180, "maximum": 180},
        {"type": "number", "minimum": -90, "maximum": 90},
    ],
    "items": NUMBER,
    "minItems": 2,
    "maxItems": 3,
}


def _geometry(kind: str, coordinates: Schema) -> Schema:
    return record(("type", "coordinates"), type={"const": kind}, coordinates=coordinates)


_GEOMETRIES: Final = (
    _geometry("Point", _POSITION),
    _geometry("MultiPoint", listed(_POSITION)),
    _geometry("LineString", listed(_POSITION, 2)),
    _geometry("MultiLineString", listed(listed(_POSITION, 2))),
    _geometry("Polygon", listed(listed(_POSITION, 4))),
    _geometry("MultiPolygon", listed(listed(listed(_POSITION, 4)))),
)

_SELECTOR: Final = record(("type",), type=TEXT, id=either(URI, listed(URI, 1)), idPattern=TEXT)
_GEO_QUERY: Final = record(
    ("georel", "geometry", "coordinates"), georel=TEXT, geometry=TEXT, coordinates={}, geoproperty=TEXT
)
_TEMPORAL_QUERY: Final = record(
    (),
    timerel={"enum": ["before", "after", "between"]},
    timeAt=MOMENT,
    endTimeAt=MOMENT,
    timeproperty=TEXT,
    lastN=COUNT,
)
_PAIRS: Final = listed(record(("key", "value"), key=TEXT, value=TEXT))
_ENDPOINT: Final = record(
    ("uri",), uri=URI, accept=TEXT, timeout=NUMBER, cooldown=NUMBER, receiverInfo=_PAIRS, notifierInfo=_PAIRS
)
_NOTIFICATION: Final = record(
    ("endpoint",),
    endpoint=_ENDPOINT,
    attributes=listed(TEXT, 1),
    format=TEXT,
    sysAttrs=FLAG,
    showChanges=FLAG,
)
_SUBSCRIPTION: Final = {
    "id": URI,
    "type": {"const": "Subscription"},
    "subscriptionName": TEXT,
    "description": TEXT,
    "entities": listed(_SELECTOR, 1),
    "watchedAttributes": listed(TEXT, 1),
    "timeInterval": NUMBER,
    "throttling": NUMBER,
    "q": TEXT,
    "geoQ": _GEO_QUERY,
    "scopeQ": TEXT,
    "isActive": FLAG,
    "expiresAt": MOMENT,
    "notification": _NOTIFICATION,
}
_REGISTRATION: Final = {
    "id": URI,
    "type": {"const": "ContextSourceRegistration"},
    "registrationName": TEXT,
    "description": TEXT,
    "information": listed(
        record((), entities=listed(_SELECTOR, 1), propertyNames=listed(TEXT, 1), relationshipNames=listed(TEXT, 1)), 1
    ),
    "endpoint": URI,
    "mode": {"enum": ["inclusive", "exclusive", "redirect", "auxiliary"]},
    "operations": listed(TEXT, 1),
    "tenant": TEXT,
    "expiresAt": MOMENT,
    "location": ref("Geometry"),
    "contextSourceInfo": _PAIRS,
}
_CONTEXT: Final = either({"type": "string"}, {"type": "object"}, listed(either({"type": "string"}, {"type": "object"})))
_INSTANCES: Final = either(ref("Attribute"), listed(ref("Attribute"), 1))
_NAMES: Final = listed(TEXT)

SCHEMAS: Final[dict[str, Schema]] = {
    "Problem": record(
        ("type", "title", "status", "detail"),
        type={"type": "string", "format": "uri"},
        title=TEXT,
        status={"type": "integer"},
        detail=TEXT,
        field={"type": "string", "description": "what of the request is wrong"},
        rule={"type": "string", "description": "what holds for it"},
    ),
    "Types": either(TYPE_NAME, listed(TYPE_NAME, 1)),
    "Context": _CONTEXT,
    "Geometry": {"oneOf": list(_GEOMETRIES)},
    "Attribute": either(*_ATTRIBUTES.values()),
    "Entity": record(
        ("id", "type"),
        extra=_INSTANCES,
        id=URI,
        type=ref("Types"),
        scope=either(TEXT, _NAMES),
        **{"@context": ref("Context")},
    ),
    "EntityFragment": record(
        (), extra=_INSTANCES, id=URI, type=ref("Types"), scope=either(TEXT, _NAMES), **{"@context": ref("Context")}
    )
    | {"minProperties": 1},
    "AttributeFragment": {"type": "object", "minProperties": 1, "description": "an Attribute, or members of one"},
    "EntityShown": {
        "type": "object",
        "description": "an entity in the form that was asked for: normalised, concise or simplified",
    },
    "Feature": record(
        ("type", "properties"), id=TEXT, type={"const": "Feature"}, geometry={}, properties={"type": "object"}
    ),
    "FeatureCollection": record(
        ("type", "features"), type={"const": "FeatureCollection"}, features=listed(ref("Feature"))
    ),
    "EntityTemporal": record(("id",), extra=True, id=URI, type=ref("Types"), **{"@context": ref("Context")})
    | {"description": "an entity whose attributes are lists of instances over time"},
    "EvolutionShown": {"type": "object", "description": "the past of an entity, in the form that was asked for"},
    "EntityTemporalFragment": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": either(_INSTANCES, ref("Context"), _NAMES),
    },
    "Query": record(
        ("type",),
        type={"const": "Query"},
        entities=listed(_SELECTOR, 1),
        attrs=listed(TEXT, 1),
        q=TEXT,
        geoQ=_GEO_QUERY,
        scopeQ=TEXT,
        temporalQ=_TEMPORAL_QUERY,
        **{"@context": ref("Context")},
    ),
    "Subscription": record(("type", "notification"), **_SUBSCRIPTION, **{"@context": ref("Context")}),
    "SubscriptionFragment": record((), **_SUBSCRIPTION, **{"@context": ref("Context")}) | {"minProperties": 1},
    "SubscriptionShown": record(("id", "type", "notification"), id=TEXT, type={"const": "Subscription"}, status=TEXT),
    "EntityMapShown": record(
        ("id", "type", "expiresAt", "entityMap", "linkedMaps"),
        id=TEXT,
        type={"const": "EntityMap"},
        expiresAt=MOMENT,
        entityMap={"type": "object", "additionalProperties": _NAMES},
        linkedMaps={"type": "object", "additionalProperties": TEXT},
    ),
    "EntityMapFragment": record((), expiresAt=MOMENT, type={"const": "EntityMap"}, **{"@context": ref("Context")})
    | {"minProperties": 1},
    "Registration": record(("type", "information", "endpoint"), **_REGISTRATION, **{"@context": ref("Context")}),
    "RegistrationFragment": record((), **_REGISTRATION, **{"@context": ref("Context")}) | {"minProperties": 1},
    "RegistrationShown": record(("id", "type"), id=TEXT, type={"const": "ContextSourceRegistration"}),
    "UpdateResult": record(
        ("updated", "notUpdated"),
        updated=_NAMES,
        notUpdated=listed(record(("attributeName", "reason"), attributeName=TEXT, reason=TEXT)),
    ),
    "BatchResult": record(
        ("success", "errors"),
        success=listed({"type": "string"}),
        errors=listed(record(("entityId", "error"), entityId={"type": "string"}, error=ref("Problem"))),
    ),
    "ContextDocument": record(("@context",), **{"@context": ref("Context")}),
    "ContextInfo": record(
        ("URL", "localId", "kind"),
        URL=TEXT,
        localId=TEXT,
        kind={"enum": ["Hosted", "Cached", "ImplicitlyCreated"]},
        createdAt=MOMENT,
        lastUsage=MOMENT,
        expiresAt=MOMENT,
        numberOfHits=COUNT,
    ),
    "TypeList": record(("id", "type", "typeList"), id=URI, type={"const": "EntityTypeList"}, typeList=_NAMES),
    "TypesShown": either(ref("TypeList"), listed(ref("TypeInfo"))),
    "AttributesShown": either(ref("AttributeList"), listed(ref("AttributeInfo"))),
    "TypeInfo": record(("id", "type", "typeName"), id=TEXT, type=TEXT, typeName=TEXT),
    "AttributeList": record(
        ("id", "type", "attributeList"), id=URI, type={"const": "AttributeList"}, attributeList=_NAMES
    ),
    "AttributeInfo": record(("id", "type", "attributeName"), id=TEXT, type=TEXT, attributeName=TEXT),
    "SourceIdentity": record(("id", "type"), id=URI, type={"const": "ContextSourceIdentity"}),
    "Key": record(
        ("label",),
        extra=False,
        label=TEXT,
        role=TEXT,
        scopes=listed({"type": "object"}, 1),
        tenant={"type": "string"},
        types=listed(TEXT, 1),
        days={"type": "integer", "minimum": 1},
    ),
    "Link": record(
        ("role", "label"), extra=False, role=TEXT, label=TEXT, tenant={"type": "string"}, person={"type": "string"}
    ),
    "Device": record(
        ("name", "profile", "entity"),
        extra=False,
        name=TEXT,
        profile=TEXT,
        entity=URI,
        attributes={"type": "object"},
        identifier={"type": "string", "maxLength": 64},
        through=FLAG,
        tenant={"type": "string", "maxLength": 64},
    ),
    "Made": {"type": "object", "description": "what was made; a key stands here and is told nowhere else"},
    "Listing": {"type": "object"},
    "DeadLetters": listed({"type": "object"}),
    "Forwarded": listed(
        record(
            ("id", "subscription", "registration", "state", "failures"),
            id=TEXT,
            subscription=URI,
            registration=URI,
            state={"enum": ["made", "waiting", "refused", "leaving"]},
            failures=COUNT,
            problem=TEXT,
            againInSeconds=COUNT,
        )
    ),
    "RetentionRule": record(
        ("type",),
        extra=False,
        type=TEXT,
        keepDays={"type": "integer", "minimum": 1, "maximum": RETENTION_DAYS},
        thin=record(
            ("afterDays", "period"),
            extra=False,
            afterDays={"type": "integer", "minimum": 1, "maximum": RETENTION_DAYS},
            period={"enum": list(PERIODS)},
            method={"enum": list(METHODS)},
        ),
    ),
    "Retention": listed({"type": "object"}),
    "Notification": record(
        ("type", "data"),
        id=URI,
        type={"const": "Notification"},
        subscriptionId=URI,
        notifiedAt=MOMENT,
        data={"type": "array", "items": ref("Entity")},
    ),
    "Devices": listed({"type": "object"}),
    "Message": {"description": "what the device's profile says: an envelope of its network server, or plain JSON"},
    "Text": {"type": "string"},
    "Id": URI,
    "Contexts": listed(either(TEXT, ref("ContextInfo"))),
    "Health": record(("status", "version"), status={"const": "ok"}, version=TEXT),
    "Ready": record(
        ("status", "parts"), status={"const": "ready"}, parts={"type": "object", "additionalProperties": FLAG}
    ),
    "Taken": record(("device", "values"), device=TEXT, values=COUNT),
}
