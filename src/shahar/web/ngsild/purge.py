"""Purge: DELETE /entities with the selectors of a query deletes what the query finds, or attributes of it.

With NGSILD-EntityMap only entities of that map go; a map that is not there deletes nothing (404).
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
from shahar.model.entity_map import EntityMap
from shahar.services import purge as service
from shahar.values.errors import Invalid
from shahar.web.exchange import Request, Response
from shahar.web.ngsild.distribution import purged, served
from shahar.web.ngsild.mapping import entity_map_header, named_map
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
    held = named_map(request, "entities")
    may = access.may_write(request.actor, request.tenant)
    narrowed = query if held is None else _narrowed(query, held)
    here = _nothing() if narrowed is None else service.purge(
        request.parts.broker, request.tenant, narrowed, wish, may, request.at
    )  # fmt: skip
    good = Response(204, headers=[] if held is None else [entity_map_header(held)])
    if (sources := served(request, local)) is not None:
        among = None if held is None else _asked_of(query, held)
        return await purged(request, sources, query, context, here, good, among)
    await here
    return good


def _narrowed(query: q.Query, held: EntityMap) -> q.Query | None:
    """The question for those alone that the map says were here; None: there are none."""
    ids = tuple(one for one in held.entries if held.held_here(one) and q.selected(query, one))
    return replace(query, ids=ids, id_pattern=None) if ids else None


def _asked_of(query: q.Query, held: EntityMap) -> dict[str, tuple[str, ...]]:
    return held.asked_of([one for one in held.entries if q.selected(query, one)])


async def _nothing() -> None:
    """The map names nothing that was here."""


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
