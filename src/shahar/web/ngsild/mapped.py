"""Pages of entities by an entity map: made when it is asked for, looked at anew for every page.

Promises: as those of web/ngsild/gathering, and that pages of one map show each of its entities once, whatever is made
or changed meanwhile; only the sources are asked that knew of the entities of the page, each for these alone.
Source: ETSI GS CIM 009 V1.9.1 clauses 4.3.6.7, 5.5.9.3, 5.7.2.4, 5.14.4.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from shahar.model import ordering
from shahar.model import query as q
from shahar.model.context import Context
from shahar.model.entity import Doc
from shahar.model.entity_map import HERE, EntityMap
from shahar.model.temporal import Span
from shahar.services.broker import Page
from shahar.services.entity_maps import Found, found_here
from shahar.services.federation import Federation, Missing
from shahar.services.federation.questions import MAP, POST_QUERY, QUERY, Gathered, gather
from shahar.services.temporal import Wanted
from shahar.values.errors import NoTenant
from shahar.web.exchange import Request
from shahar.web.ngsild.distribution import origin_of, warnings
from shahar.web.ngsild.entity_parts import docs_here, known_here, together
from shahar.web.ngsild.gathering import Spread, check_order, question_of
from shahar.web.ngsild.gathering_linked import fitting
from shahar.web.ngsild.mapping import Headers, Pager, Use

NOTHING: Final = Gathered()


@dataclass(frozen=True, slots=True)
class Told:
    """What a map was made for."""

    query: q.Query
    split: bool
    csf: q.Node | None
    local: bool
    span: Span | None = None
    needed: Wanted | None = None
    """Of a question about the past: when, and the series of which an entity must have an instance."""


async def make_map(
    request: Request, sources: Federation | None, context: Context, spread: Spread, order: ordering.Order, use: Use,
    *, by_maps: bool = False,
) -> Gathered:  # fmt: skip
    """Make the map of a question; what sources told of it. `by_maps`: they are asked for maps of their own."""
    found = NOTHING
    if sources is not None:
        question = question_of(request, context, spread)
        question = replace(question, operations=MAP if by_maps else QUERY if request.method == "GET" else POST_QUERY)
        found = await gather(sources, question, origin_of(request, context))
        check_order(found, spread)
    query = spread.query
    if spread.wide or (spread.split and found.asked):  # no part of an entity can tell whether the whole fits
        query = q.Query(ids=query.ids, id_pattern=query.id_pattern, types=query.types)
    here: Found = []
    try:
        here = await found_here(request.parts.broker, request.tenant, query, order)
    except NoTenant:
        if sources is None:
            raise
    use.make(here, found, _told(sources, spread))
    return found


def _told(sources: Federation | None, spread: Spread) -> Told:
    """What was asked, as far as it decides which entities fit."""
    return Told(spread.asked, spread.split, spread.csf, sources is None)


def gone_on(use: Use, query: q.Query) -> Told | None:
    """The question of the map that is used, where the request asks for nothing else."""
    told = use.held.question if use.held is not None and query == q.Query() else None
    return told if isinstance(told, Told) else None


async def page_of_map(
    request: Request, sources: Federation | None, context: Context, spread: Spread, order: ordering.Order, use: Use
) -> tuple[Page, bool, Headers]:
    """A page of the map that the request uses, made first where there is none; whether there are more; headers."""
    known: Gathered | None = None
    if use.held is None:
        known = await make_map(request, sources, context, spread, order, use)
    assert use.held is not None
    look = _Look(request, sources, context, spread, use.held, known)
    same = use.held.question == _told(sources, spread)
    window = await Pager(use.held, spread.limit, spread.offset, same, spread.count and same).walk(look.at)
    docs = [look.docs[one] for one in window.fits]
    headers = use.headers
    if sources is not None:
        headers += warnings(sources, request, look.missing.values())
    return Page(docs=docs, total=window.total if spread.count else None), window.more, headers


class _Look:
    """Looks at entities of a map: `docs` are those that fit, whole."""

    def __init__(
        self, request: Request, sources: Federation | None, context: Context, spread: Spread, held: EntityMap,
        known: Gathered | None,
    ) -> None:  # fmt: skip
        self.request, self.sources, self.context, self.held, self.known = request, sources, context, held, known
        self.spread = spread
        self.docs: dict[str, Doc] = {}
        self.missing: dict[str, Missing] = {one.registration_id: one for one in known.missing} if known else {}

    async def at(self, ids: Sequence[str]) -> list[tuple[str, bool | None]]:
        """Whether each fits the question now."""
        query = self.spread.query
        wanted = [one for one in ids if q.selected(query, one)]
        local = {one for one in wanted if self.sources is None or self.held.sources_of(one) == (HERE,)}
        alone, mixed = [one for one in wanted if one in local], [one for one in wanted if one not in local]
        if alone:
            self.docs |= await docs_here(self.request, replace(query, ids=tuple(alone), id_pattern=None))
        found = await self._of_sources(mixed) if mixed else NOTHING
        here = [one for one in mixed if self.held.held_here(one)]
        parts = await known_here(self.request, query, here) if here else {}
        docs = ((one, together(parts.get(one), found, one, self.request.at)) for one in mixed)
        whole = {one: doc for one, doc in docs if doc is not None}
        fits = await fitting(self.request, self.sources, self.context, query, whole, found) if whole else set()
        self.docs |= {one: whole[one] for one in fits}
        self.missing |= {one.registration_id: one for one in found.missing}
        silent = found.looped is not None or (q.linked_depth(query.q) > 0 and bool(found.missing))
        left = [one for one in mixed if one not in fits]
        unsure = {one for one in left if silent or found.lacks(self.held.sources_of(one))}
        return [(one, True if one in self.docs else None if one in unsure else False) for one in ids]

    async def _of_sources(self, ids: Sequence[str]) -> Gathered:
        if self.known is not None or self.sources is None:
            return self.known or NOTHING
        question = question_of(self.request, self.context, self.spread)
        ask = replace(question.ask, ids=tuple(ids), id_pattern=None)
        question = replace(question, ask=ask, among=self.held.asked_of(ids), maps=self.held.linked)
        found = await gather(self.sources, question, origin_of(self.request, self.context))
        self.held.linked.update(found.maps)
        return found
