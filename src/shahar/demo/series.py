"""What was measured, when, and when the demo tells it again: readers of the data files and of their shift in time.

A `Series` holds rows in the order of their own instants and the `Stretch`es of demo time into which they are moved.
Air and weather move by whole calendar years: the local date keeps its month and day, and its day of the year where the
source has such a year. Radio messages move by whole weeks, so that the weekday stays, over and over.
- Air: common years are 2025 again, leap years 2024 again; both are whole years of the source.
- Weather: the source is one season, 15 December 2025 to 11 June 2026. A demo year tells the same days again; outside of
  the season and on 29 February there is nothing.
Promises: pure; a value is told as the source wrote it; a body differs from the original message in its instant alone;
nothing is told that the source does not have.
Does not: interpolate, fill, smooth; know devices' keys or the broker.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from bisect import bisect_left, bisect_right
from calendar import isleap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Final, Protocol

from shahar.values import instants
from shahar.values.instants import DAY, SECOND, Instant

FOLDER: Final = Path(__file__).parent / "data"
TASHKENT: Final = timezone(timedelta(hours=5))
"""Asia/Tashkent has had no summer time since 1992."""
YEARS: Final = range(2015, 2061)
"""The demo years that stretches are drawn for."""
WEEK: Final = 7 * DAY
SEASON: Final = ("12-15", "06-11")
"""Month and day of the first and the last local day of the weather."""


@dataclass(frozen=True, slots=True)
class Due:
    """A message to be sent by a device when the demo's clock stands at `at`."""

    at: Instant
    device: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Stretch:
    """The demo's time from `start` up to `end`: what is told then was measured `shift_us` earlier."""

    start: Instant
    end: Instant
    shift_us: int


class Track(Protocol):
    """What one device says over time."""

    def due(self, after: Instant, until: Instant) -> Iterator[Due]:
        """Its messages after one demo instant, up to and with another, in the order of time."""

    def shifts(self) -> tuple[tuple[Instant, int], ...]:
        """From which demo instant on its readings are moved by how much; empty when nothing is moved."""


@dataclass(frozen=True, slots=True)
class Series:
    """Recorded rows of one device: `at[i]` is the original instant of `rows[i]`.

    `body` makes a message of a row, its instant and a shift.
    """

    device: str
    at: Sequence[Instant]
    rows: Sequence[str]
    body: Callable[[str, Instant, int], bytes]
    stretches: tuple[Stretch, ...]

    def due(self, after: Instant, until: Instant) -> Iterator[Due]:
        """The messages after one demo instant, up to and with another, in the order of time."""
        for stretch in self._within(after, until):
            first = bisect_left(self.at, max(after + 1, stretch.start) - stretch.shift_us)
            last = bisect_left(self.at, min(until + 1, stretch.end) - stretch.shift_us)
            for number in range(first, last):
                at = self.at[number]
                yield Due(at + stretch.shift_us, self.device, self.body(self.rows[number], at, stretch.shift_us))

    def shifts(self) -> tuple[tuple[Instant, int], ...]:
        """(start, shift) of each stretch, in order."""
        return tuple((stretch.start, stretch.shift_us) for stretch in self.stretches)

    def _within(self, after: Instant, until: Instant) -> Sequence[Stretch]:
        first = bisect_right(self.stretches, after, key=lambda one: one.end)
        return self.stretches[first : bisect_right(self.stretches, until, key=lambda one: one.start)]


# -- how time is shifted ----------------------------------------------------------------------------------------------


def midnight(day: date) -> Instant:
    """The instant at which a day begins in Tashkent."""
    return int(datetime(day.year, day.month, day.day, tzinfo=TASHKENT).timestamp()) * SECOND


def years_of_air() -> tuple[Stretch, ...]:
    """Each demo year is 2024 again when it is a leap year, else 2025."""
    found = []
    for year in YEARS:
        start = midnight(date(year, 1, 1))
        source = midnight(date(2024 if isleap(year) else 2025, 1, 1))
        found.append(Stretch(start, midnight(date(year + 1, 1, 1)), start - source))
    return tuple(found)


_SEASON_PARTS: Final = (  # the days between two places where a calendar may have, or change, what the source has not
    (date(2026, 1, 1), date(2026, 3, 1)),
    (date(2026, 3, 1), date(2026, 6, 12)),
    (date(2025, 12, 15), date(2026, 1, 1)),
)


def seasons_of_weather() -> tuple[Stretch, ...]:
    """In each demo year the same days again; 29 February has none."""
    found = []
    for year in YEARS:
        for first, after in _SEASON_PARTS:
            start = midnight(first.replace(year=year))
            found.append(Stretch(start, start + midnight(after) - midnight(first), start - midnight(first)))
    return tuple(found)


def weeks_again(begin: Instant, weeks: int) -> tuple[Stretch, ...]:
    """The whole weeks from `begin` on, told again and again without a break."""
    length = weeks * WEEK
    first, last = (midnight(date(year, 1, 1)) - begin for year in (YEARS[0], YEARS[-1] + 1))
    rounds = range(first // length, last // length + 1)
    return tuple(Stretch(begin + k * length, begin + (k + 1) * length, k * length) for k in rounds)


# -- the files --------------------------------------------------------------------------------------------------------


def text_of(name: str) -> str:
    """The text of a data file; unpacked when it is compressed."""
    raw = (FOLDER / name).read_bytes()
    return (gzip.decompress(raw) if name.endswith(".gz") else raw).decode()


def table_of(name: str) -> list[dict[str, str]]:
    """The rows of a data file with a heading."""
    return list(csv.DictReader(io.StringIO(text_of(name))))


def end_of(day: str) -> Instant:
    """The last second of a local day: a mean of the day is known then, and it still bears the day's date."""
    return midnight(date.fromisoformat(day)) + DAY - SECOND


def air(devices: Mapping[str, str]) -> list[Series]:
    """The daily means of the stations: station id -> device name."""
    rows, years = table_of("air/pm25_daily.csv"), years_of_air()
    found = []
    for station, device in devices.items():
        told = [(end_of(row["date"]), row[station]) for row in rows if row[station]]
        found.append(Series(device, [at for at, _ in told], [text for _, text in told], _station_body, years))
    return found


def _station_body(row: str, at: Instant, shift_us: int) -> bytes:
    return f'{{"at":"{instants.text(at + shift_us)}","pm25":{row}}}'.encode()


def weather(device: str) -> Series:
    """The hours of the model's weather."""
    heading, *lines = text_of("weather/hourly.csv.gz").splitlines()
    names = heading.split(",")[1:]

    def body(row: str, at: Instant, shift_us: int) -> bytes:
        values = zip(names, row.split(","), strict=True)
        members = ",".join(f'"{name}":{value}' for name, value in values if value)
        return f'{{"at":"{instants.text(at + shift_us)}",{members}}}'.encode()

    split = [line.split(",", 1) for line in lines]
    at, told = [instants.parse(at) for at, _ in split], [rest for _, rest in split]
    return Series(device, at, told, body, seasons_of_weather())


_INSTANT: Final = re.compile(r'^\{"(?:reported_at|_timestamp)":(\d+),', re.MULTILINE)


def uplinks(name: str, device: str, begin: str, weeks: int) -> Series:
    """The messages of a radio device, each a whole envelope whose first member is its instant in milliseconds."""
    text = text_of(f"uplinks/{name}.ndjson.gz")
    rows = text.splitlines()
    at = [int(told) * 1000 for told in _INSTANT.findall(text)]
    return Series(device, at, rows, _moved, weeks_again(instants.parse(begin), weeks))


def _moved(row: str, at: Instant, shift_us: int) -> bytes:
    """The envelope with its instant moved, and not one other sign changed."""
    return row.replace(str(at // 1000), str((at + shift_us) // 1000), 1).encode()
