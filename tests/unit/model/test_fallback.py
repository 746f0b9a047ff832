"""Entities as earlier versions of the standard told them (ETSI GS CIM 009 V1.9.1 clause 4.3.6.8)."""

from __future__ import annotations

from typing import Any

import pytest

from shahar.model.context import CORE
from shahar.model.entity import Doc, parse_entity
from shahar.model.fallback import Version, conform
from shahar.model.render import View, entity

WHOLE: Doc = {
    **parse_entity(
        {
            "id": "urn:x:1",
            "type": ["A", "B"],
            "scope": "/a",
            "expiresAt": "2030-01-01T00:00:00Z",
            "j": {"json": {"k": 1}},
            "l": {"valueList": [1, 2]},
            "r": {"objectList": ["urn:y:1", "urn:y:2"]},
            "t": {"languageMap": {"en": "x"}, "s": {"value": 1, "expiresAt": "2030-01-01T00:00:00Z"}},
            "p": [{"value": 1, "unitCode": "CEL"}, {"value": 2, "datasetId": "urn:d:1"}],
        },
        CORE,
    ),
    "createdAt": 1,
    "modifiedAt": 1,
}


def told(version: Version) -> dict[str, Any]:
    """The entity as it is shown after the fallback."""
    return entity(conform(WHOLE, version), View(CORE, form="normalized"))


def test_what_is_of_the_version_is_given_back_as_it_is() -> None:
    assert conform(WHOLE, (1, 9)) is WHOLE and conform(WHOLE, (2, 0)) is WHOLE
    plain = {**WHOLE, "attrs": {}, "type": ["A"]}
    del plain["scope"], plain["expiresAt"]
    assert conform(plain, (1, 0)) is plain


@pytest.mark.parametrize("version", [(1, 8), (1, 7), (1, 3), (1, 2)])
def test_an_end_is_known_to_the_newest_alone(version: Version) -> None:
    found = conform(WHOLE, version)
    assert "expiresAt" not in found
    assert "expiresAt" not in found["attrs"][CORE.expand("t")][0]["attrs"][CORE.expand("s")][0]
    assert "expiresAt" in WHOLE and "expiresAt" in WHOLE["attrs"][CORE.expand("t")][0]["attrs"][CORE.expand("s")][0]


def test_newer_kinds_become_what_was_there_before_them() -> None:
    assert told((1, 8))["j"]["type"] == "JsonProperty"
    seven = told((1, 7))
    assert seven["j"] == {"type": "Property", "value": {"k": 1}}
    assert seven["l"] == {"type": "Property", "value": [1, 2]}
    assert seven["r"] == {"type": "Relationship", "object": ["urn:y:1", "urn:y:2"]}
    assert seven["t"]["type"] == "LanguageProperty" and seven["scope"] == "/a"
    three = told((1, 3))
    assert three["t"]["type"] == "Property" and three["t"]["value"] == {"en": "x"} and "scope" not in three
    assert len(three["p"]) == 2 and three["type"] == ["A", "B"]


def test_before_1_3_there_is_one_of_each() -> None:
    two = told((1, 0))
    assert two["type"] == "A" and two["p"] == {"type": "Property", "value": 1}


def test_what_was_before_a_change_is_told_as_plainly() -> None:
    now = {"type": "Property", "value": 1, "previous": {"type": "JsonProperty", "json": {"k": 1}}}
    found = conform({"id": "urn:a", "type": ["A"], "attrs": {"p": [now]}}, (1, 5))
    assert found["attrs"]["p"] == [
        {"type": "Property", "value": 1, "previous": {"type": "Property", "value": {"k": 1}}}
    ]
