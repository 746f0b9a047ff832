"""Evolutions that registered context sources take part in: what was here and what they know, put together.

Promises: what there is is answered, each source whose part is missing is named in NGSILD-Warning; pages fit together as
those of the present do (gathering): first what is found here, completed, then what only sources know. Where an answer
is cut (206), what sources tell beyond the cut waits for the next part as well.
Figures are reckoned of the whole (web/ngsild/past_parts).
Source: ETSI GS CIM 009 V1.9.1 clauses 5.7.3.4, 5.7.4.4, 6.3.17.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from shahar.model import access
from shahar.model import query as q
from shahar.model.context import Context
from shahar.model.pasts import fits_past
from shahar.model.query import Query
from shahar.model.registration import Ask, Period
from shahar.model.render import View
from shahar.model.temporal import Span
from shahar.services import temporal
from shahar.services.federation import Federation
from shahar.services.federation.questions import QUERY_PAST, RETRIEVE_PAST, Gathered, Question
from shahar.services.temporal import Answer, Asked, Wanted
from shahar.values import instants
from shahar.values.bounds import TEMPORAL_INSTANCES
from shahar.values.errors import NotFound
from shahar.values.instants import Instant
from shahar.web.exchange import Request
from shahar.web.ngsild.distribution import origin_of, warnings
from shahar.web.ngsild.entity_parts import IDS_AT_ONCE
from shahar.web.ngsild.mapping import Use
from shahar.web.ngsild.past_parts import both, completed, held, together

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class SpreadPast:
    """A question about the past, to here and to sources. `query` is narrowed to what the actor may read already,
    `bare` is not."""

    query: Query
    bare: Query
    asked: Asked
    view: View
    limit: int
    offset: int
    count: bool
    order: str
    split: bool
    csf: q.Node | None = None
    wide: bool = False


async def retrieved_past(
    request: Request, federation: Federation, entity_id: str, context: Context, view: View, asked: Asked, use: Use
) -> tuple[Answer, Headers]:
    """One entity's evolution as it is known everywhere. Raises NotFound, and what the one source that has it fails
    with."""
    question = _question(request, RETRIEVE_PAST, Ask(ids=(entity_id,)), view, asked.span, entity_id)
    question = replace(question, among=use.among(entity_id), maps=use.maps)
    local = held(temporal.retrieve(request.parts.broker, request.tenant, entity_id, asked))
    answer, found = await both(federation, question, origin_of(request, context), asked, local)
    headers = warnings(federation, request, found.missing)
    past = await completed(request, asked, answer.found[0] if answer.found else None, found, entity_id, answer.cut)
    if past is not None:
        use.note([(entity_id, past.doc["type"])] if answer.found else [], found)
        answer.found = [past]
        return answer, headers
    if found.looped is not None:
        raise found.looped
    if len(found.missing) == found.asked == 1 and found.proxied:
        raise found.missing[0].problem
    raise NotFound(f"entity {entity_id} does not exist, or has nothing of what was asked in that time", field="id")


async def found_past(
    request: Request, federation: Federation, context: Context, spread: SpreadPast, here: Awaitable[Answer]
) -> tuple[Answer, Headers]:
    """A page of evolutions: `here` is the page of those found here, with their number in `total`. What is found here
    fits as a whole as well, for one instance that fits is enough (5.7.4.4)."""
    asked, limit, offset = spread.asked, spread.limit, spread.offset
    question, filtered = question_of_past(request, spread), bool(_filters(spread.query))
    origin = origin_of(request, context)
    answer, found = await both(federation, question, origin, asked, held(here), figures=not filtered)
    shown = {past.doc["id"] for past in answer.found}
    for place, past in enumerate(answer.found):
        whole = await completed(request, asked, past, found, past.doc["id"], answer.cut)
        answer.found[place] = past if whole is None else whole
    total = answer.total or 0
    others = [one for one in found.ids if one not in shown]
    elsewhere = await matching_here(request, spread, others)
    alone = await fitting(request, spread, found, [one for one in others if one not in elsewhere])
    first, last = max(0, offset - total), max(0, offset + limit - total)
    behind = await whole_pasts(request, spread, found, alone[first:last], answer.cut)
    answer.found += behind.found
    answer.cut = behind.cut if answer.cut is None else answer.cut
    answer.more = answer.more or offset + limit < total + len(alone)
    answer.total = total + len(alone)
    return answer, warnings(federation, request, found.missing)


def question_of_past(request: Request, spread: SpreadPast) -> Question:
    """The question as it is put to sources: what its filters need is asked for as well."""
    query = spread.query
    ask = Ask(ids=query.ids, id_pattern=query.id_pattern, types=query.types, geo=query.geo, scope=query.scope)
    question = _question(request, QUERY_PAST, ask, spread.view, spread.asked.span)
    attrs = question.ask.attrs
    if attrs is not None:
        question = replace(question, ask=replace(question.ask, attrs=attrs | _filtering(query)))
    return replace(question, csf=spread.csf, whole=spread.asked.aggregation is not None)


def _filters(query: Query) -> list[object]:
    return [part for part in (query.q, query.geo, query.scope) if part is not None]


def _filtering(query: Query) -> frozenset[str]:
    """The attributes that the filters of a question need."""
    return q.attributes(query.q) - q.MOMENT_MEMBERS.keys() | ({query.geo.attr} if query.geo else set())


async def matching_here(request: Request, spread: SpreadPast, ids: Sequence[str]) -> set[str]:
    """Those of the ids whose past here matches."""
    matched: set[str] = set()
    bare = replace(spread.asked, seen=None, aggregation=None)
    for start in range(0, len(ids), IDS_AT_ONCE):
        some = tuple(ids[start : start + IDS_AT_ONCE])
        wanted = replace(spread.query, ids=some, id_pattern=None)
        answer = await held(temporal.find(request.parts.broker, request.tenant, wanted, bare, limit=len(some)))
        matched |= {past.doc["id"] for past in answer.found}
    return matched


async def _pasts_here(request: Request, spread: SpreadPast, ids: Sequence[str], asked: Asked) -> Answer:
    """What is here of these entities, whether it matches or not."""
    if not ids:
        return Answer()
    wanted = Query(ids=tuple(ids), types=spread.query.types)
    return await held(
        temporal.find(request.parts.broker, request.tenant, wanted, replace(asked, needed=None), limit=len(ids))
    )


async def fitting(request: Request, spread: SpreadPast, found: Gathered, ids: Sequence[str]) -> list[str]:
    """Those of the ids whose whole past, of which sources know a part, fits the filters of the question."""
    query, span = spread.query, spread.asked.span
    if not _filters(query):
        return list(ids)
    needed = Wanted(_filtering(query)) if not query.scope else Wanted()
    asked = Asked(replace(span, last=None), needed, None, None, TEMPORAL_INSTANCES)
    fit: list[str] = []
    for start in range(0, len(ids), IDS_AT_ONCE):
        some = ids[start : start + IDS_AT_ONCE]
        here = await _pasts_here(request, spread, some, asked)
        own = {past.doc["id"]: past for past in here.found}
        for one in some:
            whole = together(own.get(one), found, one, asked, here.cut)
            if whole is not None and fits_past(query, whole.doc, whole.series):
                fit.append(one)
    return fit


async def whole_pasts(
    request: Request, spread: SpreadPast, found: Gathered, ids: Sequence[str], cut: Instant | None = None
) -> Answer:
    """The evolutions of these entities, with what sources know of them. `cut`: where the answer is cut already; else it
    is cut where what is here makes a part."""
    asked = spread.asked if cut is None else replace(spread.asked, most=TEMPORAL_INSTANCES)
    answer = await _pasts_here(request, spread, ids, asked)
    own = {past.doc["id"]: past for past in answer.found}
    cut = answer.cut if cut is None else cut
    pasts = [await completed(request, spread.asked, own.get(one), found, one, cut) for one in ids]
    answer.found = [past for past in pasts if past is not None]
    return answer


def _question(
    request: Request, operations: Sequence[str], ask: Ask, view: View, span: Span, entity_id: str = ""
) -> Question:
    wanted = view.attrs or view.pick - {"id", "type", "scope"}
    period = Period(span.start, span.end, span.by or "observedAt") if span.start or span.end else None
    ask = replace(ask, attrs=frozenset(wanted) or None, datasets=view.dataset, period=period)

    def reads(kinds: Sequence[str]) -> bool:
        return access.may(request.actor, access.Target("read", "temporal", request.tenant, tuple(kinds))).allowed

    return Question(operations, ask, reads, entity_id, _told(span), past=True, onward=partial(_onward, span))


def _onward(span: Span, reach: tuple[Instant, Instant]) -> tuple[tuple[str, str], ...]:
    """The time behind a part of an evolution that reaches from an instant to another; backwards, where the newest are
    wanted."""
    if span.last is not None:
        return _told(replace(span, end=min(reach)))
    return _told(replace(span, start=max(reach) + 1))


def _told(span: Span) -> tuple[tuple[str, str], ...]:
    """The span as the parameters of a temporal query; [start, end) of ours is told so that nothing within is missed."""
    found: list[tuple[str, str]] = []
    if span.start is not None and span.end is not None:
        found += [("timerel", "between"), ("timeAt", instants.text(span.start)), ("endTimeAt", instants.text(span.end))]
    elif span.start is not None:
        found += [("timerel", "after"), ("timeAt", instants.text(span.start - 1))]
    elif span.end is not None:
        found += [("timerel", "before"), ("timeAt", instants.text(span.end))]
    if span.by and found:
        found.append(("timeproperty", span.by))
    if span.last is not None:
        found.append(("lastN", str(span.last)))
    return tuple(found)
