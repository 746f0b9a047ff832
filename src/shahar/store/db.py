"""Connections and the group commit: one writer thread, a few reader threads, one checkpoint thread.

For: making changes durable before they are answered, at rates that one commit a request cannot reach. Changes that
arrive together are applied in the order of their arrival by one writer inside one transaction and made durable by one
fsync; only then are their futures resolved.

Why it is fast. Python runs one thread at a time, and each statement lets the event loop's thread in and has to wait for
it to come out again. So (1) rows that nobody reads meanwhile are put off (`Tx.later`) and written many in one
statement; (2) the answers of a group are told when the next group's statements are done, just before its commit: the
loop reads the next requests while the disk works, and not while the writer thinks. Nobody waits for that when nothing
else is waiting, nor while a work that is `long` is being done.

Promises
- `await write(work)` returns after the commit that holds the work's rows is on the disk (WAL, synchronous=FULL), or
  raises and leaves nothing behind. A work that fails takes nobody with it: when it has written already, the group is
  rolled back and each of its members is done again alone.
- A work sees what the works before it wrote, put off or not: reading and writing at once come after what was put off.
- `await read(work)` sees every change that was answered before the call; it never waits for the writer.
- One process owns the file: a second one is refused by a lock, with a sentence.
- Checkpoints are passive and run beside the writer; a log that grows past `WAL_RESTART_PAGES` is folded back by the
  writer itself.

Refuses: a second SQLite library in the process (two libraries on one file corrupt it: POSIX locks are dropped on
close); work that awaits; queries that do not end within their time (TooComplex).

Source: https://www.sqlite.org/wal.html.
What was measured: docs/speed.md.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import IO, Any, Final, TypeVar

import apsw

from shahar.store import lock
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
TELL_WITHIN_S: Final = 0.02
ROWS_PUT_OFF: Final = 8_192
_TOGETHER: Final = (64, 8, 1)
"""Rows of one statement: few enough forms to be remembered by the connection, long enough to be worth one. The inserts
say OR FAIL: a failing statement leaves rows behind, which the rollback of the whole transaction takes away.
"""


@dataclass(frozen=True, eq=False, slots=True)
class Bulk:
    """Rows of one kind that may be put off: `insert` such as "INSERT INTO t(a, b)", of `columns` values, and what
    follows them.

    `last_wins`: of rows with the same first value only the last is written. `sums`: of rows that differ in the last
    value alone one is written, with the sum, and none where it is nothing.
    """

    insert: str
    columns: int
    conflict: str = ""
    last_wins: bool = False
    sums: bool = False
    _statements: dict[int, str] = field(default_factory=dict)

    def statement(self, rows: int) -> str:
        """The statement for so many rows."""
        found = self._statements.get(rows)
        if found is None:
            one = f"({', '.join('?' * self.columns)})"
            found = f"{self.insert} VALUES {', '.join([one] * rows)} {self.conflict}"
            self._statements[rows] = found
        return found


def _summed(rows: Sequence[Row]) -> list[Row]:
    sums: Counter[Row] = Counter()
    for *key, number in rows:
        sums[tuple(key)] += number
    return [(*key, number) for key, number in sums.items() if number]


class Tx:
    """One connection inside a transaction, as a work sees it: rows in, rows out.

    `apart`: what was put off does not concern this statement, so that it need not be written before.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._put_off: dict[Bulk, list[Row]] = {}
        self._rows_put_off = self._rows_ever = 0
        self.settled = 0
        """How many times what was put off has been written or forgotten: tells whether a row is still put off."""
        self.memory: dict[str, Any] = {}
        """What rooms of the store remember between works of this connection; emptied when a transaction is rolled
        back.
        """

    def rows(self, sql: str, bindings: Bindings = (), *, apart: bool = False) -> list[Row]:
        """Every row of the answer."""
        if self._put_off and not apart:
            self.settle()
        return self._execute(sql, bindings).fetchall()

    def iterate(self, sql: str, bindings: Bindings = (), *, apart: bool = False) -> Iterable[Row]:
        """The rows one by one, for answers that may be long."""
        if self._put_off and not apart:
            self.settle()
        return self._execute(sql, bindings)

    def row(self, sql: str, bindings: Bindings = (), *, apart: bool = False) -> Row | None:
        """The first row, or None."""
        if self._put_off and not apart:
            self.settle()
        found = self._execute(sql, bindings).fetchone()
        return None if found is None else tuple(found)

    def run(self, sql: str, bindings: Bindings = (), *, apart: bool = False) -> int:
        """Do one statement; the number of rows that it changed."""
        if self._put_off and not apart:
            self.settle()
        before = self._connection.total_changes()
        self._execute(sql, bindings)
        return self._connection.total_changes() - before

    def later(self, kind: Bulk, rows: Sequence[Row]) -> None:
        """Put off rows until the end of the group, or until somebody reads or the waiting ones are many."""
        self._put_off.setdefault(kind, []).extend(rows)
        self._rows_ever += len(rows)
        self._rows_put_off += len(rows)
        if self._rows_put_off >= ROWS_PUT_OFF:
            self.settle()

    def settle(self) -> None:
        """Write what was put off, kind by kind in the order in which they came."""
        if not self._put_off:
            return
        waiting = self._put_off
        self.forget()
        for kind, rows in waiting.items():
            if kind.last_wins:
                rows = list({row[0]: row for row in rows}.values())
            elif kind.sums:
                rows = _summed(rows)
            self._write(kind, rows)

    def forget(self) -> None:
        """Drop what was put off: the transaction is being rolled back."""
        self._put_off = {}
        self._rows_put_off = 0
        self.settled += 1

    def _write(self, kind: Bulk, rows: Sequence[Row]) -> None:
        done = 0
        for size in _TOGETHER:
            statement = kind.statement(size)
            while len(rows) - done >= size:
                self._execute(statement, tuple(chain.from_iterable(rows[done : done + size])))
                done += size

    @property
    def changes(self) -> int:
        """Rows changed or put off since the connection was opened; tells whether a failed work had written."""
        return self._connection.total_changes() + self._rows_ever


@dataclass(slots=True)
class _Job:
    work: Callable[[Tx], Any]
    future: asyncio.Future[Any]
    long: bool = False
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
    _untold: list[_Job] = field(default_factory=list)
    _lock: IO[str] | None = None

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

    async def write(self, work: Callable[[Tx], T], *, long: bool = False) -> T:
        """Do `work` in the writer, and return when what it wrote is durable. `work` must not wait for anything.

        `long`: it may take more than a few milliseconds, so that nobody's answer should wait for it.
        """
        if self._writer is None or self._loop is None:
            raise Unavailable("the store is closed")
        if self._waiting >= QUEUE_MAX:
            raise Unavailable("too many changes are waiting", rule=f"at most {QUEUE_MAX} changes wait")
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting += 1
        self._jobs.put(_Job(work, future, long))
        return await future

    async def read(self, work: Callable[[Tx], T], *, timeout_s: float = READ_TIMEOUT_S) -> T:
        """Do `work` on a reader's snapshot; TooComplex when it does not end within `timeout_s` seconds."""
        if self._pool is None or self._loop is None:
            raise Unavailable("the store is closed")
        return await self._loop.run_in_executor(self._pool, self._read, work, timeout_s)

    def _take(self) -> None:
        self._lock = lock.take(self.path)
        if self._lock is None:
            raise Unavailable(f"{self.path} is in use by another shahar process")

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
        pragmas = ["synchronous=FULL", "wal_autocheckpoint=0", "foreign_keys=ON", "temp_store=MEMORY"]
        pragmas += ["cache_size=-4000", "query_only=ON"] if readonly else ["cache_size=-16000"]
        for pragma in pragmas:  # each alone: of several in one text those behind one that answers are not done
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection

    # -- the writer ---------------------------------------------------------------------------------------------

    def _write_forever(self, connection: apsw.Connection) -> None:
        tx = Tx(connection)
        for group in self._groups():
            self._do_group(connection, tx, group)
            self._fold_back(connection)
        connection.close(True)

    def _groups(self) -> Iterator[list[_Job]]:
        """What is to be done together, until the store closes: all that waits, but a long work alone."""
        group: list[_Job] = []
        while True:
            if group and (group[-1].long or len(group) >= GROUP_MAX or self._jobs.empty()):
                yield group
                group = []
            if self._jobs.empty():
                self._tell()
            job = self._jobs.get()
            if group and (job is None or job.long):
                yield group
                group = []
            if job is None:
                self._tell()
                return
            group.append(job)

    def _do_group(self, connection: apsw.Connection, tx: Tx, group: list[_Job]) -> None:
        started = monotonic()
        if not self._try_together(connection, tx, group):
            for job in group:
                job.result, job.error = None, None
                self._do_alone(connection, tx, job)
        self.counters.commit_s += monotonic() - started
        self.counters.works += len(group)
        self.counters.largest_group = max(self.counters.largest_group, len(group))
        self._untold += group

    def _tell(self) -> None:
        """Let the loop answer those whose changes are durable."""
        if self._untold:
            told, self._untold = self._untold, []
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._deliver, told)

    def _try_together(self, connection: apsw.Connection, tx: Tx, group: list[_Job]) -> bool:
        """Do the group in one transaction; False when it was rolled back and each must be done alone."""
        tell_at = monotonic() + TELL_WITHIN_S
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in group:
                before = tx.changes
                if job.long or monotonic() > tell_at:
                    self._tell()
                try:
                    job.result = job.work(tx)
                except ShaharError as problem:
                    if tx.changes != before:
                        raise
                    job.error = problem
            tx.settle()
            self._tell()
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
        connection.execute("COMMIT")

    def _undo(self, connection: apsw.Connection, tx: Tx) -> None:
        tx.memory.clear()
        tx.forget()
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
