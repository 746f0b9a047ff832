"""A duty: work that one process alone does of all that share a store, such as telling subscribers.

For: assembly. Where one process owns the store it has every duty from its start to its end. Where several share one the
first to ask has it; when that one ends, or loses sight of the store, another takes it up within seconds.
Promises: who has lost a duty puts it down at once; what was under way may be done again by the next (at least once).
Does not: know what the work is; elect (store/db).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from shahar.store.db import Database

AGAIN_S: Final = 1.0

log = structlog.get_logger(__name__)

Act = Callable[[], Awaitable[None]]


class Duty:
    """The duty `name`: `take_up` begins the work, `put_down` ends it; neither is called while the other runs."""

    def __init__(self, db: Database, name: str, take_up: Act, put_down: Act) -> None:
        self._db = db
        self.name = name
        self._take_up, self._put_down = take_up, put_down
        self._lost = asyncio.Event()
        self._waiting: asyncio.Task[None] | None = None
        self.held = False

    async def start(self) -> None:
        """Take it up when nobody else has it; else wait for it beside."""
        await self._try()
        if self._db.shared:
            self._waiting = asyncio.create_task(self._wait())

    async def stop(self) -> None:
        """Put it down, and let another take it up."""
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.gather(self._waiting, return_exceptions=True)
            self._waiting = None
        if self.held:
            self.held = False
            await self._put_down()
            await self._db.resign(self.name)

    async def _try(self) -> None:
        self._lost.clear()
        if await self._db.elect(self.name, self._lost.set):
            self.held = True
            await self._take_up()
            if self._db.shared:
                log.info("duty taken up", duty=self.name)

    async def _wait(self) -> None:
        fallen = False
        while True:
            try:
                if self.held:
                    await self._lost.wait()
                    self.held = False
                    log.warning("duty lost", duty=self.name)
                    await self._put_down()
                await asyncio.sleep(AGAIN_S * random.uniform(0.5, 1.0))
                await self._try()
                fallen = False
            except Exception as problem:  # fence: whatever keeps us from it, another may, and we try again
                if not fallen:
                    log.warning("duty not taken up", duty=self.name, problem=str(problem))
                fallen = True
                await self._give_back()

    async def _give_back(self) -> None:
        """What could not be taken up whole is put down, for another to try."""
        if self.held:
            self.held = False
            await self._put_down()
            await self._db.resign(self.name)
