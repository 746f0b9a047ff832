"""The types that `air` fills: AirQualityObserved and WeatherObserved of Smart Data Models, and the bounds of a
measurement.

Source: github smart-data-models, dataModel.Environment at f0150e5c97f41e4c0881a0bcfa05d559058bdea1 and
dataModel.Weather at 01e7a59aa9390a026530d718e6ce215dd3eb717f (CC BY 4.0): names, IRIs, and relative humidity from 0
to 1 (shown in percent).
Bounds are physical, not usual: outside them a value is a fault of the instrument. In dust storms PM10 of several
thousand microgram per cubic metre has been measured in Central Asia, so the bounds for particles are wide.
"""

from __future__ import annotations

from shahar.kit import Attribute, Model, own

ENVIRONMENT = "https://smartdatamodels.org/dataModel.Environment/"
WEATHER = "https://smartdatamodels.org/dataModel.Weather/"
SHARED = "https://smartdatamodels.org/"
NGSI_LD = "https://uri.etsi.org/ngsi-ld/"


def _about(*, place: str) -> tuple[Attribute, ...]:
    """What every station tells of itself; `place` is the word for its position."""
    return (
        Attribute(name="name", iri=SHARED + "name", title="attribute.name"),
        Attribute(name="location", iri=NGSI_LD + "location", title=place, kind="GeoProperty"),
        Attribute(name="dataProvider", iri=SHARED + "dataProvider", title="attribute.dataProvider"),
        Attribute(name="source", iri=SHARED + "source", title="attribute.source"),
    )


def _particles(name: str, high: float) -> Attribute:
    """A mass of particles or gas in air, in microgram per cubic metre."""
    iri, title = ENVIRONMENT + name, "attribute." + name
    return Attribute(name=name, iri=iri, title=title, quantity="mass concentration", unit="GQ", low=0, high=high)


def _temperature(vocabulary: str) -> Attribute:
    iri, title = vocabulary + "temperature", "attribute.temperature"
    return Attribute(name="temperature", iri=iri, title=title, quantity="temperature", unit="CEL", low=-90, high=70)


def _humidity(vocabulary: str) -> Attribute:
    return Attribute(
        name="relativeHumidity",
        iri=vocabulary + "relativeHumidity",
        title="attribute.relativeHumidity",
        quantity="relative humidity",
        unit="C62",
        low=0,
        high=1,
        shown="P1",
    )


def _precipitation(vocabulary: str) -> Attribute:
    iri, title = vocabulary + "precipitation", "attribute.precipitation"
    return Attribute(name="precipitation", iri=iri, title=title, quantity="precipitation", unit="MMT", low=0, high=500)


STATION = Model(
    type="AirQualityObserved",
    iri=ENVIRONMENT + "AirQualityObserved",
    title="air.station",
    context="https://raw.githubusercontent.com/smart-data-models/dataModel.Environment/master/context.jsonld",
    attributes=(
        _particles("pm25", 5000),
        _particles("pm10", 20000),
        _particles("no2", 5000),
        _particles("o3", 2000),
        _temperature(ENVIRONMENT),
        _humidity(ENVIRONMENT),
        _precipitation(ENVIRONMENT),
        *_about(place="attribute.location"),
    ),
)

WEATHER_STATION = Model(
    type="WeatherObserved",
    iri=WEATHER + "WeatherObserved",
    title="air.weather",
    context="https://raw.githubusercontent.com/smart-data-models/dataModel.Weather/master/context.jsonld",
    attributes=(
        _temperature(WEATHER),
        _humidity(WEATHER),
        Attribute(
            name="windSpeed",
            iri=WEATHER + "windSpeed",
            title="attribute.windSpeed",
            quantity="speed",
            unit="MTS",
            low=0,
            high=120,
        ),
        Attribute(
            name="windDirection",
            iri=WEATHER + "windDirection",
            title="attribute.windDirection",
            quantity="direction",
            unit="DD",
            low=0,
            high=360,
        ),
        Attribute(
            name="atmosphericPressure",
            iri=WEATHER + "atmosphericPressure",
            title="attribute.atmosphericPressure",
            quantity="atmospheric pressure",
            unit="A97",
            low=300,
            high=1100,
        ),
        _precipitation(WEATHER),
        Attribute(
            name="batteryVoltage",
            iri=own("batteryVoltage"),
            title="attribute.batteryVoltage",
            quantity="voltage",
            unit="VLT",
            low=0,
            high=60,
        ),
        *_about(place="attribute.location"),
    ),
)
