"""The query parameters and header fields of the interfaces: one row for each, with what it means and an example.

A name with a colon is a parameter that means something else elsewhere: `options:batch` is `options` of a batch.
Source: ETSI GS CIM 009 clauses 6.3, 4.9 to 4.11, 4.19, 4.21, 4.23, 4.5.19, 4.5.23.
"""

from __future__ import annotations

from typing import Any, Final

from shahar.model.temporal import METHODS
from shahar.values.bounds import PAGE_LIMIT, PAGE_OFFSET, PATTERN_CHARS, QUERY_CHARS

_NAME: Final = {"type": "string", "minLength": 1}
_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": QUERY_CHARS}
_NAMES: Final = {"type": "string", "minLength": 1}
_URIS: Final = {"type": "string", "minLength": 3, "pattern": r"^[A-Za-z][A-Za-z0-9+.-]*:\S+$"}
_FLAG: Final = {"type": "string", "enum": ["true", "false"]}
_MOMENT: Final = {"type": "string", "format": "date-time"}


def _one_of(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


def _some_of(*values: str) -> dict[str, Any]:
    one = "|".join(values)
    return {"type": "string", "pattern": f"^({one})(,({one}))*$"}


def _count(least: int, most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most}


_FORM: Final = ("normalized", "concise", "simplified", "keyValues")

_ROWS: Final[tuple[tuple[str, dict[str, Any], str, Any], ...]] = (
    ("after", _NAME, "The id of the last one that was seen.", "act"),
    ("aggrMethods", _some_of(*METHODS), "What is reckoned of each period, separated by commas.", "avg,max"),
    ("aggrPeriodDuration", _NAME, "How long a period is, ISO 8601; PT0S: the whole time asked for.", "PT1H"),
    ("attrs", _NAMES, "Attributes of which an entity must have one, and that are shown; separated by commas.", "pm25"),
    ("collation", _NAME, "The language by whose order texts are sorted, with strengths as in RFC 6067.", "uz"),
    ("containedBy", _URIS, "Ids of entities that were met already and are not followed again.", "urn:ngsi-ld:Room:1"),
    ("coordinates", _NAME, "The coordinates of the reference geometry, as in GeoJSON.", "[13.4,52.5]"),
    ("count", _FLAG, "Whether NGSILD-Results-Count tells the number of all that was found.", "true"),
    ("csf", _TEXT, "A filter over properties of the context sources themselves.", 'endpoint=="https://example.org"'),
    ("datasetId", _NAMES, "Which instances of an attribute are meant; separated by commas.", "urn:ngsi-ld:Dataset:a"),
    ("deleteAll", _FLAG, "Whether all instances of the attribute go.", "false"),
    ("details", _FLAG, "Whether more is told than names.", "true"),
    ("drop", _NAMES, "Attributes that go; the entities stay.", "pm25"),
    ("endTimeAt", _MOMENT, "The end of the time between.", "2026-12-01T00:00:00Z"),
    (
        "entityMap",
        {"anyOf": [_FLAG, _URIS]},
        "Whether an entity map is made for the pages of this question; or the id of the one to be used.",
        "true",
    ),
    ("entityMapLifetime", _NAME, "How long the entity map should live, ISO 8601.", "PT10M"),
    ("expandValues", _NAMES, "Attributes whose values in q are terms of the @context.", "category"),
    ("format", _one_of(*_FORM), "The form of the answer.", "simplified"),
    (
        "format:temporal",
        _one_of(*_FORM, "temporalValues", "aggregatedValues"),
        "The form of the answer.",
        "temporalValues",
    ),
    (
        "geometry",
        _one_of("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon"),
        "The type of the reference geometry.",
        "Point",
    ),
    ("geometryProperty", _NAME, "The GeoProperty that becomes a Feature's geometry (GeoJSON alone).", "location"),
    ("geoproperty", _NAME, "The GeoProperty that is held against the reference geometry.", "location"),
    ("georel", _NAME, "How a place must lie to the reference geometry.", "near;maxDistance==2000"),
    ("id", _URIS, "Ids of entities, separated by commas.", "urn:ngsi-ld:Sensor:example"),
    ("idPattern", {"type": "string", "minLength": 1, "maxLength": PATTERN_CHARS}, "A pattern that ids match.", "^urn:"),
    ("join", _one_of("flat", "inline", "@none"), "Whether and how linked entities are answered along.", "inline"),
    ("joinLevel", _count(1, 100), "How many relationships are followed, one behind the other.", 1),
    ("jsonKeys", _NAMES, "Attributes whose JSON keys in q are not terms of the @context.", "settings"),
    ("keep", _NAMES, "Attributes that stay while all others go.", "pm25"),
    ("kind", _one_of("Hosted", "Cached", "ImplicitlyCreated"), "The kind of @context.", "Hosted"),
    ("lang", _NAME, "The language in which language properties are answered.", "uz"),
    ("lang:told", _NAME, "The language of the texts in the body.", "uz"),
    ("lastN", {"type": "integer", "minimum": 1}, "The newest how many instances of each attribute.", 10),
    ("limit", _count(0, PAGE_LIMIT), "How many are answered at once; 0 with count=true alone.", 20),
    ("limit:acts", _count(1, 1_000), "How many are answered at once.", 20),
    ("local", _FLAG, "Whether the question or change stays at this broker.", "true"),
    ("observedAt", _MOMENT, "The observedAt of what the body tells without one.", "2026-11-22T10:00:00Z"),
    ("offset", _count(0, PAGE_OFFSET), "How many are passed over.", 0),
    ("omit", _NAMES, "Members that are left out of the answer.", "scope"),
    (
        "options",
        _some_of("sysAttrs", *_FORM),
        "The form of the answer, and whether it tells system times.",
        "sysAttrs",
    ),
    ("options:batch", _some_of("noOverwrite", "replace", "update"), "How what is there is treated.", "noOverwrite"),
    ("options:change", _some_of("noOverwrite"), "noOverwrite: what is there stays.", "noOverwrite"),
    ("options:merge", _some_of(*_FORM), "The form of the body.", "keyValues"),
    ("options:system", _some_of("sysAttrs"), "Whether times of the system are in the answer.", "sysAttrs"),
    (
        "options:temporal",
        _some_of("sysAttrs", *_FORM, "temporalValues", "aggregatedValues"),
        "The form of the answer, and whether it tells system times.",
        "temporalValues",
    ),
    ("options:upsert", _some_of("replace", "update"), "Whether what is there is replaced or updated.", "update"),
    ("orderBy", _NAMES, "Members by which the answer is sorted, each with ;asc or ;desc.", "id;desc"),
    ("orderFrom", _NAME, "The coordinates from which distances are sorted.", "[13.4,52.5]"),
    ("orderGeometry", _NAME, "The type of the geometry from which distances are sorted.", "Point"),
    ("pick", _NAMES, "The members that are in the answer.", "id,type,pm25"),
    ("q", _TEXT, "A condition over attributes.", "pm25>30"),
    ("reload", _FLAG, "Whether the copy is fetched again instead of being deleted.", "true"),
    ("scopeQ", _TEXT, "A condition over scopes.", "/north/#"),
    ("splitEntities", _FLAG, "Whether parts of one entity at different sources may be on different pages.", "false"),
    ("tenant", {"type": "string"}, "The tenant; without it the default one.", "default"),
    ("timeAt", _MOMENT, "The instant of timerel.", "2026-11-01T00:00:00Z"),
    (
        "timeproperty",
        _one_of("observedAt", "createdAt", "modifiedAt", "deletedAt"),
        "The time that is meant.",
        "observedAt",
    ),
    ("timerel", _one_of("before", "after", "between"), "How the time must lie to timeAt.", "after"),
    ("type", _TEXT, "A selection of types: names, with , or | for or, ; for and, and brackets.", "Sensor"),
)

QUERY: Final[dict[str, dict[str, Any]]] = {
    key: {"name": key.partition(":")[0], "in": "query", "schema": schema, "description": text, "example": example}
    for key, schema, text, example in _ROWS
}

HEADERS: Final[dict[str, dict[str, Any]]] = {
    "tenant": {
        "name": "NGSILD-Tenant",
        "in": "header",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"},
        "description": "The tenant; without it the default one.",
    },
    "link": {
        "name": "Link",
        "in": "header",
        "schema": {"type": "string"},
        "description": "The @context of names in the address and in an application/json body.",
    },
    "entityMap": {
        "name": "NGSILD-EntityMap",
        "in": "header",
        "schema": {"type": "string"},
        "description": "The entity map whose entities are asked for: its id or its address.",
        "example": "urn:ngsi-ld:EntityMap:example",
    },
    "prefer": {
        "name": "Prefer",
        "in": "header",
        "schema": {"anyOf": [{"enum": ["ngsi-ld=1.3", "body=json", "maxpagesize=5"]}, {"type": "string"}]},
        "description": "RFC 7240. ngsi-ld=1.3: the version of the standard that the caller understands; body=json:"
        " GeoJSON without @context; maxpagesize=N: about how many instances of the past one answer holds.",
        "example": "ngsi-ld=1.3",
    },
}
