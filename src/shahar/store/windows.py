"""History being read: which instances lie in a window of time, how far a page of them reaches, and what they are.

A `Window` is compiled once for a question and asked for one entity after the other; keys are walked first, documents
are loaded for the page alone, so that a long history costs no memory.
Promises: `reach` cuts a page between instants, never within one, so that whoever asks on from there misses nothing;
instances come in the order of time; each carries its `instanceId` (store/instances), a deletion its `deletedAt`.
Does not: decide who may; render; know what an entity's present value is.
Source: ETSI GS CIM 009 clauses 4.11, 5.7.3, 5.7.4, 6.3.10.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from shahar.model.temporal import Span
from shahar.store import instances
from shahar.store.db import Tx
from shahar.store.dialect import Dialect
from shahar.store.history import DELETED, SCOPE
from shahar.values.bounds import TEMPORAL_INSTANCES
from shahar.values.errors import TooMany
from shahar.values.instants import Instant

_MOMENTS: Final = {
    "": ("at", "kind < 2"),
    "observedAt": ("at", "kind = 1"),
    "deletedAt": ("at", "kind = 2"),
    "modifiedAt": ("modified_at", "kind < 2"),
    "createdAt": ("", "kind < 2"),
}
"""The column of an instance's instant (where there is none, its document tells), and the kinds that have one."""

Instance = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which series of an entity: attribute IRIs (empty: all), those left out, datasets ("@none" is the default one)."""

    attrs: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    datasets: frozenset[str] | None = None

    def has(self, iri: str) -> bool:
        """Whether an attribute is among them."""
        return iri not in self.without and (not self.attrs or iri in self.attrs)


@dataclass(frozen=True, slots=True)
class Window:
    """A span and the wanted series as a condition on rows of `history`; `moment` is the SQL of an instance's instant in
    it.
    """

    span: Span
    moment: str
    where: str
    bindings: dict[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Source:
    """One entity's instances in a window, of the newest `last` of each series where the span says so: `rows` is a table
    of them with `t`, the instant of each."""

    pk: int
    span: Span
    rows: str
    bindings: dict[str, Any] = field(hash=False)

    def select(self, columns: str, test: str = "true", beside: str = "") -> str:
        """The statement for these columns of the rows (`h`) that pass the test, joined to what stands `beside`."""
        return f"SELECT {columns} FROM {beside}({self.rows}) h WHERE {test}"


def source(tx: Tx, view: Window, pk: int) -> Source:
    """The entity's instances in the window."""
    given = view.bindings | {"entity": pk}
    within = f"entity = :entity AND {view.where}"
    if view.span.last is None:
        return Source(pk, view.span, f"SELECT *, {view.moment} AS t FROM history WHERE {within}", given)
    given["last"] = view.span.last
    if view.moment == "at":
        given["floors"] = orjson.dumps(_floors(tx, within, given)).decode()
        return Source(pk, view.span, f"{_above_floors(tx.dialect)} AND {within}", given)
    newest = "row_number() OVER (PARTITION BY attr, dataset ORDER BY t DESC, at DESC)"
    keys = f"SELECT entity, at, attr, dataset, kind, {view.moment} AS t FROM history WHERE {within}"
    return Source(pk, view.span, _RANKED.format(ranked=f"SELECT *, {newest} AS rank FROM ({keys}) w"), given)


def _above_floors(dialect: Dialect) -> str:
    floors = dialect.table("floors", ("series", "part", "floor"))
    return (
        f"SELECT history.*, at AS t FROM {floors} f CROSS JOIN history"
        " WHERE attr = f.series AND dataset = f.part AND at >= f.floor"
    )


_RANKED: Final = (
    "SELECT g.*, k.t FROM ({ranked}) k JOIN history g ON g.entity = k.entity AND g.at = k.at AND g.attr = k.attr"
    " AND g.dataset = k.dataset AND g.kind = k.kind WHERE k.rank <= :last"
)


def _floors(tx: Tx, within: str, given: dict[str, Any]) -> list[tuple[int, int, Instant]]:
    """From which instant on the newest `last` instances of each series stand: found backwards from the newest, for a
    series whose present is asked for must not cost its whole past."""
    nth = (
        f"SELECT at FROM history WHERE {within} AND attr = :a AND dataset = :d"
        " ORDER BY at DESC LIMIT 1 OFFSET :last - 1"
    )
    floors = []
    for attr, dataset in tx.rows(f"SELECT DISTINCT attr, dataset FROM history WHERE {within}", given):
        row = tx.row(nth, given | {"a": attr, "d": dataset})
        floors.append((attr, dataset, _EVER if row is None else row[0]))
    return floors


_EVER: Final = -(1 << 62)


def window(tx: Tx, span: Span, wanted: Wanted) -> Window:
    """The window of a span over the wanted series."""
    moment, kinds = _MOMENTS[span.by]
    moment = moment or tx.dialect.integer("doc", "createdAt")
    parts, bindings = [kinds], dict[str, Any]()
    if span.start is not None:
        parts.append(f"{moment} >= :start")
        bindings["start"] = span.start
    if span.end is not None:
        parts.append(f"{moment} < :end")
        bindings["end"] = span.end
    dialect = tx.dialect
    for name, column, test, texts in (
        ("attrs", "attr", "IN", wanted.attrs),
        ("without", "attr", "NOT IN", wanted.without),
        ("datasets", "dataset", "IN", wanted.datasets),
    ):
        if texts or (name == "datasets" and texts is not None):
            parts.append(f"{column} {test} {dialect.numbers(name)}")
            bindings[name] = orjson.dumps(_numbers(tx, texts or ())).decode()
    return Window(span, moment, " AND ".join(parts), bindings)


def _numbers(tx: Tx, texts: Collection[str]) -> list[int]:
    """The numbers of the names that are known; 0 for "@none"."""
    listed = f"SELECT pk FROM name WHERE text IN {tx.dialect.texts('texts')}"
    found = [int(row[0]) for row in tx.rows(listed, {"texts": orjson.dumps(list(texts)).decode()})]
    return [*found, 0] if "@none" in texts else found


def any_in(tx: Tx, view: Window, pk: int) -> bool:
    """Whether the entity has an instance in the window."""
    statement = f"SELECT 1 FROM history WHERE entity = :entity AND {view.where} LIMIT 1"
    return tx.row(statement, view.bindings | {"entity": pk}) is not None


def stream(
    tx: Tx, view: Window, pk: int, attr: str, least: float | None = None, most: float | None = None
) -> Iterator[Instance]:
    """The instances of one attribute in the window, one by one, in no order: for who looks for one of them. Those whose
    value is a number below `least` or above `most` may be left out."""
    test = "attr = (SELECT pk FROM name WHERE text = :attr)"
    given = view.bindings | {"entity": pk, "attr": attr, "least": least, "most": most}
    for bound, beyond in ((least, "< :least"), (most, "> :most")):
        if bound is not None:
            test += f" AND NOT coalesce({tx.dialect.number('doc', 'value')} {beyond}, false)"
    statement = f"SELECT doc FROM history WHERE entity = :entity AND {view.where} AND {test}"
    for (text,) in tx.iterate(statement, given):
        yield orjson.loads(text)


def reach(tx: Tx, sources: Sequence[Source], most: int) -> Instant | None:
    """Up to which instant (down to which, when the newest are wanted) a page of about `most` instances of these
    entities goes, None when it holds all of them.

    The page is never empty and always goes on: it holds one instant at least, and one besides the first instant asked
    for, however many instances those are.
    """
    span = sources[0].span if sources else Span()
    sign = -1 if span.last is not None else 1
    least: list[int] = []
    for each in sources:
        bound = sign * least[-1] if len(least) > most else None
        found = _moments(tx, each, most + 1, f"t {_UP_TO[sign]} :bound" if bound is not None else "true", bound=bound)
        least = list(heapq.merge(least, (sign * t for t in found)))[: most + 1]
    if len(least) <= most:
        return None
    cut = sign * max((t for t in least[:most] if t < least[most]), default=least[0])
    if cut == span.start and sign > 0:
        cut = min((t for each in sources for t in _moments(tx, each, 1, "t > :cut", cut=cut)), default=cut)
    beyond = f"t {_BEYOND[sign]} :cut"
    return cut if any(_moments(tx, each, 1, beyond, cut=cut) for each in sources) else None


_UP_TO: Final = {1: "<=", -1: ">="}
_BEYOND: Final = {1: ">", -1: "<"}


def _moments(tx: Tx, each: Source, limit: int, test: str, **bindings: Any) -> list[Instant]:
    """The first (or last) instants of an entity's instances, as many times as there are instances."""
    order = "ASC" if each.span.last is None else "DESC"
    statement = f"{each.select('t', test)} ORDER BY t {order} LIMIT :limit"
    return [int(row[0]) for row in tx.rows(statement, each.bindings | {"limit": limit} | bindings)]


def read(
    tx: Tx, tenant: int, each: Source, cut: Instant | None = None, most: int = TEMPORAL_INSTANCES
) -> dict[str, list[Instance]]:
    """Attribute IRI -> instances in the order of time, up to `cut`; TooMany beyond `most`."""
    test = "true" if cut is None else f"t {_UP_TO[1 if each.span.last is None else -1]} :cut"
    statement = (
        "SELECT h.at, h.attr, h.dataset, h.kind, h.doc, n.text"
        f" FROM ({each.select('at, attr, dataset, kind, doc, t', test)}) h JOIN name n ON n.pk = h.attr"
        " ORDER BY h.t, h.at LIMIT :limit"
    )
    rows = tx.iterate(statement, each.bindings | {"limit": most + 1} | ({} if cut is None else {"cut": cut}))
    return _collected(rows, instances.Names(tx, tenant, each.pk), most)


def _collected(rows: Iterable[Any], names: instances.Names, most: int) -> dict[str, list[Instance]]:
    series: dict[str, list[Instance]] = {}
    for number, (at, attr, dataset, kind, text, iri) in enumerate(rows):
        if number == most:
            raise TooMany(
                "the history asked for is too long: narrow the time or ask for lastN",
                field="timerel",
                rule=f"at most {TEMPORAL_INSTANCES} instances in one answer",
            )
        one = orjson.loads(text)
        if kind == DELETED:
            one["deletedAt"] = at
        one.setdefault("instanceId", names.of(instances.Place(at, attr, dataset, kind)))
        series.setdefault(iri, []).append(one)
    return series


def scopes(tx: Tx, pk: int) -> list[tuple[Instant, list[str]]]:
    """The scopes of an entity over time, each from the instant on from which they held; empty: it never had any that
    history knows."""
    rows = tx.rows(
        "SELECT at, kind, doc FROM history WHERE entity = :entity AND attr = (SELECT pk FROM name WHERE text = :scope)"
        " ORDER BY at, kind",
        {"entity": pk, "scope": SCOPE},
    )
    return [(int(at), [] if kind == DELETED else orjson.loads(text)["value"]) for at, kind, text in rows]
