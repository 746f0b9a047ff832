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
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Final

from shahar.model import access
from shahar.model import query as q
from shahar.model.context import Context
from shahar.model.entity import Doc
from shahar.model.registration import Ask
from shahar.model.registration.forwarding import SPLIT
from shahar.model.render import View
from shahar.services.broker import Page
from shahar.services.federation import Federation
from shahar.services.federation.questions import POST_QUERY, QUERY, RETRIEVE, Gathered, Question, gather
from shahar.values.errors import Invalid, NotFound
from shahar.web import problem
from shahar.web.exchange import Params, Request, Response
from shahar.web.ngsild.distribution import origin_of, warnings
from shahar.web.ngsild.entity_parts import Headers, find_here, known_here, matching_here, reads, together
from shahar.web.ngsild.gathering_linked import fitting
from shahar.web.ngsild.mapping import Use

_FORWARDED: Final = ("q", "scopeQ", "georel", "geometry", "coordinates", "geoproperty")

# -- one entity -------------------------------------------------------------------------------------------------------


async def retrieved(
    request: Request,
    federation: Federation,
    entity_id: str,
    context: Context,
    types: q.Node | None,
    view: View,
    use: Use,
) -> tuple[Doc, Headers] | Response:
    """The entity as it is known everywhere, with headers; or the answer that there is none. Raises what the one source
    that holds it fails with."""
    wanted = view.attrs or frozenset(view.pick - {"id", "type", "scope"})
    ask = Ask(ids=(entity_id,), types=types, attrs=frozenset(wanted) if wanted else None, datasets=view.dataset)
    question = Question(
        RETRIEVE, ask, lambda kinds: reads(request, kinds), entity_id, among=use.among(entity_id), maps=use.maps
    )
    here, found = await asyncio.gather(
        _local(request, entity_id), gather(federation, question, origin_of(request, context))
    )
    headers = warnings(federation, request, found.missing)
    doc = together(here, found, entity_id, request.at)
    if doc is not None:
        use.note([(entity_id, here["type"])] if here else [], found)
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
    """A question to here and to sources. `query` is narrowed to what the actor may read already; `asked` is not."""

    query: q.Query
    asked: q.Query
    limit: int
    offset: int
    count: bool
    ordered: bool
    split: bool
    csf: q.Node | None = None
    """What the sources must be like (4.9)."""
    wide: bool = False
    """Whether the question says itself that entities are split: a map of it names candidates (5.14.4.4)."""


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
    question = question_of(request, context, spread)
    found = await gather(federation, question, origin_of(request, context))
    check_order(found, spread)
    here = await known_here(request, query, found.ids)
    counted = spread.count or bool(found.ids)
    page = await find_here(request, query, spread.limit + 1 if spread.limit else 0, spread.offset, counted)
    if not found.ids:
        return page, len(page.docs) > spread.limit, warnings(federation, request, found.missing)
    whole = {one: doc for one in found.ids if (doc := together(here.get(one), found, one, request.at)) is not None}
    fits = await fitting(request, federation, context, query, whole, found)
    matched = await matching_here(request, query, here)
    headers = warnings(federation, request, found.missing)
    return *_page(spread, found, whole, fits, matched, page), headers


def question_of(request: Request, context: Context, spread: Spread) -> Question:
    """The question as it is put to sources; filters go along where entities are not split."""
    linked = q.linked_depth(spread.query.q)  # what is linked to an entity may be elsewhere
    forwarded = () if spread.split or linked else _filters(request, context)
    operations = QUERY if request.method == "GET" else POST_QUERY
    return Question(
        operations, _ask(spread.query), lambda kinds: reads(request, kinds), filters=forwarded, csf=spread.csf
    )


def check_order(found: Gathered, spread: Spread) -> None:
    """Refuse to put entities of several sources in order."""
    if found.asked and spread.ordered:
        raise Invalid(
            "entities of several sources cannot be put in order", field="orderBy", rule="clause 5.7.2.4: local=true"
        )


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


def _page(
    spread: Spread, found: Gathered, whole: Mapping[str, Doc], fits: Set[str], matched: Set[str], page: Page
) -> tuple[Page, bool]:
    """The page that was found here, its entities whole, and behind what is here what only sources know. `fits`: those
    of the `whole` that fit; `matched`: those that are among what is found here already."""
    behind = [one for one in found.ids if one in fits and one not in matched]
    total_here, known = page.total or 0, frozenset(found.ids)
    docs: list[Doc] = []
    for doc in page.docs[: spread.limit]:
        if doc["id"] not in known:
            docs.append(doc)
        elif doc["id"] in fits:
            docs.append(whole[doc["id"]])
    first = max(0, spread.offset - total_here)
    last = max(0, spread.offset + spread.limit - total_here)
    docs += [whole[one] for one in behind[first:last]]
    total = total_here - len(matched - fits) + len(behind) if spread.count else None
    return replace(page, docs=docs, total=total), spread.offset + spread.limit < total_here + len(behind)


__all__ = ["SPLIT", "Spread", "check_order", "found_everywhere", "question_of", "retrieved"]
