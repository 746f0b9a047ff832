"""Bodies to documents: what is read, and what is refused by which field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shahar.model.context import CORE
from shahar.model.entity import CREATE, NULL, PATCH, Reading, parse_entity
from shahar.model.render import View, entity
from shahar.values.errors import Invalid, TooLarge

D = "https://uri.etsi.org/ngsi-ld/default-context/"


def parse(**attributes: Any) -> dict[str, Any]:
    """The attribute table of an entity with these members."""
    doc = parse_entity({"id": "urn:ngsi-ld:T:1", "type": "T", **attributes}, CORE)
    attrs: dict[str, Any] = doc["attrs"]
    return attrs


@pytest.mark.parametrize(
    ("given", "instance"),
    [
        ({"type": "Property", "value": 5}, {"type": "Property", "value": 5}),
        ({"value": 5}, {"type": "Property", "value": 5}),
        (5, {"type": "Property", "value": 5}),
        (0, {"type": "Property", "value": 0}),
        (False, {"type": "Property", "value": False}),
        ({"object": "urn:a:b"}, {"type": "Relationship", "object": "urn:a:b"}),
        ({"languageMap": {"uz": "havo"}}, {"type": "LanguageProperty", "languageMap": {"uz": "havo"}}),
        ({"vocab": "x"}, {"type": "VocabProperty", "vocab": D + "x"}),
        ({"json": {"a": None}}, {"type": "JsonProperty", "json": {"a": None}}),
        ({"valueList": [1, 2]}, {"type": "ListProperty", "valueList": [1, 2]}),
        ({"objectList": ["urn:a:b"]}, {"type": "ListRelationship", "objectList": ["urn:a:b"]}),
        (
            {"type": "Point", "coordinates": [69.2, 41.3]},
            {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [69.2, 41.3]}},
        ),
        ({"value": 5, "unitCode": "CEL"}, {"type": "Property", "value": 5, "unitCode": "CEL"}),
        ({"value": 1, "observedAt": "1970-01-01T00:00:01Z"}, {"type": "Property", "value": 1, "observedAt": 1_000_000}),
        ({"value": 1, "createdAt": "2020-01-01T00:00:00Z"}, {"type": "Property", "value": 1}),
        (
            {"value": 1, "by": {"value": 2}},
            {"type": "Property", "value": 1, "attrs": {D + "by": [{"type": "Property", "value": 2}]}},
        ),
    ],
)
def test_every_form_of_an_attribute_is_one_instance(given: Any, instance: dict[str, Any]) -> None:
    assert parse(a=given) == {D + "a": [instance]}


@pytest.mark.parametrize(
    "given",
    [
        None,
        NULL,
        {"type": "Property"},
        {"type": "Property", "value": None},
        {"type": "Nonsense", "value": 1},
        {"type": "Relationship", "object": "no uri"},
        {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [500, 41]}},
        {"type": "Property", "value": 1, "observedAt": "yesterday"},
        {"type": "Property", "value": 1, "observedAt": "2020-02-30T00:00:00Z"},
        {"type": "Property", "value": "a\0b"},
        {"type": "LanguageProperty", "languageMap": {"uz": 5}},
        [{"value": 1}, {"value": 2}],
        {"value": 1, "unitCode": 7},
    ],
)
def test_what_is_no_attribute_is_refused_by_name(given: Any) -> None:
    with pytest.raises(Invalid) as refusal:
        parse(a=given)
    assert refusal.value.field and refusal.value.field.startswith("a")
    assert refusal.value.rule


@pytest.mark.parametrize(
    "body",
    [[], 5, {"type": "T"}, {"id": "x", "type": "T"}, {"id": "urn:a:b", "type": ""}, {"id": "urn:a:b", "type": []}],
)
def test_an_entity_needs_an_id_and_types_that_are_names(body: Any) -> None:
    with pytest.raises(Invalid):
        parse_entity(body, CORE)


def test_deep_values_are_refused() -> None:
    value: Any = 1
    for _ in range(500):
        value = [value]
    with pytest.raises(TooLarge, match="deep"):
        parse(a={"value": value})


def test_deep_sub_attributes_are_refused() -> None:
    attribute: Any = {"value": 1}
    for _ in range(50):
        attribute = {"value": 1, "a": attribute}
    with pytest.raises(TooLarge, match="deep"):
        parse(a=attribute)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "value", "object", "languageMap", "a", "observedAt"]) | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(max_size=8), json_values, max_size=4),
    st.sampled_from([CREATE, PATCH, Reading(simplified=True), Reading(nulls=True, partial=True)]),
)
def test_whatever_comes_is_a_document_or_invalid(body: dict[str, Any], reading: Reading) -> None:
    try:
        doc = parse_entity({"type": "T", **body, "id": "urn:a:b"}, CORE, reading, entity_id="urn:a:b")
    except (Invalid, TooLarge):
        return
    if reading is CREATE:
        shown = entity({**doc, "createdAt": 0, "modifiedAt": 0}, View(CORE))
        assert parse_entity(shown, CORE, CREATE)["attrs"] == doc["attrs"]
