"""Subscriptions: /subscriptions and /subscriptions/{id}.

Whoever subscribes reads: besides the right over subscriptions (asked at the door) the right to read the entities of
every type that is subscribed to is demanded, and the right to read every type where no type is named. It is asked
again when rights change (services/owners).
Source: ETSI GS CIM 009 clauses 6.10, 6.11, 5.8.1 to 5.8.5.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from shahar.model import access
from shahar.model import subscription as model
from shahar.model.access import Target
from shahar.model.subscription import Record
from shahar.values.bounds import PAGE_LIMIT, PAGE_OFFSET
from shahar.values.errors import Invalid, WrongMethod
from shahar.web.exchange import JSON, LD_JSON, Request, Response
from shahar.web.ngsild.negotiate import accepted, check_id, context_of, object_of, reply

ROOT: Final = "/ngsi-ld/v1/subscriptions"
PAGE: Final = 20
LATER: Final = frozenset({"via"})


async def create(request: Request) -> Response:
    """POST /subscriptions."""
    body = object_of(request)
    request.params.flag("local")
    request.params.done(LATER)
    context = await context_of(request, body)
    _guard(request, model.parse(body, context, request.at, new_id="urn:ngsi-ld:Subscription:new"))
    made = await request.parts.subscriptions.create(request.tenant, body, context, request.at, request.actor)
    return Response(201, headers=[(b"location", f"{ROOT}/{quote(made, safe=':')}".encode())])


async def find(request: Request) -> Response:
    """GET /subscriptions: a page, oldest first."""
    params = request.params
    limit = params.number("limit", PAGE, 0, PAGE_LIMIT)
    offset = params.number("offset", 0, 0, PAGE_OFFSET)
    count = params.flag("count")
    sys = _sys(request)
    params.flag("local")
    params.done(LATER)
    kind = accepted(request, JSON, LD_JSON)
    if limit == 0 and not count:
        raise Invalid("a page of 0 asks for nothing but the count", field="limit", rule="1 or more, or count=true")
    context = await context_of(request)
    held, total = await request.parts.subscriptions.page(request.tenant, limit, offset)
    headers = [(b"ngsild-results-count", str(total).encode())] if count else []
    if limit and offset:
        headers.append(_page(request, kind, limit, max(0, offset - limit), "prev"))
    if limit and offset + limit < total:
        headers.append(_page(request, kind, limit, offset + limit, "next"))
    secrets = _may_know(request)
    shown = [model.told(record, tally, context, request.at, sys=sys, secrets=secrets) for record, tally in held]
    return reply(request, kind, context, shown, headers)


async def retrieve(request: Request) -> Response:
    """GET /subscriptions/{id}."""
    subscription_id = _id(request)
    sys = _sys(request)
    request.params.flag("local")
    request.params.done(LATER)
    kind = accepted(request, JSON, LD_JSON)
    context = await context_of(request)
    record, tally = await request.parts.subscriptions.get(request.tenant, subscription_id)
    shown = model.told(record, tally, context, request.at, sys=sys, secrets=_may_know(request))
    return reply(request, kind, context, shown)


async def update(request: Request) -> Response:
    """PATCH /subscriptions/{id}."""
    subscription_id = _id(request)
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
    subscription_id = _id(request)
    request.params.flag("local")
    request.params.done(LATER)
    await request.parts.subscriptions.delete(request.tenant, subscription_id, request.at)
    return Response(204)


def _guard(request: Request, record: Record) -> None:
    """Refuse a subscription to entities that the actor may not read."""
    types = model.types_of(record)
    if not types:
        access.demand(request.actor, Target("read", "entities", request.tenant))
    for kind in types:
        access.demand(request.actor, Target("read", "entities", request.tenant, (kind,)))


def _may_know(request: Request) -> bool:
    """Whether the actor may see what subscriptions tell their endpoints to be let in: whoever may change them."""
    return access.may(request.actor, Target("write", "subscriptions", request.tenant)).allowed


def _id(request: Request) -> str:
    """The id in the address; an address without one is that of all subscriptions, which are not changed at once."""
    if not request.args[0]:
        raise WrongMethod(f"{request.method} is for one subscription; none is named", field="id", rule="GET, POST")
    return check_id(request.args[0])


def _sys(request: Request) -> bool:
    options = request.params.names("options")
    if set(options) - {"sysAttrs"}:
        raise Invalid("subscriptions have the option sysAttrs alone", field="options", rule="sysAttrs")
    return bool(options)


def _page(request: Request, kind: str, limit: int, offset: int, rel: str) -> tuple[bytes, bytes]:
    return b"link", f'<{ROOT}?limit={limit}&offset={offset}>;rel="{rel}";type="{kind}"'.encode()
