"""What sources know about a question: each is asked for what it offers, and what comes back is narrowed to that.

Promises
- All sources are asked at once; each has its own time for all of its pages together, and what came within it counts.
  The time is a length measured by the loop; no clock is read.
- What a source sends beyond its registration (other ids, types, attributes, datasets) is not looked at (4.3.6.1); nor
  what the question did not ask for, nor entities whose types the asking actor may not read.
- Every source that did not answer, or not wholly, stands in `missing`. A source that knows of nothing is not missing.
- Many ids are told in several requests, each with an address of a length that brokers read.
- Where an entity map is made, a source that has entity maps is asked for one; of it only ids are known.
Does not: ask for local data, apply filters of values (those who put the entity together do).
Source: ETSI GS CIM 009 V1.9.1 clauses 4.3.6.1, 4.3.6.7, 5.7.1.4, 5.7.2.4, 6.3.17.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from shahar.model import entity_map
from shahar.model import query as q
from shahar.model.context import CORE, Context
from shahar.model.entity import Doc
from shahar.model.federation import received
from shahar.model.figures import received_figures
from shahar.model.pasts import received_past
from shahar.model.registration import Ask, Registration, Share, shares
from shahar.model.temporal import Aggregation, written_aggregation
from shahar.services.federation import Federation
from shahar.services.federation.calls import Call, Missing, Origin, Reply, Terms
from shahar.values.bounds import FEDERATION_ENTITIES, ID_CHARS, TEMPORAL_INSTANCES
from shahar.values.errors import NotFound, PeerFailed, PeerLooped, PeerSilent, ShaharError, TooMany
from shahar.values.instants import Instant

RETRIEVE: Final = ("retrieveEntity", "queryEntity", "queryBatch")
QUERY: Final = ("queryEntity", "queryBatch")
POST_QUERY: Final = ("queryBatch", "queryEntity")
RETRIEVE_PAST: Final = ("retrieveTemporal", "queryTemporal")
QUERY_PAST: Final = ("queryTemporal",)
MAP: Final = ("createEntityMapQueryEntity", *QUERY)
MAP_PAST: Final = ("createEntityMapQueryTemporal", *QUERY_PAST)
_ONE: Final = frozenset({"retrieveEntity", "retrieveTemporal"})
_MAKING: Final = frozenset({MAP[0], MAP_PAST[0]})
_IN_BODY: Final = frozenset({"queryBatch"})
IDS_CHARS: Final = 4_000
IDS: Final = 100
"""Ids in one address: with the rest of it they fit into the 8 KiB that servers read."""
FIRST_PAGE: Final = 100
PAGE: Final = 1_000
Flags = tuple[tuple[str, str], ...]
Reach = tuple[Instant, Instant] | None
_WITH_STAMPS: Final[Flags] = (("options", "sysAttrs"),)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: `operations` in the order of preference; `filters` are parameters to be sent as they
    are; `csf` is what the sources must be like."""

    operations: Sequence[str]
    ask: Ask
    readable: Callable[[Sequence[str]], bool]
    entity_id: str = ""
    filters: tuple[tuple[str, str], ...] = ()
    csf: q.Node | None = None
    without: str = ""
    """A registration that is not asked: what it has is known."""
    past: bool = False
    """Whether evolutions are asked for: what comes back are documents whose attributes are series (model/pasts)."""
    among: Mapping[str, Sequence[str]] | None = None
    """Of an entity map: the registrations that are asked, each for these entities alone."""
    maps: Mapping[str, str] = field(default_factory=dict)
    """The entity maps of sources, by registration."""
    figures: Aggregation | None = None
    """Whether the source is to reckon figures of evolutions itself."""
    whole: bool = False
    """Whether a part of what a source has is worse than nothing of it (figures are to be reckoned of it)."""
    onward: Callable[[tuple[Instant, Instant]], Flags] | None = None
    """The filters by which the next part of an evolution is asked for, when one went from an instant to another."""
    within_s: float | None = None
    """The time that is left for all of it, when that may be less than what registrations allow."""


@dataclass(slots=True)
class Gathered:
    """The parts of entities that sources gave, by id: from equals, and from auxiliaries. `asked`: how many took part;
    `proxied`: whether one of these holds what is not held here; `looped`: the request had been here before."""

    equal: dict[str, list[Doc]] = field(default_factory=dict)
    extra: dict[str, list[Doc]] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)
    asked: int = 0
    proxied: bool = False
    looped: PeerLooped | None = None
    filtered: bool = False
    """Whether every source was given the filters of the question."""
    known: list[tuple[str, str, Sequence[str] | None]] = field(default_factory=list)
    """Who knows of which entity: id, registration, types (None: the source told its id alone)."""
    maps: dict[str, str] = field(default_factory=dict)
    """The entity maps that sources used, by registration."""

    @property
    def ids(self) -> list[str]:
        """Every entity of which a source knows."""
        return list(dict.fromkeys([*self.equal, *self.extra]))

    def miss(self, registration_id: str, problem: ShaharError) -> None:
        """Note, once, that a source's part is not there."""
        if all(one.registration_id != registration_id for one in self.missing):
            self.missing.append(Missing(registration_id, problem))

    def lacks(self, registration_ids: Sequence[str]) -> bool:
        """Whether one of these did not answer, or not wholly."""
        return any(one.registration_id in registration_ids for one in self.missing)


@dataclass(slots=True)
class _Part:
    """What one source told: entities, or ids alone; the entity map that it used; what went wrong."""

    docs: list[Doc] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    entity_map: str = ""
    problem: ShaharError | None = None
    instances: int = 0
    """Of evolutions."""


async def gather(federation: Federation, question: Question, origin: Origin) -> Gathered:
    """Ask every source that takes part."""
    found = Gathered()
    try:
        chosen = _chosen(federation, question, origin)
    except PeerLooped as loop:
        found.looped = loop
        found.missing.append(Missing("", loop))
        return found
    found.asked = len(chosen)
    found.proxied = any(share.registration.proxied for _, share in chosen)
    results = await asyncio.gather(
        *(_from_one(federation, question, operation, share, origin) for operation, share in chosen)
    )
    recast = any(share.registration.instruction("jsonldContext") for _, share in chosen)
    found.filtered = bool(question.filters) and origin.context.plain and not recast
    for (_, share), part in zip(chosen, results, strict=True):
        if question.whole and part.problem is not None:
            part = _Part(problem=part.problem)
        _add(found, share.registration, part)
    return found


def _add(found: Gathered, registration: Registration, part: _Part) -> None:
    target = found.extra if registration.mode == "auxiliary" else found.equal
    for doc in part.docs:
        target.setdefault(doc["id"], []).append(doc)
        found.known.append((doc["id"], registration.id, doc["type"]))
    found.known += [(entity_id, registration.id, None) for entity_id in part.ids]
    if part.entity_map:
        found.maps[registration.id] = part.entity_map
    if part.problem is not None:
        found.miss(registration.id, part.problem)


def _chosen(federation: Federation, question: Question, origin: Origin) -> list[tuple[str, Share]]:
    """Each share with the first of the operations that its source offers."""
    chosen: list[tuple[str, Share]] = []
    served: set[str] = set()
    for operation in question.operations:
        asked = federation.parts(operation, question.ask, origin).asked
        chosen += [
            (operation, piece)
            for share in asked
            if share.registration.id not in served | {question.without} and _is_like(share.registration, question.csf)
            for piece in in_pieces(operation, share, question.among)
        ]
        served |= {share.registration.id for share in asked}
    return chosen


def in_pieces(operation: str, share: Share, among: Mapping[str, Sequence[str]] | None) -> Iterator[Share]:
    """The share, narrowed to the entities of an entity map (`among`: which, by registration), as requests of a length
    that is read; none where it has none of them."""
    ids = share.ids
    if among is not None:
        wanted, offered = among.get(share.registration.id, ()), frozenset(ids)
        ids = tuple(one for one in wanted if one in offered) if ids else tuple(wanted)
        if not ids:
            return
    if operation in _IN_BODY or not ids:
        yield replace(share, ids=ids)
        return
    piece: list[str] = []
    for one in ids:
        if len(piece) == IDS or (piece and sum(map(len, piece)) + len(one) > IDS_CHARS):
            yield replace(share, ids=tuple(piece))
            piece = []
        piece.append(one)
    yield replace(share, ids=tuple(piece))


def _is_like(registration: Registration, csf: q.Node | None) -> bool:
    """Whether a context source filter admits the source (4.9)."""
    return csf is None or q.matches_q(csf, {"id": registration.id, "attrs": registration.described})


async def _from_one(federation: Federation, question: Question, operation: str, share: Share, origin: Origin) -> _Part:
    """What one source knows, and what went wrong, if something did. A source that has no entity maps, though its
    registration says so, is asked for entities."""
    part = _Part()
    try:
        call = await federation.call(operation, share, origin)
        understood = call.terms.context is origin.context and origin.context.plain
        if call.terms.context is origin.context and not understood:  # it may read no scoped contexts (5.5.7)
            call = replace(call, terms=Terms(CORE))
        filters = question.filters if understood or question.past else ()  # a time has no names
        flags = (*_options(operation, question), *filters)
        call = replace(call, flags=flags, entity_map=question.maps.get(share.registration.id, ""))
        if question.within_s is not None:
            call = replace(call, timeout_s=min(call.timeout_s, question.within_s))
        await _pages(federation, question, call, part)
    except NotFound as problem:
        part.problem = problem if operation in _MAKING else None
    except ShaharError as problem:
        part.problem = problem
    if part.problem is not None and operation in _MAKING and not isinstance(part.problem, (PeerSilent, PeerLooped)):
        other = next((one for one in question.operations if one in share.registration.operations - _MAKING), "")
        return await _from_one(federation, question, other, share, origin) if other else part
    return part


def _options(operation: str, question: Question) -> Flags:
    if operation in _MAKING:
        return ()
    if question.figures is None:
        return _WITH_STAMPS
    return (("options", "sysAttrs,aggregatedValues"), *written_aggregation(question.figures).items())


async def _pages(federation: Federation, question: Question, call: Call, part: _Part) -> None:
    if call.operation in _MAKING:
        _take_map(call, await federation.carry(call), part)
        return
    until = _clock() + call.timeout_s
    if call.operation in _ONE:
        await _parts(federation, question, replace(call, entity_id=question.entity_id), until, part)
        return
    limit, offset = FIRST_PAGE, 0
    while offset < FEDERATION_ENTITIES:
        listed = await _parts(federation, question, replace(call, limit=limit, offset=offset), until, part)
        ids = call.share.ids
        if len(listed) < limit or (ids and offset + limit >= len(ids)):
            return
        offset, limit = offset + limit, PAGE
    rule = f"at most {FEDERATION_ENTITIES} entities of one source"
    raise TooMany(f"registration {call.key[1]} has more entities than are asked for", rule=rule)


async def _parts(federation: Federation, question: Question, call: Call, until: float, part: _Part) -> Sequence[Any]:
    """Read an answer, and the rest of it where evolutions come in parts (6.3.10); the entities of it. Raises PeerSilent
    at the time `until`, PeerFailed when there is more and no way to ask for it."""
    reply = await federation.carry(replace(call, timeout_s=_left(call, until)))
    listed = _listed(reply)
    await _take(federation, question, call, reply, listed, part)
    if reply.kind == "partly":
        for named in _by_name(call, listed):
            await _rest(federation, question, named, reply.reach, until, part)
    return listed


def _by_name(call: Call, listed: Sequence[Any]) -> Iterator[Call]:
    """The call for the same entities by their ids: which match, and stand on which page, is another matter in another
    time."""
    if call.operation in _ONE:
        yield call
        return
    told = [one.get("id") for one in listed if isinstance(one, dict)]
    ids = [one for one in told if isinstance(one, str) and len(one) <= ID_CHARS]
    for share in in_pieces(call.operation, replace(call.share, ids=tuple(ids), id_pattern=""), None):
        yield replace(call, share=share, limit=max(1, len(share.ids)), offset=0)


async def _rest(
    federation: Federation, question: Question, call: Call, reach: Reach, until: float, part: _Part
) -> None:
    """What lies behind a part of evolutions, part by part."""
    named = dict(question.filters)
    options = tuple(flag for flag in call.flags if flag[0] not in named)
    while True:
        if question.onward is None or reach is None:
            raise PeerFailed(f"registration {call.key[1]} has more than it told at once")
        if part.instances > TEMPORAL_INSTANCES:
            rule = f"at most {TEMPORAL_INSTANCES} instances of one source"
            raise TooMany(f"registration {call.key[1]} has a longer past than is asked for", rule=rule)
        call = replace(call, flags=options + question.onward(reach), timeout_s=_left(call, until))
        try:
            reply = await federation.carry(call)
        except NotFound:  # nothing lies behind it
            return
        await _take(federation, question, call, reply, _listed(reply), part)
        if reply.kind != "partly":
            return
        if reply.reach == reach:
            raise PeerFailed(f"registration {call.key[1]} tells the same part of a past again and again")
        reach = reply.reach


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _left(call: Call, until: float) -> float:
    left = until - _clock()
    if left <= 0:
        raise PeerSilent(f"registration {call.key[1]} did not tell all it has in time")
    return left


def _take_map(call: Call, reply: Reply, part: _Part) -> None:
    """Read the entity map that a source made; its ids as far as the registration offers them."""
    try:
        ids = entity_map.received(reply.document, FEDERATION_ENTITIES + 1)
    except ShaharError as problem:
        raise PeerFailed(f"registration {call.key[1]} sent what is no entity map: {problem.detail:.200}") from None
    about = [replace(Ask(call.operation), ids=(one,)) for one in ids]
    part.ids += [ask.ids[0] for ask in about if shares(call.share.registration, ask)][:FEDERATION_ENTITIES]
    part.entity_map = reply.entity_map or entity_map.named(reply.document.get("id"))
    if len(ids) > FEDERATION_ENTITIES:
        rule = f"at most {FEDERATION_ENTITIES} entities of one source"
        raise TooMany(f"registration {call.key[1]} has more entities than are asked for", rule=rule)


def _listed(reply: Reply) -> list[Any]:
    """The entities of an answer; one alone counts as a list of one, no body as none."""
    if isinstance(reply.document, list):
        return reply.document[: 2 * PAGE]
    return [reply.document] if isinstance(reply.document, dict) else []


async def _take(
    federation: Federation, question: Question, call: Call, reply: Reply, listed: list[Any], part: _Part
) -> None:
    """Read what a source sent; raises PeerFailed for what is no entity, after the others were taken."""
    part.entity_map = reply.entity_map or part.entity_map
    wrong: ShaharError | None = None
    for body in listed:
        try:
            context = await _context_of(federation, call, reply, body)
            doc = _read(question, body, context)
        except ShaharError as problem:
            wrong = problem
            continue
        kept = narrowed(doc, call.share, question.ask, call.operation)
        if kept is not None and question.readable(kept["type"]):
            part.docs.append(kept)
            part.instances += sum(map(len, kept["attrs"].values())) if question.past else 0
    if wrong is not None:
        raise PeerFailed(f"registration {call.key[1]} sent what is no entity: {wrong.detail:.200}")


def _read(question: Question, body: Any, context: Context) -> Doc:
    if question.figures is not None:
        return received_figures(body, context)
    return received_past(body, context) if question.past else received(body, context)


async def _context_of(federation: Federation, call: Call, reply: Reply, body: Any) -> Context:
    """The @context that an entity of an answer is to be read in: its own, that of the answer's Link, ours."""
    inside = body.get("@context") if isinstance(body, dict) else None
    source = inside if inside is not None else reply.context
    if source is None or source == call.terms.link:
        return call.terms.context
    return await federation.contexts(source, call.origin.at)


def narrowed(doc: Doc, share: Share, ask: Ask, operation: str) -> Doc | None:
    """The entity as far as its source's registration offers it and the question asks for it; None: nothing of it."""
    asked = q.Query(ids=ask.ids, id_pattern=ask.id_pattern, types=ask.types)
    if not q.matches(asked, {**doc, "attrs": doc["attrs"]}):
        return None
    about = Ask(operation, ids=(doc["id"],), of_types=tuple(doc["type"]))
    offered = shares(share.registration, about)
    if not offered:
        return None
    attrs: frozenset[str] | None = frozenset()
    for one in offered:
        attrs = None if attrs is None or one.attrs is None else attrs | one.attrs
    datasets = share.registration.datasets
    if attrs is None and datasets is None:
        return doc
    kept: dict[str, Any] = {}
    for iri, instances in doc["attrs"].items():
        if attrs is None or iri in attrs:
            some = [one for one in instances if datasets is None or one.get("datasetId", "@none") in datasets]
            if some:
                kept[iri] = some
    return {**doc, "attrs": kept} if kept else None


__all__ = [
    "MAP",
    "MAP_PAST",
    "POST_QUERY",
    "QUERY",
    "QUERY_PAST",
    "RETRIEVE",
    "RETRIEVE_PAST",
    "Gathered",
    "Question",
    "gather",
    "in_pieces",
    "narrowed",
]
