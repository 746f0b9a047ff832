"""The HTTP form of calls to context sources and of their replies.

Promises
- What is sent: the operation's own method and address below the endpoint, names in the terms of the call, the tenant
  that the registration names (never ours), Via with our alias at its end, and the headers that contextSourceInfo asks
  for. Nothing of the triggering request is sent unless contextSourceInfo asks for it by name, and its credentials
  (`CREDENTIALS`) not even then: whoever registers a source must not collect the keys of those who ask.
- What comes back: a Reply for what was done, the caller's fault where the source found one, PeerFailed for the rest. No
  text of a source is passed on but the title and detail of a problem document, cut to a sentence.
Does not: open sockets; know what an answer's entities mean.
Source: ETSI GS CIM 009 V1.9.1 clauses 6.4 to 6.23, 6.3.5, 6.3.14, 6.3.17, 6.3.18, 4.3.6.5, 4.3.6.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from shahar.model.context import WHOLE
from shahar.model.entity_map import named
from shahar.model.federation import conformed, recast, recast_part
from shahar.services.federation.calls import Call, Reply
from shahar.values import instants
from shahar.values.errors import Conflict, Exists, Invalid, NotFound, PeerFailed, PeerLooped, PeerSilent, ShaharError
from shahar.values.instants import Instant

JSON: Final = "application/json"
LD_JSON: Final = "application/ld+json"
LINK_REL: Final = "http://www.w3.org/ns/json-ld#context"
ROOT: Final = "/ngsi-ld/v1"
CREDENTIALS: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-auth-token", "x-api-key"})
_LINK: Final = re.compile(r'<([^<>]*)>\s*;[^,]*rel="?' + re.escape(LINK_REL))
_MOMENT: Final = r"\d{4}-\d\d-\d\dT[\d:.,]+(?:Z|[+-]\d\d:?\d\d)?"
_RANGE: Final = re.compile(rf"(?:date-?time)\s+({_MOMENT})-({_MOMENT})/.*", re.ASCII | re.IGNORECASE)
_PASTS: Final = frozenset({"retrieveTemporal", "queryTemporal"})
PART: Final = 10_000
"""Instances of a past that a source is asked to tell at once."""
_SAFE: Final = ":@!$&'()*+,;=~"
_TEXT_CHARS: Final = 300

_ENTITY: Final = "/entities/{id}"
_FORMS: Final[Mapping[str, tuple[str, str]]] = {
    "createEntity": ("POST", "/entities"),
    "updateEntity": ("PATCH", f"{_ENTITY}/attrs"),
    "appendAttrs": ("POST", f"{_ENTITY}/attrs"),
    "updateAttrs": ("PATCH", f"{_ENTITY}/attrs/{{attr}}"),
    "replaceAttrs": ("PUT", f"{_ENTITY}/attrs/{{attr}}"),
    "deleteAttrs": ("DELETE", f"{_ENTITY}/attrs/{{attr}}"),
    "deleteEntity": ("DELETE", _ENTITY),
    "mergeEntity": ("PATCH", _ENTITY),
    "replaceEntity": ("PUT", _ENTITY),
    "purgeEntity": ("DELETE", "/entities"),
    "createBatch": ("POST", "/entityOperations/create"),
    "upsertBatch": ("POST", "/entityOperations/upsert"),
    "updateBatch": ("POST", "/entityOperations/update"),
    "mergeBatch": ("POST", "/entityOperations/merge"),
    "deleteBatch": ("POST", "/entityOperations/delete"),
    "retrieveEntity": ("GET", _ENTITY),
    "queryEntity": ("GET", "/entities"),
    "queryBatch": ("POST", "/entityOperations/query"),
    "retrieveTemporal": ("GET", "/temporal/entities/{id}"),
    "queryTemporal": ("GET", "/temporal/entities"),
    "createEntityMapQueryEntity": ("GET", "/entityMaps"),
    "createEntityMapQueryTemporal": ("GET", "/temporal/entityMaps"),
    "retrieveEntityTypes": ("GET", "/types"),
    "retrieveEntityTypeDetails": ("GET", "/types"),
    "retrieveEntityTypeInfo": ("GET", "/types/{attr}"),
    "retrieveAttrTypes": ("GET", "/attributes"),
    "retrieveAttrTypeDetails": ("GET", "/attributes"),
    "retrieveAttrTypeInfo": ("GET", "/attributes/{attr}"),
    "createSubscription": ("POST", "/subscriptions"),
    "updateSubscription": ("PATCH", "/subscriptions/{id}"),
    "retrieveSubscription": ("GET", "/subscriptions/{id}"),
    "deleteSubscription": ("DELETE", "/subscriptions/{id}"),
}
_NAMED: Final = frozenset(
    "retrieveEntity queryEntity retrieveTemporal queryTemporal "
    "createEntityMapQueryEntity createEntityMapQueryTemporal".split()
)
"""Operations whose share is told in the address: which types, ids, attributes."""
_UNTYPED: Final = frozenset({"retrieveTemporal"})
"""Of these, those that know no selection of types (6.19.3.1)."""
_WHOLE: Final = frozenset(
    "createEntity replaceEntity updateEntity appendAttrs mergeEntity "
    "createBatch upsertBatch updateBatch mergeBatch".split()
)
"""Operations whose body is an entity or a fragment of one, which can be told as an earlier version would."""
_WORDED: Final = frozenset({"createSubscription", "updateSubscription"})
"""Operations whose body is in the words of the source already (services/forwarded)."""

_PART: Final = frozenset({"updateAttrs", "replaceAttrs"})
"""Operations whose body is a fragment of one attribute."""


@dataclass(frozen=True, slots=True)
class Form:
    """A call as HTTP."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes | None


def form(call: Call) -> Form:
    """The call as HTTP."""
    method, path = _FORMS[call.operation]
    name = _namer(call)
    path = path.format(id=quote(call.entity_id, safe=_SAFE), attr=quote(name(call.attr), safe=_SAFE))
    params = _params(call, name)
    url = _endpoint(call.share.registration.endpoint) + path
    if params:
        url += "?" + urlencode(params, safe=_SAFE + "/")
    body = _body(call, name)
    return Form(method, url, _headers(call, body is not None), None if body is None else orjson.dumps(body))


def _endpoint(given: str) -> str:
    """The address below which the API stands: an endpoint tells it with or without its root (5.2.9 leaves it open)."""
    bare = given.rstrip("/")
    return bare if bare.endswith(ROOT) else bare + ROOT


def _namer(call: Call) -> Callable[[str], str]:
    """What an IRI is called outside a body."""
    return (lambda iri: iri) if call.terms.inline is not None else call.terms.context.compact


def _params(call: Call, name: Callable[[str], str]) -> list[tuple[str, str]]:
    share = call.share
    found: list[tuple[str, str]] = []
    if call.operation in _NAMED:
        found += _selection(call, name)
    elif call.operation == "purgeEntity":
        return _purged(call, name)
    elif call.unsure and share.types and "type" not in dict(call.flags):
        found.append(("type", ",".join(map(name, share.types))))
    found += call.flags
    if call.limit:
        found.append(("limit", str(call.limit)))
    if call.offset:
        found.append(("offset", str(call.offset)))
    if share.registration.management.local_only:
        found.append(("local", "true"))
    return found


def _purged(call: Call, name: Callable[[str], str]) -> list[tuple[str, str]]:
    """Which entities are to be deleted: of those asked for, the ones that the source registered. An exclusive source
    gets the question as it came, for official case D017_01_exc wants it so."""
    if call.share.registration.mode == "exclusive":
        return list(call.flags)
    narrowed = [one for one in _selection(call, name) if one[0] != "attrs"]
    named = {one[0] for one in narrowed}
    return narrowed + [one for one in call.flags if one[0] not in named]


def _selection(call: Call, name: Callable[[str], str]) -> list[tuple[str, str]]:
    share = call.share
    found = [("type", ",".join(map(name, share.types)))] if share.types and call.operation not in _UNTYPED else []
    if share.ids and not call.entity_id:
        found.append(("id", ",".join(share.ids)))
    if share.id_pattern and not call.entity_id:
        found.append(("idPattern", share.id_pattern))
    if share.attrs:
        found.append(("attrs", ",".join(sorted(map(name, share.attrs)))))
    return found


def _body(call: Call, name: Callable[[str], str]) -> Any:
    terms = call.terms
    if call.operation == "queryBatch":
        document = _query(call, name)
    elif call.document is None:
        return None
    else:
        document = _for_source(call)
    if not _inline(call):
        return document
    context = terms.inline if terms.inline is not None else terms.link or None
    if context is None:
        return document
    if isinstance(document, list):
        return [{**one, "@context": context} if isinstance(one, dict) else one for one in document]
    return {**document, "@context": context}


def _for_source(call: Call) -> Any:
    """The body in the version and the words of the standard that the source understands (4.3.6.6)."""
    document, version = call.document, call.share.registration.instruction("ngsildConformance")
    if call.operation in _WORDED:
        return document
    if version and call.operation in _WHOLE:
        document = conformed(document, call.origin.context, version)
    old, new = call.origin.context, call.terms.context
    if old is new:
        if old.plain:
            return document
        new = WHOLE  # the source need not read scoped contexts (5.5.7)
    return recast_part(document, call.attr, old, new) if call.operation in _PART else recast(document, old, new)


def _query(call: Call, name: Callable[[str], str]) -> dict[str, Any]:
    """The question as a Query document (5.2.23)."""
    share = call.share
    base = {"type": ",".join(map(name, share.types))} if share.types else {}
    if share.id_pattern:
        base["idPattern"] = share.id_pattern
    selectors = [{**base, "id": one} for one in share.ids] or ([base] if base else [])
    document: dict[str, Any] = {"type": "Query"}
    if selectors:
        document["entities"] = selectors
    if share.attrs:
        document["attrs"] = sorted(map(name, share.attrs))
    return document


def _inline(call: Call) -> bool:
    """Whether the @context stands in the body: it has no address, or the source wants it so (4.3.6.6)."""
    return call.terms.inline is not None or call.share.registration.instruction("contentType") == LD_JSON


def _headers(call: Call, with_body: bool) -> list[tuple[str, str]]:
    registration = call.share.registration
    asked = registration.headers({k: v for k, v in call.origin.headers.items() if k not in CREDENTIALS})
    set_here = {"accept", "content-type", "link", "via", "ngsild-tenant", "ngsild-entitymap"}
    found = [(key, value) for key, value in asked if key.lower() not in set_here]
    found.append(("Accept", registration.instruction("accept") or JSON))
    inline = with_body and _inline(call)
    if with_body:
        found.append(("Content-Type", LD_JSON if inline and (call.terms.inline or call.terms.link) else JSON))
    if call.terms.link and not inline:
        found.append(("Link", f'<{call.terms.link}>; rel="{LINK_REL}"; type="{LD_JSON}"'))
    found.append(("Via", f"{call.origin.via}, 1.1 {call.alias}" if call.origin.via else f"1.1 {call.alias}"))
    if registration.tenant:
        found.append(("NGSILD-Tenant", registration.tenant))
    if call.operation in _PASTS and all(key.lower() != "prefer" for key, _ in found):
        found.append(("Prefer", f"maxpagesize={PART}"))
    if call.entity_map:
        found.append(("NGSILD-EntityMap", call.entity_map))
    return found


# -- replies ----------------------------------------------------------------------------------------------------------

_PARTLY: Final = frozenset({206, 207})
_FAULTS: Final[Mapping[int, type[ShaharError]]] = {
    400: Invalid,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    408: PeerSilent,
    504: PeerSilent,
    508: PeerLooped,
}


def reply(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
    """What the source says; raises what it says against it."""
    if not 200 <= status < 300:
        fault = _FAULTS.get(status, PeerFailed)
        if fault is Conflict and call.operation in {"createEntity", "createSubscription"}:
            fault = Exists
        raise fault(_told(call, status, body))
    document: Any = None
    if body.strip():
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            if call.operation in _NAMED or call.operation == "queryBatch":
                raise PeerFailed(f"registration {call.key[1]}: the answer is not JSON") from None
    found = _LINK.search(headers.get("link", ""))
    kind: Any = "created" if status == 201 else "partly" if status in _PARTLY else "done"
    return Reply(
        kind,
        document,
        found.group(1) if found else None,
        named(headers.get("ngsild-entitymap", "").strip()),
        _reach(headers),
        headers.get("location", ""),
    )


def _reach(headers: Mapping[str, str]) -> tuple[Instant, Instant] | None:
    """From when to when a part of a past goes (6.3.10)."""
    found = _RANGE.fullmatch(headers.get("content-range", "").strip())
    try:
        return (instants.parse(found[1]), instants.parse(found[2])) if found else None
    except Invalid:
        return None


def _told(call: Call, status: int, body: bytes) -> str:
    """A sentence about a refusal: the source's own problem document, if it sent one."""
    try:
        problem = orjson.loads(body)
        words = [problem[key] for key in ("title", "detail") if isinstance(problem.get(key), str)]
    except (orjson.JSONDecodeError, AttributeError, KeyError):
        words = []
    said = ": ".join(words) or "it gave no reason"
    return f"the source of registration {call.key[1]} answered with status {status}: {said:.{_TEXT_CHARS}}"
