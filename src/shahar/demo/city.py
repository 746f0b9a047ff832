"""The demo's city: names, units, what its pages must say of its data. And a town that is made up, for another unit.

Promises: names are the official ones (data/units/SOURCE.md); where there is no Karakalpak name none is made. Of the 14
first-level units only the one whose data are replayed has data.
Does not: hold outlines (the map does) or measurements.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import Any, Final

from shahar.demo import series
from shahar.model.city import City, Unit, Words
from shahar.values.errors import Invalid

HOME: Final = "1726"
"""SOATO code of the unit whose measurements are replayed: Tashkent city."""
WEATHER: Final = "urn:ngsi-ld:WeatherObserved:tashkent-era5"
WEATHER_TILES: Final = ("air.temperature", "air.wind")
"""The indicators that have nothing to say when the weather has not."""
TIMEZONE: Final = "Asia/Tashkent"
TAGS: Final = ("uz", "uz-Cyrl", "ru", "kaa", "en")

NOTICE: Final[Words] = {
    "uz": "Namoyish: oldingi yillarda oʻlchangan haqiqiy qiymatlar qayta koʻrsatiladi, har birining asl sanasi "
    "saqlangan. Ob-havo model hisobidan (ERA5), asbobdan emas. Grenobldagi oʻlchovlar oʻz joyida "
    "koʻrsatiladi. Boshqa hududlarda hali maʼlumot yoʻq.",
    "uz-Cyrl": "Намойиш: олдинги йилларда ўлчанган ҳақиқий қийматлар қайта кўрсатилади, ҳар бирининг асл санаси "
    "сақланган. Об-ҳаво модель ҳисобидан (ERA5), асбобдан эмас. Греноблдаги ўлчовлар ўз жойида кўрсатилади. Бошқа "
    "ҳудудларда ҳали маълумот йўқ.",
    "ru": "Демонстрация: воспроизводятся настоящие измерения прошлых лет, у каждого сохранена исходная дата. Погода "
    "рассчитана моделью (ERA5), это не прибор. Измерения из Гренобля показаны там, где сделаны. На других территориях "
    "данных пока нет.",
    "kaa": "Kórsetpe: aldıńǵı jıllarda ólshengen haqıyqıy mánisler qayta kórsetiledi, hár biriniń dáslepki sánesi "
    "saqlanǵan. Hawa rayı model esabınan (ERA5), ásbaptan emes. Grenobldegi ólshewler óz ornında kórsetiledi. Basqa "
    "aymaqlarda ele maǵlıwmat joq.",
    "en": "Demonstration: real measurements of earlier years are replayed, each keeps its original date. The weather "
    "is a model (ERA5), not a gauge. Readings from Grenoble are shown where they were taken. Other units have no data "
    "yet.",
}

SIMULATED: Final[Words] = {
    "uz": "SUNʼIY MAʼLUMOT: bu shahardagi barcha qiymatlar oʻylab topilgan. Bu yerda hech narsa oʻlchanmagan.",
    "uz-Cyrl": "СУНЪИЙ МАЪЛУМОТ: бу шаҳардаги барча қийматлар ўйлаб топилган. Бу ерда ҳеч нарса ўлчанмаган.",
    "ru": "СИМУЛЯЦИЯ: все значения в этом городе выдуманы. Здесь ничего не измерялось.",
    "kaa": "JASALMA MAǴLIWMAT: bul qaladaǵı barlıq mánisler oylap tabılǵan. Bul jerde hesh nárse ólshenbegen.",
    "en": "SIMULATED: every value in this town is made up. Nothing was measured here.",
}

OFF_SEASON: Final[Words] = {
    "uz": "yilning bu vaqti uchun maʼlumot yoʻq",
    "uz-Cyrl": "йилнинг бу вақти учун маълумот йўқ",
    "ru": "нет данных для этого времени года",
    "kaa": "jıldıń bul waqtı ushın maǵlıwmat joq",
    "en": "no data for this time of year",
}

OUTLINES: Final = "© OpenStreetMap contributors (ODbL 1.0)"
ATTRIBUTION: Final = (
    OUTLINES,
    "PM2.5: Tashkent city open data, set 133",
    "Weather: Open-Meteo.com (CC BY 4.0), ERA5 model of ECMWF / Copernicus",
    "Grenoble: CampusIoT datasets (ODbL 1.0)",
)


@cache
def _rows() -> dict[str, dict[str, str]]:
    return {row["soato"]: row for row in series.table_of("units/units.csv")}


def _words(row: dict[str, str], before: str = "") -> Words:
    return {tag: row[before + tag] for tag in TAGS if row.get(before + tag)}


def units(with_data: str = HOME) -> tuple[Unit, ...]:
    """The 14 first-level units in the order of their codes; the one named has data here."""
    return tuple(
        Unit(code, _words(row), float(row["lon"]), float(row["lat"]), has_data=code == with_data)
        for code, row in _rows().items()
    )


def region(soato: str) -> str:
    """The code of a unit to simulate, or "" for the city that is replayed; Invalid, with the nearest, for no unit's."""
    if soato in ("", HOME):
        return ""
    if soato not in _rows():
        near = _nearest(soato)
        detail = f"{soato!r:.20} is no first-level unit; the nearest is {near} ({_rows()[near]['en']})"
        raise Invalid(detail, field="region", rule="a SOATO code: " + " ".join(_rows()))
    return soato


def _nearest(soato: str) -> str:
    """The code that is most like it: by number when it is one."""
    if soato.isdecimal() and soato.isascii() and len(soato) < 8:
        return min(_rows(), key=lambda code: abs(int(code) - int(soato[:4])))
    return get_close_matches(soato, _rows(), n=1, cutoff=0.0)[0]


def city() -> City:
    """Tashkent among the 14 units."""
    row = _rows()[HOME]
    stations = series.table_of("air/stations.csv")
    west, south, east, north = (float(row[side]) for side in ("west", "south", "east", "north"))
    lons, lats = ([float(one[side]) for one in stations] for side in ("lon", "lat"))
    return City(
        name={"uz": "Toshkent", "uz-Cyrl": "Тошкент", "ru": "Ташкент", "kaa": "Tashkent", "en": "Tashkent"},
        timezone=TIMEZONE,
        bbox=_wider(min(west, *lons), min(south, *lats), max(east, *lons), max(north, *lats)),
        soato=HOME,
        units=units(),
        attribution=ATTRIBUTION,
        notice=NOTICE,
        demo=True,
        settings={"seasons": {WEATHER: _season()}, "notes": dict.fromkeys(WEATHER_TILES, OFF_SEASON)},
    )


def _wider(west: float, south: float, east: float, north: float) -> tuple[float, float, float, float]:
    """A box with half a kilometre around it, so that no object lies on its edge."""
    return round(west - 0.006, 4), round(south - 0.005, 4), round(east + 0.006, 4), round(north + 0.005, 4)


def _season() -> dict[str, Any]:
    """For the pages: outside of these local days (month-day, both included) the object has nothing to say, and why."""
    first, last = series.SEASON
    return {"from": first, "to": last, "note": dict(OFF_SEASON)}


def city_of(soato: str) -> City:
    """The simulated town of a unit; the real city for the unit that has one. Invalid when there is no such unit."""
    code = region(soato)
    if not code:
        return city()
    row = _rows()[code]
    lon, lat = float(row["town_lon"]), float(row["town_lat"])
    return City(
        name=_words(row, "town_"),
        timezone=TIMEZONE,
        bbox=_wider(lon - 0.09, lat - 0.06, lon + 0.09, lat + 0.06),
        soato=code,
        units=units(code),
        attribution=(OUTLINES,),
        notice=SIMULATED,
        demo=True,
        settings={"simulated": True},
    )


def town_centre(soato: str) -> tuple[float, float]:
    """Longitude and latitude of the middle of a unit's main town."""
    row = _rows()[soato]
    return float(row["town_lon"]), float(row["town_lat"])
