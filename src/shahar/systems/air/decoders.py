"""The decoders of `air`: JSON objects with known members. Each number's unit stands in the declaration beside it."""

from __future__ import annotations

from shahar.kit import Decoder, numbers

STATION = Decoder(
    name="air.station",
    reads="object",
    decode=numbers(
        {
            "pm25": "pm25",
            "pm2_5": "pm25",
            "pm10": "pm10",
            "no2": "no2",
            "o3": "o3",
            "temperature": "temperature",
            "humidity": "humidity",
            "rain": "rain",
        }
    ),
    units={
        "pm25": "GQ",
        "pm10": "GQ",
        "no2": "GQ",
        "o3": "GQ",
        "temperature": "CEL",
        "humidity": "P1",
        "rain": "MMT",
    },
    source="README.md of this folder; members as in the open data of Tashkent's municipal stations",
)

WEATHER = Decoder(
    name="air.weather",
    reads="object",
    decode=numbers(
        {
            "temperature": "temperature",
            "humidity": "humidity",
            "wind_speed": "wind_speed",
            "wind_direction": "wind_direction",
            "pressure": "pressure",
            "precipitation": "precipitation",
        }
    ),
    units={
        "temperature": "CEL",
        "humidity": "P1",
        "wind_speed": "MTS",
        "wind_direction": "DD",
        "pressure": "A97",
        "precipitation": "MMT",
    },
    source="README.md of this folder",
)

OPEN_METEO = Decoder(
    name="air.open-meteo",
    reads="object",
    decode=numbers(
        {
            "temperature_2m": "temperature",
            "relative_humidity_2m": "humidity",
            "wind_speed_10m": "wind_speed",
            "wind_direction_10m": "wind_direction",
            "surface_pressure": "pressure",
            "precipitation": "precipitation",
        }
    ),
    units={
        "temperature": "CEL",
        "humidity": "P1",
        "wind_speed": "KMH",
        "wind_direction": "DD",
        "pressure": "A97",
        "precipitation": "MMT",
    },
    source="https://open-meteo.com/en/docs (hourly variables; wind speed is km/h unless asked otherwise)",
)

WYRES = Decoder(
    name="air.wyres",
    reads="object",
    decode=numbers({"temperature": "temperature", "pressure": "pressure", "battery": "battery", "light": "light"}),
    units={"temperature": "CEL", "pressure": "A97", "battery": "VLT", "light": "C62"},
    source="the `object` of its messages: the maker's binary format is not public, so the network server decodes",
)
