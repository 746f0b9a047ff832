"""Subscriptions to registrations: /csourceSubscriptions and /csourceSubscriptions/{id}.

Whoever subscribes reads: besides the right over subscriptions (asked at the door) the right to read the registrations
of every type that is subscribed to is demanded, and of every type where no type is named.
Source: ETSI GS CIM 009 clauses 6.12, 6.13, 5.11.2 to 5.11.6.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from shahar.model import access
from shahar.model.access import Target
from shahar.model.registration import Record
from shahar.model.registration import interest as model
from shahar.web.exchange import JSON, LD_JSON, LOCATION, Request, Response
from shahar.web.ngsild.listing import id_of, sys_of, window_of
from shahar.web.ngsild.negotiate import accepted, context_of, object_of, reply
from shahar.web.ngsild.subscriptions import may_know

ROOT: Final = "/ngsi-ld/v1/csourceSubscriptions"


async def create(request: Request) -> Response:
    """POST /csourceSubscriptions."""
    body = object_of(request)
    _done(request)
    context = await context_of(request, body)
    _guard(request, model.parse(body, context, request.at, new_id="urn:ngsi-ld:Subscription:new"))
    held = request.parts.registration_subscriptions
    made = await held.create(request.tenant, body, context, request.at, request.actor)
    return Response(201, headers=[(LOCATION, f"{ROOT}/{quote(made, safe=':')}".encode())])


async def find(request: Request) -> Response:
    """GET /csourceSubscriptions: a page, oldest first."""
    params = request.params
    window = window_of(params)
    sys = sys_of(request, "subscription")
    _done(request)
    kind = accepted(request, JSON, LD_JSON)
    window.check()
    context = await context_of(request)
    held, total = await request.parts.registration_subscriptions.page(request.tenant, window.limit, window.offset)
    secrets = may_know(request)
    shown = [model.told(record, tally, context, request.at, sys=sys, secrets=secrets) for record, tally in held]
    return reply(request, kind, context, shown, window.headers(request, total, LD_JSON))


async def retrieve(request: Request) -> Response:
    """GET /csourceSubscriptions/{id}."""
    subscription_id = id_of(request, "subscription")
    sys = sys_of(request, "subscription")
    _done(request)
    kind = accepted(request, JSON, LD_JSON)
    context = await context_of(request)
    record, tally = await request.parts.registration_subscriptions.get(request.tenant, subscription_id)
    shown = model.told(record, tally, context, request.at, sys=sys, secrets=may_know(request))
    return reply(request, kind, context, shown)


async def update(request: Request) -> Response:
    """PATCH /csourceSubscriptions/{id}."""
    subscription_id = id_of(request, "subscription")
    _done(request)
    body = object_of(request, patch=True)
    context = await context_of(request, body)

    def check(record: Record) -> None:
        _guard(request, record)

    held = request.parts.registration_subscriptions
    await held.update(request.tenant, subscription_id, body, context, request.at, check, request.actor)
    return Response(204)


async def delete(request: Request) -> Response:
    """DELETE /csourceSubscriptions/{id}."""
    subscription_id = id_of(request, "subscription")
    _done(request)
    await request.parts.registration_subscriptions.delete(request.tenant, subscription_id, request.at)
    return Response(204)


def _guard(request: Request, record: Record) -> None:
    """Refuse a subscription to registrations that the actor may not read."""
    types = model.selected_types(model.compiled(record))
    if not types:
        access.demand(request.actor, Target("read", "registrations", request.tenant))
    for kind in types:
        access.demand(request.actor, Target("read", "registrations", request.tenant, (kind,)))


def _done(request: Request) -> None:
    request.params.flag("local")
    request.params.done()
