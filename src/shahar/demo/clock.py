"""The demo's own clock: it starts in the past, runs fast until it meets the wall clock, then goes with it for good.

Promises: it never goes back, whatever the wall clock does; it never passes the wall clock (one that starts in the wall
clock's future stands until it is caught up with); between two readings before the meeting it goes `speed` times as far
as the wall clock went forward.
Does not: read a real clock (`wall` is given by main); remember where it stood (stage.py does).
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Final

from shahar.model.city import Pace
from shahar.values.errors import Invalid
from shahar.values.instants import DAY, Instant

SPEED: Final = 60.0
BEHIND: Final = 7 * DAY
"""How far before the wall clock a demo begins at its first start."""


class Clock:
    """A clock that stands at `at` now; `start`: where this demo's clock began at its very first start."""

    def __init__(
        self, wall: Callable[[], Instant], at: Instant, speed: float = SPEED, start: Instant | None = None
    ) -> None:
        if not (isfinite(speed) and speed > 0):
            raise Invalid(f"{speed} is no speed", field="speed", rule="a number above 0; 60 is a minute in a second")
        self._wall, self._speed = wall, speed
        self._start = at if start is None else start
        self._from_wall = self._last_wall = wall()
        self._from = self._last = at
        self._live = at >= self._from_wall

    def now(self) -> Instant:
        """The demo's instant."""
        wall = self._last_wall = self._wall()
        if not self._live:
            at = self._from + int((wall - self._from_wall) * self._speed)
            self._live = at >= wall
            if not self._live:
                self._last = max(self._last, at)
                return self._last
        self._last = max(self._last, wall)
        return self._last

    def pace(self) -> Pace:
        """Where the clock stands and how fast it goes."""
        at = self.now()
        speed = 1.0 if self._live else self._speed
        return Pace(at=at, wall=self._last_wall, speed=speed, live=self._live, label="demo", start=self._start)
