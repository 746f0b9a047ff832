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
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import orjson

from shahar.model.evolution import PLURAL, Figure
from shahar.model.figures import TIME, time_of_day, valued
from shahar.model.temporal import Aggregation, Period, check_periods, edges
from shahar.store.db import Tx
from shahar.store.dialect import Dialect
from shahar.store.windows import Source
from shahar.values.bounds import TEMPORAL_PERIODS
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


def figures(tx: Tx, each: Source, wanted: Aggregation, most: int = TEMPORAL_PERIODS) -> list[Figure]:
    """The figures of an entity's series, by series and in the order of time; TooMany beyond `most`."""
    row = tx.row(each.select("min(t), max(t)"), each.bindings)
    if row is None or row[0] is None:
        return []
    slots = _slots(tx.dialect, each, wanted.period, int(row[0]), int(row[1]))
    types: dict[tuple[int, int], str] = {}
    found: list[Figure] = []
    for attr, dataset, iri, dataset_id, slot, *rest in tx.iterate(
        _statement(tx.dialect, each, slots, wanted.methods), each.bindings | slots.bindings
    ):
        series = (attr, dataset)
        if series not in types:
            types[series] = _type(tx, each, series)
        start, end = slots.borders(int(slot))
        found.append(Figure(iri, dataset_id or "", types[series], start, end, _values(wanted.methods, rest)))
        check_periods(len(found), most)
    return found


def _type(tx: Tx, each: Source, series: tuple[int, int]) -> str:
    """The type of a series' attribute."""
    statement = each.select(tx.dialect.text("doc", "type"), "attr = :a AND dataset = :d") + " LIMIT 1"
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
    return _Slots("p.key", given, lambda slot: listed[slot], dialect.table("periods", ("begins", "ends")))


def _statement(dialect: Dialect, each: Source, slots: _Slots, methods: tuple[str, ...]) -> str:
    """Columns: series, its names, slot, then what _values reads. Values are taken out of the documents before they are
    sorted into periods, or whole documents would be sorted."""
    columns = f"attr, dataset, {slots.sql} AS slot, {_value(dialect)} AS v, {_kind(dialect)} AS c"
    if slots.periods:
        values = each.select(columns, "h.t >= p.begins AND h.t < p.ends", f"{slots.periods} p CROSS JOIN ")
    else:
        values = each.select(columns)
    numbers = f"SELECT attr, dataset, slot, v, c, {dialect.figure} AS x FROM ({values}) i"
    x = dialect.real("x")
    if "stddev" in methods:
        numbers = f"SELECT *, avg({x}) OVER (PARTITION BY attr, dataset, slot) AS mean FROM ({numbers}) n"
    kinds = ", ".join(f"max(CASE WHEN c = {kind} THEN 1 ELSE 0 END)" for kind in range(6))
    text = dialect.ordered("CASE WHEN c IN (3, 4) THEN v END")
    return (
        f"WITH h AS MATERIALIZED ({numbers}) SELECT h.attr, h.dataset, n.text, d.text, h.slot, {kinds}, count(*),"
        f" {f'count(DISTINCT {dialect.distinct})' if 'distinctCount' in methods else 'NULL'},"
        f" coalesce(sum({x}), 0.0), avg({x}), coalesce(sum({x} * {x}), 0.0),"
        f" {f'avg(({x} - mean) * ({x} - mean))' if 'stddev' in methods else 'NULL'},"
        " min(CASE WHEN c < 3 THEN x END), max(CASE WHEN c < 3 THEN x END),"
        f" min({text}), max({text})"
        " FROM h JOIN name n ON n.pk = h.attr LEFT JOIN name d ON d.pk = h.dataset"
        " GROUP BY h.attr, h.dataset, h.slot, n.text, d.text ORDER BY h.attr, h.dataset, h.slot"
    )


def _values(methods: tuple[str, ...], row: list[Any]) -> dict[str, Any]:
    kinds = frozenset(kind for kind in range(6) if row[kind])
    count, distinct, *sums, low, high, first, last = row[6:]
    total, mean, squares, deviation = (None if one is None else float(one) for one in sums)
    known = {
        "totalCount": count,
        "distinctCount": distinct,
        "sum": total,
        "avg": time_of_day(mean) if kinds == {TIME} else mean,
        "sumsq": squares,
        "stddev": math.sqrt(deviation) if deviation is not None else None,
        "min": first if low is None else low,
        "max": last if high is None else high,
    }
    return valued(methods, kinds, known)
