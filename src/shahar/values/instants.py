"""A moment is an int: microseconds since 1970-01-01T00:00:00Z. ISO 8601 comes in and goes out here and nowhere else.

Promises: `parse(text(at)) == at` for every instant between the years 1 and 9999; nothing else is accepted.
Refuses: a date-time without a zone (whose noon would it be?), a bare date where an instant is wanted, leap second 60.
Source: ETSI GS CIM 009 clause 4.6.3 (DateTime, Date, Time), RFC 3339.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from shahar.values.errors import Invalid

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

Instant = int

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SHAPE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.,]\d{1,9})?(Z|[+-]\d\d:?\d\d)", re.ASCII)
_MICRO: Final = timedelta(microseconds=1)


def parse(text: str, field: str | None = None) -> Instant:
    """The instant that an ISO 8601 date-time with a zone names; Invalid when it names none."""
    try:
        return _moment(text)
    except (TypeError, ValueError, OverflowError):
        raise Invalid(
            f"{text!r:.60} is not a date-time such as 2026-11-22T14:32:00Z",
            field=field,
            rule="ISO 8601 date-time with zone",
        ) from None


@lru_cache(maxsize=1024)  # the attributes of one message mostly tell the same instant
def _moment(text: str) -> Instant:
    if not _SHAPE.fullmatch(text):
        raise ValueError(text)
    return (datetime.fromisoformat(text.replace(",", ".")) - _EPOCH) // _MICRO


def text(at: Instant) -> str:
    """ISO 8601 in UTC; the fraction is left out when it is zero and has no trailing zeros."""
    seconds, micro = divmod(at, SECOND)
    moment = _EPOCH + timedelta(seconds=seconds)
    whole = moment.strftime("%Y-%m-%dT%H:%M:%S") if moment.year > 999 else moment.isoformat()[:19]
    return f"{whole}.{micro:06d}".rstrip("0") + "Z" if micro else whole + "Z"


_DURATION: Final = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII
)


def parse_duration_s(text: str, field: str | None = None) -> float:
    """Seconds of an ISO 8601 duration; a month counts 30 days and a year 365 (it is used for lengths, not for
    calendars).
    """
    found = _DURATION.fullmatch(text)
    if not found or not any(found.groups()):
        raise Invalid(f"{text!r:.60} is not a duration such as PT15M", field=field, rule="ISO 8601 duration")
    years, months, weeks, days, hours, minutes = (int(part or 0) for part in found.groups()[:6])
    whole_days = years * 365 + months * 30 + weeks * 7 + days
    return float(whole_days * 86400 + hours * 3600 + minutes * 60) + float(found.group(7) or 0)
