"""The other processes that work on the same store, and what each has in memory of its records.

The theory. A record (a registration, a device, a key ...) that a request needs is answered from memory. Where several
processes share a store, each follows the journal's rows of records and takes in what the others wrote. A change of a
record is answered only when every other process has said that it took it in (`store/db.Database.others_know`), so that
whoever is answered by one and asks another meets no older state. Records change seldom; entities are never waited for,
as they are read from the store. What no record tells (how a subscription stands this moment, how often a context was
used) is asked of the others (`ask`).

Promises: a process that is gone, or silent for `GONE_S`, is waited for no more; one that does not take in what changed
within `KNOW_S` is told in the log, once, and holds nobody up longer. What cannot be taken in now is tried again. Who is
asked and does not answer within `ASKED_S` is left out.
Does nothing where one process owns the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import uuid4

import structlog

from shahar.store import journal
from shahar.store.db import Database
from shahar.values.errors import ShaharError

ALIVE_S: Final = 0.5
GONE_S: Final = 2.0
KNOW_S: Final = 2.0
ASKED_S: Final = 1.0
ROWS: Final = 1_000

log = structlog.get_logger(__name__)

Answering = Callable[[str], Awaitable[str]]
"""What a process answers when it is asked something; a few hundred letters at most, as the question."""

Changed = tuple[str, str]
"""Tenant and key of a record that was written or dropped."""


class Follower(Protocol):
    """A service that holds records in memory."""

    @property
    def follows(self) -> Collection[str]:
        """The kinds of records."""
        ...

    async def follow(self, changed: Sequence[Changed]) -> None:
        """Take in what these records are now; doing so again changes nothing."""
        ...


@dataclass(slots=True)
class _Other:
    seen: int
    heard: float


class Fellows:
    """`start` before the services take up what they hold, `follow` when they have."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._name = uuid4().hex
        self._place = 0
        self._others: dict[str, _Other] = {}
        self._followers: Sequence[Follower] = ()
        self._woken = asyncio.Event()
        self._heard = asyncio.Event()
        self._late: set[str] = set()
        self.answering: dict[str, Answering] = {}
        """By the name of what is asked."""
        self._asked: dict[str, dict[str, str]] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Remember from where on the journal has to be followed."""
        if self._db.shared:
            self._place = await self._db.read(journal.last_seq)
            self._db.on_told(self._hear)
            self._db.on_commit(self._woken.set)

    async def follow(self, followers: Sequence[Follower]) -> None:
        """Take in what others write from now on, and what they wrote since `start`."""
        if self._db.shared:
            self._followers = followers
            await self._take_in()
            self._db.others_know, self._db.ask_others = self._known, self.ask
            self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._live())]

    async def stop(self) -> None:
        """Follow no more; the others hear that we are gone."""
        self._db.others_know = self._db.ask_others = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            await self._say("gone")
        self._tasks = []

    # -- what is told ---------------------------------------------------------------------------------------------

    def _hear(self, text: str) -> None:
        name, _, seen = text.partition(" ")
        if name == self._name:
            return
        if seen.isdecimal():
            self._others[name] = _Other(int(seen), asyncio.get_running_loop().time())
        elif seen == "gone":
            self._others.pop(name, None)
        elif seen.startswith("answer "):
            _, number, answer = seen.split(" ", 2)
            if number in self._asked:
                self._asked[number][name] = answer
        elif seen.startswith("ask "):
            task = asyncio.get_running_loop().create_task(self._answer(*seen.split(" ", 3)[1:]))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)
        self._heard.set()

    async def _answer(self, number: str, what: str, text: str) -> None:
        try:
            await self._say(f"answer {number} {await self.answering[what](text)}")
        except Exception as problem:  # fence: who asked goes on without us
            log.warning("another process is not answered", what=what, problem=str(problem))

    async def ask(self, what: str, text: str = "") -> list[str]:
        """What every other living process answers; none where no other works on the store."""
        self._living()
        if not self._others:
            return []
        number = uuid4().hex
        came = self._asked[number] = {}
        loop = asyncio.get_running_loop()
        until = loop.time() + ASKED_S
        try:
            await self._say(f"ask {number} {what} {text}")
            while self._living() - came.keys() and (left := until - loop.time()) > 0:
                self._heard.clear()
                try:
                    await asyncio.wait_for(self._heard.wait(), min(left, ALIVE_S))
                except TimeoutError:
                    continue
        finally:
            del self._asked[number]
        return list(came.values())

    async def _say(self, what: str) -> None:
        try:
            await self._db.tell(f"{self._name} {what}")
        except ShaharError:
            return  # the store is out of reach, and says so; the next beat tries again

    async def _live(self) -> None:
        while True:
            await self._say(str(self._place))
            await asyncio.sleep(ALIVE_S)

    async def _known(self, seq: int) -> None:
        """Return when every other living process has taken in the records up to this row."""
        loop = asyncio.get_running_loop()
        until = loop.time() + KNOW_S
        while waiting := self._behind(seq):
            left = until - loop.time()
            if left <= 0:
                for name in waiting - self._late:
                    log.warning("another process does not take in what changed", process=name, seq=seq)
                self._late |= waiting
                return
            self._heard.clear()
            try:
                await asyncio.wait_for(self._heard.wait(), min(left, ALIVE_S))
            except TimeoutError:
                continue
        self._late.clear()

    def _living(self) -> set[str]:
        now = asyncio.get_running_loop().time()
        for name in [name for name, other in self._others.items() if now - other.heard > GONE_S]:
            del self._others[name]
        return set(self._others)

    def _behind(self, seq: int) -> set[str]:
        return {name for name in self._living() if self._others[name].seen < seq}

    # -- what is taken in -----------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        failing = False
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                if await self._take_in():
                    await self._say(str(self._place))
                failing = False
            except Exception as problem:  # fence: what cannot be taken in now is tried again
                if not failing and not getattr(problem, "told", False):  # a server that is away is said by the engine
                    log.error("records of others not taken in", exc_info=problem)
                failing = True
                self._woken.set()
                await asyncio.sleep(ALIVE_S)

    async def _take_in(self) -> bool:
        """Take in what was written behind our place; whether that was anything."""
        met = False
        while rows := await self._db.read(lambda tx: journal.records_after(tx, self._place, ROWS)):
            for follower in self._followers:
                kinds = {f"{kind}.{act}" for kind in follower.follows for act in ("put", "dropped")}
                changed = dict.fromkeys((tenant, key) for _, tenant, kind, key in rows if kind in kinds)
                if changed:
                    await follower.follow(list(changed))
            self._place, met = rows[-1][0], True
        return met
