"""The members of a subscription's body: which there are, what each may be, and how each is kept.

The tables at the end are the standard's objects, one reader for each member: to carry another is to add its line.

Promises: a reader raises Invalid naming the member, and nothing else whatever JSON it is given; no member is silently
ignored but those that are read-only.
A q may be percent-encoded as in an address, though no clause says so: the official suite sends it so.
`csf`, `splitEntities` and `temporalQ` are about other sources of context (5.2.12): they are checked, kept and shown,
and hold back nothing that changes here.
Does not: ask what members must be to each other (record).
Source: ETSI GS CIM 009 V1.9.1 clauses 5.2.12 to 5.2.15, 5.2.22, 5.2.33.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from shahar.model import query as q
from shahar.model.context import Context
from shahar.model.entity import check_uri
from shahar.model.projection import LEVELS_MAX
from shahar.model.subscription.forms import (
    ENTITY_MEMBERS,
    FORMS,
    GEO_JSON,
    JSON,
    LD_JSON,
    MEMBER_NAME,
    PERIOD_MAX_S,
    TRIGGERS,
    TYPE_NAME,
    as_it_is,
    geo_of,
    projected,
)
from shahar.values import instants
from shahar.values.bounds import ID_CHARS, SUBSCRIPTION_ENTITIES
from shahar.values.errors import Invalid
from shahar.values.instants import Instant

LIST_MAX: Final = 1_000
TEXT_MAX: Final = 4_096
PAIRS_MAX: Final = 32
RULE: Final = "ETSI GS CIM 009 clause 5.2.12"
_Take = Callable[["Reading", Any, str], Any]
"""Checks a member's value and gives it as it is kept; the text is the member's place in the body, for messages."""


@dataclass(frozen=True, slots=True)
class Kind:
    """An object of the standard: its members, and those that only we write."""

    takes: Mapping[str, _Take]
    ours: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Reading:
    """A body being read in an @context; every name of a query that is met goes into `terms`."""

    context: Context
    terms: dict[str, str]

    def members(self, given: Any, kind: Kind, field: str) -> dict[str, Any]:
        """Each member of an object by its own reader; a null is as if it were not there (JSON-LD 1.1, 9.2)."""
        if not isinstance(given, dict):
            raise Invalid(f"{field or 'the body'} is a JSON object", field=field or "body", rule=RULE)
        found: dict[str, Any] = {}
        for name, value in given.items():
            path = f"{field}.{name}" if field else name
            take = kind.takes.get(name)
            if value is None or name in kind.ours:
                continue
            if take is None:
                raise Invalid(f"{path[:80]!r} is no member of a subscription", field=path[:80], rule=RULE)
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

# -- readers of more than one member ----------------------------------------------------------------------------------


def _fail(field: str, what: str) -> Invalid:
    return Invalid(f"{field} is {what}", field=field, rule=RULE)


def _text(_reading: Reading, value: Any, field: str) -> str:
    if not isinstance(value, str) or len(value) > TEXT_MAX or "\0" in value:
        raise _fail(field, f"a text of at most {TEXT_MAX} characters")
    return value


def _flag(_reading: Reading, value: Any, field: str) -> bool:
    if not isinstance(value, bool):
        raise _fail(field, "true or false")
    return value


def _positive(_reading: Reading, value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise _fail(field, "a number above 0")
    if value > PERIOD_MAX_S * 1_000:
        raise _fail(field, "a number of a sensible size")
    return value


def _any(_reading: Reading, value: Any, _field: str) -> Any:
    return value


def _name(reading: Reading, value: Any, field: str) -> str:
    return reading.expanded(value, field)


def _listed(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list) or not value or len(value) > LIST_MAX:
        raise _fail(field, f"a list of 1 to {LIST_MAX}")
    return value


def _names(reading: Reading, value: Any, field: str) -> list[str]:
    return [reading.expanded(name, field) for name in _listed(value, field)]


# -- of a subscription ------------------------------------------------------------------------------------------------


def _type(_reading: Reading, value: Any, field: str) -> Any:
    if value not in ("Subscription", ["Subscription"]):
        raise _fail(field, "Subscription")
    return _DROPPED


def _identifier(_reading: Reading, value: Any, field: str) -> str:
    if isinstance(value, str) and len(value) > ID_CHARS:
        raise _fail(field, f"at most {ID_CHARS} characters long")
    return check_uri(value, field)


def _query(reading: Reading, value: Any, field: str) -> str:
    text = _text(reading, value, field)
    if "%" in text:
        text = unquote(text)
    q.parse_q(text, reading.noted, field=field)
    return text


def _expand_values(reading: Reading, value: Any, field: str) -> str:
    text = _text(reading, value, field)
    for name in text.split(","):
        reading.noted(name)
    return text


def _json_keys(reading: Reading, value: Any, field: str) -> str:
    """Kept and shown; values are stored as they came and never expanded, so that it asks for what is so already."""
    return _expand_values(reading, value, field)


def _scope_query(reading: Reading, value: Any, field: str) -> str:
    text = _text(reading, value, field)
    q.parse_scope(text, field=field)
    return text


def _geo_query(reading: Reading, value: Any, field: str) -> dict[str, Any]:
    found = reading.members(value, GEO_QUERY, field)
    geo_of(found)
    return found


def _conformance(_reading: Reading, value: Any, field: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"1\.[0-9]{1,2}", value, re.ASCII):
        raise _fail(field, "a version of the standard as major.minor, such as 1.5")
    return value


def _temporal_query(reading: Reading, value: Any, field: str) -> dict[str, Any]:
    found = reading.members(value, TEMPORAL_QUERY, field)
    for name in ("timerel", "timeAt", *(["endTimeAt"] if found.get("timerel") == "between" else [])):
        if name not in found:
            raise Invalid(f"a temporal query has {name}", field=f"{field}.{name}", rule="clause 5.2.21")
    return found


def _time_relation(_reading: Reading, value: Any, field: str) -> str:
    if value not in ("before", "after", "between"):
        raise _fail(field, "before, after or between")
    return str(value)


def _time_property(_reading: Reading, value: Any, field: str) -> str:
    if value not in ("observedAt", "createdAt", "modifiedAt", "deletedAt"):
        raise _fail(field, "observedAt, createdAt, modifiedAt or deletedAt")
    return str(value)


def _instant_text(_reading: Reading, value: Any, field: str) -> str:
    return instants.text(instants.parse(value, field))


def _expires(_reading: Reading, value: Any, field: str) -> Instant:
    return instants.parse(value, field)


def _datasets(_reading: Reading, value: Any, field: str) -> list[str]:
    return [part if part == "@none" else check_uri(part, field) for part in _listed(value, field)]


def _triggers(_reading: Reading, value: Any, field: str) -> list[str]:
    listed = _listed(value, field)
    if not all(part in TRIGGERS for part in listed):
        raise Invalid(f"{field} holds something that is no trigger", field=field, rule="one of " + ", ".join(TRIGGERS))
    return list(dict.fromkeys(listed))


def _context_address(_reading: Reading, value: Any, field: str) -> str:
    address = check_uri(value, field)
    if not address.startswith(("http://", "https://")):
        raise _fail(field, "an address that can be read")
    return address


# -- of its selectors -------------------------------------------------------------------------------------------------


def _entities(reading: Reading, value: Any, field: str) -> list[dict[str, Any]]:
    listed = _listed(value, field)
    if len(listed) > SUBSCRIPTION_ENTITIES:
        raise _fail(field, f"at most {SUBSCRIPTION_ENTITIES} selectors")
    return [_selector(reading, part, f"{field}[{index}]") for index, part in enumerate(listed)]


def _selector(reading: Reading, value: Any, field: str) -> dict[str, Any]:
    selector = reading.members(value, SELECTOR, field)
    if "type" not in selector:
        raise Invalid('a selector names its types, or "*"', field=f"{field}.type", rule="clause 5.2.33")
    return selector


def _selector_ids(_reading: Reading, value: Any, field: str) -> Any:
    if isinstance(value, list):
        return [check_uri(part, field) for part in _listed(value, field)]
    return check_uri(value, field)


def _selector_pattern(reading: Reading, value: Any, field: str) -> str:
    text = _text(reading, value, field)
    q.parse_id_pattern(text, field=field)
    return text


def _selector_types(reading: Reading, value: Any, field: str) -> str:
    """The type selection with IRIs in the place of names: the grammar takes both."""
    text = _text(reading, value, field)
    if q.parse_types(text, reading.context.expand, field=field) is None:
        return "*"
    expanded = TYPE_NAME.sub(lambda found: reading.context.expand(found.group()), text)
    q.parse_types(expanded, as_it_is, field=field)
    return expanded


# -- of its notification ----------------------------------------------------------------------------------------------


def _notification(reading: Reading, value: Any, field: str) -> dict[str, Any]:
    found = reading.members(value, NOTIFICATION, field)
    if "endpoint" not in found:
        raise Invalid("a notification has an endpoint", field=f"{field}.endpoint", rule="clause 5.2.14.1")
    for other in ("pick", "omit"):
        if "attributes" in found and other in found:
            raise Invalid(f"attributes and {other} exclude each other", field=f"{field}.{other}", rule="clause 4.21")
    _check_projection(found, field)
    if found.get("showChanges") and FORMS[found.get("format", "normalized")] == "simplified":
        raise Invalid("bare values cannot show changes", field=f"{field}.showChanges", rule="clause 5.2.14.1")
    return found


def _check_projection(found: Mapping[str, Any], field: str) -> None:
    try:
        depth = projected(found).depth
    except Invalid as problem:
        raise Invalid(problem.detail, field=f"{field}.{problem.field}", rule=problem.rule) from None
    levels = 0 if found.get("join", "@none") == "@none" else found.get("joinLevel", 1)
    if depth > levels:
        rule = "join inline or flat, with a joinLevel as deep as the braces"
        where = "pick" if "{" in "".join(found.get("pick", ())) else "omit"
        raise Invalid("pick and omit speak of entities that are not asked for", field=f"{field}.{where}", rule=rule)


def _attributes(reading: Reading, value: Any, field: str) -> list[str]:
    if isinstance(value, list) and not ENTITY_MEMBERS.isdisjoint(part for part in value if isinstance(part, str)):
        raise Invalid("id, type and scope are no attributes; pick has them", field=field, rule="clause 5.2.14.1")
    return _names(reading, value, field)


def _projection(reading: Reading, value: Any, field: str) -> list[str]:
    """Each member with the names in it expanded; what it is as an expression is asked of all together."""

    def expanded(found: re.Match[str]) -> str:
        name = found.group()
        return name if name in ENTITY_MEMBERS else reading.context.expand(name)

    return [MEMBER_NAME.sub(expanded, _text(reading, part, field)) for part in _listed(value, field)]


def _format(_reading: Reading, value: Any, field: str) -> str:
    if not isinstance(value, str) or value not in FORMS:
        raise Invalid(f"{field} is no representation", field=field, rule="one of " + ", ".join(FORMS))
    return value


def _join(_reading: Reading, value: Any, field: str) -> str:
    if value not in ("flat", "inline", "@none"):
        raise _fail(field, "flat, inline or @none")
    return str(value)


def _level(_reading: Reading, value: Any, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LEVELS_MAX:
        raise _fail(field, f"a whole number from 1 to {LEVELS_MAX}")
    return value


# -- of its endpoint --------------------------------------------------------------------------------------------------


def _endpoint(reading: Reading, value: Any, field: str) -> dict[str, Any]:
    found = reading.members(value, ENDPOINT, field)
    if "uri" not in found:
        raise Invalid("an endpoint has a uri", field=f"{field}.uri", rule="clause 5.2.15")
    if urlsplit(found["uri"]).scheme.lower() in MQTT_SCHEMES:
        for pair in found.get("notifierInfo", ()):
            known = MQTT_PARAMETERS.get(pair["key"])
            if known is not None and pair["value"] not in known:
                rule = f"{pair['key']}: {', '.join(known)} (clause 7.2)"
                raise Invalid(f"{pair['key']} is none that is known", field=f"{field}.notifierInfo", rule=rule)
    return found


def _endpoint_uri(_reading: Reading, value: Any, field: str) -> str:
    address = check_uri(value, field)
    try:
        parts = urlsplit(address)
        scheme, host, _ = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        raise _fail(field, "an address that can be reached") from None
    if scheme in MQTT_SCHEMES:
        _check_topic(parts.path, field)
        if not host or parts.query or parts.fragment:
            raise _fail(field, "mqtt[s]://[user[:password]@]host[:port]/topic")
    elif scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise _fail(field, "an http or https address without user and password (receiverInfo has them), or an mqtt one")
    return address


def _check_topic(path: str, field: str) -> None:
    topic = unquote(path[1:])
    if not topic or len(topic.encode()) > TOPIC_BYTES or not topic.isprintable() or "+" in topic or "#" in topic:
        raise _fail(field, f"one with a topic to publish to: 1 to {TOPIC_BYTES} bytes without + and #")


def _accept(_reading: Reading, value: Any, field: str) -> str:
    if value not in (JSON, LD_JSON, GEO_JSON):
        raise _fail(field, f"one of {JSON}, {LD_JSON} and {GEO_JSON}")
    return str(value)


MQTT_SCHEMES: Final = ("mqtt", "mqtts")
MQTT_PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    "MQTT-QoS": ("0", "1", "2"),
    "MQTT-Version": ("mqtt3.1.1", "mqtt5.0"),
}
TOPIC_BYTES: Final = 1_024
_HEADER: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_HEADER_TEXT: Final = re.compile(r"[\t -~\u00a0-\u00ff]{0,4096}")
_NOT_TO_BE_SET: Final = frozenset(
    "connection content-length content-type expect host keep-alive link ngsild-tenant proxy-connection te trailer "
    "transfer-encoding upgrade".split()
)


def _receiver_info(reading: Reading, value: Any, field: str) -> list[dict[str, str]]:
    pairs = _pairs(reading, value, field)
    for pair in pairs:
        if not _HEADER.fullmatch(pair["key"]) or not _HEADER_TEXT.fullmatch(pair["value"]):
            raise Invalid("a key or a value cannot stand in a header", field=field, rule="RFC 9110 section 5")
        if pair["key"].lower() in _NOT_TO_BE_SET:
            raise Invalid(f"the header {pair['key']} is set by the platform", field=field, rule="another key")
    return pairs


def _pairs(_reading: Reading, value: Any, field: str) -> list[dict[str, str]]:
    listed = _listed(value, field)
    for part in listed:
        whole = isinstance(part, dict) and part.keys() == {"key", "value"}
        if not whole or not all(isinstance(one, str) for one in part.values()) or len(listed) > PAIRS_MAX:
            raise Invalid("a list of up to 32 {key, value} of texts", field=field, rule="clause 5.2.22")
    return [{"key": part["key"], "value": part["value"]} for part in listed]


# -- the objects ------------------------------------------------------------------------------------------------------


SELECTOR: Final = Kind({"id": _selector_ids, "idPattern": _selector_pattern, "type": _selector_types})
TEMPORAL_QUERY: Final = Kind(
    {
        "timerel": _time_relation,
        "timeAt": _instant_text,
        "endTimeAt": _instant_text,
        "timeproperty": _time_property,
    }
)
GEO_QUERY: Final = Kind({"georel": _text, "geometry": _text, "coordinates": _any, "geoproperty": _name})
ENDPOINT: Final = Kind(
    {
        "uri": _endpoint_uri,
        "accept": _accept,
        "receiverInfo": _receiver_info,
        "notifierInfo": _pairs,
        "timeout": _positive,
        "cooldown": _positive,
    }
)
NOTIFICATION: Final = Kind(
    {
        "attributes": _attributes,
        "pick": _projection,
        "omit": _projection,
        "format": _format,
        "endpoint": _endpoint,
        "sysAttrs": _flag,
        "showChanges": _flag,
        "join": _join,
        "joinLevel": _level,
    },
    ours=frozenset(
        {"status", "timesSent", "timesFailed", "lastNotification", "lastSuccess", "lastFailure", "changesLost"}
    ),
)
SUBSCRIPTION: Final = Kind(
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
        "ngsildConformance": _conformance,
        "csf": _query,
        "temporalQ": _temporal_query,
        "splitEntities": _flag,
    },
    ours=frozenset({"status", "createdAt", "modifiedAt", "@context"}),
)
