"""Lets transient entities and attributes end: looks for what has ended and has it deleted like anything else.

Promises: what has an end is gone at most `TICK_S` and the time of the deletion after it, also what ended while the
program did not run; each deletion goes through broker.apply, with tombstone, journal row and notifications, in works of
`CHUNK` entities. Costs one look at the store's counters a tick while nothing changes.
Does not: hide what has ended in the moment before it is deleted (clause 4.22 allows that it lags).
Source: ETSI GS CIM 009 clause 4.22.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from shahar.model.change import Change
from shahar.services.broker import Broker
from shahar.store import expiries
from shahar.values.errors import NotFound, ShaharError
from shahar.values.instants import Instant

TICK_S: Final = 0.25
WAIT_S: Final = 10.0
CHUNK: Final = 50

log = structlog.get_logger(__name__)


class Transience:
    """The sweep; `now()` is the city's clock."""

    def __init__(self, broker: Broker, now: Callable[[], Instant]) -> None:
        self._broker = broker
        self._now = now
        self._task: asyncio.Task[None] | None = None
        self._commits = -1
        self._next: Instant | None = None

    async def start(self) -> None:
        """Begin to look, at first for what ended meanwhile."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def sweep(self, at: Instant) -> int:
        """Have everything deleted that has ended by `at`; how many entities were concerned."""
        met = 0
        while found := await self._broker.db.read(lambda tx: expiries.due(tx, at, CHUNK)):
            for tenant in dict.fromkeys(tenant for tenant, _ in found):
                await self._expire(tenant, [entity_id for owner, entity_id in found if owner == tenant], at)
            met += len(found)
        return met

    async def _expire(self, tenant: str, ids: list[str], at: Instant) -> None:
        for outcome in await self._broker.apply(tenant, [Change("expire", entity_id) for entity_id in ids], at):
            if isinstance(outcome, ShaharError) and not isinstance(outcome, NotFound):
                raise outcome

    async def _run(self) -> None:
        failed = False
        while True:
            try:
                await self._look(self._now())
            except Exception as problem:  # fence: what has ended is looked for again, whatever happened
                if not failed:
                    log.error("the sweep of what has ended fell", exc_info=problem)
                failed = True
            else:
                if failed:
                    log.info("the sweep of what has ended rose")
                failed = False
            await asyncio.sleep(WAIT_S if failed else TICK_S)

    async def _look(self, at: Instant) -> None:
        commits = self._broker.db.commits
        if commits != self._commits:
            self._next = await self._broker.db.read(expiries.first)
            self._commits = commits
        if self._next is not None and self._next <= at:
            await self.sweep(at)
