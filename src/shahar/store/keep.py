"""A store as a file that is kept elsewhere: copied while it is in use, looked into, put back.

For: `shahar backup`, `restore` and `doctor` (keeping.py).
Promises: a copy is the state after one commit, however many changes come meanwhile, and nobody waits for it; it holds
what is there and no more (free pages are left out). `swap` leaves, whenever the power goes, the old store whole or the
new one whole. `digest` is equal for equal contents, whatever the file looks like.
Refuses: to put a store back under a process that has it open.
Does not: know what a backup file looks like (services/archive); decide what is wrong (services/doctor).

A copy is made by VACUUM INTO, inside one reader's transaction: the log grows meanwhile, for what is copied may not be
folded back. SQLite's backup interface begins again with each change of another connection: on a living city, for ever.
Source: https://www.sqlite.org/lang_vacuum.html#vacuuminto.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from time import monotonic
from typing import Any, Final

import apsw
import orjson

from shahar.store import lock
from shahar.store.lake import File
from shahar.store.migrate import STEPS, migrate, pending
from shahar.values.errors import Conflict, Invalid, Unavailable
from shahar.values.instants import Instant

NAME: Final = "shahar.db"
SCHEMA: Final = len(STEPS)
Progress = Callable[[float], None]
"""Told again and again: the part that is done, 0 to 1."""

_CONTENT: Final[dict[str, str]] = {
    "tenant": "SELECT name, made_at FROM tenant ORDER BY name",
    "entity": "SELECT t.name, e.id, e.gone, e.multi, e.doc FROM entity e JOIN tenant t ON t.pk = e.tenant"
    " ORDER BY e.pk",
    "entity_type": "SELECT e.id, n.text FROM entity_type k JOIN entity e ON e.pk = k.entity"
    " JOIN name n ON n.pk = k.type ORDER BY k.entity, n.text",
    "history": "SELECT e.id, h.at, n.text, coalesce(d.text, ''), h.kind, h.modified_at, h.doc FROM history h"
    " JOIN entity e ON e.pk = h.entity JOIN name n ON n.pk = h.attr LEFT JOIN name d ON d.pk = h.dataset"
    " ORDER BY h.entity, h.at, n.text, coalesce(d.text, ''), h.kind",
    "journal": "SELECT seq, tenant, at, kind, key, what FROM journal ORDER BY seq",
    "consumer": "SELECT name, seq FROM consumer ORDER BY name",
    "record": "SELECT r.kind, t.name, r.key, r.at, r.doc FROM record r JOIN tenant t ON t.pk = r.tenant"
    " ORDER BY r.kind, t.name, r.key",
    "shape": "SELECT t.name, s.shape, s.entities FROM shape s JOIN tenant t ON t.pk = s.tenant"
    " WHERE s.entities > 0 ORDER BY t.name, s.shape",
    "sealed": "SELECT t.name, s.day, s.sha256, s.thinned FROM sealed s JOIN tenant t ON t.pk = s.tenant"
    " WHERE s.file <> '' ORDER BY t.name, s.day",
    "void": "SELECT t.name, v.id, v.attr, v.dataset, v.at, v.kind, v.until FROM void v JOIN tenant t"
    " ON t.pk = v.tenant ORDER BY v.pk",
    "expiry": "SELECT e.id, x.at FROM expiry x JOIN entity e ON e.pk = x.entity ORDER BY x.entity",
    "place_of": "SELECT e.id, n.text FROM place_of p JOIN entity e ON e.pk = p.entity JOIN name n ON n.pk = p.attr"
    " ORDER BY p.entity, n.text",
}
"""What a store holds, by table: rows in words, without the numbers by which tables point at each other."""


_DAYS: Final = "SELECT file, bytes, sha256 FROM sealed WHERE file <> '' ORDER BY tenant, day"


_NEWEST: Final = "SELECT coalesce(max(at), 0) FROM journal"
_DEAD: Final = "SELECT count(*) FROM record WHERE kind = 'dead_letter'"
_LAGS: Final = (
    "SELECT c.name, (SELECT count(*) FROM journal WHERE seq > c.seq),"
    " coalesce((SELECT at FROM journal WHERE seq > c.seq ORDER BY seq LIMIT 1), 0) FROM consumer c ORDER BY 1"
)


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a reader of the journal is behind: rows, and the instant of the oldest that it has not passed."""

    consumer: str
    rows: int
    since: Instant


@dataclass(frozen=True, slots=True)
class Look:
    """What is found in a store's file. `newest`: the instant of the newest change. Of another schema than ours only
    sizes are told.
    """

    schema: int
    bytes: int
    log_bytes: int
    counts: dict[str, int] = field(default_factory=dict)
    newest: Instant = 0
    lags: tuple[Lag, ...] = ()
    dead_letters: int = 0
    days: tuple[File, ...] = ()
    """The files of sealed days, which lie in the lake (store/lake)."""


def copy(source: Path, to: Path, progress: Progress) -> None:
    """Write the store at `source` to the new file `to`, durably. Unavailable when there is no room."""
    with _reading(source, looks=False) as connection:
        whole = max(1, _number(connection, "PRAGMA page_count") * _number(connection, "PRAGMA page_size"))
        failed: list[BaseException] = []

        def work() -> None:
            try:
                connection.execute("VACUUM INTO ?", (str(to),))
            except BaseException as problem:  # fence: told in the thread that asked
                failed.append(problem)

        worker = threading.Thread(target=work, name="store-copy")
        worker.start()
        while worker.is_alive():
            worker.join(0.1)
            progress(min(0.99, _size(to) / whole))
        if failed:
            raise Unavailable(f"the store could not be copied: {failed[0]}") from failed[0]
    with to.open("rb+") as written:
        os.fsync(written.fileno())
    progress(1.0)


def counts(path: Path) -> dict[str, int]:
    """How many rows the tables of a store hold."""
    with _reading(path) as connection:
        return _counts(connection)


def look(path: Path) -> Look:
    """Look into a store, in use or not."""
    with _reading(path) as connection:
        schema = _number(connection, "PRAGMA user_version")
        if schema != SCHEMA:
            return Look(schema, _size(path), _size(_log(path)))
        return looked(lambda question: connection.execute(question).fetchall(), _size(path), _size(_log(path)))


def looked(rows: Callable[[str], list[Any]], size: int, log_size: int = 0) -> Look:
    """What is found in a store of our schema, of either engine, by asking it."""
    (newest,), (dead,) = rows(_NEWEST)[0], rows(_DEAD)[0]
    return Look(
        SCHEMA,
        size,
        log_size,
        {table: int(rows(f"SELECT count(*) FROM {table}")[0][0]) for table in _CONTENT},
        int(newest),
        tuple(Lag(str(name), int(behind), int(since)) for name, behind, since in rows(_LAGS)),
        int(dead),
        tuple(File(*row) for row in rows(_DAYS)),
    )


def days(path: Path) -> tuple[File, ...]:
    """The files of sealed days that a store names, which lie in the lake beside it."""
    with _reading(path) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sealed'").fetchone():
            return ()
        return tuple(File(*row) for row in connection.execute(_DAYS))


def rename_days(path: Path, names: Mapping[str, str]) -> None:
    """Let a store that nobody has open name sealed days by other files."""
    if not names:
        return
    connection = apsw.Connection(str(path))
    try:
        connection.execute("PRAGMA synchronous=FULL").fetchall()
        with connection:
            for old, new in names.items():
                connection.execute("UPDATE sealed SET file = ? WHERE file = ?", (new, old))
    finally:
        connection.close(True)


def check(path: Path, progress: Progress) -> str:
    """Read all of a store; the first fault that is found, empty when it hangs together."""
    with _reading(path) as connection:
        done = 0

        def step() -> bool:
            nonlocal done
            done += 1
            progress(1 - 0.99**done)
            return False

        connection.set_progress_handler(step, 5_000_000)
        told = connection.execute("PRAGMA integrity_check(1)").fetchall()
        connection.set_progress_handler(None)
    progress(1.0)
    return "" if told == [("ok",)] else str(told[0][0])


def digest(path: Path) -> str:
    """SHA-256 over everything that a store holds."""
    total = hashlib.sha256()
    with _reading(path) as connection:
        connection.execute("BEGIN")
        for table, question in _CONTENT.items():
            total.update(table.encode())
            for row in connection.execute(question):
                total.update(orjson.dumps(row))
        connection.execute("COMMIT")
    return total.hexdigest()


def missing(path: Path) -> tuple[str, ...]:
    """What the steps bring that a store has not seen; Unavailable when it is of a later program."""
    with _reading(path) as connection:
        return tuple(step.what for step in pending(connection))


def upgrade(path: Path) -> float:
    """Bring a store that nobody else has open up to date, all steps at once; the seconds that they took."""
    started = monotonic()
    connection = apsw.Connection(str(path))
    try:
        connection.execute("PRAGMA synchronous=FULL").fetchall()
        migrate(connection)
    except apsw.Error as problem:
        raise Unavailable(f"{path} could not be brought up to date: {problem}") from None
    finally:
        connection.close(True)
    return monotonic() - started


@contextmanager
def owning(folder: Path) -> Iterator[None]:
    """Keep every other process from opening the store in `folder`. Conflict when one has it open."""
    held = lock.take(folder / NAME)
    if held is None:
        raise Conflict(f"a shahar process works in {folder}: stop it first", field="data")
    with held:
        yield


def swap(folder: Path, new: Path, aside: str) -> str:
    """Put the store `new`, a file beside it, in the place of the one in `folder`, which is kept under the name `aside`,
    or the next free one like it; that name, empty when there was no store. Whoever calls this owns the folder.
    """
    path = folder / NAME
    kept = ""
    if path.exists():
        _fold_back(path)
        kept = next(name for name in _names(aside) if not (folder / name).exists())
        os.link(path, folder / kept)
    for name in (f"{NAME}-wal", f"{NAME}-shm"):
        (folder / name).unlink(missing_ok=True)
    settle(folder)
    new.replace(path)
    settle(folder)
    return kept


def _names(first: str) -> Iterator[str]:
    return chain([first], (f"{first}-{number}" for number in count(2)))


def settle(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# -- within -----------------------------------------------------------------------------------------------------------


@contextmanager
def _reading(path: Path, *, looks: bool = True) -> Iterator[apsw.Connection]:
    """A connection that only looks (or, for who writes another file, hardly more); Invalid when there is no store at
    `path`.
    """
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    except apsw.Error as problem:
        raise Invalid(f"{path} cannot be opened: {problem}", field="data", rule="a city's data folder") from None
    try:
        connection.set_busy_timeout(10_000)
        connection.execute(f"PRAGMA query_only={int(looks)}").fetchall()
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except apsw.Error as problem:
            raise Invalid(f"{path} is no store: {problem}", field="data", rule="a file of SQLite") from None
        yield connection
    except (apsw.CorruptError, apsw.NotADBError) as problem:
        raise Invalid(f"{path} is broken: {problem}", field="data", rule="restore a backup") from problem
    finally:
        connection.close(True)


def _fold_back(path: Path) -> None:
    """Bring what stands in the log into the file itself, so that the file alone is the whole store."""
    connection = apsw.Connection(str(path))
    try:
        connection.execute("PRAGMA synchronous=FULL").fetchall()
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        connection.close(True)


def _counts(connection: apsw.Connection) -> dict[str, int]:
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    return {table: _number(connection, f"SELECT count(*) FROM {table}") for table in _CONTENT if table in there}


def _number(connection: apsw.Connection, question: str) -> int:
    row: Any = connection.execute(question).fetchone()
    return int(row[0])


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
