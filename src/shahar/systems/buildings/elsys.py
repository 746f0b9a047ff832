"""Elsys sensors (ERS, EMS, ELT, ESM and others): the payload that all of them share, decoded.

The format: a sequence of values, each one byte of type and a number of bytes that the type fixes, whole numbers
with the most significant byte first (positions: the least). Written from the maker's public description (elsys.se,
"Sensor payload") and checked against 12 614 messages of an EMS with what the network's own decoder made of them.
Not values: 0x3D (debug, 4 bytes) and 0x3E (the settings, sent once after joining on the port above; the rest of the
frame is theirs). 0x13 (a thermal picture of 8 by 8) is measured over and left out: the platform keeps no pictures
of people. A type that is told several times in a frame (several probes on one wire) is numbered:
externalTemperature2, externalTemperature2_2. Refused as a whole: a frame that ends within a value, and a type that
is not in the table, because nobody can say where it ends; that includes the types above 0x40, by which the maker
marks values of an earlier time.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from shahar.kit import Decoder, Invalid

SETTINGS = 0x3E

# type: layout (struct), names of the values in it, divisor. No name: not kept.
TYPES: Mapping[int, tuple[str, tuple[str, ...], int]] = {
    0x01: (">h", ("temperature",), 10),
    0x02: (">B", ("humidity",), 1),
    0x03: (">bbb", ("x", "y", "z"), 1),
    0x04: (">H", ("light",), 1),
    0x05: (">B", ("motion",), 1),
    0x06: (">H", ("co2",), 1),
    0x07: (">H", ("vdd",), 1),
    0x08: (">H", ("analog1",), 1),
    0x09: ("6s", ("lat", "long"), 10000),
    0x0A: (">H", ("pulse1",), 1),
    0x0B: (">I", ("pulseAbs",), 1),
    0x0C: (">h", ("externalTemperature",), 10),
    0x0D: (">B", ("digital",), 1),
    0x0E: (">H", ("distance",), 1),
    0x0F: (">B", ("accMotion",), 1),
    0x10: (">hh", ("irInternalTemperature", "irExternalTemperature"), 10),
    0x11: (">B", ("occupancy",), 1),
    0x12: (">B", ("waterleak",), 1),
    0x13: ("65x", (), 1),
    0x14: (">i", ("pressure",), 1000),
    0x15: (">BB", ("soundPeak", "soundAvg"), 1),
    0x16: (">H", ("pulse2",), 1),
    0x17: (">I", ("pulseAbs2",), 1),
    0x18: (">H", ("analog2",), 1),
    0x19: (">h", ("externalTemperature2",), 10),
    0x1A: (">B", ("digital2",), 1),
    0x1B: (">i", ("analogUv",), 1),
    0x1C: (">H", ("tvoc",), 1),
    0x3D: ("4x", (), 1),
}

UNITS: Mapping[str, str] = {
    "temperature": "CEL",
    "humidity": "P1",
    "x": "C62",  # 63 is the acceleration of gravity
    "y": "C62",
    "z": "C62",
    "light": "LUX",
    "motion": "C62",
    "co2": "59",
    "vdd": "2Z",
    "analog1": "2Z",
    "lat": "DD",
    "long": "DD",
    "pulse1": "C62",
    "pulseAbs": "C62",
    "externalTemperature": "CEL",
    "digital": "C62",
    "distance": "MMT",
    "accMotion": "C62",
    "irInternalTemperature": "CEL",
    "irExternalTemperature": "CEL",
    "occupancy": "C62",
    "waterleak": "C62",
    "pressure": "A97",
    "soundPeak": "2N",
    "soundAvg": "2N",
    "pulse2": "C62",
    "pulseAbs2": "C62",
    "analog2": "2Z",
    "externalTemperature2": "CEL",
    "digital2": "C62",
    "analogUv": "D82",
    "tvoc": "61",
}


def decode(payload: bytes, fport: int | None = None) -> dict[str, float]:
    """The values in a frame by the maker's names; none in a frame of settings; Invalid when it cannot be read to its
    end.
    """
    found: dict[str, float] = {}
    place = 0
    while place < len(payload) and payload[place] != SETTINGS:
        if payload[place] not in TYPES:
            raise Invalid(f"unknown type 0x{payload[place]:02X} at byte {place}", field="payload", rule="Elsys payload")
        layout, names, divisor = TYPES[payload[place]]
        end = place + 1 + struct.calcsize(layout)
        if end > len(payload):
            raise Invalid(f"the frame ends within the value at byte {place}", field="payload", rule="Elsys payload")
        told = struct.unpack_from(layout, payload, place + 1)
        for name, number in zip(names, _position(told[0]) if layout == "6s" else told, strict=True):
            found[_free(name, found)] = number if divisor == 1 else number / divisor
        place = end
    return found


def _position(octets: bytes) -> tuple[int, int]:
    """Latitude and longitude in ten-thousandths of a degree: three bytes each, the least significant first."""
    return int.from_bytes(octets[:3], "little", signed=True), int.from_bytes(octets[3:], "little", signed=True)


def _free(name: str, taken: Mapping[str, float]) -> str:
    """The name, numbered from the second time on."""
    times = sum(one == name or one.startswith(name + "_") for one in taken)
    return name if times == 0 else f"{name}_{times + 1}"


ELSYS = Decoder(
    name="buildings.elsys",
    decode=decode,
    units=UNITS,
    source="https://www.elsys.se/en/elsys-payload/ (public description of the sensor payload)",
)
