"""ChirpStack Application Server 3, JSON marshaler: the `up` and `status` events of its integrations.

Two envelopes: `chirpstack3` takes `data` as base64, as the server sends it; `chirpstack3-hex` takes it as
hexadecimal digits, as the logger of CampusIoT wrote it down. It is said, not guessed: a short payload can be both.
Read: `devEUI`, `data`, `fPort`, `fCnt` with `devAddr`, `rxInfo` (rssi, loRaSNR), `object` (what the server's own
codec decoded). A status event carries no payload; its `margin`, `batteryLevel` and `externalPowerSource` become the
object. The instant is `publishedAt` (server), else `_timestamp` (milliseconds, a logger's own), else the earliest
instant on which two gateways agree within two seconds, else none, so that the arrival counts. One gateway alone is
not believed: in the 13 768 uplinks of the Saint-Eynard station some gateways are behind by one to two and a half
years.
Source: ChirpStack Application Server 3 documentation, "Event types"; the messages of CampusIoT/datasets (ODbL).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, Final

from shahar.kit import (
    Envelope,
    Invalid,
    Uplink,
    best_reception,
    dev_eui,
    fport,
    frame_of,
    milliseconds,
    octets_base64,
    octets_hex,
    parse_instant,
    read_object,
    write_object,
)

_AGREE: Final = 2_000_000  # microseconds
_STATUS: Final = ("margin", "batteryLevel", "externalPowerSource")


def parse(octets: Callable[[Any, str], bytes], body: bytes) -> Uplink:
    """The uplink in an event; a status event is one without a payload."""
    told = read_object(body)
    payload = octets(told.get("data"), "data")
    rssi, snr = best_reception(told.get("rxInfo"), "rssi", "loRaSNR")
    return Uplink(
        device=dev_eui(told.get("devEUI"), "devEUI"),
        payload=payload,
        object=write_object(_object(told)),
        fport=fport(told.get("fPort")),
        at=_instant(told),
        frame=frame_of(told.get("devAddr"), told.get("fCnt"), payload),
        rssi=rssi,
        snr=snr,
    )


def _object(told: dict[str, Any]) -> dict[str, Any]:
    """What the codec decoded, or what a status event says about the device."""
    decoded = told.get("object")
    if isinstance(decoded, dict):
        return decoded
    status: dict[str, Any] = {name: told[name] for name in _STATUS if name in told}
    if told.get("batteryLevelUnavailable") is True:
        status.pop("batteryLevel", None)
    return status


def _instant(told: dict[str, Any]) -> int | None:
    published = told.get("publishedAt")
    if isinstance(published, str):
        return parse_instant(published, "publishedAt")
    return milliseconds(told.get("_timestamp"), "_timestamp") or _agreed(told.get("rxInfo"))


def _agreed(receptions: Any) -> int | None:
    """The earliest instant that a second gateway confirms; None when no two agree."""
    times: dict[str, int] = {}
    for one in receptions if isinstance(receptions, list) else []:
        if isinstance(one, dict) and isinstance(one.get("time"), str) and isinstance(one.get("gatewayID"), str):
            try:
                times[one["gatewayID"]] = parse_instant(one["time"])
            except Invalid:
                continue  # a gateway that cannot tell the time is not asked
    told = sorted(times.values())
    return next((first for first, second in pairwise(told) if second - first <= _AGREE), None)


ENVELOPES = (
    Envelope(
        name="chirpstack3",
        parse=partial(parse, octets_base64),
        source="https://www.chirpstack.io/application-server/integrations/events/",
    ),
    Envelope(
        name="chirpstack3-hex",
        parse=partial(parse, octets_hex),
        source="https://github.com/CampusIoT/datasets (SaintEynard)",
    ),
)
