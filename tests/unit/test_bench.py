"""The statistics behind docs/speed.md. Speed itself is measured by `make bench` and asserted nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import payloads, report, subscribed
from bench.figures import Goal, median, medians, percentile, rounded
from shahar.model import subscription as model
from shahar.model.context import CORE
from shahar.model.entity import CREATE, parse_attributes, parse_entity
from shahar.model.subscription import Index

MEASURED = st.lists(st.floats(0, 1e9, allow_nan=False), min_size=1, max_size=50)


@pytest.mark.parametrize(
    ("values", "expected"), [([3], 3), ([1, 2], 1.5), ([5, 1, 3], 3), ([4, 1, 3, 2], 2.5), ([2, 2, 9], 2)]
)
def test_the_median_is_the_middle(values: list[float], expected: float) -> None:
    assert median(values) == expected


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (50.1, 51), (99, 99), (99.5, 100), (100, 100)]
)
def test_a_percentile_is_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == expected


@given(MEASURED, st.floats(0, 100))
def test_a_percentile_is_a_value_that_was_measured(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100 - 1e-9


@given(MEASURED)
def test_the_median_lies_within_what_was_measured(values: list[float]) -> None:
    assert min(values) <= median(values) <= max(values)


def test_medians_are_taken_of_each_figure_that_all_rounds_have() -> None:
    assert medians([{"a": 1, "b": 5}, {"a": 3}, {"a": 2, "b": 7}]) == {"a": 2}


@pytest.mark.parametrize(
    "call", [lambda: median([]), lambda: percentile([], 5), lambda: percentile([1], 101), lambda: medians([])]
)
def test_of_nothing_there_are_no_statistics(call: Any) -> None:
    with pytest.raises(ValueError, match=r"no |not a percentage"):
        call()


@pytest.mark.parametrize(
    ("value", "expected"), [(0.123456, 0.123), (123456, 123000), (9.999, 10), (0, 0), (-1.2345, -1.23)]
)
def test_a_figure_is_rounded_to_three_digits(value: float, expected: float) -> None:
    assert rounded(value) == expected


@pytest.mark.parametrize(
    ("measured", "most", "met"), [(7, True, True), (7.1, True, False), (7, False, True), (6.9, False, False)]
)
def test_a_goal_is_met_on_its_own_side(measured: float, most: bool, met: bool) -> None:
    assert Goal("g", measured, 7, most).met is met


def test_a_goal_of_another_machine_is_still_told() -> None:
    document = Goal("g", 8, 7, most=True, applies=False).document()
    assert report.reading(document) == "g: 8 (goal <= 7): MISSED, not this machine's rule"


def test_only_what_stands_between_the_marks_is_written_anew() -> None:
    page = "before\n" + report.BEGIN.format(name="x") + "\nold\n" + report.END.format(name="x") + "\nafter\n"
    done = report.replaced(page, "x", "new")
    assert done == page.replace("old", "new")
    assert report.replaced(done, "x", "new") == done
    assert report.replaced(done, "y", "new") == done


def test_a_prepared_update_has_its_own_length_and_one_kilobyte() -> None:
    stream = payloads.patches(3, 5)
    for _ in range(7):
        head, _, body = next(stream).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        assert len(orjson.loads(body)) == len(payloads.ATTRIBUTES) == 10
        assert 900 < len(body) < 1_100


def test_two_turns_of_an_entity_differ_in_every_attribute() -> None:
    before, after = payloads.fragment(7, 1), payloads.fragment(7, 2)
    assert all(
        before[name]["value"] != after[name]["value"] and before[name]["observedAt"] < after[name]["observedAt"]
        for name in before
    )


@given(st.integers(0, 400_000))
def test_placed_entities_lie_in_the_city(number: int) -> None:
    east, north = payloads.placed(number)["location"]["value"]["coordinates"]
    assert payloads.WEST <= east <= payloads.WEST + payloads.WIDE
    assert payloads.SOUTH <= north <= payloads.SOUTH + payloads.HIGH


# -- who is due a notification ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """An update as the journal tells it."""

    key: str
    what: Any
    kind: str = "entity.updated"
    at: int = 2


def test_who_is_due_is_whom_the_model_finds_concerned() -> None:
    count = 600
    held = subscribed.subscriptions(count)
    index, due, found = Index(), subscribed.Due(held), 0
    for one in held:
        record = model.parse(subscribed.body(one, "http://a.example/"), CORE, 1)
        index.put("", model.compiled(record))
    updates = list(islice(subscribed.updates(0, 1, subscribed.entities(count)), 2_000))
    for update in updates:
        doc = parse_entity(subscribed.entity(update.entity) | update.fragment, CORE)
        attrs = parse_attributes(update.fragment, CORE, CREATE)
        for instances in attrs.values():
            instances[0] |= {"createdAt": 1, "modifiedAt": 2}
        told = Told(doc["id"], {"types": doc["type"], "set": attrs})
        expected = {subscribed.subscription_id(number) for number in due.of(update)}
        assert {sub.id for sub in index.touched("", told) if model.holds(sub, doc)} == expected
        found += len(expected)
    assert 1.7 < found / len(updates) < 2.3
