"""What the demo tells is what the sources say: counts, values, and where the instants go."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shahar import plugins
from shahar.demo import series
from shahar.demo.roster import roster
from shahar.demo.series import TASHKENT, Due, Series, Track, end_of, midnight
from shahar.kit import read
from shahar.values.instants import DAY, HOUR, SECOND, parse

CATALOGUE = plugins.discover().catalogue
PARTS = {part.device.name: part for part in roster().parts}
UPLINKS = ("grenoble-tour-perret", "grenoble-saint-eynard")
WEATHER = "weather-tashkent-era5"
STATIONS = [name for name in PARTS if name.startswith("air-")]
NOWS = ("2026-11-22T17:00:00Z", "2027-02-28T23:59:59Z", "2028-02-29T03:00:00Z", "2026-03-15T12:00:00Z")

# How many days each station has in the source, and its lowest and highest value there.
SOURCE = {
    "036112022": (1041, "7.0", "266.75"),
    "037112022": (906, "3.0", "261.5"),
    "038112022": (1040, "5.0", "106.0"),
    "039112022": (1054, "5.25", "173.5"),
    "040112022": (1053, "10.5", "214.75"),
    "041112022": (961, "6.0", "317.0"),
    "042112022": (1010, "4.5", "289.25"),
    "043112022": (1013, "3.0", "860.5"),
    "044112022": (1020, "10.5", "907.5"),
    "045112022": (1048, "3.5", "199.5"),
}


def recorded(name: str) -> Series:
    track = PARTS[name].track
    assert isinstance(track, Series)
    return track


def original(track: Track, at: int) -> int:
    shifts = track.shifts()
    return at - shifts[bisect_right(shifts, at, key=lambda one: one[0]) - 1][1]


def local(at: int) -> datetime:
    return datetime.fromtimestamp(at / SECOND, TASHKENT)


def test_every_station_has_each_of_its_days_and_values() -> None:
    told = {}
    for track in series.air({station: station for station in SOURCE}):
        values = sorted(track.rows, key=float)
        told[track.device] = (len(track.rows), values[0], values[-1])
    assert told == SOURCE
    assert sum(count for count, _, _ in told.values()) == 10_146


def test_the_weather_has_each_of_its_hours() -> None:
    track = recorded(WEATHER)
    assert len(track.at) == len(set(track.at)) == 4_245
    assert (track.at[0], track.at[-1]) == (parse("2025-12-15T16:00:00Z"), parse("2026-06-11T09:00:00Z"))
    assert track.rows[0] == "-0.1,85.0,3.9,13.0,973.7,0.0"


def test_the_uplinks_are_whole_weeks_of_the_source() -> None:
    assert [len(recorded(name).rows) for name in UPLINKS] == [7_906, 12_288]
    for name, weeks in zip(UPLINKS, (15, 13), strict=True):
        track = recorded(name)
        assert list(track.at) == sorted(track.at)
        assert track.at[-1] - track.at[0] < weeks * 7 * DAY


@pytest.mark.parametrize("name", [*UPLINKS, WEATHER, *STATIONS])
def test_every_message_gives_values_and_none_is_refused(name: str) -> None:
    part, track = PARTS[name], recorded(name)
    profile = CATALOGUE.profile(part.device.profile)
    for row, at in zip(track.rows, track.at, strict=True):
        reading = read(CATALOGUE, profile, track.body(row, at, 0))
        assert reading.measurements
        assert not reading.refused
        assert reading.uplink.at == at
        assert reading.uplink.device in ("", part.device.identifier)


def test_a_value_is_told_as_the_source_wrote_it() -> None:
    noon = parse("2026-11-22T12:00:00Z")
    (due,) = PARTS["air-040112022"].track.due(noon, noon + DAY)
    row = next(row for row in series.table_of("air/pm25_daily.csv") if row["date"] == "2025-11-22")
    assert due.body.decode() == f'{{"at":"2026-11-22T18:59:59Z","pm25":{row["040112022"]}}}'


def test_a_moved_envelope_differs_in_its_instant_alone() -> None:
    for name in UPLINKS:
        track = recorded(name)
        row, at = track.rows[77], track.at[77]
        before, after = json.loads(row), json.loads(track.body(row, at, 15 * 7 * DAY))
        (member,) = [key for key in before if before[key] != after[key]]
        assert member in ("reported_at", "_timestamp")
        assert after[member] - before[member] == 15 * 7 * 86_400_000


days = st.dates(date(2016, 1, 1), date(2059, 12, 31))


@given(day=days)
def test_air_keeps_the_local_date_and_the_day_of_the_year(day: date) -> None:
    noon = midnight(day) + 12 * HOUR
    for name in STATIONS:
        for due in PARTS[name].track.due(noon, noon + DAY):
            was, now = local(original(PARTS[name].track, due.at)), local(due.at)
            assert now.date() == day
            assert (was.month, was.day, was.hour, was.minute, was.second) == (day.month, day.day, 23, 59, 59)
            assert was.timetuple().tm_yday == day.timetuple().tm_yday
            assert was.year in (2024, 2025)


@given(day=days)
def test_the_weather_keeps_date_and_hour_and_is_silent_outside_its_season(day: date) -> None:
    track = PARTS[WEATHER].track
    told = list(track.due(midnight(day) - 1, midnight(day) + DAY - 1))
    in_season = (day.month, day.day) >= (12, 15) or (day.month, day.day) <= (6, 11)
    assert bool(told) == (in_season and (day.month, day.day) != (2, 29))
    for due in told:
        was, now = local(original(track, due.at)), local(due.at)
        assert now.date() == day
        assert (was.month, was.day, was.hour) == (now.month, now.day, now.hour)


def test_the_weather_of_its_own_season_is_not_moved() -> None:
    track = PARTS[WEATHER].track
    (due,) = track.due(parse("2026-03-15T00:00:00Z") - 1, parse("2026-03-15T00:00:00Z"))
    assert original(track, due.at) == due.at


@given(day=days)
@settings(max_examples=30)
def test_uplinks_move_by_whole_weeks_and_never_end(day: date) -> None:
    start = midnight(day)
    for name in UPLINKS:
        track = PARTS[name].track
        told = list(track.due(start, start + 2 * DAY))
        assert len(told) > 20
        for due in told:
            moved = due.at - original(track, due.at)
            assert moved % (7 * DAY) == 0
            assert original(track, due.at) in recorded(name).at


@pytest.mark.parametrize("now", NOWS)
def test_whatever_the_date_there_is_something_to_tell(now: str) -> None:
    at = parse(now)
    span = (at - 37 * DAY, at + 180 * DAY)
    for name in UPLINKS:
        told = [due.at for due in PARTS[name].track.due(*span)]
        assert max(after - before for before, after in pairwise(told)) < 8 * HOUR
    days = Counter(local(due.at).date() for name in STATIONS for due in PARTS[name].track.due(*span))
    silent = [day for k in range(-36, 180) if not days[day := local(at + k * DAY).date()]]
    # the source has nothing for 10 January 2024, and so has a demo in January of a leap year
    assert silent == [day for day in silent if (day.month, day.day) == (1, 10) and day.year % 4 == 0]
    assert sum(days.values()) > 8 * 200


instants_of_interest = st.integers(parse("2025-11-01T00:00:00Z"), parse("2029-06-01T00:00:00Z"))


@given(first=instants_of_interest, spans=st.tuples(st.integers(0, 20 * DAY), st.integers(0, 20 * DAY)))
@settings(max_examples=10)
def test_time_can_be_cut_anywhere_and_nothing_is_told_twice_or_left_out(first: int, spans: tuple[int, int]) -> None:
    everyone = roster()
    middle, last = first + spans[0], first + spans[0] + spans[1]
    whole = list(everyone.due(first, last))
    assert [due.at for due in whole] == sorted(due.at for due in whole)
    assert all(first < due.at <= last for due in whole)
    parts: list[Due] = [*everyone.due(first, middle), *everyone.due(middle, last)]
    assert Counter(parts) == Counter(whole)


def test_a_day_ends_at_its_last_second_in_tashkent() -> None:
    assert end_of("2025-11-22") == parse("2025-11-22T18:59:59Z")
    assert datetime.fromtimestamp(midnight(date(2026, 1, 1)) / SECOND, UTC) == datetime(2025, 12, 31, 19, tzinfo=UTC)
    assert timedelta(hours=5) == TASHKENT.utcoffset(None)
