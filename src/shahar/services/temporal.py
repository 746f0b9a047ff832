"""The past of the city asked for: evolutions of entities over a span of time, page by page, whole or as figures.

Promises: entities are chosen by what they were in the span, not by what they are now (clause 5.7.4.4), and are counted
and paged after that; a history of any length costs the memory of a page.
Does not: speak HTTP or SQL; check rights; change anything (services/past); read the clock.
Source: ETSI GS CIM 009 clauses 4.11, 4.5.19, 5.7.3, 5.7.4, 6.3.10.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from shahar.model import query as q
from shahar.model.entity import Doc, Instance
from shahar.model.evolution import Figure
from shahar.model.figures import check_methods
from shahar.model.temporal import Aggregation, Span
from shahar.services.broker import Broker, Evolution
from shahar.store import aggregate, entities, tenants, windows
from shahar.store.db import Tx
from shahar.store.windows import Wanted
from shahar.values.bounds import TEMPORAL_PAGE
from shahar.values.errors import Invalid, NotFound, TooComplex
from shahar.values.instants import Instant

__all__ = ["Answer", "Asked", "Past", "Span", "Wanted", "find", "retrieve", "types_of"]

ORDERED_MAX: Final = 10_000
"""Entities put in order for one answer."""
EVERY: Final = Wanted()
"""Every series of an entity."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to the past. `seen` are the series that are shown, None where no attribute is; `needed` those of which
    an entity must have an instance in the span to be in the answer, None: it need not have any.
    """

    span: Span
    seen: Wanted | None = EVERY
    needed: Wanted | None = EVERY
    aggregation: Aggregation | None = None
    most: int = TEMPORAL_PAGE


@dataclass(frozen=True, slots=True)
class Past(Evolution):
    """An entity's evolution, or its figures where an aggregation was asked for."""

    figures: list[Figure] = field(default_factory=list)


@dataclass(slots=True)
class Answer:
    """Evolutions in one page; `cut` is the instant up to which the page goes when there is more, `total` how many
    entities match, when that was asked."""

    found: list[Past] = field(default_factory=list)
    total: int | None = None
    more: bool = False
    cut: Instant | None = None


async def types_of(broker: Broker, tenant: str, entity_id: str) -> list[str] | None:
    """The types of an entity, living or deleted; None when the id was never used."""

    def work(tx: Tx) -> list[str] | None:
        try:
            found = entities.locate(tx, tenants.number(tx, tenant), entity_id)
        except NotFound:
            return None
        return None if found is None else list(found[1]["type"])

    return await broker.db.read(work)


async def retrieve(broker: Broker, tenant: str, entity_id: str, asked: Asked) -> Answer:
    """One entity's evolution; NotFound when the id was never used, or nothing of it lies in the span."""

    def work(tx: Tx) -> Answer:
        number = tenants.number(tx, tenant)
        found = entities.locate(tx, number, entity_id)
        if found is None:
            raise NotFound(f"entity {entity_id} does not exist", field="id")
        if asked.needed is not None:
            view = windows.window(tx, number, asked.span, asked.needed)
            if not windows.present(tx, view, [found[0]]):
                raise NotFound(f"entity {entity_id} has nothing of what was asked in that time", field="timerel")
        return _told(tx, number, [found], asked)

    return await broker.db.read(work)


async def find(
    broker: Broker,
    tenant: str,
    query: q.Query,
    asked: Asked,
    *,
    limit: int,
    offset: int = 0,
    count: bool = False,
    order: str = "",
) -> Answer:
    """A page of the evolutions that match, in the order of creation or that of ids (`order`: asc or desc)."""

    def work(tx: Tx) -> Answer:
        number = tenants.number(tx, tenant)
        page, total, more = _page(_matching(tx, number, query, asked), limit, offset, count, order)
        answer = _told(tx, number, page, asked)
        answer.total, answer.more = total, more
        return answer

    return await broker.db.read(work)


_Row = tuple[int, Doc]


def _page(
    matching: Iterator[_Row], limit: int, offset: int, count: bool, order: str
) -> tuple[list[_Row], int | None, bool]:
    """The rows of a page, how many match when that is wanted, and whether there are more."""
    if order:
        ranked: list[_Row] = []
        for row in matching:
            if len(ranked) == ORDERED_MAX:
                rule = f"at most {ORDERED_MAX} matches"
                raise TooComplex("too many entities match to be put in order", field="orderBy", rule=rule)
            ranked.append(row)
        ranked.sort(key=lambda row: str(row[1]["id"]), reverse=order == "desc")
        matching = iter(ranked)
    page: list[_Row] = []
    matched = 0
    for row in matching:
        matched += 1
        if matched > offset and len(page) < limit:
            page.append(row)
        elif not count and matched > offset + limit:
            break
    return page, matched if count else None, matched > offset + limit


def _matching(tx: Tx, tenant: int, query: q.Query, asked: Asked) -> Iterator[_Row]:
    """The entities, in the order of creation, that the question chooses (clause 5.7.4.4)."""
    needed = windows.window(tx, tenant, asked.span, asked.needed) if asked.needed is not None else None
    whole = windows.window(tx, tenant, replace(asked.span, last=None), Wanted())
    bare = q.Query(ids=query.ids, id_pattern=query.id_pattern, types=query.types)
    for rows in _some(entities.each(tx, tenant, bare)):
        if needed is not None:
            there = windows.present(tx, needed, [pk for pk, _ in rows])
            rows = [row for row in rows if row[0] in there]
        lake = _Lake(tx, whole, [pk for pk, _ in rows])
        for pk, doc in rows:
            over = _Over(tx, whole, pk, doc, lake)
            if query.q is not None and not over.holds(query.q):
                continue
            if query.geo is not None and not over.lies(query.geo):
                continue
            if query.scope is not None and not over.scoped(query.scope):
                continue
            yield pk, doc


def _some(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    """The rows in lists of more and more, so that the lake is asked seldom and a first page comes soon."""
    size = TEMPORAL_PAGE
    while some := list(islice(rows, size)):
        yield some
        size = min(1_000, size * 2)


class _Lake:
    """Which of some entities may have a sealed instance that satisfies a term: asked once a term."""

    def __init__(self, tx: Tx, view: windows.Window, pks: list[int]) -> None:
        self._tx, self._view, self._pks = tx, view, pks
        self._known: dict[tuple[Any, ...], set[int]] = {}

    def has(self, pk: int, *term: Any) -> bool:
        """Whether an entity has one: attribute, least, most."""
        if term not in self._known:
            self._known[term] = windows.holding(self._tx, self._view, self._pks, *term)
        return pk in self._known[term]


@dataclass(frozen=True, slots=True)
class _Over:
    """An entity over a span of time: conditions hold when one of the instances in it satisfies them.

    An attribute that is never observed has no instants: its present value is asked.
    """

    tx: Tx
    view: windows.Window
    pk: int
    doc: Doc
    lake: _Lake

    def holds(self, node: q.Node) -> bool:
        """Whether a q holds (clause 4.9): each of its terms for any one instance, as in the present."""
        match node:
            case q.And(parts):
                return all(self.holds(part) for part in parts)
            case q.Or(parts):
                return any(self.holds(part) for part in parts)
            case q.Compare(path=path) | q.Exists(path=path):
                return any(q.matches_q(node, one) for one in self._instants_of(path.attr, node)) or q.matches_q(
                    node, {**self.doc, "attrs": {}}
                )
        raise Invalid("the past follows no relationships", field="q", rule="ETSI GS CIM 009 clause 5.7.4.4")

    def lies(self, geo: q.Geo) -> bool:
        """Whether one of its places lies as the geo query says (clause 4.10)."""
        return any(q.matches_geo(geo, one) for one in self._instants_of(geo.attr))

    def _instants_of(self, attr: str, node: q.Node | None = None) -> Iterator[Doc]:
        """The entity with one instance of the attribute after the other, of those that may satisfy `node`."""
        least, most = _numbers(node)
        lake = self.lake.has(self.pk, attr, least, most)
        for one in windows.stream(self.tx, self.view, self.pk, attr, least, most, lake=lake):
            yield {**self.doc, "attrs": {attr: [one]}}
        for one in self.doc["attrs"].get(attr, ()):
            if "observedAt" not in one:
                yield {**self.doc, "attrs": {attr: [one]}}

    def scoped(self, node: q.Node) -> bool:
        """Whether it had such scopes at some time of the span, perhaps since before it (annex C.5.16); the first that
        history knows it had since ever."""
        span = self.view.span
        known = windows.scopes(self.tx, self.pk)
        if not known:
            return q.matches_scope(node, self.doc.get("scope", ()))
        starts: list[Instant | None] = [None, *(at for at, _ in known[1:])]
        ends = [*starts[1:], None]
        return any(
            q.matches_scope(node, scopes)
            for (_, scopes), start, end in zip(known, starts, ends, strict=True)
            if (start is None or span.end is None or start < span.end)
            and (end is None or span.start is None or end > span.start)
        )


def _numbers(node: q.Node | None) -> tuple[float | None, float | None]:
    """The bounds within which an instance's own number must lie to satisfy a term: None where it says nothing."""
    match node:
        case q.Compare(path=q.Path(subs=(), keys=()), op=op, value=int() | float() as value) if value is not True:
            if op in {">", ">="}:
                return value, None
            if op in {"<", "<="}:
                return None, value
    return None, None


def _told(tx: Tx, tenant: int, page: Sequence[_Row], asked: Asked) -> Answer:
    """The evolutions of these entities, cut where a page of instances ends."""
    if asked.seen is None:
        return Answer([Past(doc, {}) for _, doc in page])
    view = windows.window(tx, tenant, asked.span, asked.seen)
    sources = windows.sources(tx, view, [pk for pk, _ in page])
    if asked.aggregation is not None:
        return Answer(list(_figures(tx, page, sources, asked.seen, asked.aggregation)))
    cut = windows.reach(tx, sources, asked.most)
    answer = Answer(cut=cut)
    for series, (_, doc) in zip(windows.read(tx, sources, tenant, cut), page, strict=True):
        shown = _with_empty(series, doc, asked) if cut is not None else series
        answer.found.append(Past(doc, shown))
    return answer


def _figures(
    tx: Tx, page: Sequence[_Row], sources: windows.Sources, seen: Wanted, wanted: Aggregation
) -> Iterator[Past]:
    """The figures of these entities. Malformed when a method is not for the values of an attribute that was asked for
    by name (5.7.4.4), TooMany when there are more periods than an answer holds."""
    for figures, (_, doc) in zip(aggregate.figures(tx, sources, wanted), page, strict=True):
        check_methods(figures, seen.attrs, wanted.methods)
        yield Past(doc, {}, figures)


def _with_empty(series: dict[str, list[Instance]], doc: Doc, asked: Asked) -> dict[str, list[Instance]]:
    """The series of a page with those, empty, whose present value lies in the span but not in the page."""
    seen, span = asked.seen, asked.span
    assert seen is not None
    for iri, listed in doc["attrs"].items():
        if iri in series or not seen.has(iri):
            continue
        for one in listed:
            at = one.get(span.by or "observedAt")
            if at is not None and (span.start is None or at >= span.start) and (span.end is None or at < span.end):
                series = {**series, iri: []}
    return series
