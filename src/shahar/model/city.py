"""What a city is to those who look at it: names, place, units beside it, and where its clock stands. Pure data.

`Pace` is the reading of a clock that may be a demo's own: main makes it, pages show it.
The attributes below are the house's own words on where a value comes from; a number leaves the house only with its
source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shahar.model.system import own
from shahar.values.instants import Instant

NAME: Final = own("name")
"""LanguageProperty {language tag: text}: what an object is called."""
BORROWED: Final = own("borrowed")
"""JsonProperty {"place", "licence", "source"}: measured elsewhere than where the city lies."""
SIMULATED: Final = own("simulated")
"""Property true: made up, not measured."""
SOURCE: Final = own("source")
"""Property text: who measured or computed it."""
ORIGINAL: Final = own("originalObservedAt")
"""Sub-attribute, Property ISO text: the instant at which a replayed value was really measured."""

Words = Mapping[str, str]
"""Language tag -> text; at least "uz"."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A first-level unit of the country: its SOATO code, names, centre (degrees, WGS 84), whether it has data."""

    soato: str
    name: Words
    lon: float
    lat: float
    has_data: bool = False


@dataclass(frozen=True, slots=True)
class City:
    """The city that a page is about. `bbox` is west, south, east, north in degrees."""

    name: Words
    timezone: str = "UTC"
    bbox: tuple[float, float, float, float] = (55.9, 37.1, 73.2, 45.6)
    soato: str = ""
    units: tuple[Unit, ...] = ()
    attribution: tuple[str, ...] = ()
    notice: Words | None = None
    demo: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pace:
    """Where the clock stands and how fast it goes: `at` is its instant, `wall` the real one, `start` where a demo's
    began.
    """

    at: Instant
    wall: Instant
    speed: float = 1.0
    live: bool = True
    label: str = "wall"
    start: Instant | None = None
