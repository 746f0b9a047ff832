"""The measures are right on a small house, and can be taken of this one; they are printed at the end of the run."""

from __future__ import annotations

from tests.house import measures
from tests.house.rules import Source


def test_the_measures_of_a_small_house_are_right() -> None:
    small = Source("values.a", "x = 1\n\n\ndef f() -> int:\n    '''One.\n\n    Two.'''\n    return 1\n")
    large = Source("values.b", "def g() -> int:\n" + "    x = 1\n" * 9 + "    return x\n")
    found = measures.measure([small, large], [Source("tests.t", "x = 1\ny = 2\n")])
    assert (found.files, found.median_file, found.largest_file, found.largest_room) == (2, 8, 11, "values.b")
    assert (found.functions, found.median_function, found.longest_function, found.longest_name) == (
        2,
        6,
        11,
        "values.b.g",
    )
    assert (found.source_lines, found.test_lines) == (16, 2)


def test_the_percentile_of_nothing_is_nothing() -> None:
    assert measures.percentile([], 0.99) == 0
    assert measures.percentile([1, 2, 3, 4], 0.5) == 3
    assert measures.percentile(list(range(200)), 0.99) == 198


def test_this_house_can_be_measured() -> None:
    found = measures.measured()
    assert found.files > 0
    assert len(measures.told(found)) == 3
