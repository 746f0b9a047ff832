"""History being read: which instances lie in a window of time, how far a page of them reaches, and what they are.

A `Window` is compiled once for a question and asked for one entity after the other; keys are walked first, documents
are loaded for the page alone, so that a long history costs no memory. What lies in sealed days comes from the lake
(store/sealed) and is put together with the rows here, so that nobody above knows where an instance lay.
Promises: `reach` cuts a page between instants, never within one, so that whoever asks on from there misses nothing;
instances come in the order of time; each carries its `instanceId` (store/instances), a deletion its `deletedAt`.
Does not: decide who may; render; know what an entity's present value is.
Source: ETSI GS CIM 009 clauses 4.11, 5.7.3, 5.7.4, 6.3.10.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from shahar.model.temporal import Span
from shahar.store import history, instances, sealed
from shahar.store.db import Tx
from shahar.store.dialect import Dialect
from shahar.store.history import DELETED, SCOPE
from shahar.store.sealed import EVER, Floor, Part
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

    tenant: int
    span: Span
    wanted: Wanted
    moment: str
    where: str
    bindings: dict[str, Any] = field(hash=False)

    def sealed(self, tx: Tx, pks: Collection[int]) -> Part | None:
        """What of these entities' instances in it may be sealed."""
        wanted = self.wanted
        return sealed.part(
            tx, self.tenant, self.span, pks, attrs=wanted.attrs, without=wanted.without, datasets=wanted.datasets
        )


@dataclass(frozen=True, slots=True)
class Source:
    """One entity's instances in a window that are not sealed, of the newest `last` of each series where the span says
    so: `rows` is a table of them with `t`, the instant of each."""

    pk: int
    span: Span
    rows: str
    bindings: dict[str, Any] = field(hash=False)

    def select(self, columns: str, test: str = "true", beside: str = "") -> str:
        """The statement for these columns of the rows (`h`) that pass the test, joined to what stands `beside`."""
        return f"SELECT {columns} FROM {beside}({self.rows}) h WHERE {test}"


@dataclass(frozen=True, slots=True)
class Sources:
    """Several entities' instances in a window: those of each in the store, and what of all is sealed."""

    span: Span
    each: list[Source]
    sealed: Part | None = None


def sources(tx: Tx, view: Window, pks: Sequence[int]) -> Sources:
    """The entities' instances in the window."""
    part = view.sealed(tx, pks)
    if part is None or view.span.last is None:
        return Sources(view.span, [source(tx, view, pk) for pk in pks], part)
    floors = _both_floors(tx, view, pks, part, view.span.last)
    part.floor(floors)
    return Sources(view.span, [_above(tx, view, pk, [one for one in floors if one[0] == pk]) for pk in pks], part)


def source(tx: Tx, view: Window, pk: int) -> Source:
    """The entity's instances in the window, of an entity that has none in a sealed day."""
    given = view.bindings | {"entity": pk}
    within = f"entity = :entity AND {view.where}"
    if view.span.last is None:
        return Source(pk, view.span, f"SELECT *, {view.moment} AS t FROM history WHERE {within}", given)
    given["last"] = view.span.last
    if view.moment == "at":
        given["floors"] = orjson.dumps(_floors(tx, within, given)).decode()
        return Source(pk, view.span, f"{_above_floors(tx.dialect)} AND {within}", given)
    ranked = f"SELECT entity, at, attr, dataset, kind, t, rank FROM ({_ranked(view)}) r"
    return Source(pk, view.span, _NEWEST.format(ranked=ranked), given)


def _ranked(view: Window) -> str:
    """The places of the instances, each with its rank from the newest of its series."""
    newest = "row_number() OVER (PARTITION BY attr, dataset ORDER BY t DESC, at DESC, kind DESC)"
    keys = (
        f"SELECT entity, at, attr, dataset, kind, {view.moment} AS t FROM history"
        f" WHERE entity = :entity AND {view.where}"
    )
    return f"SELECT w.*, {newest} AS rank FROM ({keys}) w"


def _above_floors(dialect: Dialect) -> str:
    floors = dialect.table("floors", ("series", "part", "floor"))
    return (
        f"SELECT history.*, at AS t FROM {floors} f CROSS JOIN history"
        " WHERE attr = f.series AND dataset = f.part AND at >= f.floor"
    )


_NEWEST: Final = (
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
        floors.append((attr, dataset, -EVER if row is None else row[0]))
    return floors


def _both_floors(tx: Tx, view: Window, pks: Sequence[int], part: Part, last: int) -> list[Floor]:
    """The oldest of the newest `last` instances of each series, sealed and not."""
    found: dict[tuple[int, int, int], list[tuple[Instant, Instant, int]]] = {}
    statement = f"SELECT attr, dataset, t, at, kind FROM ({_ranked(view)}) r WHERE rank <= :last"
    for pk in pks:
        for attr, dataset, *place in tx.rows(statement, view.bindings | {"entity": pk, "last": last}):
            found.setdefault((pk, attr, dataset), []).append((place[0], place[1], place[2]))
    for pk, attr, dataset, t, at, kind in part.newest(last):
        found.setdefault((pk, attr, dataset), []).append((t, at, kind))
    floors = []
    for (pk, attr, dataset), places in found.items():
        t, at, kind = sorted(places, reverse=True)[:last][-1]
        floors.append((pk, attr, dataset, t, at, 0 if view.moment == "at" else kind))
    return floors


def _above(tx: Tx, view: Window, pk: int, floors: Sequence[Floor]) -> Source:
    table = tx.dialect.table("floors", ("series", "part", "floor", "stood", "sort"))
    rows = (
        f"SELECT h.*, {view.moment} AS t FROM {table} f {tx.dialect.joined} history h ON true"
        f" WHERE h.entity = :entity AND {view.where} AND h.attr = f.series AND h.dataset = f.part"
        f" AND ({view.moment} > f.floor OR ({view.moment} = f.floor AND (at > f.stood"
        " OR (at = f.stood AND kind >= f.sort))))"
    )
    given = view.bindings | {"entity": pk, "floors": orjson.dumps([one[1:] for one in floors]).decode()}
    return Source(pk, view.span, rows, given)


def window(tx: Tx, tenant: int, span: Span, wanted: Wanted) -> Window:
    """The window of a span over the wanted series of a tenant's entities."""
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
    return Window(tenant, span, wanted, moment, " AND ".join(parts), bindings)


def _numbers(tx: Tx, texts: Collection[str]) -> list[int]:
    """The numbers of the names that are known; 0 for "@none"."""
    listed = f"SELECT pk FROM name WHERE text IN {tx.dialect.texts('texts')}"
    found = [int(row[0]) for row in tx.rows(listed, {"texts": orjson.dumps(list(texts)).decode()})]
    return [*found, 0] if "@none" in texts else found


def present(tx: Tx, view: Window, pks: Sequence[int]) -> set[int]:
    """Which of the entities have an instance in the window."""
    statement = f"SELECT 1 FROM history WHERE entity = :entity AND {view.where} LIMIT 1"
    found = {pk for pk in pks if tx.row(statement, view.bindings | {"entity": pk}) is not None}
    part = view.sealed(tx, [pk for pk in pks if pk not in found]) if len(found) < len(pks) else None
    return found if part is None else found | part.present()


def holding(
    tx: Tx, view: Window, pks: Sequence[int], attr: str, least: float | None = None, most: float | None = None
) -> set[int]:
    """Which of the entities may have a sealed instance of an attribute in the window that `stream` would give."""
    part = view.sealed(tx, pks)
    test, given = _bounded(attr, least, most)
    return set() if part is None else part.present(test, **given)


def _bounded(attr: str, least: float | None, most: float | None) -> tuple[str, dict[str, Any]]:
    test, given = "p.attribute = $attr", dict[str, Any](attr=attr)
    for name, bound, beyond in (("least", least, "<"), ("most", most, ">")):
        if bound is not None:
            test, given[name] = f"{test} AND NOT (p.class = 'number' AND p.value {beyond} ${name})", bound
    return test, given


def stream(
    tx: Tx,
    view: Window,
    pk: int,
    attr: str,
    least: float | None = None,
    most: float | None = None,
    *,
    lake: bool = True,
) -> Iterator[Instance]:
    """The instances of one attribute in the window, one by one, in no order: for who looks for one of them. Those whose
    value is a number below `least` or above `most` may be left out; `lake`: not those that are sealed.
    """
    test = "attr = (SELECT pk FROM name WHERE text = :attr)"
    given = view.bindings | {"entity": pk, "attr": attr}
    number = tx.dialect.number("doc", "value")
    for name, bound, beyond in (("least", least, "<"), ("most", most, ">")):
        if bound is not None:
            test += f" AND NOT coalesce({number} {beyond} :{name}, false)"
            given[name] = bound
    statement = f"SELECT doc FROM history WHERE entity = :entity AND {view.where} AND {test}"
    for (text,) in tx.iterate(statement, given):
        yield orjson.loads(text)
    part = view.sealed(tx, [pk]) if lake else None
    if part is not None:
        narrowed, bounds = _bounded(attr, least, most)
        for days in part.few():
            for row in days.read(EVER, narrowed, **bounds):
                yield row[-1]


def reach(tx: Tx, found: Sources, most: int) -> Instant | None:
    """Up to which instant (down to which, when the newest are wanted) a page of about `most` instances of these
    entities goes, None when it holds all of them.

    The page is never empty and always goes on: it holds one instant at least, and one besides the first instant asked
    for, however many instances those are.
    """
    span = found.span
    sign = -1 if span.last is not None else 1
    least = [sign * t for t in _sealed_moments(found, most + 1, "true")]
    for each in found.each:
        bound = sign * least[-1] if len(least) > most else None
        given = {} if bound is None else {"bound": bound}
        moments = _moments(tx, each, most + 1, f"t {_UP_TO[sign]} :bound" if given else "true", **given)
        least = list(heapq.merge(least, (sign * t for t in moments)))[: most + 1]
    if len(least) <= most:
        return None
    cut = sign * max((t for t in least[:most] if t < least[most]), default=least[0])
    if cut == span.start and sign > 0:
        cut = min(_first(tx, found, "t > {}cut", cut), default=cut)
    return cut if _first(tx, found, f"t {_BEYOND[sign]} {{}}cut", cut) else None


def _first(tx: Tx, found: Sources, test: str, cut: Instant) -> list[Instant]:
    """The first instant of each entity that passes the test, and of what is sealed."""
    firsts = [t for each in found.each for t in _moments(tx, each, 1, test.format(":"), cut=cut)]
    return [*firsts, *_sealed_moments(found, 1, test.format("$").replace("t ", "{t} ", 1), cut=cut)]


def _sealed_moments(found: Sources, limit: int, test: str, **given: Any) -> list[Instant]:
    return [] if found.sealed is None else [t for _, t in found.sealed.moments(limit, test, **given)]


_UP_TO: Final = {1: "<=", -1: ">="}
_BEYOND: Final = {1: ">", -1: "<"}


def _moments(tx: Tx, each: Source, limit: int, test: str, **bindings: Any) -> list[Instant]:
    """The first (or last) instants of an entity's instances, as many times as there are instances."""
    order = "ASC" if each.span.last is None else "DESC"
    statement = f"{each.select('t', test)} ORDER BY t {order} LIMIT :limit"
    return [int(row[0]) for row in tx.rows(statement, each.bindings | {"limit": limit} | bindings)]


def read(
    tx: Tx, found: Sources, tenant: int, cut: Instant | None = None, most: int = TEMPORAL_INSTANCES
) -> list[dict[str, list[Instance]]]:
    """Of each entity attribute IRI -> instances in the order of time, up to `cut`; TooMany beyond `most`."""
    up_to = _UP_TO[1 if found.span.last is None else -1]
    rows: dict[int, list[_Row]] = {each.pk: [] for each in found.each}
    left = most
    if found.sealed is not None:
        test, given = ("true", {}) if cut is None else (f"{{t}} {up_to} $cut", {"cut": cut})
        for pk, *rest in found.sealed.read(left + 1, test, **given):
            rows[pk].append(_Row._make(rest))
            left = _fewer(left)
    read = []
    for each in found.each:
        listed = rows.pop(each.pk)
        for row in _hot(tx, each, "true" if cut is None else f"t {up_to} :cut", cut, left + 1):
            listed.append(row)
            left = _fewer(left)
        listed.sort(key=lambda row: row[:-1])
        read.append(_collected(tx, listed, instances.Names(tx, tenant, each.pk)))
    return read


class _Row(NamedTuple):
    t: Instant
    at: Instant
    attr: int
    dataset: int
    kind: int
    doc: Any


def _fewer(left: int) -> int:
    if not left:
        raise TooMany(
            "the history asked for is too long: narrow the time or ask for lastN",
            field="timerel",
            rule=f"at most {TEMPORAL_INSTANCES} instances in one answer",
        )
    return left - 1


def _hot(tx: Tx, each: Source, test: str, cut: Instant | None, limit: int) -> Iterator[_Row]:
    statement = each.select("t, at, attr, dataset, kind, doc", test) + " LIMIT :limit"
    given = each.bindings | {"limit": limit} | ({} if cut is None else {"cut": cut})
    for *place, text in tx.iterate(statement, given):
        yield _Row._make((*place, orjson.loads(text)))


def _collected(tx: Tx, rows: Iterable[_Row], names: instances.Names) -> dict[str, list[Instance]]:
    series: dict[str, list[Instance]] = {}
    texts: dict[int, str] = {}
    for row in rows:
        one = row.doc
        if row.kind == DELETED:
            one["deletedAt"] = row.at
        one.setdefault("instanceId", names.of(instances.Place(row.at, row.attr, row.dataset, row.kind)))
        if row.attr not in texts:
            texts[row.attr] = history.text(tx, row.attr)
        series.setdefault(texts[row.attr], []).append(one)
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
