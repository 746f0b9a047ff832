"""What the resident's page is told, as plain records, and what it makes of them; pure, no HTTP.

For: web/resident.py and its template. Whoever has the city's figures (`Face`) fills `AirNow`; nothing here asks a
store.
Promises: the summary is honest: it says the worst place beside the city's own step, how many stations count, and how
old the figure is; what is not known is not said, and what has no data stands there as "no data yet".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from shahar.model.city import City, Pace, Words
from shahar.model.entity import Doc
from shahar.model.system import Catalogue, Indicator, System
from shahar.values.instants import Instant

Station = tuple[Words, float, Instant, int]
"""Name in its languages, value in the indicator's unit, instant, step on the indicator's scale."""

STATES: Final = ("fine", "fine", "minor", "major", "critical")
"""The state, and so the colour, of each step of a scale of words; a longer scale keeps the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AirNow:
    """One indicator of the city as it stands: its value, step, age, the stations behind it and its past.

    `value` and the points of `spark` (milliseconds since 1970, value) are in the indicator's unit; `count` stations of
    `of` are fresh enough to count; `stations` are these, worst first.
    """

    system: System
    indicator: Indicator
    value: float
    unit: str
    step: int
    at: Instant
    age_s: float
    count: int
    of: int
    limit: float | None
    spark: Sequence[tuple[int, float]]
    source: str
    stations: Sequence[Station]

    @property
    def worst(self) -> int:
        """The worst step that any station has."""
        return max((step for *_, step in self.stations), default=self.step)

    @property
    def above(self) -> int:
        """How many stations lie beyond the limit."""
        if self.limit is None:
            return 0
        upper = self.indicator.limit_kind == "upper"
        return sum(value > self.limit if upper else value < self.limit for _, value, *_ in self.stations)


class Face(Protocol):
    """Who knows the city's figures; `web/picture.Picture` is one."""

    city: City
    catalogue: Catalogue

    @property
    def pace(self) -> Any:  # a call that returns a Pace; a field there, a method elsewhere
        """Gives where the city's clock stands."""

    async def air_now(self) -> AirNow | None:
        """The indicator that the city speaks of, None when nothing is fresh."""

    async def docs(self) -> list[Doc]:
        """The entities that systems know."""

    def object(self, doc: Doc, at: Instant) -> dict[str, Any] | None:
        """One of them as the operations centre shows it, with `system`, `borrowed`, `simulated`."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What a city has of one system: objects of its own, those that are made up, and where others were measured."""

    system: System
    own: int
    simulated: int = 0
    borrowed: tuple[str, ...] = ()


def presences(catalogue: Catalogue, objects: Iterable[Mapping[str, Any]]) -> tuple[Presence, ...]:
    """What a city has of each installed system, from its objects."""
    own: Counter[str] = Counter()
    simulated: Counter[str] = Counter()
    borrowed: dict[str, dict[str, None]] = {}
    for one in objects:
        if one.get("borrowed"):
            borrowed.setdefault(one["system"], {})[str(one["borrowed"].get("place", ""))] = None
        elif one.get("simulated"):
            simulated[one["system"]] += 1
        elif one.get("state") != "nodata":
            own[one["system"]] += 1
    return tuple(
        Presence(system, own[system.key], simulated[system.key], tuple(borrowed.get(system.key, ())))
        for system in catalogue.systems
    )


def state_of_step(step: int) -> str:
    """The state of a step: fine, minor, major or critical."""
    return STATES[min(step, len(STATES) - 1)]


def told_speed(pace: Pace) -> int | None:
    """How many times faster than real a demo's clock runs; None when it keeps real time."""
    return round(pace.speed) if not pace.live and round(pace.speed) != 1 else None
