"""The server under test: started as a user would start it, asked over HTTP, stopped by its process.

`shahar serve --access open --mqtt off` on a fresh folder and a free port. `command` may name another program for a
comparison, with {data} and {port} in it.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OURS: Final = (
    f"{shlex.quote(sys.executable)} -m shahar.main serve --access open --mqtt off --data {{data}} --port {{port}}"
)
START_S: Final = 30.0
ASK: Final = b"GET /health HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its process, its port, and the milliseconds from its start to its first answer."""

    process: subprocess.Popen[bytes]
    port: int
    start_ms: float

    @property
    def pid(self) -> int:
        """The process's number."""
        return self.process.pid


@contextmanager
def serving(folder: Path, command: str = OURS, *, fresh: bool = True) -> Iterator[Server]:
    """A server on the data in `folder` for the length of the block; RuntimeError when it does not answer."""
    if fresh and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    words = [word.format(data=folder, port=port) for word in shlex.split(command)]
    started = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        _await_answer(process, port)
        yield Server(process, port, (time.perf_counter() - started) * 1_000)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_answer(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with status {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(ASK)
                if connection.recv(64).startswith(b"HTTP/1.1 "):
                    return
        except OSError:
            time.sleep(0.002)
    raise RuntimeError(f"the server did not answer within {START_S:.0f} s")
