"""What sources know about a question: each is asked for what it offers, and what comes back is narrowed to that.

Promises
- All sources are asked at once; each has its own time for all of its pages together, and what came within it counts.
  The time is a length measured by the loop; no clock is read.
- What a source sends beyond its registration (other ids, types, attributes, datasets) is not looked at (4.3.6.1); nor
  what the question did not ask for, nor entities whose types the asking actor may not read.
- Every source that did not answer, or not wholly, stands in `missing`. A source that knows of nothing is not missing.
Does not: ask for local data, apply filters of values (those who put the entity together do).
Source: ETSI GS CIM 009 V1.9.1 clauses 4.3.6.1, 4.3.6.7, 5.7.1.4, 5.7.2.4, 6.3.17.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from shahar.model import query as q
from shahar.model.context import CORE, Context
from shahar.model.entity import Doc
from shahar.model.federation import received
from shahar.model.pasts import received_past
from shahar.model.registration import Ask, Registration, Share, shares
from shahar.services.federation import Federation
from shahar.services.federation.calls import Call, Missing, Origin, Reply, Terms
from shahar.values.bounds import FEDERATION_ENTITIES
from shahar.values.errors import NotFound, PeerFailed, PeerLooped, PeerSilent, ShaharError, TooMany

RETRIEVE: Final = ("retrieveEntity", "queryEntity", "queryBatch")
QUERY: Final = ("queryEntity", "queryBatch")
POST_QUERY: Final = ("queryBatch", "queryEntity")
RETRIEVE_PAST: Final = ("retrieveTemporal", "queryTemporal")
QUERY_PAST: Final = ("queryTemporal",)
_ONE: Final = frozenset({"retrieveEntity", "retrieveTemporal"})
FIRST_PAGE: Final = 100
PAGE: Final = 1_000
_WITH_STAMPS: Final = (("options", "sysAttrs"),)


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
    filtered: bool = True
    """Whether every source was given the filters of the question."""

    @property
    def ids(self) -> list[str]:
        """Every entity of which a source knows."""
        return list(dict.fromkeys([*self.equal, *self.extra]))


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
    found.filtered = origin.context.plain and not recast
    for (_, share), (docs, problem) in zip(chosen, results, strict=True):
        target = found.extra if share.registration.mode == "auxiliary" else found.equal
        for doc in docs:
            target.setdefault(doc["id"], []).append(doc)
        if problem is not None:
            found.missing.append(Missing(share.registration.id, problem))
    return found


def _chosen(federation: Federation, question: Question, origin: Origin) -> list[tuple[str, Share]]:
    """Each share with the first of the operations that its source offers."""
    chosen: list[tuple[str, Share]] = []
    served: set[str] = set()
    for operation in question.operations:
        asked = federation.parts(operation, question.ask, origin).asked
        chosen += [
            (operation, share)
            for share in asked
            if share.registration.id not in served | {question.without} and _is_like(share.registration, question.csf)
        ]
        served |= {share.registration.id for share in asked}
    return chosen


def _is_like(registration: Registration, csf: q.Node | None) -> bool:
    """Whether a context source filter admits the source (4.9)."""
    return csf is None or q.matches_q(csf, {"id": registration.id, "attrs": registration.described})


async def _from_one(
    federation: Federation, question: Question, operation: str, share: Share, origin: Origin
) -> tuple[list[Doc], ShaharError | None]:
    """The entities of one source, and what went wrong, if something did."""
    docs: list[Doc] = []
    try:
        call = await federation.call(operation, share, origin)
        understood = call.terms.context is origin.context and origin.context.plain
        if call.terms.context is origin.context and not understood:  # it may read no scoped contexts (5.5.7)
            call = replace(call, terms=Terms(CORE))
        call = replace(call, flags=_WITH_STAMPS + (question.filters if understood else ()))
        await _pages(federation, question, call, docs)
    except NotFound:
        return docs, None
    except ShaharError as problem:
        return docs, problem
    return docs, None


async def _pages(federation: Federation, question: Question, call: Call, docs: list[Doc]) -> None:
    if call.operation in _ONE:
        reply = await federation.carry(replace(call, entity_id=question.entity_id))
        await _take(federation, question, call, reply, _listed(reply), docs)
        _check_whole(call, reply)
        return
    limit, offset = FIRST_PAGE, 0
    clock = asyncio.get_running_loop().time
    until = clock() + call.timeout_s
    while offset < FEDERATION_ENTITIES:
        left = until - clock()
        if left <= 0:
            raise PeerSilent(f"registration {call.key[1]} did not tell all it has in time")
        reply = await federation.carry(replace(call, limit=limit, offset=offset, timeout_s=left))
        listed = _listed(reply)
        await _take(federation, question, call, reply, listed, docs)
        _check_whole(call, reply)
        if len(listed) < limit:
            return
        offset, limit = offset + limit, PAGE
    rule = f"at most {FEDERATION_ENTITIES} entities of one source"
    raise TooMany(f"registration {call.key[1]} has more entities than are asked for", rule=rule)


def _check_whole(call: Call, reply: Reply) -> None:
    """PeerFailed when a source has told a part of what it has alone (206)."""
    if reply.kind == "partly":
        raise PeerFailed(f"registration {call.key[1]} has more than it told at once")


def _listed(reply: Reply) -> list[Any]:
    """The entities of an answer; one alone counts as a list of one, no body as none."""
    if isinstance(reply.document, list):
        return reply.document[: 2 * PAGE]
    return [reply.document] if isinstance(reply.document, dict) else []


async def _take(
    federation: Federation, question: Question, call: Call, reply: Reply, listed: list[Any], docs: list[Doc]
) -> None:
    """Read what a source sent; raises PeerFailed for what is no entity, after the others were taken."""
    wrong: ShaharError | None = None
    for body in listed:
        try:
            context = await _context_of(federation, call, reply, body)
            doc = received_past(body, context) if question.past else received(body, context)
        except ShaharError as problem:
            wrong = problem
            continue
        kept = narrowed(doc, call.share, question.ask, call.operation)
        if kept is not None and question.readable(kept["type"]):
            docs.append(kept)
    if wrong is not None:
        raise PeerFailed(f"registration {call.key[1]} sent what is no entity: {wrong.detail:.200}")


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
    "POST_QUERY",
    "QUERY",
    "QUERY_PAST",
    "RETRIEVE",
    "RETRIEVE_PAST",
    "Gathered",
    "Question",
    "gather",
    "narrowed",
]
