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
from shahar.values.instants import DAY, SECOND, Instant

State = Literal["ok", "warn", "fail"]

LOG_BYTES: Final = 512_000_000
LAG_S: Final = 300
AHEAD_S: Final = 60
ENDING_DAYS: Final = 30
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
class Certificate:
    """What a client would see of a certificate file: from when until when it is valid, or why it cannot be used."""

    file: str
    ends_at: Instant = 0
    begins_at: Instant = 0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen. `database`: a server keeps the store. `look`: None when it could not be looked into, `fault` says
    why. `problem`: the first fault that reading all of it found, None when it was not read. `torn`: sealed days whose
    file is not what it was. `ready`: what the running process answers on /ready, None when none runs; empty when it is
    ready. `failing_contexts`: addresses of @contexts that it last could not fetch. `synchronised`: whether NTP keeps
    the machine's clock, None when it does not tell. `unbelieved`: a proxy seems to stand before us, and what it says of
    clients is not believed.
    """

    at: Instant
    free_bytes: int
    disk_bytes: int
    look: Look | None
    fault: str = ""
    database: bool = False
    problem: str | None = None
    torn: tuple[str, ...] = ()
    ready: str | None = None
    leftovers: tuple[str, ...] = ()
    failing_contexts: int = 0
    certificate: Certificate | None = None
    synchronised: bool | None = None
    unbelieved: bool = False


def findings(facts: Facts) -> list[Finding]:
    """Everything that there is to say, in the order in which a keeper would look."""
    looks = (_process, _store, _lake, _disk, _followers, _contexts, _clock, _certificate, _proxy, _leftovers)
    return [found for look in looks for found in look(facts)]


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
        advice = "shahar restore FILE, from the newest backup"
        if facts.database:
            advice = "look at the database server and its log; it is taken up again when it is back"
        yield Finding("fail", "store", facts.fault, advice)
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
    if facts.database:
        yield Finding("ok", "integrity", "the server looks after its own: pg_amcheck")
    elif facts.problem is None:
        yield Finding("ok", "integrity", "not read; --quick was said")
    elif facts.problem:
        yield Finding("fail", "integrity", facts.problem, "stop it; shahar restore FILE --replace, from a sound backup")
    else:
        yield Finding("ok", "integrity", "all of it was read; it hangs together")
    if look.log_bytes > LOG_BYTES:
        said = f"the write-ahead log has {look.log_bytes / 1e6:.0f} MB"
        yield Finding("warn", "log", said, "end what reads for long; a restart folds it back")


def _lake(facts: Facts) -> Iterator[Finding]:
    days = facts.look.days if facts.look is not None else ()
    for one in facts.torn:
        advice = "put the file back from a backup; until then its day is left out of every answer"
        yield Finding("fail", "lake", f"a sealed day is torn: {one}", advice)
    if days and not facts.torn:
        yield Finding("ok", "lake", f"{len(days)} sealed days; {sum(file.bytes for file in days) / 1e6:.1f} MB")


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
    if facts.synchronised is False:
        advice = "timedatectl set-ntp true, or chrony with a time server of one's own network"
        yield Finding("warn", "time server", "none keeps this machine's clock", advice)
    elif facts.synchronised:
        yield Finding("ok", "time server", "it keeps this machine's clock")


def _contexts(facts: Facts) -> Iterator[Finding]:
    if facts.failing_contexts:
        said = f"{facts.failing_contexts} @contexts could not be fetched"
        advice = "the log names them; let this machine reach them, or give them as files: --contexts (docs/keeping.md)"
        yield Finding("warn", "contexts", said, advice)


def _certificate(facts: Facts) -> Iterator[Finding]:
    found = facts.certificate
    if found is None:
        return
    said = f"{found.file} ends {instants.text(found.ends_at)}"
    if found.fault:
        yield Finding("fail", "certificate", found.fault, "put a sound pair in its place; it is taken up in a minute")
    elif found.ends_at <= facts.at:
        yield Finding("fail", "certificate", said, "renew it now: browsers and devices refuse it")
    elif found.begins_at > facts.at:
        said = f"{found.file} is valid only from {instants.text(found.begins_at)}"
        yield Finding("fail", "certificate", said, "look at this machine's clock, or wait until then")
    elif found.ends_at <= facts.at + ENDING_DAYS * DAY:
        yield Finding("warn", "certificate", said, "renew it; what is renewed is taken up in a minute")
    else:
        yield Finding("ok", "certificate", said)


def _proxy(facts: Facts) -> Iterator[Finding]:
    if facts.unbelieved:
        said = "public_url is https and we speak http, but no proxy is believed: all clients look like one"
        yield Finding("warn", "proxy", said, "name its address in `proxies`, such as 127.0.0.1 (docs/install.md)")


def _leftovers(facts: Facts) -> Iterator[Finding]:
    for name in facts.leftovers:
        yield Finding("warn", "folder", f"{name} is left of an interrupted act", "do it again, or remove it")
