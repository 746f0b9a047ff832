"""What an entity document says of itself: name, source, place, numbers, and nothing where there is nothing."""

from __future__ import annotations

from typing import Any

import pytest

from shahar.model import city
from shahar.model.city import LOCATION, MODEL_NAME, MODEL_SOURCE, NAME, SOURCE
from shahar.model.entity import Doc

VALUE = "https://example.org/value"


def doc(**attrs: Any) -> Doc:
    return {"id": "urn:ngsi-ld:Mast:7", "type": ["https://example.org/Mast"], "attrs": attrs}


def text(value: Any) -> list[dict[str, Any]]:
    return [{"type": "Property", "value": value}]


def test_the_first_instance_of_an_attribute_speaks_for_it() -> None:
    told = doc(**{VALUE: [{"type": "Property", "value": 1, "observedAt": 5}, {"type": "Property", "value": 2}]})
    assert city.first(told, VALUE) == {"type": "Property", "value": 1, "observedAt": 5}
    assert (city.member(told, VALUE, "value"), city.observed(told, VALUE)) == (1, 5)


def test_what_is_not_there_is_none_and_was_never_observed() -> None:
    assert city.first(doc(), VALUE) is None
    assert (city.member(doc(), VALUE, "value"), city.observed(doc(), VALUE)) == (None, 0)
    assert (city.observed(doc(**{VALUE: text(1)}), VALUE), city.source_of(doc()), city.point_of(doc())) == (
        0,
        "",
        (None, None),
    )


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({}, {"uz": "7"}),
        ({MODEL_NAME: text("Mast")}, {"uz": "Mast"}),
        ({MODEL_NAME: text("Mast"), NAME: [{"type": "LanguageProperty", "languageMap": {"ru": "М"}}]}, {"ru": "М"}),
    ],
)
def test_a_name_is_the_citys_own_then_the_models_then_the_end_of_the_id(
    attrs: dict[str, Any], expected: dict[str, str]
) -> None:
    assert city.name_of(doc(**attrs)) == expected


def test_a_source_is_the_citys_own_before_the_models() -> None:
    assert city.source_of(doc(**{MODEL_SOURCE: text("model")})) == "model"
    assert city.source_of(doc(**{MODEL_SOURCE: text("model"), SOURCE: text("city")})) == "city"


@pytest.mark.parametrize(
    ("instance", "expected"),
    [
        ({"type": "GeoProperty", "value": {"type": "Point", "coordinates": [69.2, 41.3, 450]}}, (69.2, 41.3)),
        ({"type": "GeoProperty", "value": {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}}, (None, None)),
        ({"type": "Property", "value": "in the yard"}, (None, None)),
        ({"type": "Relationship", "object": "urn:ngsi-ld:House:1"}, (None, None)),
    ],
)
def test_only_a_point_is_a_place_on_the_map(instance: dict[str, Any], expected: tuple[float | None, ...]) -> None:
    assert city.point_of(doc(**{LOCATION: [instance]})) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(3, 3), (2.5, 2.5), (0, 0), (True, None), ("3", None), ({}, None), (None, None)]
)
def test_a_truth_a_word_and_an_object_are_no_numbers(value: Any, expected: float | None) -> None:
    assert city.number(value) == expected
