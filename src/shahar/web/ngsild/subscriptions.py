"""Subscriptions: /subscriptions and /subscriptions/{id}.

Whoever subscribes reads: besides the right over subscriptions (asked at the door) the right to read the entities of
every type that is subscribed to is demanded, and the right to read every type where no type is named. It is asked
again when rights change (services/owners). `local=true` at the creation keeps a subscription from other sources; those
that it is forwarded to follow what is changed later.
Source: ETSI GS CIM 009 clauses 6.10, 6.11, 5.8.1 to 5.8.5.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from shahar.model import access
from shahar.model import subscription as model
from shahar.model.access import Target
from shahar.model.subscription import Record
from shahar.services.federation import via_of
from shahar.values.bounds import FORWARDED_HOPS
from shahar.values.errors import PeerLooped
from shahar.web.exchange import JSON, LD_JSON, Request, Response
from shahar.web.ngsild.listing import id_of, sys_of, window_of
from shahar.web.ngsild.negotiate import accepted, context_of, object_of, reply

ROOT: Final = "/ngsi-ld/v1/subscriptions"
LATER: Final = frozenset({"via"})


async def create(request: Request) -> Response:
    """POST /subscriptions."""
    body = object_of(request)
    local = request.params.flag("local")
    request.params.done(LATER)
    context = await context_of(request, body)
    _guard(request, model.parse(body, context, request.at, new_id="urn:ngsi-ld:Subscription:new"))
    origin = _origin(request, local)
    made = await request.parts.subscriptions.create(
        request.tenant, body, context, request.at, request.actor, origin=origin
    )
    return Response(201, headers=[(b"location", f"{ROOT}/{quote(made, safe=':')}".encode())])


async def find(request: Request) -> Response:
    """GET /subscriptions: a page, oldest first."""
    params = request.params
    window = window_of(params)
    sys = sys_of(request, "subscription")
    params.flag("local")
    params.done(LATER)
    kind = accepted(request, JSON, LD_JSON)
    window.check()
    context = await context_of(request)
    held, total = await request.parts.subscriptions.page(request.tenant, window.limit, window.offset)
    secrets = may_know(request)
    shown = [model.told(record, tally, context, request.at, sys=sys, secrets=secrets) for record, tally in held]
    return reply(request, kind, context, shown, window.headers(request, total, kind))


async def retrieve(request: Request) -> Response:
    """GET /subscriptions/{id}."""
    subscription_id = id_of(request, "subscription")
    sys = sys_of(request, "subscription")
    request.params.flag("local")
    request.params.done(LATER)
    kind = accepted(request, JSON, LD_JSON)
    context = await context_of(request)
    record, tally = await request.parts.subscriptions.get(request.tenant, subscription_id)
    shown = model.told(record, tally, context, request.at, sys=sys, secrets=may_know(request))
    return reply(request, kind, context, shown)


async def update(request: Request) -> Response:
    """PATCH /subscriptions/{id}."""
    subscription_id = id_of(request, "subscription")
    request.params.flag("local")
    request.params.done(LATER)
    body = object_of(request, patch=True)
    context = await context_of(request, body)
    await request.parts.subscriptions.update(
        request.tenant,
        subscription_id,
        body,
        context,
        request.at,
        lambda record: _guard(request, record),
        request.actor,
    )
    return Response(204)


async def delete(request: Request) -> Response:
    """DELETE /subscriptions/{id}."""
    subscription_id = id_of(request, "subscription")
    request.params.flag("local")
    request.params.done(LATER)
    await request.parts.subscriptions.delete(request.tenant, subscription_id, request.at)
    return Response(204)


def _origin(request: Request, local: bool) -> dict[str, Any]:
    """How a subscription came, where that matters: for here alone, or through other brokers. PeerLooped when it was
    here before: what it would tell is what it is told (4.3.6.4)."""
    passed = request.headers.get("via", "")
    sources = via_of(passed)
    alias = request.parts.identity.alias(request.tenant)
    if alias in sources:
        raise PeerLooped(f"the subscription has passed {alias} before", field="Via", rule="clause 6.3.18")
    if local or len(sources) >= FORWARDED_HOPS:
        return {"local": True}
    return {"via": passed} if sources else {}


def _guard(request: Request, record: Record) -> None:
    """Refuse a subscription to entities that the actor may not read."""
    types = model.types_of(record)
    if not types:
        access.demand(request.actor, Target("read", "entities", request.tenant))
    for kind in types:
        access.demand(request.actor, Target("read", "entities", request.tenant, (kind,)))


def may_know(request: Request) -> bool:
    """Whether the actor may see what subscriptions tell their endpoints to be let in: whoever may change them."""
    return access.may(request.actor, Target("write", "subscriptions", request.tenant)).allowed
