"""Bytes from outside as a JSON object that nothing later can trip over. Envelopes and decoders of JSON read through
here.

Promises: whatever the bytes, the outcome is a dict or Invalid. Bounds: 64 KiB, 32 levels, numbers finite and within
64 bits, text without NUL and without half of a surrogate pair (neither can be stored or sent on).
Does not: look at what the members mean; repair anything. A member told twice counts as its last telling, as in RFC
8259 clause 4.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from shahar.values.errors import Invalid

LARGEST: Final = 64 * 1024
DEEPEST: Final = 32
_WHOLE: Final = 2**63
_UNKEPT: Final = re.compile("[\0\ud800-\udfff]")
_SUSPECT: Final = re.compile(rb"\\u|[0-9]{19}|[0-9][eE]")  # without these no text and no number can be out of bounds


def read_object(body: bytes, field: str | None = None) -> dict[str, Any]:
    """The JSON object in a message; Invalid when there is none or a bound is passed."""
    if len(body) > LARGEST:
        raise Invalid(f"{len(body)} bytes are too many for one message", field=field, rule=f"at most {LARGEST} bytes")
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Invalid("this is not JSON", field=field, rule="a JSON object in UTF-8") from None
    if not isinstance(found, dict):
        raise Invalid("this is JSON, but not an object", field=field, rule="a JSON object in UTF-8")
    if body.count(b"{") + body.count(b"[") > DEEPEST or _SUSPECT.search(body):
        _walk(found, field)
    return found


def write_object(members: dict[str, Any]) -> bytes:
    """The bytes of an object, always the same for the same members in the same order."""
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def numbers(names: Mapping[str, str]) -> Callable[[bytes, int | None], dict[str, float]]:
    """A decoder of JSON objects: member -> decoded name, for members that are numbers.

    Several members may lead to one name (the first that is there counts). A null is a value that was not measured;
    members that are not named are ignored. The decoder raises Invalid when a named member is anything but a number
    or null.
    """

    def decode(body: bytes, fport: int | None = None) -> dict[str, float]:
        told = read_object(body) if body else {}
        found: dict[str, float] = {}
        for member, name in names.items():
            value = told.get(member)
            if value is None or name in found:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise Invalid(f"{member} is not a number", field=member, rule="a number or null")
            found[name] = value
        return found

    return decode


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _walk(found: dict[str, Any], field: str | None) -> None:
    """Hold every value inside against the bounds, without recursion."""
    level: list[Any] = [found]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value
                below += value.values()
            elif isinstance(value, list):
                below += value
            else:
                _hold(value, field)
        if not below:
            return
        level = below
    raise Invalid("it is nested too deeply", field=field, rule=f"at most {DEEPEST} levels")


def _hold(value: str | float | None, field: str | None) -> None:
    """Invalid when a single value is none that can be kept."""
    if isinstance(value, str):
        if _UNKEPT.search(value):
            raise Invalid("text holds a sign that cannot be kept", field=field, rule="no NUL, no lone surrogate")
    elif isinstance(value, int):
        if not -_WHOLE <= value < _WHOLE:
            raise Invalid("a whole number is too large", field=field, rule="64 bits")
    elif value is not None and value - value != 0:
        raise Invalid("a number is too large", field=field, rule="a finite number")
