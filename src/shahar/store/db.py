"""The store's one door, whichever engine stands behind it: the group commit, and what a work sees.

For: making changes durable before they are answered, at rates that one commit a request cannot reach. Changes that
arrive together are applied in the order of their arrival by one writer inside one transaction and made durable by one
fsync; only then are their futures resolved. store/sqlite and store/postgres are the engines, store/engines chooses.

Why it is fast. Python runs one thread at a time, and each statement lets the event loop's thread in and has to wait for
it to come out again. So (1) rows that nobody reads meanwhile are put off (`Tx.later`) and written many in one
statement; (2) the answers of a group are told when the next group's statements are done, just before its commit: the
loop reads the next requests while the disk works, and not while the writer thinks. Nobody waits for that when nothing
else is waiting, nor while a work that is `long` is being done.

Promises
- `await write(work)` returns after the commit that holds the work's rows is on the disk, or raises and leaves nothing
  behind. A work that fails takes nobody with it: when it has written already, the group is rolled back and each of its
  members is done again alone. A group whose connection is lost is done again once, on a new one.
- A work sees what the works before it wrote, put off or not: reading and writing at once come after what was put off.
- `await read(work)` sees every change that was answered before the call; it never waits for the writer.
Refuses: work that awaits; queries that do not end within their time (TooComplex).

What was measured: docs/speed.md. Why two engines are one: docs/decisions/011-two-engines.md.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, ClassVar, Final, TypeVar

from shahar.store.dialect import Dialect
from shahar.store.lake import Lake
from shahar.values.bounds import CHANGES_WAITING, QUERY_S
from shahar.values.errors import ShaharError, Unavailable

T = TypeVar("T")
Row = tuple[Any, ...]
Bindings = Mapping[str, Any]
NONE: Final[Bindings] = {}
Ahead = tuple[Callable[["Tx", list[Any]], None], Any]
"""What reads at once what the works of a group will ask for, and what one of them asks for."""

GROUP_MAX: Final = 1024
QUEUE_MAX: Final = CHANGES_WAITING
READ_TIMEOUT_S: Final = float(QUERY_S)
TELL_WITHIN_S: Final = 0.02
ROWS_PUT_OFF: Final = 8_192
NUMBERED: Final = {"entity": "pk", "place_of": "pk", "journal": "seq", "name": "pk", "tenant": "pk"}
"""Tables whose rows the writer numbers, and by which column."""


class Lost(Unavailable):
    """The connection to the engine is gone: nothing of the group is there. `again`: it may be done again at once."""

    told = True
    """The engine says in the log when its server falls and rises: nobody else needs to."""

    def __init__(self, detail: str, *, again: bool = False) -> None:
        super().__init__(detail)
        self.again = again


@dataclass(frozen=True, eq=False, slots=True)
class Bulk:
    """Rows of one kind that may be put off: a table, its columns and of what kind their values are (int, float, str),
    and what is done where a row of the same `key` (so many of the first columns) is there already.

    `last_wins`: of rows with the same first value only the last is written. `sums`: of rows that differ in the last
    value alone one is written, with the sum, and none where it is nothing. `fresh`: none of them can be there already.
    `mostly_new`: hardly one of them will be. `long`: the last column of the key, where its texts may be longer than an
    index takes.
    """

    table: str
    columns: Mapping[str, type]
    conflict: str = ""
    key: int = 0
    last_wins: bool = False
    sums: bool = False
    fresh: bool = False
    mostly_new: bool = False
    long: str = ""
    forms: dict[Any, str] = field(default_factory=dict)
    """The engine's statements for it."""

    def reduced(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows that have to be written."""
        if self.last_wins:
            return list({row[0]: row for row in rows}.values())
        return _summed(rows) if self.sums else rows


def _summed(rows: Sequence[Row]) -> list[Row]:
    sums: Counter[Row] = Counter()
    for *key, number in rows:
        sums[tuple(key)] += number
    return [(*key, number) for key, number in sums.items() if number]


class Tx(ABC):
    """One connection inside a transaction, as a work sees it: rows in, rows out.

    `apart`: what was put off does not concern this statement, so that it need not be written before.
    """

    dialect: ClassVar[Dialect]

    def __init__(self) -> None:
        self._put_off: dict[Bulk, list[Row]] = {}
        self._rows_put_off = self._rows_ever = 0
        self._last: dict[str, int] = {}
        self.settled = 0
        """How many times what was put off has been written or forgotten: tells whether a row is still put off."""
        self.memory: dict[str, Any] = {}
        """What rooms of the store remember between works of this connection; emptied when a transaction is rolled
        back, and when somebody else has changed the store.
        """
        self.known: dict[str, Any] = {}
        """The same, of what never changes once it is there; emptied when a transaction is rolled back."""
        self.lake: Lake | None = None
        """The sealed days, where there is a place for them."""
        self.until: float | None = None
        """When a question must have ended, by the monotonic clock."""
        self.noted = 0
        """The number of the last row of the journal that told of a record; the writer takes it away after each work."""

    @abstractmethod
    def rows(self, sql: str, bindings: Bindings = NONE, *, apart: bool = False) -> list[Row]:
        """Every row of the answer."""

    @abstractmethod
    def iterate(self, sql: str, bindings: Bindings = NONE, *, apart: bool = False) -> Iterable[Row]:
        """The rows one by one, for answers that may be long."""

    @abstractmethod
    def row(self, sql: str, bindings: Bindings = NONE, *, apart: bool = False) -> Row | None:
        """The first row, or None."""

    @abstractmethod
    def run(self, sql: str, bindings: Bindings = NONE, *, apart: bool = False) -> int:
        """Do one statement; the number of rows that it changed."""

    @abstractmethod
    def _write(self, kind: Bulk, rows: Sequence[Row]) -> None:
        """Write rows that were put off."""

    @property
    @abstractmethod
    def changes(self) -> int:
        """Rows changed or put off since the connection was opened; tells whether a failed work had written."""

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
            self._write(kind, kind.reduced(rows))

    def forget(self) -> None:
        """Drop what was put off: the transaction is being rolled back."""
        self._put_off = {}
        self._rows_put_off = 0
        self.settled += 1

    def next(self, table: str, count: int = 1) -> int:
        """The number of a new row, the first of so many: the writer alone makes them."""
        last = self._last.get(table)
        if last is None:
            found = self.row(f"SELECT max({NUMBERED[table]}) FROM {table}")
            last = int(found[0] or 0) if found else 0
        self._last[table] = last + count
        return last + 1

    def numbers(self, last: Mapping[str, int]) -> None:
        """Take note of the last numbers that are there; one that was given and is gone is not given again."""
        self._last = {table: max(number, self._last.get(table, 0)) for table, number in last.items()}

    def distrust(self) -> None:
        """Forget everything that was remembered."""
        self.memory.clear()
        self.known.clear()
        self._last.clear()


@dataclass(slots=True)
class Job:
    """A work that waits for the writer, and what came of it."""

    work: Callable[[Tx], Any]
    future: asyncio.Future[Any]
    long: bool = False
    ahead: Ahead | None = None
    pack: bytes = b""
    noted: int = 0
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class Counters:
    """What the writer did since the start; read by /metrics."""

    commits: int = 0
    commits_elsewhere: int = 0
    works: int = 0
    works_failed: int = 0
    rollbacks: int = 0
    commit_s: float = 0.0
    largest_group: int = 0


class Writing(ABC):
    """The writer's connection, used in the writer's thread alone."""

    tx: Tx

    @abstractmethod
    def begin(self, group: Sequence[Job]) -> None:
        """Begin the transaction of a group."""

    @abstractmethod
    def commit(self) -> None:
        """Make it durable."""

    @abstractmethod
    def undo(self) -> None:
        """Take everything back; it never fails."""

    @abstractmethod
    def rest(self) -> None:
        """What is due between two groups."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""


class Database(ABC):
    """The store's one door. `readers`: threads that answer queries."""

    shared: ClassVar[bool] = False
    """Whether other processes may work on the same store at the same time."""
    packs: ClassVar[bool] = False
    """Whether a small database can be opened beside the store's own (store/packs)."""

    def __init__(self, readers: int = 2) -> None:
        self.readers = readers
        self.counters = Counters()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: threading.Thread | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._listeners: list[Callable[[], None]] = []
        self._untold: list[Job] = []
        self.lake: Lake | None = None
        """Where sealed days lie (store/sealed)."""
        self.others_know: Callable[[int], Awaitable[None]] | None = None
        """Waits until the other processes that work on the store know of the records up to this row of the journal, so
        that whoever is answered here meets no older state there (services/fellows).
        """
        self.ask_others: Callable[[str, str], Awaitable[list[str]]] | None = None
        """Asks these processes something, by name and text, and gives what they answer."""

    async def open(self) -> None:
        """Take hold of the store, bring its schema up to date, start the threads. Unavailable when it is another's."""
        self._loop = asyncio.get_running_loop()
        writing = await self._start()
        self._pool = ThreadPoolExecutor(self.readers, thread_name_prefix="store-reader")
        self._writer = threading.Thread(target=self._write_forever, args=(writing,), name="store-writer", daemon=True)
        self._writer.start()

    async def close(self) -> None:
        """Finish what was accepted and let go of the store."""
        if self._writer is None:
            return
        self._jobs.put(None)
        await asyncio.to_thread(self._writer.join)
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown)
        await self._stop()
        if self.lake is not None:
            self.lake.close()
        self._writer = None

    def running(self) -> bool:
        """Whether the writer takes changes."""
        return self._writer is not None and self._writer.is_alive()

    @property
    def commits(self) -> int:
        """How often the store has changed since the start, by another process too."""
        return self.counters.commits + self.counters.commits_elsewhere

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the event loop after each commit, of another process too; it must not wait."""
        self._listeners.append(listener)

    async def write(
        self, work: Callable[[Tx], T], *, long: bool = False, ahead: Ahead | None = None, pack: bytes = b""
    ) -> T:
        """Do `work` in the writer, and return when what it wrote is durable. `work` must not wait for anything.

        `long`: it may take more than a few milliseconds, so that nobody's answer should wait for it. `ahead`: what
        it will read, for an engine that is asked over a wire: a function that is called once for a whole group.
        `pack`: a database that a long work finds beside ours where the engine `packs`, by the name `pack`.
        """
        if self._writer is None or self._loop is None:
            raise Unavailable("the store is closed")
        if self._waiting >= QUEUE_MAX:
            raise Unavailable("too many changes are waiting", rule=f"at most {QUEUE_MAX} changes wait")
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting += 1
        job = Job(work, future, long, ahead, pack)
        self._jobs.put(job)
        done = await future
        if job.noted and self.others_know is not None:
            await self.others_know(job.noted)
        return done

    async def read(self, work: Callable[[Tx], T], *, timeout_s: float = READ_TIMEOUT_S) -> T:
        """Do `work` on a reader's snapshot; TooComplex when it does not end within `timeout_s` seconds."""
        if self._pool is None or self._loop is None:
            raise Unavailable("the store is closed")
        return await self._loop.run_in_executor(self._pool, self._read, self._timed(work, timeout_s), timeout_s)

    def _timed(self, work: Callable[[Tx], T], timeout_s: float) -> Callable[[Tx], T]:
        """The work as a reader does it: with the lake, which has as much time as the engine."""
        until = monotonic() + timeout_s

        def timed(tx: Tx) -> T:
            tx.lake, tx.until = self.lake, until
            return work(tx)

        return timed

    async def tell(self, _text: str) -> None:
        """Say something, of a few hundred letters at most, to every process that works on the store, this one too."""
        return

    def on_told(self, _listener: Callable[[str], None]) -> None:
        """Call `listener` in the event loop with what is said; it must not wait."""
        return

    async def elect(self, _name: str, _lost: Callable[[], None]) -> bool:
        """Whether this process is, from now on, the one of this name among those that work on the store; `lost` is
        called in the event loop when it no longer is. Who is not asks again later.
        """
        return True

    async def resign(self, _name: str) -> None:
        """Let another process be it."""
        return

    def wal_pages(self) -> int:
        """Pages in the write-ahead log of an engine whose log is ours to fold back; else 0."""
        return 0

    # -- what an engine does ------------------------------------------------------------------------------------------

    @abstractmethod
    async def _start(self) -> Writing:
        """Take hold of the store, bring its schema up to date; the writer's connection."""

    @abstractmethod
    async def _stop(self) -> None:
        """Let go of the store, when the writer and the readers have ended."""

    @abstractmethod
    def _read(self, work: Callable[[Tx], T], timeout_s: float) -> T:
        """Do `work` on a snapshot, in a reader's thread."""

    @abstractmethod
    def _translate(self, problem: Exception) -> Exception:
        """Whose fault an engine's error is; what is not the engine's comes back as it is."""

    # -- the writer ---------------------------------------------------------------------------------------------------

    def _write_forever(self, writing: Writing) -> None:
        for group in self._groups():
            self._do_group(writing, group)
            writing.rest()
        writing.close()

    def _groups(self) -> Iterator[list[Job]]:
        """What is to be done together, until the store closes: all that waits, but a long work alone."""
        group: list[Job] = []
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

    def _do_group(self, writing: Writing, group: list[Job]) -> None:
        started = monotonic()
        if not self._try_together(writing, group):
            for job in group:
                job.result, job.error = None, None
                self._try_together(writing, [job])
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

    def _try_together(self, writing: Writing, group: list[Job], again: bool = True) -> bool:
        """Do the group in one transaction; False when it was rolled back and each must be done alone."""
        tell_at = monotonic() + TELL_WITHIN_S
        tx = writing.tx
        tx.lake = self.lake
        try:
            writing.begin(group)
            for job in group:
                before = tx.changes
                if job.long or monotonic() > tell_at:
                    self._tell()
                try:
                    job.result = job.work(tx)
                except Lost:
                    raise
                except ShaharError as problem:
                    if tx.changes != before:
                        raise
                    job.error = problem
                job.noted, tx.noted = tx.noted, 0
            tx.settle()
            self._tell()
            writing.commit()
        except Exception as problem:  # fence: any failure undoes the group; each member then meets its own error alone
            self._undo(writing)
            return self._failed(writing, group, self._translate(problem), again)
        self.counters.commits += 1
        return True

    def _failed(self, writing: Writing, group: list[Job], problem: Exception, again: bool) -> bool:
        """What becomes of a group that was rolled back; whether that is the end of it."""
        lost = isinstance(problem, Lost)
        if isinstance(problem, Lost) and problem.again and again:
            for job in group:
                job.result, job.error = None, None
            return self._try_together(writing, group, again=False)
        if lost or len(group) == 1:
            for job in group:
                job.error = problem
            return True
        return False

    def _undo(self, writing: Writing) -> None:
        writing.tx.distrust()
        writing.tx.forget()
        self.counters.rollbacks += 1
        writing.undo()

    def _deliver(self, group: list[Job]) -> None:
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
