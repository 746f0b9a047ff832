"""The client of test_kill: 64 writers in a process of their own, which kills the server and remembers what it was
promised.

Usage: writers.py ORDERS (a JSON object, see Orders). Prints one JSON object, see `_told`.

How the moment is chosen: after enough acknowledgements and a random while more, the server is frozen (SIGSTOP), what it
had already answered is read, and only when at least `in_flight` writes are sent and still unanswered it is killed
(SIGKILL); else it is let go on. So the number in flight is exact, and a kill can fall into any phase of the group
commit.
An acknowledgement counts when the line "update writer" that tells of it is on our own disk (fdatasync), not earlier.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

WRITERS: Final = 64
BASE_S: Final = 1_767_225_600  # 2026-01-01T00:00:00Z; update n was observed n milliseconds later
LEVEL: Final = "level"


@dataclass(frozen=True, slots=True)
class Orders:
    """What the test wants: `first` the number of the first update, `acknowledged` how many are to be listed before
    the kill.
    """

    port: int
    secret: str
    pid: int
    listed: str
    first: int
    acknowledged: int
    in_flight: int


def entity_of(writer: int) -> str:
    """The entity that a writer writes to, alone."""
    return f"urn:ngsi-ld:Probe:{writer}"


def observed(update: int) -> str:
    """The instant of an update, as text."""
    seconds, milliseconds = divmod(update, 1_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(BASE_S + seconds)) + f".{milliseconds:03d}Z"


def request_of(writer: int, update: int, secret: str) -> bytes:
    """One write: four kinds of operation, one for each quarter of the writers."""
    entity = entity_of(writer)
    attribute = {LEVEL: {"type": "Property", "value": update, "observedAt": observed(update)}}
    kinds: tuple[tuple[str, str, Any], ...] = (
        ("PATCH", f"/ngsi-ld/v1/entities/{entity}/attrs", attribute),
        ("POST", f"/ngsi-ld/v1/entities/{entity}/attrs", attribute),
        ("PATCH", f"/ngsi-ld/v1/entities/{entity}", attribute),
        ("POST", "/ngsi-ld/v1/entityOperations/upsert?options=update", [{"id": entity, "type": "Probe"} | attribute]),
    )
    method, path, body = kinds[writer % 4]
    content = json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {secret}\r\ncontent-type: application/json\r\n"
    )
    return head.encode() + b"content-length: %d\r\n\r\n" % len(content) + content


@dataclass(slots=True)
class Client:
    """The writers, their list, and the one who kills."""

    orders: Orders
    sent: int = 0
    answered: int = 0
    listed: int = 0
    freezes: int = 0
    refused: list[str] = field(default_factory=list)
    pending: list[bytes] = field(default_factory=list)
    moving: asyncio.Event = field(default_factory=asyncio.Event)
    dead: bool = False

    async def run(self) -> None:
        """Write until the server is dead, and everything that was acknowledged is listed."""
        self.moving.set()
        file = os.open(self.orders.listed, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        keeping = asyncio.create_task(self._keep_list(file))
        writing = [asyncio.create_task(self._write(writer)) for writer in range(WRITERS)]
        await self._kill()
        await asyncio.wait(writing, timeout=10)
        self.dead = True
        await keeping
        os.close(file)

    async def _write(self, writer: int) -> None:
        reader, out = await asyncio.open_connection("127.0.0.1", self.orders.port)
        try:
            while True:
                await self.moving.wait()
                update = self.orders.first + self.sent
                self.sent += 1
                out.write(request_of(writer, update, self.orders.secret))
                await out.drain()
                status = await _status(reader)
                self.answered += 1
                if 200 <= status < 300 and status != 207:
                    self.pending.append(b"%d %d\n" % (update, writer))
                else:
                    self.refused.append(f"update {update}: {status}")
        except (OSError, asyncio.IncompleteReadError):
            return  # the server is dead
        finally:
            out.close()

    async def _keep_list(self, file: int) -> None:
        while not (self.dead and not self.pending):
            group, self.pending = self.pending, []
            if group:
                await asyncio.to_thread(_append, file, b"".join(group))
                self.listed += len(group)
            await asyncio.sleep(0.001)

    async def _kill(self) -> None:
        chance = random.SystemRandom()
        while True:
            await asyncio.sleep(chance.uniform(0.0, 0.03))
            if self.listed < self.orders.acknowledged or self.sent - self.answered < self.orders.in_flight:
                continue
            self.freezes += 1
            self.moving.clear()
            os.kill(self.orders.pid, signal.SIGSTOP)
            await _until_frozen(self.orders.pid)
            await asyncio.sleep(0.05)  # what it had answered is in our sockets, and read by now
            if self.sent - self.answered >= self.orders.in_flight:
                os.kill(self.orders.pid, signal.SIGKILL)
                return
            os.kill(self.orders.pid, signal.SIGCONT)
            self.moving.set()


async def _status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)
    await reader.readexactly(length)
    return int(lines[0].split(b" ", 2)[1])


def _append(file: int, lines: bytes) -> None:
    os.write(file, lines)
    os.fdatasync(file)


async def _until_frozen(pid: int) -> None:
    """Return when every thread of a process stands still."""
    while states_of(pid) != {"T"}:  # noqa: ASYNC110 -- the kernel sets no event of ours
        await asyncio.sleep(0.001)


def states_of(pid: int) -> set[str]:
    """The states of a process's threads, as in proc(5); T is stopped."""
    return {one.read_text().rpartition(")")[2].split()[0] for one in Path(f"/proc/{pid}/task").glob("*/stat")}


def _told(client: Client) -> dict[str, Any]:
    return {
        "sent": client.sent,
        "acknowledged": client.listed,
        "in_flight": client.sent - client.answered,
        "freezes": client.freezes,
        "refused": client.refused,
    }


def main() -> None:
    """Do as ordered."""
    client = Client(Orders(**json.loads(sys.argv[1])))
    asyncio.run(client.run())
    print(json.dumps(_told(client)), flush=True)


if __name__ == "__main__":
    main()
