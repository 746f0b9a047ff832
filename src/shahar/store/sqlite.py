"""SQLite: one file, one writer thread, a few reader threads, one checkpoint thread.

Promises
- What is committed is on the disk (WAL, synchronous=FULL).
- One process owns the file: a second one is refused by a lock, with a sentence.
- Checkpoints are passive and run beside the writer; a log that grows past `WAL_RESTART_PAGES` is folded back by the
  writer itself.
Refuses: a second SQLite library in the process (two libraries on one file corrupt it: POSIX locks are dropped on
close).

Source: https://www.sqlite.org/wal.html.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import IO, Final, TypeVar

import apsw
import structlog

from shahar.store import lock
from shahar.store.db import NONE, READ_TIMEOUT_S, Bindings, Bulk, Database, Job, Row, Tx, Writing
from shahar.store.dialect import SQLITE
from shahar.store.migrate import migrate
from shahar.values.errors import OurFault, TooComplex, Unavailable

T = TypeVar("T")

log = structlog.get_logger(__name__)

ROSE_S: Final = 2.0
"""So long nothing was refused before it is said that the disk takes writes again: a nearly full one takes some."""
CHECKPOINT_EVERY_S: Final = 1.0
CHECKPOINT_PAGES: Final = 1_000
WAL_RESTART_PAGES: Final = 65_536
_TOGETHER: Final = (64, 8, 1)
"""Rows of one statement: few enough forms to be remembered by the connection, long enough to be worth one. The inserts
say OR FAIL: a failing statement leaves rows behind, which the rollback of the whole transaction takes away.
"""


def _statement(kind: Bulk, rows: int) -> str:
    """The statement for so many rows."""
    found = kind.forms.get(rows)
    if found is None:
        one = f"({', '.join('?' * len(kind.columns))})"
        insert = f"INSERT OR FAIL INTO {kind.table}({', '.join(kind.columns)})"
        found = kind.forms[rows] = f"{insert} VALUES {', '.join([one] * rows)} {kind.conflict}"
    return found


class LiteTx(Tx):
    """A transaction of SQLite."""

    dialect = SQLITE

    def __init__(self, connection: apsw.Connection) -> None:
        super().__init__()
        self._connection = connection
        self._execute = connection.execute

    def rows(self, sql: str, bindings: Bindings = NONE, *, apart: bool = False) -> list[Row]:
        if self._put_off and not apart:
            self.settle()
        return self._execute(sql, bindings).fetchall()

    def iterate(self, sql: str, bindings: Bindings = NONE, *, apart: bool = False) -> Iterable[Row]:
        if self._put_off and not apart:
            self.settle()
        return self._execute(sql, bindings)

    def row(self, sql: str, bindings: Bindings = NONE, *, apart: bool = False) -> Row | None:
        if self._put_off and not apart:
            self.settle()
        found = self._execute(sql, bindings).fetchone()
        return None if found is None else tuple(found)

    def run(self, sql: str, bindings: Bindings = NONE, *, apart: bool = False) -> int:
        if self._put_off and not apart:
            self.settle()
        before = self._connection.total_changes()
        self._execute(sql, bindings)
        return self._connection.total_changes() - before

    def _write(self, kind: Bulk, rows: Sequence[Row]) -> None:
        done = 0
        for size in _TOGETHER:
            statement = _statement(kind, size)
            while len(rows) - done >= size:
                self._execute(statement, tuple(chain.from_iterable(rows[done : done + size])))
                done += size

    @property
    def changes(self) -> int:
        return self._connection.total_changes() + self._rows_ever


@dataclass(slots=True)
class _Reader:
    connection: apsw.Connection
    tx: LiteTx


class CannotWrite(Unavailable):
    """The disk refuses: it is full, failing, or not to be written."""

    told = True
    """The store says in the log when its disk falls and rises: nobody else needs to."""


class _Writing(Writing):
    """The writer's connection."""

    def __init__(self, db: Sqlite, connection: apsw.Connection) -> None:
        self._db = db
        self._connection = connection
        self.tx = LiteTx(connection)
        connection.execute("ATTACH ':memory:' AS pack")

    def begin(self, group: Sequence[Job]) -> None:
        if group[0].pack:
            self._connection.deserialize("pack", group[0].pack)
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._connection.execute("COMMIT")
        self._db.wrote()

    def undo(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def rest(self) -> None:
        """Fold the log back when it has grown long."""
        if self._db.counters.commits % 256 == 0 and self._db.wal_pages() > WAL_RESTART_PAGES:
            try:
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
            except apsw.Error:
                return  # a long reader holds it; the next round tries again

    def close(self) -> None:
        self._connection.close(True)


class Sqlite(Database):
    """A store in the file at `path`; its folder exists."""

    packs = True

    def __init__(self, path: Path, readers: int = 2) -> None:
        super().__init__(readers)
        self.path = path
        self._checkpointer: threading.Thread | None = None
        self._closing = threading.Event()
        self._local = threading.local()
        self._opened: list[apsw.Connection] = []
        self._lock: IO[str] | None = None
        self._fell_at: float | None = None

    async def _start(self) -> Writing:
        self._lock = lock.take(self.path)
        if self._lock is None:
            raise Unavailable(f"{self.path} is in use by another shahar process")
        connection = self._connect()
        connection.execute("PRAGMA journal_mode=WAL")
        try:
            migrate(connection)
        except BaseException:
            connection.close()
            self._release()
            raise
        self._checkpointer = threading.Thread(target=self._checkpoint_forever, name="store-checkpoint", daemon=True)
        self._checkpointer.start()
        return _Writing(self, connection)

    async def _stop(self) -> None:
        self._closing.set()
        if self._checkpointer is not None:
            await asyncio.to_thread(self._checkpointer.join)
        for connection in self._opened:
            connection.close(True)
        self._opened.clear()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _connect(self, *, readonly: bool = False) -> apsw.Connection:
        try:
            connection = apsw.Connection(str(self.path), statementcachesize=200)
        except apsw.Error as problem:
            raise self._translate(problem) from problem
        connection.set_busy_timeout(10_000)
        pragmas = ["synchronous=FULL", "wal_autocheckpoint=0", "foreign_keys=ON", "temp_store=MEMORY"]
        pragmas += ["cache_size=-4000", "query_only=ON"] if readonly else ["cache_size=-16000"]
        for pragma in pragmas:  # each alone: of several in one text those behind one that answers are not done
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection

    def _translate(self, problem: Exception) -> Exception:
        """Whose fault an error is: the disk and locks pass, the rest is ours."""
        if not isinstance(problem, apsw.Error):
            return problem
        if isinstance(problem, apsw.InterruptError):
            rule = f"queries end within {READ_TIMEOUT_S:.0f} s"
            return TooComplex("the query did not end within its time", rule=rule)
        if isinstance(problem, (apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError)):
            if self._fell_at is None:
                log.error("the store cannot write", file=str(self.path), problem=str(problem))
            self._fell_at = monotonic()
            return CannotWrite(f"the store cannot write now: {problem}")
        if isinstance(problem, apsw.BusyError):
            return Unavailable(f"the store cannot write now: {problem}")
        return OurFault(f"the store failed: {problem}")

    def wrote(self) -> None:
        """Something was committed; said once when it is the first for a while after the disk refused."""
        if self._fell_at is not None and monotonic() - self._fell_at > ROSE_S:
            self._fell_at = None
            log.info("the store writes again", file=str(self.path))

    # -- readers ------------------------------------------------------------------------------------------------------

    def _read(self, work: Callable[[Tx], T], timeout_s: float) -> T:
        reader = self._reader()
        deadline = monotonic() + timeout_s
        reader.connection.set_progress_handler(lambda: monotonic() > deadline, 20_000)
        try:
            reader.connection.execute("BEGIN")
            try:
                return work(reader.tx)
            finally:
                if reader.connection.in_transaction:
                    reader.connection.execute("COMMIT")
        except apsw.Error as problem:
            raise self._translate(problem) from problem

    def _reader(self) -> _Reader:
        found: _Reader | None = getattr(self._local, "reader", None)
        if found is None:
            connection = self._connect(readonly=True)
            self._opened.append(connection)
            found = self._local.reader = _Reader(connection, LiteTx(connection))
        return found

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def _checkpoint_forever(self) -> None:
        connection = self._connect()
        while not self._closing.wait(CHECKPOINT_EVERY_S):
            try:
                if self.wal_pages() > CHECKPOINT_PAGES:
                    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.Error:
                continue  # the log grows until a later attempt or the writer's own folding succeeds
        connection.close(True)

    def wal_pages(self) -> int:
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size // 4096
        except OSError:
            return 0
