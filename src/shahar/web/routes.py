"""The whole URL map as one table. Which right an address asks for stands beside it; an address that is not here does
not exist.

`HOT` are handled over raw ASGI (web/exchange.py); the order of what happens before a handler is in web/application.py.
Source: ETSI GS CIM 009 clause 6.2 (resource structure).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from shahar.model.access import Act
from shahar.services.forwarded import PATH as NOTIFIED
from shahar.values.bounds import BATCH_BYTES, BODY_BYTES, CONTEXT_BYTES, INTAKE_BYTES, NOTIFIED_BYTES
from shahar.web import intake
from shahar.web.exchange import Handler
from shahar.web.ngsild import (
    batch,
    contexts,
    discovery,
    entities,
    entity_maps,
    identity,
    instances,
    notified,
    purge,
    queries,
    registration_subscriptions,
    registrations,
    subscriptions,
    temporal,
)

ROOT: Final = "/ngsi-ld/v1"


@dataclass(frozen=True, slots=True)
class Route:
    """One address and method. `path` has `{}` where a segment is an argument; `act` on `resource` is the right that is
    asked for.

    `typed`: the right is held against the types of the entities concerned by the handler itself. `told`: no right is
    asked for and no tenant is named, for the address itself says who may, and where.
    """

    method: str
    path: str
    handler: Handler
    act: Act
    resource: str
    typed: bool = False
    body_bytes: int = BODY_BYTES
    told: bool = False


_ENTITY: Final = f"{ROOT}/entities/{{}}"
_TEMPORAL: Final = f"{ROOT}/temporal/entities"
_CONTEXTS: Final = f"{ROOT}/jsonldContexts"
_INSTANCE: Final = f"{_TEMPORAL}/{{}}/attrs/{{}}/{{}}"
_OPERATIONS: Final = f"{ROOT}/entityOperations"
_SOURCES: Final = f"{ROOT}/csourceRegistrations"
_MAPS: Final = f"{ROOT}/entityMaps"
_FOLLOWERS: Final = f"{ROOT}/csourceSubscriptions"

HOT: Final[tuple[Route, ...]] = (
    Route("POST", f"{ROOT}/entities", entities.create, "write", "entities", typed=True),
    Route("GET", f"{ROOT}/entities", queries.find, "read", "entities", typed=True),
    Route("DELETE", f"{ROOT}/entities", purge.purge, "write", "entities", typed=True),
    Route("GET", _ENTITY, queries.retrieve, "read", "entities", typed=True),
    Route("PATCH", _ENTITY, entities.merge, "write", "entities", typed=True),
    Route("PUT", _ENTITY, entities.replace, "write", "entities", typed=True),
    Route("DELETE", _ENTITY, entities.delete, "write", "entities", typed=True),
    Route("POST", f"{_ENTITY}/attrs", entities.append_attrs, "write", "entities", typed=True),
    Route("PATCH", f"{_ENTITY}/attrs", entities.update_attrs, "write", "entities", typed=True),
    Route("PATCH", f"{_ENTITY}/attrs/{{}}", entities.patch_attr, "write", "entities", typed=True),
    Route("PUT", f"{_ENTITY}/attrs/{{}}", entities.replace_attr, "write", "entities", typed=True),
    Route("DELETE", f"{_ENTITY}/attrs/{{}}", entities.delete_attr, "write", "entities", typed=True),
    Route("POST", f"{_OPERATIONS}/create", batch.create, "write", "entities", typed=True, body_bytes=BATCH_BYTES),
    Route("POST", f"{_OPERATIONS}/upsert", batch.upsert, "write", "entities", typed=True, body_bytes=BATCH_BYTES),
    Route("POST", f"{_OPERATIONS}/update", batch.update, "write", "entities", typed=True, body_bytes=BATCH_BYTES),
    Route("POST", f"{_OPERATIONS}/merge", batch.merge, "write", "entities", typed=True, body_bytes=BATCH_BYTES),
    Route("POST", f"{_OPERATIONS}/delete", batch.delete, "write", "entities", typed=True, body_bytes=BATCH_BYTES),
    Route("POST", f"{_OPERATIONS}/query", queries.post_query, "read", "entities", typed=True),
    Route("POST", f"{ROOT}/temporal/entityOperations/query", temporal.post_query, "read", "temporal", typed=True),
    Route("GET", _TEMPORAL, temporal.find, "read", "temporal", typed=True),
    Route("POST", _TEMPORAL, instances.tell, "write", "temporal", typed=True),
    Route("GET", f"{_TEMPORAL}/{{}}", temporal.retrieve, "read", "temporal", typed=True),
    Route("DELETE", f"{_TEMPORAL}/{{}}", instances.delete, "write", "temporal", typed=True),
    Route("POST", f"{_TEMPORAL}/{{}}/attrs", instances.append, "write", "temporal", typed=True),
    Route("DELETE", f"{_TEMPORAL}/{{}}/attrs/{{}}", instances.delete_attr, "write", "temporal", typed=True),
    Route("PATCH", _INSTANCE, instances.correct, "write", "temporal", typed=True),
    Route("DELETE", _INSTANCE, instances.delete_instance, "write", "temporal", typed=True),
    Route("GET", f"{ROOT}/types", discovery.types, "read", "entities", typed=True),
    Route("GET", f"{ROOT}/types/{{}}", discovery.type_, "read", "entities", typed=True),
    Route("GET", f"{ROOT}/attributes", discovery.attributes, "read", "entities", typed=True),
    Route("GET", f"{ROOT}/attributes/{{}}", discovery.attribute, "read", "entities", typed=True),
    Route("POST", _CONTEXTS, contexts.add, "write", "contexts", body_bytes=CONTEXT_BYTES),
    Route("GET", _CONTEXTS, contexts.find, "read", "contexts"),
    Route("GET", f"{_CONTEXTS}/{{}}", contexts.serve, "read", "contexts"),
    Route("DELETE", f"{_CONTEXTS}/{{}}", contexts.delete, "write", "contexts"),
    Route("GET", f"{ROOT}/info/sourceIdentity", identity.retrieve, "read", "entities", typed=True),
    Route("POST", f"{ROOT}/subscriptions", subscriptions.create, "write", "subscriptions"),
    Route("GET", f"{ROOT}/subscriptions", subscriptions.find, "read", "subscriptions"),
    Route("GET", f"{ROOT}/subscriptions/{{}}", subscriptions.retrieve, "read", "subscriptions"),
    Route("PATCH", f"{ROOT}/subscriptions/{{}}", subscriptions.update, "write", "subscriptions"),
    Route("DELETE", f"{ROOT}/subscriptions/{{}}", subscriptions.delete, "write", "subscriptions"),
    Route("POST", _SOURCES, registrations.create, "write", "registrations", typed=True),
    Route("GET", _SOURCES, registrations.find, "read", "registrations", typed=True),
    Route("GET", f"{_SOURCES}/{{}}", registrations.retrieve, "read", "registrations", typed=True),
    Route("PATCH", f"{_SOURCES}/{{}}", registrations.update, "write", "registrations", typed=True),
    Route("DELETE", f"{_SOURCES}/{{}}", registrations.delete, "write", "registrations", typed=True),
    Route("POST", _FOLLOWERS, registration_subscriptions.create, "write", "subscriptions"),
    Route("GET", _FOLLOWERS, registration_subscriptions.find, "read", "subscriptions"),
    Route("GET", f"{_FOLLOWERS}/{{}}", registration_subscriptions.retrieve, "read", "subscriptions"),
    Route("PATCH", f"{_FOLLOWERS}/{{}}", registration_subscriptions.update, "write", "subscriptions"),
    Route("DELETE", f"{_FOLLOWERS}/{{}}", registration_subscriptions.delete, "write", "subscriptions"),
    Route("GET", _MAPS, entity_maps.create, "read", "entities", typed=True),
    Route("POST", _MAPS, entity_maps.post_create, "read", "entities", typed=True),
    Route("GET", f"{ROOT}/temporal/entityMaps", entity_maps.create_past, "read", "temporal", typed=True),
    Route("POST", f"{ROOT}/temporal/entityMaps", entity_maps.post_create_past, "read", "temporal", typed=True),
    Route("GET", f"{_MAPS}/{{}}", entity_maps.retrieve, "read", "entities", typed=True),
    Route("PATCH", f"{_MAPS}/{{}}", entity_maps.update, "read", "entities", typed=True),
    Route("DELETE", f"{_MAPS}/{{}}", entity_maps.delete, "read", "entities", typed=True),
    Route("POST", f"{NOTIFIED}/{{}}/{{}}", notified.receive, "write", "entities", body_bytes=NOTIFIED_BYTES, told=True),
    Route("POST", "/intake/{}", intake.receive, "write", "intake", typed=True, body_bytes=INTAKE_BYTES),
)


_Pick = Callable[[list[str]], tuple[str, ...]]


class Map:
    """The table, arranged for looking up: by number of segments and first differing ones."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._by_length: dict[int, list[tuple[tuple[str, ...], list[int], _Pick, dict[str, Route]]]] = {}
        methods_of: dict[str, dict[str, Route]] = {}
        for route in routes:
            if route.path in methods_of:
                methods_of[route.path][route.method] = route
                continue
            methods_of[route.path] = {route.method: route}
            parts = route.path.split("/")
            fixed = itemgetter(*(place for place, part in enumerate(parts) if part != "{}"))
            open_at = [place for place, part in enumerate(parts) if part == "{}"]
            self._by_length.setdefault(len(parts), []).append((fixed(parts), open_at, fixed, methods_of[route.path]))

    def find(self, segments: list[str]) -> tuple[dict[str, Route], tuple[str, ...]] | None:
        """The methods of an address (its decoded segments) and the arguments in it; None when it does not exist."""
        for pattern, open_at, fixed, methods in self._by_length.get(len(segments), ()):
            if fixed(segments) == pattern:
                return methods, tuple([segments[place] for place in open_at])
        return None
