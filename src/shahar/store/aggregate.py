"""History as figures of periods: counts, sums, means, extremes of the instances of each series, made by the engine.

Promises: no instance is loaded, however many there are; a period without instances is left out; figures are made of the
values that the method is for: numbers and booleans (true is 1), the sizes of arrays, texts and dates in their order,
times of day.
The standard deviation is that of all the values in the period (divided by their number).
Does not: mix kinds of values in one figure: where a series holds several, numbers count before texts.
Source: ETSI GS CIM 009 clause 4.5.19.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import orjson

from shahar.model.columns import CLASSES, type_of
from shahar.model.evolution import PLURAL, Figure
from shahar.model.figures import ARRAY, TIME, time_of_day, valued
from shahar.model.temporal import Aggregation, Period, check_periods, edges
from shahar.store import history
from shahar.store.db import Tx
from shahar.store.dialect import Dialect
from shahar.store.sealed import Part
from shahar.store.windows import Source, Sources
from shahar.values.bounds import TEMPORAL_PERIODS
from shahar.values.errors import TooComplex
from shahar.values.instants import Instant

_OTHERS: Final = tuple(member for member in PLURAL if member != "value")


@lru_cache
def _value(dialect: Dialect) -> str:
    """The value of an instance, as a number or a text."""
    plain, typed = dialect.text("doc", "value"), dialect.text("doc", "value", "@value")
    found = f"coalesce({', '.join([typed, plain, *(dialect.text('doc', member) for member in _OTHERS)])})"
    return dialect.sort("doc", "value", number=plain, boolean=found, array=found, text=found, other=found)


@lru_cache
def _kind(dialect: Dialect) -> str:
    """Of which kind it is: number 0, boolean 1, array 2, text or date 3, time 4, anything else 5."""
    of_time = f"coalesce({dialect.text('doc', 'valueType')}, {dialect.text('doc', 'value', '@type')})"
    other = f"""CASE {dialect.text("doc", "type")} WHEN 'ListProperty' THEN 2
    ELSE CASE {of_time} WHEN 'DateTime' THEN 3 WHEN 'Date' THEN 3 WHEN 'Time' THEN 4 ELSE 5 END END"""
    text = f"CASE {of_time} WHEN 'Time' THEN 4 ELSE 3 END"
    return dialect.sort("doc", "value", number="0", boolean="1", array="2", text=text, other=other)


def figures(tx: Tx, found: Sources, wanted: Aggregation, most: int = TEMPORAL_PERIODS) -> list[list[Figure]]:
    """The figures of each entity's series, by series and in the order of time; TooMany beyond `most` of all."""
    part, span = found.sealed, found.span
    slots: dict[int, _Slots] = {}
    if span.start is not None and not wanted.period.months and (span.end is not None or not wanted.period.whole):
        for each in found.each:
            slots[each.pk] = _slots(tx.dialect, each, wanted.period, span.start, span.start)
    else:
        extent = part.extent() if part is not None else {}
        for each in found.each:
            first, last = _extent(tx, each, extent.get(each.pk))
            if first is not None and last is not None:
                slots[each.pk] = _slots(tx.dialect, each, wanted.period, first, last)
    kept = _sealed_figures(part, slots, wanted.methods, most) if part is not None else _Kept()
    listed = []
    for each in found.each:
        ours = _figures(tx, each, slots.get(each.pk), wanted.methods, part, kept, most)
        most -= len(ours)
        listed.append(ours)
    return listed


def _extent(tx: Tx, each: Source, sealed: tuple[Instant, Instant] | None) -> tuple[Instant | None, Instant | None]:
    """The first and the last instant of an entity's instances."""
    row = tx.row(each.select("min(t), max(t)"), each.bindings)
    known = [int(t) for t in (*(row or ()), *(sealed or ())) if t is not None]
    return min(known, default=None), max(known, default=None)


def _figures(
    tx: Tx,
    each: Source,
    slots: _Slots | None,
    methods: tuple[str, ...],
    part: Part | None,
    sealed: _Kept,
    most: int,
) -> list[Figure]:
    """The figures of one entity: of its rows here, and of what the lake has reckoned."""
    if slots is None:
        return []
    kept = sealed.heaps.get(each.pk, {})
    heaps = dict(kept)
    both: list[_Slot] = []
    for attr, dataset, slot, *rest in tx.iterate(
        _statement(tx.dialect, each, slots, methods), each.bindings | slots.bindings
    ):
        place = (int(attr), int(dataset), int(slot))
        if place in heaps:
            both.append(place)
        heap = _Heap.of(rest)
        heaps[place] = heap.with_(kept[place]) if place in kept else heap
        check_periods(len(heaps), most)
    if both and part is not None and "distinctCount" in methods:
        _count_distinct(tx, each, slots, part, heaps, both)
    types: dict[tuple[int, int], str] = {}
    found = []
    for attr, dataset, slot in sorted(heaps):
        if (attr, dataset) not in types:
            types[attr, dataset] = sealed.types.get((each.pk, attr, dataset)) or _type(tx, each, (attr, dataset))
        start, end = slots.borders(slot)
        kind = types[attr, dataset]
        iri, dataset_id = history.text(tx, attr), history.text(tx, dataset) if dataset else ""
        found.append(Figure(iri, dataset_id, kind, start, end, heaps[attr, dataset, slot].values(methods)))
    check_periods(len(found), most)
    return found


def _type(tx: Tx, each: Source, series: tuple[int, int]) -> str:
    """The type of a series' attribute."""
    statement = each.select(tx.dialect.text("doc", "type"), "attr = :a AND dataset = :d") + " ORDER BY at, kind LIMIT 1"
    row = tx.row(statement, each.bindings | {"a": series[0], "d": series[1]})
    return str(row[0]) if row else "Property"


@dataclass(frozen=True, slots=True)
class _Slots:
    """Periods by number: the SQL that gives an instance's (with the table `periods`, of number and borders, where that
    is not empty), and the borders of each."""

    sql: str
    bindings: dict[str, Any]
    borders: Callable[[int], tuple[Instant, Instant]]
    periods: str = ""
    listed: tuple[tuple[Instant, Instant], ...] = ()

    def sealed(self) -> tuple[str, str, dict[str, Any]]:
        """The same for the lake: the slot of a row `p`, the relation beside it, and parameters."""
        if self.listed:
            given = {"begins": [begin for begin, _ in self.listed], "ends": [end for _, end in self.listed]}
            periods = "unnest($begins::BIGINT[]) AS begins, unnest($ends::BIGINT[]) AS ends"
            slots = f"SELECT {periods}, unnest(range(len($begins::BIGINT[]))) AS slot"
            return "s.slot", f"JOIN ({slots}) s ON p.t >= s.begins AND p.t < s.ends", given
        if self.bindings:
            given = {"origin": self.bindings["origin"], "width": self.bindings["width"]}
            return "(p.t - $origin::BIGINT) // $width::BIGINT", "", given
        return "0", "", {}


def _slots(dialect: Dialect, each: Source, period: Period, first: Instant, last: Instant) -> _Slots:
    """The periods from the start of the span, or the first instance where it has none."""
    start = each.span.start if each.span.start is not None else first
    if period.whole:
        whole = (start, each.span.end if each.span.end is not None else last)
        return _Slots("0", {}, lambda _: whole)
    if not period.months:
        width = period.micros
        return _Slots(
            "(t - :origin) / :width",
            {"origin": start, "width": width},
            lambda slot: (start + slot * width, start + (slot + 1) * width),
        )
    listed = list(pairwise(edges(period, start, last + 1)))
    given = {"periods": orjson.dumps(listed).decode()}
    return _Slots(
        "p.key", given, lambda slot: listed[slot], dialect.table("periods", ("begins", "ends")), tuple(listed)
    )


def _values(dialect: Dialect, each: Source, slots: _Slots) -> str:
    """The statement of the instances as attr, dataset, slot, v, c and x, what they count as. Values are taken out of
    the documents before they are sorted into periods, or whole documents would be sorted."""
    columns = f"attr, dataset, {slots.sql} AS slot, {_value(dialect)} AS v, {_kind(dialect)} AS c"
    if slots.periods:
        values = each.select(columns, "h.t >= p.begins AND h.t < p.ends", f"{slots.periods} p CROSS JOIN ")
    else:
        values = each.select(columns)
    return f"SELECT attr, dataset, slot, v, c, {dialect.figure} AS x FROM ({values}) i"


def _statement(dialect: Dialect, each: Source, slots: _Slots, methods: tuple[str, ...]) -> str:
    """Columns: series, slot, then what _Heap.of reads."""
    numbers, x = _values(dialect, each, slots), dialect.real("x")
    if "stddev" in methods:
        numbers = f"SELECT *, avg({x}) OVER (PARTITION BY attr, dataset, slot) AS mean FROM ({numbers}) n"
    kinds = ", ".join(f"max(CASE WHEN c = {kind} THEN 1 ELSE 0 END)" for kind in range(6))
    text = dialect.ordered("CASE WHEN c IN (3, 4) THEN v END")
    return (
        f"WITH h AS MATERIALIZED ({numbers}) SELECT attr, dataset, slot, {kinds}, count(*),"
        f" {f'count(DISTINCT {dialect.distinct})' if 'distinctCount' in methods else 'NULL'}, count({x}),"
        f" coalesce(sum({x}), 0.0), avg({x}), coalesce(sum({x} * {x}), 0.0),"
        f" {f'avg(({x} - mean) * ({x} - mean))' if 'stddev' in methods else 'NULL'},"
        " min(CASE WHEN c < 3 THEN x END), max(CASE WHEN c < 3 THEN x END),"
        f" min({text}), max({text})"
        " FROM h GROUP BY attr, dataset, slot ORDER BY attr, dataset, slot"
    )


_Slot = tuple[int, int, int]
"""A period of a series: the numbers of attribute and dataset, and which period."""


@dataclass(slots=True)
class _Heap:
    """What is known of the instances in a period: which kinds of values, how many, how many are different, how many
    count as numbers; their sum, mean, sum of squares, mean square deviation; least and greatest number and text."""

    kinds: frozenset[int]
    count: int
    distinct: int | None
    numbers: int
    total: float
    mean: float | None
    squares: float
    spread: float | None
    low: Any
    high: Any
    first: Any
    last: Any

    @classmethod
    def of(cls, row: Sequence[Any]) -> _Heap:
        """What the statement's columns tell."""
        count, distinct, numbers, *sums, low, high, first, last = row[6:]
        total, mean, squares, spread = (None if one is None else float(one) for one in sums)
        kinds = frozenset(kind for kind in range(6) if row[kind])
        return cls(kinds, count, distinct, numbers, total or 0.0, mean, squares or 0.0, spread, low, high, first, last)

    def with_(self, other: _Heap) -> _Heap:
        """Both together; how many are different is not known then."""
        numbers = self.numbers + other.numbers
        total = self.total + other.total
        mean = total / numbers if numbers else None
        return _Heap(
            self.kinds | other.kinds,
            self.count + other.count,
            None,
            numbers,
            total,
            mean,
            self.squares + other.squares,
            _spread((self, other), mean, numbers),
            _least((self.low, other.low)),
            _most((self.high, other.high)),
            _least((self.first, other.first)),
            _most((self.last, other.last)),
        )

    def values(self, methods: tuple[str, ...]) -> dict[str, Any]:
        """The methods that are for these values."""
        known = {
            "totalCount": self.count,
            "distinctCount": self.distinct,
            "sum": self.total,
            "avg": time_of_day(self.mean) if self.kinds == {TIME} else self.mean,
            "sumsq": self.squares,
            "stddev": math.sqrt(self.spread) if self.spread is not None else None,
            "min": self.first if self.low is None else self.low,
            "max": self.last if self.high is None else self.high,
        }
        return valued(methods, self.kinds, known)


def _spread(parts: Sequence[_Heap], mean: float | None, numbers: int) -> float | None:
    """The mean square deviation of several (Chan, Golub, LeVeque 1979)."""
    if mean is None or all(one.spread is None for one in parts):
        return None
    return (
        sum(one.numbers * ((one.spread or 0.0) + (one.mean - mean) ** 2) for one in parts if one.mean is not None)
        / numbers
    )


def _least(values: Iterable[Any]) -> Any:
    return min((one for one in values if one is not None), default=None)


def _most(values: Iterable[Any]) -> Any:
    return max((one for one in values if one is not None), default=None)


# -- of sealed days ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Kept:
    """What the lake has reckoned: by entity the heaps of its periods, and the type of each series' attribute."""

    heaps: dict[int, dict[_Slot, _Heap]] = field(default_factory=dict)
    types: dict[tuple[int, int, int], str] = field(default_factory=dict)


def _sealed_figures(part: Part, slots: dict[int, _Slots], methods: tuple[str, ...], most: int) -> _Kept:
    """What the lake reckons of each entity's series; entities with the same periods are asked about at once."""
    together: dict[Any, list[int]] = {}
    for pk, each in slots.items():
        together.setdefault((tuple(sorted(each.bindings.items())), each.listed), []).append(pk)
    found = _Kept()
    for pks in together.values():
        some = part.of(*pks)
        slot, beside, given = slots[pks[0]].sealed()
        series_of = f"p.entity, p.attribute, coalesce(p.dataset, '') AS d, {slot} AS i"
        columns = f"{series_of}, any_value(p.document), {_reckoned(methods)}"
        rows = some.reckon(columns, f"GROUP BY p.entity, p.attribute, d, i LIMIT {most + 1}", beside, **given)
        check_periods(len(rows), most)
        for entity, iri, dataset, i, document, kinds, count, distinct, numbers, whole, total, *rest in rows:
            flags = frozenset(kind for kind in range(6) if kinds >> kind & 1)
            heap = _Heap(flags, count, distinct, numbers, total, total / numbers if numbers else None, *rest)
            if whole and heap.low is not None:
                heap.low, heap.high = int(heap.low), int(heap.high)
            pk, series = part.pks[entity], (part.number(iri), part.number(dataset))
            found.heaps.setdefault(pk, {})[(*series, int(i))] = heap
            if (pk, *series) not in found.types:
                found.types[pk, *series] = type_of(document)
    return found


_CLASS: Final = " ".join(f"WHEN '{name}' THEN {1 << kind}" for kind, name in enumerate(CLASSES))
_COUNTS: Final = "p.class IN ('number', 'boolean', 'list')"
_ORDERED: Final = "p.class IN ('text', 'time')"
_DISTINCT: Final = (
    "CASE WHEN p.class IN ('number', 'boolean') THEN 'n' || (p.value + 0.0)::VARCHAR ELSE 't' || p.text END"
)


def _reckoned(methods: tuple[str, ...]) -> str:
    """The columns of a _Heap, with `whole` before the sums: whether all that counts is whole. What nobody asks for is
    not reckoned."""
    several = {"min", "max"} & set(methods)
    return ", ".join(
        (
            f"bit_or(CASE p.class {_CLASS} END)",
            "count(*)",
            f"count(DISTINCT {_DISTINCT})" if "distinctCount" in methods else "NULL",
            "count(p.value)",
            f"bool_and(coalesce(p.whole, true)) FILTER (WHERE {_COUNTS})" if several else "false",
            "coalesce(fsum(p.value), 0::DOUBLE)",
            "coalesce(fsum(p.value * p.value), 0::DOUBLE)" if "sumsq" in methods else "0::DOUBLE",
            "var_pop(p.value)" if "stddev" in methods else "NULL",
            f"min(p.value) FILTER (WHERE {_COUNTS})" if several else "NULL",
            f"max(p.value) FILTER (WHERE {_COUNTS})" if several else "NULL",
            f"min(p.text) FILTER (WHERE {_ORDERED})" if several else "NULL",
            f"max(p.text) FILTER (WHERE {_ORDERED})" if several else "NULL",
        )
    )


def _count_distinct(
    tx: Tx, each: Source, slots: _Slots, part: Part, heaps: dict[_Slot, _Heap], both: Sequence[_Slot]
) -> None:
    """Count the different values of periods of which a part is sealed."""
    seen: dict[_Slot, set[tuple[bool, Any]]] = {place: set() for place in both}
    statement = f"SELECT DISTINCT attr, dataset, slot, v, c FROM ({_values(tx.dialect, each, slots)}) d"
    for attr, dataset, slot, value, kind in tx.iterate(statement, each.bindings | slots.bindings):
        _see(seen, (int(attr), int(dataset), int(slot)), kind < ARRAY, value)
    slot, beside, given = slots.sealed()
    number = "p.class IN ('number', 'boolean')"
    columns = (
        f"DISTINCT p.attribute, coalesce(p.dataset, ''), {slot}, {number}, CASE WHEN {number} THEN p.value END, p.text"
    )
    for iri, dataset, slot, plain, value, text in part.of(each.pk).reckon(
        columns, f"LIMIT {_DISTINCT_MAX}", beside, **given
    ):
        _see(seen, (part.number(iri), part.number(dataset), int(slot)), plain, value if plain else text)
    for place, values in seen.items():
        heaps[place].distinct = len(values)


_DISTINCT_MAX: Final = 200_000


def _see(seen: dict[_Slot, set[tuple[bool, Any]]], place: _Slot, number: bool, value: Any) -> None:
    if place in seen and value is not None:
        seen[place].add((number, float(value) if number else value))
    if sum(map(len, seen.values())) >= _DISTINCT_MAX:
        raise TooComplex(
            "too many different values to be counted", field="aggrMethods", rule=f"at most {_DISTINCT_MAX}"
        )
