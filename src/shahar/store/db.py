"""Connections and the group commit: one writer thread, a few reader threads, one checkpoint thread.

For: making changes durable before they are answered, at rates that one commit a request cannot reach. Changes that
arrive together are applied in the order of their arrival by one writer inside one transaction and made durable by one
fsync; only then are their futures resolved.

Promises
- `await write(work)` returns after the commit that holds the work's rows is on the disk (WAL, synchronous=FULL), or
  raises and
  leaves nothing behind. A work that fails takes nobody with it: when it has written already, the group is rolled back
  and each of its members is done again alone.
- `await read(work)` sees every change that was answered before the call; it never waits for the writer.
- One process owns the file: a second one is refused by a lock, with a sentence.
- Checkpoints are passive and run beside the writer; a log that grows past `WAL_RESTART_PAGES` is folded back by the
  writer itself.

Refuses: a second SQLite library in the process (two libraries on one file corrupt it: POSIX locks are dropped on
close); work that awaits; queries that do not end within their time (TooComplex).

Source: https://www.sqlite.org/wal.html. What was measured: docs/speed.md.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

import apsw

from shahar.store.migrate import migrate
from shahar.values.bounds import CHANGES_WAITING, QUERY_S
from shahar.values.errors import OurFault, ShaharError, TooComplex, Unavailable

T = TypeVar("T")
Row = tuple[Any, ...]
Bindings = Mapping[str, Any] | Sequence[Any]

GROUP_MAX: Final = 1024
QUEUE_MAX: Final = CHANGES_WAITING
READ_TIMEOUT_S: Final = float(QUERY_S)
CHECKPOINT_EVERY_S: Final = 1.0
CHECKPOINT_PAGES: Final = 1_000
WAL_RESTART_PAGES: Final = 65_536


class Tx:
    """One connection inside a transaction, as a work sees it: rows in, rows out."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.memory: dict[str, Any] = {}
        """What rooms of the store remember between works of this connection; emptied when a transaction is rolled back."""

    def rows(self, sql: str, bindings: Bindings = ()) -> list[Row]:
        """Every row of the answer."""
        return self._connection.execute(sql, bindings).fetchall()

    def iterate(self, sql: str, bindings: Bindings = ()) -> Iterable[Row]:
        """The rows one by one, for answers that may be long."""
        return self._connection.execute(sql, bindings)

    def row(self, sql: str, bindings: Bindings = ()) -> Row | None:
        """The first row, or None."""
        found = self._connection.execute(sql, bindings).fetchone()
        return None if found is None else tuple(found)

    def run(self, sql: str, bindings: Bindings = ()) -> int:
        """Do one statement; the number of rows that it changed."""
        before = self._connection.total_changes()
        self._connection.execute(sql, bindings)
        return self._connection.total_changes() - before

    def run_many(self, sql: str, rows: Sequence[Bindings]) -> None:
        """Do one statement for many rows."""
        self._connection.executemany(sql, rows)

    @property
    def changes(self) -> int:
        """Rows changed since the connection was opened; tells whether a failed work had written."""
        return self._connection.total_changes()


@dataclass(slots=True)
class _Job:
    work: Callable[[Tx], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class Counters:
    """What the writer did since the start; read by /metrics."""

    commits: int = 0
    works: int = 0
    works_failed: int = 0
    rollbacks: int = 0
    commit_s: float = 0.0
    largest_group: int = 0


@dataclass(slots=True)
class _Thread:
    connection: apsw.Connection
    tx: Tx


def _translate(problem: apsw.Error) -> ShaharError:
    """Whose fault an engine's error is: the disk and locks pass, the rest is ours."""
    if isinstance(problem, apsw.InterruptError):
        return TooComplex("the query did not end within its time", rule=f"queries end within {READ_TIMEOUT_S:.0f} s")
    if isinstance(problem, (apsw.FullError, apsw.IOError, apsw.BusyError, apsw.CantOpenError, apsw.ReadOnlyError)):
        return Unavailable(f"the store cannot write now: {problem}")
    return OurFault(f"the store failed: {problem}")


@dataclass(slots=True)
class Database:
    """The store's one door to its file.

    `path`: the database file; its folder exists. `readers`: threads that answer queries.
    """

    path: Path
    readers: int = 2
    counters: Counters = field(default_factory=Counters)
    _jobs: queue.SimpleQueue[_Job | None] = field(default_factory=queue.SimpleQueue)
    _waiting: int = 0
    _loop: asyncio.AbstractEventLoop | None = None
    _writer: threading.Thread | None = None
    _checkpointer: threading.Thread | None = None
    _closing: threading.Event = field(default_factory=threading.Event)
    _pool: ThreadPoolExecutor | None = None
    _local: threading.local = field(default_factory=threading.local)
    _opened: list[apsw.Connection] = field(default_factory=list)
    _listeners: list[Callable[[], None]] = field(default_factory=list)
    _lock: Any = None
    _commit: Callable[[apsw.Connection], None] | None = None

    async def open(self) -> None:
        """Take the file, bring its schema up to date, start the threads. Unavailable when another process owns it."""
        self._loop = asyncio.get_running_loop()
        self._take()
        connection = self._connect()
        connection.execute("PRAGMA journal_mode=WAL")
        try:
            migrate(connection)
        except BaseException:
            connection.close()
            self._release()
            raise
        self._pool = ThreadPoolExecutor(self.readers, thread_name_prefix="store-reader")
        self._writer = threading.Thread(
            target=self._write_forever, args=(connection,), name="store-writer", daemon=True
        )
        self._writer.start()
        self._checkpointer = threading.Thread(target=self._checkpoint_forever, name="store-checkpoint", daemon=True)
        self._checkpointer.start()

    async def close(self) -> None:
        """Finish what was accepted, fold the log back, let go of the file."""
        if self._writer is None:
            return
        self._jobs.put(None)
        await asyncio.to_thread(self._writer.join)
        self._closing.set()
        if self._checkpointer is not None:
            await asyncio.to_thread(self._checkpointer.join)
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown)
        for connection in self._opened:
            connection.close(True)
        self._opened.clear()
        self._release()
        self._writer = None

    def running(self) -> bool:
        """Whether the writer takes changes."""
        return self._writer is not None and self._writer.is_alive()

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the event loop after each commit; it must not wait."""
        self._listeners.append(listener)

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Do `work` in the writer, and return when what it wrote is durable. `work` must not wait for anything."""
        if self._writer is None or self._loop is None:
            raise Unavailable("the store is closed")
        if self._waiting >= QUEUE_MAX:
            raise Unavailable("too many changes are waiting", rule=f"at most {QUEUE_MAX} changes wait")
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting += 1
        self._jobs.put(_Job(work, future))
        return await future

    async def read(self, work: Callable[[Tx], T], *, timeout_s: float = READ_TIMEOUT_S) -> T:
        """Do `work` on a reader's snapshot; TooComplex when it does not end within `timeout_s` seconds."""
        if self._pool is None or self._loop is None:
            raise Unavailable("the store is closed")
        return await self._loop.run_in_executor(self._pool, self._read, work, timeout_s)

    def _take(self) -> None:
        self._lock = open(self.path.with_suffix(".lock"), "w")  # noqa: SIM115, PTH123 -- held open as long as we own the file
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise Unavailable(f"{self.path} is in use by another shahar process") from None
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _connect(self, *, readonly: bool = False) -> apsw.Connection:
        try:
            connection = apsw.Connection(str(self.path), statementcachesize=200)
        except apsw.Error as problem:
            raise _translate(problem) from problem
        connection.set_busy_timeout(10_000)
        connection.execute(
            "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY"
        )
        connection.execute(f"PRAGMA cache_size=-{4_000 if readonly else 16_000}")
        if readonly:
            connection.execute("PRAGMA query_only=ON")
        return connection

    # -- the writer ---------------------------------------------------------------------------------------------

    def _write_forever(self, connection: apsw.Connection) -> None:
        tx = Tx(connection)
        closing = False
        while not closing:
            group: list[_Job] = []
            job = self._jobs.get()
            while job is not None:
                group.append(job)
                if len(group) >= GROUP_MAX or self._jobs.empty():
                    break
                job = self._jobs.get()
            closing = job is None
            if group:
                self._do_group(connection, tx, group)
                self._fold_back(connection)
        connection.close(True)

    def _do_group(self, connection: apsw.Connection, tx: Tx, group: list[_Job]) -> None:
        started = monotonic()
        if not self._try_together(connection, tx, group):
            for job in group:
                job.result, job.error = None, None
                self._do_alone(connection, tx, job)
        self.counters.commit_s += monotonic() - started
        self.counters.works += len(group)
        self.counters.largest_group = max(self.counters.largest_group, len(group))
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._deliver, group)

    def _try_together(self, connection: apsw.Connection, tx: Tx, group: list[_Job]) -> bool:
        """Do the group in one transaction; False when it was rolled back and each must be done alone."""
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in group:
                before = tx.changes
                try:
                    job.result = job.work(tx)
                except ShaharError as problem:
                    if tx.changes != before:
                        raise
                    job.error = problem
            self._make_durable(connection)
        except Exception as problem:  # fence: any failure undoes the group; each member then meets its own error alone
            self._undo(connection, tx)
            if len(group) == 1:
                group[0].error = _translate(problem) if isinstance(problem, apsw.Error) else problem
                return True
            return False
        self.counters.commits += 1
        return True

    def _do_alone(self, connection: apsw.Connection, tx: Tx, job: _Job) -> None:
        self._try_together(connection, tx, [job])

    def _make_durable(self, connection: apsw.Connection) -> None:
        if self._commit is not None:  # a planted fault of the tests; see tests/faults
            self._commit(connection)
        else:
            connection.execute("COMMIT")

    def _undo(self, connection: apsw.Connection, tx: Tx) -> None:
        tx.memory.clear()
        self.counters.rollbacks += 1
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def _deliver(self, group: list[_Job]) -> None:
        self._waiting -= len(group)
        for job in group:
            if job.future.cancelled():
                continue
            if job.error is not None:
                self.counters.works_failed += 1
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
        for listener in self._listeners:
            listener()

    # -- readers ------------------------------------------------------------------------------------------------

    def _read(self, work: Callable[[Tx], T], timeout_s: float) -> T:
        thread = self._thread()
        deadline = monotonic() + timeout_s
        thread.connection.set_progress_handler(lambda: monotonic() > deadline, 20_000)
        try:
            thread.connection.execute("BEGIN")
            try:
                return work(thread.tx)
            finally:
                if thread.connection.in_transaction:
                    thread.connection.execute("COMMIT")
        except apsw.Error as problem:
            raise _translate(problem) from problem

    def _thread(self) -> _Thread:
        found: _Thread | None = getattr(self._local, "thread", None)
        if found is None:
            connection = self._connect(readonly=True)
            self._opened.append(connection)
            found = self._local.thread = _Thread(connection, Tx(connection))
        return found

    # -- checkpoints --------------------------------------------------------------------------------------------

    def _checkpoint_forever(self) -> None:
        connection = self._connect()
        while not self._closing.wait(CHECKPOINT_EVERY_S):
            try:
                if self.wal_pages() > CHECKPOINT_PAGES:
                    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.Error:
                continue  # the log grows until a later attempt or the writer's own folding succeeds
        connection.close(True)

    def _fold_back(self, connection: apsw.Connection) -> None:
        if self.counters.commits % 256 == 0 and self.wal_pages() > WAL_RESTART_PAGES:
            try:
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
            except apsw.Error:
                return  # a long reader holds it; the next round tries again

    def wal_pages(self) -> int:
        """Pages in the write-ahead log."""
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size // 4096
        except OSError:
            return 0
