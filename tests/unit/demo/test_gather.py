"""The script that makes the data files, on a small source of its own."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from shahar.demo import gather

STATIONS = """station_id,name_uz,name_ru,lon,lat,district_soato,district
036112022,Xalqlar do'stligi maydoni,Дружба народов,69.2407,41.3109,1726294,Chilonzor tumani
045112022,Yangihayot tumani 329-maktab,Янгихаятский район школа №329,69.203,41.222,1726292,Yangihayot tumani
"""
DAILY = """date,station,pm25
2024-01-02,Дружба народов,71.0
2024-01-01,Дружба народов,7.25
2024-01-02,Янгихаятский район школа №329,3.5
"""
HOURLY = """datetime,temperature_2m,precipitation
2025-12-15 16:00:00+00:00,-0.1,0.0
"""
NAMES = """soato,level,name_uz,name_uz_cyrl,name_ru,name_en,name_kaa,center_soato,lon,lat
1726,region,Toshkent shahri,Тошкент шаҳри,город Ташкент,Tashkent City,,1726,69.2606,41.281
"""
OUTLINES = {
    "features": [
        {"properties": {"soato": "1726"}, "geometry": {"coordinates": [[[[69.1, 41.2], [69.4, 41.2], [69.2, 41.4]]]]}}
    ]
}
HELIUM = {
    "reported_at": 1683158976238, "name": "EMS", "dev_eui": "A8", "devaddr": "00", "fcnt": 1, "port": 5,
    "payload": "AQ==", "metadata": {"rx_delay": 1},
    "hotspots": [{"rssi": -119, "snr": 1, "lat": 45}, {"rssi": -99, "snr": 2, "lat": 46}],
}  # fmt: skip
EVENT: dict[str, Any] = {
    "_timestamp": 1687565315450, "deviceName": "W", "devEUI": "d1", "fCnt": 1, "fPort": 3, "data": "50", "txInfo": {},
    "object": {"battery": 3.4}, "rxInfo": [{"gatewayID": "g", "rssi": -107, "loRaSNR": 4, "location": {}}],
}  # fmt: skip


def pack(path: Path, messages: list[dict[str, Any]]) -> None:
    path.write_bytes(gzip.compress("".join(json.dumps(one) + "\n" for one in messages).encode()))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("admin", "air-tashkent", "lorawan-campusiot"):
        (tmp_path / name).mkdir()
    air, radio = tmp_path / "air-tashkent", tmp_path / "lorawan-campusiot"
    (air / "station_map.csv").write_text(STATIONS, encoding="utf-8")
    (air / "municipal_pm25_by_station_daily.csv").write_text(DAILY, encoding="utf-8")
    (air / "weather_tashkent_hourly_2025-12_2026-06.csv").write_text(HOURLY, encoding="utf-8")
    (tmp_path / "admin" / "uz_admin_names.csv").write_text(NAMES, encoding="utf-8")
    (tmp_path / "admin" / "uz_regions.geojson").write_text(json.dumps(OUTLINES), encoding="utf-8")
    pack(radio / "tourperret-elsys-ems.ndjson.gz", [HELIUM, HELIUM | {"reported_at": 1672867882173}])
    status = {"_timestamp": 1687565315451, "devEUI": "d1", "margin": 4}
    pack(radio / "sainteynard-station.ndjson.gz", [EVENT, status, EVENT | {"object": {"willListen": True}}])
    return tmp_path


def made(source: Path, home: Path) -> dict[str, bytes]:
    gather.main(source, home)
    return {str(path.relative_to(home)): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}


def test_the_same_source_gives_the_same_files(source: Path, tmp_path: Path) -> None:
    first, again = made(source, tmp_path / "one"), made(source, tmp_path / "two")
    assert first == again
    assert set(first) == {
        "air/stations.csv", "air/pm25_daily.csv", "weather/hourly.csv.gz", "units/units.csv", "uplinks/ems.ndjson.gz",
        "uplinks/eynard.ndjson.gz",
    }  # fmt: skip


def test_values_are_copied_as_text_and_messages_only_trimmed(source: Path, tmp_path: Path) -> None:
    files = made(source, tmp_path / "made")
    assert files["air/pm25_daily.csv"].decode().splitlines() == [
        "date,036112022,045112022",
        "2024-01-01,7.25,",
        "2024-01-02,71.0,3.5",
    ]
    assert "Xalqlar doʻstligi maydoni" in files["air/stations.csv"].decode()
    assert gzip.decompress(files["weather/hourly.csv.gz"]).decode().splitlines()[1] == "2025-12-15T16:00:00Z,-0.1,0.0"
    assert "1726,69.2606,41.281,69.1,41.2,69.4,41.4,Toshkent shahri" in files["units/units.csv"].decode()
    (ems,) = gzip.decompress(files["uplinks/ems.ndjson.gz"]).splitlines()
    assert json.loads(ems) == {name: HELIUM[name] for name in HELIUM if name not in ("metadata", "hotspots")} | {
        "hotspots": [{"rssi": -99, "snr": 2}]
    }
    (eynard,) = gzip.decompress(files["uplinks/eynard.ndjson.gz"]).splitlines()
    assert json.loads(eynard) == EVENT | {"rxInfo": [{"gatewayID": "g", "rssi": -107, "loRaSNR": 4}]}


def test_every_folder_of_data_tells_its_source_and_licence() -> None:
    folders = [path for path in gather.HOME.iterdir() if path.is_dir()]
    assert len(folders) == 4
    for folder in folders:
        told = (folder / "SOURCE.md").read_text(encoding="utf-8")
        for file in folder.iterdir():
            assert file.name in told or file.name == "SOURCE.md"
        assert "icence" in told
    assert sum(path.stat().st_size for path in gather.HOME.rglob("*") if path.is_file()) < 1_000_000
