"""Plain JSON, as a station, a script or a gateway sends it by HTTP or MQTT with no network server between.

    {"at": "2026-11-22T14:32:00Z", "pm25": 31.0, "humidity": 62}
    {"device": "st-7", "observedAt": 1795357920, "values": {"pm25": 31.0}}

The instant is `at` or `observedAt`: ISO 8601 with a zone, or a number of seconds since 1970 (milliseconds from 10^11
on). Without one the arrival counts. The values are the member `values` when it is an object, else all other members.
`device` is only needed where the transport does not know who speaks.
Does not: guess at lists, nested values, or other names for the instant.
"""

from __future__ import annotations

from typing import Any, Final

from shahar.kit import Envelope, Invalid, Uplink, parse_instant, read_object, write_object

_NOT_VALUES: Final = ("at", "observedAt", "device", "values")
_MILLISECONDS_FROM: Final = 10**11
_LATEST: Final = 4102444800 * 10**6  # the year 2100: a later instant is a mistake of the sender


def parse(body: bytes) -> Uplink:
    """The uplink in a plain JSON message."""
    told = read_object(body)
    device = told.get("device", "")
    if not isinstance(device, str) or len(device) > 200:
        raise Invalid("device must be a short text", field="device", rule="at most 200 letters")
    values = told.get("values")
    if not isinstance(values, dict):
        values = {name: value for name, value in told.items() if name not in _NOT_VALUES}
    payload = write_object(values)
    return Uplink(device=device.lower(), payload=payload, object=payload, at=_instant(told))


def _instant(told: dict[str, Any]) -> int | None:
    """Microseconds since 1970, or None when the message does not tell."""
    at = told.get("at", told.get("observedAt"))
    if at is None:
        return None
    if isinstance(at, str):
        return parse_instant(at, "at")
    if isinstance(at, bool) or not isinstance(at, int | float):
        raise Invalid("at must be ISO 8601 or a number of seconds", field="at", rule="ISO 8601 or seconds since 1970")
    found = round(at * 1_000) if at >= _MILLISECONDS_FROM else round(at * 1_000_000)
    if not 0 <= found <= _LATEST:
        raise Invalid(f"{at!r:.40} names no moment between 1970 and 2100", field="at", rule="seconds since 1970")
    return found


ENVELOPES = (Envelope(name="plain", parse=parse, source="docs/devices.md"),)
