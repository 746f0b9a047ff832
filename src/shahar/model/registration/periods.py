"""The time that a temporal query is about, held against the interval that a source says it has.

Promises: total on checked intervals.
Source: ETSI GS CIM 009 V1.9.1 clauses 4.11, 5.2.21, 5.10.2.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from shahar.model.registration.forms import Interval
from shahar.values import instants
from shahar.values.errors import Invalid
from shahar.values.instants import Instant

RELATIONS: Final = ("before", "after", "between")
PROPERTIES: Final = ("observedAt", "createdAt", "modifiedAt", "deletedAt")
RULE: Final = "ETSI GS CIM 009 clause 4.11"


@dataclass(frozen=True, slots=True)
class Period:
    """The time that a temporal query is about: within [start, end] of a time property; None: open."""

    start: Instant | None
    end: Instant | None
    by: str = "observedAt"


def period(relation: Any, start: Any, end: Any = None, by: Any = "observedAt") -> Period:
    """The period of timerel, timeAt, endTimeAt and timeproperty; Invalid when they make no temporal query."""
    if relation not in RELATIONS:
        raise Invalid(f"{relation!r:.40} is not a temporal relation", field="timerel", rule=", ".join(RELATIONS))
    if by not in PROPERTIES:
        raise Invalid(f"{by!r:.40} is not a time property", field="timeproperty", rule=", ".join(PROPERTIES))
    if start is None:
        raise Invalid("a temporal query needs timeAt", field="timeAt", rule=RULE)
    at = instants.parse(start, "timeAt")
    if relation == "before":
        return Period(None, at, by)
    if relation == "after":
        return Period(at, None, by)
    if end is None:
        raise Invalid("between needs endTimeAt", field="endTimeAt", rule=RULE)
    until = instants.parse(end, "endTimeAt")
    if until < at:
        raise Invalid("endTimeAt is before timeAt", field="endTimeAt", rule=RULE)
    return Period(at, until, by)


def overlaps(interval: Interval, asked: Period) -> bool:
    """Whether the two have an instant in common, ends included."""
    if asked.end is not None and interval.start > asked.end:
        return False
    return asked.start is None or interval.end is None or interval.end >= asked.start
