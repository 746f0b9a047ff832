"""The past asked for: GET /temporal/entities, GET /temporal/entities/{id}, and POST temporal queries.

A page of instances is about TEMPORAL_PAGE long, or as long as `Prefer: maxpagesize=N` (up to TEMPORAL_INSTANCES) asks.
When there is more, the answer is a part (206): its Content-Range says from when to when it goes, and whoever asks again
with `timerel=after` (of lastN: `before`) from the end of the range gets the next part.
Source: ETSI GS CIM 009 clauses 4.11, 4.5.19, 5.7.3, 5.7.4, 6.18, 6.19, 6.24, 6.3.10, 6.3.12; RFC 7240 (Prefer).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from shahar.model import access, evolution
from shahar.model import query as q
from shahar.model import temporal as language
from shahar.model.context import Context
from shahar.model.projection import MEMBERS
from shahar.model.query import Query
from shahar.model.render import View
from shahar.model.temporal import Aggregation, Span
from shahar.services import temporal
from shahar.services.broker import Page
from shahar.services.federation import Federation
from shahar.services.temporal import Answer, Asked, Past, Wanted
from shahar.values import instants
from shahar.values.bounds import PAGE_LIMIT, PAGE_OFFSET, TEMPORAL_INSTANCES, TEMPORAL_PAGE
from shahar.values.errors import Invalid, NotFound
from shahar.web.exchange import JSON, LD_JSON, Params, Request, Response
from shahar.web.ngsild.distribution import served
from shahar.web.ngsild.gathering import SPLIT
from shahar.web.ngsild.gathering_past import SpreadPast, found_past, retrieved_past
from shahar.web.ngsild.mapped import NOTHING, gone_on
from shahar.web.ngsild.mapped_past import page_of_past
from shahar.web.ngsild.mapping import Use, named_in_links, use_of
from shahar.web.ngsild.negotiate import LATER, accepted, check_id, context_of, object_of, preferences, reply, view_of
from shahar.web.ngsild.queries import (
    check_selective,
    every_type,
    expanded,
    from_body,
    order_of,
    page_headers,
    query_in,
    query_of,
    readable,
)

_AGGREGATION: Final = ("aggrMethods", "aggrPeriodDuration")
_JOINS: Final = ("join", "joinLevel", "containedBy")


async def retrieve(request: Request) -> Response:
    """GET /temporal/entities/{id}."""
    kind = accepted(request, JSON, LD_JSON)
    entity_id = check_id(request.args[0])
    context = await context_of(request)
    view = view_of(request, context, temporal=True)
    asked = _asked(request, view)
    local = request.params.flag("local")
    use = use_of(request, context, "temporal")
    _no_joins(request.params)
    request.params.done(LATER)
    types = await temporal.types_of(request.parts.broker, request.tenant, entity_id)
    if types is not None:
        access.demand(request.actor, access.Target("read", "temporal", request.tenant, tuple(types)))
    headers: list[tuple[bytes, bytes]] = []
    if (sources := served(request, local)) is not None:
        answer, headers = await retrieved_past(request, sources, entity_id, context, view, asked, use)
    else:
        answer = await temporal.retrieve(request.parts.broker, request.tenant, entity_id, asked)
        use.note([(entity_id, answer.found[0].doc["type"])], NOTHING)
    headers += use.headers
    shown = _shown(answer.found[0], view, asked.span)
    if not shown:
        raise NotFound(f"entity {entity_id} has none of the members asked for", field="omit")
    response = reply(request, kind, context, shown, headers)
    return _dressed(request, response, answer, asked.span)


async def find(request: Request) -> Response:
    """GET /temporal/entities."""
    kind = accepted(request, JSON, LD_JSON)
    context = await context_of(request)
    return await _answer(request, kind, context, query_of(request, context))


async def post_query(request: Request) -> Response:
    """POST /temporal/entityOperations/query (clause 6.24)."""
    kind = accepted(request, JSON, LD_JSON)
    context, query = await posted_past(request)
    return await _answer(request, kind, context, query)


async def posted_past(request: Request) -> tuple[Context, Query]:
    """The question about the past in a body, with the @context that it is asked in."""
    body = object_of(request)
    context = await context_of(request, body)
    if body.get("type") != "Query":
        raise Invalid("the body's type is Query", field="type", rule="ETSI GS CIM 009 clause 5.2.23")
    if "temporalQ" not in body:
        raise Invalid("a temporal query needs temporalQ", field="temporalQ", rule="ETSI GS CIM 009 clause 5.7.4.4")
    given = language.texts(body["temporalQ"], "temporalQ", (*language.MEMBERS, *_AGGREGATION))
    for name, value in given.items():
        request.params.put(name, value)
    if "aggrParams" in body:
        for name, value in language.texts(body["aggrParams"], "aggrParams", _AGGREGATION).items():
            request.params.put(name, value)
    rest = {name: value for name, value in body.items() if name not in {"temporalQ", "aggrParams"}}
    from_body(request, rest)
    query = query_in(rest, context, expanded(request.params))
    if any(one["type"].strip() == "*" for one in body.get("entities", ())):
        every_type(request.params)
    return context, query


@dataclass(frozen=True, slots=True)
class WantedPast:
    """What a query over time asks for: whose past, from which sources, by which map."""

    spread: SpreadPast
    sources: Federation | None
    use: Use


def wanted_past(request: Request, context: Context, query: Query) -> WantedPast:
    """Everything that a query over time asks for, of which `query` was read from an address or a body. Raises Invalid,
    Malformed, Forbidden."""
    params = request.params
    view = view_of(request, context, temporal=True)
    timed = "timerel" in params
    asked = _asked(request, view)
    limit = params.number("limit", 20, 0, PAGE_LIMIT)
    offset = params.number("offset", 0, 0, PAGE_OFFSET)
    count = params.flag("count")
    order = _order(params, context)
    local = params.flag("local")
    wide = "splitEntities" in params and not local
    split = params.flag("splitEntities", SPLIT)
    about = params.take("csf")
    sources_like = q.parse_q(about, context.expand, field="csf") if about else None
    use = use_of(request, context, "temporal")
    _no_joins(params)
    params.done(LATER)
    if not timed and (before := gone_on(use, query)) is not None and before.span is not None:
        query, split, sources_like, timed = before.query, before.split, before.csf, True
        asked = replace(asked, span=before.span, needed=before.needed)
    elif not local:
        _check_selective(query, view)
    if not timed:
        raise Invalid(
            "a temporal query needs timerel and timeAt", field="timerel", rule="ETSI GS CIM 009 clause 5.7.4.4"
        )
    if limit == 0 and not count:
        raise Invalid("a limit of 0 needs count=true", field="limit", rule="ETSI GS CIM 009 clause 6.3.10")
    if q.linked_depth(query.q):
        raise Invalid("the past follows no relationships", field="q", rule="ETSI GS CIM 009 clause 5.7.4.4")
    sources = served(request, local)
    if sources is not None and order:
        raise Invalid("sources cannot be put in order", field="orderBy", rule="clause 5.7.4.4: local=true")
    bare, query = query, readable(request, query, "temporal")
    spread = SpreadPast(query, bare, asked, view, limit, offset, count, order, split, sources_like, wide and split)
    return WantedPast(spread, sources, use)


async def _answer(request: Request, kind: str, context: Context, query: Query) -> Response:
    wanted = wanted_past(request, context, query)
    spread, use = wanted.spread, wanted.use
    asked, view, limit, offset = spread.asked, spread.view, spread.limit, spread.offset
    headers: list[tuple[bytes, bytes]] = []
    if use.wished:
        answer, headers = await page_of_past(request, wanted.sources, context, spread, use)
        named_in_links(request, use)
    else:
        here = temporal.find(
            request.parts.broker, request.tenant, spread.query, asked, limit=limit, offset=offset,
            count=spread.count or wanted.sources is not None, order=spread.order,
        )  # fmt: skip
        if wanted.sources is not None:
            answer, headers = await found_past(request, wanted.sources, context, spread, here)
        else:
            answer = await here
    page = Page(docs=[{}] * (limit + 1 if answer.more else 0), total=answer.total if spread.count else None)
    shown = [one for one in (_shown(past, view, asked.span) for past in answer.found) if one]
    headers = page_headers(request, page, limit, offset) + headers
    response = reply(request, kind, context, shown, headers, status=use.status)
    return _dressed(request, response, answer, asked.span)


def _check_selective(query: Query, view: View) -> None:
    """Refuse a question for everything: unlike in the present, ids, scopes or the system's own attributes alone do not
    narrow it (5.7.4.4)."""
    if not view.attrs and not view.pick - MEMBERS:
        asks = query.q if q.attributes(query.q) - q.MOMENT_MEMBERS.keys() else None
        check_selective(Query(types=query.types, q=asks, geo=query.geo))


def _no_joins(params: Params) -> None:
    for name in _JOINS:
        if name in params:
            raise Invalid("the past follows no relationships", field=name, rule="ETSI GS CIM 009 clause 5.7.4.4")


def _order(params: Params, context: Context) -> str:
    """asc or desc of the ids, empty: in no order of theirs; nothing else can be ordered by (5.7.4.4)."""
    terms = order_of(params, context)
    if any(term.member != "id" for term in terms):
        raise Invalid("evolutions are ordered by id alone", field="orderBy", rule="ETSI GS CIM 009 clause 5.7.4.4")
    return "" if not terms else "desc" if terms[0].descending else "asc"


# -- what is asked ----------------------------------------------------------------------------------------------------


def _asked(request: Request, view: View) -> Asked:
    params = request.params
    span = language.parse(_taken(params, language.MEMBERS))
    aggregation = _aggregation(params, view)
    seen = _seen(view)
    return Asked(span, seen, _needed(view, span, seen), aggregation, _preferred(request) or TEMPORAL_PAGE)


def _needed(view: View, span: Span, seen: Wanted | None) -> Wanted | None:
    """The series of which an entity must have an instance to be in the answer: any of those asked for, unless its core
    members are picked; none when neither a time nor a series was asked for."""
    if view.pick & {"id", "type"}:
        return Wanted(view.attrs, datasets=view.dataset) if span.by else None
    anything = not (span.by or view.attrs or view.pick or view.dataset)
    return None if anything else seen


def _seen(view: View) -> Wanted | None:
    """The series that the view shows; None where it shows none."""
    if view.attrs:
        return Wanted(view.attrs, datasets=view.dataset)
    picked = view.pick - {"id", "type"}
    if view.pick and not picked:
        return None
    return Wanted(picked, view.omit - {"id", "type"}, view.dataset)


def _taken(params: Params, names: tuple[str, ...]) -> dict[str, str]:
    found = {name: params.take(name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _aggregation(params: Params, view: View) -> Aggregation | None:
    """The aggregation asked for; its members count when the form is aggregatedValues and must be sound in any case."""
    methods, period = (params.take(name) for name in _AGGREGATION)
    if view.form == "aggregated":
        return language.parse_aggregation(methods, period)
    if methods is not None:
        language.parse_aggregation(methods, period)
    return None


def _preferred(request: Request) -> int | None:
    """How many instances the caller prefers in one answer (RFC 7240); None when that was not said."""
    wishes = preferences(request)
    wished = wishes.get("maxpagesize", wishes.get("odata.maxpagesize", ""))
    if not (wished.isascii() and wished.isdigit() and len(wished) < 10):
        return None
    return min(max(int(wished), 1), TEMPORAL_INSTANCES)


# -- what is answered -------------------------------------------------------------------------------------------------


def _shown(past: Past, view: View, span: Span) -> dict[str, Any]:
    if view.form == "aggregated":
        return evolution.aggregated(past.doc, past.figures, view)
    return evolution.shown(past.doc, past.series, view, span.by)


def _dressed(request: Request, response: Response, answer: Answer, span: Span) -> Response:
    """The answer as a part, with its range, when there is more (clause 6.3.10)."""
    preferred = _preferred(request)
    if preferred is not None:
        response.headers.append((b"preference-applied", f"maxpagesize={preferred}".encode()))
    if answer.cut is None:
        return response
    response.status = 206
    response.headers.append((b"content-range", _range(answer, span, answer.cut).encode()))
    return response


def _range(answer: Answer, span: Span, cut: int) -> str:
    """`date-time from-to/size`: of the newest N backwards in time, else forwards; the size is N where it is known."""
    told = [
        evolution.moment(one, span.by) for past in answer.found for listed in past.series.values() for one in listed
    ]
    if span.last is not None:
        start = span.end if span.end is not None else max(told)
        return f"date-time {instants.text(start)}-{instants.text(cut)}/{span.last}"
    start = span.start if span.start is not None else min(told)
    return f"date-time {instants.text(start)}-{instants.text(cut)}/*"
