"""Who speaks in the demo, where it lies, what it says of itself; the city, and the simulated towns."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Point, shape

import shahar
from shahar import plugins
from shahar.demo import city, town
from shahar.demo.roster import LOCATION, Part, roster
from shahar.kit import read
from shahar.model.city import BORROWED, NAME, SIMULATED, SOURCE
from shahar.ports.nats import DEVICE_NAME
from shahar.values.errors import Invalid
from shahar.values.instants import DAY, parse

CATALOGUE = plugins.discover().catalogue
CODES = [unit.soato for unit in city.units()]
OTHERS = [code for code in CODES if code != city.HOME]
LANGUAGES = {"uz", "uz-Cyrl", "ru", "kaa", "en"}
NOON = parse("2026-11-22T12:00:00Z")


def outline(code: str) -> Any:
    layer = Path(shahar.__file__).parent / "web" / "static" / "map" / "units.geojson"
    features = json.loads(layer.read_text(encoding="utf-8"))["features"]
    return shape(next(one["geometry"] for one in features if one["properties"]["soato"] == code))


def standing(part: Part, iri: str, member: str = "value") -> Any:
    (instance,) = part.device.attributes[iri]
    return instance[member]


def place(part: Part) -> tuple[float, float]:
    lon, lat = standing(part, LOCATION)["coordinates"]
    return lon, lat


@pytest.mark.parametrize("code", ["", *OTHERS])
def test_every_device_has_a_safe_name_a_known_profile_and_says_what_it_is(code: str) -> None:
    parts = roster(code).parts
    assert len({part.device.name for part in parts}) == len({part.device.entity for part in parts}) == len(parts)
    for part in parts:
        profile = CATALOGUE.profile(part.device.profile)
        assert DEVICE_NAME.fullmatch(part.device.name)
        assert part.device.entity.startswith(f"urn:ngsi-ld:{profile.type}:")
        assert standing(part, NAME, "languageMap")["uz"]
        assert standing(part, SOURCE)
        assert (SIMULATED in part.device.attributes) is bool(code)


def test_the_city_has_ten_stations_a_modelled_weather_and_two_borrowed_objects() -> None:
    parts = roster().parts
    assert [part.device.profile for part in parts].count("air.station") == 10
    assert len(parts) == 13
    for part in parts:
        lon, lat = place(part)
        if BORROWED in part.device.attributes:
            told = standing(part, BORROWED, "json")
            assert (told["place"], told["licence"]) == ("Grenoble, France", "ODbL 1.0")
            assert "CampusIoT" in told["source"]
            assert abs(lon - 5.74) < 0.1
            assert abs(lat - 45.2) < 0.1
        else:
            west, south, east, north = city.city().bbox
            assert west <= lon <= east
            assert south <= lat <= north
    (weather,) = [part for part in parts if part.device.entity == city.WEATHER]
    assert re.search(r"ERA5 model.*CC BY 4.0.*not a gauge", standing(weather, SOURCE))


def test_the_city_stands_among_fourteen_units_and_alone_has_data() -> None:
    shown = city.city()
    assert len(shown.units) == 14
    assert [unit.soato for unit in shown.units if unit.has_data] == [shown.soato] == ["1726"]
    assert all({"uz", "uz-Cyrl", "ru", "en"} <= set(unit.name) for unit in shown.units)
    assert shown.demo
    assert any("OpenStreetMap" in one for one in shown.attribution)
    for unit in shown.units:
        assert outline(unit.soato).buffer(0.05).contains(Point(unit.lon, unit.lat))


@pytest.mark.parametrize("words", [city.NOTICE, city.SIMULATED, city.OFF_SEASON], ids=["notice", "simulated", "season"])
def test_notices_are_in_five_languages_with_the_uzbek_apostrophe(words: dict[str, str]) -> None:
    assert set(words) == LANGUAGES
    assert not set("'’‘`") & set("".join(words.values()))


def test_a_page_can_know_when_the_weather_has_nothing_to_say() -> None:
    season = city.city().settings["seasons"][city.WEATHER]
    assert (season["from"], season["to"]) == ("12-15", "06-11")
    assert season["note"]["en"] == "no data for this time of year"
    tiles = {f"{system.key}.{one.key}" for system in CATALOGUE.systems for one in system.indicators}
    notes = city.city().settings["notes"]
    assert set(notes) <= tiles
    assert all(note == season["note"] for note in notes.values())


@pytest.mark.parametrize("code", OTHERS)
def test_a_simulated_town_says_so_and_lies_in_its_unit(code: str) -> None:
    shown = city.city_of(code)
    assert shown.notice == city.SIMULATED
    assert [unit.soato for unit in shown.units if unit.has_data] == [code]
    area = outline(code)
    for part in roster(code).parts:
        assert area.contains(Point(*place(part)))
        west, south, east, north = shown.bbox
        assert west < place(part)[0] < east
        assert south < place(part)[1] < north
        assert standing(part, SIMULATED) is True
        assert standing(part, SOURCE) == "simulated"


@pytest.mark.parametrize("code", ["", "1726"])
def test_the_unit_with_real_data_is_not_simulated(code: str) -> None:
    assert city.region(code) == ""
    assert city.city_of(code) == city.city()


@pytest.mark.parametrize(
    ("told", "nearest"),
    [("1702", "1703 .*Andijan"), ("1706401", "1706 .*Bukhara"), ("9" * 40, "17"), ("Buxoro", "17"), ("١٧", "17")],
)
def test_a_code_of_no_unit_is_refused_and_the_nearest_named(told: str, nearest: str) -> None:
    with pytest.raises(Invalid, match=f"the nearest is {nearest}"):
        city.region(told)


@given(code=st.sampled_from(OTHERS), at=st.integers(parse("2024-01-01T00:00:00Z"), parse("2040-01-01T00:00:00Z")))
def test_a_simulated_town_is_the_same_each_time_and_within_the_bounds(code: str, at: int) -> None:
    told = list(roster(code).due(at, at + town.STEP))
    assert told == list(roster(code).due(at, at + town.STEP))
    assert len(told) == town.AIR + town.ROOMS + 1
    profiles = {part.device.name: CATALOGUE.profile(part.device.profile) for part in roster(code).parts}
    for due in told:
        reading = read(CATALOGUE, profiles[due.device], due.body)
        assert reading.uplink.at == due.at
        assert len(reading.measurements) >= 3
        assert not reading.refused


def test_a_simulated_day_has_a_shape() -> None:
    rooms = [part for part in roster("1718").parts if part.device.profile == "buildings.json"]
    for part in rooms:
        co2 = [json.loads(due.body)["co2"] for due in part.track.due(NOON, NOON + DAY)]
        assert max(co2) > min(co2) + 300
    assert rooms[0].track.shifts() == ()
