"""A process of ours beside ours, which reads batches (model/bulk): questions go in, answers come out, in order.

For: the second core. It is started when the first batch comes and ends when none came for a while, so that a quiet city
pays nothing for it; while it starts, and when it is busy or broken, `ask` says so at once and the asker does the work
itself.
Promises: it ends with us, however we end (its standard input closes); a question that is not answered in time ends it.
It is told nothing but questions: no secret, no setting, no file of ours.
Does not: know what is asked (ports/reader, the other process's own room, hands it to `model/bulk`).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from typing import Final

import structlog

from shahar.values.errors import Unavailable

READER: Final = "shahar.ports.reader"
WAITING_MAX: Final = 8
"""Questions that wait for their answers at a time."""
ANSWER_S: Final = 20.0
IDLE_S: Final = 60.0
AGAIN_S: Final = 30.0
"""How long after an unwanted end no new process is started."""
_STOP_S: Final = 1.0
_BUFFER: Final = 4 << 20
_KEPT: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "LC_ALL")

_log = structlog.get_logger(__name__)


class Beside:
    """The process, started and ended as it is needed."""

    def __init__(self, *, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._process: asyncio.subprocess.Process | None = None
        self._work: asyncio.Task[None] | None = None
        self._ready = False
        self._not_before = 0.0
        self._waiting: deque[asyncio.Future[bytes]] = deque()

    @property
    def pid(self) -> int | None:
        """The process's number while it takes questions."""
        return self._process.pid if self._ready and self._process is not None else None

    async def ask(self, question: bytes) -> bytes:
        """The answer; Unavailable while it starts, is busy, or broken."""
        loop = asyncio.get_running_loop()
        if self._work is None and loop.time() >= self._not_before:
            self._work = asyncio.create_task(self._live())
        if not self._ready or len(self._waiting) >= WAITING_MAX:
            raise Unavailable("the reading process takes no question now")
        assert self._process is not None
        assert self._process.stdin is not None
        future: asyncio.Future[bytes] = loop.create_future()
        self._waiting.append(future)
        self._process.stdin.writelines((len(question).to_bytes(8, "big"), question))
        try:
            return await asyncio.wait_for(future, ANSWER_S)
        except TimeoutError:
            self._end(f"no answer within {ANSWER_S:.0f} s")
            raise Unavailable("the reading process did not answer in time") from None

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
            kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", READER),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=kept,
                start_new_session=True,  # a signal from the terminal is for us alone
                limit=_BUFFER,
            )
            await self._hear(self._process)
        except (OSError, asyncio.IncompleteReadError) as problem:
            why = str(problem)
        finally:
            self._ready, self._work = False, None
            while self._waiting:
                _settle(self._waiting.popleft(), None)
            await self._gone(why)

    async def _hear(self, process: asyncio.subprocess.Process) -> None:
        """Hand each answer to who waits for it, until nobody asked for a while."""
        assert process.stdout is not None
        await _frame(process.stdout)
        self._ready = True
        while True:
            coming = asyncio.ensure_future(_frame(process.stdout))
            try:
                while not (await asyncio.wait({coming}, timeout=self._idle_s))[0]:
                    if not self._waiting:
                        return
            finally:
                coming.cancel()
            heard = coming.result()
            _settle(self._waiting.popleft(), heard)

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


def _settle(future: asyncio.Future[bytes], heard: bytes | None) -> None:
    if future.done():
        return
    if heard is None:
        future.set_exception(Unavailable("the reading process ended"))
    else:
        future.set_result(heard)


async def _frame(stream: asyncio.StreamReader) -> bytes:
    return await stream.readexactly(int.from_bytes(await stream.readexactly(8), "big"))
