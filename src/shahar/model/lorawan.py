"""What the envelopes of LoRaWAN network servers have in common: identifiers, base64, ports, radio. Each raises only
Invalid.

Not an envelope: files whose name begins with an underscore are not discovered.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any, Final

from shahar.values.errors import Invalid

LONGEST_PAYLOAD: Final = 1024  # LoRaWAN carries at most 242 bytes; room for servers that join frames
_EUI: Final = re.compile(r"[0-9a-fA-F]{16}")
_EARLIEST: Final = 946684800_000  # milliseconds: the year 2000
_LATEST: Final = 4102444800_000  # the year 2100


def dev_eui(value: Any, field: str) -> str:
    """A DevEUI in lower case; 16 hexadecimal digits."""
    if not isinstance(value, str) or not _EUI.fullmatch(value):
        raise Invalid(f"{value!r:.40} is not a DevEUI", field=field, rule="16 hexadecimal digits")
    return value.lower()


def octets_base64(value: Any, field: str) -> bytes:
    """The bytes of a base64 text; nothing when it is absent."""
    if value is None:
        return b""
    try:
        if not isinstance(value, str):
            raise ValueError
        return _short(base64.b64decode(value, validate=True), field)
    except (ValueError, binascii.Error):
        raise Invalid("the payload is not base64", field=field, rule="base64") from None


def octets_hex(value: Any, field: str) -> bytes:
    """The bytes of a hexadecimal text; nothing when it is absent."""
    if value is None:
        return b""
    try:
        if not isinstance(value, str):
            raise ValueError
        return _short(bytes.fromhex(value), field)
    except ValueError:
        raise Invalid("the payload is not hexadecimal", field=field, rule="hexadecimal digits") from None


def _short(payload: bytes, field: str) -> bytes:
    if len(payload) > LONGEST_PAYLOAD:
        raise Invalid("the payload is too long", field=field, rule=f"at most {LONGEST_PAYLOAD} bytes")
    return payload


def fport(value: Any) -> int | None:
    """A LoRaWAN port, None when absent."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
        raise Invalid(f"{value!r:.40} is not a port", field="port", rule="0..255")
    return value


def milliseconds(value: Any, field: str) -> int | None:
    """Microseconds of an instant told in milliseconds since 1970; None when absent."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not _EARLIEST <= value <= _LATEST:
        raise Invalid(f"{value!r:.40} names no moment of this century", field=field, rule="milliseconds since 1970")
    return value * 1000


def frame_of(address: Any, counter: Any, payload: bytes) -> str | None:
    """What is equal when a frame is told again: address, counter and the payload itself; None without a counter.

    The payload belongs to it because a device that joins again starts to count again, often under the same address.
    """
    if isinstance(counter, bool) or not isinstance(counter, int):
        return None
    digest = hashlib.sha256(payload).hexdigest()[:16]
    return f"{str(address or '')[:16]}/{counter}/{digest}"


def best_reception(receptions: Any, rssi: str, snr: str) -> tuple[float | None, float | None]:
    """Signal strength (dBm) and signal to noise (dB) where the frame was heard loudest; None, None when nobody says."""
    told = [one for one in receptions if isinstance(one, dict)] if isinstance(receptions, list) else []
    heard = [(loud, _number(one.get(snr))) for one in told if (loud := _number(one.get(rssi))) is not None]
    return max(heard, key=lambda one: one[0]) if heard else (None, None)


def _number(value: Any) -> float | None:
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
