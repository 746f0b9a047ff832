"""The two forms of a registration: the record that is kept, and the record compiled.

The *record* is JSON-able and self-contained: members as given with names expanded, so that a restart needs no @context
to go on matching. `Registration` is the record compiled: patterns, sets, shapes.

Promises: `compiled` gives the same registration for the same record, now and after a restart; what a registration
keeps secret (`info`) stands in no repr.
Does not: read a body (record), match (match).
Source: ETSI GS CIM 009 V1.9.1 clauses 5.2.8 to 5.2.11, 5.2.34, 4.3.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from shahar.model import query as q
from shahar.model.context import CORE, Source
from shahar.model.entity import Doc, Instance
from shahar.model.query import Pattern
from shahar.model.registration import operations
from shahar.values import instants, places
from shahar.values.instants import Instant

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Record = dict[str, Any]
"""{"id", "body": members with names expanded, "own": {IRI: a property of its own, as given}, "instances": {IRI: the
same as instances}, "context": source, "createdAt", "modifiedAt"}."""
Mode = Literal["inclusive", "exclusive", "redirect", "auxiliary"]
Attrs = frozenset[str] | None
"""IRIs of attributes; None: every attribute."""
MODES: Final[tuple[Mode, ...]] = ("inclusive", "exclusive", "redirect", "auxiliary")
PROXIED: Final = frozenset({"exclusive", "redirect"})
GEOMETRIES: Final = ("location", "observationSpace", "operationSpace")
REQUESTED: Final = "urn:ngsi-ld:request"
"""A value of contextSourceInfo that is to be taken from the request that is being distributed (4.3.6.5)."""
INSTRUCTIONS: Final = frozenset({"accept", "contenttype", "jsonldcontext", "ngsildconformance"})
"""Keys of contextSourceInfo, in small letters, that tell the platform how to ask (4.3.6.6); no secrets."""
NEVER_SENT: Final = frozenset(
    "connection content-length expect host keep-alive ngsild-tenant proxy-connection te trailer transfer-encoding "
    "upgrade via".split()
)
"""Headers that belong to the connection or to us: contextSourceInfo cannot set them (4.3.6.5)."""


@dataclass(frozen=True, slots=True)
class EntityInfo:
    """Entities of a source: an id, else a pattern of ids, else any; `types`: those that they all have, (): any."""

    id: str = ""
    pattern: Pattern | None = None
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Information:
    """What a source may provide: no `entities`: of any entity; no names: every attribute."""

    entities: tuple[EntityInfo, ...] = ()
    properties: frozenset[str] = frozenset()
    relationships: frozenset[str] = frozenset()

    @property
    def attrs(self) -> Attrs:
        """Properties and relationships together: matching does not tell them apart (5.12)."""
        return self.properties | self.relationships or None


@dataclass(frozen=True, slots=True)
class Interval:
    """From `start` to `end`, both within; None: still going on."""

    start: Instant
    end: Instant | None = None


@dataclass(frozen=True, slots=True)
class Management:
    """How the source wants to be asked (5.2.34). `cache_s`: how long an answer may be used again."""

    local_only: bool = False
    timeout_s: float | None = None
    cooldown_s: float = 0.0
    cache_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """A compiled registration. `tenant` is the one to name to the source; `info` its contextSourceInfo as given."""

    id: str
    endpoint: str
    information: tuple[Information, ...]
    mode: Mode = "inclusive"
    operations: frozenset[str] = operations.GROUPS["federationOps"]
    info: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    tenant: str = ""
    alias: str = ""
    datasets: frozenset[str] | None = None
    scopes: tuple[str, ...] = ()
    places: tuple[tuple[str, BaseGeometry], ...] = ()
    """GeoProperty (IRI) and shape of location, observationSpace, operationSpace, as far as given."""
    observed: Interval | None = None
    managed: Interval | None = None
    management: Management = Management()
    refresh_s: float | None = None
    expires_at: Instant | None = None
    context: Source = None
    described: Mapping[str, list[Instance]] = field(default_factory=dict, repr=False)
    """Its members and own properties as attributes, for a context source filter; without contextSourceInfo."""
    born: int = 0
    """Tells the older of two registrations."""

    @property
    def proxied(self) -> bool:
        """Whether what it offers is not held here (4.3.6.3)."""
        return self.mode in PROXIED

    def live(self, at: Instant) -> bool:
        """Whether it has not expired at this instant."""
        return self.expires_at is None or at < self.expires_at

    def instruction(self, key: str) -> str:
        """The value of one of the keys with a meaning (accept, contentType, jsonldContext, ngsildConformance)."""
        return next((value for name, value in self.info if name.lower() == key.lower()), "")

    def headers(self, request: Mapping[str, str]) -> list[tuple[str, str]]:
        """The headers that contextSourceInfo asks for; `request`: headers of the triggering request, small letters."""
        found: list[tuple[str, str]] = []
        for name, value in self.info:
            small = name.lower()
            if small in INSTRUCTIONS or small in NEVER_SENT:
                continue
            sent = request.get(small) if value == REQUESTED else value
            if sent is not None:
                found.append((name, sent))
        return found


def compiled(record: Record) -> Registration:
    """The registration of a record. Raises Invalid when a pattern is beyond a bound."""
    body = record["body"]
    return Registration(
        id=record["id"],
        endpoint=body["endpoint"],
        information=tuple(_information(part) for part in body["information"]),
        mode=body.get("mode", "inclusive"),
        operations=operations.expanded(body.get("operations", operations.DEFAULT)),
        info=tuple((pair["key"], pair["value"]) for pair in body.get("contextSourceInfo", ())),
        tenant=body.get("tenant", ""),
        alias=body.get("contextSourceAlias", body.get("hostAlias", "")),
        datasets=frozenset(body["datasetId"]) if "datasetId" in body else None,
        scopes=tuple(listed(body.get("scope", []))),
        places=tuple((CORE.expand(name), places.shape(body[name])) for name in GEOMETRIES if name in body),
        observed=_interval(body.get("observationInterval")),
        managed=_interval(body.get("managementInterval")),
        management=_management(body.get("management", {})),
        refresh_s=instants.parse_duration_s(body["refreshRate"]) if "refreshRate" in body else None,
        expires_at=body.get("expiresAt"),
        context=record["context"],
        described=_described(record),
        born=record.get("born", 0),
    )


def listed(value: Any) -> list[Any]:
    """A member that may be one or several, as several."""
    return value if isinstance(value, list) else [value]


def _information(given: Mapping[str, Any]) -> Information:
    return Information(
        tuple(_entity_info(part) for part in given.get("entities", ())),
        frozenset(given.get("propertyNames", ())),
        frozenset(given.get("relationshipNames", ())),
    )


def _entity_info(given: Mapping[str, Any]) -> EntityInfo:
    pattern = given.get("idPattern")
    return EntityInfo(
        given.get("id", ""),
        q.parse_id_pattern(pattern) if pattern is not None and "id" not in given else None,
        tuple(listed(given.get("type", []))),
    )


def _interval(given: Mapping[str, Any] | None) -> Interval | None:
    return None if given is None else Interval(given["startAt"], given.get("endAt"))


def _management(given: Mapping[str, Any]) -> Management:
    timeout = given.get("timeout")
    return Management(
        given.get("localOnly", False),
        None if timeout is None else timeout / 1_000,
        given.get("cooldown", 0) / 1_000,
        instants.parse_duration_s(given["cacheDuration"]) if "cacheDuration" in given else 0.0,
    )


_NOT_DESCRIBED: Final = frozenset({"information", "contextSourceInfo"})
_MOMENTS: Final = ("expiresAt",)


def _described(record: Record) -> dict[str, list[Instance]]:
    """Every member as an attribute (4.9): a Property of its value, a GeoProperty of a geometry."""
    body: Doc = {"mode": "inclusive", "operations": list(operations.DEFAULT), **record["body"]}
    found: dict[str, list[Instance]] = {}
    for name, value in body.items():
        if name in _MOMENTS:
            value = instants.text(value)
        elif name.endswith("Interval"):
            value = {part: instants.text(at) for part, at in value.items()}
        if name not in _NOT_DESCRIBED:
            kind = "GeoProperty" if name in GEOMETRIES else "Property"
            found[CORE.expand(name)] = [{"type": kind, "value": value}]
    found.update(record["instances"])
    return found
