"""Who speaks in the demo: each device with its entity's standing attributes, and what it will say.

Promises: a borrowed object lies at its own true place and carries place, licence and source; a simulated one is marked;
every object says who measured or computed it. Names of devices are safe in topics.
Does not: make keys or entities (stage.py asks the register of devices for that).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from shahar.demo import series, town
from shahar.demo.city import TAGS, WEATHER, town_centre
from shahar.demo.series import Due, Track
from shahar.model.city import BORROWED, NAME, SIMULATED, SOURCE, Words
from shahar.services.devices import Device
from shahar.values.instants import Instant

LOCATION: Final = "https://uri.etsi.org/ngsi-ld/location"
ENTITY: Final = "urn:ngsi-ld:"
MUNICIPAL: Final = "Tashkent city monitoring, open data set 133; daily mean, replayed from 2024 and 2025"
ERA5: Final = "ERA5 model (Open-Meteo.com, CC BY 4.0); computed, not a gauge"
CAMPUS: Final = "CampusIoT datasets, https://github.com/CampusIoT/datasets"
ODBL: Final = "ODbL 1.0"
GRENOBLE: Final = "Grenoble, France"
MADE_UP: Final = "simulated"

_AIR: Final[Words] = {
    "uz": "Havo stansiyasi", "uz-Cyrl": "Ҳаво станцияси", "ru": "Станция воздуха", "kaa": "Hawa stanciyası",
    "en": "Air station",
}  # fmt: skip
_ROOM: Final[Words] = {"uz": "Xona", "uz-Cyrl": "Хона", "ru": "Комната", "kaa": "Xana", "en": "Room"}
_WEATHER: Final[Words] = {
    "uz": "Ob-havo stansiyasi", "uz-Cyrl": "Об-ҳаво станцияси", "ru": "Метеостанция", "kaa": "Hawa rayı stanciyası",
    "en": "Weather station",
}  # fmt: skip
_MODEL: Final[Words] = {
    "uz": "Toshkent markazida ob-havo (model)", "uz-Cyrl": "Тошкент марказида об-ҳаво (модель)",
    "ru": "Погода в центре Ташкента (модель)", "kaa": "Tashkent orayında hawa rayı (model)",
    "en": "Weather in central Tashkent (model)",
}  # fmt: skip
_TOWER: Final[Words] = {
    "uz": "Perret minorasi, Grenobl", "uz-Cyrl": "Перре минораси, Гренобль", "ru": "Башня Перре, Гренобль",
    "kaa": "Perret minarı, Grenobl", "en": "Tour Perret, Grenoble",
}  # fmt: skip
_FORT: Final[Words] = {
    "uz": "Sent-Eynar qalʼasi, Grenobl", "uz-Cyrl": "Сент-Эйнар қалъаси, Гренобль", "ru": "Форт Сент-Эйнар, Гренобль",
    "kaa": "Sent-Eynar qorǵanı, Grenobl", "en": "Fort du Saint-Eynard, Grenoble",
}  # fmt: skip

Attributes = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Part:
    """One device and what it says over time."""

    device: Device
    track: Track


@dataclass(frozen=True, slots=True)
class Roster:
    """All parts of one demo."""

    parts: tuple[Part, ...]

    def due(self, after: Instant, until: Instant) -> Iterator[Due]:
        """Everything that is said after one demo instant, up to and with another, in the order of time."""
        return heapq.merge(*(part.track.due(after, until) for part in self.parts), key=attrgetter("at"))


def roster(soato: str = "") -> Roster:
    """The devices of the real demo, or of the simulated town of a unit (as city.region gives it)."""
    return Roster(tuple(_simulated(soato) if soato else (*_stations(), _weather(), *_borrowed())))


def _part(name: str, profile: str, entity: str, attributes: Attributes, track: Track, identifier: str = "") -> Part:
    device = Device(
        name=name, profile=profile, entity=entity, attributes=attributes, identifier=identifier, shifts=track.shifts()
    )
    return Part(device, track)


def _standing(names: Words, place: tuple[float, float], source: str) -> Attributes:
    return {
        NAME: [{"type": "LanguageProperty", "languageMap": dict(names)}],
        LOCATION: [{"type": "GeoProperty", "value": {"type": "Point", "coordinates": [*place]}}],
        SOURCE: [{"type": "Property", "value": source}],
    }


def _stations() -> Iterable[Part]:
    rows = series.table_of("air/stations.csv")
    tracks = series.air({row["id"]: f"air-{row['id']}" for row in rows})
    for row, track in zip(rows, tracks, strict=True):
        names = {tag: row[tag] for tag in TAGS if row.get(tag)}
        standing = _standing(names, (float(row["lon"]), float(row["lat"])), MUNICIPAL)
        entity = f"{ENTITY}AirQualityObserved:tashkent-{row['id']}"
        yield _part(track.device, "air.station", entity, standing, track)


def _weather() -> Part:
    name = "weather-tashkent-era5"
    standing = _standing(_MODEL, (69.2797, 41.3111), ERA5)
    return _part(name, "air.open-meteo", WEATHER, standing, series.weather(name))


def _borrowed() -> Iterable[Part]:
    def standing(names: Words, place: tuple[float, float]) -> Attributes:
        told = {"place": GRENOBLE, "licence": ODBL, "source": CAMPUS}
        return _standing(names, place, CAMPUS) | {BORROWED: [{"type": "JsonProperty", "json": told}]}

    name = "grenoble-tour-perret"
    track = series.uplinks("ems", name, "2023-05-04T00:00:00Z", 15)
    entity, place = f"{ENTITY}IndoorEnvironmentObserved:{name}", (5.73543, 45.18495)
    yield _part(name, "buildings.elsys-ems", entity, standing(_TOWER, place), track, "a81758fffe04b1c1")

    name = "grenoble-saint-eynard"
    track = series.uplinks("eynard", name, "2023-06-24T00:00:00Z", 13)
    entity, place = f"{ENTITY}WeatherObserved:{name}", (5.7617, 45.23513)
    yield _part(name, "air.wyres", entity, standing(_FORT, place), track, "d1d1e80000000033")


def _simulated(soato: str) -> Iterable[Part]:
    kinds = [(_AIR, "air.station", "AirQualityObserved", town.air)] * town.AIR
    kinds += [(_ROOM, "buildings.json", "IndoorEnvironmentObserved", town.room)] * town.ROOMS
    kinds += [(_WEATHER, "air.weather", "WeatherObserved", town.weather)]
    for number, (names, profile, type_, shape) in enumerate(kinds, 1):
        name = f"sim-{soato}-{number}"
        titled = {tag: f"{text} {number}" for tag, text in names.items()}
        standing = _standing(titled, town.place(soato, number, town_centre(soato)), MADE_UP)
        standing[SIMULATED] = [{"type": "Property", "value": True}]
        yield _part(name, profile, f"{ENTITY}{type_}:{name}", standing, town.Made(name, shape))
