"""A registration as it is told to whoever asks for it.

Promises: names in the reader's @context, instants as texts; the values of contextSourceInfo are told to those alone who
may change registrations (`secrets`), but for the keys that hold no secret.
Does not: count what became of requests (`Tally` is the count as it is shown).
Source: ETSI GS CIM 009 V1.9.1 clauses 5.2.8 to 5.2.11, 5.10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shahar.model.context import Context
from shahar.model.registration.forms import INSTRUCTIONS, REQUESTED, Record
from shahar.model.registration.members import TYPE
from shahar.values import instants
from shahar.values.instants import Instant


@dataclass(slots=True)
class Tally:
    """What became of the requests to a source; instants are None as long as there was none."""

    times_sent: int = 0
    times_failed: int = 0
    last_success: Instant | None = None
    last_failure: Instant | None = None
    ok: bool | None = None

    def count(self, ok: bool, at: Instant) -> None:
        """Count one request and what became of it."""
        self.times_sent += 1
        self.ok = ok
        if ok:
            self.last_success = at
        else:
            self.times_failed += 1
            self.last_failure = at


def told(
    record: Record, context: Context, *, tally: Tally | None = None, sys: bool = False, secrets: bool = False
) -> dict[str, Any]:
    """The registration as it is shown; the @context itself is left to the caller."""
    shown: dict[str, Any] = {"id": record["id"], "type": TYPE}
    for name, value in record["body"].items():
        if name == "contextSourceInfo" and not secrets:
            value = [pair for pair in value if _harmless(pair)]
            if not value:
                continue
        shown[name] = _SHOW.get(name, _as_given)(value, context)
    shown |= {context.compact(iri): value for iri, value in record["own"].items()}
    if tally is not None and tally.ok is not None:
        shown |= _told_tally(tally)
    if sys:
        shown |= {key: instants.text(record[key]) for key in ("createdAt", "modifiedAt")}
    return shown


def _harmless(pair: Mapping[str, str]) -> bool:
    return pair["key"].lower() in INSTRUCTIONS or pair["value"] == REQUESTED


def _told_tally(tally: Tally) -> dict[str, Any]:
    shown: dict[str, Any] = {"status": "ok" if tally.ok else "failed", "timesSent": tally.times_sent}
    if tally.times_failed:
        shown["timesFailed"] = tally.times_failed
    moments = {"lastSuccess": tally.last_success, "lastFailure": tally.last_failure}
    return shown | {name: instants.text(at) for name, at in moments.items() if at is not None}


def _as_given(value: Any, _context: Context) -> Any:
    return value


def _show_instant(value: Any, _context: Context) -> Any:
    return instants.text(value)


def _show_interval(value: Any, _context: Context) -> Any:
    return {name: instants.text(at) for name, at in value.items()}


def _show_information(value: Any, context: Context) -> Any:
    def names(given: Any) -> Any:
        return [context.compact(one) for one in given] if isinstance(given, list) else context.compact(given)

    def entity(given: Mapping[str, Any]) -> dict[str, Any]:
        return {name: names(one) if name == "type" else one for name, one in given.items()}

    return [
        {name: [entity(one) for one in part] if name == "entities" else names(part) for name, part in element.items()}
        for element in value
    ]


_SHOW: Final[dict[str, Callable[[Any, Context], Any]]] = {
    "information": _show_information,
    "expiresAt": _show_instant,
    "observationInterval": _show_interval,
    "managementInterval": _show_interval,
}
