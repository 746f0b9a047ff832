"""Histories read by SQL are what the same question says of the same readings in Python: windows, parts, figures."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from shahar.model.evolution import Chronicle, Figure
from shahar.model.temporal import METHODS, Aggregation, Period, Span
from shahar.services import past, temporal
from shahar.services.broker import Broker
from shahar.services.temporal import Asked, Wanted
from shahar.values.instants import DAY
from tests.engines import store_at

pytestmark = pytest.mark.anyio
AT = 1_700_000_000_000_000
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Reading = tuple[str, str, int, float]
"""Attribute, dataset, instant, value."""
SERIES = [("urn:a", ""), ("urn:a", "urn:d"), ("urn:b", "")]
PLACES = st.tuples(st.sampled_from(SERIES), st.integers(-5, 40))
VALUES = st.integers(-9, 9) | st.floats(-9, 9)
READINGS = st.dictionaries(PLACES, VALUES, min_size=1, max_size=40).map(
    lambda found: [(attr, dataset, at, value) for ((attr, dataset), at), value in found.items()]
)
ENDS = st.none() | st.integers(-6, 42)
NUMBERS = st.integers(0, 10**12)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """The door of an open store in a folder of its own."""
    db = store_at(tmp_path / "shahar.db")
    await db.open()
    yield Broker(db)
    await db.close()


async def tell(broker: Broker, readings: list[Reading], number: int) -> str:
    """An entity of its own with these readings."""
    entity_id = f"urn:e:{number}:{len(readings)}:{hash(tuple(readings))}"
    attrs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for attr, dataset, at, value in sorted(readings):
        more = {"datasetId": dataset} if dataset else {}
        attrs[attr].append({"type": "Property", "value": value, "observedAt": at, **more})
    await past.tell(broker, "", Chronicle({"id": entity_id, "type": ["urn:T"], "attrs": dict(attrs)}), AT, create=True)
    return entity_id


def expected(readings: Iterable[Reading], span: Span, wanted: Wanted) -> list[Reading]:
    """What the question says of the readings."""
    series: dict[tuple[str, str], list[Reading]] = defaultdict(list)
    for one in sorted(readings, key=lambda one: one[2]):
        attr, dataset, at, _ = one
        within = (span.start is None or at >= span.start) and (span.end is None or at < span.end)
        if within and wanted.has(attr) and (wanted.datasets is None or (dataset or "@none") in wanted.datasets):
            series[attr, dataset].append(one)
    return sorted(one for listed in series.values() for one in (listed[-span.last :] if span.last else listed))


def told(answer: temporal.Answer) -> list[Reading]:
    """The readings of an answer."""
    return sorted(
        (attr, one.get("datasetId", ""), one["observedAt"], one["value"])
        for found in answer.found
        for attr, listed in found.series.items()
        for one in listed
    )


WANTED = st.builds(
    Wanted,
    st.sets(st.sampled_from(["urn:a", "urn:b", "urn:c"])).map(frozenset),
    st.sets(st.just("urn:b")).map(frozenset),
    st.none() | st.sets(st.sampled_from(["urn:d", "@none", "urn:x"]), min_size=1).map(frozenset),
)
SPANS = st.builds(Span, ENDS, ENDS, by=st.sampled_from(["", "observedAt"]), last=st.none() | st.integers(1, 6))


@QUICK
@for_all(READINGS, SPANS, WANTED, NUMBERS)
async def test_a_window_holds_what_the_question_says(
    broker: Broker, readings: list[Reading], span: Span, wanted: Wanted, number: int
) -> None:
    entity_id = await tell(broker, readings, number)
    answer = await temporal.retrieve(broker, "", entity_id, Asked(span, wanted, None, most=1_000))
    assert told(answer) == expected(readings, span, wanted)


@QUICK
@for_all(READINGS, SPANS, st.integers(1, 12), NUMBERS)
async def test_parts_put_together_are_the_whole(
    broker: Broker, readings: list[Reading], span: Span, most: int, number: int
) -> None:
    entity_id = await tell(broker, readings, number)
    whole = expected(readings, span, Wanted())
    rest, found = span, set[Reading]()
    for _ in range(len(readings) + 2):
        answer = await temporal.retrieve(broker, "", entity_id, Asked(rest, Wanted(), None, most=most))
        part = told(answer)  # of the newest it may be older ones, when those asked for are told already
        assert part or not whole
        found |= set(part) & set(whole)
        if answer.cut is None:
            break
        rest = replace(rest, end=answer.cut) if span.last else replace(rest, start=answer.cut)
    assert sorted(found) == whole


@QUICK
@for_all(READINGS, st.integers(1, 30), st.booleans(), NUMBERS)
async def test_figures_are_those_of_the_readings(
    broker: Broker, readings: list[Reading], width: int, whole: bool, number: int
) -> None:
    entity_id = await tell(broker, readings, number)
    aggregation = Aggregation(METHODS, Period() if whole else Period(0, width))
    answer = await temporal.retrieve(broker, "", entity_id, Asked(Span(start=-5), Wanted(), None, aggregation))
    groups: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for attr, dataset, at, value in readings:
        groups[attr, dataset, -5 if whole else (at + 5) // width * width - 5].append(value)
    figures = answer.found[0].figures
    assert sorted((one.attr, one.dataset, one.start) for one in figures) == sorted(groups)
    for one in figures:
        check(one, groups[one.attr, one.dataset, one.start])


def check(figure: Figure, values: list[float]) -> None:
    """Hold a figure against its values."""
    mean = math.fsum(values) / len(values)
    wanted = {
        "totalCount": len(values),
        "distinctCount": len(set(values)),
        "sum": math.fsum(values),
        "avg": mean,
        "min": min(values),
        "max": max(values),
        "stddev": math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values)),
        "sumsq": math.fsum(value * value for value in values),
    }
    assert figure.values == pytest.approx(wanted, abs=1e-6)


async def test_calendar_periods_hold_the_same_readings_as_their_days(broker: Broker) -> None:
    readings: list[Reading] = [("urn:a", "", day * DAY, float(day)) for day in range(0, 400, 3)]
    entity_id = await tell(broker, readings, 0)
    asked = Asked(Span(start=0), Wanted(), None, Aggregation(("totalCount", "sum"), Period(1)))
    figures = (await temporal.retrieve(broker, "", entity_id, asked)).found[0].figures
    assert len(figures) == 14
    for one in figures:
        values = [value for _, _, at, value in readings if one.start <= at < one.end]
        assert one.values == {"totalCount": len(values), "sum": sum(values)}
