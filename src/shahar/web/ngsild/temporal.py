"""The past: GET /temporal/entities and GET /temporal/entities/{id}.

Carried: timerel, timeAt, endTimeAt, timeproperty, lastN, temporalValues, and the selectors of a query. Aggregation
and temporal writing are the standard's and come with the whole of it; they answer NotCarried until then.
Source: ETSI GS CIM 009 clauses 4.11, 5.7.3, 5.7.4, 6.18, 6.19.
"""

from __future__ import annotations

from typing import Any, Final

from shahar.model import access, render
from shahar.model.context import Context
from shahar.model.query import Query
from shahar.services.broker import Evolution, Page, Span
from shahar.values import instants
from shahar.values.bounds import PAGE_LIMIT, PAGE_OFFSET
from shahar.values.errors import Invalid
from shahar.web.exchange import JSON, LD_JSON, Params, Request, Response
from shahar.web.ngsild.negotiate import LATER, accepted, check_id, context_of, reply, view_of
from shahar.web.ngsild.queries import check_selective, page_headers, query_of, readable

LATER_HERE: Final = LATER | {
    "aggrMethods",
    "aggrPeriodDuration",
    "orderBy",
    "join",
    "joinLevel",
    "containedBy",
    "expandValues",
}
_RELATIONS: Final = frozenset({"before", "after", "between"})
_PROPERTIES: Final = frozenset({"observedAt", "createdAt", "modifiedAt", "deletedAt"})
LAST_MAX: Final = 10_000


def span_of(params: Params) -> Span:
    """The temporal query of an address (clause 4.11)."""
    relation, start, end = params.take("timerel"), params.take("timeAt"), params.take("endTimeAt")
    by = params.take("timeproperty") or "observedAt"
    last = params.number("lastN", 0, 1, LAST_MAX) or None
    if by not in _PROPERTIES:
        raise Invalid(f"{by!r:.40} is not a time property", field="timeproperty", rule=", ".join(sorted(_PROPERTIES)))
    if relation is None:
        if start is not None or end is not None:
            raise Invalid("timeAt needs timerel", field="timerel", rule="before, after or between")
        return Span(by=by, last=last)
    if relation not in _RELATIONS:
        raise Invalid(f"{relation!r:.40} is not a temporal relation", field="timerel", rule="before, after or between")
    if start is None:
        raise Invalid("timerel needs timeAt", field="timeAt", rule="ETSI GS CIM 009 clause 4.11")
    at = instants.parse(start, "timeAt")
    if relation == "before":
        return Span(end=at, by=by, last=last)
    if relation == "after":
        return Span(start=at + 1, by=by, last=last)
    if end is None:
        raise Invalid("between needs endTimeAt", field="endTimeAt", rule="ETSI GS CIM 009 clause 4.11")
    return Span(start=at, end=instants.parse(end, "endTimeAt"), by=by, last=last)


def _values(request: Request) -> bool:
    wishes = request.headers.get(":query", "")
    return "temporalValues" in wishes or "format=simplified" in wishes


async def retrieve(request: Request) -> Response:
    """GET /temporal/entities/{id}."""
    kind = accepted(request, JSON, LD_JSON)
    entity_id = check_id(request.args[0])
    context = await context_of(request)
    view, values = view_of(request, context, temporal=True), _values(request)
    span = span_of(request.params)
    request.params.flag("local")
    request.params.done(LATER_HERE)
    found = await request.parts.broker.evolution(request.tenant, entity_id, span, view.attrs)
    access.demand(request.actor, access.Target("read", "temporal", request.tenant, tuple(found.doc["type"])))
    return reply(request, kind, context, render.temporal(found.doc, found.series, view, values=values))


async def find(request: Request) -> Response:
    """GET /temporal/entities."""
    kind = accepted(request, JSON, LD_JSON)
    context = await context_of(request)
    values = _values(request)
    query = query_of(request, context)
    view = view_of(request, context, temporal=True)
    if "timerel" not in request.params:
        raise Invalid(
            "a temporal query needs timerel and timeAt", field="timerel", rule="ETSI GS CIM 009 clause 5.7.4.4"
        )
    return await _answer(request, kind, context, query, view, values)


async def _answer(
    request: Request, kind: str, context: Context, query: Query, view: render.View, values: bool
) -> Response:
    span = span_of(request.params)
    limit = request.params.number("limit", 20, 0, PAGE_LIMIT)
    offset = request.params.number("offset", 0, 0, PAGE_OFFSET)
    count = request.params.flag("count")
    request.params.flag("local")
    request.params.done(LATER_HERE)
    if not view.attrs:
        check_selective(query)
    found, total = await request.parts.broker.evolutions(
        request.tenant, readable(request, query), span, view.attrs, limit=limit, offset=offset, count=count
    )
    headers = page_headers(request, Page(total=total), limit, offset)
    return reply(request, kind, context, [_shown(one, view, values) for one in found], headers)


def _shown(one: Evolution, view: render.View, values: bool) -> dict[str, Any]:
    return render.temporal(one.doc, one.series, view, values=values)
