"""Where the demo stands: its first start, the history before it, and what a later start finds.

    first start   the clock stands at the wall clock minus 7 days; devices are registered, 30 days before that loaded
    later start   the clock goes on where it stood; nothing is loaded

In FOLDER/demo: `state.json` (where the clock stood, up to where messages were sent) and `keys.json` (the devices' keys,
for the owner of the folder alone). Both are replaced at once, so a killed process leaves the old or the new one.
Promises: `prepare` that was killed is done again and keeps nothing twice (the register makes a device's key anew, the
history keeps a repeated reading once); when the store was emptied, devices and the last 30 days come again.
Refuses: a folder that shows another region (Invalid says which); a state file that cannot be read (Invalid).
Does not: send (replay.py); read the clock.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from shahar.demo import city
from shahar.demo.clock import BEHIND
from shahar.demo.roster import Part, Roster, roster
from shahar.model.access import HOUSE
from shahar.model.city import City
from shahar.services.devices import Devices
from shahar.values.errors import Invalid, NotFound
from shahar.values.instants import DAY, Instant

HISTORY: Final = 30 * DAY
"""How much is loaded before the instant at which the clock stands at the first start."""
VERSION: Final = 1
_SAVING: Final = threading.Lock()
"""A cancelled replay may leave a thread that still saves; the last to save tells the newest."""

Keys = dict[str, str]
"""Name of a device -> its key."""
Progress = Callable[[float, int], None]
"""Told again and again: the part that is done (0 to 1) and the messages so far."""


@dataclass
class Stage:
    """One demo in its folder: `start` is where its clock began at the very first start, `at` where it stands when the
    stage is entered, `sent` up to where messages were told.
    """

    folder: Path
    region: str
    start: Instant
    at: Instant
    sent: Instant
    loaded: bool = False
    history: Instant = HISTORY

    @cached_property
    def roster(self) -> Roster:
        """Who speaks."""
        return roster(self.region)

    @property
    def city(self) -> City:
        """What the pages are about."""
        return city.city_of(self.region)

    @property
    def first(self) -> Instant:
        """Where the loaded history begins."""
        return self.sent - self.history

    def save(self) -> None:
        """Keep where it stands, at once and durably."""
        with _SAVING:
            told = {name: getattr(self, name) for name in ("region", "start", "at", "sent", "loaded")}
            _write(self.folder / "state.json", {"version": VERSION, **told})


def enter(folder: Path, region: str, wall: Instant, *, history: Instant = HISTORY) -> Stage:
    """The demo in FOLDER/demo, made when there is none; Invalid.

    `region`: "" is the real one, else a unit's SOATO code. `history`: how much is loaded before it begins.
    """
    home, region = folder / "demo", city.region(region)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    told = _read(home / "state.json")
    if not told:
        at = wall - BEHIND
        return Stage(home, region, start=at, at=at, sent=at, history=history)
    if told["region"] != region:
        shown = told["region"] or city.HOME
        detail = f"{folder} holds the demo of {shown}, not of {region or city.HOME}: name another folder with --data"
        raise Invalid(detail, field="region", rule="one folder, one demo")
    return Stage(home, region, told["start"], told["at"], told["sent"], told["loaded"], history)


async def prepare(stage: Stage, devices: Devices, progress: Progress = lambda _part, _messages: None) -> Keys:
    """Register the devices and load the history, unless both are there; the devices' keys."""
    keys: Keys = _read(stage.folder / "keys.json")
    missing = [part for part in stage.roster.parts if not _known(devices, part, keys)]
    if missing or not stage.loaded:
        for part in missing:
            keys[part.device.name] = await devices.add(part.device, stage.first, by=HOUSE)
        _write(stage.folder / "keys.json", keys)
        await devices.load_many(_history(stage, progress))
        stage.loaded = True
        stage.save()
    return keys


def _known(devices: Devices, part: Part, keys: Keys) -> bool:
    try:
        devices.find(part.device.name)
    except NotFound:
        return False
    return part.device.name in keys


def _history(stage: Stage, progress: Progress) -> Iterator[tuple[str, bytes, Instant]]:
    """(device, message, instant) of the days before, in the order of time."""
    number = 0
    for due in stage.roster.due(stage.first, stage.sent):
        yield due.device, due.body, due.at
        number += 1
        if number % 250 == 0:
            progress((due.at - stage.first) / stage.history, number)
    progress(1.0, number)


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in a file of ours; empty when there is no such file."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        told = None
    if not isinstance(told, dict) or told.get("version", VERSION) != VERSION:
        raise Invalid(f"{path} cannot be read: remove the folder to begin again", field="data", rule="a file of ours")
    return told


def _write(path: Path, told: dict[str, Any]) -> None:
    """Put a JSON object in place at once, durably, for our user alone."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(told, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
