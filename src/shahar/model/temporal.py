"""The language of temporal questions: when (timerel and its kin), the newest how many, and aggregated how.

    timerel=between&timeAt=2026-11-01T00:00:00Z&endTimeAt=2026-12-01T00:00:00Z&lastN=10
    aggrMethods=avg,max&aggrPeriodDuration=PT1H

Promises: what is no such question raises Invalid naming the member, and nothing else does; `parse(written(span))` is
the span again, and so for durations. `timeAt` belongs to the answer of after and between, not to that of before, and
`endTimeAt` belongs to none. A question that names neither a relation nor a property wants every instance that has a
value, observed or not (`by` is empty then).
Does not: find anything. Months and years are those of the calendar in UTC.
Source: ETSI GS CIM 009 V1.9.1 clauses 4.5.19, 4.8, 4.11, 5.2.21, 5.2.44.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from shahar.values import instants
from shahar.values.bounds import TEMPORAL_LAST, TEMPORAL_PERIODS
from shahar.values.errors import Invalid, TooMany
from shahar.values.instants import Instant

RULE: Final = "ETSI GS CIM 009 clause 4.11"
RELATIONS: Final = ("before", "after", "between")
PROPERTIES: Final = ("observedAt", "createdAt", "modifiedAt", "deletedAt")
MEMBERS: Final = ("timerel", "timeAt", "endTimeAt", "timeproperty", "lastN")
METHODS: Final = ("totalCount", "distinctCount", "sum", "avg", "min", "max", "stddev", "sumsq")


@dataclass(frozen=True, slots=True)
class Span:
    """Which instances are wanted: instants in [start, end) of the time property; the newest `last` of each series when
    given. `by` is empty when no property was named and every instance with a value will do.
    """

    start: Instant | None = None
    end: Instant | None = None
    by: str = "observedAt"
    last: int | None = None


def parse(given: Mapping[str, str]) -> Span:
    """The span that these members (of MEMBERS) ask for; Invalid."""
    relation, by = given.get("timerel"), given.get("timeproperty")
    if by is not None and by not in PROPERTIES:
        raise Invalid(f"{by!r:.40} is not a time property", field="timeproperty", rule=", ".join(PROPERTIES))
    last = _last(given["lastN"]) if "lastN" in given else None
    if relation is None:
        for name in ("timeAt", "endTimeAt"):
            if name in given:
                raise Invalid(f"{name} needs timerel", field="timerel", rule=", ".join(RELATIONS))
        return Span(by=by or "", last=last)
    if relation not in RELATIONS:
        raise Invalid(f"{relation!r:.40} is not a temporal relation", field="timerel", rule=", ".join(RELATIONS))
    start, end = _bounds(relation, given)
    return Span(start, end, by or "observedAt", last)


def _bounds(relation: str, given: Mapping[str, str]) -> tuple[Instant | None, Instant | None]:
    if "timeAt" not in given:
        raise Invalid("timerel needs timeAt", field="timeAt", rule=RULE)
    at = instants.parse(given["timeAt"], "timeAt")
    if relation == "between":
        if "endTimeAt" not in given:
            raise Invalid("between needs endTimeAt", field="endTimeAt", rule=RULE)
        return at, instants.parse(given["endTimeAt"], "endTimeAt")
    if "endTimeAt" in given:
        raise Invalid("endTimeAt is for between alone", field="endTimeAt", rule=RULE)
    return (None, at) if relation == "before" else (at, None)


def _last(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= TEMPORAL_LAST):
        raise Invalid("lastN is a positive whole number", field="lastN", rule=f"1 to {TEMPORAL_LAST}")
    return int(text)


def written(span: Span) -> dict[str, str]:
    """The members that ask for this span."""
    found: dict[str, str] = {}
    if span.start is not None:
        found |= {"timerel": "after", "timeAt": instants.text(span.start)}
        if span.end is not None:
            found |= {"timerel": "between", "endTimeAt": instants.text(span.end)}
    elif span.end is not None:
        found |= {"timerel": "before", "timeAt": instants.text(span.end)}
    if span.by:
        found["timeproperty"] = span.by
    if span.last is not None:
        found["lastN"] = str(span.last)
    return found


# -- aggregation ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Period:
    """A length of time: calendar months and microseconds; none of both is the whole time asked for."""

    months: int = 0
    micros: int = 0

    @property
    def whole(self) -> bool:
        """Whether it stands for all the time that is asked about."""
        return not (self.months or self.micros)


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What is wanted of each period instead of its instances: methods of METHODS, in the order asked."""

    methods: tuple[str, ...]
    period: Period = Period()


_DURATION: Final = re.compile(
    r"P(?:(?P<w>\d{1,9})W|(?:(?P<y>\d{1,9})Y)?(?:(?P<m>\d{1,9})M)?(?:(?P<d>\d{1,9})D)?"
    r"(?P<t>T(?:(?P<H>\d{1,9})H)?(?:(?P<M>\d{1,9})M)?(?:(?P<S>\d{1,9})(?:\.(?P<f>\d{1,6}))?S)?)?)",
    re.ASCII,
)
_UNITS: Final = {
    "w": 7 * instants.DAY,
    "d": instants.DAY,
    "H": instants.HOUR,
    "M": instants.MINUTE,
    "S": instants.SECOND,
}
_LONGEST_MONTHS: Final = 12 * 1_000
_LONGEST: Final = 1_000 * 365 * instants.DAY


def parse_aggregation(methods: str | None, duration: str | None) -> Aggregation:
    """The aggregation that the two members ask for; Invalid."""
    if methods is None:
        raise Invalid("aggregatedValues needs aggrMethods", field="aggrMethods", rule=", ".join(METHODS))
    listed = tuple(dict.fromkeys(methods.split(",")))
    for method in listed:
        if method not in METHODS:
            raise Invalid(f"{method!r:.40} is no way to aggregate", field="aggrMethods", rule=", ".join(METHODS))
    return Aggregation(listed, parse_period(duration) if duration is not None else Period())


def parse_period(text: str) -> Period:
    """The period that an ISO 8601 duration names; Invalid."""
    found = _DURATION.fullmatch(text)
    parts = found.groupdict() if found else {}
    if not found or parts["t"] == "T" or not any(value for name, value in parts.items() if name != "t"):
        raise Invalid(
            f"{text!r:.40} is not a duration such as PT1H, P1M or PT0S",
            field="aggrPeriodDuration",
            rule="ISO 8601 duration, ETSI GS CIM 009 clause 4.5.19.1",
        )
    months = int(parts["y"] or 0) * 12 + int(parts["m"] or 0)
    micros = sum(int(parts[name] or 0) * unit for name, unit in _UNITS.items()) + int((parts["f"] or "").ljust(6, "0"))
    if months > _LONGEST_MONTHS or micros > _LONGEST:
        raise Invalid("the period is too long", field="aggrPeriodDuration", rule="at most 1 000 years")
    return Period(months, micros)


def written_period(period: Period) -> str:
    """The ISO 8601 duration of a period."""
    if period.whole:
        return "PT0S"
    seconds, micro = divmod(period.micros, instants.SECOND)
    fraction = f".{micro:06d}" if micro else ""
    return "P" + (f"{period.months}M" if period.months else "") + (f"T{seconds}{fraction}S" if period.micros else "")


def written_aggregation(aggregation: Aggregation) -> dict[str, str]:
    """The members that ask for this aggregation."""
    period = written_period(aggregation.period)
    return {"aggrMethods": ",".join(aggregation.methods), "aggrPeriodDuration": period}


def edges(period: Period, start: Instant, end: Instant) -> list[Instant]:
    """The borders of calendar periods from `start` until one lies at `end` or behind it; TooMany beyond the bound."""
    found = [start]
    while found[-1] < end:
        check_periods(len(found))
        found.append(_shifted(start, period.months * len(found)) + period.micros * len(found))
    return found


def check_periods(count: int, most: int = TEMPORAL_PERIODS) -> None:
    """TooMany when an answer would hold more periods than the bound, or what is left of it."""
    if count > most:
        rule = f"at most {TEMPORAL_PERIODS} periods in one answer"
        raise TooMany("too many periods: ask for longer ones or less time", field="aggrPeriodDuration", rule=rule)


def _shifted(at: Instant, months: int) -> Instant:
    """The instant so many months later; the last day of the month where the month is too short."""
    days, of_day = divmod(at, instants.DAY)
    date = datetime.fromtimestamp(days * 86_400, UTC)
    year, month = divmod(date.year * 12 + date.month - 1 + months, 12)
    if not 1 <= year <= 9_999:
        raise Invalid("the periods leave the calendar", field="aggrPeriodDuration", rule="years 1 to 9999")
    day = min(date.day, monthrange(year, month + 1)[1])
    return int(datetime(year, month + 1, day, tzinfo=UTC).timestamp()) * instants.SECOND + of_day


# -- bodies -----------------------------------------------------------------------------------------------------------


def texts(document: Any, field: str, members: Iterable[str]) -> dict[str, str]:
    """The members of a TemporalQuery or AggregationParams document as texts, as an address would give them; Invalid."""
    if not isinstance(document, dict):
        raise Invalid(f"{field} is an object", field=field, rule="ETSI GS CIM 009 clause 5.2.21")
    found: dict[str, str] = {}
    for name, value in document.items():
        if name not in members:
            raise Invalid(f"{name!r:.40} is no member of {field}", field=field, rule=", ".join(members))
        if name == "aggrMethods" and isinstance(value, list) and all(isinstance(one, str) for one in value):
            value = ",".join(value)
        if name == "lastN" and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value:
            raise Invalid(f"{name} of {field} is a text", field=f"{field}.{name}", rule="a text that is not empty")
        found[name] = value
    return found
