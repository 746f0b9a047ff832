"""The processes that serve a city: one, or several on one port and one PostgreSQL database.

For: main. One process uses little more than one core; several, on one machine or many, share a database
(docs/scale.md). The keeper holds the port and the workers take connections from it, so that one that dies takes no
waiting connection with it.
Promises: a worker that dies is started again, at once first, then ever later; the end of the keeper, however it comes,
is the end of its workers (their standard input closes). What a worker is given goes over its standard input: which one
it is, the port, the secret of the folder's owner (local.py).
Refuses: several processes on one SQLite file (Invalid).
Does not: serve (serving.py); know parts.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from shahar import local
from shahar.config import STORE, Settings
from shahar.services.credentials import new_local_secret
from shahar.store import lock
from shahar.values.errors import Unavailable

WORKER: Final = "_SHAHAR_WORKER"
"""In the environment of a worker."""
STOP_S: Final = 6.0
AGAIN_S: Final = 0.2
LONGEST_S: Final = 5.0
STEADY_S: Final = 5.0
"""How long a worker has to live for its next start not to wait."""

log = structlog.get_logger("shahar")


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker is given: which one it is, the port, the secret of the folder's owner."""

    number: int
    listening: socket.socket
    secret: str

    def on_end(self, end: Callable[[], None]) -> None:
        """Call `end` in the running loop when the keeper is gone."""
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), lambda: end() if not sys.stdin.read(1) else None)


def place() -> Place | None:
    """The place of this process among the workers; None when it serves alone."""
    if WORKER not in os.environ:
        return None
    told = json.loads(sys.stdin.readline())
    return Place(told["number"], socket.socket(fileno=told["listening"]), told["secret"])


def keep(settings: Settings, arguments: list[str]) -> int:
    """Keep the workers until told to stop; the exit status."""
    prepare_folder(settings.data)
    with lock.owning(settings.data / STORE):
        listening = listen(settings)
        return asyncio.run(_Keeper(settings, listening, arguments).keep())


class _Keeper:
    def __init__(self, settings: Settings, listening: socket.socket, arguments: list[str]) -> None:
        self._settings = settings
        self._listening = listening
        self._arguments = arguments
        self._secret = new_local_secret()
        self._ending = asyncio.Event()
        self._workers: dict[int, asyncio.subprocess.Process] = {}

    async def keep(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        loop.add_signal_handler(signal.SIGUSR1, self._again)
        key = local.write(self._settings, self._secret)
        tell("READY=1")
        try:
            done = await asyncio.gather(*(self._keep_one(number) for number in range(self._settings.workers)))
        finally:
            tell("STOPPING=1")
            key.unlink(missing_ok=True)
        return max(done)

    def _again(self) -> None:
        """Let every worker look at the certificate again."""
        for process in self._workers.values():
            if process.returncode is None:
                process.send_signal(signal.SIGUSR1)

    async def _keep_one(self, number: int) -> int:
        """Start a worker again and again; its last status when it cannot be started at all."""
        wait_s = 0.0
        while not self._ending.is_set():
            started = asyncio.get_running_loop().time()
            status = await self._life(number)
            if self._ending.is_set():
                break
            lived_s = asyncio.get_running_loop().time() - started
            wait_s = 0.0 if lived_s >= STEADY_S else min(LONGEST_S, max(AGAIN_S, 2 * wait_s))
            log.error("worker ended and is started again", worker=number, status=status, lived_s=round(lived_s, 1))
            try:
                await asyncio.wait_for(self._ending.wait(), wait_s)
            except TimeoutError:
                continue
        return 0

    async def _life(self, number: int) -> int:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "shahar.main", *self._arguments),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=(self._listening.fileno(),),
            env=os.environ | {WORKER: "1"},
            start_new_session=True,  # a signal from the terminal is for the keeper, who tells the workers
        )
        self._workers[number] = process
        assert process.stdin is not None
        told = {"number": number, "listening": self._listening.fileno(), "secret": self._secret}
        process.stdin.write(json.dumps(told).encode() + b"\n")
        ended = asyncio.create_task(process.wait())
        ending = asyncio.create_task(self._ending.wait())
        await asyncio.wait({ended, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not ended.done():
            process.terminate()
            process.stdin.close()
        try:
            return await asyncio.wait_for(ended, STOP_S)
        except TimeoutError:
            process.kill()
            return await process.wait()


# -- what every server stands on --------------------------------------------------------------------------------------


def prepare_folder(folder: Path) -> None:
    """Make the data folder when it is not there; Unavailable when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as problem:
        raise Unavailable(f"the data folder {folder} cannot be written: {problem.strerror or problem}") from None


def listen(settings: Settings) -> socket.socket:
    """The port, taken; Unavailable."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(2048)
    except OSError as problem:
        listening.close()
        raise Unavailable(
            f"cannot listen on {settings.host}:{settings.port}: {problem.strerror};"
            " choose another with SHAHAR_PORT or --port"
        ) from None
    return listening


def tell(what: str) -> None:
    """Tell systemd how we stand when it has started us and asked for it (sd_notify(3)); nobody else listens."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if place:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaking:
            speaking.sendto(what.encode(), place.replace("@", "\0", 1) if place.startswith("@") else place)
