"""The ceiling: the very rows that the store writes, written durably by one bare SQLite writer that does nothing else.

How it is honest: the store itself does the work once while its statements are recorded (an execution trace, so that
no SQL is told here a second time); the raw writer then does the recorded statements on a copy of the same file,
prebuilt, each kind in one executemany a group, one durable commit a group, with the store's own pragmas and its rule
for checkpoints.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw

from bench import payloads
from shahar.model.change import Change, Kind
from shahar.model.context import CORE
from shahar.model.entity import CREATE, PATCH, parse_entity
from shahar.services.broker import Broker
from shahar.store.engines import connect
from shahar.store.sqlite import CHECKPOINT_EVERY_S, CHECKPOINT_PAGES
from shahar.values.instants import SECOND

SETTINGS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "wal_autocheckpoint=0",
    "foreign_keys=ON",
    "temp_store=MEMORY",
    "cache_size=-16000",
)
Group = list[tuple[str, list[Any]]]
"""Statements of one commit: SQL and the bindings of all its rows."""


@dataclass(slots=True)
class Recorder:
    """Notes every changing statement of every connection that is opened while it hooks."""

    on: bool = False
    statements: list[tuple[str, Any]] = field(default_factory=list)

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Trace connections opened within the block."""
        apsw.connection_hooks.append(self._hook)
        try:
            yield
        finally:
            apsw.connection_hooks.remove(self._hook)

    def _hook(self, connection: apsw.Connection) -> None:
        connection.exec_trace = self._trace

    def _trace(self, _cursor: Any, sql: str, bindings: Any) -> bool:
        if self.on and sql.lstrip()[:6].upper() in {"INSERT", "UPDATE", "DELETE"}:
            self.statements.append((sql, bindings))
        return True

    def take(self) -> Group:
        """What was noted since the last call, rows of one statement together, in the order in which they came."""
        kinds: dict[str, list[Any]] = {}
        for sql, bindings in self.statements:
            kinds.setdefault(sql, []).append(bindings)
        self.statements.clear()
        return list(kinds.items())


def wishes(kind: Kind, numbers: Sequence[int], turn: int) -> list[Change]:
    """The changes that a request makes of the payloads of these entities."""
    made: list[Change] = []
    for number in numbers:
        entity_id = payloads.measured_id(number)
        if kind == "update":
            doc = parse_entity(payloads.fragment(number, turn), CORE, PATCH, entity_id=entity_id)
        else:
            doc = parse_entity(payloads.measured(number, turn), CORE, CREATE)
        made.append(Change(kind, entity_id, doc))
    return made


def at_of(turn: int) -> int:
    """The instant of a turn in microseconds."""
    return (payloads.START_S + 86_400) * SECOND + turn * 1_000


async def _record(file: Path, entities: int, kind: Kind, groups: Sequence[list[Change]]) -> list[Group]:
    recorder = Recorder()
    recorded: list[Group] = []
    with recorder.hooked():
        db = connect(file)
        await db.open()
        broker = Broker(db)
        for first in range(0, entities, 1_000):
            await broker.apply("", wishes("upsert", range(first, min(first + 1_000, entities)), 0), at_of(0))
    await db.close()
    shutil.copyfile(file, file.with_suffix(".start"))
    with recorder.hooked():
        db = connect(file)
        await db.open()
        broker = Broker(db)
        recorder.on = True
        for turn, group in enumerate(groups, 1):
            if kind == "update":
                await asyncio.gather(*(broker.change("", wish, at_of(turn)) for wish in group))
            else:
                await broker.apply("", group, at_of(turn))
            recorded.append(recorder.take())
        recorder.on = False
    await db.close()
    return recorded


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Recorded work, ready to be written raw again and again: `size` changes in each of the groups."""

    file: Path
    groups: list[Group]
    size: int

    def write(self) -> dict[str, float]:
        """Write it once on a copy of the start; changes a second and processor microseconds for each."""
        file = self.file.with_suffix(".raw")
        for old in file.parent.glob(file.name + "*"):
            old.unlink()
        shutil.copyfile(self.file.with_suffix(".start"), file)
        with file.open("rb") as copied:
            os.fsync(copied.fileno())
        connection = apsw.Connection(str(file), statementcachesize=200)
        for setting in SETTINGS:
            connection.execute(f"PRAGMA {setting}").fetchall()
        done = threading.Event()
        folding = threading.Thread(target=_fold, args=(file, done))
        folding.start()
        wall, cpu = _write(connection, self.groups)
        done.set()
        folding.join()
        connection.close()
        changes = len(self.groups) * self.size
        return {"per_s": changes / wall, "us": cpu / changes * 1e6, "commit_ms": wall / len(self.groups) * 1_000}


def record(file: Path, entities: int, kind: Kind, groups: Sequence[list[Change]]) -> Ceiling:
    """The ceiling of `groups` of changes on a store that holds `entities` entities already."""
    for old in file.parent.glob(file.stem + ".*"):
        old.unlink()
    return Ceiling(file, asyncio.run(_record(file, entities, kind, groups)), len(groups[0]))


def _write(connection: apsw.Connection, groups: Sequence[Group]) -> tuple[float, float]:
    """Seconds of wall and of processor time."""
    gc.collect()
    gc.disable()
    cpu, wall = time.process_time(), time.perf_counter()
    for group in groups:
        connection.execute("BEGIN IMMEDIATE")
        for sql, rows in group:
            for _ in connection.executemany(sql, rows):
                pass
        connection.execute("COMMIT")
    taken = time.perf_counter() - wall, time.process_time() - cpu
    gc.enable()
    return taken


def _fold(file: Path, done: threading.Event) -> None:
    """The store's rule for checkpoints."""
    connection = apsw.Connection(str(file))
    connection.execute("PRAGMA wal_autocheckpoint=0")
    log = file.with_name(file.name + "-wal")
    while not done.wait(CHECKPOINT_EVERY_S):
        if log.exists() and log.stat().st_size // 4096 > CHECKPOINT_PAGES:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    connection.close()
