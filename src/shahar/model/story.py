"""Stories and samples: what a system promises, told as messages and what they come to, in files anyone can run.

A sample is one real message and what it means (`samples/*.json`): the profile, the message as it was sent, and the
uplink, decoded values and entity attributes that it must yield. A story (`stories/*.story`) is a timeline:

    story   A frame told again changes nothing
    day     2023-01-04
    device  bay parking.sensor
    21:31   uplink bay taken.json              # the message of a sample; its instant is the story's
    21:31   expect bay fillingLevel = 90 CMT
    21:40   says   bay {"level": 8}            # a message written out; its own instant counts when it has one
    21:50   uplink bay free.json at 21:20      # measured earlier than it arrives
    21:51   refuse bay {"level": "high"}       # must be refused as a whole
    22:11   expect bay fillingLevel age 31 min
    22:11   expect bay temperature absent

Hours count from midnight of `day` in UTC and may pass 24. Alarms and deadlines join the language with the issues that
bring them.
Promises: pure; the same story always ends the same; a failed expectation names its line, what was expected and what
is.
Does not: replace the store: it keeps the latest value by instant of measurement, whatever the order of arrival, and
drops a frame told again, as the platform does, so that a system's writer can see both without one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shahar.model.lorawan import octets_hex
from shahar.model.reading import Measurement, Reading, read
from shahar.model.system import REPEAT_S, Catalogue, Value
from shahar.values import instants, units
from shahar.values.errors import Invalid

_LINE: Final = re.compile(r"(\d{1,3}):([0-5]\d)(?::([0-5]\d))?\s+(uplink|says|refuse|expect)\s+(\S+)\s+(.+)")
_UPLINK: Final = re.compile(r"(\S+)(?:\s+at\s+(\d{1,3}):([0-5]\d)(?::([0-5]\d))?)?")
_EXPECT: Final = re.compile(
    r"(\w+)\s+(?:=\s*(?P<value>\S+)(?:\s+(?P<unit>\S+))?|age\s+(?P<age>\d+)\s*(?P<of>s|min|h|d)|(?P<absent>absent))"
)
_AGE_S: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_NEAR: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One message and what it means. `made` says that no device sent it: it was written to cover the format."""

    name: str
    decoder: str | None
    profile: str | None
    message: bytes
    fport: int | None
    uplink: Mapping[str, Any]
    values: Mapping[str, Value]
    entity: Mapping[str, Mapping[str, Any]]
    refused: tuple[str, ...] = ()
    made: bool = False


_SAMPLE: Final = frozenset(
    ("made", "decoder", "profile", "message", "payload", "fport", "uplink", "values", "entity", "refused")
)


def sample_from(text: str, name: str) -> Sample:
    """A sample file; Invalid when it is not one. It has a profile and a message, or a decoder and a payload in
    hexadecimal.
    """
    try:
        told = json.loads(text)
    except ValueError as wrong:
        raise Invalid(f"{name}: {wrong}", field=name, rule="JSON") from None
    if not isinstance(told, dict) or not set(told) <= _SAMPLE or "values" not in told:
        raise Invalid(f"{name}: keys must be of {', '.join(sorted(_SAMPLE))}, with values", field=name, rule="a sample")
    if ("profile" in told) != ("message" in told) or ("decoder" in told) != ("payload" in told):
        raise Invalid(f"{name}: profile goes with message, decoder with payload", field=name, rule="a sample")
    message = json.dumps(told["message"]).encode() if "message" in told else octets_hex(told.get("payload"), name)
    return Sample(
        name=name,
        decoder=told.get("decoder"),
        profile=told.get("profile"),
        message=message,
        fport=told.get("fport"),
        uplink=told.get("uplink", {}),
        values=told["values"],
        entity=told.get("entity", {}),
        refused=tuple(told.get("refused", ())),
        made=bool(told.get("made", False)),
    )


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the timeline: where it stands, when (microseconds since 1970), what is done to which device, and the
    rest.
    """

    number: int
    midnight: int
    at: int
    act: str
    device: str
    rest: str


@dataclass(frozen=True, kw_only=True)
class Story:
    """A timeline: its sentence, its devices (name -> profile) and its lines, in order of time."""

    name: str
    title: str
    devices: Mapping[str, str]
    lines: tuple[Line, ...]


def story_from(text: str, name: str) -> Story:
    """A story file; Invalid, with the line, when it is not one."""
    title, midnight = "", instants.parse("2026-01-01T00:00:00Z")
    devices: dict[str, str] = {}
    lines: list[Line] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = re.sub(r"(^|\s)#.*", "", raw).strip()
        word, _, rest = line.partition(" ")
        if word == "story":
            title = rest.strip()
        elif word == "day":
            midnight = instants.parse(f"{rest.strip()}T00:00:00Z", name)
        elif word == "device":
            device, _, profile = rest.strip().partition(" ")
            devices[device] = profile.strip()
        elif line:
            lines.append(_line(line, number, midnight, name))
    _check(name, title, devices, lines)
    return Story(name=name, title=title, devices=devices, lines=tuple(lines))


def _line(line: str, number: int, midnight: int, name: str) -> Line:
    found = _LINE.fullmatch(line)
    if found is None:
        raise Invalid(f"{name}:{number}: {line!r:.80} is no line of a story", field=name, rule="see model/story.py")
    hours, minutes, seconds, act, device, rest = found.groups()
    at = midnight + _offset(hours, minutes, seconds)
    return Line(number=number, midnight=midnight, at=at, act=act, device=device, rest=rest)


def _offset(hours: str, minutes: str, seconds: str | None) -> int:
    return (int(hours) * 3600 + int(minutes) * 60 + int(seconds or 0)) * instants.SECOND


def _check(name: str, title: str, devices: Mapping[str, str], lines: list[Line]) -> None:
    """Invalid when the story has no sentence, tells of unknown devices, goes back in time or expects nothing."""
    if not title:
        raise Invalid(f"{name}: the story needs its sentence", field=name, rule="story ...")
    if not any(line.act in ("expect", "refuse") for line in lines):
        raise Invalid(f"{name}: the story expects nothing", field=name, rule="expect ...")
    for before, line in zip([None, *lines], lines, strict=False):
        if line.device not in devices:
            raise Invalid(f"{name}:{line.number}: no device {line.device!r}", field=name, rule="device NAME PROFILE")
        if before is not None and line.at < before.at:
            raise Invalid(f"{name}:{line.number}: time goes back", field=name, rule="lines in order of time")


@dataclass
class _Stage:
    """What is known while a story runs: latest measurement of an attribute by device, and the frames that were seen."""

    catalogue: Catalogue
    samples: Mapping[str, Sample]
    devices: Mapping[str, str]
    latest: dict[tuple[str, str], tuple[int, Measurement]] = field(default_factory=dict)
    frames: dict[tuple[str, str], int] = field(default_factory=dict)

    def read(self, device: str, body: bytes) -> Reading:
        """The device's message as its profile has it read; Invalid when it cannot be."""
        return read(self.catalogue, self.catalogue.profile(self.devices[device]), body)

    def keep(self, device: str, reading: Reading, at: int) -> None:
        """Keep the latest measurement by instant; a frame told again within its time is dropped."""
        frame = reading.uplink.frame
        if frame is not None:
            first = self.frames.setdefault((device, frame), at)
            if first != at and abs(at - first) <= REPEAT_S * instants.SECOND:
                return
            self.frames[device, frame] = at
        for one in reading.measurements:
            known = self.latest.get((device, one.attribute.name))
            if known is None or known[0] <= at:
                self.latest[device, one.attribute.name] = at, one


def run(story: Story, catalogue: Catalogue, samples: Mapping[str, Sample]) -> list[str]:
    """What a story expected and did not find, one sentence each; an empty list when it holds."""
    stage, failed = _Stage(catalogue, samples, story.devices), []
    acts = {"uplink": _uplink, "says": _says, "refuse": _refuse, "expect": _expect}
    for line in story.lines:
        try:
            wrong = acts[line.act](stage, line)
        except Invalid as refused:
            wrong = f"refused, {refused.detail}"
        if wrong:
            failed.append(f"{story.name}:{line.number}: {line.act} {line.device} {line.rest}: {wrong}")
    return failed


def _uplink(stage: _Stage, line: Line) -> str | None:
    """A sample's message, at the story's time or at the time that the line gives."""
    found = _UPLINK.fullmatch(line.rest)
    if found is None or found[1] not in stage.samples:
        return "there is no such sample"
    at = line.at if found[2] is None else line.midnight + _offset(found[2], found[3], found[4])
    stage.keep(line.device, stage.read(line.device, stage.samples[found[1]].message), at)
    return None


def _says(stage: _Stage, line: Line) -> str | None:
    """A message written out in the story."""
    reading = stage.read(line.device, line.rest.encode())
    stage.keep(line.device, reading, line.at if reading.uplink.at is None else reading.uplink.at)
    return None


def _refuse(stage: _Stage, line: Line) -> str | None:
    """A message, written out or a sample's, that must be refused as a whole."""
    sample = stage.samples.get(line.rest)
    try:
        stage.read(line.device, line.rest.encode() if sample is None else sample.message)
    except Invalid:
        return None
    return "it was read"


def _expect(stage: _Stage, line: Line) -> str | None:
    """A value, an age, or the absence of an attribute."""
    found = _EXPECT.fullmatch(line.rest)
    if found is None:
        return "this is no expectation"
    known = stage.latest.get((line.device, found[1]))
    if found["absent"]:
        return None if known is None else f"it is {known[1].value}"
    if known is None:
        return "nothing was measured"
    at, measured = known
    if found["age"]:
        age_s = (line.at - at) / instants.SECOND
        return None if age_s == int(found["age"]) * _AGE_S[found["of"]] else f"it is {age_s:g} s old"
    return _differs(measured, found["value"], found["unit"])


def _differs(measured: Measurement, value: str, code: str | None) -> str | None:
    """What a measurement is, when it is not the value in the unit."""
    own, is_ = measured.attribute.unit, measured.value
    if isinstance(is_, bool | str) or own is None:
        return None if str(is_).lower() == value.lower() else f"it is {is_}"
    if code is None:
        return f"a number needs its unit, such as {own}"
    here, wanted = units.convert(is_, own, code), units.convert(_number(value), code, code)
    return None if abs(here - wanted) <= _NEAR * max(1.0, abs(here)) else f"it is {here} {code}"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Invalid(f"{text!r:.40} is not a number", rule="a number") from None
