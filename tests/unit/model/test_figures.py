"""Figures reckoned of instances at hand, and those that a source sends."""

from __future__ import annotations

from typing import Any

import pytest

from shahar.model.context import CORE
from shahar.model.evolution import Figure
from shahar.model.figures import check_methods, figures, received_figures
from shahar.model.temporal import METHODS, Aggregation, Period, Span
from shahar.values.bounds import TEMPORAL_PERIODS
from shahar.values.errors import Malformed, ShaharError, TooMany
from shahar.values.instants import DAY, HOUR

A = "urn:a"
EVERY = Aggregation(METHODS)


def one(at: int, value: Any, **more: Any) -> dict[str, Any]:
    """An instance of a Property."""
    return {"type": "Property", "value": value, "observedAt": at, "modifiedAt": at, **more}


def values(found: list[Figure], method: str) -> list[Any]:
    """What a method says of each period."""
    return [figure.values.get(method) for figure in found]


def test_a_period_without_instances_is_left_out() -> None:
    series = {A: [one(0, 1), one(HOUR, 2), one(3 * HOUR, 6)]}
    found = figures(series, Aggregation(("sum", "totalCount"), Period(micros=2 * HOUR)), Span())
    assert [(each.start, each.end) for each in found] == [(0, 2 * HOUR), (2 * HOUR, 4 * HOUR)]
    assert (values(found, "sum"), values(found, "totalCount")) == ([3, 6], [2, 1])
    months = figures({A: [one(0, 1), one(40 * DAY, 2)]}, Aggregation(("max",), Period(months=1)), Span())
    assert [each.start for each in months] == [0, 31 * DAY]


def test_periods_of_all_series_begin_together() -> None:
    series = {A: [one(HOUR, 1)], "urn:b": [one(0, 1)]}
    found = figures(series, Aggregation(("max",), Period(micros=2 * HOUR)), Span())
    assert {each.start for each in found} == {0}
    assert figures({}, EVERY, Span()) == figures({A: []}, EVERY, Span()) == []


@pytest.mark.parametrize(
    ("listed", "method", "expected"),
    [
        ([1, 2, 3, 4], "stddev", 1.25**0.5),
        ([1, 2], "sumsq", 5),
        ([True, False], "avg", 0.5),
        ([[1, 2], [3]], "avg", 1.5),
        ([1, 1.0, True, "1"], "distinctCount", 2),
        (["b", "a"], "min", "a"),
        (["b", 7], "max", 7),
        ([{"@type": "Time", "@value": "10:00:00Z"}, {"@type": "Time", "@value": "11:00:00.5Z"}], "avg", "10:30:00.25Z"),
        ([{"@type": "Time", "@value": "soon"}], "avg", "00:00:00Z"),
        ([{"a": 1}, {"a": 1}], "distinctCount", 1),
        ([{"a": 1}], "avg", None),
        (["a"], "sum", None),
        ([1e308, 1e308], "sumsq", float("inf")),
        ([1e308, 1e308, -1e308], "stddev", float("inf")),
    ],
)
def test_each_method_is_for_the_values_that_it_is_for(listed: list[Any], method: str, expected: Any) -> None:
    [found] = figures({A: [one(at, value) for at, value in enumerate(listed)]}, EVERY, Span())
    assert found.values.get(method) == expected


def test_more_periods_than_the_bound_are_refused() -> None:
    series = {A: [one(at, 1) for at in range(TEMPORAL_PERIODS + 1)]}
    with pytest.raises(TooMany):
        figures(series, Aggregation(("max",), Period(micros=1)), Span())


def test_a_method_must_be_for_an_attribute_that_was_named() -> None:
    found = [Figure(A, "", "Property", 0, 1, {"max": "a"})]
    check_methods(found, frozenset({"urn:b"}), ("max", "avg"))
    with pytest.raises(Malformed) as refused:
        check_methods(found, frozenset({A}), ("max", "avg"))
    assert refused.value.field == "aggrMethods"


def test_what_a_source_reckoned_is_read_period_by_period() -> None:
    borders = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]
    told = {"type": "Property", "max": [[3, *borders]], "avg": [[2.5, *borders]], "datasetId": "urn:d:1"}
    doc = received_figures({"id": "urn:c:1", "type": "Car", "scope": "/a", "speed": told}, CORE)
    [(iri, [piece])] = doc["attrs"].items()
    [found] = piece["figures"]
    assert (found.attr, found.dataset, found.values) == (iri, "urn:d:1", {"max": 3, "avg": 2.5})
    assert found.end - found.start == DAY


@pytest.mark.parametrize(
    "body",
    [
        None, [], {}, {"id": "urn:c:1"}, {"id": "x", "type": "Car"},
        {"id": "urn:c:1", "type": "Car", "speed": {"max": 7}},
        {"id": "urn:c:1", "type": "Car", "speed": {"max": [7]}},
        {"id": "urn:c:1", "type": "Car", "speed": {"max": [[1, "then", "now"]]}},
        {"id": "urn:c:1", "type": "Car", "speed": {"max": [[1, 2, 3]]}},
        {"id": "urn:c:1", "type": "Car", "speed": {"max": [[[], "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]]}},
        {"id": "urn:c:1", "type": "Car", "speed": {"max": [], "datasetId": 7}},
    ],
)  # fmt: skip
def test_what_is_no_figure_is_refused(body: Any) -> None:
    with pytest.raises(ShaharError):
        received_figures(body, CORE)
