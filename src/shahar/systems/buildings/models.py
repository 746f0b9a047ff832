"""The type that `buildings` fills: IndoorEnvironmentObserved of Smart Data Models, with what its model has no name
for.

Source: github smart-data-models dataModel.Environment at f0150e5c97f41e4c0881a0bcfa05d559058bdea1 (CC BY 4.0).
Departures: its schema has temperatures from 0 up; a room without heating goes below, so the bound is -40. It gives
CO2 "nominally" in milligram per litre; sensors measure parts per million, and the unit code says so. Ours (in
NGSI-LD's default vocabulary): waterLeak, pulseCount, motionCount, batteryVoltage.
"""

from __future__ import annotations

from shahar.kit import Attribute, Model, own

ENVIRONMENT = "https://smartdatamodels.org/dataModel.Environment/"
SHARED = "https://smartdatamodels.org/"


def _measured(
    name: str, iri: str, quantity: str, unit: str, *, low: float, high: float, shown: str | None = None
) -> Attribute:
    title = "attribute." + name
    return Attribute(name=name, iri=iri, title=title, quantity=quantity, unit=unit, low=low, high=high, shown=shown)


ROOM = Model(
    type="IndoorEnvironmentObserved",
    iri=ENVIRONMENT + "IndoorEnvironmentObserved",
    title="buildings.room",
    context="https://raw.githubusercontent.com/smart-data-models/dataModel.Environment/master/context.jsonld",
    attributes=(
        _measured("temperature", ENVIRONMENT + "temperature", "temperature", "CEL", low=-40, high=85),
        _measured(
            "relativeHumidity", ENVIRONMENT + "relativeHumidity", "relative humidity", "C62", low=0, high=1, shown="P1"
        ),
        _measured("co2", ENVIRONMENT + "co2", "gas in air", "59", low=0, high=10000),
        _measured("illuminance", ENVIRONMENT + "illuminance", "illuminance", "LUX", low=0, high=200000),
        _measured("waterLeak", own("waterLeak"), "probe level", "C62", low=0, high=255),
        _measured("pulseCount", own("pulseCount"), "count", "C62", low=0, high=4294967295),
        _measured("motionCount", own("motionCount"), "count", "C62", low=0, high=255),
        _measured("batteryVoltage", own("batteryVoltage"), "voltage", "VLT", low=0, high=60),
        Attribute(name="name", iri=SHARED + "name", title="attribute.name"),
        Attribute(
            name="location",
            iri="https://uri.etsi.org/ngsi-ld/location",
            title="attribute.location",
            kind="GeoProperty",
        ),
        Attribute(name="dataProvider", iri=SHARED + "dataProvider", title="attribute.dataProvider"),
        Attribute(name="source", iri=SHARED + "source", title="attribute.source"),
    ),
)
