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
from shahar.values.bounds import PAGE_LIMIT, PAGE_OFFSET
from shahar.values.errors import Invalid, WrongMethod
from shahar.web.exchange import JSON, LD_JSON, LOCATION, Request, Response
from shahar.web.ngsild.negotiate import accepted, check_id, context_of, object_of, reply

ROOT: Final = "/ngsi-ld/v1/csourceSubscriptions"
PAGE: Final = 20


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
    limit = params.number("limit", PAGE, 0, PAGE_LIMIT)
    offset = params.number("offset", 0, 0, PAGE_OFFSET)
    count = params.flag("count")
    sys = _sys(request)
    _done(request)
    kind = accepted(request, JSON, LD_JSON)
    if limit == 0 and not count:
        raise Invalid("a page of 0 asks for nothing but the count", field="limit", rule="1 or more, or count=true")
    context = await context_of(request)
    held, total = await request.parts.registration_subscriptions.page(request.tenant, limit, offset)
    headers = [(b"ngsild-results-count", str(total).encode())] if count else []
    if limit and offset:
        headers.append(_page(limit, max(0, offset - limit), "prev"))
    if limit and offset + limit < total:
        headers.append(_page(limit, offset + limit, "next"))
    shown = [model.told(record, tally, context, request.at, sys=sys) for record, tally in held]
    return reply(request, kind, context, shown, headers)


async def retrieve(request: Request) -> Response:
    """GET /csourceSubscriptions/{id}."""
    subscription_id = _id(request)
    sys = _sys(request)
    _done(request)
    kind = accepted(request, JSON, LD_JSON)
    context = await context_of(request)
    record, tally = await request.parts.registration_subscriptions.get(request.tenant, subscription_id)
    return reply(request, kind, context, model.told(record, tally, context, request.at, sys=sys))


async def update(request: Request) -> Response:
    """PATCH /csourceSubscriptions/{id}."""
    subscription_id = _id(request)
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
    subscription_id = _id(request)
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


def _done(request: Request) -> None:
    request.params.flag("local")
    request.params.done()


def _page(limit: int, offset: int, rel: str) -> tuple[bytes, bytes]:
    """The address of another page; its media type is the one that the official cases want (041_03)."""
    return b"link", f'<{ROOT}?limit={limit}&offset={offset}>;rel="{rel}";type="{LD_JSON}"'.encode()
