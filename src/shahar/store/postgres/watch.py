"""Whether the server is there: a thread with a connection of its own, which also hears of others' commits and holds
what we were elected for.

Promises: a server that falls is logged once, and once when it rises; meanwhile it is asked again with a growing,
jittered pause. Whoever was elected is told when that is lost with the connection.
Does not: read or write rows.

Source: https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS, .../sql-notify.html.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import asyncpg
import structlog
import uvloop

from shahar.store.db import Lost
from shahar.store.postgres import line

log = structlog.get_logger(__name__)

PING_S: Final = 3.0
PAUSE_S: Final = (0.1, 2.0)
"""The first pause between attempts and the longest."""


def used(schema: str) -> int:
    """The lock that every process holds together with the others that work in this store."""
    return line.key(f"{schema}/used")


class Watch:
    """`heard` is called after each commit of another process, `lost` with the names of what we were elected for, `said`
    with what a process says to all; each in the watch's thread.
    """

    def __init__(
        self,
        address: str,
        schema: str,
        channel: str,
        process: str,
        heard: Callable[[], None],
        lost: Callable[[set[str]], None],
        said: Callable[[str], None],
    ) -> None:
        self._address = address
        self._used = used(schema)
        self._channel = channel
        self._process = process
        self._heard, self._lost, self._said = heard, lost, said
        self._loop = uvloop.new_event_loop()
        self._stir = asyncio.Event()
        self._turn = asyncio.Lock()
        self._stopping = False
        self._connection: asyncpg.Connection | None = None
        self._elected: set[str] = set()
        self._saying = threading.Lock()
        self._fell_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="store-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End; what we were elected for is free for others."""
        self._stopping = True
        self._loop.call_soon_threadsafe(self._stir.set)
        self._thread.join()

    @property
    def down(self) -> bool:
        """Whether the server is known to be away."""
        return self._fell_at is not None

    def fell(self, problem: BaseException) -> None:
        """Take note that the server is away; from any thread."""
        with self._saying:
            first, self._fell_at = self._fell_at is None, self._fell_at or monotonic()
        if first and not self._stopping:
            log.error("the store's server fell", server=line.shown(self._address), problem=str(problem))
            self._loop.call_soon_threadsafe(self._stir.set)

    def _rose(self) -> None:
        with self._saying:
            since, self._fell_at = self._fell_at, None
        if since is not None:
            log.info("the store's server rose", server=line.shown(self._address), after_s=round(monotonic() - since, 1))

    def say(self, text: str) -> Future[None]:
        """Say something to every process, this one too. Lost."""
        return asyncio.run_coroutine_threadsafe(self._say(text), self._loop)

    async def _say(self, text: str) -> None:
        await self._ask("SELECT pg_notify($1, $2)", f"{self._channel}_said", text)

    # -- elections ----------------------------------------------------------------------------------------------------

    def elect(self, name: str) -> Future[bool]:
        """Whether we are, from now on, the one process of this name."""
        return asyncio.run_coroutine_threadsafe(self._elect(name), self._loop)

    def resign(self, name: str) -> Future[None]:
        """Let another be it."""
        return asyncio.run_coroutine_threadsafe(self._resign(name), self._loop)

    async def _elect(self, name: str) -> bool:
        if name in self._elected:
            return True
        try:
            won = await self._ask(f"SELECT pg_try_advisory_lock({self._key(name)})")
        except Lost:
            return False
        if won:
            self._elected.add(name)
        return bool(won)

    async def _resign(self, name: str) -> None:
        if name in self._elected:
            self._elected.discard(name)
            with suppress(Lost):  # then it is free already
                await self._ask(f"SELECT pg_advisory_unlock({self._key(name)})")

    async def _ask(self, question: str, *given: str) -> Any:
        """Ask on our connection, one question after the other. Lost."""
        async with self._turn:
            connection = self._connection
            if connection is None:
                raise Lost("the store's server is away")
            try:
                return await asyncio.wait_for(connection.fetchval(question, *given), PING_S)
            except line.FAILURES as problem:
                connection.terminate()  # what came of the question is not known, and the server forgets it now
                self._stir.set()
                raise Lost(f"the store's server is away: {problem}") from problem

    def _key(self, name: str) -> int:
        return line.key(f"{self._channel}/elected/{name}")

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._loop.run_until_complete(self._watch())
        self._loop.close()

    async def _watch(self) -> None:
        pause = PAUSE_S[0]
        while not self._stopping:
            try:
                connection = await self._connected()
            except Exception as problem:  # fence: whatever it was, it is tried again
                self.fell(problem)
                await self._wait(pause * random.uniform(0.5, 1.5))
                pause = min(pause * 2, PAUSE_S[1])
                continue
            pause = PAUSE_S[0]
            self._connection = connection
            self._rose()
            self._heard()
            await self._stay(connection)
            self._let_go(connection)

    async def _connected(self) -> asyncpg.Connection:
        """A connection that hears, and holds what shows that the store is in use."""
        connection = await line.connected(self._address, application_name="shahar watch")
        try:
            if not await connection.fetchval(f"SELECT pg_try_advisory_lock_shared({self._used})"):
                raise Lost("the database is being filled by shahar move or restore")
            await connection.add_listener(self._channel, self._told)
            await connection.add_listener(f"{self._channel}_said", self._hear)
            connection.add_termination_listener(lambda _: self._stir.set())
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _stay(self, connection: asyncpg.Connection) -> None:
        """Return when the connection is gone, the server is said to be away, or we stop."""
        while not self._stopping and not self.down and not connection.is_closed():
            await self._wait(PING_S)
            try:
                await self._ask("SELECT 1")
            except Lost:
                return

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stir.wait(), seconds)
        except TimeoutError:
            return
        self._stir.clear()

    def _let_go(self, connection: asyncpg.Connection) -> None:
        self._connection = None
        connection.terminate()
        lost, self._elected = self._elected, set()
        if lost and not self._stopping:
            self._lost(lost)

    def _hear(self, _connection: Any, _process: int, _channel: str, payload: Any) -> None:
        self._said(str(payload))

    def _told(self, _connection: Any, _process: int, _channel: str, payload: Any) -> None:
        if payload != self._process:
            self._heard()
