"""@contexts that are kept: /jsonldContexts and /jsonldContexts/{id}.

Source: ETSI GS CIM 009 clauses 5.13.2 to 5.13.5, 6.29, 6.30.
"""

from __future__ import annotations

from typing import Any, Final, get_args

from shahar.services.contexts import PLACE, ContextKind, Entry
from shahar.values import instants
from shahar.values.errors import Invalid, Malformed, NotSupported
from shahar.web.exchange import JSON, LD_JSON, Request, Response, json_response
from shahar.web.ngsild.negotiate import accepted, body_of

KINDS: Final[tuple[str, ...]] = get_args(ContextKind)


async def add(request: Request) -> Response:
    """POST /jsonldContexts: host what stands under @context in the body."""
    request.params.done()
    body = body_of(request)
    if not isinstance(body, dict) or "@context" not in body:
        raise Malformed("the body has no @context", field="@context", rule='{"@context": ...}')
    entry = await request.parts.contexts.add(request.tenant, body["@context"], request.at)
    return Response(201, headers=[(b"location", f"{PLACE}{entry.id}".encode())])


async def find(request: Request) -> Response:
    """GET /jsonldContexts: addresses, or with details what is known of each."""
    media = accepted(request, JSON, LD_JSON)
    details, kind = request.params.flag("details"), request.params.take("kind")
    request.params.done()
    if kind is not None and kind not in KINDS:
        raise Invalid(f"{kind!r:.40} is not a kind of @context", field="kind", rule=", ".join(KINDS))
    found = await request.parts.contexts.listed(request.tenant, kind)
    told = [await _told(request, entry) if details else request.parts.contexts.address(entry) for entry in found]
    return json_response(200, told, media)


async def serve(request: Request) -> Response:
    """GET /jsonldContexts/{id}: the context itself, or with details what is known of it; either counts as a use."""
    media = accepted(request, JSON, LD_JSON)
    details = request.params.flag("details")
    request.params.done()
    entry = await request.parts.contexts.find(request.tenant, request.args[0])
    if not details and entry.kind == "Cached":
        raise NotSupported(
            "a copy is not served; ask for it at its own address", field="contextId", rule="clause 5.13.4.4"
        )
    told = await _told(request, entry) if details else {"@context": entry.document}
    entry.use(request.at)
    return json_response(200, told, media)


async def delete(request: Request) -> Response:
    """DELETE /jsonldContexts/{id}; with reload a copy is fetched again instead."""
    reload = request.params.flag("reload")
    request.params.done()
    contexts = request.parts.contexts
    await (contexts.reload if reload else contexts.delete)(request.tenant, request.args[0], request.at)
    return Response(204)


async def _told(request: Request, entry: Entry) -> dict[str, Any]:
    hits, used = await request.parts.contexts.uses(entry)
    told: dict[str, Any] = {
        "URL": request.parts.contexts.address(entry),
        "localId": entry.id,
        "kind": entry.kind,
        "createdAt": instants.text(entry.created),
        "numberOfHits": hits,
    }
    if used is not None:
        told["lastUsage"] = instants.text(used)
    if entry.expires is not None:
        told["expiresAt"] = instants.text(entry.expires)
    return told
