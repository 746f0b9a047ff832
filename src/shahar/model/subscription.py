"""Subscriptions in thought: what is asked for, which change concerns whom, what a notification says.

A subscription has two forms. Its *record* is JSON-able and self-contained: members as given with names expanded, the
texts of queries as given, and beside them the names that these texts use with their IRIs (`terms`), so that a restart
needs no @context to go on matching. `Subscription` is the record compiled: trees, patterns, sets.

Promises: `parse` and `patched` raise Invalid naming the member, NotCarried for a member of the standard that we do not
carry, and nothing else whatever JSON they are given; no member is silently ignored but those that are read-only.
`touches` needs the change alone, `concerns` also the document; both are total. The document of a notification is the
entity's present one with the change laid over it (`laid_over`), so that each change is seen as it was even when the
entity has moved on. `Index.candidates` never leaves out a subscription that the change touches.
Does not: know the journal, clocks, sockets; decide who may subscribe (`types_of` is what that decision needs).

What triggers, where the clauses leave it open:
- an attribute is created by this change when its instance says so (createdAt = modifiedAt), else updated;
- a new entity's attributes are created, a deleted entity's attributes are deleted;
- readings that came late (older than the present value) belong to history and trigger nothing; neither does a change of
  types or scopes alone, since entityUpdated means its attributes (5.2.12);
- q, geoQ and scopeQ are held against the document after the change; for a deleted entity against what it was, as far as
  the change tells, and where it does not tell they do not hold the notification back;
- a q may be percent-encoded as in an address: the official suite sends it so.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.2.12 to 5.2.15, 5.2.22, 5.2.33, 5.3.1, 5.8.1, 5.8.2, 5.8.6.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from shahar.model import query as q
from shahar.model import render
from shahar.model.context import Context, Source
from shahar.model.entity import NULL, VALUE_MEMBER, Doc, Instance, check_uri
from shahar.model.query import Geo, Node
from shahar.model.render import Form, View
from shahar.model.terms import CORE_URL
from shahar.values import instants
from shahar.values.bounds import ID_CHARS, NOTIFICATION_S, SUBSCRIPTION_ENTITIES
from shahar.values.errors import Invalid, NotCarried
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
LIST_MAX: Final = 1_000
TEXT_MAX: Final = 4_096
PAIRS_MAX: Final = 32
PERIOD_MAX_S: Final = 366 * 86_400.0

_FORMS: Final[dict[str, Form]] = {
    "normalized": "normalized", "concise": "concise", "simplified": "simplified", "keyValues": "simplified",
}  # fmt: skip
_RULE: Final = "ETSI GS CIM 009 clause 5.2.12"
_ENTITY_MEMBERS: Final = frozenset({"id", "type", "scope"})


class Told(Protocol):
    """A change as the journal tells it: `kind` entity.created, .updated or .deleted; `key` the entity's id; `what`
    {"types": [IRI], "set": {IRI: [instance]}, "gone": [[IRI, datasetId, old instance?]], "late": {...}}."""

    @property
    def at(self) -> Instant: ...
    @property
    def kind(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def what(self) -> Any: ...


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
    """A compiled subscription. No `selectors`: every entity; no `watched`: every attribute; `every_s`: periodic."""

    id: str
    endpoint: Endpoint
    context: Source
    selectors: tuple[q.Query, ...] = ()
    watched: frozenset[str] = frozenset()
    triggers: frozenset[str] = frozenset(DEFAULT_TRIGGERS)
    q: Node | None = None
    geo: Geo | None = None
    scope: Node | None = None
    form: Form = "normalized"
    sys: bool = False
    attrs: frozenset[str] = frozenset()
    pick: frozenset[str] = frozenset()
    omit: frozenset[str] = frozenset()
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
        return View(context, self.form, self.sys, self.attrs, self.pick, self.omit, self.dataset, self.lang)


@dataclass(slots=True)
class Tally:
    """What became of a subscription's notifications; instants are None as long as there was none.

    `lost`: rows of the journal that were gone before the endpoint answered again (their changes may or may not have
    concerned it).
    """

    times_sent: int = 0
    times_failed: int = 0
    last_notification: Instant | None = None
    last_success: Instant | None = None
    last_failure: Instant | None = None
    ok: bool | None = None
    lost: int = 0


# -- reading a body ---------------------------------------------------------------------------------------------------


def parse(body: Any, context: Context, at: Instant, *, new_id: str = "") -> Record:
    """The record of a new subscription; `new_id` is its id when the body has none. Raises Invalid, NotCarried."""
    if not isinstance(body, dict) or not body:
        raise Invalid("a subscription is a JSON object", field="body", rule=_RULE)
    members, terms = _members(body, context)
    identifier = members.pop("id", new_id)
    check_uri(identifier, "id")
    if "type" not in body and "@type" not in body:
        raise Invalid("a subscription has the type Subscription", field="type", rule=_RULE)
    _whole(members, at, members.get("expiresAt"))
    _note_terms(members, terms, context)
    source = members.get("jsonldContext", context.source)
    record = {
        "id": identifier, "body": members, "terms": terms, "context": source, "createdAt": at, "modifiedAt": at,
    }  # fmt: skip
    compiled(record)
    return record


def patched(record: Record, fragment: Any, context: Context, at: Instant) -> Record:
    """The record with the fragment's members in place of its own; null or urn:ngsi-ld:null removes one (5.5.8)."""
    if not isinstance(fragment, dict):
        raise Invalid("a subscription fragment is a JSON object", field="body", rule=_RULE)
    gone = {name for name, value in fragment.items() if value is None or value == NULL}
    for name in sorted(gone & {"id", "type", "notification"}):
        raise Invalid("what a subscription must have cannot be removed", field=name, rule=_RULE)
    members, terms = _members({name: value for name, value in fragment.items() if name not in gone}, context)
    if members.pop("id", record["id"]) != record["id"]:
        raise Invalid("the id of a subscription cannot be changed", field="id", rule=_RULE)
    body = {name: value for name, value in {**record["body"], **members}.items() if name not in gone}
    _whole(body, at, members.get("expiresAt"))
    terms = {**record["terms"], **terms}
    _note_terms(body, terms, context)
    source = body.get("jsonldContext", record["context"])
    new = {**record, "body": body, "terms": terms, "context": source, "modifiedAt": at}
    compiled(new)
    return new


def _members(body: Any, context: Context) -> tuple[dict[str, Any], dict[str, str]]:
    """The members that are kept, each checked by itself, names expanded; and the names that queries use."""
    terms: dict[str, str] = {}
    reading = _Reading(context, terms)
    return reading.members(body, _SUBSCRIPTION, ""), terms


def _note_terms(members: Mapping[str, Any], terms: dict[str, str], context: Context) -> None:
    """Note the values that q is to expand besides; only q and expandValues together say which."""

    def noted(name: str) -> str:
        if name not in terms:
            terms[name] = context.expand(name)
        return terms[name]

    if "q" in members and "expandValues" in members:
        q.parse_q(members["q"], noted, expand_values=members["expandValues"].split(","))


def _whole(members: Mapping[str, Any], at: Instant, expires_at: Instant | None) -> None:
    """What members must be to each other."""
    if "notification" not in members:
        raise Invalid("a subscription says how to notify", field="notification", rule=_RULE)
    if not ("entities" in members or "watchedAttributes" in members or members.get("localOnly")):
        raise Invalid("entities or watchedAttributes must say what is subscribed to", field="entities", rule=_RULE)
    if "timeInterval" in members:
        for other in ("throttling", "watchedAttributes"):
            if other in members:
                raise Invalid(f"timeInterval and {other} exclude each other", field=other, rule=_RULE)
        if "entities" not in members and not members.get("localOnly"):
            raise Invalid("a periodic subscription names its entities", field="entities", rule=_RULE)
    if expires_at is not None and expires_at <= at:
        raise Invalid("expiresAt is in the past", field="expiresAt", rule="ETSI GS CIM 009 clause 5.8.1.4")


_Take = Callable[["_Reading", Any, str], Any]


@dataclass(frozen=True, slots=True)
class _Kind:
    """An object of the standard: its members, those that come later, those that only we write."""

    takes: Mapping[str, _Take]
    later: frozenset[str] = frozenset()
    ours: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Reading:
    """A body being read in an @context; every name of a query that is met goes into `terms`."""

    context: Context
    terms: dict[str, str]

    def members(self, given: Any, kind: _Kind, field: str) -> dict[str, Any]:
        """Each member of an object by its own reader; a null is as if it were not there (JSON-LD 1.1, 9.2)."""
        if not isinstance(given, dict):
            raise Invalid(f"{field or 'the body'} is a JSON object", field=field or "body", rule=_RULE)
        found: dict[str, Any] = {}
        for name, value in given.items():
            path = f"{field}.{name}" if field else name
            take = kind.takes.get(name)
            if value is None or name in kind.ours:
                continue
            if name in kind.later:
                raise NotCarried(f"{path} is of the standard and not carried yet", field=path)
            if take is None:
                raise Invalid(f"{path[:80]!r} is no member of a subscription", field=path[:80], rule=_RULE)
            found[name] = take(self, value, path)
        return {name: value for name, value in found.items() if value is not _DROPPED}

    def noted(self, name: str) -> str:
        """The IRI of a name in a query, noted for the restart."""
        iri = self.terms[name] = self.context.expand(name)
        return iri

    def expanded(self, name: Any, field: str) -> str:
        """The IRI of a name that is a text."""
        if not isinstance(name, str):
            raise _fail(field, "the name of an attribute")
        return self.context.expand(name)


_DROPPED: Final = object()


def _fail(field: str, what: str) -> Invalid:
    return Invalid(f"{field} is {what}", field=field, rule=_RULE)


def _text(_reading: _Reading, value: Any, field: str) -> str:
    if not isinstance(value, str) or len(value) > TEXT_MAX or "\0" in value:
        raise _fail(field, f"a text of at most {TEXT_MAX} characters")
    return value


def _flag(_reading: _Reading, value: Any, field: str) -> bool:
    if not isinstance(value, bool):
        raise _fail(field, "true or false")
    return value


def _positive(_reading: _Reading, value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise _fail(field, "a number above 0")
    if value > PERIOD_MAX_S * 1_000:
        raise _fail(field, "a number of a sensible size")
    return value


def _listed(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list) or not value or len(value) > LIST_MAX:
        raise _fail(field, f"a list of 1 to {LIST_MAX}")
    return value


def _names(reading: _Reading, value: Any, field: str) -> list[str]:
    return [reading.expanded(name, field) for name in _listed(value, field)]


def _attributes(reading: _Reading, value: Any, field: str) -> list[str]:
    if isinstance(value, list) and not _ENTITY_MEMBERS.isdisjoint(part for part in value if isinstance(part, str)):
        raise Invalid("id, type and scope are no attributes; pick has them", field=field, rule="clause 5.2.14.1")
    return _names(reading, value, field)


def _projection(reading: _Reading, value: Any, field: str) -> list[str]:
    listed = _listed(value, field)
    if any(isinstance(name, str) and ("{" in name or "}" in name) for name in listed):
        raise NotCarried("projection into linked entities is not carried yet", field=field)
    return [name if name in ("id", "type", "scope") else reading.expanded(name, field) for name in listed]


def _type(_reading: _Reading, value: Any, field: str) -> Any:
    if value not in ("Subscription", ["Subscription"]):
        raise _fail(field, "Subscription")
    return _DROPPED


def _identifier(_reading: _Reading, value: Any, field: str) -> str:
    if isinstance(value, str) and len(value) > ID_CHARS:
        raise _fail(field, f"at most {ID_CHARS} characters long")
    return check_uri(value, field)


def _query(reading: _Reading, value: Any, field: str) -> str:
    text = _text(reading, value, field)
    if "%" in text:
        text = unquote(text)
    q.parse_q(text, reading.noted, field=field)
    return text


def _expand_values(reading: _Reading, value: Any, field: str) -> str:
    text = _text(reading, value, field)
    for name in text.split(","):
        reading.noted(name)
    return text


def _json_keys(reading: _Reading, value: Any, field: str) -> str:
    """Kept and shown; values are stored as they came and never expanded, so that it asks for what is so already."""
    return _expand_values(reading, value, field)


def _scope_query(reading: _Reading, value: Any, field: str) -> str:
    text = _text(reading, value, field)
    q.parse_scope(text, field=field)
    return text


def _expires(_reading: _Reading, value: Any, field: str) -> Instant:
    return instants.parse(value, field)


def _datasets(_reading: _Reading, value: Any, field: str) -> list[str]:
    return [part if part == "@none" else check_uri(part, field) for part in _listed(value, field)]


def _triggers(_reading: _Reading, value: Any, field: str) -> list[str]:
    listed = _listed(value, field)
    if not all(part in TRIGGERS for part in listed):
        raise Invalid(f"{field} holds something that is no trigger", field=field, rule="one of " + ", ".join(TRIGGERS))
    return list(dict.fromkeys(listed))


def _context_address(_reading: _Reading, value: Any, field: str) -> str:
    address = check_uri(value, field)
    if not address.startswith(("http://", "https://")):
        raise _fail(field, "an address that can be read")
    return address


_TYPE_NAME: Final = re.compile(r"[^\s;|,()]+")


def _entities(reading: _Reading, value: Any, field: str) -> list[dict[str, Any]]:
    listed = _listed(value, field)
    if len(listed) > SUBSCRIPTION_ENTITIES:
        raise _fail(field, f"at most {SUBSCRIPTION_ENTITIES} selectors")
    return [_selector(reading, part, f"{field}[{index}]") for index, part in enumerate(listed)]


def _selector(reading: _Reading, value: Any, field: str) -> dict[str, Any]:
    selector = reading.members(value, _SELECTOR, field)
    if "type" not in selector:
        raise Invalid('a selector names its types, or "*"', field=f"{field}.type", rule="clause 5.2.33")
    return selector


def _selector_ids(_reading: _Reading, value: Any, field: str) -> Any:
    if isinstance(value, list):
        return [check_uri(part, field) for part in _listed(value, field)]
    return check_uri(value, field)


def _selector_pattern(reading: _Reading, value: Any, field: str) -> str:
    text = _text(reading, value, field)
    q.parse_id_pattern(text, field=field)
    return text


def _selector_types(reading: _Reading, value: Any, field: str) -> str:
    """The type selection with IRIs in the place of names: the grammar takes both."""
    text = _text(reading, value, field)
    if q.parse_types(text, reading.context.expand, field=field) is None:
        return "*"
    expanded = _TYPE_NAME.sub(lambda found: reading.context.expand(found.group()), text)
    q.parse_types(expanded, _as_it_is, field=field)
    return expanded


def _as_it_is(iri: str) -> str:
    return iri


def _geo_query(reading: _Reading, value: Any, field: str) -> dict[str, Any]:
    found = reading.members(value, _GEO_QUERY, field)
    _geo(found)
    return found


def _geo(found: Mapping[str, Any]) -> Geo:
    where = found.get("geoproperty", q.LOCATION)
    return q.parse_geo(found.get("georel"), found.get("geometry"), found.get("coordinates"), where)


def _any(_reading: _Reading, value: Any, _field: str) -> Any:
    return value


def _name(reading: _Reading, value: Any, field: str) -> str:
    return reading.expanded(value, field)


def _notification(reading: _Reading, value: Any, field: str) -> dict[str, Any]:
    found = reading.members(value, _NOTIFICATION, field)
    if "endpoint" not in found:
        raise Invalid("a notification has an endpoint", field=f"{field}.endpoint", rule="clause 5.2.14.1")
    for other in ("pick", "omit"):
        if "attributes" in found and other in found:
            raise Invalid(f"attributes and {other} exclude each other", field=f"{field}.{other}", rule="clause 4.21")
    if not set(found.get("pick", ())).isdisjoint(found.get("omit", ())):
        raise Invalid("a member is both picked and omitted", field=f"{field}.omit", rule="clause 4.21")
    return found


def _format(_reading: _Reading, value: Any, field: str) -> str:
    if not isinstance(value, str) or value not in _FORMS:
        raise Invalid(f"{field} is no representation", field=field, rule="one of " + ", ".join(_FORMS))
    return value


def _show_changes(reading: _Reading, value: Any, field: str) -> bool:
    if _flag(reading, value, field):
        raise NotCarried("previous values in notifications are not carried yet", field=field)
    return False


def _join(_reading: _Reading, value: Any, field: str) -> str:
    if value in ("flat", "inline"):
        raise NotCarried("linked entities in notifications are not carried yet", field=field)
    if value != "@none":
        raise _fail(field, "flat, inline or @none")
    return "@none"


def _endpoint(reading: _Reading, value: Any, field: str) -> dict[str, Any]:
    found = reading.members(value, _ENDPOINT, field)
    if "uri" not in found:
        raise Invalid("an endpoint has a uri", field=f"{field}.uri", rule="clause 5.2.15")
    return found


def _endpoint_uri(_reading: _Reading, value: Any, field: str) -> str:
    address = check_uri(value, field)
    try:
        parts = urlsplit(address)
        scheme, host, _ = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        raise _fail(field, "an address that can be reached") from None
    if scheme in ("mqtt", "mqtts"):
        raise NotCarried("notifications by MQTT are not carried yet", field=field)
    if scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise _fail(field, "an http or https address without user and password (receiverInfo has them)")
    return address


def _accept(_reading: _Reading, value: Any, field: str) -> str:
    if value not in (JSON, LD_JSON, GEO_JSON):
        raise _fail(field, f"one of {JSON}, {LD_JSON} and {GEO_JSON}")
    return str(value)


_HEADER: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_HEADER_TEXT: Final = re.compile(r"[\t -~\u00a0-\u00ff]{0,4096}")
_NOT_TO_BE_SET: Final = frozenset(
    "connection content-length content-type expect host keep-alive link ngsild-tenant proxy-connection te trailer "
    "transfer-encoding upgrade".split()
)


def _receiver_info(reading: _Reading, value: Any, field: str) -> list[dict[str, str]]:
    pairs = _pairs(reading, value, field)
    for pair in pairs:
        if not _HEADER.fullmatch(pair["key"]) or not _HEADER_TEXT.fullmatch(pair["value"]):
            raise Invalid("a key or a value cannot stand in a header", field=field, rule="RFC 9110 section 5")
        if pair["key"].lower() in _NOT_TO_BE_SET:
            raise Invalid(f"the header {pair['key']} is set by the platform", field=field, rule="another key")
    return pairs


def _pairs(_reading: _Reading, value: Any, field: str) -> list[dict[str, str]]:
    listed = _listed(value, field)
    for part in listed:
        whole = isinstance(part, dict) and part.keys() == {"key", "value"}
        if not whole or not all(isinstance(one, str) for one in part.values()) or len(listed) > PAIRS_MAX:
            raise Invalid("a list of up to 32 {key, value} of texts", field=field, rule="clause 5.2.22")
    return [{"key": part["key"], "value": part["value"]} for part in listed]


_SELECTOR: Final = _Kind({"id": _selector_ids, "idPattern": _selector_pattern, "type": _selector_types})
_GEO_QUERY: Final = _Kind({"georel": _text, "geometry": _text, "coordinates": _any, "geoproperty": _name})
_ENDPOINT: Final = _Kind(
    {
        "uri": _endpoint_uri,
        "accept": _accept,
        "receiverInfo": _receiver_info,
        "notifierInfo": _pairs,
        "timeout": _positive,
        "cooldown": _positive,
    }
)
_NOTIFICATION: Final = _Kind(
    {
        "attributes": _attributes,
        "pick": _projection,
        "omit": _projection,
        "format": _format,
        "endpoint": _endpoint,
        "sysAttrs": _flag,
        "showChanges": _show_changes,
        "join": _join,
        "joinLevel": _positive,
    },
    ours=frozenset(
        {"status", "timesSent", "timesFailed", "lastNotification", "lastSuccess", "lastFailure", "changesLost"}
    ),
)
_SUBSCRIPTION: Final = _Kind(
    {
        "id": _identifier,
        "type": _type,
        "@type": _type,
        "subscriptionName": _text,
        "description": _text,
        "entities": _entities,
        "watchedAttributes": _names,
        "q": _query,
        "expandValues": _expand_values,
        "jsonKeys": _json_keys,
        "geoQ": _geo_query,
        "scopeQ": _scope_query,
        "datasetId": _datasets,
        "lang": _text,
        "notification": _notification,
        "notificationTrigger": _triggers,
        "throttling": _positive,
        "timeInterval": _positive,
        "expiresAt": _expires,
        "isActive": _flag,
        "localOnly": _flag,
        "jsonldContext": _context_address,
    },
    later=frozenset({"csf", "temporalQ", "ngsildConformance", "splitEntities"}),
    ours=frozenset({"status", "createdAt", "modifiedAt", "@context"}),
)


# -- compiling a record -----------------------------------------------------------------------------------------------


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
        selectors=tuple(_compiled_selector(selector) for selector in body.get("entities", ())),
        watched=frozenset(body.get("watchedAttributes", ())),
        triggers=_compiled_triggers(body.get("notificationTrigger", DEFAULT_TRIGGERS)),
        q=q.parse_q(body["q"], terms.__getitem__, expand_values=names) if "q" in body else None,
        geo=_geo(body["geoQ"]) if "geoQ" in body else None,
        scope=q.parse_scope(body["scopeQ"]) if "scopeQ" in body else None,
        form=_FORMS[note.get("format", "normalized")],
        sys=note.get("sysAttrs", False),
        attrs=frozenset(note.get("attributes", ())),
        pick=frozenset(note.get("pick", ())),
        omit=frozenset(note.get("omit", ())),
        dataset=None if datasets is None else frozenset(datasets),
        lang=body.get("lang", ""),
        throttling_s=min(float(body.get("throttling", 0.0)), PERIOD_MAX_S),
        every_s=min(float(body.get("timeInterval", 0.0)), PERIOD_MAX_S),
        active=body.get("isActive", True),
        expires_at=body.get("expiresAt"),
    )


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
        types=q.parse_types(given["type"], _as_it_is),
    )


def _compiled_triggers(given: Iterable[str]) -> frozenset[str]:
    """entityUpdated is the three of attributes."""
    found = set(given)
    if "entityUpdated" in found:
        found |= {"attributeCreated", "attributeUpdated", "attributeDeleted"}
    return frozenset(found - {"entityUpdated"})


# -- whom a change concerns -------------------------------------------------------------------------------------------


def touches(subscription: Subscription, told: Told) -> bool:
    """Whether the change is of a subscribed entity, a watched attribute and a kind that triggers."""
    return _triggered(subscription, told) and _selected(subscription, told.key, told.what["types"])


def _selected(subscription: Subscription, entity_id: str, types: Collection[str]) -> bool:
    if not subscription.selectors:
        return True
    for selector in subscription.selectors:
        if selector.ids:
            if entity_id not in selector.ids:
                continue
        elif selector.id_pattern is not None and not selector.id_pattern.matches(entity_id):
            continue
        if q.matches_types(selector.types, types):
            return True
    return False


def _triggered(subscription: Subscription, told: Told) -> bool:
    triggers, watched, what = subscription.triggers, subscription.watched, told.what
    if told.kind == "entity.deleted":
        if "entityDeleted" in triggers and (not watched or any(row[0] in watched for row in what.get("gone", ()))):
            return True
    elif told.kind == "entity.created":
        if "entityCreated" in triggers and (not watched or not watched.isdisjoint(what["set"])):
            return True
    elif told.kind != "entity.updated":
        return False
    if "attributeDeleted" in triggers and any(not watched or row[0] in watched for row in what.get("gone", ())):
        return True
    made, changed = "attributeCreated" in triggers, "attributeUpdated" in triggers
    if not (made or changed):
        return False
    for iri, instances in what["set"].items():
        if not watched or iri in watched:
            for one in instances:
                if made if one.get("createdAt") == one.get("modifiedAt") else changed:
                    return True
    return False


def concerns(subscription: Subscription, told: Told, doc: Doc, follow: q.Follow | None = None) -> bool:
    """Whether the change is to be notified; `doc` is the document as `laid_over` gives it."""
    if not touches(subscription, told):
        return False
    return holds(subscription, before(told, doc) if told.kind == "entity.deleted" else doc, follow)


def holds(subscription: Subscription, doc: Doc | None, follow: q.Follow | None = None) -> bool:
    """Whether q, geoQ and scopeQ hold for the document; None (nothing is known of it) holds nothing back."""
    if doc is None:
        return True
    if subscription.scope is not None and not q.matches_scope(subscription.scope, doc.get("scope", ())):
        return False
    if subscription.q is not None and not q.matches_q(subscription.q, doc, follow):
        return False
    return subscription.geo is None or q.matches_geo(subscription.geo, doc)


def before(told: Told, doc: Doc) -> Doc | None:
    """A deleted entity as it was, when the change tells the instances that went; None when it does not."""
    attrs: dict[str, list[Instance]] = {}
    for row in told.what.get("gone", ()):
        if len(row) < 3:
            return None
        attrs.setdefault(row[0], []).append(row[2])
    return {**doc, "attrs": attrs}


def laid_over(told: Told, present: Doc | None) -> Doc:
    """The entity's document at this change: the present one with the change's instances over it.

    `present`: the living document, or the shell that a deleted entity leaves (with deletedAt), or None.
    """
    what = told.what
    shell = present if present is not None and "deletedAt" in present else None
    if told.kind == "entity.deleted":
        kept = shell or {"type": []}
        return {**kept, "id": told.key, "type": what["types"] or kept["type"], "attrs": {}, "deletedAt": told.at}
    if present is None or shell is not None:
        base = {key: value for key, value in (shell or {}).items() if key != "deletedAt"}
        doc: Doc = {**base, "id": told.key, "type": what["types"]}
        attrs: dict[str, list[Instance]] = {}
    else:
        doc, attrs = dict(present), dict(present["attrs"])
    for row in what.get("gone", ()):
        _without(attrs, row[0], row[1])
    for iri, instances in what["set"].items():
        for one in instances:
            _with(attrs, iri, one)
    changed = [one["modifiedAt"] for instances in what["set"].values() for one in instances if "modifiedAt" in one]
    if changed:
        doc["modifiedAt"] = max(changed)
    doc["attrs"] = attrs
    return doc


def _without(attrs: dict[str, list[Instance]], iri: str, dataset: str) -> None:
    left = [one for one in attrs.get(iri, ()) if one.get("datasetId", "") != dataset]
    if left:
        attrs[iri] = left
    else:
        attrs.pop(iri, None)


def _with(attrs: dict[str, list[Instance]], iri: str, one: Instance) -> None:
    dataset = one.get("datasetId", "")
    others = [other for other in attrs.get(iri, ()) if other.get("datasetId", "") != dataset]
    attrs[iri] = sorted([*others, one], key=lambda each: str(each.get("datasetId", ""))) if others else [one]


def types_of(record: Record) -> tuple[str, ...]:
    """Every type that the record's selectors name; () when it also asks for entities of any type."""
    found: set[str] = set()
    for selector in compiled(record).selectors:
        if selector.types is None:
            return ()
        found |= set(_leaves(selector.types))
    return tuple(sorted(found))


def _leaves(node: Node) -> Iterator[str]:
    match node:
        case q.TypeIs(iri):
            yield iri
        case q.And(parts) | q.Or(parts):
            for part in parts:
                yield from _leaves(part)


class Index:
    """Subscriptions by what a change must have in common with them: an id, else a type, else a watched attribute."""

    def __init__(self) -> None:
        self._by: dict[tuple[str, str, str], dict[str, Subscription]] = {}
        self._keys: dict[tuple[str, str], tuple[tuple[str, str, str], ...]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, tenant: str, subscription: Subscription) -> None:
        """Take a subscription in, in the place of the one with its id."""
        self.drop(tenant, subscription.id)
        keys = tuple({(tenant, kind, value) for kind, value in _handles(subscription)})
        self._keys[tenant, subscription.id] = keys
        for key in keys:
            self._by.setdefault(key, {})[subscription.id] = subscription

    def drop(self, tenant: str, subscription_id: str) -> None:
        """Forget a subscription; nothing when it is not there."""
        for key in self._keys.pop((tenant, subscription_id), ()):
            listed = self._by[key]
            del listed[subscription_id]
            if not listed:
                del self._by[key]

    def touched(self, tenant: str, told: Told) -> list[Subscription]:
        """The subscriptions that the change touches, each once."""
        found: dict[str, Subscription] = {}
        for handle in self._handles_of(tenant, told):
            for identifier, subscription in self._by.get(handle, {}).items():
                if identifier not in found and touches(subscription, told):
                    found[identifier] = subscription
        return list(found.values())

    def _handles_of(self, tenant: str, told: Told) -> Iterator[tuple[str, str, str]]:
        yield tenant, "id", told.key
        for iri in told.what["types"]:
            yield tenant, "type", iri
        for iri in told.what["set"]:
            yield tenant, "attr", iri
        for iri in {row[0] for row in told.what.get("gone", ())}:
            yield tenant, "attr", iri
        yield tenant, "any", ""


def _handles(subscription: Subscription) -> Iterator[tuple[str, str]]:
    if not subscription.selectors:
        yield from (("attr", iri) for iri in subscription.watched) if subscription.watched else [("any", "")]
    for selector in subscription.selectors:
        if selector.ids:
            yield from (("id", identifier) for identifier in selector.ids)
        elif selector.types is not None:
            yield from (("type", iri) for iri in _leaves(selector.types))
        else:
            yield "any", ""


# -- what a notification says -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """What a notification tells of one entity: its document, the instances that went ([IRI, datasetId, old?]), and
    the instant; `deleted`: the entity itself went."""

    doc: Doc
    gone: list[list[Any]]
    at: Instant
    deleted: bool = False


def seen(told: Told, doc: Doc) -> Seen:
    """What the change shows, `doc` being the document as `laid_over` gives it."""
    return Seen(doc, told.what.get("gone", []), told.at, told.kind == "entity.deleted")


def notification(
    subscription: Subscription, notification_id: str, entities: Iterable[Seen], context: Context, at: Instant
) -> dict[str, Any]:
    """The document that is sent (5.3.1), its @context inside for JSON-LD and, unless Prefer refuses it, GeoJSON."""
    shown = [(one, _entity(subscription, one, context)) for one in entities]
    source = outward(context)
    document: dict[str, Any] = {
        "id": notification_id,
        "type": "Notification",
        "subscriptionId": subscription.id,
        "notifiedAt": instants.text(at),
    }
    if subscription.endpoint.accept == GEO_JSON:
        collection = {"type": "FeatureCollection", "features": [_feature(one, entity) for one, entity in shown]}
        info = subscription.endpoint.receiver_info
        plain = any(key.lower() == "prefer" and value == "body=json" for key, value in info)
        document["data"] = collection if plain else {**collection, "@context": source}
    elif subscription.endpoint.accept == LD_JSON:
        document["data"] = [{**entity, "@context": source} for _, entity in shown]
        document["@context"] = source
    else:
        document["data"] = [entity for _, entity in shown]
    return document


def outward(context: Context) -> Source:
    """The @context as it is written in a notification or a Link: an address where it is one."""
    source = context.source
    if isinstance(source, list) and len(source) == 1:
        source = source[0]
    return source or CORE_URL


def outward_address(source: Source) -> str:
    """The address that a Link header names for an @context; the core's where it has none of its own."""
    if isinstance(source, list) and len(source) == 1:
        source = source[0]
    return source if isinstance(source, str) and source else CORE_URL


def _entity(subscription: Subscription, one: Seen, context: Context) -> dict[str, Any]:
    view = subscription.view(context)
    attrs = one.doc["attrs"]
    if one.gone and (not one.deleted or "attributeDeleted" in subscription.triggers):
        attrs = _with_tombstones(subscription, one)
    shown = render.entity({**one.doc, "attrs": attrs}, view)
    if one.deleted:
        shown["deletedAt"] = instants.text(one.at)
    return shown


def _with_tombstones(subscription: Subscription, one: Seen) -> dict[str, list[Instance]]:
    """The attributes with urn:ngsi-ld:null for those that went; of a deleted entity only the watched ones."""
    attrs = dict(one.doc["attrs"])
    graves: dict[str, list[Instance]] = {}
    for iri, dataset, *old in one.gone:
        if not one.deleted or not subscription.watched or iri in subscription.watched:
            graves.setdefault(iri, []).append(_tombstone(old[0] if old else {}, dataset, one.at, subscription.form))
    for iri, stones in graves.items():
        left = attrs.get(iri, [])
        whole = [stone for stone in stones if "datasetId" not in stone]
        attrs[iri] = [*left, *stones] if left or not whole else whole
    return attrs


def _tombstone(old: Instance, dataset: str, at: Instant, form: Form) -> Instance:
    kind = "Property" if form == "simplified" else old.get("type", "Property")
    value: Any = {"@none": NULL} if kind == "LanguageProperty" else NULL
    stone: Instance = {"type": kind, VALUE_MEMBER[kind]: value, "deletedAt": at}
    stone |= {key: old[key] for key in ("createdAt", "modifiedAt") if key in old}
    return stone | {"datasetId": dataset} if dataset else stone


def _feature(one: Seen, shown: dict[str, Any]) -> dict[str, Any]:
    places = one.doc["attrs"].get(q.LOCATION, ())
    found = (each["value"] for each in places if each["type"] == "GeoProperty" and "datasetId" not in each)
    geometry = next(found, None)
    properties = {key: value for key, value in shown.items() if key != "id"}
    return {"type": "Feature", "id": one.doc["id"], "geometry": geometry, "properties": properties}


# -- what is told of a subscription -----------------------------------------------------------------------------------


def status(record: Record, at: Instant) -> str:
    """active, paused or expired."""
    body = record["body"]
    if "expiresAt" in body and body["expiresAt"] <= at:
        return "expired"
    return "active" if body.get("isActive", True) else "paused"


def told(record: Record, tally: Tally, context: Context, at: Instant, *, sys: bool = False) -> dict[str, Any]:
    """The subscription as it is shown, names in the reader's @context; the @context itself is left to the caller."""
    body = record["body"]
    compact = context.compact
    shown: dict[str, Any] = {"id": record["id"], "type": "Subscription"}
    for name, value in body.items():
        shown[name] = _SHOW.get(name, _as_given)(value, compact)
    shown.setdefault("notificationTrigger", list(DEFAULT_TRIGGERS))
    shown["notification"] = _told_notification(body["notification"], tally, compact)
    shown["status"] = status(record, at)
    source = record["context"] or CORE_URL
    source = source[0] if isinstance(source, list) and len(source) == 1 else source
    if isinstance(source, str):
        shown.setdefault("jsonldContext", source)
    if sys:
        shown |= {key: instants.text(record[key]) for key in ("createdAt", "modifiedAt")}
    return shown


_Compact = Callable[[str], str]


def _as_given(value: Any, _compact: _Compact) -> Any:
    return value


def _show_names(value: Any, compact: _Compact) -> Any:
    return [name if name in _ENTITY_MEMBERS else compact(name) for name in value]


def _show_entities(value: Any, compact: _Compact) -> Any:
    def types(text: str) -> str:
        return text if text == "*" else _TYPE_NAME.sub(lambda found: compact(found.group()), text)

    return [{**selector, "type": types(selector["type"])} for selector in value]


def _show_geo(value: Any, compact: _Compact) -> Any:
    return {**value, "geoproperty": compact(value["geoproperty"])} if "geoproperty" in value else value


def _show_instant(value: Any, _compact: _Compact) -> Any:
    return instants.text(value)


_SHOW: Final[dict[str, Callable[[Any, _Compact], Any]]] = {
    "entities": _show_entities,
    "watchedAttributes": _show_names,
    "attributes": _show_names,
    "pick": _show_names,
    "omit": _show_names,
    "geoQ": _show_geo,
    "expiresAt": _show_instant,
}


def _told_notification(note: Mapping[str, Any], tally: Tally, compact: _Compact) -> dict[str, Any]:
    shown = {name: _SHOW.get(name, _as_given)(value, compact) for name, value in note.items()}
    if tally.ok is not None:
        shown["status"] = "ok" if tally.ok else "failed"
    counts = {"timesSent": tally.times_sent, "timesFailed": tally.times_failed, "changesLost": tally.lost}
    shown |= {name: count for name, count in counts.items() if count}
    moments = {
        "lastNotification": tally.last_notification,
        "lastSuccess": tally.last_success,
        "lastFailure": tally.last_failure,
    }
    return shown | {name: instants.text(at) for name, at in moments.items() if at is not None}
