"""Linked entities that registered context sources take part in: looked for here and at sources, level by level.

Promises
- Each level is one question to each source that may hold some of it, by id, and no id is looked for twice: circles
  end, here and between brokers (nobody is asked to join in turn).
- Bounded: in number and depth as linked entities are everywhere (model/linking), in time by LINKED_S for all levels
  together. A source whose part is missing is named in NGSILD-Warning.
- What comes from elsewhere is narrowed to the types that the actor may read, as what is here is.
Sources are asked for entities whose types are known: those held here, and those of which a relationship says the type
(objectType); so says clause 4.5.23.1.
Source: ETSI GS CIM 009 V1.9.1 clauses 4.5.23, 5.7.1.5, 5.7.2.5, 6.3.17.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from shahar.model import linking
from shahar.model import query as q
from shahar.model.context import Context
from shahar.model.entity import Doc
from shahar.model.linking import Hop, Join, Linked
from shahar.model.registration import Ask
from shahar.model.render import View
from shahar.services.federation import Federation, Missing
from shahar.services.federation.questions import QUERY, Gathered, Question, gather
from shahar.values.bounds import LINKED_S
from shahar.values.errors import PeerLooped, PeerSilent
from shahar.web.exchange import Request
from shahar.web.ngsild.distribution import origin_of, warnings
from shahar.web.ngsild.entity_parts import Headers, docs_here, reads, together

LATE = PeerSilent("no time was left to look for linked entities there")


async def linked_everywhere(
    request: Request, federation: Federation, context: Context, docs: Sequence[Doc], view: View, join: Join,
    types: q.Node | None,
) -> tuple[Linked, Headers]:  # fmt: skip
    """What these entities lead to, of `types` alone as far as it is here, with headers. Raises TooComplex."""
    search = _Search(request, federation, context, types)
    linked = await search.walk(docs, view, join)
    return linked, warnings(federation, request, search.missing.values())


async def fitting(
    request: Request, federation: Federation | None, context: Context, query: q.Query, docs: Mapping[str, Doc],
    found: Gathered,
) -> set[str]:  # fmt: skip
    """Those of the whole entities that fit the question; all, where sources were given its filters. What a condition
    asks of linked entities is looked up here and at sources; who of these is missing is noted in `found`. Raises
    TooComplex."""
    if found.filtered:
        return set(docs)
    depth = q.linked_depth(query.q)
    if query.q is None or not depth:
        return {one for one, doc in docs.items() if q.matches(query, doc)}
    bare = replace(query, q=None)
    docs = {one: doc for one, doc in docs.items() if q.matches(bare, doc)}
    if federation is None:
        return {one for one, doc in docs.items() if q.matches_q(query.q, doc, docs.get)}
    search = _Search(request, federation, context, None)
    linked = await search.walk(list(docs.values()), along(query.q, context), Join("flat", depth))
    for one in search.missing.values():
        found.miss(one.registration_id, one.problem)
    return {one for one, doc in docs.items() if q.matches_q(query.q, doc, linked.docs.get)}


def along(node: q.Node | None, context: Context) -> View:
    """The view that shows the relationships alone which a condition goes along."""
    below: dict[str, list[q.Node]] = {}
    for one in _linked_in(node):
        below.setdefault(one.attr, []).append(one.part)
    under = {attr: along(q.And(tuple(parts)), context) for attr, parts in below.items()}
    return View(context, pick=frozenset({"id", *below}), below=under)


def _linked_in(node: q.Node | None) -> Iterator[q.Linked]:
    match node:
        case q.Linked():
            yield node
        case q.And(parts) | q.Or(parts):
            for part in parts:
                yield from _linked_in(part)


class _Search:
    """One search through all levels: its time, and whose part is missing."""

    def __init__(self, request: Request, federation: Federation, context: Context, types: q.Node | None) -> None:
        self.request, self.federation, self.context, self.types = request, federation, context, types
        self.clock = asyncio.get_running_loop().time
        self.until = self.clock() + LINKED_S
        self.missing: dict[str, Missing] = {}

    async def walk(self, docs: Sequence[Doc], view: View, join: Join) -> Linked:
        """All levels."""
        going = linking.hops(docs, view, join)
        try:
            wanted = next(going)
            while True:
                wanted = going.send(await self._hop(wanted))
        except StopIteration as end:
            found: Linked = end.value
            return found

    async def _hop(self, wanted: Hop) -> list[Doc]:
        """The entities of one level, whole."""
        here = await docs_here(self.request, q.Query(ids=tuple(wanted), types=self.types))
        asks: dict[tuple[str, ...], list[str]] = {}
        for entity_id, said in wanted.items():
            kinds = here[entity_id]["type"] if entity_id in here else said
            if kinds:
                asks.setdefault(tuple(kinds), []).append(entity_id)
        told = await asyncio.gather(*(self._told(kinds, ids) for kinds, ids in asks.items()))
        found = {one: part for (kinds, ids), part in zip(asks.items(), told, strict=True) for one in ids}
        docs = [together(here.get(one), found.get(one, Gathered()), one, self.request.at) for one in wanted]
        return [doc for doc in docs if doc is not None]

    async def _told(self, kinds: Sequence[str], ids: Sequence[str]) -> Gathered:
        """What sources know of entities of these types."""
        node = q.TypeIs(kinds[0]) if len(kinds) == 1 else q.Or(tuple(q.TypeIs(kind) for kind in kinds))
        ask = Ask(ids=tuple(ids), types=node)
        origin = origin_of(self.request, self.context)
        left = self.until - self.clock()
        if left <= 0:
            self._late(ask)
            return Gathered()
        question = Question(QUERY, ask, lambda types: reads(self.request, types), within_s=left)
        found = await gather(self.federation, question, origin)
        self.missing |= {one.registration_id: one for one in found.missing}
        return found

    def _late(self, ask: Ask) -> None:
        """Name those who are not asked any more."""
        try:
            parts = self.federation.parts(QUERY[0], ask, origin_of(self.request, self.context))
        except PeerLooped:
            return
        self.missing |= {share.registration.id: Missing(share.registration.id, LATE) for share in parts.asked}
