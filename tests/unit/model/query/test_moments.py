"""Date-times, dates and times have one place each on the scale of their kind."""

from __future__ import annotations

import pytest

from shahar.model.query.moments import moment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", ("datetime", 1_000_000)),
        ("1970-01-01T00:00:01.000000Z", ("datetime", 1_000_000)),
        ("1970-01-01T00:00:01,5Z", ("datetime", 1_500_000)),
        ("1970-01-02", ("date", 86_400_000_000)),
        ("1969-12-31", ("date", -86_400_000_000)),
        ("0001-01-01", ("date", -62_135_596_800_000_000)),
        ("00:00:01Z", ("time", 1_000_000)),
        ("23:59:59.25Z", ("time", 86_399_250_000)),
        ("1970-01-01T00:00:01", None),
        ("1970-13-01", None),
        ("1970-02-30T00:00:00Z", None),
        ("24:00:00Z", None),
        ("12:00Z", None),
        ("12:00:00", None),
        ("", None),
        ("2020", None),
        ("١٩٧٠-٠١-٠١", None),
        ("urn:ngsi-ld:City:Pisa", None),
    ],
)
def test_a_text_is_a_moment_or_nothing(text: str, expected: tuple[str, int] | None) -> None:
    assert moment(text) == expected
