"""One evolution out of its parts (ETSI GS CIM 009 clauses 4.5.5, 5.7.3, 5.7.4)."""

from __future__ import annotations

from typing import Any

import pytest

from shahar.model import query as q
from shahar.model.context import CORE
from shahar.model.pasts import fits_past, merged_past, received_past
from shahar.values.errors import Invalid, TooLarge

D = "https://uri.etsi.org/ngsi-ld/default-context/"


def past(*instances: tuple[int, Any] | tuple[int, Any, dict[str, Any]]) -> dict[str, Any]:
    """A past of one attribute: (observedAt, value, more)."""
    series = [
        {"type": "Property", "value": one[1], "observedAt": one[0], "modifiedAt": 1} | (one[2] if len(one) > 2 else {})
        for one in instances
    ]
    return {"id": "urn:x:1", "type": ["T"], "attrs": {"a": series}}


def values(doc: dict[str, Any] | None) -> list[Any]:
    """The values of the series, in order."""
    assert doc is not None
    return [one["value"] for one in doc["attrs"]["a"]]


def test_instances_of_all_parts_stand_in_the_order_of_time() -> None:
    assert values(merged_past([past((1, "a"), (3, "c")), past((2, "b"))], [], "observedAt")) == ["a", "b", "c"]


def test_of_two_at_one_instant_the_one_changed_last_stays() -> None:
    parts = [past((1, "old")), past((1, "new", {"modifiedAt": 9}))]
    assert values(merged_past(parts, [], "observedAt")) == ["new"]
    assert values(merged_past(parts[::-1], [], "observedAt")) == ["new"]
    apart = [past((1, "a")), past((1, "b", {"datasetId": "urn:d"}))]
    assert values(merged_past(apart, [], "observedAt")) == ["a", "b"]


def test_an_auxiliary_past_adds_only_instants_that_are_not_there() -> None:
    extra = past((1, "never", {"modifiedAt": 99}), (2, "added"))
    assert values(merged_past([past((1, "kept"))], [extra], "observedAt")) == ["kept", "added"]
    assert values(merged_past([], [extra], "observedAt")) == ["never", "added"]


def test_the_newest_are_those_of_the_whole() -> None:
    assert values(merged_past([past((1, "a"), (4, "d")), past((2, "b"), (3, "c"))], [], "observedAt", 2)) == ["c", "d"]


def test_nothing_from_nobody_is_nothing() -> None:
    assert merged_past([], [], "observedAt") is None


def test_what_a_source_sends_keeps_its_instants_and_ids() -> None:
    one = {"type": "Property", "value": 1, "observedAt": "2026-01-01T00:00:00Z", "instanceId": "urn:i:1"}
    gone = {"type": "Property", "value": "urn:ngsi-ld:null", "deletedAt": "2026-01-02T00:00:00Z"}
    doc = received_past({"id": "urn:x:1", "type": "T", "a": [one, gone], "b": one}, CORE)
    first, second = doc["attrs"][D + "a"]
    assert (first["instanceId"], first["modifiedAt"]) == ("urn:i:1", first["observedAt"])
    assert second["deletedAt"] == second["modifiedAt"]
    assert len(doc["attrs"][D + "b"]) == 1


@pytest.mark.parametrize(
    "body",
    [None, [], {}, {"id": "urn:x:1"}, {"id": "x", "type": "T"}, {"id": "urn:x:1", "type": "T", "a": [7]},
     {"id": "urn:x:1", "type": "T", "a": [{"type": "Property", "value": 1}]},
     {"id": "urn:x:1", "type": "T", "a": None}],
)  # fmt: skip
def test_what_is_no_evolution_is_refused(body: Any) -> None:
    with pytest.raises((Invalid, TooLarge)):
        received_past(body, CORE)


def test_filters_hold_for_any_instance_of_an_evolution() -> None:
    doc: dict[str, Any] = {"id": "urn:c:1", "type": ["urn:Car"], "scope": ["/now"], "attrs": {}}
    series: dict[str, list[dict[str, Any]]] = {
        "urn:a": [{"type": "Property", "value": value} for value in (1, 5)],
        "scope": [{"type": "Property", "value": ["/then"]}],
    }
    for text, fits in (("a==1;a==5", True), ("a>5", False), ("a>5|a", True), ("b", False)):
        assert fits_past(q.Query(q=q.parse_q(text, lambda name: f"urn:{name}")), doc, series) is fits, text
    for text, fits in (("/then", True), ("/now", False)):
        assert fits_past(q.Query(scope=q.parse_scope(text)), doc, series) is fits
    assert fits_past(q.Query(scope=q.parse_scope("/now")), doc, {})
    place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [1.0, 1.0]}}
    geo = q.parse_geo("near;maxDistance==1000", "Point", "[1.0,1.001]", "urn:location")
    assert fits_past(q.Query(geo=geo), doc, {"urn:location": [place]})
    assert not fits_past(q.Query(geo=geo), doc, series)


def test_scopes_over_time_are_a_series_and_scopes_of_now_are_none() -> None:
    scope = {"type": "Property", "value": "/a", "observedAt": "2026-01-01T00:00:00Z"}
    body = {"id": "urn:c:1", "type": "Car", "scope": [scope]}
    assert received_past(body, CORE)["attrs"]["scope"][0]["value"] == ["/a"]
    assert received_past(body | {"scope": ["/a"]}, CORE)["attrs"] == {}
