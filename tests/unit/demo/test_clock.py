"""The demo's clock as a story of wall clock readings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shahar.demo.clock import BEHIND, Clock
from shahar.values.errors import Invalid
from shahar.values.instants import DAY, HOUR, MINUTE, SECOND, parse

WALL = parse("2026-11-22T12:00:00Z")


class Wall:
    """A wall clock that a test sets."""

    def __init__(self, at: int = WALL) -> None:
        self.at = at

    def __call__(self) -> int:
        return self.at


def test_a_minute_of_the_wall_clock_is_an_hour_of_the_demo() -> None:
    wall = Wall()
    clock = Clock(wall, WALL - BEHIND)
    assert clock.now() == WALL - 7 * DAY
    wall.at += MINUTE
    assert clock.now() == WALL - 7 * DAY + HOUR
    pace = clock.pace()
    assert (pace.speed, pace.live, pace.label, pace.start, pace.wall) == (60.0, False, "demo", WALL - BEHIND, wall.at)


def test_it_meets_the_wall_clock_after_a_fifty_ninth_of_its_lag_and_goes_with_it_for_good() -> None:
    wall = Wall()
    clock = Clock(wall, WALL - BEHIND)
    wall.at += BEHIND // 59 - SECOND
    assert not clock.pace().live
    wall.at += 2 * SECOND
    assert clock.now() == wall.at
    assert (clock.pace().speed, clock.pace().live) == (1.0, True)
    wall.at += 3 * DAY
    assert clock.now() == wall.at


def test_a_clock_that_is_ahead_stands_until_it_is_caught_up_with() -> None:
    wall = Wall()
    clock = Clock(wall, WALL + HOUR)
    wall.at += MINUTE
    assert clock.now() == WALL + HOUR
    wall.at += 2 * HOUR
    assert clock.now() == wall.at


def test_a_later_start_tells_where_the_first_one_began() -> None:
    assert Clock(Wall(), WALL - HOUR, start=WALL - 9 * DAY).pace().start == WALL - 9 * DAY


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_what_is_no_speed_is_refused(speed: float) -> None:
    with pytest.raises(Invalid):
        Clock(Wall(), WALL - DAY, speed)


steps = st.lists(st.integers(-2 * DAY, 4 * DAY), max_size=30)
speeds = st.floats(0.1, 10_000)


@given(behind=st.integers(-DAY, 40 * DAY), speed=speeds, steps=steps)
def test_it_never_goes_back_and_never_passes_the_latest_wall_clock(behind: int, speed: float, steps: list[int]) -> None:
    wall = Wall()
    clock = Clock(wall, WALL - behind, speed)
    last, latest = WALL - behind, max(WALL, WALL - behind)
    for step in steps:
        wall.at += step
        latest = max(latest, wall.at)
        now = clock.now()
        assert last <= now <= latest
        last = now


@given(behind=st.integers(DAY, 40 * DAY), speed=speeds, steps=st.lists(st.integers(0, DAY), max_size=30))
def test_it_goes_speed_times_as_fast_as_a_steady_wall_or_with_it(behind: int, speed: float, steps: list[int]) -> None:
    wall = Wall()
    clock = Clock(wall, WALL - behind, speed)
    met = False
    for step in steps:
        wall.at += step
        met = met or WALL - behind + int((wall.at - WALL) * speed) >= wall.at
        expected = wall.at if met else WALL - behind + int((wall.at - WALL) * speed)
        assert clock.now() == expected
        assert clock.pace().live is met
