"""Entity maps: /entityMaps, /entityMaps/{id} and /temporal/entityMaps.

A map belongs to the actor who had it made, for whom alone it is there; reading is what makes a map, so whoever may read
may also lengthen its life and delete it. It tells of the entities whose types its owner may read now.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.14, 6.32, 6.34, 6.35.
"""

from __future__ import annotations

from shahar.model import access, entity_map
from shahar.model.context import Context
from shahar.model.entity_map import EntityMap
from shahar.model.query import Query
from shahar.services.federation import Federation
from shahar.services.federation.questions import Gathered
from shahar.web.exchange import JSON, LD_JSON, Request, Response
from shahar.web.ngsild.distribution import warnings
from shahar.web.ngsild.mapped import make_map
from shahar.web.ngsild.mapped_past import make_map_of_past
from shahar.web.ngsild.mapping import HEADER, Use
from shahar.web.ngsild.negotiate import LATER, accepted, check_id, context_of, object_of, reply
from shahar.web.ngsild.queries import posted, query_of, wanted_of
from shahar.web.ngsild.temporal import posted_past, wanted_past


async def create(request: Request) -> Response:
    """GET /entityMaps: a map for the question in the address."""
    kind = accepted(request, JSON, LD_JSON)
    context = await context_of(request)
    return await _created(request, kind, context, query_of(request, context))


async def post_create(request: Request) -> Response:
    """POST /entityMaps: a map for the question in the body."""
    kind = accepted(request, JSON, LD_JSON)
    context, query = await posted(request)
    return await _created(request, kind, context, query)


async def _created(request: Request, kind: str, context: Context, query: Query) -> Response:
    _pass_over(request)
    wanted = wanted_of(request, kind, context, query)
    wanted.use.held = None  # a map that the request names says nothing either
    free = access.readable_types(request.actor, "entities", request.tenant) is None
    found = await make_map(
        request, wanted.sources, context, wanted.spread, wanted.order, wanted.use, by_maps=free
    )  # ids without types are for those alone who may read every type
    return _made(request, kind, context, wanted.use, wanted.sources, found)


async def create_past(request: Request) -> Response:
    """GET /temporal/entityMaps: a map for the question about the past in the address."""
    kind = accepted(request, JSON, LD_JSON)
    context = await context_of(request)
    return await _created_past(request, kind, context, query_of(request, context))


async def post_create_past(request: Request) -> Response:
    """POST /temporal/entityMaps: a map for the question about the past in the body."""
    kind = accepted(request, JSON, LD_JSON)
    context, query = await posted_past(request)
    return await _created_past(request, kind, context, query)


async def _created_past(request: Request, kind: str, context: Context, query: Query) -> Response:
    _pass_over(request)
    wanted = wanted_past(request, context, query)
    wanted.use.held = None
    free = access.readable_types(request.actor, "temporal", request.tenant) is None
    found = await make_map_of_past(request, wanted.sources, context, wanted.spread, wanted.use, by_maps=free)
    return _made(request, kind, context, wanted.use, wanted.sources, found)


def _pass_over(request: Request) -> None:
    """Take out what says nothing about a map (5.14.4.3)."""
    for name in ("limit", "offset", "count"):
        request.params.take(name)
    request.headers.pop(HEADER.lower(), None)


def _made(
    request: Request, kind: str, context: Context, use: Use, sources: Federation | None, found: Gathered
) -> Response:
    """The answer that a map was made."""
    headers = use.headers if sources is None else use.headers + warnings(sources, request, found.missing)
    types = access.readable_types(request.actor, use.resource, request.tenant)
    assert use.held is not None
    return reply(request, kind, context, entity_map.document(use.held, types), headers, status=201)


async def retrieve(request: Request) -> Response:
    """GET /entityMaps/{id}."""
    kind = accepted(request, JSON, LD_JSON)
    map_id = check_id(request.args[0])
    context = await context_of(request)
    request.params.done(LATER)
    held = _own(request, map_id)
    types = access.readable_types(request.actor, held.resource, request.tenant)
    return reply(request, kind, context, entity_map.document(held, types))


async def update(request: Request) -> Response:
    """PATCH /entityMaps/{id}: expiresAt alone can be changed."""
    map_id = check_id(request.args[0])
    request.params.done(LATER)
    body = object_of(request, patch=True)
    await context_of(request, body)
    held = _own(request, map_id)
    ends = entity_map.changed_end(body, map_id, request.at)
    if ends is not None:
        held.expires_at = ends
    return Response(204)


async def delete(request: Request) -> Response:
    """DELETE /entityMaps/{id}."""
    map_id = check_id(request.args[0])
    request.params.done(LATER)
    request.parts.entity_maps.drop(_own(request, map_id))
    return Response(204)


def _own(request: Request, map_id: str) -> EntityMap:
    """The actor's own map, when the actor may still read what it is about. NotFound, Forbidden."""
    held = request.parts.entity_maps.get(map_id, request.tenant, request.actor.id, request.at)
    access.demand(request.actor, access.Target("read", held.resource, request.tenant, door=True))
    return held
