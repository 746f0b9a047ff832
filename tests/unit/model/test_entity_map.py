"""Which entities a map names, to whom, and until when."""

from __future__ import annotations

from typing import Any

import pytest

from shahar.model.entity_map import HERE, EntityMap, Entry, changed_end, document, end, entries, received
from shahar.values import bounds
from shahar.values.errors import Invalid, TooMany
from shahar.values.instants import DAY, HOUR, SECOND

AT = 1_800_000_000 * SECOND


def test_what_is_here_comes_first_and_an_entity_stands_once() -> None:
    found = entries(
        [("urn:a:2", ("Car",)), ("urn:a:1", ("Car",))],
        [("urn:a:3", "urn:r:1", ("Bus",)), ("urn:a:1", "urn:r:1", ("Van",)), ("urn:a:1", "urn:r:2", None)],
    )
    assert found == {
        "urn:a:2": Entry((HERE,), ("Car",)),
        "urn:a:1": Entry((HERE, "urn:r:1", "urn:r:2"), ("Car", "Van")),
        "urn:a:3": Entry(("urn:r:1",), ("Bus",)),
    }


def test_equal_entries_are_one_object_however_many_there_are() -> None:
    found = entries([(f"urn:a:{number}", ("Car",)) for number in range(100)], [])
    assert len({id(entry) for entry in found.values()}) == 1


def test_a_map_holds_no_more_than_its_bound() -> None:
    most = [(f"urn:a:{number}", ("Car",)) for number in range(bounds.ENTITY_MAP_ENTITIES)]
    assert len(entries(most, [("urn:a:0", "urn:r:1", None)])) == bounds.ENTITY_MAP_ENTITIES
    with pytest.raises(TooMany):
        entries(most, [("urn:b:1", "urn:r:1", None)])


@pytest.mark.parametrize(
    ("wished", "lives"),
    [
        (None, bounds.ENTITY_MAP_S * SECOND),
        ("PT1H", HOUR),
        ("PT0.5S", SECOND // 2),
        ("P1D", DAY),
        ("P1M", DAY),
        ("PT0S", bounds.ENTITY_MAP_S * SECOND),
    ],
)
def test_a_map_lives_as_long_as_is_wished_within_the_bound(wished: str | None, lives: int) -> None:
    assert end(AT, wished) == AT + lives


@pytest.mark.parametrize("wished", ["", "P", "1h", "-PT1H", "P1DT"])
def test_what_is_no_length_of_time_is_refused(wished: str) -> None:
    with pytest.raises(Invalid) as refused:
        end(AT, wished)
    assert refused.value.field == "entityMapLifetime"


def test_only_the_end_of_a_map_can_be_changed() -> None:
    told: dict[str, Any] = {"id": "urn:m:1", "type": "EntityMap", "entityMap": 7, "linkedMaps": [], "@context": []}
    assert changed_end(told, "urn:m:1", AT) is None
    assert changed_end(told | {"expiresAt": "2027-01-15T08:00:01Z"}, "urn:m:1", AT) == AT + SECOND
    assert changed_end(told | {"expiresAt": "2020-01-15T08:00:00Z"}, "urn:m:1", AT) == 1_579_075_200 * SECOND
    for wrong in ({"expiresAt": "soon"}, {"id": "urn:m:2"}, {"type": "Map"}, {"owner": "me"}):
        with pytest.raises(Invalid) as refused:
            changed_end(told | wrong, "urn:m:1", AT)
        assert refused.value.field in wrong


def test_a_map_tells_of_the_types_alone_that_may_be_read() -> None:
    one = EntityMap("urn:m:1", "", "she", "entities", None, None, AT)
    one.entries = {
        "urn:a:1": Entry((HERE,), ("Car",)),
        "urn:a:2": Entry(("urn:r:1",), None),
        "urn:a:3": Entry((HERE,), ("Bus", "Van")),
    }
    one.linked = {"urn:r:1": "urn:m:2"}
    assert list(document(one, None)["entityMap"]) == ["urn:a:1", "urn:a:2", "urn:a:3"]
    assert document(one, ["Van"])["entityMap"] == {"urn:a:3": [HERE]}
    assert document(one, ())["entityMap"] == {}


def test_each_registration_is_asked_for_what_it_knows_of() -> None:
    one = EntityMap("urn:m:1", "", "she", "entities", None, None, AT)
    one.entries = entries([("urn:a:1", ("Car",))], [("urn:a:1", "urn:r:1", None), ("urn:a:2", "urn:r:2", None)])
    assert one.asked_of(["urn:a:1", "urn:a:2", "urn:a:9"]) == {"urn:r:1": ("urn:a:1",), "urn:r:2": ("urn:a:2",)}
    assert [one.held_here(name) for name in ("urn:a:1", "urn:a:2", "urn:a:9")] == [True, False, False]
    one.drop(["urn:a:1", "urn:a:9"])
    assert one.asked_of(["urn:a:1"]) == {}


@pytest.mark.parametrize("body", [None, [], {}, {"entityMap": []}, {"entityMap": {"no uri": []}}])
def test_what_a_source_sends_instead_of_a_map_is_refused(body: Any) -> None:
    with pytest.raises(Invalid):
        received(body, 10)


def test_of_a_source_s_map_so_many_are_read() -> None:
    assert received({"entityMap": {f"urn:a:{number}": ["@none"] for number in range(9)}}, 3) == [
        "urn:a:0", "urn:a:1", "urn:a:2",
    ]  # fmt: skip
