"""Declarations of systems: what is found unsound, how values become measurements, what an indicator says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shahar.model.payload import numbers, read_object
from shahar.model.reading import measure, summarise
from shahar.model.soundness import faults
from shahar.model.system import (
    Attribute,
    Decoder,
    Indicator,
    Model,
    Panels,
    Profile,
    Step,
    System,
    holds,
    own,
    panels_from,
    profile_from,
    rule_from,
    step_of,
    words_of,
)
from shahar.values.errors import Invalid

TEMPERATURE = Attribute(
    name="temperature", iri=own("temperature"), title="t", quantity="temperature", unit="CEL", low=-40, high=85
)
NAME = Attribute(name="name", iri=own("name"), title="n")
ROOM = Model(type="Room", iri=own("Room"), title="room", attributes=(TEMPERATURE, NAME))
DECODER = Decoder(name="x.one", decode=numbers({"t": "t"}), units={"t": "KEL", "n": None}, source="a test")
PROFILE = Profile(
    name="x.room", envelope="plain", decoder="x.one", type="Room", attributes={"t": "temperature", "n": "name"}
)
WARM = Indicator(
    key="warm", title="warm", type="Room", attribute="temperature", statistic="median", unit="CEL", fresh_s=60
)
SYSTEM = System(
    key="x",
    kit=1,
    title="title",
    about="about",
    icon="M1 1h10",
    models=(ROOM,),
    decoders=(DECODER,),
    indicators=(WARM,),
    profiles=(PROFILE,),
)


def test_a_sound_system_has_no_faults() -> None:
    assert faults(SYSTEM) == []


def _decoding(**change: Any) -> System:
    return replace(SYSTEM, decoders=(replace(DECODER, **change),))


def _telling(**change: Any) -> System:
    return replace(SYSTEM, indicators=(replace(WARM, **change),))


def _also(**change: Any) -> System:
    """The system with one more attribute."""
    return replace(SYSTEM, models=(replace(ROOM, attributes=(TEMPERATURE, NAME, replace(TEMPERATURE, **change))),))


FALLING = tuple(Step(word="a", advice="b", below=below) for below in (5, 4, None))


@pytest.mark.parametrize(
    ("system", "sentence"),
    [
        (replace(SYSTEM, kit=2), "it was written for kit 2; this is kit 1"),
        (replace(SYSTEM, key="X-Y"), "key 'X-Y' is not lower case letters, digits and _"),
        (replace(SYSTEM, icon="<script>"), "icon is not the path of an SVG in a box of 24 by 24"),
        (replace(SYSTEM, models=(ROOM, ROOM)), "model 'Room' is declared twice"),
        (_decoding(name="y.one"), "name 'y.one' is not x.NAME in lower case"),
        (_decoding(source=""), "decoder x.one does not say where its format is described"),
        (_decoding(units={"t": "C"}), "decoder x.one: t has the unknown unit 'C'"),
        (_also(name="co2", quantity="gas in air", unit="P1"), "Room.co2: P1 cannot measure gas in air"),
        (_also(name="a", quantity=None), "Room.a names a unit without a quantity, or a quantity without a unit"),
        (_also(name="a", low=9, high=9), "Room.a: low is not below high"),
        (_also(name="a", iri="temperature"), "Room: 'temperature' is not an IRI"),
        (_also(name="a", shown="P1"), "Room.a: P1 cannot measure temperature"),
        (_also(name="a", attributes=(replace(NAME, iri="x"),)), "Room: 'x' is not an IRI"),
        (_telling(type="Hall"), "indicator warm: x has no type 'Hall'"),
        (_telling(attribute="name"), "indicator warm: name is not a measured number"),
        (_telling(unit="P1"), "indicator warm: degree Celsius cannot be told in percent"),
        (_telling(limit=18), "indicator warm: a limit needs a word and a source"),
        (_telling(fresh_s=0), "indicator warm: fresh_s must be above 0"),
        (_telling(statistic="count"), "indicator warm: `when` belongs to count and share, and to them alone"),
        (_telling(steps=(Step(word="a", advice="b"),)), "indicator warm: steps need a source"),
        (_telling(steps=FALLING, steps_source="s"), "indicator warm: steps must rise, and only the last is open"),
        (
            replace(SYSTEM, profiles=(replace(PROFILE, attributes={"t": "heat"}),)),
            "profile x.room: Room has no attribute 'heat'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unsound_system_is_told_what_is_wrong(system: System, sentence: str) -> None:
    assert sentence in faults(system)


def test_all_faults_are_told_at_once() -> None:
    assert len(faults(replace(SYSTEM, kit=9, icon="!", models=(ROOM, ROOM)))) == 3


def test_panels_and_rules_name_what_the_system_has() -> None:
    panels = panels_from({"tiles": ["cold"], "card": [{"type": "Room", "shows": ["name", "noise"], "chart": "heat"}]})
    rule = rule_from({**RULE, "attribute": "noise"})
    assert faults(SYSTEM, (rule,), panels) == [
        "rule cold: Room has no attribute 'noise'",
        "panels: there is no indicator 'cold'",
        "panels: Room has no attribute 'noise'",
        "panels: Room has no attribute 'heat'",
    ]


RULE: Mapping[str, Any] = {
    "key": "cold",
    "title": "rule.cold",
    "type": "Room",
    "attribute": "temperature",
    "op": "<",
    "value": 18,
    "unit": "CEL",
    "for_s": 600,
    "severity": "minor",
    "source": "a test",
}


@pytest.mark.parametrize(
    "change",
    [{"op": "=<"}, {"severity": "bad"}, {"for_s": -1}, {"for_s": 1.5}, {"value": "18"}, {"value": True}, {"extra": 1}],
)
def test_a_rule_that_is_not_as_it_should_be_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        rule_from({**RULE, **change})
    with pytest.raises(Invalid, match="missing"):
        rule_from({key: value for key, value in RULE.items() if key not in ("source", *change)})


@pytest.mark.parametrize(
    "table", [{"tile": []}, {"tiles": "pm25"}, {"card": [{"type": "Room"}]}, {"card": ["Room"]}, {"card": [{}]}]
)
def test_panels_that_are_not_as_they_should_be_are_refused(table: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        panels_from(table)


def test_a_profile_is_plain_data_read_strictly() -> None:
    row: dict[str, Any] = {"name": "x.room", "envelope": "plain", "decoder": "x.one", "type": "Room"}
    row |= {"attributes": {"t": "temperature"}}
    assert profile_from(row) == replace(PROFILE, attributes={"t": "temperature"})
    for broken in ({**row, "code": "x"}, {**row, "attributes": {"t": 1}}, {"name": "x.room"}):
        with pytest.raises(Invalid):
            profile_from(broken)


def test_a_declaration_cannot_be_changed() -> None:
    system: Any = SYSTEM
    with pytest.raises(FrozenInstanceError):
        system.key = "y"
    attributes: Any = PROFILE.attributes
    with pytest.raises(TypeError):
        attributes["t"] = "name"


@pytest.mark.parametrize(
    ("values", "measured", "refused"),
    [
        ({"t": 280.15}, {"temperature": 7.0}, []),
        ({"t": 0.0, "n": "hall"}, {"name": "hall"}, ["t"]),
        ({"t": "warm"}, {}, ["t"]),
        ({"t": True}, {}, ["t"]),
        ({"t": float("nan")}, {}, ["t"]),
        ({"n": "x" * 2000, "t": 290.15}, {"temperature": 17.0}, ["n"]),
        ({"other": 1}, {}, []),
    ],
)
def test_what_is_no_measurement_is_refused_by_itself(
    values: dict[str, Any], measured: dict[str, Any], refused: list[str]
) -> None:
    found, left = measure(PROFILE, DECODER, ROOM, values)
    assert {one.attribute.name: one.value for one in found} == measured
    assert [one.name for one in left] == refused
    assert all(one.reason for one in left)


@pytest.mark.parametrize(
    ("statistic", "when", "unit", "values", "expected"),
    [
        ("median", None, "CEL", [1, 2, 30], 2.0),
        ("mean", None, "CEL", [1, 2, 30], 11.0),
        ("max", None, "CEL", [1, 2, 30], 30.0),
        ("min", None, "CEL", [1, 2, 30], 1.0),
        ("median", None, "CEL", [], None),
        ("count", (">", 1), "C62", [1, 2, 30], 2.0),
        ("count", (">", 1), "C62", [], 0.0),
        ("share", ("<", 18), "P1", [1, 2, 30, 40], 50.0),
        ("share", ("<", 18), "P1", [], None),
    ],
)
def test_an_indicator_says_its_statistic(
    statistic: Any, when: Any, unit: str, values: list[float], expected: float | None
) -> None:
    assert summarise(replace(WARM, statistic=statistic, when=when, unit=unit), values) == expected


def test_a_scale_of_words_is_cut_where_the_next_step_begins() -> None:
    scale = replace(WARM, steps=(Step(word="a", advice="", below=9.1), Step(word="b", advice="")))
    assert [step_of(scale, value) for value in (-5, 9.0, 9.09, 9.1, 1e9)] == [0, 0, 0, 1, 1]
    assert step_of(WARM, 1) is None


def test_every_word_of_a_system_is_named_once() -> None:
    assert words_of(SYSTEM) == ("about", "n", "room", "t", "title", "warm")


def test_an_unknown_operator_is_refused() -> None:
    assert holds(">=", 2, 2)
    with pytest.raises(Invalid):
        holds("~", 1, 2)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_refused(body: bytes) -> None:
    try:
        assert isinstance(read_object(body), dict)
    except Invalid:
        return


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[1]",
        b"7",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":"\\u0000"}',
        b'{"a":"\\ud800"}',
        b'{"\\u0000":1}',
        b'{"a":' + b"9" * 40 + b"}",
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"a":"' + b"x" * 65536 + b'"}',
        b"\xff\xfe{}",
    ],
    ids=lambda body: str(body[:20]),
)
def test_an_object_beyond_a_bound_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        read_object(body)


def test_numbers_take_the_first_of_several_names_and_pass_over_null() -> None:
    decode = numbers({"pm25": "pm25", "pm2_5": "pm25", "h": "humidity"})
    assert decode(b'{"pm2_5": 2, "pm25": 1, "h": null, "other": "x"}', None) == {"pm25": 1}
    assert decode(b"", None) == {}
    with pytest.raises(Invalid):
        decode(b'{"h": false}', None)


def test_empty_panels_are_sound() -> None:
    assert faults(SYSTEM, (), Panels()) == []
