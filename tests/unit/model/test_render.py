"""What an entity looks like: the forms, projections, languages, datasets, GeoJSON."""

from __future__ import annotations

from typing import Any

import pytest

from shahar.model import projection, render
from shahar.model.context import CORE
from shahar.model.entity import Doc, parse_entity
from shahar.model.render import Form, View

D = "https://uri.etsi.org/ngsi-ld/default-context/"
PLACE = {"type": "Point", "coordinates": [69.2, 41.3]}


def document(**attributes: Any) -> Doc:
    """An entity with these attributes, made and changed in the first second of 1970."""
    doc = parse_entity({"id": "urn:t:1", "type": "T", "scope": "/a", **attributes}, CORE)
    return {**doc, "createdAt": 0, "modifiedAt": 0}


def view(pick: str | None = None, omit: str | None = None, **members: Any) -> View:
    """A view with a projection."""
    return render.through(projection.parse(pick, omit, CORE.expand), View(CORE, **members))


@pytest.mark.parametrize(
    ("pick", "omit", "expected"),
    [
        (None, None, {"id", "type", "scope", "a", "b"}),
        ("id", None, {"id"}),
        ("a,scope", None, {"a", "scope"}),
        (None, "id,a", {"type", "scope", "b"}),
        ("a,b", "c", {"a", "b"}),
        ("nothing", None, set()),
        (None, "id,type,scope,a,b", set()),
        ("a{x}", None, {"a"}),
        (None, "a{x}", {"id", "type", "scope", "a", "b"}),
    ],
)
def test_the_members_left_are_those_picked_and_not_omitted(
    pick: str | None, omit: str | None, expected: set[str]
) -> None:
    assert set(render.entity(document(a=1, b=2), view(pick, omit))) == expected


def test_system_members_never_stand_alone() -> None:
    assert render.entity(document(a=1), view("nothing", sys=True)) == {}
    assert set(render.entity(document(a=1), view("a", sys=True))) == {"a", "createdAt", "modifiedAt"}
    assert render.feature(document(a=1), view("nothing"), D + "location") == {}


@pytest.mark.parametrize(
    ("form", "given", "expected"),
    [
        ("normalized", 5, {"type": "Property", "value": 5}),
        ("concise", 5, 5),
        ("simplified", 5, 5),
        ("concise", {"value": 5, "unitCode": "CEL"}, {"value": 5, "unitCode": "CEL"}),
        ("simplified", {"value": 5, "unitCode": "CEL"}, 5),
        ("normalized", {"object": "urn:a:b"}, {"type": "Relationship", "object": "urn:a:b"}),
        ("concise", {"object": "urn:a:b"}, {"object": "urn:a:b"}),
        ("simplified", {"object": "urn:a:b"}, "urn:a:b"),
        ("simplified", {"vocab": "x"}, {"vocab": "x"}),
        ("simplified", {"json": {"x": None}}, {"json": {"x": None}}),
        ("simplified", {"languageMap": {"uz": "havo"}}, {"languageMap": {"uz": "havo"}}),
        (
            "simplified",
            [{"value": 1}, {"value": 2, "datasetId": "urn:d:2"}],
            {"dataset": {"@none": 1, "urn:d:2": 2}},
        ),
    ],
)
def test_each_form_shows_an_attribute_its_own_way(form: Form, given: Any, expected: Any) -> None:
    assert render.entity(document(a=given), View(CORE, form=form))["a"] == expected


def test_a_language_chosen_makes_a_property_of_a_language_property() -> None:
    doc = document(a={"languageMap": {"uz": "havo", "ru": "воздух"}})
    assert render.entity(doc, View(CORE, lang="ru"))["a"] == {"type": "Property", "value": "воздух", "lang": "ru"}
    assert render.entity(doc, View(CORE, form="simplified", lang="uz-Cyrl"))["a"] == "havo"


def test_datasets_chosen_leave_out_the_others() -> None:
    doc = document(a=[{"value": 1}, {"value": 2, "datasetId": "urn:d:2"}], b=3)
    shown = render.entity(doc, View(CORE, form="simplified", dataset=frozenset({"urn:d:2"})))
    assert shown == {"id": "urn:t:1", "type": "T", "scope": "/a", "a": 2}


def test_a_feature_carries_the_geometry_asked_for() -> None:
    doc = document(location=PLACE, a=1)
    shown = render.feature(doc, View(CORE, form="simplified"), CORE.expand("location"))
    assert (shown["id"], shown["geometry"], shown["properties"]["a"]) == ("urn:t:1", PLACE, 1)
    assert render.feature(doc, View(CORE), CORE.expand("elsewhere"))["geometry"] is None
