"""What is wrong with a city, and what its keeper is to do: one finding for each thing looked at, the good ones too.

Promises: pure; whatever is found is said with what to do about it; "fail" is only what loses data or keeps the city
from working.
Does not: look (store/keep, keeping.py); mend.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from shahar.store.keep import SCHEMA, Look
from shahar.values import instants
from shahar.values.instants import SECOND, Instant

State = Literal["ok", "warn", "fail"]

LOG_BYTES: Final = 512_000_000
LAG_S: Final = 300
AHEAD_S: Final = 60
FREE_WARN: Final = 0.10
FREE_FAIL: Final = 0.02


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what it is like, and what to do."""

    state: State
    what: str
    said: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen. `look`: None when the store could not be opened, `fault` says why. `problem`: the first fault that
    reading all of it found, None when it was not read. `ready`: what the running process answers on /ready, None when
    none runs; empty when it is ready.
    """

    at: Instant
    free_bytes: int
    disk_bytes: int
    look: Look | None
    fault: str = ""
    problem: str | None = None
    ready: str | None = None
    leftovers: tuple[str, ...] = ()


def findings(facts: Facts) -> list[Finding]:
    """Everything that there is to say, in the order in which a keeper would look."""
    return [*_process(facts), *_store(facts), *_disk(facts), *_followers(facts), *_clock(facts), *_leftovers(facts)]


def _process(facts: Facts) -> Iterator[Finding]:
    if facts.ready is None:
        yield Finding("ok", "process", "none runs on this folder")
    elif facts.ready:
        yield Finding("fail", "process", f"it is not ready: {facts.ready}", "look at its log; restart it")
    else:
        yield Finding("ok", "process", "it runs and is ready")


def _store(facts: Facts) -> Iterator[Finding]:
    look = facts.look
    if look is None:
        yield Finding("fail", "store", facts.fault, "shahar restore FILE, from the newest backup")
        return
    if look.schema > SCHEMA:
        said = f"schema {look.schema} is of a newer program; this one knows up to {SCHEMA}"
        yield Finding("fail", "store", said, "use the newer program")
    elif look.schema < SCHEMA:
        said = f"schema {look.schema}; this program writes {SCHEMA}"
        yield Finding("warn", "store", said, "shahar upgrade --dry-run tells what is to be done; then shahar upgrade")
    else:
        told = ", ".join(f"{look.counts[name]} {word}" for name, word in _COUNTED)
        yield Finding("ok", "store", f"schema {look.schema}; {told}; {look.bytes / 1e6:.1f} MB")
    if facts.problem is None:
        yield Finding("ok", "integrity", "not read; --quick was said")
    elif facts.problem:
        yield Finding("fail", "integrity", facts.problem, "stop it; shahar restore FILE --replace, from a sound backup")
    else:
        yield Finding("ok", "integrity", "all of it was read; it hangs together")
    if look.log_bytes > LOG_BYTES:
        said = f"the write-ahead log has {look.log_bytes / 1e6:.0f} MB"
        yield Finding("warn", "log", said, "end what reads for long; a restart folds it back")


_COUNTED: Final = (("entity", "entities"), ("history", "instances in history"), ("journal", "rows in the journal"))


def _disk(facts: Facts) -> Iterator[Finding]:
    part = facts.free_bytes / max(1, facts.disk_bytes)
    said = f"{facts.free_bytes / 1e9:.1f} GB free ({part:.0%})"
    if part < FREE_FAIL:
        yield Finding("fail", "disk", said, "make room now: a full disk refuses every change")
    elif part < FREE_WARN:
        yield Finding("warn", "disk", said, "make room, or move the folder to a larger disk")
    else:
        yield Finding("ok", "disk", said)


def _followers(facts: Facts) -> Iterator[Finding]:
    look = facts.look
    if look is None or not look.counts:
        return
    for lag in look.lags:
        behind_s = (facts.at - lag.since) // SECOND if lag.rows else 0
        said = f"{lag.rows} rows behind" + (f", the oldest of {instants.text(lag.since)}" if lag.rows else "")
        if lag.rows and behind_s > LAG_S and facts.ready is not None:
            yield Finding("warn", lag.consumer, said, "look at /metrics and the log for what holds it up")
        else:
            yield Finding("ok", lag.consumer, said)
    if look.dead_letters:
        said = f"{look.dead_letters} notifications could not be delivered"
        yield Finding("warn", "dead letters", said, "an administrator reads and sends them again: /api/dead-letters")


def _clock(facts: Facts) -> Iterator[Finding]:
    newest = facts.look.newest if facts.look else 0
    if newest > facts.at + AHEAD_S * SECOND:
        said = f"the newest change is of {instants.text(newest)}, after now"
        advice = "set the clock by NTP; until then changes are stamped later than they are"
        yield Finding("warn", "clock", said, advice)
    elif newest:
        yield Finding("ok", "clock", f"the newest change is of {instants.text(newest)}")


def _leftovers(facts: Facts) -> Iterator[Finding]:
    for name in facts.leftovers:
        yield Finding("warn", "folder", f"{name} is left of an interrupted act", "do it again, or remove it")
