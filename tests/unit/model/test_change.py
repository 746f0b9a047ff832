"""Changes as data: what each kind makes of a document, and what it says has changed."""

from __future__ import annotations

from typing import Any

import pytest

from shahar.model.change import Change, apply
from shahar.values.errors import Exists, Invalid, NotFound

ID = "urn:a:1"


def prop(value: Any, **more: Any) -> dict[str, Any]:
    """A Property instance."""
    return {"type": "Property", "value": value, **more}


def fragment(**attrs: Any) -> dict[str, Any]:
    """A fragment of type T with these instances."""
    return {
        "id": ID,
        "type": ["T"],
        "attrs": {iri: listed if isinstance(listed, list) else [listed] for iri, listed in attrs.items()},
    }


def made(**attrs: Any) -> dict[str, Any]:
    """A document created at instant 10."""
    doc = apply(Change("create", ID, fragment(**attrs)), None, 10).doc
    assert doc is not None
    return doc


def values(doc: dict[str, Any] | None) -> dict[str, Any]:
    """Attribute -> the values of its instances."""
    assert doc is not None
    return {iri: [one.get("value") for one in listed] for iri, listed in doc["attrs"].items()}


def test_creating_twice_is_refused() -> None:
    with pytest.raises(Exists):
        apply(Change("create", ID, fragment(a=prop(1))), made(a=prop(1)), 20)


@pytest.mark.parametrize(
    "kind", ["replace", "append", "update", "merge", "partial", "replace_attr", "delete_attr", "delete"]
)
def test_what_is_not_there_cannot_be_changed(kind: Any) -> None:
    with pytest.raises(NotFound):
        apply(Change(kind, ID, fragment(a=prop(1)), attr="a"), None, 20)


def test_appending_overwrites_and_adds() -> None:
    applied = apply(Change("append", ID, fragment(a=prop(2), b=prop(3))), made(a=prop(1)), 20)
    assert values(applied.doc) == {"a": [2], "b": [3]}
    assert [iri for iri, _ in applied.set] == ["a", "b"]


def test_no_overwrite_keeps_what_is_there_and_says_so() -> None:
    applied = apply(Change("append_new", ID, fragment(a=prop(2), b=prop(3))), made(a=prop(1)), 20)
    assert values(applied.doc) == {"a": [1], "b": [3]}
    assert [iri for iri, _ in applied.missed] == ["a"]


def test_created_at_survives_an_update_and_modified_at_moves() -> None:
    doc = apply(Change("update", ID, fragment(a=prop(2))), made(a=prop(1)), 20).doc
    assert doc is not None
    assert (doc["attrs"]["a"][0]["createdAt"], doc["attrs"]["a"][0]["modifiedAt"]) == (10, 20)
    assert (doc["createdAt"], doc["modifiedAt"]) == (10, 20)


def test_time_never_goes_backwards_within_an_entity() -> None:
    doc = apply(Change("update", ID, fragment(a=prop(2))), made(a=prop(1)), 5).doc
    assert doc is not None and doc["modifiedAt"] == 11


def test_the_old_document_is_left_as_it_was() -> None:
    before = made(a=prop({"x": 1}), b=prop(2))
    copy = repr(before)
    apply(Change("merge", ID, fragment(a=prop({"y": 2}), b=prop("urn:ngsi-ld:null"))), before, 20)
    assert repr(before) == copy


def test_merging_goes_into_values_and_null_deletes() -> None:
    before = made(a=prop({"x": 1, "y": 1}), b=prop(2))
    applied = apply(
        Change("merge", ID, fragment(a=prop({"y": "urn:ngsi-ld:null", "z": 3}), b=prop("urn:ngsi-ld:null"))), before, 20
    )
    assert values(applied.doc) == {"a": [{"x": 1, "z": 3}]}
    assert [iri for iri, _ in applied.gone] == ["b"]


def test_instances_are_told_apart_by_dataset() -> None:
    before = made(a=[prop(1), prop(2, datasetId="urn:d:1")])
    applied = apply(Change("append", ID, fragment(a=prop(5, datasetId="urn:d:1"))), before, 20)
    assert values(applied.doc) == {"a": [1, 5]}
    applied = apply(Change("delete_attr", ID, attr="a", dataset="urn:d:1"), before, 20)
    assert values(applied.doc) == {"a": [1]}
    applied = apply(Change("delete_attr", ID, attr="a", every=True), before, 20)
    assert values(applied.doc) == {}


def test_replacing_names_what_is_gone() -> None:
    applied = apply(Change("replace", ID, fragment(b=prop(2))), made(a=prop(1)), 20)
    assert values(applied.doc) == {"b": [2]}
    assert [iri for iri, _ in applied.gone] == ["a"]


def test_a_partial_update_of_another_type_is_refused() -> None:
    with pytest.raises(Invalid):
        apply(
            Change("partial", ID, fragment(a={"type": "Relationship", "object": "urn:x:y"}), attr="a"),
            made(a=prop(1)),
            20,
        )


def test_a_reading_told_twice_changes_nothing() -> None:
    doc = made(a=prop(1, observedAt=5))
    applied = apply(Change("observe", ID, fragment(a=prop(1, observedAt=5))), doc, 20)
    assert not applied.changed and applied.doc is doc


def test_an_older_reading_goes_to_history_alone() -> None:
    doc = made(a=prop(1, observedAt=50))
    applied = apply(Change("observe", ID, fragment(a=prop(9, observedAt=5))), doc, 60)
    assert values(applied.doc) == {"a": [1]}
    assert [one["value"] for _, one in applied.late] == [9]


def test_deleting_names_every_instance() -> None:
    applied = apply(Change("delete", ID), made(a=prop(1), b=prop(2)), 20)
    assert applied.doc is None and [iri for iri, _ in applied.gone] == ["a", "b"]
