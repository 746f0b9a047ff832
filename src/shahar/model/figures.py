"""History as figures of periods, reckoned of instances at hand, as store/aggregate does where all of them are here.

For: series that several brokers hold parts of. Means, deviations and counts of distinct values cannot be made of the
figures of parts, so the instances are put together first (model/pasts).
Promises: the same figures as the engine makes of the same instances (contract/test_distribution_figures holds them
against each other); a period without instances is left out; TooMany beyond the bound of periods.
Does not: ask anybody, load anything.
Source: ETSI GS CIM 009 clause 4.5.19; what each method is for: tables 4.5.19.1-1 to 4.5.19.1-3.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from shahar.model import aliases
from shahar.model.context import Context
from shahar.model.entity import Doc, Instance, parse_entity
from shahar.model.evolution import PLURAL, Figure
from shahar.model.pasts import SCOPE, moment
from shahar.model.temporal import METHODS, Aggregation, Span, check_periods, edges
from shahar.values import instants
from shahar.values.bounds import STRING_BYTES, TEMPORAL_PERIODS
from shahar.values.errors import Invalid, Malformed
from shahar.values.instants import SECOND, Instant

NUMBER, BOOLEAN, ARRAY, TEXT, TIME, OTHER = range(6)
"""Kinds of values, as the engine's statement numbers them (store/aggregate)."""
FOR: Final[dict[str, frozenset[int]]] = {
    "totalCount": frozenset(range(6)),
    "distinctCount": frozenset(range(6)),
    "min": frozenset({NUMBER, BOOLEAN, ARRAY, TEXT, TIME}),
    "max": frozenset({NUMBER, BOOLEAN, ARRAY, TEXT, TIME}),
    "avg": frozenset({NUMBER, BOOLEAN, ARRAY, TIME}),
    "sum": frozenset({NUMBER, BOOLEAN, ARRAY}),
    "stddev": frozenset({NUMBER, BOOLEAN}),
    "sumsq": frozenset({NUMBER, BOOLEAN}),
}
"""Method -> the kinds of values that it is for."""
_OTHERS: Final = tuple(member for member in PLURAL if member != "value")
_OF_TIME: Final = {"DateTime": TEXT, "Date": TEXT, "Time": TIME}

Slot = Callable[[Instant], tuple[Instant, Instant]]


def figures(series: Mapping[str, Sequence[Instance]], wanted: Aggregation, span: Span) -> list[Figure]:
    """The figures of series (IRI -> instances in the order of time), by series and in the order of time; TooMany."""
    at = [moment(one, span.by) for listed in series.values() for one in listed]
    if not at:
        return []
    slot = _slots(wanted, span, min(at), max(at))
    found: list[Figure] = []
    for iri, listed in series.items():
        datasets: dict[str, list[Instance]] = {}
        for one in listed:
            datasets.setdefault(one.get("datasetId", ""), []).append(one)
        for dataset, some in datasets.items():
            periods: dict[tuple[Instant, Instant], list[tuple[int, Any]]] = {}
            for one in some:
                periods.setdefault(slot(moment(one, span.by)), []).append(measured(one))
            for (start, end), values in sorted(periods.items()):
                kept = _reckoned(wanted.methods, values)
                found.append(Figure(iri, dataset, some[0]["type"], start, end, kept))
                check_periods(len(found))
    return found


def _slots(wanted: Aggregation, span: Span, first: Instant, last: Instant) -> Slot:
    """Which period an instant lies in: from the start of the span, or the first instance where it has none."""
    period, start = wanted.period, span.start if span.start is not None else first
    if period.whole:
        whole = (start, span.end if span.end is not None else last)
        return lambda _: whole
    if not period.months:
        width = period.micros

        def of(at: Instant) -> tuple[Instant, Instant]:
            begin = start + (at - start) // width * width
            return begin, begin + width

        return of
    borders = edges(period, start, last + 1)

    def between(at: Instant) -> tuple[Instant, Instant]:
        place = bisect_right(borders, at)
        return borders[place - 1], borders[place]

    return between


def measured(one: Instance) -> tuple[int, Any]:
    """The kind of an instance's value, and the value: numbers and arrays as they are, the rest as text."""
    value = one.get("value")
    if isinstance(value, bool):
        return BOOLEAN, int(value)
    if isinstance(value, (int, float)):
        return NUMBER, value
    if isinstance(value, list):
        return ARRAY, value
    inside = value if isinstance(value, dict) else {}
    kind = _OF_TIME.get(one.get("valueType") or inside.get("@type") or "")
    if isinstance(value, str):
        return TIME if kind == TIME else TEXT, value
    if one["type"] == "ListProperty":
        return ARRAY, one["valueList"]
    told = inside.get("@value", value)
    if told is None:
        told = next((one[member] for member in _OTHERS if member in one), None)
    return OTHER if kind is None else kind, told if isinstance(told, str) else _text(told)


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _reckoned(methods: Sequence[str], values: Sequence[tuple[int, Any]]) -> dict[str, Any]:
    """The figures of one period of one series. Numbers count before texts where a series holds both."""
    kinds = frozenset(kind for kind, _ in values)
    numbers = [number for kind, value in values if (number := counted(kind, value)) is not None]
    plain = [counted(kind, value) for kind, value in values if kind < TEXT]
    texts = [value for kind, value in values if kind in {TEXT, TIME}]
    mean = sum(numbers) / len(numbers) if numbers else None
    known = {
        "totalCount": len(values),
        "distinctCount": len({(isinstance(one, str), one) for one in map(_distinct, values)}),
        "sum": float(sum(numbers)),
        "avg": time_of_day(mean) if kinds == {TIME} else mean,
        "sumsq": sum((1.0 * one * one for one in numbers), 0.0),
        "stddev": None if mean is None else _deviation(numbers, mean),
        "min": min(plain) if plain else min(texts, default=None),
        "max": max(plain) if plain else max(texts, default=None),
    }
    return valued(methods, kinds, known)


def _deviation(numbers: Sequence[float], mean: float) -> float:
    return math.sqrt(sum((one - mean) * (one - mean) for one in numbers) / len(numbers))


def counted(kind: int, value: Any) -> Any:
    """What a value counts as: itself, the size of an array, the seconds of a time of day; None: as nothing."""
    if kind in {NUMBER, BOOLEAN}:
        return value
    if kind == ARRAY:
        return len(value)
    if kind != TIME:
        return None
    try:
        return int(value[:2]) * 3_600 + int(value[3:5]) * 60 + float(value[6:].rstrip("Z") or 0)
    except ValueError:  # called a time of day, and none
        return 0


def _distinct(one: tuple[int, Any]) -> Any:
    return _text(one[1]) if one[0] == ARRAY else one[1]


def valued(methods: Sequence[str], kinds: frozenset[int], known: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is known the methods that are for these kinds of values."""
    return {method: known[method] for method in methods if not kinds.isdisjoint(FOR[method])}


def time_of_day(seconds: float | None) -> str | None:
    """A time of day from its seconds."""
    if seconds is None:
        return None
    whole, micro = divmod(round(seconds * SECOND), SECOND)
    text = f"{whole // 3_600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    return f"{text}.{micro:06d}".rstrip("0") + "Z" if micro else text + "Z"


def check_methods(found: Iterable[Figure], named: frozenset[str], methods: Sequence[str]) -> None:
    """Malformed when a method is not for the values of an attribute that was asked for by name (5.7.4.4)."""
    for one in found:
        if one.attr in named and len(one.values) < len(methods):
            method = next(method for method in methods if method not in one.values)
            rule = "ETSI GS CIM 009 clause 4.5.19.1"
            raise Malformed(f"{method} is not for the values of {one.attr}", field="aggrMethods", rule=rule)


# -- from sources -----------------------------------------------------------------------------------------------------


def received_figures(body: Any, context: Context) -> Doc:
    """The aggregated past of an entity that a source sent: a document whose attributes are pieces {type, datasetId,
    figures}. Raises Invalid or TooMany for anything else: a source is a stranger."""
    body, inner = aliases.opened(body, context)
    if not isinstance(body, dict) or not body.get("type"):
        raise Invalid("an evolution is a JSON object of a type", field="body", rule="ETSI GS CIM 009 clause 4.5.19")
    doc = parse_entity({key: body[key] for key in ("id", "type") if key in body}, context)
    count = 0
    for name, given in body.items():
        listed = given if isinstance(given, list) else [given]
        if name in {"id", "type", SCOPE, "@context"} or not all(isinstance(one, dict) for one in listed):
            continue
        iri = inner.expand(name)
        doc["attrs"][iri] = [_piece(iri, one) for one in listed]
        count += sum(len(one["figures"]) for one in doc["attrs"][iri])
        check_periods(count)
    return doc


def _piece(iri: str, given: Mapping[str, Any]) -> Instance:
    """The figures of one dataset of an attribute, those of one period together."""
    dataset, kind = given.get("datasetId", ""), str(given.get("type", "Property"))[:60]
    if not isinstance(dataset, str):
        raise Invalid("a datasetId is a URI", field=f"{iri}.datasetId")
    periods: dict[tuple[Instant, Instant], dict[str, Any]] = {}
    for method in METHODS:
        told = given.get(method, [])
        if not isinstance(told, list) or len(told) > TEMPORAL_PERIODS:
            raise Invalid("figures are a list of periods", field=f"{iri}.{method}", rule="clause 4.5.19")
        for each in told:
            if not isinstance(each, list) or len(each) != 3 or not _is_figure(each[0]):
                raise Invalid("a figure is [value, start, end]", field=f"{iri}.{method}", rule="clause 4.5.19")
            borders = (instants.parse(each[1], method), instants.parse(each[2], method))
            periods.setdefault(borders, {})[method] = each[0]
    listed = [Figure(iri, dataset, kind, start, end, found) for (start, end), found in sorted(periods.items())]
    return {"type": kind, "figures": listed} | ({"datasetId": dataset} if dataset else {})


def _is_figure(value: Any) -> bool:
    return value is None or isinstance(value, (int, float)) or (isinstance(value, str) and len(value) <= STRING_BYTES)
