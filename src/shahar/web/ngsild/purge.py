"""Purge: DELETE /entities with the selectors of a query deletes what the query finds, or attributes of it.

`drop` names the attributes that go, `keep` those that stay; with neither whole entities go. `scope` may be dropped too.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.6.21, 6.4.3.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from shahar.model import access, projection
from shahar.model import query as q
from shahar.model.change import Change, Kind
from shahar.model.context import Context
from shahar.model.entity import Doc
from shahar.services import purge as service
from shahar.values.errors import Invalid
from shahar.web.exchange import Request, Response
from shahar.web.ngsild.distribution import purged, served
from shahar.web.ngsild.negotiate import LATER, context_of
from shahar.web.ngsild.queries import check_selective, query_of

RULE: Final = "ETSI GS CIM 009 clause 5.6.21"


async def purge(request: Request) -> Response:
    """DELETE /entities."""
    params = request.params
    context = await context_of(request)
    query = replace(query_of(request, context), attrs=_attributes(params.names("attrs"), context))
    wish = _wish(params.take("drop"), params.take("keep"), context)
    params.take("geometryProperty")
    local = params.flag("local")
    params.done(LATER)
    if q.linked_depth(query.q):
        raise Invalid("q asks about linked entities", field="q", rule=f"{RULE}: the entity's own attributes")
    if not local:
        check_selective(query)
    may = access.may_write(request.actor, request.tenant)
    here = service.purge(request.parts.broker, request.tenant, query, wish, may, request.at)
    if (sources := served(request, local)) is not None:
        return await purged(request, sources, query, context, here)
    await here
    return Response(204)


def _wish(drop: str | None, keep: str | None, context: Context) -> Callable[[str], Change]:
    """What is to be done to each entity, by its id."""
    if drop is not None and keep is not None:
        raise Invalid("drop and keep cannot stand together", field="keep", rule=f"{RULE}: one of both")
    if drop is not None:
        return _strip("drop", projection.members(drop, "drop", context.expand))
    if keep is not None:
        return _strip("keep", projection.members(keep, "keep", context.expand))
    return lambda entity_id: Change("delete", entity_id)


def _strip(kind: Kind, names: frozenset[str]) -> Callable[[str], Change]:
    if kind == "drop" and not names.isdisjoint({"id", "type"}):
        raise Invalid("id and type cannot be dropped", field="drop", rule="names of attributes")
    fragment: Doc = {"attrs": {name: [] for name in names - projection.MEMBERS}}
    if "scope" in names:
        fragment["scope"] = []
    return lambda entity_id: Change(kind, entity_id, fragment)


def _attributes(names: list[str], context: Context) -> tuple[str, ...]:
    if not projection.MEMBERS.isdisjoint(names):
        raise Invalid("id, type and scope are no attributes", field="attrs", rule="names of attributes")
    return tuple(map(context.expand, names))
