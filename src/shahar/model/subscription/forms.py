"""The two forms of a subscription: the record that is kept, and the record compiled.

The *record* is JSON-able and self-contained: members as given with names expanded, the texts of queries as given, and
beside them the names that these texts use with their IRIs (`terms`), so that a restart needs no @context to go on
matching. `Subscription` is the record compiled: trees, patterns, sets.

Promises: `compiled` gives the same subscription for the same record, now and after a restart.
Does not: read a body (record), look at changes (match).
Source: ETSI GS CIM 009 V1.9.1 clauses 5.2.12 to 5.2.15, 5.2.33.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shahar.model import projection
from shahar.model import query as q
from shahar.model.context import Context, Source
from shahar.model.linking import Join
from shahar.model.projection import Projection
from shahar.model.query import Geo, Node
from shahar.model.render import Form, View, through
from shahar.values.bounds import NOTIFICATION_S
from shahar.values.instants import Instant

Record = dict[str, Any]
"""{"id", "body": members with names expanded, "terms": {name: IRI}, "context": source, "createdAt", "modifiedAt"}."""
TRIGGERS: Final = (
    "entityCreated", "entityUpdated", "entityDeleted", "attributeCreated", "attributeUpdated", "attributeDeleted",
)  # fmt: skip
DEFAULT_TRIGGERS: Final = ("attributeCreated", "attributeUpdated")
JSON: Final = "application/json"
LD_JSON: Final = "application/ld+json"
GEO_JSON: Final = "application/geo+json"
PERIOD_MAX_S: Final = 366 * 86_400.0
FORMS: Final[dict[str, Form]] = {
    "normalized": "normalized", "concise": "concise", "simplified": "simplified", "keyValues": "simplified",
}  # fmt: skip
ENTITY_MEMBERS: Final = frozenset({"id", "type", "scope"})
MEMBER_NAME: Final = re.compile(r"[^\s,|{}]+")
TYPE_NAME: Final = re.compile(r"[^\s;|,()]+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where notifications go. `receiver_info` and `notifier_info` are pairs as given (5.2.22)."""

    uri: str
    accept: str = JSON
    receiver_info: tuple[tuple[str, str], ...] = ()
    notifier_info: tuple[tuple[str, str], ...] = ()
    timeout_s: float = float(NOTIFICATION_S)
    cooldown_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """A compiled subscription. No `selectors`: every entity; no `watched`: every attribute; `every_s`: periodic;
    `changes`: previous values are shown; `version`: of the standard that its notifications keep to; `implied`: the one
    address that stands for a context of many.
    """

    id: str
    endpoint: Endpoint
    context: Source
    implied: str = ""
    selectors: tuple[q.Query, ...] = ()
    watched: frozenset[str] = frozenset()
    triggers: frozenset[str] = frozenset(DEFAULT_TRIGGERS)
    q: Node | None = None
    geo: Geo | None = None
    scope: Node | None = None
    form: Form = "normalized"
    sys: bool = False
    changes: bool = False
    attrs: frozenset[str] = frozenset()
    projection: Projection = field(default_factory=Projection)
    join: Join | None = None
    version: tuple[int, int] | None = None
    dataset: frozenset[str] | None = None
    lang: str = ""
    throttling_s: float = 0.0
    every_s: float = 0.0
    active: bool = True
    expires_at: Instant | None = None

    def live(self, at: Instant) -> bool:
        """Whether it is neither paused nor expired at this instant."""
        return self.active and (self.expires_at is None or at < self.expires_at)

    def view(self, context: Context) -> View:
        """How its entities are shown."""
        view = View(context, self.form, self.sys, self.attrs, dataset=self.dataset, lang=self.lang)
        return through(self.projection, view)


def compiled(record: Record) -> Subscription:
    """The subscription of a record. Raises Invalid when the queries' texts are beyond a bound."""
    body = record["body"]
    note = body["notification"]
    terms: Mapping[str, str] = record["terms"]
    names = tuple(body["expandValues"].split(",")) if "expandValues" in body else ()
    datasets = body.get("datasetId")
    return Subscription(
        id=record["id"],
        endpoint=_compiled_endpoint(note["endpoint"]),
        context=record["context"],
        implied=record.get("implied", ""),
        selectors=tuple(_compiled_selector(selector) for selector in body.get("entities", ())),
        watched=frozenset(body.get("watchedAttributes", ())),
        triggers=_compiled_triggers(body.get("notificationTrigger", DEFAULT_TRIGGERS)),
        q=q.parse_q(body["q"], terms.__getitem__, expand_values=names) if "q" in body else None,
        geo=geo_of(body["geoQ"]) if "geoQ" in body else None,
        scope=q.parse_scope(body["scopeQ"]) if "scopeQ" in body else None,
        form=FORMS[note.get("format", "normalized")],
        sys=note.get("sysAttrs", False),
        changes=note.get("showChanges", False),
        attrs=frozenset(note.get("attributes", ())),
        projection=projected(note),
        join=_compiled_join(note),
        version=_compiled_version(body.get("ngsildConformance")),
        dataset=None if datasets is None else frozenset(datasets),
        lang=body.get("lang", ""),
        throttling_s=min(float(body.get("throttling", 0.0)), PERIOD_MAX_S),
        every_s=min(float(body.get("timeInterval", 0.0)), PERIOD_MAX_S),
        active=body.get("isActive", True),
        expires_at=body.get("expiresAt"),
    )


def projected(note: Mapping[str, Any]) -> Projection:
    """The members that a notification shows, from its pick and omit whose names are expanded; Invalid."""
    pick, omit = (",".join(note[name]) if name in note else None for name in ("pick", "omit"))
    return projection.parse(pick, omit, as_it_is)


def _compiled_join(note: Mapping[str, Any]) -> Join | None:
    form = note.get("join", "@none")
    return None if form == "@none" else Join(form, note.get("joinLevel", 1))


def _compiled_version(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _compiled_endpoint(given: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        given["uri"],
        given.get("accept", JSON),
        tuple((pair["key"], pair["value"]) for pair in given.get("receiverInfo", ())),
        tuple((pair["key"], pair["value"]) for pair in given.get("notifierInfo", ())),
        min(given.get("timeout", NOTIFICATION_S * 1_000) / 1_000, float(NOTIFICATION_S)),
        given.get("cooldown", 0) / 1_000,
    )


def _compiled_selector(given: Mapping[str, Any]) -> q.Query:
    ids = given.get("id", ())
    pattern = given.get("idPattern")
    return q.Query(
        ids=(ids,) if isinstance(ids, str) else tuple(ids),
        id_pattern=None if pattern is None else q.parse_id_pattern(pattern),
        types=q.parse_types(given["type"], as_it_is),
    )


def _compiled_triggers(given: Iterable[str]) -> frozenset[str]:
    """entityUpdated is the three of attributes."""
    found = set(given)
    if "entityUpdated" in found:
        found |= {"attributeCreated", "attributeUpdated", "attributeDeleted"}
    return frozenset(found - {"entityUpdated"})


def geo_of(found: Mapping[str, Any]) -> Geo:
    """The geo query of a geoQ member whose names are expanded; Invalid."""
    where = found.get("geoproperty", q.LOCATION)
    return q.parse_geo(found.get("georel"), found.get("geometry"), found.get("coordinates"), where)


def as_it_is(iri: str) -> str:
    """The IRI of a name that is one already, as all are in a record."""
    return iri
