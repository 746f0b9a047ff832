"""The members of a registration's body: which there are, what each may be, and how each is kept.

The table at the end is the standard's CSourceRegistration, one reader for each member. What is no member of the
standard is a property of the source's own (clause 4.9: a context source filter may ask for it).

Promises: a reader raises Invalid or TooLarge naming the member, and nothing else whatever JSON it is given.
Does not: ask what members must be to each other (record).
Source: ETSI GS CIM 009 V1.9.1 clauses 5.2.8 to 5.2.11, 5.2.22, 5.2.34, 4.3.6.5, 4.3.6.6, 4.20.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from shahar.model import query as q
from shahar.model.context import Context
from shahar.model.entity import check_uri
from shahar.model.registration.forms import INSTRUCTIONS, MODES, listed
from shahar.model.registration.operations import GROUPS, OPERATIONS
from shahar.values import instants, places
from shahar.values.bounds import ENTITY_SCOPES, ID_CHARS, QUERY_NAMES, REGISTRATION_INFORMATION
from shahar.values.errors import Invalid, TooLarge
from shahar.values.instants import Instant
from shahar.values.names import check_tenant

RULE: Final = "ETSI GS CIM 009 clause 5.2.9"
TEXT_MAX: Final = 4_096
PAIRS_MAX: Final = 32
MILLISECONDS_MAX: Final = 86_400_000
TYPE: Final = "ContextSourceRegistration"
_Take = Callable[[Context, Any, str], Any]
"""Checks a member's value and gives it as it is kept; the text is the member's place in the body, for messages."""


def members(context: Context, given: Any, table: Mapping[str, _Take], field: str) -> dict[str, Any]:
    """Each member of an object by its own reader; a null is as if it were not there (JSON-LD 1.1, 9.2)."""
    if not isinstance(given, dict):
        raise Invalid(f"{field} is a JSON object", field=field, rule=RULE)
    found: dict[str, Any] = {}
    for name, value in given.items():
        path = f"{field}.{name}"
        if value is None:
            continue
        if name not in table:
            raise Invalid(f"{path[:80]!r} is not known", field=path[:80], rule="one of " + ", ".join(table))
        found[name] = table[name](context, value, path)
    return found


def _fail(field: str, what: str, rule: str = RULE) -> Invalid:
    return Invalid(f"{field} is {what}", field=field, rule=rule)


# -- readers of more than one member ----------------------------------------------------------------------------------


def _text(_context: Context, value: Any, field: str) -> str:
    if not isinstance(value, str) or not value or len(value) > TEXT_MAX or "\0" in value:
        raise _fail(field, f"a text of 1 to {TEXT_MAX} characters")
    return value


def _flag(_context: Context, value: Any, field: str) -> bool:
    if not isinstance(value, bool):
        raise _fail(field, "true or false")
    return value


def _milliseconds(_context: Context, value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise _fail(field, "a number above 0")
    if value > MILLISECONDS_MAX:
        raise _fail(field, "a number of milliseconds of at most a day")
    return value


def _moment(_context: Context, value: Any, field: str) -> Instant:
    return instants.parse(value, field)


def _duration(context: Context, value: Any, field: str) -> str:
    text = _text(context, value, field)
    instants.parse_duration_s(text, field)
    return text


def _geometry(_context: Context, value: Any, field: str) -> dict[str, Any]:
    if isinstance(value, dict) and value.get("type") == "GeoProperty":
        value = value.get("value")
    return places.geometry(value, field)


def _several(value: Any, field: str, most: int = QUERY_NAMES) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise _fail(field, "a list with at least one")
    if len(value) > most:
        raise TooLarge(f"{field} is too long", field=field, rule=f"at most {most}")
    return value


# -- of a registration ------------------------------------------------------------------------------------------------


def identifier(value: Any, field: str = "id") -> str:
    """The id of a registration; Invalid."""
    if isinstance(value, str) and len(value) > ID_CHARS:
        raise _fail(field, f"at most {ID_CHARS} characters long")
    return check_uri(value, field)


def check_type(value: Any, field: str = "type") -> None:
    """Invalid when this is not the type of a registration."""
    if value not in (TYPE, [TYPE]):
        raise _fail(field, TYPE)


def _endpoint(_context: Context, value: Any, field: str) -> str:
    address = check_uri(value, field)
    try:
        parts = urlsplit(address)
        scheme, host, _ = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        raise _fail(field, "an address that can be reached") from None
    if scheme not in ("http", "https") or not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise _fail(field, "an http or https address without user, password (contextSourceInfo has them) and query")
    return address


def _mode(_context: Context, value: Any, field: str) -> str:
    if not isinstance(value, str) or value not in MODES:
        raise Invalid(f"{field} is no mode", field=field, rule="one of " + ", ".join(MODES))
    return value


def _operations(_context: Context, value: Any, field: str) -> list[str]:
    for name in _several(value, field):
        if not isinstance(name, str) or (name not in OPERATIONS and name not in GROUPS):
            raise Invalid(f"{name!r:.60} is no operation", field=field, rule="ETSI GS CIM 009 clause 4.20")
    return list(dict.fromkeys(value))


_ALIAS: Final = re.compile(r"[!-+\--~]{1,256}", re.ASCII)


def _alias(_context: Context, value: Any, field: str) -> str:
    if not isinstance(value, str) or not _ALIAS.fullmatch(value):
        raise _fail(field, "a pseudonym without blanks and commas", "RFC 7230 section 5.7.1")
    return value


def _tenant(_context: Context, value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise _fail(field, "the name of a tenant")
    check_tenant(value, field)
    return value


_SCOPE: Final = re.compile(r"/?[^\W\d_]\w*(/[^\W\d_]\w*)*")


def _scopes(_context: Context, value: Any, field: str) -> Any:
    for scope in _several(listed(value), field, ENTITY_SCOPES):
        if not isinstance(scope, str) or not _SCOPE.fullmatch(scope):
            raise _fail(field, "a scope such as /Madrid/Gardens", "ETSI GS CIM 009 clause 4.18")
    return value


def _datasets(_context: Context, value: Any, field: str) -> list[str]:
    return [part if part == "@none" else check_uri(part, field) for part in _several(value, field)]


def _interval(context: Context, value: Any, field: str) -> dict[str, Any]:
    found = members(context, value, {"startAt": _moment, "endAt": _moment}, field)
    if "startAt" not in found:
        raise Invalid(f"{field} has a start", field=f"{field}.startAt", rule="ETSI GS CIM 009 clause 5.2.11")
    if found.get("endAt", found["startAt"]) < found["startAt"]:
        raise Invalid(f"{field} ends before it starts", field=f"{field}.endAt", rule="startAt before endAt")
    return found


def _management(context: Context, value: Any, field: str) -> dict[str, Any]:
    table: dict[str, _Take] = {
        "localOnly": _flag, "timeout": _milliseconds, "cooldown": _milliseconds, "cacheDuration": _duration,
    }  # fmt: skip
    return members(context, value, table, field)


# -- of its information -----------------------------------------------------------------------------------------------


def _information(context: Context, value: Any, field: str) -> list[dict[str, Any]]:
    found = []
    for index, part in enumerate(_several(value, field, REGISTRATION_INFORMATION)):
        read = members(context, part, _INFORMATION, f"{field}[{index}]")
        if not read:
            raise _fail(f"{field}[{index}]", "entities, propertyNames or relationshipNames", "clause 5.2.10")
        found.append(read)
    return found


def _entities(context: Context, value: Any, field: str) -> list[dict[str, Any]]:
    return [_entity(context, part, f"{field}[{index}]") for index, part in enumerate(_several(value, field))]


def _entity(context: Context, value: Any, field: str) -> dict[str, Any]:
    """An EntityInfo. One with an id or a pattern may lack a type, as the official interoperability cases send it."""
    found = members(context, value, _ENTITY, field)
    if not found:
        raise _fail(field, "a type, an id or an idPattern", "clause 5.2.8")
    return found


def _id(_context: Context, value: Any, field: str) -> str:
    return identifier(value, field)


def _pattern(context: Context, value: Any, field: str) -> str:
    text = _text(context, value, field)
    q.parse_id_pattern(text, field=field)
    return text


def _types(context: Context, value: Any, field: str) -> Any:
    return _names(context, value, field) if isinstance(value, list) else _name(context, value, field)


def _names(context: Context, value: Any, field: str) -> list[str]:
    return [_name(context, name, field) for name in _several(value, field)]


def _name(context: Context, value: Any, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise _fail(field, "a name")
    return context.expand(value)


_ENTITY: Final[Mapping[str, _Take]] = {"id": _id, "idPattern": _pattern, "type": _types}
_INFORMATION: Final[Mapping[str, _Take]] = {
    "entities": _entities, "propertyNames": _names, "relationshipNames": _names,
}  # fmt: skip

# -- of its contextSourceInfo -----------------------------------------------------------------------------------------

_HEADER: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_HEADER_TEXT: Final = re.compile(r"[\t -~\u00a0-\u00ff]{0,4096}")
_VERSION: Final = re.compile(r"\d{1,3}\.\d{1,3}", re.ASCII)
_MEDIA: Final = ("application/json", "application/ld+json")
_INFO_RULE: Final = "ETSI GS CIM 009 clause 4.3.6.6"


def _source_info(_context: Context, value: Any, field: str) -> list[dict[str, str]]:
    found = []
    for part in _several(value, field, PAIRS_MAX):
        whole = isinstance(part, dict) and part.keys() == {"key", "value"}
        if not whole or not all(isinstance(one, str) for one in part.values()):
            raise Invalid("a list of {key, value} of texts", field=field, rule="ETSI GS CIM 009 clause 5.2.22")
        if not _HEADER.fullmatch(part["key"]) or not _HEADER_TEXT.fullmatch(part["value"]):
            raise Invalid("a key or a value cannot stand in a header", field=field, rule="RFC 9110 section 5")
        if part["key"].lower() == "ngsild-tenant":
            raise Invalid("the tenant is a member of its own", field=field, rule="ETSI GS CIM 009 clause 4.3.6.5")
        if part["key"].lower() in INSTRUCTIONS:
            _check_instruction(part["key"].lower(), part["value"], field)
        found.append({"key": part["key"], "value": part["value"]})
    return found


def _check_instruction(key: str, value: str, field: str) -> None:
    if key in ("accept", "contenttype") and value not in _MEDIA:
        raise _fail(f"{field} {key}", "one of " + ", ".join(_MEDIA), _INFO_RULE)
    if key == "jsonldcontext" and not check_uri(value, field).startswith(("http://", "https://")):
        raise _fail(f"{field} {key}", "an address that can be read", _INFO_RULE)
    if key == "ngsildconformance" and not _VERSION.fullmatch(value):
        raise _fail(f"{field} {key}", "a version such as 1.8", _INFO_RULE)


REGISTRATION: Final[Mapping[str, _Take]] = {
    "registrationName": _text,
    "description": _text,
    "information": _information,
    "endpoint": _endpoint,
    "mode": _mode,
    "operations": _operations,
    "contextSourceInfo": _source_info,
    "contextSourceAlias": _alias,
    "hostAlias": _alias,
    "tenant": _tenant,
    "scope": _scopes,
    "datasetId": _datasets,
    "location": _geometry,
    "observationSpace": _geometry,
    "operationSpace": _geometry,
    "observationInterval": _interval,
    "managementInterval": _interval,
    "management": _management,
    "refreshRate": _duration,
    "expiresAt": _moment,
}
READ_ONLY: Final = frozenset(
    {"status", "timesSent", "timesFailed", "lastSuccess", "lastFailure", "createdAt", "modifiedAt", "@context"}
)
"""Members that only we write; given ones are ignored (5.2.9)."""
