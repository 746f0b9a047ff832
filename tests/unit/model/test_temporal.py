"""Temporal questions by example (ETSI GS CIM 009 clauses 4.11 and 4.5.19)."""

from __future__ import annotations

from typing import Any

import pytest

from shahar.model.temporal import Period, Span, edges, parse, parse_aggregation, parse_period, texts
from shahar.values import instants
from shahar.values.errors import Invalid

NOON = instants.parse("2026-11-22T12:00:00Z")
ONE = instants.parse("2026-11-22T13:00:00Z")


@pytest.mark.parametrize(
    ("given", "span"),
    [
        ({}, Span(by="")),
        ({"lastN": "3"}, Span(by="", last=3)),
        ({"timeproperty": "deletedAt"}, Span(by="deletedAt")),
        ({"timerel": "before", "timeAt": "2026-11-22T12:00:00Z"}, Span(end=NOON)),
        ({"timerel": "after", "timeAt": "2026-11-22T12:00:00Z"}, Span(start=NOON)),
        (
            {"timerel": "between", "timeAt": "2026-11-22T12:00:00Z", "endTimeAt": "2026-11-22T13:00:00Z"},
            Span(NOON, ONE),
        ),
    ],
)
def test_relations_are_half_open_spans(given: dict[str, str], span: Span) -> None:
    assert parse(given) == span


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"timerel": "after"}, "timeAt"),
        ({"timeAt": "2026-11-22T12:00:00Z"}, "timerel"),
        ({"endTimeAt": "2026-11-22T12:00:00Z"}, "timerel"),
        ({"timerel": "during", "timeAt": "2026-11-22T12:00:00Z"}, "timerel"),
        ({"timerel": "between", "timeAt": "2026-11-22T12:00:00Z"}, "endTimeAt"),
        ({"timerel": "after", "timeAt": "2026-11-22T12:00:00Z", "endTimeAt": "2026-11-22T13:00:00Z"}, "endTimeAt"),
        ({"timerel": "after", "timeAt": "2026-11-22"}, "timeAt"),
        ({"timerel": "after", "timeAt": "2026-11-22T12:00:00Z", "timeproperty": "seenAt"}, "timeproperty"),
        ({"lastN": "0"}, "lastN"),
        ({"lastN": "-1"}, "lastN"),
        ({"lastN": "1.5"}, "lastN"),
        ({"lastN": "10001"}, "lastN"),
    ],
)
def test_what_is_no_question_names_its_member(given: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(given)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("PT0S", Period()),
        ("P0D", Period()),
        ("PT1H", Period(0, instants.HOUR)),
        ("P1D", Period(0, instants.DAY)),
        ("P2W", Period(0, 14 * instants.DAY)),
        ("P1Y2M", Period(14)),
        ("P1M2DT3H4M5.5S", Period(1, 2 * instants.DAY + 3 * instants.HOUR + 4 * instants.MINUTE + 5_500_000)),
    ],
)
def test_durations_are_calendar_months_and_time(text: str, period: Period) -> None:
    assert parse_period(text) == period


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "P1DT", "1H", "PT1", "P1H", "-PT1H", "P1W2D", "P0003-06-04T12:30:05", "P9999Y", "PT1.5H"]
)
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_period(text)
    assert refused.value.field == "aggrPeriodDuration"


def test_a_month_is_the_calendars() -> None:
    start, end = instants.parse("2026-01-31T06:00:00Z"), instants.parse("2026-04-15T00:00:00Z")
    assert [instants.text(at)[:13] for at in edges(Period(1), start, end)] == [
        "2026-01-31T06",
        "2026-02-28T06",
        "2026-03-31T06",
        "2026-04-30T06",
    ]


@pytest.mark.parametrize("methods", [None, "mean", "avg,", "avg,mean"])
def test_ways_to_aggregate_are_the_standards(methods: str | None) -> None:
    with pytest.raises(Invalid) as refused:
        parse_aggregation(methods, None)
    assert refused.value.field == "aggrMethods"


def test_members_of_a_body_are_read_like_those_of_an_address() -> None:
    document = {"timerel": "after", "lastN": 5, "aggrMethods": ["avg", "max"]}
    assert texts(document, "temporalQ", document) == {"timerel": "after", "lastN": "5", "aggrMethods": "avg,max"}
    broken: Any
    for broken in ({"timerel": 5}, {"lastN": True}, {"lastN": 1.5}, {"unknown": "x"}, [], "after", {"timerel": ""}):
        with pytest.raises(Invalid):
            texts(broken, "temporalQ", ("timerel", "lastN"))
