"""What is sent: entities of 1 KB with ten attributes, updates of them, and the many small entities that questions are
asked about.

Promises: the same number always gives the same bytes; two updates of one entity differ in every value and instant, so
that each makes ten new history rows; fields have a fixed width, so that a prepared request needs no new length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

ATTRIBUTES: Final = (
    "temperature",
    "relativeHumidity",
    "pm25",
    "pm10",
    "no2",
    "o3",
    "so2",
    "co",
    "batteryLevel",
    "signalStrength",
)
MEASURED: Final = "StreetSensor"
PLACED: Final = "ParkingSpot"
START_S: Final = 1_767_225_600
"""2026-01-01T00:00:00Z: the readings' first instant."""

WEST: Final = 69.0
SOUTH: Final = 41.1
WIDE: Final = 0.475
HIGH: Final = 0.36
"""Corner and extent, in degrees, of a square of 40 km: 300 000 entities lie about 190 to a square kilometre."""


def measured_id(number: int) -> str:
    """The id of a measuring entity."""
    return f"urn:ngsi-ld:{MEASURED}:{number:07d}"


def _attribute(value: Any, instant: str) -> dict[str, Any]:
    return {"type": "Property", "value": value, "unitCode": "C62", "observedAt": instant}


def _value(number: int, index: int, turn: int) -> float:
    return 100 + (number * 31 + index * 17 + turn * 7) % 80_000 / 100 + 0.001


def _instant(turn: int) -> str:
    second, fraction = divmod(turn, 1_000)
    return f"2026-01-01T{second // 3_600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{fraction:03d}Z"


def fragment(number: int, turn: int) -> dict[str, Any]:
    """Ten attributes as they stand in turn `turn`: about 1 KB as JSON."""
    instant = _instant(turn)
    return {name: _attribute(_value(number, index, turn), instant) for index, name in enumerate(ATTRIBUTES)}


def measured(number: int, turn: int = 0) -> dict[str, Any]:
    """A whole measuring entity."""
    return {"id": measured_id(number), "type": MEASURED, **fragment(number, turn)}


def placed(number: int) -> dict[str, Any]:
    """A small entity with a place, a name, a number and a state: one of the many that questions are asked about."""
    east, north = (number * 7_919 % 100_003) / 100_003, (number * 104_729 % 99_991) / 99_991
    return {
        "id": f"urn:ngsi-ld:{PLACED}:{number:07d}",
        "type": PLACED,
        "name": {"type": "Property", "value": f"Spot {number}"},
        "level": {"type": "Property", "value": number * 613 % 300_007, "unitCode": "C62"},
        "status": {"type": "Property", "value": "free" if number % 3 else "occupied"},
        "location": {
            "type": "GeoProperty",
            "value": {"type": "Point", "coordinates": [round(WEST + WIDE * east, 6), round(SOUTH + HIGH * north, 6)]},
        },
    }


# -- requests as bytes ------------------------------------------------------------------------------------------------


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """A whole HTTP/1.1 request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def batch(bodies: list[dict[str, Any]]) -> bytes:
    """A batch upsert."""
    return request("POST", "/ngsi-ld/v1/entityOperations/upsert", orjson.dumps(bodies))


def patches(entities: int, first_turn: int) -> Iterator[bytes]:
    """Updates without an end, round and round the entities; each costs the sender one formatting of prepared bytes."""
    instant, value = "@" * 24, 111.111
    body = (
        orjson.dumps({name: _attribute(value, instant) for name in ATTRIBUTES})
        .replace(instant.encode(), b"%b")
        .replace(b"111.111", b"%b")
    )
    length = len(body) - 4 * len(ATTRIBUTES) + (24 + 7) * len(ATTRIBUTES)
    forms = [
        f"PATCH /ngsi-ld/v1/entities/{measured_id(number)}/attrs HTTP/1.1\r\nHost: bench\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()
        + body
        for number in range(entities)
    ]
    turn = first_turn
    while True:
        at = _instant(turn).encode()
        values = [f"{_value(turn, index, turn):.3f}".encode() for index in range(len(ATTRIBUTES))]
        fields = tuple(part for text in values for part in (text, at))
        for form in forms:
            yield form % fields
        turn += 1
