"""A place is a GeoJSON geometry in WGS 84: checked, measured in metres, boxed, and made a shape for exact predicates.

Promises: `geometry` lets through only what RFC 7946 calls a geometry, within the bounds below; `metres` is exact to a
millimetre for two points that are not nearly opposite on the globe; `within_metres` finds the closest two points of
two shapes and is never too small; beside a dense sampling it was too large by less than 0.1 % for shapes up to a
degree wide, 0.6 % up to ten degrees, 8 % for shapes as wide as a continent; `box_around` and `widen` never leave out
a place that is within the metres asked for.
Refuses: GeometryCollection, longitudes beyond 180 and latitudes beyond 90 degrees, rings that are not closed, more
than 10 000 positions.
Accepts: rings that cross themselves (`shape` mends them), either winding, an altitude (kept, never
measured).
Does not: cut what crosses the antimeridian; predicates are those of the flat lon/lat plane, as RFC 7946 section 3.1.9
expects. Only the distance of two shapes looks over the antimeridian.
Source: RFC 7946; ETSI GS CIM 009 clause 4.7.1; Vincenty (1975), Survey Review XXIII 176, for the distance on the
ellipsoid of WGS 84.

shapely and numpy take 0.14 s to import, so that only the functions that need them do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from shahar.values.bounds import GEOMETRY_POSITIONS
from shahar.values.errors import Invalid

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Box = tuple[float, float, float, float]
"""West, south, east, north, in degrees; west is never greater than east."""

MAX_POSITIONS: Final = GEOMETRY_POSITIONS
WORLD: Final[Box] = (-180.0, -90.0, 180.0, 90.0)

# How many lists lie around one position, and what the innermost list must hold.
_DEPTHS: Final = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
GEOMETRY_TYPES: Final = tuple(_DEPTHS)

_SEMI_MAJOR_M: Final = 6_378_137.0
_FLATTENING: Final = 1 / 298.257223563
_SEMI_MINOR_M: Final = _SEMI_MAJOR_M * (1 - _FLATTENING)
_ECCENTRICITY_2: Final = _FLATTENING * (2 - _FLATTENING)
_SECOND_ECCENTRICITY_2: Final = (_SEMI_MAJOR_M / _SEMI_MINOR_M) ** 2 - 1
_MEAN_RADIUS_M: Final = 6_371_008.8
# Over so little latitude one stretched plane will do.
_SMALL_DEGREES: Final = 1.0
# The least metres that a degree spans: of latitude at the equator, of longitude before the cosine.
_LATITUDE_DEGREE_M: Final = math.radians(_SEMI_MAJOR_M * (1 - _ECCENTRICITY_2))
_LONGITUDE_DEGREE_M: Final = math.radians(_SEMI_MAJOR_M)


def geometry(value: object, field: str | None = None) -> dict[str, Any]:
    """The value itself when it is a geometry that we carry (degrees, WGS 84); Invalid naming `field` when it is not."""
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise Invalid("A geometry is an object with type and coordinates", field=field, rule="GeoJSON geometry")
    kind = value["type"]
    if kind not in _DEPTHS:
        raise Invalid(f"{kind!r:.60} is not a geometry type", field=field, rule="one of " + ", ".join(_DEPTHS))
    left = _check(value.get("coordinates"), kind, _DEPTHS[kind], MAX_POSITIONS, field)
    if left < 0:
        raise Invalid("The geometry has too many positions", field=field, rule=f"at most {MAX_POSITIONS} positions")
    return value


def _check(part: object, kind: str, depth: int, left: int, field: str | None) -> int:
    """Check what lies `depth` lists above its positions; gives how many positions may still come."""
    if depth == 0:
        _check_position(part, field)
        return left - 1
    if not isinstance(part, list) or not part:
        raise Invalid(f"The coordinates of a {kind} lack a list or are empty", field=field, rule="GeoJSON coordinates")
    if depth == 1:
        _check_run(part, kind, field)
    if len(part) > left:
        return -1
    for inner in part:
        left = _check(inner, kind, depth - 1, left, field)
        if left < 0:
            break
    return left


def _check_position(part: object, field: str | None) -> None:
    if not isinstance(part, list) or not 2 <= len(part) <= 3 or any(type(each) not in (int, float) for each in part):
        raise Invalid("A position is [longitude, latitude, altitude]", field=field, rule="two or three numbers")
    if not (-180 <= part[0] <= 180 and -90 <= part[1] <= 90):  # a NaN fails both comparisons
        rule = "longitude -180..180, then latitude -90..90"
        raise Invalid("A position lies outside of the globe", field=field, rule=rule)
    if len(part) == 3 and not -1e9 < part[2] < 1e9:
        raise Invalid("An altitude is not finite", field=field, rule="finite altitude in metres")


def _check_run(run: list[object], kind: str, field: str | None) -> None:
    if kind.endswith("LineString") and len(run) < 2:
        raise Invalid("A line needs two positions", field=field, rule="at least two positions in a line")
    if kind.endswith("Polygon"):
        if len(run) < 4:
            raise Invalid("A ring needs four positions", field=field, rule="at least four positions in a ring")
        if run[0] != run[-1]:
            raise Invalid("A ring is not closed", field=field, rule="the first and last position of a ring are equal")


def shape(value: Mapping[str, Any]) -> BaseGeometry:
    """The shapely geometry of a checked GeoJSON geometry, in two dimensions; rings that cross themselves are mended."""
    import shapely

    coordinates = value["coordinates"]
    if value["type"] == "Point":
        return shapely.Point(coordinates[0], coordinates[1])
    found = shapely.force_2d(shapely.geometry.shape(value))
    if found.is_valid:
        return found
    if value["type"].endswith("Polygon"):
        mended = shapely.make_valid(found, method="structure", keep_collapsed=False)
        if not mended.is_empty:
            return mended
    return shapely.make_valid(
        found
    )  # without area or length: to GEOS such a shape both meets and is apart from another


def positions(value: Mapping[str, Any]) -> Iterator[Sequence[float]]:
    """Every position of a checked geometry, in its order."""
    waiting = [value["coordinates"]]
    while waiting:
        part = waiting.pop()
        if isinstance(part[0], list):
            waiting.extend(reversed(part))
        else:
            yield part


def bbox(value: Mapping[str, Any]) -> Box:
    """West, south, east, north of a checked geometry, degrees."""
    found = list(positions(value))
    longitudes, latitudes = [position[0] for position in found], [position[1] for position in found]
    return float(min(longitudes)), float(min(latitudes)), float(max(longitudes)), float(max(latitudes))


def box_around(lon: float, lat: float, metres: float) -> Box:
    """A box around every place within `metres` of a point; -180 to 180 if it would reach a pole or the antimeridian."""
    return widen((lon, lat, lon, lat), metres)


def widen(box: Box, metres: float) -> Box:
    """The box made larger by `metres` on every side: none within `metres` of it is left out."""
    west, south, east, north = box
    up = metres / _LATITUDE_DEGREE_M * (1 + 1e-9)
    south, north = south - up, north + up
    furthest = max(abs(south), abs(north))
    if furthest >= 90:
        return -180.0, max(south, -90.0), 180.0, min(north, 90.0)
    aside = metres / (_LONGITUDE_DEGREE_M * math.cos(math.radians(furthest))) * (1 + 1e-9)
    if west - aside < -180 or east + aside > 180:
        return -180.0, south, 180.0, north
    return west - aside, south, east + aside, north


def metres(a: Sequence[float], b: Sequence[float]) -> float:
    """Metres on the ellipsoid between two positions [lon, lat]; within 0.6 % if nearly opposite on the globe."""
    lat_a, lat_b = math.radians(a[1]), math.radians(b[1])
    apart = math.radians(b[0] - a[0])
    u_a, u_b = math.atan((1 - _FLATTENING) * math.tan(lat_a)), math.atan((1 - _FLATTENING) * math.tan(lat_b))
    found = _vincenty(math.sin(u_a), math.cos(u_a), math.sin(u_b), math.cos(u_b), apart)
    return found if found is not None else _haversine(lat_a, lat_b, apart)


def _vincenty(sin_a: float, cos_a: float, sin_b: float, cos_b: float, apart: float) -> float | None:
    """Vincenty's inverse formula on reduced latitudes; None when its iteration does not settle."""
    angle = apart
    for _ in range(60):
        sin_angle, cos_angle = math.sin(angle), math.cos(angle)
        sin_arc = math.hypot(cos_b * sin_angle, cos_a * sin_b - sin_a * cos_b * cos_angle)
        if sin_arc == 0:
            return 0.0 if cos_angle > 0 else None
        cos_arc = sin_a * sin_b + cos_a * cos_b * cos_angle
        arc = math.atan2(sin_arc, cos_arc)
        sin_azimuth = cos_a * cos_b * sin_angle / sin_arc
        cos_azimuth_2 = 1 - sin_azimuth * sin_azimuth
        cos_middle = cos_arc - 2 * sin_a * sin_b / cos_azimuth_2 if cos_azimuth_2 > 1e-15 else 0.0
        c = _FLATTENING / 16 * cos_azimuth_2 * (4 + _FLATTENING * (4 - 3 * cos_azimuth_2))
        turn = arc + c * sin_arc * (cos_middle + c * cos_arc * (2 * cos_middle * cos_middle - 1))
        before, angle = angle, apart + (1 - c) * _FLATTENING * sin_azimuth * turn
        if abs(angle - before) < 1e-12:
            return _arc_metres(arc, sin_arc, cos_arc, cos_middle, cos_azimuth_2 * _SECOND_ECCENTRICITY_2)
    return None


def _arc_metres(arc: float, sin_arc: float, cos_arc: float, cos_middle: float, u_2: float) -> float:
    big_a = 1 + u_2 / 16384 * (4096 + u_2 * (-768 + u_2 * (320 - 175 * u_2)))
    big_b = u_2 / 1024 * (256 + u_2 * (-128 + u_2 * (74 - 47 * u_2)))
    middle_2 = cos_middle * cos_middle
    inner = cos_arc * (2 * middle_2 - 1) - big_b / 6 * cos_middle * (4 * sin_arc * sin_arc - 3) * (4 * middle_2 - 3)
    return _SEMI_MINOR_M * big_a * (arc - big_b * sin_arc * (cos_middle + big_b / 4 * inner))


def _haversine(lat_a: float, lat_b: float, apart: float) -> float:
    half = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin(apart / 2) ** 2
    return 2 * _MEAN_RADIUS_M * math.asin(math.sqrt(min(1.0, half)))


def within_metres(a: BaseGeometry, b: BaseGeometry) -> float:
    """Metres between the closest points of two shapes of `shape`; 0 when they share a point.

    The closest points are sought on planes stretched for several latitudes; the pair nearest on the ellipsoid counts.
    """
    if a.geom_type == "Point" and b.geom_type == "Point":
        return metres((a.x, a.y), (b.x, b.y))
    if a.intersects(b):
        return 0.0
    found = _nearest(a, b)
    (west_a, _, east_a, _), (west_b, _, east_b, _) = a.bounds, b.bounds
    if max(east_a, east_b) - min(west_a, west_b) > 180:  # they may be nearer over the antimeridian
        found = min(found, _nearest(a, _moved(b, 360.0)), _nearest(a, _moved(b, -360.0)))
    return found


def _moved(found: BaseGeometry, degrees: float) -> BaseGeometry:
    from shapely import affinity

    return affinity.translate(found, xoff=degrees)


def _nearest(a: BaseGeometry, b: BaseGeometry) -> float:
    (_, south_a, _, north_a), (_, south_b, _, north_b) = a.bounds, b.bounds
    best = math.inf
    middle = (max(south_a, south_b) + min(north_a, north_b)) / 2
    small = max(north_a, north_b) - min(south_a, south_b) < _SMALL_DEGREES
    for latitude in (middle,) if small else (middle, south_a, north_a, south_b, north_b):
        for _ in range(3):  # each round stretches the plane for the latitude where the last one ended
            found, ended = _nearest_on_plane(a, b, latitude)
            best = min(best, found)
            if abs(ended - latitude) < 1e-3:
                break
            latitude = ended
    return best


def _nearest_on_plane(a: BaseGeometry, b: BaseGeometry, latitude: float) -> tuple[float, float]:
    """Metres between the closest pair on the plane true to scale at `latitude`, and its middle latitude."""
    from shapely import affinity, ops

    at = math.radians(max(-89.9, min(89.9, latitude)))
    stretch = math.cos(at) * (1 - _ECCENTRICITY_2 * math.sin(at) ** 2) / (1 - _ECCENTRICITY_2)
    flat = [affinity.scale(each, xfact=stretch, yfact=1.0, origin=(0, 0)) for each in (a, b)]
    near_a, near_b = ops.nearest_points(*flat)
    # A touch of rounding may put a point a hair over the pole.
    lat_a, lat_b = (max(-90.0, min(90.0, each.y)) for each in (near_a, near_b))
    return metres((near_a.x / stretch, lat_a), (near_b.x / stretch, lat_b)), (lat_a + lat_b) / 2
