"""One entity out of its parts (ETSI GS CIM 009 clauses 4.5.5, 4.3.6.2, 4.3.6.6)."""

from __future__ import annotations

from typing import Any

import pytest

from shahar.model.context import CORE, compile_context
from shahar.model.federation import merged, portion, recast, received, supplemented
from shahar.values.errors import Invalid, TooLarge

NOW = 1_000_000
D = "https://uri.etsi.org/ngsi-ld/default-context/"


def part(attrs: dict[str, list[dict[str, Any]]], **more: Any) -> dict[str, Any]:
    """A part of one entity."""
    return {"id": "urn:x:1", "type": ["T"], "attrs": attrs, **more}


def of(value: Any, **more: Any) -> dict[str, Any]:
    """An instance."""
    return {"type": "Property", "value": value, **more}


def values(doc: dict[str, Any] | None, name: str = "a") -> list[Any]:
    """The values of an attribute's instances."""
    assert doc is not None
    return [one["value"] for one in doc["attrs"].get(name, [])]


def test_the_instance_observed_last_is_shown_and_else_the_one_changed_last() -> None:
    observed = [part({"a": [of(1, observedAt=5, modifiedAt=9)]}), part({"a": [of(2, observedAt=6, modifiedAt=1)]})]
    assert values(merged(observed, NOW)) == [2]
    assert values(merged(observed[::-1], NOW)) == [2]
    changed = [part({"a": [of(1, modifiedAt=3)]}), part({"a": [of(2, modifiedAt=4)]})]
    assert values(merged(changed, NOW)) == [2]
    assert values(merged([part({"a": [of(1, modifiedAt=99)]}), part({"a": [of(2, observedAt=1)]})], NOW)) == [2]


def test_instances_without_instants_leave_the_first_part_in_its_place() -> None:
    assert values(merged([part({"a": [of(1)]}), part({"a": [of(2)]})], NOW)) == [1]


def test_each_dataset_has_a_newest_instance_of_its_own() -> None:
    one = part({"a": [of(1, modifiedAt=1), of(2, datasetId="urn:d", modifiedAt=9)]})
    two = part({"a": [of(3, modifiedAt=5), of(4, datasetId="urn:d", modifiedAt=5)]})
    assert values(merged([one, two], NOW)) == [3, 2]


def test_types_and_scopes_are_those_of_all_parts_and_instants_the_widest() -> None:
    one = part({}, type=["T"], scope=["/a"], createdAt=3, modifiedAt=4)
    two = part({}, type=["U", "T"], scope=["/b"], createdAt=2, modifiedAt=9)
    doc = merged([one, two], NOW)
    assert doc is not None
    assert (doc["type"], doc["scope"], doc["createdAt"], doc["modifiedAt"]) == (["T", "U"], ["/a", "/b"], 2, 9)


def test_what_has_expired_is_not_shown() -> None:
    assert merged([part({"a": [of(1)]}, expiresAt=NOW - 1)], NOW) is None
    assert values(merged([part({"a": [of(1)]}), part({"a": [of(2)]}, expiresAt=NOW - 1)], NOW)) == [1]
    gone = part({"a": [of(1, modifiedAt=9, expiresAt=NOW - 1)]})
    assert values(merged([gone, part({"a": [of(2, modifiedAt=1)]})], NOW)) == [2]


def test_an_end_that_not_all_parts_have_becomes_that_of_the_attributes() -> None:
    ending = part({"a": [of(1)], "b": [of(2, expiresAt=NOW + 1)]}, expiresAt=NOW + 5)
    doc = merged([ending, part({"c": [of(3)]})], NOW)
    assert doc is not None
    assert "expiresAt" not in doc
    assert [doc["attrs"][name][0].get("expiresAt") for name in "abc"] == [NOW + 5, NOW + 1, None]
    both = merged([ending, part({}, expiresAt=NOW + 9)], NOW)
    assert both is not None
    assert both["expiresAt"] == NOW + 9


def test_an_auxiliary_part_adds_and_never_replaces() -> None:
    doc = supplemented(part({"a": [of(1)]}), [part({"a": [of(2, modifiedAt=9)], "b": [of(3)]})], NOW)
    assert values(doc) == [1]
    assert values(doc, "b") == [3]
    assert values(supplemented(None, [part({"a": [of(2)]})], NOW)) == [2]


def test_what_a_source_sends_keeps_the_instants_it_tells() -> None:
    body = {"id": "urn:x:1", "type": "T", "a": {"type": "Property", "value": 1, "modifiedAt": "2026-01-01T00:00:00Z"}}
    doc = received(body, CORE)
    assert doc["attrs"][D + "a"][0]["modifiedAt"] == 1_767_225_600_000_000


@pytest.mark.parametrize(
    "body", [None, [], "x", {}, {"id": "urn:x:1"}, {"id": 1, "type": "T"}, {"id": "urn:x:1", "type": "T", "a": None}]
)
def test_what_is_no_entity_is_refused(body: Any) -> None:
    with pytest.raises((Invalid, TooLarge)):
        received(body, CORE)


def test_a_portion_has_the_attributes_asked_for_and_what_names_the_entity() -> None:
    body = {"id": "urn:x:1", "type": "T", "a": 1, "b": 2, "scope": "/x"}
    assert portion(body, frozenset({D + "a"}), CORE) == {"id": "urn:x:1", "type": "T", "a": 1}


def test_names_are_told_in_the_words_of_another_context() -> None:
    old = compile_context({"speed": "https://v/speed", "Car": "https://v/Car", "fast": "https://v/fast"}, {})
    new = compile_context({"v": "https://v/speed", "C": "https://v/Car", "f": "https://v/fast"}, {})
    body = {
        "id": "urn:x:1",
        "type": "Car",
        "speed": {
            "type": "Property",
            "value": {"speed": 1},
            "unitCode": "KMH",
            "fast": {"type": "Property", "value": 1},
        },
        "x": {"type": "VocabProperty", "vocab": ["fast", "other"]},
    }
    told = recast(body, old, new)
    assert told["type"] == "C"
    assert told["v"] == {
        "type": "Property",
        "value": {"speed": 1},
        "unitCode": "KMH",
        "f": {"type": "Property", "value": 1},
    }
    assert told["x"]["vocab"] == ["f", "other"]
    assert recast(told, new, old) == body
