"""Every operation that programs may call: its address, what it takes, what it answers. One row for each; the document
is made from the rows, and tests hold them against the routes and against what the handlers take.

Source: ETSI GS CIM 009 clause 6 for what is under /ngsi-ld/v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shahar.values.errors import (
    Conflict,
    Exists,
    NotAcceptable,
    NotFound,
    NotSupported,
    ShaharError,
    TooMany,
    Unavailable,
)

JSON: Final = "application/json"
LD_JSON: Final = "application/ld+json"
GEO_JSON: Final = "application/geo+json"
MERGE_JSON: Final = "application/merge-patch+json"
TEXT: Final = "text/plain"
ANYTHING: Final = "application/octet-stream"
ROOT: Final = "/ngsi-ld/v1"


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body: the name of its schema (or a list of such), the media types that are read, an example."""

    schema: str
    example: Any
    media: tuple[str, ...] = (JSON, LD_JSON)
    many: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no problem: the name of its schema (empty: no body), or a list of such, and its media types."""

    schema: str = ""
    media: tuple[str, ...] = (JSON, LD_JSON)
    many: bool = False
    headers: tuple[str, ...] = ()
    bare: bool = False
    """A list of texts."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one address. `fails`: the problems beside those that every operation of its kind has;
    `public`: no credential is asked for.
    """

    method: str
    path: str
    id: str
    summary: str
    tag: str
    answers: Mapping[int, Answer]
    params: tuple[str, ...] = ()
    body: Body | None = None
    fails: tuple[type[ShaharError], ...] = ()
    headers: tuple[str, ...] = ()
    public: bool = False


DONE: Final = {204: Answer()}
MADE: Final = {201: Answer(headers=("location",))}
PARTLY: Final = {207: Answer("BatchResult", (JSON,))}
IDS: Final = Answer(media=(JSON,), bare=True)
_SHOWN: Final = Answer("EntityShown", (JSON, LD_JSON))
_PAGE: Final = ("limit", "offset", "count", "local")
_PAGE_TOLD: Final = ("count", "link")
_VIEW: Final = ("options", "format", "datasetId", "attrs", "pick", "omit", "lang")
_JOIN: Final = ("join", "joinLevel", "containedBy")
_SELECT: Final = (
    "id", "idPattern", "type", "q", "scopeQ", "expandValues", "jsonKeys", "georel", "geometry", "coordinates",
    "geoproperty",
)  # fmt: skip
_ORDER: Final = ("orderBy", "orderFrom", "orderGeometry", "collation")
_SOURCES_ASKED: Final = (
    "id", "idPattern", "type", "q", "scopeQ", "attrs", "pick", "datasetId", "georel", "geometry", "coordinates",
    "geoproperty", "timerel", "timeAt", "endTimeAt", "timeproperty", "csf",
)  # fmt: skip
_SPREAD: Final = ("csf", "splitEntities")
_TIME: Final = ("timerel", "timeAt", "endTimeAt", "timeproperty", "lastN", "aggrMethods", "aggrPeriodDuration")
_VIEW_PAST: Final = ("options:temporal", "format:temporal", "datasetId", "attrs", "pick", "omit", "lang", *_TIME)
_LINKED: Final = ("link",)
_ASKED: Final = ("link", "prefer", "entityMap")
_MAP: Final = ("entityMap", "entityMapLifetime")
_MAP_ENDS: Final = "2026-12-01T00:00:00Z"

ENTITY: Final = "urn:ngsi-ld:Sensor:example"
INSTANCE: Final = "urn:ngsi-ld:Instance:example"
SUBSCRIPTION: Final = "urn:ngsi-ld:Subscription:example"
REGISTRATION: Final = "urn:ngsi-ld:ContextSourceRegistration:example"
EXAMPLES: Final[dict[str, str]] = {
    "entityId": ENTITY,
    "attrId": "pm25",
    "instanceId": INSTANCE,
    "subscriptionId": SUBSCRIPTION,
    "registrationId": REGISTRATION,
    "contextId": "example",
    "type": "Sensor",
    "entityMapId": "urn:ngsi-ld:EntityMap:example",
    "device": "my-station",
    "id": "example",
    "token": "example",
}
"""What stands for the arguments of addresses in examples."""

_PM: Final = {"type": "Property", "value": 31.4, "unitCode": "GQ", "observedAt": "2026-11-22T10:00:00Z"}
_TOLD: Final = {
    "id": "urn:ngsi-ld:Notification:example",
    "type": "Notification",
    "subscriptionId": SUBSCRIPTION,
    "notifiedAt": "2026-11-22T10:00:00Z",
    "data": [{"id": ENTITY, "type": "Sensor", "pm25": _PM}],
}
_ENTITY_EXAMPLE: Final = {
    "id": ENTITY,
    "type": "Sensor",
    "pm25": _PM,
    "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [13.4, 52.5]}},
}
_FRAGMENT: Final = {"pm25": {"type": "Property", "value": 12.5, "observedAt": "2026-11-22T11:00:00Z"}}
_PAST: Final = {"id": ENTITY, "type": "Sensor", "pm25": [_PM]}
_QUERY: Final = {"type": "Query", "entities": [{"type": "Sensor"}], "q": "pm25>30"}
_TEMPORAL_QUERY: Final = {
    "type": "Query",
    "entities": [{"type": "Sensor"}],
    "temporalQ": {"timerel": "after", "timeAt": "2026-11-01T00:00:00Z"},
}
_SUBSCRIPTION: Final = {
    "id": SUBSCRIPTION,
    "type": "Subscription",
    "entities": [{"type": "Sensor"}],
    "watchedAttributes": ["pm25"],
    "notification": {"endpoint": {"uri": "https://example.org/told", "accept": "application/json"}},
}
_REGISTRATION: Final = {
    "id": REGISTRATION,
    "type": "ContextSourceRegistration",
    "information": [{"entities": [{"type": "Sensor"}]}],
    "endpoint": "https://source.example.org",
}
_INTEREST: Final = {
    "id": SUBSCRIPTION,
    "type": "Subscription",
    "entities": [{"type": "Sensor"}],
    "notification": {"endpoint": {"uri": "https://example.org/sources", "accept": "application/json"}},
}
_CHANGE_BODY: Final = (JSON, LD_JSON, MERGE_JSON)


def _entities() -> list[Operation]:
    entities, entity = f"{ROOT}/entities", f"{ROOT}/entities/{{entityId}}"
    attrs, attr, tag = f"{entity}/attrs", f"{entity}/attrs/{{attrId}}", "entities"
    one = Answer("EntityShown", (JSON, LD_JSON, GEO_JSON), headers=("entityMap",))
    some = Answer("EntityShown", (JSON, LD_JSON, GEO_JSON), many=True, headers=(*_PAGE_TOLD, "entityMap"))
    shown, page = {200: one, 203: one}, {200: some, 201: some, 203: some}
    partly = DONE | {207: Answer("UpdateResult", (JSON,))}
    whole, part = Body("Entity", _ENTITY_EXAMPLE), Body("EntityFragment", _FRAGMENT)
    patch = Body("EntityFragment", _FRAGMENT, _CHANGE_BODY)
    return [
        Operation("POST", entities, "createEntity", "Create an entity", tag, MADE, ("local",), whole, (Exists,),
                  _LINKED),
        Operation(
            "GET", entities, "queryEntities", "Find entities", tag, page,
            (*_SELECT, *_JOIN, *_VIEW, *_ORDER, *_SPREAD, *_MAP, "geometryProperty", *_PAGE), headers=_ASKED,
        ),
        Operation(
            "DELETE", entities, "purgeEntities", "Delete what a question finds, or attributes of it", tag, DONE,
            (*_SELECT, "attrs", "drop", "keep", "geometryProperty", "local"), headers=("link", "entityMap"),
        ),
        Operation(
            "GET", entity, "retrieveEntity", "Retrieve an entity", tag, shown,
            (*_JOIN, *_VIEW, *_MAP, "geometryProperty", "type", "local"), headers=_ASKED, fails=(NotFound,),
        ),
        Operation(
            "PATCH", entity, "mergeEntity", "Merge a fragment into an entity", tag, DONE,
            ("observedAt", "lang:told", "options:merge", "format", "type", "local"), patch, (NotFound,), _LINKED,
        ),
        Operation("PUT", entity, "replaceEntity", "Replace an entity", tag, DONE, ("type", "local"), whole, (NotFound,),
                  _LINKED),
        Operation("DELETE", entity, "deleteEntity", "Delete an entity", tag, DONE, ("type", "local"),
                  fails=(NotFound,)),
        Operation(
            "POST", attrs, "appendAttrs", "Append attributes to an entity", tag, partly,
            ("options:change", "type", "local"), part, (NotFound,), _LINKED,
        ),
        Operation(
            "PATCH", attrs, "updateAttrs", "Update attributes of an entity", tag, partly,
            ("options:change", "type", "local"), patch, (NotFound,), _LINKED,
        ),
        Operation(
            "PATCH", attr, "updateAttr", "Update members of an attribute", tag, DONE, ("type", "local"),
            Body("AttributeFragment", {"value": 14.0}, _CHANGE_BODY), (NotFound,), _LINKED,
        ),
        Operation(
            "PUT", attr, "replaceAttr", "Replace an attribute", tag, DONE, ("type", "local"),
            Body("AttributeFragment", _PM), (NotFound,), _LINKED,
        ),
        Operation(
            "DELETE", attr, "deleteAttr", "Delete an attribute", tag, DONE,
            ("deleteAll", "datasetId", "type", "local"), fails=(NotFound,), headers=_LINKED,
        ),
    ]  # fmt: skip


def _batches() -> list[Operation]:
    at, tag = f"{ROOT}/entityOperations", "batches"
    whole = Body("Entity", [_ENTITY_EXAMPLE], many=True)
    part = Body("Entity", [{"id": ENTITY, "type": "Sensor"} | _FRAGMENT], many=True)
    some = Answer("EntityShown", (JSON, LD_JSON, GEO_JSON), many=True, headers=("count", "entityMap"))
    page = {200: some, 201: some, 203: some}
    query = ("expandValues", "jsonKeys", *_JOIN, *_VIEW, *_ORDER, *_SPREAD, *_MAP, "geometryProperty", *_PAGE)
    done = DONE | PARTLY
    return [
        Operation("POST", f"{at}/create", "createBatch", "Create entities", tag, {201: IDS} | PARTLY, ("local",), whole,
                  headers=_LINKED),
        Operation("POST", f"{at}/upsert", "upsertBatch", "Create or replace entities", tag, {201: IDS} | done,
                  ("options:upsert", "local"), whole, headers=_LINKED),
        Operation("POST", f"{at}/update", "updateBatch", "Append attributes to entities", tag, done,
                  ("options:batch", "local"), part, headers=_LINKED),
        Operation("POST", f"{at}/merge", "mergeBatch", "Merge fragments into entities", tag, done,
                  ("options:batch", "local"), part, headers=_LINKED),
        Operation("POST", f"{at}/delete", "deleteBatch", "Delete entities", tag, done, ("local",),
                  Body("Id", [ENTITY], many=True)),
        Operation("POST", f"{at}/query", "queryBatch", "Find entities by a body", tag, page, query,
                  Body("Query", _QUERY), headers=_ASKED),
    ]  # fmt: skip


def _past() -> list[Operation]:
    every, tag = f"{ROOT}/temporal/entities", "temporal"
    one, attrs = f"{every}/{{entityId}}", f"{every}/{{entityId}}/attrs"
    attr, instance = f"{attrs}/{{attrId}}", f"{attrs}/{{attrId}}/{{instanceId}}"
    answer = Answer("EvolutionShown", (JSON, LD_JSON), headers=("entityMap",))
    some = Answer("EvolutionShown", (JSON, LD_JSON), many=True, headers=(*_PAGE_TOLD, "entityMap"))
    page = {200: some, 201: some, 206: some}
    told = Body("EntityTemporal", _PAST)
    return [
        Operation("POST", every, "tellEvolution", "Tell an entity's past", tag, MADE | DONE, ("local",), told,
                  headers=_LINKED),
        Operation("GET", every, "queryEvolutions", "Find the past of entities", tag, page,
                  (*_SELECT, *_VIEW_PAST, *_ORDER, *_SPREAD, *_MAP, *_PAGE), headers=_ASKED),
        Operation("GET", one, "retrieveEvolution", "Retrieve the past of an entity", tag, {200: answer, 206: answer},
                  (*_VIEW_PAST, *_MAP, "local"), fails=(NotFound,), headers=_ASKED),
        Operation("DELETE", one, "deleteEvolution", "Delete the past of an entity", tag, DONE, ("local",),
                  fails=(NotFound,)),
        Operation("POST", attrs, "appendEvolution", "Add to the past of an entity", tag, DONE, ("local",),
                  Body("EntityTemporalFragment", {"pm25": [_PM]}), (NotFound,), _LINKED),
        Operation("DELETE", attr, "deleteAttrEvolution", "Delete the past of an attribute", tag, DONE,
                  ("deleteAll", "datasetId", "local"), fails=(NotFound,), headers=_LINKED),
        Operation("PATCH", instance, "updateInstance", "Correct an instance of the past", tag, DONE, ("local",),
                  Body("AttributeFragment", _PM, _CHANGE_BODY), (NotFound,), _LINKED),
        Operation("DELETE", instance, "deleteInstance", "Delete an instance of the past", tag, DONE, ("local",),
                  fails=(NotFound,), headers=_LINKED),
        Operation("POST", f"{ROOT}/temporal/entityOperations/query", "queryEvolutionsBatch",
                  "Find the past of entities by a body", tag, page,
                  ("expandValues", "jsonKeys", *_VIEW_PAST, *_ORDER, *_SPREAD, *_MAP, *_PAGE),
                  Body("Query", _TEMPORAL_QUERY), headers=_ASKED),
    ]  # fmt: skip


def _discovery() -> list[Operation]:
    tag, two = "discovery", (JSON, LD_JSON)

    def get(path: str, name: str, summary: str, answer: str, params: tuple[str, ...], **more: Any) -> Operation:
        return Operation("GET", f"{ROOT}/{path}", name, summary, tag, {200: Answer(answer, two)}, params,
                         headers=_LINKED, **more)  # fmt: skip

    return [
        get("types", "listTypes", "Which types of entities there are", "TypesShown", ("details", "local")),
        get("types/{type}", "retrieveType", "What is known of a type", "TypeInfo", ("local",), fails=(NotFound,)),
        get("attributes", "listAttributes", "Which attributes there are", "AttributesShown", ("details", "local")),
        get("attributes/{attrId}", "retrieveAttribute", "What is known of an attribute", "AttributeInfo", ("local",),
            fails=(NotFound,)),
        get("info/sourceIdentity", "retrieveIdentity", "Who this broker is", "SourceIdentity", ()),
    ]  # fmt: skip


def _records(
    path: str,
    argument: str,
    name: str,
    plural: str,
    noun: str,
    tag: str,
    schema: str,
    example: Any,
    select: tuple[str, ...] = (),
) -> list[Operation]:
    """The five operations of a kind of records."""
    every, one, shown = f"{ROOT}/{path}", f"{ROOT}/{path}/{{{argument}}}", f"{schema}Shown"
    return [
        Operation("POST", every, f"create{name}", f"Create a {noun}", tag, MADE, ("local",), Body(schema, example),
                  (Exists,), _LINKED),
        Operation("GET", every, f"query{plural}", f"Find {noun}s", tag,
                  {200: Answer(shown, many=True, headers=_PAGE_TOLD)}, (*select, "options:system", *_PAGE),
                  headers=_LINKED),
        Operation("GET", one, f"retrieve{name}", f"Retrieve a {noun}", tag, {200: Answer(shown)},
                  ("options:system", "local"), fails=(NotFound,), headers=_LINKED),
        Operation("PATCH", one, f"update{name}", f"Update a {noun}", tag, DONE, ("local",),
                  Body(f"{schema}Fragment", {"description": "an example"}, _CHANGE_BODY), (NotFound, Conflict),
                  _LINKED),
        Operation("DELETE", one, f"delete{name}", f"Delete a {noun}", tag, DONE, ("local",), fails=(NotFound,)),
    ]  # fmt: skip


def _contexts() -> list[Operation]:
    every, one, tag = f"{ROOT}/jsonldContexts", f"{ROOT}/jsonldContexts/{{contextId}}", "contexts"
    body = Body("ContextDocument", {"@context": {"pm25": "https://example.org/pm25"}})
    return [
        Operation("POST", every, "addContext", "Host an @context", tag, MADE, (), body),
        Operation("GET", every, "listContexts", "Which @contexts are kept", tag, {200: Answer("Contexts")},
                  ("details", "kind")),
        Operation("GET", one, "serveContext", "An @context, or what is known of it", tag, {200: Answer("Listing")},
                  ("details",), fails=(NotFound, NotSupported)),
        Operation("DELETE", one, "deleteContext", "Delete an @context, or fetch it again", tag, DONE, ("reload",),
                  fails=(NotFound, NotSupported)),
    ]  # fmt: skip


def _maps() -> list[Operation]:
    maps, tag = f"{ROOT}/entityMaps", "entityMaps"
    one, shown = f"{maps}/{{entityMapId}}", Answer("EntityMapShown", headers=("entityMap",))
    fragment = Body("EntityMapFragment", {"expiresAt": _MAP_ENDS}, _CHANGE_BODY)
    query = (*_JOIN, *_VIEW, *_ORDER, *_SPREAD, *_MAP, "geometryProperty", *_PAGE)
    past, query_past = f"{ROOT}/temporal/entityMaps", (*_VIEW_PAST, *_ORDER, *_SPREAD, *_MAP, *_PAGE)
    return [
        Operation("GET", maps, "createEntityMap", "Make an entity map for a question", tag, {201: shown},
                  (*_SELECT, *query), headers=_LINKED),
        Operation("POST", maps, "createEntityMapByPost", "Make an entity map for a question in the body", tag,
                  {201: shown}, ("expandValues", "jsonKeys", *query), Body("Query", _QUERY), (NotAcceptable,), _LINKED),
        Operation("GET", past, "createEntityMapOfPast", "Make an entity map for a question about the past", tag,
                  {201: shown}, (*_SELECT, *query_past), headers=_LINKED),
        Operation("POST", past, "createEntityMapOfPastByPost",
                  "Make an entity map for a question about the past in the body", tag, {201: shown},
                  ("expandValues", "jsonKeys", *query_past), Body("Query", _TEMPORAL_QUERY), (NotAcceptable,), _LINKED),
        Operation("GET", one, "retrieveEntityMap", "Retrieve an entity map", tag, {200: Answer("EntityMapShown")},
                  fails=(NotFound,), headers=_LINKED),
        Operation("PATCH", one, "updateEntityMap", "Let an entity map live longer or shorter", tag, DONE, (), fragment,
                  (NotFound,), _LINKED),
        Operation("DELETE", one, "deleteEntityMap", "Delete an entity map", tag, DONE, fails=(NotFound,)),
    ]  # fmt: skip


def _accounts() -> list[Operation]:
    tag, one = "accounts", (JSON,)
    listing, made, gone = {200: Answer("Listing", one)}, {201: Answer("Made", one)}, {204: Answer()}
    key = Body("Key", {"label": "bus dashboard", "role": "auditor"}, one)
    link = Body("Link", {"label": "Nodira", "role": "operator"}, one)
    return [
        Operation("GET", "/api/keys", "listKeys", "The keys of a tenant", tag, listing, ("tenant",)),
        Operation("POST", "/api/keys", "makeKey", "Make a key; it is told in this answer alone", tag, made, (), key),
        Operation("DELETE", "/api/keys/{id}", "revokeKey", "End a key", tag, gone, fails=(NotFound,)),
        Operation("POST", "/api/links", "makeLink", "Make a one-time link for a person", tag, made, (), link,
                  (NotFound,)),
        Operation("GET", "/api/people", "listPeople", "The people of a tenant", tag, listing, ("tenant",)),
        Operation("DELETE", "/api/people/{id}", "dismissPerson", "End a person's account", tag, gone,
                  fails=(NotFound,)),
        Operation("GET", "/api/acts", "listActs", "Who did what", tag, listing, ("tenant", "after", "limit:acts")),
    ]  # fmt: skip


def _devices() -> list[Operation]:
    tag, one = "devices", (JSON,)
    device = {"name": "my-station", "profile": "air.station", "entity": ENTITY}
    message = Body("Message", {"at": "2026-11-22T10:00:00Z", "pm25": 31.4}, (JSON, ANYTHING))
    return [
        Operation("POST", "/intake/{device}", "takeMessage", "Take a device's message", tag,
                  {200: Answer("Taken", one)}, (), message, (NotFound,)),
        Operation("GET", "/api/devices", "listDevices", "The devices", tag, {200: Answer("Devices", one)}),
        Operation("POST", "/api/devices", "addDevice", "Add a device; its key is told in this answer alone", tag,
                  {201: Answer("Made", one)}, (), Body("Device", device, one), (Exists,)),
        Operation("GET", "/api/devices/broken", "listBroken", "The newest messages that could not be read", tag,
                  {200: Answer("Listing", one)}),
    ]  # fmt: skip


def _letters() -> list[Operation]:
    path, one, tag = "/api/dead-letters", "/api/dead-letters/{id}", "subscriptions"
    return [
        Operation("GET", path, "listDeadLetters", "The notifications that were given up", tag,
                  {200: Answer("DeadLetters", (JSON,))}, ("tenant", "after", "limit:acts"), fails=(NotFound,)),
        Operation("POST", f"{one}/send", "sendDeadLetter", "Send one of them again", tag, DONE, ("tenant",),
                  fails=(NotFound,)),
        Operation("DELETE", one, "dropDeadLetter", "Drop one of them", tag, DONE, ("tenant",), fails=(NotFound,)),
        Operation("GET", "/api/forwarded", "listForwarded", "How it stands with our subscriptions at sources", tag,
                  {200: Answer("Forwarded", (JSON,))}, ("tenant", "after", "limit:acts")),
        Operation("POST", "/ngsi-ld/notifications/{id}/{token}", "takeNotification",
                  "Take a notification of a source, which was given the address", tag, {200: Answer()}, (),
                  Body("Notification", _TOLD), (NotFound,), _LINKED, public=True),
    ]  # fmt: skip


def _retention() -> list[Operation]:
    path, tag = "/api/retention", "temporal"
    rule = {"type": "*", "keepDays": 730, "thin": {"afterDays": 90, "period": "PT1H", "method": "mean"}}
    return [
        Operation("GET", path, "listRetention", "How long and how fine the past is kept", tag,
                  {200: Answer("Retention", (JSON,))}, ("tenant",), fails=(NotFound,)),
        Operation("POST", path, "putRetention", "Say it of a type, or of all others", tag,
                  {201: Answer("Listing", (JSON,)), 200: Answer("Listing", (JSON,))}, ("tenant",),
                  Body("RetentionRule", rule, (JSON,)), (TooMany,)),
        Operation("DELETE", f"{path}/{{id}}", "dropRetention", "Say it no more; what was done stays done", tag, DONE,
                  ("tenant",), fails=(NotFound,)),
    ]  # fmt: skip


def _watch() -> list[Operation]:
    tag, one = "operation", (JSON,)
    return [
        Operation("GET", "/health", "health", "The process answers", tag, {200: Answer("Health", one)}, public=True),
        Operation("GET", "/ready", "ready", "Each part, and whether all of them work", tag,
                  {200: Answer("Ready", one)}, fails=(Unavailable,), public=True),
        Operation("GET", "/metrics", "metrics", "Figures in Prometheus' text format", tag,
                  {200: Answer("Text", (TEXT,))}),
        Operation("GET", "/openapi.json", "openapi", "This document", tag, {200: Answer("Listing", one)}, public=True),
    ]  # fmt: skip


OPERATIONS: Final[tuple[Operation, ...]] = (
    *_entities(),
    *_batches(),
    *_past(),
    *_records(
        "subscriptions", "subscriptionId", "Subscription", "Subscriptions", "subscription", "subscriptions",
        "Subscription", _SUBSCRIPTION,
    ),
    *_discovery(),
    *_contexts(),
    *_records(
        "csourceRegistrations", "registrationId", "Registration", "Registrations", "registration of a source",
        "sources", "Registration", _REGISTRATION, _SOURCES_ASKED,
    ),
    *_records(
        "csourceSubscriptions", "subscriptionId", "SourceSubscription", "SourceSubscriptions",
        "subscription to registrations", "sources", "Subscription", _INTEREST,
    ),
    *_maps(),
    *_devices(),
    *_accounts(),
    *_letters(),
    *_retention(),
    *_watch(),
)  # fmt: skip
