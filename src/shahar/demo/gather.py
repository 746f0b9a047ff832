"""Make the demo's data files from the collected sources: `python -m shahar.demo.gather FOLDER`.

FOLDER holds `admin`, `air-tashkent` and `lorawan-campusiot` as their publishers gave them (each data/*/SOURCE.md
names repository, path and commit). Not used when the demo runs.
Promises: the same input gives the same files, byte for byte with the same zlib; values are copied as text, never
computed.
Does not: choose values; leave a day or a message out but for the reasons told in data/*/SOURCE.md.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

HOME: Final = Path(__file__).parent / "data"

WORDS: Final = {
    "036112022": ("Халқлар дўстлиги майдони", "Peoples’ Friendship square"),
    "037112022": ("Янги Ўзбекистон боғи", "New Uzbekistan park"),
    "038112022": ("Янгиҳаёт тумани 333-мактаб", "Yangihayot district, school 333"),
    "039112022": ("Тузель-1 557-боғча", "Tuzel-1, kindergarten 557"),
    "040112022": ("Бектемир тумани 578-боғча", "Bektemir district, kindergarten 578"),
    "041112022": ("Локомотив боғи", "Lokomotiv park"),
    "042112022": ("Ғафур Ғулом боғи", "Gʻafur Gʻulom park"),
    "043112022": ("Олмазор тумани, Дерматология", "Olmazor district, dermatology"),
    "044112022": ("Олмазор тумани 423-боғча", "Olmazor district, kindergarten 423"),
    "045112022": ("Янгиҳаёт тумани 329-мактаб", "Yangihayot district, school 329"),
}
"""Names that the source lacks, written by us: Uzbek Cyrillic and English."""

UPLINKS: Final = {
    "ems": ("tourperret-elsys-ems", "reported_at", 1683158400000, 15),  # 2023-05-04T00:00Z, a Thursday
    "eynard": ("sainteynard-station", "_timestamp", 1687564800000, 13),  # 2023-06-24T00:00Z, a Saturday
}
"""File here -> source file, the member with the instant, the beginning of the whole weeks taken (ms), their number."""
WEEK_MS: Final = 7 * 86_400_000

WYRES: Final = ("temperature", "pressure", "battery")


def apostrophes(text: str) -> str:
    """Uzbek Latin text with U+02BB in oʻ and gʻ and U+02BC elsewhere."""
    for letter in "oOgG":
        text = text.replace(letter + "'", letter + "ʻ")
    return text.replace("'", "ʼ")


def stations(source: Path) -> Iterator[list[str]]:
    """The stations: id, position, SOATO code of the district, names by language."""
    yield ["id", "lon", "lat", "district_soato", "uz", "uz-Cyrl", "ru", "en"]
    for row in rows(source / "air-tashkent" / "station_map.csv"):
        cyrillic, english = WORDS[row["station_id"]]
        uzbek, russian = apostrophes(row["name_uz"]), row["name_ru"].replace(" №школа ", ", школа №")
        yield [row["station_id"], row["lon"], row["lat"], row["district_soato"], uzbek, cyrillic, russian, english]


def daily(source: Path) -> Iterator[list[str]]:
    """A row for each day, a column for each station, empty where the source has no value; values as written."""
    ids = {row["name_ru"]: row["station_id"] for row in rows(source / "air-tashkent" / "station_map.csv")}
    days: dict[str, dict[str, str]] = {}
    for row in rows(source / "air-tashkent" / "municipal_pm25_by_station_daily.csv"):
        days.setdefault(row["date"], {})[ids[row["station"]]] = row["pm25"]
    yield ["date", *sorted(ids.values())]
    for day in sorted(days):
        yield [day, *(days[day].get(one, "") for one in sorted(ids.values()))]


def hourly(source: Path) -> Iterator[list[str]]:
    """The weather, hour by hour: the instant as ISO 8601 with Z, and the values as they are written."""
    for number, row in enumerate(rows(source / "air-tashkent" / "weather_tashkent_hourly_2025-12_2026-06.csv")):
        if number == 0:
            yield ["at", *list(row)[1:]]
        yield [row["datetime"].replace(" ", "T").replace("+00:00", "Z"), *list(row.values())[1:]]


def uplinks(source: Path, key: str) -> Iterator[dict[str, Any]]:
    """The messages of the chosen weeks that hold a value, with what an envelope reads and the loudest reception."""
    file, instant, begin, weeks = UPLINKS[key]
    with gzip.open(source / "lorawan-campusiot" / f"{file}.ndjson.gz", "rt", encoding="utf-8") as lines:
        for told in map(json.loads, lines):
            if begin <= told[instant] < begin + weeks * WEEK_MS:
                kept = helium(told) if key == "ems" else chirpstack(told)
                if kept:
                    yield kept


def helium(told: dict[str, Any]) -> dict[str, Any]:
    """A message of the Helium console, trimmed."""
    kept = {name: told[name] for name in ("reported_at", "name", "dev_eui", "devaddr", "fcnt", "port", "payload")}
    return kept | {"hotspots": [loudest(told["hotspots"], ("name", "rssi", "snr", "spreading", "frequency"))]}


def chirpstack(told: dict[str, Any]) -> dict[str, Any]:
    """A message of ChirpStack 3, trimmed; empty for a status event and for one whose codec found no value."""
    if not any(name in told.get("object", {}) for name in WYRES):
        return {}
    kept = {name: told[name] for name in ("_timestamp", "deviceName", "devEUI", "fCnt", "fPort", "data", "object")}
    return kept | {"rxInfo": [loudest(told["rxInfo"], ("gatewayID", "rssi", "loRaSNR"))], "txInfo": told["txInfo"]}


def loudest(receptions: Iterable[dict[str, Any]], members: tuple[str, ...]) -> dict[str, Any]:
    """The reception with the strongest signal, with these members."""
    best = max(receptions, key=lambda one: one["rssi"])
    return {name: best[name] for name in members if name in best}


def units(source: Path) -> Iterator[list[str]]:
    """The first-level units: code, where the name stands, box of the outline, names, and the main town of each."""
    boxes = {one["properties"]["soato"]: box(one["geometry"]["coordinates"]) for one in outlines(source)}
    named = {row["soato"]: row for row in rows(source / "admin" / "uz_admin_names.csv")}
    yield "soato lon lat west south east north uz uz-Cyrl ru kaa en town town_lon town_lat".split() + [
        f"town_{tag}" for tag in ("uz", "uz-Cyrl", "ru", "en")
    ]
    for row in named.values():
        if row["level"] == "region":
            town = named[row["center_soato"]]
            names = [row[name] for name in ("name_uz", "name_uz_cyrl", "name_ru", "name_kaa", "name_en")]
            seat = [town[name] for name in ("soato", "lon", "lat", "name_uz", "name_uz_cyrl", "name_ru", "name_en")]
            yield [row["soato"], row["lon"], row["lat"], *map(str, boxes[row["soato"]]), *names, *seat]


def outlines(source: Path) -> list[dict[str, Any]]:
    """The outlines of the first-level units."""
    told = json.loads((source / "admin" / "uz_regions.geojson").read_text(encoding="utf-8"))
    features: list[dict[str, Any]] = told["features"]
    return features


def box(coordinates: Any) -> tuple[float, float, float, float]:
    """West, south, east, north of nested GeoJSON coordinates."""
    level = coordinates
    while isinstance(level[0][0], list):
        level = [position for part in level for position in part]
    return (
        min(one[0] for one in level),
        min(one[1] for one in level),
        max(one[0] for one in level),
        max(one[1] for one in level),
    )


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a heading."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_table(path: Path, table: Iterable[list[str]]) -> None:
    """Write rows as CSV; compressed, without name and time of its own, when the path ends so."""
    lines = "".join(",".join(f'"{cell}"' if "," in cell else cell for cell in row) + "\n" for row in table)
    write(path, lines)


def write(path: Path, text: str) -> None:
    """Write a text file, compressed when its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = text.encode()
    if path.suffix == ".gz":
        with path.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
            packed.write(raw)
    else:
        path.write_bytes(raw)


def main(source: Path, home: Path = HOME) -> None:
    """Make every file."""
    write_table(home / "air" / "stations.csv", stations(source))
    write_table(home / "air" / "pm25_daily.csv", daily(source))
    write_table(home / "weather" / "hourly.csv.gz", hourly(source))
    write_table(home / "units" / "units.csv", units(source))
    for key in UPLINKS:
        lines = (json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n" for one in uplinks(source, key))
        write(home / "uplinks" / f"{key}.ndjson.gz", "".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
