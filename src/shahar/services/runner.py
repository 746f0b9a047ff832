"""The runner: hands every row of the journal to those who act on it, in order, at least once, restart or not.

For: all consequences of a change (notifications, alarms, the live stream). A consumer has a name and a place in the
journal; what is behind its place it never sees again, what is before it it will see.

Promises
- Entries come in the journal's order, in batches, each batch after `take` of the one before has returned.
- A consumer that raises is behind a fence: it is logged once when it falls and once when it rises, gets the same batch
  again after a growing, jittered wait, and stops nobody else.
- A place is made durable at most `SAVE_EVERY_S` after it was reached, and when the runner stops: a killed process
  repeats that much and no more. Places are written together, in the group commit of whoever writes at that moment.
- A new consumer begins at the journal's end. One that says that it wants nothing costs nothing: its place is moved
  along without reading.
- Who is at the journal's end shares one reading of it with the others who are there.
- Listeners (`listen`) get what commits after they began, bounded: one that is too slow is given `LOST` in the place of
  what it missed, never a silent gap. They have no place and survive nothing.
- Rows that everybody has passed and that are old enough are dropped (store/journal.prune).

A consumer whose work goes on after `take` has returned implements `Lagging` besides: `settle(seq)` says up to where it
has truly finished, and what is to be written in the same transaction as the place.

Where several processes share a store each has a runner, and one of them employs the consumers (services/duty).

Does not: read a clock (`now` is given to it); know what an entry means.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

import structlog

from shahar.store import journal
from shahar.store.db import Database, Tx
from shahar.store.journal import Entry
from shahar.values.errors import ShaharError
from shahar.values.instants import Instant

__all__ = ["LOST", "Consumer", "Entry", "Lagging", "Listening", "Lost", "Runner", "Settled"]

BATCH: Final = 256
SAVE_EVERY_S: Final = 0.5
PRUNE_EVERY_S: Final = 600.0
PRUNES_MAX: Final = 100
LISTENER_MAX: Final = 1_000
STOP_S: Final = 1.0
GATHER_S: Final = 0.01
"""What commits within this time after a pause is read together: a reading costs as much for one row as for fifty."""
_FIRST_WAIT_S: Final = 0.25
_LONGEST_WAIT_S: Final = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Settled:
    """Up to where a consumer has finished; `save` is done in the transaction of the place, `kept` called after it."""

    seq: int
    save: Callable[[Tx], None] | None = None
    kept: Callable[[], None] | None = None


class Consumer(Protocol):
    """Somebody who acts on entries."""

    @property
    def name(self) -> str:
        """Under which the place is remembered; never changed once it has run."""
        ...

    async def take(self, entries: Sequence[Entry]) -> None:
        """Act on the entries; when this returns they will not come again, when it raises they will."""
        ...


@runtime_checkable
class Lagging(Protocol):
    """A consumer that takes into memory more than it has finished."""

    def wants(self) -> bool:
        """Whether entries are of any use now; asked in the writer's thread too, so that it only looks."""
        ...

    def settle(self, seq: int) -> Settled:
        """Of what was taken up to `seq`: what is finished, and what is to be kept about the rest."""
        ...


class Lost:
    """Stands in a listener's stream for entries that it was too slow for."""

    def __repr__(self) -> str:
        return "LOST"


LOST: Final = Lost()


class Listening:
    """One listener's stream: an async iterator of entries, with LOST where some were dropped; `close` ends it."""

    def __init__(self, runner: Runner, most: int) -> None:
        self._runner = runner
        self._most = most
        self._waiting: deque[Entry | Lost] = deque()
        self._ready = asyncio.Event()
        self._closed = False

    def __aiter__(self) -> Listening:
        return self

    async def __anext__(self) -> Entry | Lost:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._waiting.popleft()

    def put(self, entries: Sequence[Entry]) -> None:
        """More entries; beyond the bound what waits is dropped and LOST takes its place."""
        if len(self._waiting) + len(entries) > self._most:
            self._waiting.clear()
            self._waiting.append(LOST)
        else:
            self._waiting.extend(entries)
        self._ready.set()

    def close(self) -> None:
        """End the stream; what waits is still given out."""
        self._closed = True
        self._ready.set()
        self._runner.forget(self)


@dataclass(slots=True)
class _Reader:
    """One consumer on its way through the journal. `kept`: its place is durable; `stored`: where it last was."""

    consumer: Consumer
    kept: bool = True
    place: int = 0
    stored: int = 0
    failures: int = 0
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    lagging: Lagging | None = None

    def wants(self) -> bool:
        return self.lagging is None or self.lagging.wants()

    def settled(self) -> Settled:
        return Settled(self.place) if self.lagging is None else self.lagging.settle(self.place)


def _reader(consumer: Consumer, *, kept: bool = True) -> _Reader:
    return _Reader(consumer, kept, lagging=consumer if isinstance(consumer, Lagging) else None)


class Runner:
    """Reads the journal for its consumers; `now()` is the clock that pruning goes by."""

    def __init__(self, db: Database, now: Callable[[], Instant], consumers: Sequence[Consumer] = ()) -> None:
        self._db = db
        self._now = now
        self._listeners: list[Listening] = []
        self._live = _reader(_Feed(self._listeners), kept=False)
        self._readers = [self._live]
        self._first = consumers
        self._saving: asyncio.Task[None] | None = None
        self._keeping = asyncio.Lock()
        self._ring: deque[Entry] = deque(maxlen=BATCH)
        self._reading = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._commits = -1
        self._listening = False

    async def start(self) -> None:
        """Begin: for listeners, and for the consumers that were given at the making."""
        self._stopping.clear()
        if not self._listening:
            self._db.on_commit(self._wake)
            self._listening = True
        self._readers = [self._live]
        self._begin([self._live], {}, await self._db.read(journal.last_seq))
        if self._first:
            await self.employ(self._first)
        self._saving = asyncio.create_task(self._save_forever())

    async def employ(self, consumers: Sequence[Consumer]) -> None:
        """Take up each consumer's place, and hand it what is behind it from now on."""
        new = [_reader(consumer) for consumer in consumers]
        names = [reader.consumer.name for reader in [*self._readers, *new] if reader.kept]
        if len(set(names)) != len(names):
            raise ValueError("two consumers have the same name")
        places, end = await self._db.write(lambda tx: _begin(tx, names))
        self._readers[:0] = new
        self._begin(new, places, end)

    def _begin(self, readers: Sequence[_Reader], places: Mapping[str, int], end: int) -> None:
        for reader in readers:
            reader.place = reader.stored = places.get(reader.consumer.name, end)
            reader.leaving.clear()
            reader.task = asyncio.create_task(self._run(reader))

    async def dismiss(self) -> None:
        """Hand the consumers nothing more; within two seconds, places saved."""
        leaving = [reader for reader in self._readers if reader.kept]
        await self._leave(leaving)
        self._readers = [self._live]

    async def _leave(self, readers: Sequence[_Reader]) -> None:
        """End the reading for these; a batch that is being taken is waited for a second."""
        for reader in readers:
            reader.leaving.set()
            reader.woken.set()
        tasks = [reader.task for reader in readers if reader.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._save_or_say()

    async def stop(self) -> None:
        """End within two seconds, places saved."""
        self._stopping.set()
        for listener in list(self._listeners):
            listener.close()
        await self._leave(self._readers)
        if self._saving is not None:
            await asyncio.gather(self._saving, return_exceptions=True)
            self._saving = None

    def listen(self, most: int = LISTENER_MAX) -> Listening:
        """A stream of the entries that commit from now on (a few that did just before may come too)."""
        listener = Listening(self, most)
        self._listeners.append(listener)
        self._live.woken.set()
        return listener

    def forget(self, listener: Listening) -> None:
        """Feed a listener no more."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def lag(self) -> dict[str, int]:
        """How far each consumer's place is behind the newest entry that anybody here has read."""
        end = max(reader.place for reader in self._readers)
        return {reader.consumer.name: end - reader.place for reader in self._readers if reader.kept}

    def _wake(self) -> None:
        for reader in self._readers:
            reader.woken.set()

    # -- reading ------------------------------------------------------------------------------------------------

    async def _run(self, reader: _Reader) -> None:
        while not reader.leaving.is_set():
            reader.woken.clear()
            if not reader.wants() or not await self._step(reader):
                await reader.woken.wait()
                await asyncio.sleep(GATHER_S)

    async def _step(self, reader: _Reader) -> bool:
        """Hand one batch over; False when there is none."""
        try:
            entries = await self._entries(reader.place)
            if not entries:
                return False
            await reader.consumer.take(entries)
        except Exception as problem:  # fence: a failing consumer is tried again and stops nobody else
            await self._fell(reader, problem)
            return True
        reader.place = entries[-1].seq
        if reader.failures:
            log.info("consumer rose", consumer=reader.consumer.name, after=reader.failures)
            reader.failures = 0
        return True

    async def _fell(self, reader: _Reader, problem: Exception) -> None:
        if not reader.failures:
            log.error("consumer fell", consumer=reader.consumer.name, seq=reader.place, exc_info=problem)
        reader.failures += 1
        wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(reader.failures - 1, 16)) * random.uniform(0.5, 1.0)
        try:
            await asyncio.wait_for(reader.leaving.wait(), wait_s)
        except TimeoutError:
            return

    async def _entries(self, after: int) -> list[Entry]:
        """The batch behind number `after`, from what was just read when it is there."""
        async with self._reading:
            ring = self._ring
            if ring and ring[0].seq - 1 <= after < ring[-1].seq:
                return [entry for entry in ring if entry.seq > after]
            found = await self._db.read(lambda tx: journal.read(tx, after, BATCH))
            if found and (not ring or after >= ring[-1].seq):
                ring.clear()
                ring.extend(found)
            elif not found:
                ring.clear()  # everybody who is here has had them; those behind read for themselves
            return found

    # -- places -------------------------------------------------------------------------------------------------

    async def _save_forever(self) -> None:
        prune_s = PRUNE_EVERY_S / 10
        while not self._stopping.is_set():
            try:
                await asyncio.wait_for(self._stopping.wait(), SAVE_EVERY_S)
            except TimeoutError:
                prune_s -= SAVE_EVERY_S
            await self._save_or_say(prune=prune_s <= 0)
            prune_s = PRUNE_EVERY_S if prune_s <= 0 else prune_s

    async def save(self) -> None:
        """Write now what would be written within `SAVE_EVERY_S`."""
        await self._save_or_say()

    async def _save_or_say(self, *, prune: bool = False) -> None:
        try:
            async with self._keeping:
                await self._save()
            if prune:
                await self._prune()
        except ShaharError as problem:
            log.warning("places not saved", problem=str(problem))

    async def _save(self) -> None:
        """Write the places that moved; nothing when none did."""
        idle = [reader for reader in self._readers if not reader.wants()]
        settled = [(reader, reader.settled()) for reader in self._readers if reader.kept and reader not in idle]
        moved = [(reader, one) for reader, one in settled if one.seq > reader.stored or one.save is not None]
        stirred = bool(idle) and self._db.commits != self._commits
        if not moved and not stirred:
            return
        kept_idle = [reader for reader in idle if reader.kept]
        skipped: list[_Reader] = []
        if moved or kept_idle:
            end, skipped = await self._db.write(lambda tx: _passed(tx, moved, kept_idle))
        else:
            end = await self._db.read(journal.last_seq)
        self._commits = self._db.commits
        for reader, one in moved:
            reader.stored = max(reader.stored, one.seq)
            if one.kept is not None:
                one.kept()
        for reader in idle:
            if reader in skipped or (not reader.kept and not reader.wants()):
                reader.place = reader.stored = max(end, reader.place)

    async def _prune(self) -> None:
        now = self._now()
        for _ in range(PRUNES_MAX):
            if await self._db.write(lambda tx: journal.prune(tx, now)) < journal.PRUNE_ROWS:
                return


class _Feed:
    """The consumer that feeds the listeners."""

    name = "live"

    def __init__(self, listeners: list[Listening]) -> None:
        self._listeners = listeners

    def wants(self) -> bool:
        return bool(self._listeners)

    def settle(self, seq: int) -> Settled:
        return Settled(seq)

    async def take(self, entries: Sequence[Entry]) -> None:
        for listener in list(self._listeners):
            listener.put(entries)


def _begin(tx: Tx, names: Sequence[str]) -> tuple[dict[str, int], int]:
    """Every consumer's place, and the journal's end, where a new one begins."""
    end = journal.last_seq(tx)
    places = {}
    for name in names:
        place = journal.place(tx, name)
        if place is None:
            journal.passed(tx, name, end)
        places[name] = end if place is None else place
    return places, end


def _passed(tx: Tx, moved: Sequence[tuple[_Reader, Settled]], idle: Sequence[_Reader]) -> tuple[int, list[_Reader]]:
    """In the writer: places and what goes with them; who still wants nothing is moved to the journal's end."""
    for reader, one in moved:
        journal.passed(tx, reader.consumer.name, one.seq)
        if one.save is not None:
            one.save(tx)
    end = journal.last_seq(tx)
    skipped = [reader for reader in idle if not reader.wants()]
    for reader in skipped:
        journal.passed(tx, reader.consumer.name, end)
    return end, skipped
