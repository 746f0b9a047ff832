"""Units: the table, exact conversion, what can measure what."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shahar.values.errors import Invalid
from shahar.values.units import QUANTITIES, UNITS, can_measure, convert, symbol, unit

LANGUAGES = ("uz", "uz-Cyrl", "ru", "kaa", "en")


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (83, "P1", "C62", 0.83),
        (0.07, "C62", "P1", 7.0),
        (7, "CEL", "KEL", 280.15),
        (212, "FAH", "CEL", 100.0),
        (-40, "FAH", "CEL", -40.0),
        (11.2, "KMH", "MTS", 3.111111111111111),
        (3616, "2Z", "VLT", 3.616),
        (1013.25, "A97", "KPA", 101.325),
        (2.5, "BAR", "MPA", 0.25),
        (31, "GQ", "GP", 0.031),
        (1, "MQH", "G51", 0.2777777777777778),
        (1, "X_GCAL", "KWH", 1163.0),
        (1, "X_GCAL", "GV", 4.1868),
        (750, "59", "61", 750000.0),
        (90, "MIN", "HUR", 1.5),
    ],
)
def test_a_conversion_gives_the_number_that_decimals_give(
    value: float, source: str, target: str, expected: float
) -> None:
    assert convert(value, source, target) == expected


@given(
    code=st.sampled_from(sorted(UNITS)),
    value=st.floats(-1e12, 1e12, allow_nan=False),
    other=st.sampled_from(sorted(UNITS)),
)
def test_a_conversion_there_and_back_is_the_same_amount(code: str, value: float, other: str) -> None:
    try:
        there = convert(value, code, other)
    except Invalid:
        assert not UNITS[code].dimensions & UNITS[other].dimensions
        return
    back = convert(there, other, code)
    assert back == pytest.approx(value, rel=1e-12, abs=1e-9)


def test_the_same_unit_leaves_the_value_and_its_kind_alone() -> None:
    assert repr(convert(7, "CEL", "CEL")) == "7"


@pytest.mark.parametrize(
    ("source", "target"), [("CEL", "P1"), ("DBM", "2N"), ("59", "P1"), ("GQ", "59"), ("XXX", "CEL"), ("CEL", "")]
)
def test_units_of_two_dimensions_and_unknown_codes_are_refused(source: str, target: str) -> None:
    with pytest.raises(Invalid):
        convert(1, source, target)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True])
def test_what_is_no_number_is_not_converted(value: float) -> None:
    with pytest.raises(Invalid):
        convert(value, "CEL", "KEL")


@pytest.mark.parametrize(
    ("code", "quantity", "expected"),
    [
        ("GQ", "mass concentration", True),
        ("P1", "mass concentration", False),
        ("P1", "gas in air", False),
        ("59", "gas in air", True),
        ("P1", "relative humidity", True),
        ("C62", "count", True),
        ("P1", "count", False),
        ("DBM", "signal strength", True),
        ("2N", "signal strength", False),
        ("X_GCAL", "heat", True),
    ],
)
def test_a_unit_measures_its_quantities_alone(code: str, quantity: str, expected: bool) -> None:
    assert can_measure(code, quantity) is expected


def test_an_unknown_quantity_or_code_is_refused() -> None:
    with pytest.raises(Invalid):
        can_measure("CEL", "warmth")
    with pytest.raises(Invalid):
        can_measure("C", "temperature")
    with pytest.raises(Invalid):
        symbol("C")


@pytest.mark.parametrize(
    ("code", "language", "expected"),
    [
        ("GQ", "ru", "мкг/м³"),
        ("GQ", "uz", "µg/m³"),
        ("KWH", "uz", "kVt·soat"),
        ("KWH", "uz-Cyrl", "кВт·соат"),
        ("KWH", "ru", "кВт·ч"),
        ("MTS", "uz-Cyrl", "м/с"),
        ("C62", "uz", ""),
        ("CEL", "kaa", "°C"),
        ("HUR", "tlh", "h"),
    ],
)
def test_a_symbol_is_written_as_the_language_writes_it(code: str, language: str, expected: str) -> None:
    assert symbol(code, language) == expected


def test_every_unit_has_a_dimension_that_some_quantity_is_measured_in() -> None:
    told = set(QUANTITIES.values())
    assert [code for code, one in UNITS.items() if not one.dimensions & told] == []
    assert {dimension for one in UNITS.values() for dimension in one.dimensions} == told


def test_codes_are_those_of_recommendation_20_or_say_that_they_are_private() -> None:
    assert [code for code in UNITS if not re.fullmatch(r"[A-Z0-9]{2,3}|X_[A-Z]+", code)] == []
    assert [code for code, one in UNITS.items() if one.code != code] == []


def test_cyrillic_languages_get_no_latin_word_for_time() -> None:
    for code in ("SEC", "MIN", "HUR", "DAY"):
        for language in ("uz-Cyrl", "ru"):
            assert re.fullmatch("[а-яқ]+", symbol(code, language)), code
    assert all(unit(code).symbol or code == "C62" for code in UNITS)
    assert all(isinstance(symbol(code, language), str) for code in UNITS for language in LANGUAGES)
