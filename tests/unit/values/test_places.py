"""Geometries are checked, boxed and measured."""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shahar.values import places
from shahar.values.errors import Invalid

SQUARE = [[69.0, 41.0], [70.0, 41.0], [70.0, 42.0], [69.0, 42.0], [69.0, 41.0]]
BOW_TIE = [[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]


def made(kind: str, coordinates: Any) -> dict[str, Any]:
    return {"type": kind, "coordinates": coordinates}


@pytest.mark.parametrize(
    "value",
    [
        made("Point", [69.24, 41.31]),
        made("Point", [69, 41, 455.5]),
        made("MultiPoint", [[1, 2], [3, 4]]),
        made("LineString", [[1, 2], [3, 4]]),
        made("MultiLineString", [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]),
        made("Polygon", [SQUARE]),
        made("Polygon", [BOW_TIE]),
        made("MultiPolygon", [[SQUARE], [SQUARE]]),
        made("Point", [-180, 90]),
    ],
)
def test_a_geometry_of_the_standard_is_accepted_as_it_is(value: dict[str, Any]) -> None:
    assert places.geometry(value, "location") is value


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "Point",
        {},
        {"type": ["Point"], "coordinates": [1, 2]},
        {"type": "Point"},
        made("GeometryCollection", []),
        made("point", [1, 2]),
        made("Point", []),
        made("Point", [1]),
        made("Point", [1, 2, 3, 4]),
        made("Point", ["1", "2"]),
        made("Point", [True, False]),
        made("Point", [181, 0]),
        made("Point", [0, 90.001]),
        made("Point", [math.nan, 0]),
        made("Point", [math.inf, 0]),
        made("Point", [0, 0, math.inf]),
        made("Point", [10**400, 0]),
        made("Point", [[1, 2]]),
        made("MultiPoint", []),
        made("LineString", [[1, 2]]),
        made("LineString", [1, 2]),
        made("Polygon", SQUARE),
        made("Polygon", [SQUARE[:-1]]),
        made("Polygon", [[[0, 0], [1, 1], [0, 0]]]),
        made("Polygon", [[]]),
        made("MultiPolygon", [SQUARE]),
        made("MultiPoint", [[0, 0]] * 10_001),
        made("MultiLineString", [[[0, 0]] * 6_000, [[0, 0]] * 6_000]),
    ],
)
def test_what_is_no_geometry_is_refused_with_the_name_of_its_field(value: object) -> None:
    with pytest.raises(Invalid) as refused:
        places.geometry(value, "location")
    assert refused.value.field == "location"
    assert refused.value.rule


def test_ten_thousand_positions_are_accepted() -> None:
    places.geometry(made("MultiPoint", [[0, 0]] * 10_000))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["type", "coordinates"]), inner),
    max_leaves=20,
)


@given(st.sampled_from([*places.GEOMETRY_TYPES, "GeometryCollection"]), JSON)
def test_any_coordinates_are_a_geometry_or_invalid(kind: str, coordinates: object) -> None:
    try:
        value = places.geometry({"type": kind, "coordinates": coordinates})
    except Invalid:
        return
    west, south, east, north = places.bbox(value)
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
    assert not places.shape(value).is_empty


def test_a_ring_that_crosses_itself_is_mended_to_its_two_halves() -> None:
    mended = places.shape(made("Polygon", [BOW_TIE]))
    assert mended.is_valid
    assert mended.area == pytest.approx(2.0)


def test_a_ring_without_area_is_still_a_shape() -> None:
    found = places.shape(made("Polygon", [[[0, 0], [1, 1], [2, 2], [0, 0]]]))
    assert not found.is_empty
    assert found.intersects(places.shape(made("Point", [1, 1])))


def test_a_line_without_length_is_a_point() -> None:
    found = places.shape(made("LineString", [[1, 1], [1, 1]]))
    assert found.intersects(places.shape(made("LineString", [[0, 0], [2, 2]])))
    assert not found.disjoint(places.shape(made("LineString", [[1, 1], [1, 2]])))


def test_the_box_of_a_geometry_holds_its_extremes() -> None:
    assert places.bbox(made("Point", [69, 41, 400])) == (69.0, 41.0, 69.0, 41.0)
    assert places.bbox(made("MultiPolygon", [[SQUARE], [[[1, 2], [3, 2], [3, 5], [1, 2]]]])) == (1.0, 2.0, 70.0, 42.0)


# Distances published: Vincenty's own example (Flinders Peak to Buninyong), a degree of latitude at the equator and at
# the pole, the quarter meridian, a degree of the equator.
@pytest.mark.parametrize(
    ("a", "b", "expected", "error"),
    [
        ((144.42486788888888, -37.95103341666667), (143.92649552777777, -37.65282113888889), 54972.271, 0.01),
        ((0.0, 0.0), (0.0, 1.0), 110574.389, 0.01),
        ((0.0, 89.0), (0.0, 90.0), 111693.865, 0.01),
        ((0.0, 0.0), (0.0, 90.0), 10001965.729, 0.01),
        ((10.0, 0.0), (11.0, 0.0), 111319.491, 0.01),
        ((179.5, 0.0), (-179.5, 0.0), 111319.491, 0.01),
        ((5.0, 5.0), (5.0, 5.0), 0.0, 0.0),
    ],
)
def test_metres_are_those_of_the_ellipsoid(a: list[float], b: list[float], expected: float, error: float) -> None:
    assert places.metres(a, b) == pytest.approx(expected, abs=error)
    assert places.metres(b, a) == pytest.approx(expected, abs=error)


def test_nearly_opposite_places_have_a_distance_too() -> None:
    assert places.metres((0.0, 0.0), (179.9, 0.1)) == pytest.approx(20_000_000, rel=0.006)
    assert places.metres((0.0, 0.0), (180.0, 0.0)) == pytest.approx(20_003_931, rel=0.006)
    assert places.metres((0.0, 90.0), (0.0, -90.0)) == pytest.approx(20_003_931, rel=0.001)


longitudes = st.floats(-180, 180, allow_nan=False)
latitudes = st.floats(-90, 90, allow_nan=False)
angles = st.floats(0, 2 * math.pi)


@given(longitudes, latitudes, longitudes, latitudes)
def test_a_box_holds_every_place_within_its_metres(lon: float, lat: float, other_lon: float, other_lat: float) -> None:
    apart = places.metres((lon, lat), (other_lon, other_lat))
    west, south, east, north = places.box_around(lon, lat, apart)
    slack = 1e-9 if apart < 15_000_000 else 2.0  # nearly opposite, metres itself is not exact
    assert west - slack <= other_lon <= east + slack
    assert south - slack <= other_lat <= north + slack
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90


@given(longitudes, latitudes, st.floats(1, 50_000), angles)
def test_a_box_holds_what_is_near_in_every_direction(lon: float, lat: float, far_m: float, angle: float) -> None:
    other_lat = lat + far_m / 112_000 * math.sin(angle)
    other_lon = lon + far_m / 112_000 * math.cos(angle) / max(1e-6, math.cos(math.radians(lat)))
    if abs(other_lat) > 90 or abs(other_lon) > 180:
        return
    apart = places.metres((lon, lat), (other_lon, other_lat))
    west, south, east, north = places.box_around(lon, lat, apart)
    assert west - 1e-9 <= other_lon <= east + 1e-9
    assert south - 1e-9 <= other_lat <= north + 1e-9


def test_a_box_over_a_pole_or_the_antimeridian_goes_around_the_world() -> None:
    assert places.box_around(179.99, 10, 5_000)[::2] == (-180.0, 180.0)
    assert places.box_around(0, 89.99, 5_000)[::2] == (-180.0, 180.0)
    assert places.box_around(0, 89.99, 5_000)[3] == 90.0


def dense(line: list[list[float]], count: int = 4000) -> list[tuple[float, float]]:
    """Many places on the straight pieces (in longitude and latitude) of a line."""
    found = []
    for (x0, y0), (x1, y1) in itertools.pairwise(line):
        found += [(x0 + (x1 - x0) * i / count, y0 + (y1 - y0) * i / count) for i in range(count + 1)]
    return found


def test_the_distance_to_a_line_is_that_of_a_dense_sampling() -> None:
    chance = random.Random(20_261_122)
    worst = 0.0
    for _ in range(60):
        lat, size = chance.uniform(-85, 85), 10 ** chance.uniform(-3, 0)
        line = [[chance.uniform(-size, size), lat + chance.uniform(-size, size)] for _ in range(3)]
        point = [chance.uniform(-2 * size, 2 * size), lat + chance.uniform(-2 * size, 2 * size)]
        expected = min(places.metres(point, each) for each in dense(line, 500))
        found = places.within_metres(places.shape(made("Point", point)), places.shape(made("LineString", line)))
        if expected > 0.02 * size * 111_000:  # nearer than that the sampling is the coarser of the two
            worst = max(worst, abs(found - expected) / expected)
    assert worst < 0.001


def line_away(a: dict[str, Any], b: dict[str, Any]) -> float:
    return places.within_metres(places.shape(a), places.shape(b))


def test_a_long_line_is_as_near_as_its_nearest_place() -> None:
    parallel = made("LineString", [[0, 60], [10, 60]])
    assert line_away(made("Point", [10, 60.01]), parallel) == pytest.approx(1114.1, rel=0.001)
    assert line_away(made("Point", [5, 61]), parallel) == pytest.approx(111_420, rel=0.002)


def test_far_north_a_degree_of_longitude_is_nearer_than_half_a_degree_of_latitude() -> None:
    line = made("LineString", [[2, 84], [0, 84.5]])
    expected = min(places.metres((0, 84), each) for each in dense([[2, 84], [0, 84.5]]))
    assert line_away(made("Point", [0, 84]), line) == pytest.approx(expected, rel=0.001)


def test_shapes_that_touch_or_hold_one_another_are_at_no_distance() -> None:
    square = made("Polygon", [SQUARE])
    assert line_away(made("Point", [69.5, 41.5]), square) == 0.0
    assert line_away(square, made("LineString", [[70, 41.5], [71, 41.5]])) == 0.0


def test_the_distance_looks_over_the_antimeridian() -> None:
    line = made("LineString", [[-179.9, 0], [-179.8, 0]])
    assert line_away(made("Point", [179.9, 0]), line) == pytest.approx(22_264, rel=0.001)


def test_checking_a_place_does_not_wait_for_shapely() -> None:
    code = "import sys, shahar.model.query; from shahar.values.places import geometry; "
    code += "geometry({'type': 'Point', 'coordinates': [1, 2]}); print('shapely' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert ran.stdout.strip() == "False"


def test_a_geometry_survives_json() -> None:
    value = made("Polygon", [SQUARE])
    assert places.geometry(json.loads(json.dumps(value))) == value
