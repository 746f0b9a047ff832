"""Stories: what their language accepts and refuses, and that a failed expectation is told with its line."""

from __future__ import annotations

import pytest

from shahar import plugins
from shahar.model.story import run, sample_from, story_from
from shahar.values.errors import Invalid

CATALOGUE = plugins.discover(installed=False).catalogue
HEAD = "story It holds\nday 2026-01-15\ndevice room buildings.json\n"
SAMPLE = '{"profile": "buildings.json", "message": {"temperature": 16.4}, "values": {"temperature": 16.4}}'
SAMPLES = {"one.json": sample_from(SAMPLE, "one.json")}


def told(lines: str) -> list[str]:
    return run(story_from(HEAD + lines, "x.story"), CATALOGUE, SAMPLES)


@pytest.mark.parametrize(
    "lines",
    [
        '08:00 says room {"temperature": 16.4}\n08:05 expect room temperature = 16.4 CEL',
        "08:00 uplink room one.json # the first\n08:05 expect room temperature = 289.55 KEL",
        "08:00 uplink room one.json at 07:00\n08:00 expect room temperature age 60 min",
        "32:00 uplink room one.json at 31:59:30\n32:00 expect room temperature age 30 s",
        '09:00 says room {"at": "2026-01-15T07:00:00Z", "leak": 1}\n09:00 expect room waterLeak age 2 h',
        '08:00 says room {"leak": 2}\n08:01 says room {"leak":1,"at":1768460000}\n08:01 expect room waterLeak = 2 C62',
        '08:00 refuse room {"leak": "wet"}',
        "08:00 refuse room nothing",
        "08:00 expect room co2 absent",
    ],
)
def test_a_true_story_holds(lines: str) -> None:
    assert told(lines) == []


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ('08:00 says room {"leak": 1}\n08:00 expect room waterLeak = 2 C62', "it is 1 C62"),
        ('08:00 says room {"leak": 1}\n08:00 expect room waterLeak = 1', "a number needs its unit, such as C62"),
        ('08:00 says room {"leak": 1}\n08:00 expect room waterLeak = wet C62', "refused, 'wet' is not a number"),
        ('08:00 says room {"leak": 1}\n08:00 expect room waterLeak age 1 min', "it is 0 s old"),
        ('08:00 says room {"leak": 1}\n08:00 expect room waterLeak absent', "it is 1"),
        ('08:00 says room {"leak": 1}\n08:00 expect room waterLeak about 1', "this is no expectation"),
        ("08:00 expect room temperature = 1 CEL", "nothing was measured"),
        ("08:00 refuse room one.json", "it was read"),
        ("08:00 uplink room two.json\n08:00 expect room co2 absent", "there is no such sample"),
        ("08:00 says room {\n08:00 expect room co2 absent", "refused, this is not JSON"),
    ],
)
def test_a_story_that_does_not_hold_says_where_and_what_is(lines: str, why: str) -> None:
    (only,) = told(lines)
    assert only.startswith("x.story:")
    assert only.endswith(why)


@pytest.mark.parametrize(
    "text",
    [
        "device room buildings.json\n08:00 expect room co2 absent",
        HEAD,
        HEAD + '08:00 says room {"leak": 1}',
        HEAD + "08:00 expect hall co2 absent",
        HEAD + "08:00 expect room co2 absent\n07:00 expect room co2 absent",
        HEAD + "8.00 expect room co2 absent",
        HEAD + "08:00 hope room co2 absent",
        "story It holds\nday yesterday\ndevice room buildings.json\n08:00 expect room co2 absent",
    ],
)
def test_what_is_no_story_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        story_from(text, "x.story")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"values": {}, "extra": 1}',
        '{"values": {}, "profile": "x"}',
        '{"values": {}, "message": {}}',
        '{"values": {}, "decoder": "x"}',
        '{"values": {}, "decoder": "x", "payload": "zz"}',
    ],
)
def test_what_is_no_sample_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        sample_from(text, "x.json")
