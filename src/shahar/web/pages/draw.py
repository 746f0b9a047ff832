"""Drawings of the pages as numbers for inline SVG: a series against its limit, the country's units. Pure, but for one
file.

Promises: a gap in a series stays a gap; the scale begins at zero and is the same for all bars; outlines are thinned
together, so that neighbours keep their common border.
Does not: choose colours (style sheets do, by class), write text (templates do, in the page's language).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

WIDTH: Final = 340.0
HEIGHT: Final = 104.0
TOP: Final = 18.0
OUTLINES: Final = Path(__file__).parents[1] / "static" / "map" / "units.geojson"
THIN_DEGREES: Final = 0.03
MAP_WIDTH: Final = 560.0
SLOTS_MAX: Final = 62
DAY_MS: Final = 86_400_000
_BAR_SHARE: Final = 0.72


@dataclass(frozen=True, slots=True)
class Bar:
    """One value of a series: its place, and where it crosses the limit (`over`: the part beyond)."""

    x: float
    width: float
    y: float
    height: float
    over_height: float
    value: float
    at_ms: int


@dataclass(frozen=True, slots=True)
class Chart:
    """A series as bars in a box of WIDTH by HEIGHT. `step_ms`: the time between two bars."""

    bars: tuple[Bar, ...]
    peak: Bar
    limit_y: float | None
    step_ms: int
    slots: int

    @property
    def daily(self) -> bool:
        """Whether each bar is a day or more, not an hour."""
        return self.step_ms >= DAY_MS


def chart(points: Sequence[tuple[int, float]], limit: float | None, *, upper: bool = True) -> Chart | None:
    """The bars of a series (milliseconds since 1970, value); None when there are fewer than two points. `upper`: what
    lies above the limit is beyond it, and is told apart.
    """
    told = sorted(dict(points).items())
    if len(told) < 2:
        return None
    step = min(later[0] - earlier[0] for earlier, later in pairwise(told))
    slots = min(round((told[-1][0] - told[0][0]) / step) + 1, SLOTS_MAX)
    first = told[-1][0] - (slots - 1) * step
    told = [point for point in told if round((point[0] - first) / step) >= 0]
    most = max(max(value for _, value in told), (limit or 0) * 1.25, 1e-9)
    slot = WIDTH / slots
    bars = tuple(
        _bar(at, value, round((at - first) / step) * slot, slot, most, limit if upper else None) for at, value in told
    )
    peak = max(bars, key=lambda bar: bar.value)
    return Chart(bars, peak, None if limit is None else _y(limit, most), step, slots)


def _bar(at: int, value: float, x: float, slot: float, most: float, limit: float | None) -> Bar:
    y = _y(max(value, 0.0), most)
    over = 0.0 if limit is None or value <= limit else _y(limit, most) - y
    inset = slot * (1 - _BAR_SHARE) / 2
    return Bar(_r(x + inset), _r(slot * _BAR_SHARE), y, _r(HEIGHT - y - over), _r(over), value, at)


def _y(value: float, most: float) -> float:
    return _r(HEIGHT - (HEIGHT - TOP) * value / most)


def _r(number: float) -> float:
    return round(number, 1)


@dataclass(frozen=True, slots=True)
class Outlines:
    """The units of a country in a box of `width` by `height`: code -> path; and how to put a point into it."""

    width: float
    height: float
    paths: Mapping[str, str]
    west: float
    north: float
    per_lon: float
    per_lat: float

    def place(self, lon: float, lat: float) -> tuple[float, float]:
        """Where a point lies in the box."""
        return _r((lon - self.west) * self.per_lon), _r((self.north - lat) * self.per_lat)


@lru_cache(maxsize=1)
def outlines(path: Path = OUTLINES) -> Outlines | None:
    """The shipped outlines, thinned; None when there is no such file."""
    if not path.is_file():
        return None
    features = orjson.loads(path.read_bytes())["features"]
    codes = [str(feature["properties"]["soato"]) for feature in features]
    import shapely  # it takes 0.15 s to import, and only this page asks for it

    shapes = [shapely.from_geojson(orjson.dumps(feature["geometry"])) for feature in features]
    thin = shapely.coverage_simplify(shapes, THIN_DEGREES)
    west, south, east, north = shapely.total_bounds(thin)
    per_lon = MAP_WIDTH / (east - west)
    per_lat = per_lon / math.cos(math.radians((south + north) / 2))
    drawn = Outlines(MAP_WIDTH, _r((north - south) * per_lat), {}, west, north, per_lon, per_lat)
    paths = {code: _path(shape, drawn) for code, shape in zip(codes, thin, strict=True)}
    return Outlines(drawn.width, drawn.height, paths, west, north, per_lon, per_lat)


def _path(shape: BaseGeometry, drawn: Outlines) -> str:
    text = []
    for part in getattr(shape, "geoms", (shape,)):
        for ring in (part.exterior, *part.interiors):
            text.append("M" + " ".join(f"{x:g} {y:g}" for x, y in (drawn.place(*at[:2]) for at in ring.coords)) + "z")
    return "".join(text)
