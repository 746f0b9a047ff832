"""One evolution, or its figures, out of what is here and what sources told of it.

Promises
- Figures are those of all instances put together, for a mean of means is none: where a source takes part it is asked
  for instances, and only what was told wholly counts; a source that could not tell all is named, and its part is left
  out. Attributes that are held here alone are reckoned by the engine, however long their history.
- Where nothing of it is here and one source alone takes part, that source is asked for the figures themselves, which
  are the same and cost it no history; if it cannot, for instances.
- Bounded: TEMPORAL_INSTANCES of each source, and of what is here of the attributes that a source has as well.
Source: ETSI GS CIM 009 V1.9.1 clauses 4.5.19, 5.7.3.4, 5.7.4.4; why so: docs/decisions/009.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

from shahar.model.entity import Doc, Instance
from shahar.model.evolution import Figure
from shahar.model.figures import check_methods, figures
from shahar.model.pasts import merged_past, moment
from shahar.model.temporal import Span
from shahar.services import temporal
from shahar.services.federation import Federation, Origin
from shahar.services.federation.questions import Gathered, Question, gather
from shahar.services.temporal import Answer, Asked, Past, Wanted
from shahar.values.bounds import TEMPORAL_INSTANCES
from shahar.values.errors import NoTenant, NotFound, PeerLooped, TooMany
from shahar.values.instants import Instant
from shahar.web.exchange import Request


async def held(answer: Awaitable[Answer]) -> Answer:
    """What is here; nothing where there is no such entity or tenant."""
    try:
        return await answer
    except (NotFound, NoTenant):
        return Answer(total=0)


async def both(
    federation: Federation, question: Question, origin: Origin, asked: Asked, here: Awaitable[Answer], *,
    figures: bool = True,
) -> tuple[Answer, Gathered]:  # fmt: skip
    """What is here and what sources know. `figures`: where these are wanted, one source alone may be asked for them."""
    if asked.aggregation is None:
        answer, found = await asyncio.gather(here, gather(federation, question, origin))
        return answer, found
    answer = await here
    question = replace(question, whole=True)
    if figures and not (answer.found or answer.total) and _only_one(federation, question, origin):
        found = await gather(federation, replace(question, figures=asked.aggregation), origin)
        if found.known or all(one.silent for one in found.missing):
            return answer, found
    return answer, await gather(federation, question, origin)


def _only_one(federation: Federation, question: Question, origin: Origin) -> bool:
    """Whether one source alone takes part."""
    try:
        parts = [federation.parts(operation, question.ask, origin).asked for operation in question.operations]
    except PeerLooped:
        return False
    return len({share.registration.id for asked in parts for share in asked}) == 1


async def completed(
    request: Request, asked: Asked, past: Past | None, found: Gathered, entity_id: str, cut: Instant | None
) -> Past | None:
    """What is here of an evolution, with what sources know of it; None: nothing."""
    if asked.aggregation is None or asked.seen is None:
        return together(past, found, entity_id, asked, cut)
    return await _figured(request, asked, past, found, entity_id)


def together(past: Past | None, found: Gathered, entity_id: str, asked: Asked, cut: Instant | None) -> Past | None:
    """One evolution out of what was here and what sources know of it."""
    equal = found.equal.get(entity_id, [])
    if not equal and entity_id not in found.extra:
        return past
    own = [{**past.doc, "attrs": past.series}] if past is not None else []
    span = asked.span
    others = [_within(doc, span, cut) for doc in equal]
    extra = [_within(doc, span, cut) for doc in found.extra.get(entity_id, ())]
    whole = merged_past([*own, *others], extra, span.by, span.last)
    if whole is None or not (past is not None or any(whole["attrs"].values())):
        return past
    return Past(_shell(past, whole), whole["attrs"], past.figures if past is not None else [])


def _shell(past: Past | None, whole: Doc) -> Doc:
    shell = past.doc if past is not None else {"createdAt": 0, "modifiedAt": 0, **whole, "attrs": {}}
    return {**shell, "type": whole["type"]}


def _within(doc: Doc, span: Span, cut: Instant | None) -> Doc:
    """The part of a source's past that lies in the span, and in this part of the answer where it is cut."""
    start, end = span.start, span.end
    if cut is not None and span.last is not None:
        start = cut
    elif cut is not None:
        end = cut + 1

    def inside(one: Instance) -> bool:
        at = moment(one, span.by)
        return (start is None or at >= start) and (end is None or at < end)

    return {**doc, "attrs": {iri: [one for one in series if inside(one)] for iri, series in doc["attrs"].items()}}


# -- figures ----------------------------------------------------------------------------------------------------------


async def _figured(request: Request, asked: Asked, past: Past | None, found: Gathered, entity_id: str) -> Past | None:
    """The figures of an evolution. Raises Malformed, TooMany."""
    assert asked.aggregation is not None
    assert asked.seen is not None
    equal = [_wanted(doc, asked) for doc in found.equal.get(entity_id, ())]
    extra = [_wanted(doc, asked) for doc in found.extra.get(entity_id, ())]
    told = [one for doc in (*equal, *extra) for listed in doc["attrs"].values() for one in listed]
    if not told:
        return past
    if "figures" in told[0]:
        return Past(_shell(past, (equal or extra)[0]), {}, _once(told))
    span = asked.span
    if past is not None and past.figures and span.start is None:  # all attributes have the same periods
        first = min(moment(one, span.by) for one in told)
        span = replace(span, start=min(first, past.figures[0].start, *(one.start for one in past.figures)))
        past = await _own(request, entity_id, replace(asked, span=span, needed=None))
    names = frozenset(iri for doc in (*equal, *extra) for iri, listed in doc["attrs"].items() if listed)
    own = await _instances(request, entity_id, asked, names) if past is not None else []
    whole = merged_past([*own, *equal], extra, span.by, span.last)
    assert whole is not None
    new = figures(whole["attrs"], asked.aggregation, span)
    check_methods(new, asked.seen.attrs, asked.aggregation.methods)
    kept = [one for one in past.figures if one.attr not in names] if past is not None else []
    if asked.aggregation.period.whole and span.end is None:  # so they end together, too
        last = max((one.end for one in kept + new), default=0)
        return Past(_shell(past, whole), {}, [replace(one, end=last) for one in kept + new])
    return Past(_shell(past, whole), {}, kept + new)


def _wanted(doc: Doc, asked: Asked) -> Doc:
    """What of a source's past figures are wanted of."""
    seen = asked.seen or Wanted()

    def wanted(one: Instance) -> bool:
        return seen.datasets is None or one.get("datasetId", "@none") in seen.datasets

    attrs = {iri: [one for one in listed if wanted(one)] for iri, listed in doc["attrs"].items() if seen.has(iri)}
    reckoned = any("figures" in one for listed in attrs.values() for one in listed)
    return {**doc, "attrs": attrs} if reckoned else _within({**doc, "attrs": attrs}, asked.span, None)


def _once(pieces: list[Instance]) -> list[Figure]:
    """The figures that a source told, each once, though several of its answers may hold it."""
    found = {(one.attr, one.dataset, one.start, one.end): one for piece in pieces for one in piece["figures"]}
    return list(found.values())


async def _own(request: Request, entity_id: str, asked: Asked) -> Past | None:
    answer = await held(temporal.retrieve(request.parts.broker, request.tenant, entity_id, asked))
    return answer.found[0] if answer.found else None


async def _instances(request: Request, entity_id: str, asked: Asked, names: frozenset[str]) -> list[Doc]:
    """The instances here of these attributes. TooMany when there are more than can be put together."""
    assert asked.seen is not None
    series = Wanted(names, datasets=asked.seen.datasets)
    raw = Asked(asked.span, series, None, None, TEMPORAL_INSTANCES)
    answer = await held(temporal.retrieve(request.parts.broker, request.tenant, entity_id, raw))
    if answer.cut is not None:
        rule = f"at most {TEMPORAL_INSTANCES} instances of an attribute that several brokers have"
        raise TooMany("the history is too long to be put together: narrow the time", field="timerel", rule=rule)
    return [{**past.doc, "attrs": past.series} for past in answer.found]
