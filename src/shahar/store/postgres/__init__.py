"""PostgreSQL: several processes on one database, of which one group commits at a time.

A group's transaction begins by taking its turn: a lock that ends with it, and one row that tells whether another
process committed since ours did. So journal numbers have no gap and stand in the order of commits, and what the writer
remembers is true: names stay, all else is dropped when somebody else has written. What the works of a group will ask
for is read at once, before the first of them.

Promises
- An answer means committed, on a server that does not say so before it has written (synchronous_commit).
- A lost connection: the group is done again on a new one; without one its works are Unavailable, at once, until the
  server is back. When it was lost during COMMIT, our own row in `writer` tells what came of it, once the lock shows
  that the old transaction has ended: never lost, never doubled, also after a fail-over.
- A process that stands still within a group loses its turn after `IDLE_S`.
Refuses: a pooler between us and the server that hands connections round (locks and notices belong to sessions).

Why so: docs/decisions/011-two-engines.md.
Source: https://www.postgresql.org/docs/current/explicit-locking.html.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final, TypeVar

from shahar.store.db import NUMBERED, Database, Job, Lost, Tx, Writing
from shahar.store.postgres import line
from shahar.store.postgres.line import Line
from shahar.store.postgres.schema import bring_up
from shahar.store.postgres.tx import PgTx
from shahar.store.postgres.watch import Watch

T = TypeVar("T")

IDLE_S: Final = 30
TURN_S: Final = 60
OUTCOME_S: Final = 20.0
KEPT: Final = "7 days"
_TURN: Final = "SELECT (SELECT max(generation) FROM writer), " + ", ".join(
    f"coalesce((SELECT max({column}) FROM {table}), 0)" for table, column in NUMBERED.items()
)
_WRITES: Final = {
    "idle_in_transaction_session_timeout": f"{IDLE_S}s",
    "lock_timeout": f"{TURN_S}s",
    "statement_timeout": "0",
    "synchronous_commit": "on",
}
_READS: Final = {"default_transaction_read_only": "on", "idle_in_transaction_session_timeout": f"{IDLE_S}s"}


class _Writing(Writing):
    """The writer's connection and whose turn it was last."""

    tx: PgTx

    def __init__(self, db: Postgres, own: Line) -> None:
        self._db = db
        self._line = own
        self.tx = PgTx(own)
        self._generation = -1
        self._before = 0

    def begin(self, group: Sequence[Job]) -> None:
        if not self._line.up:  # the next server may lack what this one had said it keeps
            self._generation = -1
            self.tx.distrust()
        self._db.ready(self._line)
        self._line.script(f"BEGIN; SELECT pg_advisory_xact_lock({self._db.turn})")
        (latest, *numbers) = self._line.fetch(_TURN, {})[0]
        latest = int(latest or 0)
        if latest != self._generation:
            self.tx.memory.clear()
            self._generation = latest
        self.tx.numbers(dict(zip(NUMBERED, numbers, strict=True)))
        self._before = self.tx.changes
        asked: dict[Callable[[Tx, list[Any]], None], list[Any]] = {}
        for job in group:
            if job.ahead is not None:
                asked.setdefault(job.ahead[0], []).append(job.ahead[1])
        for read, keys in asked.items():
            read(self.tx, keys)

    def commit(self) -> None:
        if self.tx.changes == self._before:
            self._line.script("COMMIT")
            return
        mine = self._generation + 1
        try:
            self._line.script(
                f"INSERT INTO writer VALUES('{self._db.process}', {mine}, now()) ON CONFLICT(process)"
                " DO UPDATE SET generation = excluded.generation, seen = excluded.seen;"
                f" NOTIFY {self._db.channel}, '{self._db.process}'; COMMIT"
            )
        except Exception as problem:  # fence: whatever broke the line, the outcome is found out
            if not line.given_up(problem) or not self._committed(mine):
                raise
        self._generation = mine

    def _committed(self, generation: int) -> bool:
        """What came of a COMMIT whose answer was lost. Lost (not to be done again) when it cannot be found out."""
        until = monotonic() + OUTCOME_S
        pause = 0.05
        while monotonic() < until:
            try:
                self._line.connect()
                self._line.script(f"BEGIN; SELECT pg_advisory_xact_lock({self._db.turn})")
                found = self._line.fetch(
                    "SELECT generation FROM writer WHERE process = :process", {"process": self._db.process}
                )
                self._line.script("ROLLBACK")
            except Exception as problem:  # fence: the server is not back yet
                self._db.watch.fell(problem)
                time.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(1.0, pause * 2)
            else:
                return bool(found) and found[0][0] == generation
        raise Lost("the store's server is away; whether this change was made is not known")

    def undo(self) -> None:
        self._generation = -1
        if not self._line.up:
            self._line.drop()
            return
        try:
            self._line.script("ROLLBACK")
        except Exception:  # fence: a line on which nothing can be taken back is dropped, which takes it back
            self._line.drop()

    def rest(self) -> None:
        """Nothing is due."""

    def close(self) -> None:
        self._line.close()


class Postgres(Database):
    """A store in the database at `address` (postgresql://user@host/name)."""

    shared = True

    def __init__(self, address: str, readers: int = 4) -> None:
        super().__init__(readers)
        self._address = address
        self.process = secrets.token_hex(8)
        self.turn = 0
        self.channel = ""
        self.watch: Watch
        self._local = threading.local()
        self._lines: list[Line] = []
        self._lost: dict[str, Callable[[], None]] = {}
        self._hearers: list[Callable[[str], None]] = []

    async def _start(self) -> Writing:
        schema = await self._prepare()
        self.turn = line.key(f"{schema}/turn")
        self.channel = f"shahar_{line.key(f'{schema}/heard') & 0xFFFF_FFFF:x}"
        self.watch = Watch(self._address, schema, self.channel, self.process, self._heard, self._lose, self._said)
        self.watch.start()
        return _Writing(self, Line(self._address, **_WRITES))

    async def _prepare(self) -> str:
        connection = await line.connected(self._address)
        try:
            schema = await bring_up(connection)
            await connection.execute(
                f"DELETE FROM writer WHERE seen < now() - interval '{KEPT}'"
                " AND generation < (SELECT max(generation) FROM writer)"
            )
        except line.FAILURES as problem:
            raise line.translated(problem) from problem
        finally:
            connection.terminate()
        return schema

    async def _stop(self) -> None:
        await asyncio.to_thread(self.watch.stop)
        await asyncio.to_thread(self._hang_up)

    def _hang_up(self) -> None:
        for one in self._lines:
            one.close()
        self._lines.clear()

    def ready(self, own: Line) -> None:
        """A connection on this line. Lost at once while the server is known to be away."""
        if own.up:
            return
        if self.watch.down:
            raise Lost("the store's server is away")
        try:
            own.connect()
        except Lost as problem:
            self.watch.fell(problem)
            raise

    async def write(self, work: Callable[[Tx], T], **how: Any) -> T:
        if self._writer is not None and self.watch.down:
            raise Lost("the store's server is away")
        return await super().write(work, **how)

    def _translate(self, problem: Exception) -> Exception:
        return line.translated(problem)

    # -- readers ------------------------------------------------------------------------------------------------------

    def _read(self, work: Callable[[Tx], T], timeout_s: float) -> T:
        tx = self._reader()
        try:
            return self._ask(tx, work, timeout_s)
        except Lost as problem:
            if not problem.again:
                raise
            return self._ask(tx, work, timeout_s)

    def _ask(self, tx: PgTx, work: Callable[[Tx], T], timeout_s: float) -> T:
        own: Line = self._local.line
        if not own.up:
            tx.distrust()
        self.ready(own)
        tx.deadline = monotonic() + timeout_s
        try:
            own.script(
                "BEGIN ISOLATION LEVEL REPEATABLE READ;"
                f" SET LOCAL statement_timeout = {max(1, round(timeout_s * 1000))}"
            )
            try:
                return work(tx)
            finally:
                if own.up:
                    own.script("COMMIT")
        except Exception as problem:  # fence: told by whose fault it is
            told = line.translated(problem)
            if isinstance(told, Lost):
                own.drop()
                tx.distrust()
            if told is problem:
                raise
            raise told from problem

    def _reader(self) -> PgTx:
        found: PgTx | None = getattr(self._local, "tx", None)
        if found is None:
            own = self._local.line = Line(self._address, **_READS)
            self._lines.append(own)
            found = self._local.tx = PgTx(own)
        return found

    # -- others -------------------------------------------------------------------------------------------------------

    async def elect(self, name: str, lost: Callable[[], None]) -> bool:
        self._lost[name] = lost
        won = await asyncio.wrap_future(self.watch.elect(name))
        if not won:
            self._lost.pop(name, None)
        return won

    async def resign(self, name: str) -> None:
        self._lost.pop(name, None)
        await asyncio.wrap_future(self.watch.resign(name))

    async def tell(self, text: str) -> None:
        await asyncio.wrap_future(self.watch.say(text))

    def on_told(self, listener: Callable[[str], None]) -> None:
        self._hearers.append(listener)

    def _said(self, text: str) -> None:
        if self._loop is not None:
            for listener in self._hearers:
                self._loop.call_soon_threadsafe(listener, text)

    def _heard(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._elsewhere)

    def _elsewhere(self) -> None:
        self.counters.commits_elsewhere += 1
        for listener in self._listeners:
            listener()

    def _lose(self, names: set[str]) -> None:
        if self._loop is not None:
            for name in names:
                if (told := self._lost.pop(name, None)) is not None:
                    self._loop.call_soon_threadsafe(told)
