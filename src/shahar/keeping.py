"""The commands of who keeps a city: `shahar backup`, `restore`, `upgrade`, `doctor`.

For: main, which hands over the settings and what was typed.
Promises: long work shows how far it is; `doctor` changes nothing, and ends with 1 when something is wrong enough to
act on at once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shahar import __version__, local
from shahar.config import Settings
from shahar.progress import bar
from shahar.store.lock import owned
from shahar.values.errors import ShaharError
from shahar.values.instants import Instant

if TYPE_CHECKING:
    from shahar.services.doctor import Certificate, Facts
    from shahar.store.keep import Look

COMMANDS: Final = {
    "backup": "copy a city, running or not, into one file",
    "restore": "put the city of a backup into the data folder",
    "move": "bring a city from one store to another: a data folder, or a PostgreSQL database",
    "upgrade": "bring a city of an earlier version up to this one, or try it on a copy",
    "doctor": "say what is wrong with a city, and what to do",
}
_TIME_ERROR: Final = 5
_SIGNS: Final = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


def arguments(name: str, command: argparse.ArgumentParser) -> None:
    """Add what a command takes besides the data folder."""
    if name == "backup":
        command.add_argument("file", type=Path, help="the new file, such as city-2026-11-22.tar")
    elif name == "restore":
        command.add_argument("file", type=Path, help="the backup")
        text = "put it in the place of a city that is there; that one is kept aside"
        command.add_argument("--replace", action="store_true", help=text)
    elif name == "move":
        where = "a data folder, or postgresql://user@host/name (passwords: PGPASSFILE)"
        command.add_argument("--from", dest="source", required=True, help=where)
        command.add_argument("--to", dest="target", required=True, help=where)
        command.add_argument("--afresh", action="store_true", help="forget what a move that was broken off has left")
    elif name == "upgrade":
        command.add_argument("--dry-run", action="store_true", help="say what would be done, tried on a copy")
    else:
        command.add_argument("--quick", action="store_true", help="do not read the whole store")
        command.add_argument("--json", action="store_true", help="for programs")


def run(settings: Settings, given: argparse.Namespace, at: Instant) -> int:
    """Do one of the commands; its exit status."""
    acts = {"backup": _backup, "restore": _restore, "move": _move, "upgrade": _upgrade, "doctor": _doctor}
    return acts[given.command](settings, given, at)


def _backup(settings: Settings, given: argparse.Namespace, at: Instant) -> int:
    from shahar.services import archive  # a start of the server does not wait for it

    made = archive.write(settings.data, given.file, __version__, at, bar(sys.stderr), database=settings.database)
    print(f"{given.file}: {made.bytes / 1e6:.1f} MB, {made.counts['entity']} entities, sha256 {made.sha256}")
    return 0


def _restore(settings: Settings, given: argparse.Namespace, at: Instant) -> int:
    from shahar.services import archive

    data = settings.data
    draw, database = bar(sys.stderr), settings.database
    told, aside = archive.restore(given.file, data, at, replace=given.replace, progress=draw, database=database)
    kept = f"; what was there is kept as {aside}" if aside else ""
    print(f"{data} holds the city of {told.at}, {told.counts['entity']} entities{kept}")
    return 0


def _move(_settings: Settings, given: argparse.Namespace, _at: Instant) -> int:
    from shahar.services import move

    source, target = move.place(given.source), move.place(given.target)
    moved = move.move(source, target, bar(sys.stderr), afresh=given.afresh)
    for table, rows in moved.counts.items():
        print(f"{table:12} {rows:>12}  {moved.digests[table][:16] or 'counted'}")
    print("both hold the same; the source is as it was. Name the new place in the settings, then start the city there")
    return 0


def _upgrade(settings: Settings, given: argparse.Namespace, at: Instant) -> int:
    from shahar.services import upgrade

    data = settings.data
    plan = upgrade.plan(data)
    if not plan.steps:
        print(f"{data} is of schema {plan.found}, which shahar {__version__} writes: there is nothing to do")
        return 0
    print(f"{data}: from schema {plan.found} to {plan.wanted}, {plan.bytes / 1e6:.1f} MB")
    for number, step in enumerate(plan.steps, plan.found + 1):
        print(f"  {number}  {step}")
    free = shutil.disk_usage(data).free
    print(f"room: {plan.needed / 1e6:.1f} MB while it runs; {free / 1e6:.1f} MB are free", flush=True)
    if given.dry_run:
        took_s = upgrade.rehearse(data, bar(sys.stderr))
        print(f"tried on a copy: the steps take {took_s:.1f} s, and all of it hangs together; nothing was changed")
    else:
        aside = upgrade.perform(data, at, bar(sys.stderr))
        print(f"{data} is of schema {plan.wanted}; what was there is kept as {aside}")
    return 0


def _doctor(settings: Settings, given: argparse.Namespace, at: Instant) -> int:
    from shahar.services import doctor

    found = doctor.findings(_facts(settings, at, quick=given.quick))
    if given.json:
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        for one in found:
            print(f"{_SIGNS[one.state]}  {one.what}: {one.said}" + (f"\n      -> {one.advice}" if one.advice else ""))
    return 1 if any(one.state == "fail" for one in found) else 0


def _facts(settings: Settings, at: Instant, *, quick: bool) -> Facts:
    from shahar.services import archive, doctor, upgrade
    from shahar.store import keep, lake

    data, process = settings.data, local.running(settings.data)
    disk = shutil.disk_usage(data if data.exists() else Path())
    look, fault, problem = _looked(settings, quick=quick)
    days = look.days if look is not None else ()
    seen = {file.name: lake.look(data / lake.LAKE, file, whole=not quick)[1] for file in days}
    works = process is not None if settings.database else owned(data / keep.NAME)
    ready = _ready(process) if works else None
    begun = (one for name in (archive.RESTORING, upgrade.TRYING) for one in data.glob(name + "*"))
    return doctor.Facts(
        at=at,
        free_bytes=disk.free,
        disk_bytes=disk.total,
        look=look,
        fault=fault,
        database=bool(settings.database),
        problem=problem,
        torn=tuple(f"{name}: {why}" for name, why in seen.items() if why),
        ready=ready,
        leftovers=tuple(sorted(one.name for one in begun)) if ready is None else (),
        failing_contexts=_figure(process, "shahar_contexts_failing") if ready == "" else 0,
        certificate=_certificate(settings),
        synchronised=_synchronised(),
        unbelieved=settings.public_url.startswith("https:") and not settings.tls_certificate and not settings.proxies,
    )


def _looked(settings: Settings, *, quick: bool) -> tuple[Look | None, str, str | None]:
    """What is found in the store, why it cannot be looked into, and the first fault that reading all of it finds."""
    from shahar.store import ends, keep

    try:
        if settings.database:
            return ends.looked(settings.database), "", None
        path = settings.data / keep.NAME
        look, draw = keep.look(path), bar(sys.stderr)
        return look, "", None if quick else keep.check(path, lambda part: draw("reading", part))
    except ShaharError as failure:
        return None, failure.detail, None


def _ready(process: local.Running | None) -> str:
    """What the process that owns the folder answers on /ready; empty when it is ready."""
    try:
        if process is None:
            return "it has left no key in the folder (it has just started or stopped, or runs as another user)"
        process.ask("/ready")
    except ShaharError as problem:
        return problem.detail
    return ""


def _figure(process: local.Running | None, name: str) -> int:
    """One of the running process's figures; 0 when it does not tell."""
    try:
        lines = process.ask("/metrics").splitlines() if process else []
    except ShaharError:
        return 0
    return next((round(float(line.split(" ")[1])) for line in lines if line.startswith(f"{name} ")), 0)


def _certificate(settings: Settings) -> Certificate | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    from shahar import tls

    return tls.examine(settings.tls_certificate, settings.tls_key)


def _synchronised() -> bool | None:
    """Whether the kernel's clock is kept by NTP, whoever keeps it; None when the kernel does not tell (adjtimex(2))."""
    import ctypes

    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(1_024))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR
