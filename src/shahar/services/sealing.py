"""Seals the days that are over: moves them out of the store into the lake, and thins what retention says.

A day is sealed when it is `hot_days` old; what comes for it later stays in the store, overrides the sealed part, and is
sealed with it at the next look. What was taken out of a sealed day is out of its file after that, too.
Promises: killed at any moment, the past is what it was before or after, never between (store/moving); other writers
wait for no more than a thousand rows; a file that is valid no more is kept `KEPT_S`, for questions and backups that
still read it; a torn file stops its own day alone.
Does not: read the clock; run in more than one process on one store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import orjson
import structlog

from shahar.services import retention
from shahar.services.retention import Rule
from shahar.store import moving, tenants
from shahar.store.db import Database
from shahar.store.lake import Lake, Made, Spool, Thinning
from shahar.values.errors import ShaharError
from shahar.values.instants import DAY, SECOND, Instant, text

FIRST_S: Final = 60.0
TICK_S: Final = 3_600.0
KEPT_S: Final = 86_400
WAIT_S: Final = 300.0
TELL_DAYS: Final = 30
"""After how many days a long look tells how far it is."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Done:
    """What a look has brought: days sealed (again), days thinned, instances moved, days that could not be sealed."""

    sealed: int = 0
    thinned: int = 0
    moved: int = 0
    failed: int = 0


class Sealing:
    """The look; `now()` is the city's clock, `hot_days` how many whole days stay in the store."""

    def __init__(self, db: Database, lake: Lake, now: Callable[[], Instant], hot_days: int) -> None:
        self._db, self._lake, self._now, self._hot_days = db, lake, now, hot_days
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look, a while after the start."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Look no more; what was begun is left as it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        failed = False
        await asyncio.sleep(FIRST_S)
        while True:
            try:
                await self.look(self._now())
            except Exception as problem:  # fence: what was not sealed is sealed at the next look
                if not failed:
                    log.error("sealing fell", exc_info=problem)
                failed = True
            else:
                if failed:
                    log.info("sealing rose")
                failed = False
            await asyncio.sleep(WAIT_S if failed else TICK_S)

    async def look(self, at: Instant) -> Done:
        """Seal what is due at an instant, of every tenant."""
        await asyncio.to_thread(self._lake.tidy)
        await self._sweep(at)
        done = Done()
        for tenant, name in (await self._db.read(tenants.names)).items():
            rules = await self._db.read(partial(retention.rules, tenant=tenant))
            await self._tenant(_Tenant(tenant, name), rules, at, done)
        if done != Done():
            log.info("sealed", days=done.sealed, thinned=done.thinned, instances=done.moved, failed=done.failed)
        return done

    async def _tenant(self, of: _Tenant, rules: Sequence[Rule], at: Instant, done: Done) -> None:
        await self._take_out(of, at, done)
        for day in await self._db.read(lambda tx: moving.days_with_marks(tx, of.number)):
            await self._try(of, day, at, done)
        since, before = -moving.EVER, (at // DAY - self._hot_days) * DAY
        while (first := await self._oldest(of, since, before)) is not None:
            since = (first // DAY + 1) * DAY
            await self._try(of, first // DAY, at, done)
        for day, file, thinned in await self._db.read(lambda tx: moving.days(tx, of.number)):
            due = retention.due(rules, at // DAY - day)
            told = orjson.dumps([(one.type, one.every, one.method) for one in due]).decode()
            if due and told != thinned and not self._lake.fault(file):
                await self._try(of, day, at, done, due, told)

    async def _take_out(self, of: _Tenant, at: Instant, done: Done) -> None:
        """Write the files anew that hold something that was taken out of all days."""
        marks, last = await self._db.read(lambda tx: moving.wide_marks(tx, of.number))
        if not marks:
            return
        failed = done.failed
        for day, file, _ in await self._db.read(lambda tx: moving.days(tx, of.number)):
            if await asyncio.to_thread(self._lake.holds, file, marks):
                await self._try(of, day, at, done)
            elif self._lake.fault(file):
                done.failed += 1
        if done.failed == failed:
            await self._db.write(lambda tx: moving.drop_wide_marks(tx, of.number, last))

    async def _oldest(self, of: _Tenant, since: Instant, before: Instant) -> Instant | None:
        """The first instant in [since, before) that history knows of any entity."""
        found: Instant | None = None
        after: str | None = ""
        while after is not None:
            until = before if found is None else found
            look = partial(moving.oldest, tenant=of.number, since=since, before=until, after=after)
            first, after = await self._db.read(look)
            found = first if first is not None else found
        return found

    async def _try(
        self, of: _Tenant, day: int, at: Instant, done: Done, thinning: Sequence[Thinning] = (), told: str = ""
    ) -> None:
        """Seal a day; what fails stops this day alone."""
        try:
            moved = await self._seal(of, day, at, thinning, told)
        except ShaharError as problem:
            done.failed += 1
            log.warning("a day was not sealed", tenant=of.name, day=text(day * DAY)[:10], why=str(problem))
            return
        done.moved += moved
        done.thinned += bool(thinning)
        done.sealed += not thinning
        if (done.sealed + done.thinned) % TELL_DAYS == 0:
            log.info("sealing", tenant=of.name, day=text(day * DAY)[:10], days=done.sealed, thinned=done.thinned)

    async def _seal(self, of: _Tenant, day: int, at: Instant, thinning: Sequence[Thinning], told: str) -> int:
        """Write the day's file anew: what it holds and, unless it is thinned, what the store holds of it."""
        mark = await self._db.write(lambda tx: moving.begin(tx, of.number, day))
        spool = await asyncio.to_thread(self._lake.spool, f"{of.number}-{day}")
        try:
            if not thinning:
                await self._fill(of, day, spool)
            old, void = await self._db.read(
                lambda tx: (moving.file_of(tx, of.number, day), moving.void(tx, of.number, day, mark))
            )
            made = await asyncio.to_thread(self._lake.write, of.name, day, old, spool, void, thinning)
            await self._db.write(lambda tx: moving.switch(tx, of.number, day, made, mark, told, at))
            return await self._settle(of, day, made, spool if old else None) if made and spool.rows else 0
        finally:
            await asyncio.to_thread(spool.remove)

    async def _fill(self, of: _Tenant, day: int, spool: Spool) -> None:
        after: moving.Place | None = moving.START
        while after is not None:
            lines, after = await self._db.read(partial(moving.spooled, tenant=of.number, day=day, after=after))
            await asyncio.to_thread(spool.take, lines)
        await asyncio.to_thread(spool.close)

    async def _settle(self, of: _Tenant, day: int, made: Made, spool: Spool | None) -> int:
        """Take out of the store what the new file gives back."""
        moved = 0
        lists = self._lake.read_back(made.file, spool)
        while (rows := await asyncio.to_thread(next, lists, None)) is not None:
            moved += await self._db.write(partial(moving.settle, tenant=of.number, day=day, rows=rows), long=True)
        return moved

    async def _sweep(self, at: Instant) -> None:
        """Take away files that have been valid no more for long enough, also those of a sealing that was killed."""
        names = await asyncio.to_thread(self._lake.names)
        await self._db.write(lambda tx: moving.note_outdated(tx, names, at))
        old = await self._db.read(lambda tx: moving.outdated(tx, at - KEPT_S * SECOND))
        for name in old:
            await asyncio.to_thread(self._lake.remove, name)
        if old:
            await self._db.write(lambda tx: moving.forget_outdated(tx, old))


@dataclass(frozen=True, slots=True)
class _Tenant:
    number: int
    name: str
