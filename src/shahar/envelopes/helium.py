"""Helium Console, the integration message of its HTTP and MQTT integrations (2021 to 2023).

Read: `dev_eui`, `payload` (base64), `port`, `reported_at` (milliseconds: when the hotspot reported the frame),
`devaddr` and `fcnt` (the frame), `hotspots` (rssi, snr), `decoded.payload` when the console had a decoder. A device
whose frame is not confirmed sends it again with the same counter; in the 12 614 messages of the Tour Perret device 1
983 are such repetitions, three minutes apart and up to half an hour in all. Ignored: positions, costs, routing
metadata.
Source: the messages of CampusIoT/datasets (ODbL).
"""

from __future__ import annotations

from typing import Any

from shahar.kit import (
    Envelope,
    Uplink,
    best_reception,
    dev_eui,
    fport,
    frame_of,
    milliseconds,
    octets_base64,
    read_object,
    write_object,
)


def parse(body: bytes) -> Uplink:
    """The uplink in a Helium Console message."""
    told = read_object(body)
    payload = octets_base64(told.get("payload"), "payload")
    decoded: Any = told.get("decoded")
    decoded = decoded.get("payload") if isinstance(decoded, dict) else None
    rssi, snr = best_reception(told.get("hotspots"), "rssi", "snr")
    return Uplink(
        device=dev_eui(told.get("dev_eui"), "dev_eui"),
        payload=payload,
        object=write_object(decoded) if isinstance(decoded, dict) else b"",
        fport=fport(told.get("port")),
        at=milliseconds(told.get("reported_at"), "reported_at"),
        frame=frame_of(told.get("devaddr"), told.get("fcnt"), payload),
        rssi=rssi,
        snr=snr,
    )


ENVELOPES = (Envelope(name="helium", parse=parse, source="https://github.com/CampusIoT/datasets (TourPerret)"),)
