"""Temporal questions: what is written down is read back, whatever a stranger asks is a question or Invalid, and parts
of a history put together are the history.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shahar.model.temporal import (
    MEMBERS,
    METHODS,
    PROPERTIES,
    Aggregation,
    Period,
    Span,
    edges,
    parse,
    parse_aggregation,
    parse_period,
    texts,
    written,
    written_aggregation,
    written_period,
)
from shahar.values.bounds import TEMPORAL_LAST
from shahar.values.errors import Invalid, TooMany
from shahar.values.instants import DAY

INSTANTS = st.integers(-60_000_000 * 10**9, 250_000_000 * 10**9)
LASTS = st.none() | st.integers(1, TEMPORAL_LAST)
SPANS = st.builds(
    Span, st.none() | INSTANTS, st.none() | INSTANTS, by=st.sampled_from(PROPERTIES), last=LASTS
) | st.builds(Span, by=st.just(""), last=LASTS)
PERIODS = st.builds(Period, st.integers(0, 1_200), st.integers(0, 400 * DAY))
AGGREGATIONS = st.builds(Aggregation, st.lists(st.sampled_from(METHODS), min_size=1, unique=True).map(tuple), PERIODS)


@given(SPANS)
@settings(max_examples=300)
def test_a_span_that_is_written_down_is_read_back(span: Span) -> None:
    assert parse(written(span)) == span


@given(AGGREGATIONS)
@settings(max_examples=200)
def test_an_aggregation_that_is_written_down_is_read_back(wanted: Aggregation) -> None:
    given = written_aggregation(wanted)
    assert parse_aggregation(given["aggrMethods"], given["aggrPeriodDuration"]) == wanted
    assert parse_period(written_period(wanted.period)) == wanted.period


WORDS = "before after between observedAt deletedAt 2026-01-01T00:00:00Z 2026-02-30T00:00:00Z"
WORDS += " 1 0 -1 1.5 PT1H P1M P PT avg"
TEXTS = st.sampled_from([*WORDS.split(" "), "avg,max", "avg,,"]) | st.text(max_size=5)
NAMES = [*MEMBERS, "aggrMethods", "aggrPeriodDuration"]


def refusal(read: Callable[[], object]) -> Invalid | None:
    try:
        read()
    except Invalid as refused:
        return refused
    return None


@given(st.dictionaries(st.sampled_from(NAMES), TEXTS))
@settings(max_examples=300)
def test_any_members_are_a_question_or_invalid(members: dict[str, str]) -> None:
    span: dict[str, str] = {str(name): members[name] for name in MEMBERS if name in members}
    refused = refusal(lambda: parse(span))
    assert refused is None or refused.field in MEMBERS
    if refused is None:
        assert parse(written(parse(span))) == parse(span)
    refused = refusal(lambda: parse_aggregation(members.get("aggrMethods"), members.get("aggrPeriodDuration")))
    assert refused is None or refused.field in NAMES


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)


@given(JSON)
@settings(max_examples=300)
def test_any_document_is_members_or_invalid(document: Any) -> None:
    refused = refusal(lambda: texts(document, "temporalQ", NAMES))
    assert refused is None or refused.field
    if refused is None:
        assert all(isinstance(value, str) and value for value in texts(document, "temporalQ", NAMES).values())


@given(PERIODS.filter(lambda period: not period.whole), INSTANTS, st.integers(0, 4_000 * DAY))
@settings(max_examples=200)
def test_periods_cover_the_time_without_gaps(period: Period, start: int, length: int) -> None:
    try:
        found = edges(period, start, start + length)
    except (Invalid, TooMany):
        return
    assert found[0] == start
    assert found[-1] >= start + length
    assert all(earlier < later for earlier, later in pairwise(found))
