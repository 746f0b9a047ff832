"""Reads that registered context sources take part in: what is here and what they know, put together.

Promises
- What there is is answered; each source whose part is missing is named in NGSILD-Warning, and a dead one delays the
  answer no longer than its own time allows.
- Pages of one question fit together: first what is found here in its order, each entity completed by what sources know
  of it, then what only sources know. A page may be short by entities that no longer match when they are whole.
- What a source sends is narrowed to the types that the actor may read, as what is here is.
With `splitEntities` (the default) filters of values are applied to whole entities alone; without, sources apply them.
Source: ETSI GS CIM 009 V1.9.1 clauses 4.3.6.7, 4.5.5, 5.7.1.4, 5.7.2.4, 6.3.17.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from shahar.model import access
from shahar.model import query as q
from shahar.model.context import Context
from shahar.model.entity import Doc
from shahar.model.federation import merged, supplemented
from shahar.model.registration import Ask
from shahar.model.registration.forwarding import SPLIT
from shahar.model.render import View
from shahar.services.broker import Page
from shahar.services.federation import Federation
from shahar.services.federation.questions import POST_QUERY, QUERY, RETRIEVE, Gathered, Question, gather
from shahar.values.errors import Invalid, NoTenant, NotFound
from shahar.values.instants import Instant
from shahar.web import problem
from shahar.web.exchange import Params, Request, Response
from shahar.web.ngsild.distribution import origin_of, warnings

IDS_AT_ONCE: Final = 500
_FORWARDED: Final = ("q", "scopeQ", "georel", "geometry", "coordinates", "geoproperty")

Headers = list[tuple[bytes, bytes]]


def _reads(request: Request, types: Sequence[str]) -> bool:
    target = access.Target("read", "entities", request.tenant, tuple(types))
    return access.may(request.actor, target).allowed


def _together(doc: Doc | None, found: Gathered, entity_id: str, now: Instant) -> Doc | None:
    """One entity out of what is here and what sources know of it."""
    equal = ([doc] if doc is not None else []) + found.equal.get(entity_id, [])
    return supplemented(merged(equal, now), found.extra.get(entity_id, ()), now)


# -- one entity -------------------------------------------------------------------------------------------------------


async def retrieved(
    request: Request, federation: Federation, entity_id: str, context: Context, types: q.Node | None, view: View
) -> tuple[Doc, Headers] | Response:
    """The entity as it is known everywhere, with headers; or the answer that there is none. Raises what the one source
    that holds it fails with."""
    wanted = view.attrs or frozenset(view.pick - {"id", "type", "scope"})
    ask = Ask(ids=(entity_id,), types=types, attrs=frozenset(wanted) if wanted else None, datasets=view.dataset)
    question = Question(RETRIEVE, ask, lambda kinds: _reads(request, kinds), entity_id)
    here, found = await asyncio.gather(
        _local(request, entity_id), gather(federation, question, origin_of(request, context))
    )
    headers = warnings(federation, request, found.missing)
    doc = _together(here, found, entity_id, request.at)
    if doc is not None:
        return doc, headers
    if found.looped is not None:
        raise found.looped
    if len(found.missing) == found.asked == 1 and found.proxied:
        raise found.missing[0].problem
    answer = problem.answer(NotFound(f"entity {entity_id} does not exist", field="id"))
    answer.headers += headers
    return answer


async def _local(request: Request, entity_id: str) -> Doc | None:
    try:
        doc = await request.parts.broker.get(request.tenant, entity_id)
    except NotFound:
        return None
    access.demand(request.actor, access.Target("read", "entities", request.tenant, tuple(doc["type"])))
    return doc


# -- many -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spread:
    """A question to here and to sources. `query` is narrowed to what the actor may read already."""

    query: q.Query
    limit: int
    offset: int
    count: bool
    ordered: bool
    split: bool
    csf: q.Node | None = None
    """What the sources must be like (4.9)."""


def _filters(request: Request, context: Context) -> tuple[tuple[str, str], ...]:
    """The filters of values as they stand in the address, to be sent as they are; none where their names could not be
    understood elsewhere (an @context without an address, a question by POST)."""
    if request.method != "GET" or not (context.source is None or isinstance(context.source, str)):
        return ()
    given = Params(request.headers.get(":query", "").encode("latin-1"))
    return tuple((name, value) for name in _FORWARDED if name in given and (value := given.take(name)))


async def found_everywhere(
    request: Request, federation: Federation, context: Context, spread: Spread
) -> tuple[Page, bool, Headers]:
    """A page of what is found here and at sources, whether there are more, and headers."""
    query = spread.query
    forwarded = () if spread.split else _filters(request, context)
    operations = QUERY if request.method == "GET" else POST_QUERY
    question = Question(
        operations, _ask(query), lambda kinds: _reads(request, kinds), filters=forwarded, csf=spread.csf
    )
    found = await gather(federation, question, origin_of(request, context))
    if found.asked and spread.ordered:
        raise Invalid(
            "entities of several sources cannot be put in order", field="orderBy", rule="clause 5.7.2.4: local=true"
        )
    headers = warnings(federation, request, found.missing)
    here = await _known_here(request, query, found.ids)
    counted = spread.count or bool(found.ids)
    page = await _page_here(request, spread, counted)
    return *_page(request, spread, found, here, page, trusted=bool(forwarded) and found.filtered), headers


def _ask(query: q.Query) -> Ask:
    """What the question is about, for matching: attributes that are asked for by name narrow it, and those that its
    filters need are needed as well."""
    attrs = None
    if query.attrs:
        geo = {query.geo.attr} if query.geo else set()
        attrs = frozenset(query.attrs) | q.attributes(query.q) | geo
    return Ask(
        ids=query.ids, id_pattern=query.id_pattern, types=query.types, attrs=attrs, geo=query.geo, scope=query.scope
    )


async def _known_here(request: Request, query: q.Query, ids: Sequence[str]) -> dict[str, Doc]:
    """What is here of the entities that sources know, as far as the actor may read it."""
    found: dict[str, Doc] = {}
    for start in range(0, len(ids), IDS_AT_ONCE):
        some = q.Query(ids=tuple(ids[start : start + IDS_AT_ONCE]), types=query.types)
        page = await _find(request, some, IDS_AT_ONCE, 0, False)
        found |= {doc["id"]: doc for doc in page.docs}
    return found


async def _page_here(request: Request, spread: Spread, counted: bool) -> Page:
    return await _find(request, spread.query, spread.limit + 1 if spread.limit else 0, spread.offset, counted)


async def _find(request: Request, query: q.Query, limit: int, offset: int, count: bool) -> Page:
    try:
        return await request.parts.broker.find(
            request.tenant, query, limit=limit, offset=offset, count=count, at=request.at
        )
    except NoTenant:
        return Page(total=0 if count else None)


def _page(
    request: Request, spread: Spread, found: Gathered, here: Mapping[str, Doc], page: Page, *, trusted: bool
) -> tuple[Page, bool]:
    """The page that was found here, its entities whole, and behind what is here what only sources know; `trusted`:
    these have been filtered by the sources."""
    if not found.ids:
        return page, len(page.docs) > spread.limit
    query = spread.query
    whole = {one: _together(here.get(one), found, one, request.at) for one in found.ids}
    fits = {one for one, doc in whole.items() if doc is not None and (trusted or _matches(query, doc))}
    matched = {one for one, doc in here.items() if _matches(query, doc)}
    behind = [one for one in found.ids if one in fits and one not in matched]
    total_here = page.total or 0
    docs: list[Doc] = []
    for doc in page.docs[: spread.limit]:
        if doc["id"] not in whole:
            docs.append(doc)
        elif (better := whole[doc["id"]]) is not None and doc["id"] in fits:
            docs.append(better)
    first = max(0, spread.offset - total_here)
    last = max(0, spread.offset + spread.limit - total_here)
    docs += [one for name in behind[first:last] if (one := whole[name]) is not None]
    total = total_here - len(matched - fits) + len(behind) if spread.count else None
    return replace(page, docs=docs, total=total), spread.offset + spread.limit < total_here + len(behind)


def _matches(query: q.Query, doc: Doc) -> bool:
    if q.linked_depth(query.q):
        query = replace(query, q=None)
    return q.matches(query, doc)


__all__ = ["SPLIT", "Spread", "found_everywhere", "retrieved"]
