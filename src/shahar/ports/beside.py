"""A process of ours beside ours, which reads batches (model/bulk): questions go in, answers come out, in order.

For: the second core. It is started when the first batch comes and ends when none came for a while, so that a quiet city
pays nothing for it; while it starts, and when it is busy or broken, `ask` says so at once and the asker does the work
itself.
Promises: it ends with us, however we end (its standard input closes); a question that is not answered in time ends it.
It is told nothing but questions: no secret, no setting, no file of ours.
Does not: know what is asked (ports/reader, the other process's own room, hands it to `model/bulk`).

Questions and answers lie in memory that both share, a slot for each; over the pipes goes only how long they are. An
answer of megabytes over a pipe wakes the loop a hundred times, and each time it may have to wait for the writer.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import sys
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from shahar.values.errors import Unavailable

T = TypeVar("T")

READER: Final = "shahar.ports.reader"
SLOTS: Final = 4
ANSWER_AT: Final = 8 << 20
"""Where in a slot the answer begins: no question is longer."""
SLOT_BYTES: Final = 40 << 20
MEMORY_BYTES: Final = SLOTS * SLOT_BYTES
"""Addresses; memory is taken by what is written alone, and given back when the process ends."""
ANSWER_S: Final = 20.0
IDLE_S: Final = 60.0
AGAIN_S: Final = 30.0
"""How long after an unwanted end no new process is started."""
_STOP_S: Final = 1.0
_KEPT: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "LC_ALL")

_log = structlog.get_logger(__name__)


class Beside:
    """The process, started and ended as it is needed."""

    def __init__(self, *, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._process: asyncio.subprocess.Process | None = None
        self._memory: mmap.mmap | None = None
        self._free: list[int] = []
        self._work: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._waiting: deque[asyncio.Future[int]] = deque()

    @property
    def pid(self) -> int | None:
        """The process's number while it takes questions."""
        return self._process.pid if self._memory is not None and self._process is not None else None

    async def ask(self, question: bytes, take: Callable[[memoryview], T]) -> T:
        """What `take` makes of the answer, which is there only for it; Unavailable while the process starts, is busy or
        broken, and when question or answer is too long.
        """
        loop = asyncio.get_running_loop()
        if self._work is None and loop.time() >= self._not_before:
            self._work = asyncio.create_task(self._live())
        process, memory = self._process, self._memory
        if memory is None or process is None or process.stdin is None or not self._free or len(question) > ANSWER_AT:
            raise Unavailable("the reading process takes no such question now")
        slot = self._free.pop()
        start = slot * SLOT_BYTES
        memory[start : start + len(question)] = question
        future: asyncio.Future[int] = loop.create_future()
        self._waiting.append(future)
        process.stdin.write(slot.to_bytes(8, "big") + len(question).to_bytes(8, "big"))
        try:
            length = await asyncio.wait_for(asyncio.shield(future), ANSWER_S)
        except (TimeoutError, asyncio.CancelledError) as left:
            future.add_done_callback(lambda done: self._release(memory, slot, done))
            if isinstance(left, asyncio.CancelledError):
                raise
            self._end(f"no answer within {ANSWER_S:.0f} s")
            raise Unavailable("the reading process did not answer in time") from None
        try:
            if not length:
                raise Unavailable("the answer is too long")
            with memoryview(memory) as whole, whole[start + ANSWER_AT : start + ANSWER_AT + length] as answer:
                return take(answer)
        finally:
            self._release(memory, slot, future)

    def _release(self, memory: mmap.mmap, slot: int, done: asyncio.Future[int]) -> None:
        """Let a slot be used again, unless its process has ended meanwhile."""
        answered = not done.cancelled() and done.exception() is None
        if answered and memory is self._memory:
            self._free.append(slot)

    async def close(self) -> None:
        """End it."""
        self._not_before = float("inf")
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def _live(self) -> None:
        """One life of the process, from its start to its end."""
        why = ""
        try:
            shared = os.memfd_create("shahar-batches")
            try:
                os.ftruncate(shared, MEMORY_BYTES)
                memory = mmap.mmap(shared, MEMORY_BYTES)
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", READER, *map(str, (shared, MEMORY_BYTES, SLOT_BYTES, ANSWER_AT))),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    env={name: os.environ[name] for name in _KEPT if name in os.environ},
                    pass_fds=(shared,),
                    start_new_session=True,  # a signal from the terminal is for us alone
                )
            finally:
                os.close(shared)
            await self._hear(self._process, memory)
        except (OSError, asyncio.IncompleteReadError) as problem:
            why = str(problem)
        finally:
            self._memory, self._work = None, None
            while self._waiting:
                _settle(self._waiting.popleft(), None)
            await self._gone(why)

    async def _hear(self, process: asyncio.subprocess.Process, memory: mmap.mmap) -> None:
        """Tell each who waits how long the answer is, until nobody asked for a while."""
        assert process.stdout is not None
        await process.stdout.readexactly(8)
        self._memory, self._free = memory, list(range(SLOTS))
        while True:
            coming = asyncio.ensure_future(process.stdout.readexactly(8))
            try:
                while not (await asyncio.wait({coming}, timeout=self._idle_s))[0]:
                    if not self._waiting:
                        return
            finally:
                coming.cancel()
            length = int.from_bytes(coming.result(), "big")
            _settle(self._waiting.popleft(), length)

    async def _gone(self, why: str) -> None:
        process, self._process = self._process, None
        if why:
            self._not_before = max(self._not_before, asyncio.get_running_loop().time() + AGAIN_S)
            _log.warning("reading process ended; batches are read here", why=why)
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _STOP_S)
        except (TimeoutError, asyncio.CancelledError):
            process.kill()
            await process.wait()

    def _end(self, why: str) -> None:
        """Kill a process that does not answer; its life ends by the closed pipe."""
        if self._process is not None and self._process.returncode is None:
            _log.warning("reading process is killed", why=why)
            self._process.kill()


def _settle(future: asyncio.Future[int], length: int | None) -> None:
    if future.done():
        return
    if length is None:
        future.set_exception(Unavailable("the reading process ended"))
    else:
        future.set_result(length)
