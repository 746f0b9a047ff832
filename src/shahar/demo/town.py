"""A simulated town: a few stations and rooms near the middle of a unit's main town, with values that are made up.

For: showing how another unit would look with sensors of its own (`shahar demo --region SOATO`).
Promises: every object says `simulated`, and its source is the word; the same unit has the same objects with the same
values at the same instants, always; a value depends on nothing but unit, object and instant.
Does not: resemble a real place's air, rooms or weather; use a device's or a body's real name.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from shahar.demo.series import Due
from shahar.values import instants
from shahar.values.instants import DAY, HOUR, MINUTE, Instant

STEP: Final = 30 * MINUTE
LOCAL: Final = 5 * HOUR
AIR, ROOMS = 5, 3
"""How many stations, and how many rooms."""
REACH_DEGREES: Final = 0.02
"""How far from the middle an object may lie, north or south; about 2 km."""

Values = dict[str, float]
Shape = Callable[[str, Instant], Values]


@dataclass(frozen=True, slots=True)
class Made:
    """What one simulated device says: every `STEP`, the values of its shape."""

    device: str
    shape: Shape

    def due(self, after: Instant, until: Instant) -> Iterator[Due]:
        """The messages after one instant, up to and with another."""
        for at in range((after // STEP + 1) * STEP, until + 1, STEP):
            told: dict[str, object] = {"at": instants.text(at), **self.shape(self.device, at)}
            yield Due(at, self.device, json.dumps(told, separators=(",", ":")).encode())

    def shifts(self) -> tuple[tuple[Instant, int], ...]:
        """Nothing is moved in time: it was never measured."""
        return ()


def chance(*of: object) -> float:
    """A number from 0 up to 1 that depends on the arguments alone."""
    digest = hashlib.blake2b("/".join(map(str, of)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@cache
def _knot(seed: str, number: int) -> float:
    return chance(seed, number) * 2 - 1


def wander(seed: str, at: Instant, every: Instant) -> float:
    """A smooth course between -1 and 1 with a new random aim `every` so long."""
    number, rest = divmod(at, every)
    part = rest / every
    part = part * part * (3 - 2 * part)
    return _knot(seed, number) * (1 - part) + _knot(seed, number + 1) * part


def place(soato: str, number: int, centre: tuple[float, float]) -> tuple[float, float]:
    """Longitude and latitude of an object near the middle."""
    east, north = chance(soato, number, "lon") * 2 - 1, chance(soato, number, "lat") * 2 - 1
    return round(centre[0] + east * REACH_DEGREES * 1.3, 5), round(centre[1] + north * REACH_DEGREES, 5)


def _hour(at: Instant) -> float:
    return (at + LOCAL) % DAY / HOUR


def _peak(hour: float, top: float, width: float) -> float:
    return math.exp(-(((hour - top + 12) % 24 - 12) ** 2) / (2 * width**2))


def _warmth(at: Instant, town: str) -> float:
    """Degrees outside: the season, the sun, and weather that comes and goes."""
    year = 2 * math.pi * (at / (365.2422 * DAY) - 0.55)
    return 14 + 15 * math.cos(year) + 5 * math.cos(2 * math.pi * (_hour(at) - 15) / 24) + 4 * wander(town, at, 3 * DAY)


def _damp(warmth: float) -> float:
    return min(95.0, max(12.0, 68 - 1.3 * (warmth - 10)))


def air(device: str, at: Instant) -> Values:
    """A station: dust with two peaks of traffic, more of it in the cold and in still weather."""
    town, hour = device.rsplit("-", 1)[0], _hour(at)
    warmth = _warmth(at, town)
    still = 10 * (1 + wander(town + "still", at, 2 * DAY))
    level = 14 + 6 * chance(device, "level") + max(0.0, 12 - warmth) * 1.2 + still
    traffic = 1 + 0.35 * _peak(hour, 8.5, 1.6) + 0.45 * _peak(hour, 19.5, 2.4)
    dust = level * traffic * (1 + 0.12 * wander(device, at, 2 * HOUR))
    return {"pm25": round(dust, 1), "temperature": round(warmth, 1), "humidity": round(_damp(warmth), 0)}


def weather(device: str, at: Instant) -> Values:
    """A weather station."""
    town = device.rsplit("-", 1)[0]
    warmth = _warmth(at, town)
    return {
        "temperature": round(warmth, 1),
        "humidity": round(_damp(warmth), 0),
        "wind_speed": round(2.2 + 1.6 * wander(town + "wind", at, 5 * HOUR), 1),
        "wind_direction": round(180 + 179 * wander(town + "from", at, 9 * HOUR), 0),
        "pressure": round(955 + 8 * wander(town + "pressure", at, 2 * DAY), 1),
        "precipitation": 0.0,
    }


def room(device: str, at: Instant) -> Values:
    """A room that is used from eight to six, not on Sunday."""
    hour, sunday = _hour(at), (at + LOCAL) // DAY % 7 == 3  # 1970-01-01 was a Thursday
    used = 0.0 if sunday else _peak(hour, 10.5, 1.8) + 0.8 * _peak(hour, 15.5, 1.5)
    warmth = 20.3 + 1.4 * used + 0.8 * wander(device, at, 6 * HOUR) + 0.1 * (_warmth(at, device.rsplit("-", 1)[0]) - 14)
    return {
        "temperature": round(warmth, 1),
        "humidity": round(42 + 6 * wander(device + "damp", at, 8 * HOUR) + 4 * used, 0),
        "co2": round(430 + 620 * used * (0.8 + 0.2 * chance(device, at // DAY))),
        "leak": 0,
    }
