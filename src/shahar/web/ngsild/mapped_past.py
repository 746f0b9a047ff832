"""Pages of evolutions by an entity map: made when it is asked for, looked at anew for every page.

Promises: as those of web/ngsild/gathering_past and web/ngsild/mapped.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.5.9.3, 5.7.4.4, 5.14.5.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shahar.model import query as q
from shahar.model.context import Context
from shahar.model.entity_map import HERE, EntityMap
from shahar.model.query import Query
from shahar.services.entity_maps import Found, past_here
from shahar.services.federation import Federation, Missing
from shahar.services.federation.questions import MAP_PAST, Gathered, gather
from shahar.services.temporal import Answer
from shahar.values.errors import NoTenant
from shahar.web.exchange import Request
from shahar.web.ngsild.distribution import origin_of, warnings
from shahar.web.ngsild.gathering_past import (
    SpreadPast,
    fitting,
    matching_here,
    question_of_past,
    whole_pasts,
)
from shahar.web.ngsild.mapped import NOTHING, Told
from shahar.web.ngsild.mapping import Headers, Pager, Use


async def make_map_of_past(
    request: Request, sources: Federation | None, context: Context, spread: SpreadPast, use: Use, *,
    by_maps: bool = False,
) -> Gathered:  # fmt: skip
    """Make the map of a question about the past; what sources told of it. `by_maps`: they are asked for maps of their
    own."""
    found, query = NOTHING, spread.query
    if sources is not None:
        question = question_of_past(request, spread)
        question = replace(question, operations=MAP_PAST) if by_maps else question
        found = await gather(sources, question, origin_of(request, context))
    if spread.wide or (spread.split and found.asked):  # no part of an evolution can tell whether the whole fits
        query = Query(ids=query.ids, id_pattern=query.id_pattern, types=query.types)
    here: Found = []
    bare = replace(spread.asked, seen=None, aggregation=None)
    try:
        here = await past_here(request.parts.broker, request.tenant, query, bare, spread.order)
    except NoTenant:
        if sources is None:
            raise
    use.make(here, found, _told(sources, spread))
    return found


def _told(sources: Federation | None, spread: SpreadPast) -> Told:
    """What was asked, as far as it decides which evolutions fit."""
    return Told(spread.bare, spread.split, spread.csf, sources is None, spread.asked.span, spread.asked.needed)


async def page_of_past(
    request: Request, sources: Federation | None, context: Context, spread: SpreadPast, use: Use
) -> tuple[Answer, Headers]:
    """A page of the map that the request uses, made first where there is none; headers."""
    known: Gathered | None = None
    if use.held is None:
        known = await make_map_of_past(request, sources, context, spread, use)
    assert use.held is not None
    look = _LookPast(request, sources, context, spread, use.held, known)
    same = use.held.question == _told(sources, spread)
    window = await Pager(use.held, spread.limit, spread.offset, same, spread.count and same).walk(look.at)
    answer = await whole_pasts(request, spread, look.found, window.fits)
    answer.total, answer.more = window.total, window.more
    headers = use.headers
    if sources is not None:
        headers += warnings(sources, request, look.missing.values())
    return answer, headers


class _LookPast:
    """Looks at the pasts of entities of a map: `found` is what sources told of those that were looked at."""

    def __init__(
        self, request: Request, sources: Federation | None, context: Context, spread: SpreadPast, held: EntityMap,
        known: Gathered | None,
    ) -> None:  # fmt: skip
        self.request, self.sources, self.context, self.held, self.known = request, sources, context, held, known
        self.spread = spread
        self.found = known or Gathered()
        self.missing: dict[str, Missing] = {one.registration_id: one for one in self.found.missing}

    async def at(self, ids: Sequence[str]) -> list[tuple[str, bool | None]]:
        """Whether each fits the question now."""
        wanted = [one for one in ids if q.selected(self.spread.query, one)]
        mixed = [one for one in wanted if self.held.sources_of(one) != (HERE,)]
        found = await self._of_sources(mixed) if mixed else NOTHING
        fit = await matching_here(self.request, self.spread, wanted)
        told = [one for one in mixed if one not in fit and (one in found.equal or one in found.extra)]
        fit |= set(await fitting(self.request, self.spread, found, told))
        unsure = {
            one
            for one in mixed
            if one not in fit and (found.looped is not None or found.lacks(self.held.sources_of(one)))
        }
        return [(one, True if one in fit else None if one in unsure else False) for one in ids]

    async def _of_sources(self, ids: Sequence[str]) -> Gathered:
        if self.known is not None or self.sources is None:
            return self.known or NOTHING
        question = question_of_past(self.request, self.spread)
        ask = replace(question.ask, ids=tuple(ids), id_pattern=None)
        question = replace(question, ask=ask, among=self.held.asked_of(ids), maps=self.held.linked)
        found = await gather(self.sources, question, origin_of(self.request, self.context))
        self.held.linked.update(found.maps)
        self.missing |= {one.registration_id: one for one in found.missing}
        for mine, new in ((self.found.equal, found.equal), (self.found.extra, found.extra)):
            mine |= new
        return found
