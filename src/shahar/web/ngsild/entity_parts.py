"""One entity out of what is here and what sources told of it, and what is here of entities that sources know.

Promises: what is here is narrowed by the question to what the actor may read; a tenant that was never made has nothing.
Source: ETSI GS CIM 009 V1.9.1 clauses 4.3.6.7, 4.5.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from shahar.model import access
from shahar.model import query as q
from shahar.model.entity import Doc
from shahar.model.federation import merged, supplemented
from shahar.services.broker import Page
from shahar.services.federation.questions import Gathered
from shahar.values.errors import NoTenant
from shahar.values.instants import Instant
from shahar.web.exchange import Request

IDS_AT_ONCE: Final = 500

Headers = list[tuple[bytes, bytes]]


def reads(request: Request, types: Sequence[str]) -> bool:
    """Whether the actor may read an entity of these types."""
    target = access.Target("read", "entities", request.tenant, tuple(types))
    return access.may(request.actor, target).allowed


def together(doc: Doc | None, found: Gathered, entity_id: str, now: Instant) -> Doc | None:
    """One entity out of what is here and what sources know of it."""
    equal = ([doc] if doc is not None else []) + found.equal.get(entity_id, [])
    return supplemented(merged(equal, now), found.extra.get(entity_id, ()), now)


async def known_here(request: Request, query: q.Query, ids: Sequence[str]) -> dict[str, Doc]:
    """What is here of the entities that sources know, as far as the actor may read it."""
    found: dict[str, Doc] = {}
    for start in range(0, len(ids), IDS_AT_ONCE):
        some = q.Query(ids=tuple(ids[start : start + IDS_AT_ONCE]), types=query.types)
        page = await find_here(request, some, IDS_AT_ONCE, 0, False)
        found |= {doc["id"]: doc for doc in page.docs}
    return found


async def find_here(request: Request, query: q.Query, limit: int, offset: int, count: bool) -> Page:
    """A page of what is found here, in the order of creation."""
    try:
        return await request.parts.broker.find(
            request.tenant, query, limit=limit, offset=offset, count=count, at=request.at
        )
    except NoTenant:
        return Page(total=0 if count else None)


async def docs_here(request: Request, query: q.Query) -> dict[str, Doc]:
    """What is here of the entities that a question names by id."""
    page = await find_here(request, query, len(query.ids), 0, False)
    return {doc["id"]: doc for doc in page.docs}


async def matching_here(request: Request, query: q.Query, here: Mapping[str, Doc]) -> set[str]:
    """Those of the entities here that match by themselves."""
    if not q.linked_depth(query.q):
        return {one for one, doc in here.items() if q.matches(query, doc)}
    found: set[str] = set()
    ids = [one for one in here if q.selected(query, one)]
    for start in range(0, len(ids), IDS_AT_ONCE):
        some = replace(query, ids=tuple(ids[start : start + IDS_AT_ONCE]), id_pattern=None)
        found |= (await docs_here(request, some)).keys()
    return found
