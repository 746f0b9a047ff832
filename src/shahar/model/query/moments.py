"""Dates, times and date-times as one kind of value that can be put in order.

Promises: `moment(text)` names the kind and the place on that kind's own scale, in microseconds: a date-time since
1970 UTC, a date likewise at its midnight, a time since midnight. Two texts of one moment ("...:00Z", "...:00.000Z")
have one place.
Source: ETSI GS CIM 009 clause 4.6.3. Values of different kinds are never compared (clause 4.9).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Final, Literal

from shahar.values import instants
from shahar.values.errors import Invalid

Kind = Literal["datetime", "date", "time"]

_DATETIME: Final = re.compile(r"\d{4}-\d\d-\d\dT", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:[.,](\d{1,6}))?Z", re.ASCII)


def moment(text: str) -> tuple[Kind, int] | None:
    """The kind and the microseconds of a date-time, date or time; None for every other text."""
    if not 9 <= len(text) <= 40 or not text[0].isdigit():
        return None
    if _DATETIME.match(text):
        try:
            return "datetime", instants.parse(text)
        except Invalid:
            return None
    if _DATE.fullmatch(text):
        try:
            midnight = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        except ValueError:
            return None
        return "date", int(midnight.timestamp()) * instants.SECOND
    return _time(text)


def _time(text: str) -> tuple[Kind, int] | None:
    found = _TIME.fullmatch(text)
    if not found:
        return None
    hours, minutes, seconds = (int(part) for part in found.groups()[:3])
    fraction = int((found.group(4) or "0").ljust(6, "0"))
    return "time", hours * instants.HOUR + minutes * instants.MINUTE + seconds * instants.SECOND + fraction
