"""The order of entities: by members, paths, moments, distance; values of any kind beside each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shahar.model import ordering
from shahar.model.context import CORE
from shahar.model.entity import Doc, parse_entity
from shahar.values.errors import Invalid


def entity(letter: str, **attributes: Any) -> Doc:
    """An entity named by a letter; the later in the alphabet, the older."""
    doc = parse_entity({"id": f"urn:e:{letter}", "type": "T", **attributes}, CORE)
    return {**doc, "createdAt": 200 - ord(letter), "modifiedAt": 0}


def arranged(text: str, docs: list[Doc], origin: str | None = None) -> str:
    """The last letters of the ids, in the order of `text`."""
    order = ordering.parse(text, CORE.expand, origin)
    found = ordering.arrange([(ordering.keys(order, doc), doc["id"]) for doc in docs], order)
    return "".join(each[-1] for each in found)


THREE = [
    entity("b", name="Beta", size=2, address={"city": "Nukus"}, kind="x"),
    entity("c", name="alpha", size=10, address={"city": "Buxoro"}, kind="x"),
    entity("a", name="Gamma", address={"city": "Xiva"}, kind="x"),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id", "abc"),
        ("id;asc", "abc"),
        ("id;desc", "cba"),
        ("name", "cba"),
        ("name;desc", "abc"),
        ("size", "bca"),
        ("size;desc", "cba"),
        ("address[city]", "cba"),
        ("createdAt", "cba"),
        ("kind", "bca"),
        ("type,name", "cba"),
        ("kind;desc,id", "abc"),
        ("nothing", "bca"),
        ("nothing;desc,id;desc", "cba"),
    ],
)
def test_entities_stand_in_the_order_asked_for(text: str, expected: str) -> None:
    assert arranged(text, THREE) == expected


def test_a_path_leads_to_sub_attributes_and_members_of_an_instance() -> None:
    docs = [
        entity("a", v={"value": 1, "accuracy": 3, "observedAt": "2026-01-02T00:00:00Z"}),
        entity("b", v={"value": 1, "accuracy": 1, "observedAt": "2026-01-03T00:00:00Z"}),
        entity("c", v={"value": 1, "accuracy": 2}),
    ]
    assert arranged("v.accuracy", docs) == "bca"
    assert arranged("v.observedAt;desc", docs) == "bac"
    assert arranged("v.unitCode,id;desc", docs) == "cba"


def test_kinds_of_values_stand_in_the_order_of_the_standard_and_missing_ones_last() -> None:
    moments = ["12:00:00Z", "2026-01-01", "2026-01-01T00:00:00Z"]
    values = [5, "text", {"a": 1}, [1], True, *moments]
    docs = [entity(chr(ord("a") + at), v=value) for at, value in enumerate(values)]
    assert arranged("v", [entity("z"), *reversed(docs)]) == "abcdefghz"
    assert arranged("v;desc", [entity("z"), *docs]) == "hgfedcbaz"


def test_texts_stand_by_letters_before_marks_before_case() -> None:
    words = ["Ёлка", "ель", "Ель", "еж", "ёж", "zebra", "Apple"]
    docs = [entity(chr(ord("a") + at), v=word) for at, word in enumerate(words)]
    found = arranged("v", docs)
    assert [words[ord(letter) - ord("a")] for letter in found] == ["Apple", "zebra", "еж", "ёж", "Ёлка", "ель", "Ель"]


def test_by_distance_what_has_no_place_stands_last() -> None:
    docs = [
        entity("a", location={"type": "Point", "coordinates": [69.0, 41.0]}),
        entity("b"),
        entity("c", location={"type": "Point", "coordinates": [60.0, 42.0]}),
    ]
    assert arranged("location;dist-asc", docs, "[60,42]") == "cab"
    assert arranged("location;dist-desc", docs, "[60,42]") == "acb"


@pytest.mark.parametrize(
    "text",
    ["", ",", "a,", "a;", "a;up", "a;asc;desc", "a b", "a[b", "a==1", "a{b}", "location;dist-asc", "a," * 9 + "a"],
)
def test_what_is_no_order_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        ordering.parse(text, CORE.expand)


@pytest.mark.parametrize(
    ("origin", "geometry"), [("[", None), ("[1]", None), ("[1,2]", "Circle"), ("[1,2]", "Polygon")]
)
def test_what_is_no_place_to_start_from_is_refused(origin: str, geometry: str | None) -> None:
    with pytest.raises(Invalid):
        ordering.parse("location;dist-asc", CORE.expand, origin, geometry)


JSON_VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(JSON_VALUES, max_size=8), st.sampled_from(["v", "v;desc", "v[a],id;desc"]))
def test_any_values_can_be_put_in_order_and_none_is_lost(values: list[Any], text: str) -> None:
    docs = [
        {"id": f"urn:e:{at}", "type": ["x:T"], "createdAt": 0, "modifiedAt": 0,
         "attrs": {CORE.expand("v"): [{"type": "Property", "value": value}]}}
        for at, value in enumerate(values)
    ]  # fmt: skip
    order = ordering.parse(text, CORE.expand)
    rows = [(ordering.keys(order, doc), at) for at, doc in enumerate(docs)]
    assert sorted(ordering.arrange(rows, order)) == list(range(len(values)))
