"""One table of bounds: as constants, as a mapping, as a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from shahar.store import db
from shahar.values import bounds
from shahar.values.bounds import BOUNDS, Bound, quantity

PAGE = Path(__file__).parents[3] / "docs" / "bounds.md"
AIDS = {"KIB", "MIB", "BOUNDS", "REGENERATE"}


def test_the_page_says_what_the_table_says() -> None:
    assert PAGE.read_text() == bounds.document(), f"make docs/bounds.md again: {bounds.REGENERATE}"


def test_each_bound_is_a_constant_of_the_same_name_and_value() -> None:
    constants = {name: value for name, value in vars(bounds).items() if name.isupper() and name not in AIDS}
    assert constants == {name.upper(): bound.value for name, bound in BOUNDS.items()}


@pytest.mark.parametrize("bound", BOUNDS.values(), ids=list(BOUNDS))
def test_each_bound_is_positive_and_has_a_reason_and_a_consequence(bound: Bound) -> None:
    assert bound.value > 0
    assert bound.why
    assert bound.unit
    assert bound.refused_as


def test_the_store_keeps_the_bounds_of_the_table() -> None:
    assert db.READ_TIMEOUT_S == bounds.QUERY_S
    assert db.QUEUE_MAX == bounds.CHANGES_WAITING


def test_a_bound_stated_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="twice"):
        bounds._Part("A request")("body_bytes", 1, "bytes", "nothing", "none")


def test_bounds_are_told_in_words_that_people_read() -> None:
    def check(name: str, expected: str) -> None:
        assert quantity(BOUNDS[name]) == expected

    check("body_bytes", "4 MiB")
    check("address_bytes", "8 KiB")
    check("link_s", "24 h")
    check("session_s", "7 days")
    check("query_s", "15 s")
    check("batch_entities", "1 000 entities")
