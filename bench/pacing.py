"""Updates at a rate, whatever the server does: a process of its own that sends each at its instant, or as soon as a
connection is free.

It runs as `python -m bench.pacing`, reads {"port", "rate", "seconds", "first", "seed", "entities", "clients", "out"} as
JSON, and writes of every update [turn, entity, level, rare, when it was due, when it was answered, status] to `out`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import uvloop

from bench import subscribed
from bench.payloads import request
from bench.subscribed import Update


class Run:
    """One run: what is due, what waits for a connection, what was answered."""

    def __init__(self, wish: dict[str, Any]) -> None:
        total = round(wish["rate"] * wish["seconds"])
        self.rate = wish["rate"]
        self.due: deque[tuple[Update, bytes]] = deque(
            (update, request("PATCH", _address(update), orjson.dumps(update.fragment)))
            for update in islice(subscribed.updates(wish["first"], wish["seed"], wish["entities"]), total)
        )
        self.total = total
        self.began = 0.0
        self.sent = 0
        self.told: list[list[float]] = []
        self.idle: deque[Client] = deque()
        self.done = asyncio.get_running_loop().create_future()

    def tick(self) -> None:
        """Send what is due, as far as connections are free."""
        late = time.monotonic() - self.began
        while self.due and self.idle and self.sent <= late * self.rate:
            update, content = self.due.popleft()
            at = self.began + self.sent / self.rate
            self.sent += 1
            self.idle.popleft().send(update, at, content)
        if self.due:
            asyncio.get_running_loop().call_later(0.001, self.tick)

    def answered(self, client: Client, row: list[float]) -> None:
        """An answer came."""
        self.told.append(row)
        self.idle.append(client)
        if len(self.told) == self.total and not self.done.done():
            self.done.set_result(None)


def _address(update: Update) -> str:
    return f"/ngsi-ld/v1/entities/{subscribed.entity_id(update.entity)}/attrs"


class Client(asyncio.Protocol):
    """One connection with one update under way."""

    def __init__(self, run: Run) -> None:
        self.run, self.buffer = run, b""
        self.transport: Any = None
        self.update, self.at = Update(0, 0, 0, 0), 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.run.idle.append(self)

    def send(self, update: Update, at: float, content: bytes) -> None:
        """Send one update that was due at `at`."""
        self.update, self.at = update, at
        self.transport.write(content)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if b"\r\n\r\n" not in self.buffer:
            return
        status, self.buffer = int(self.buffer[9:12]), b""
        one = self.update
        self.run.answered(self, [one.turn, one.entity, one.level, one.rare, self.at, time.monotonic(), status])


async def _go(wish: dict[str, Any]) -> list[list[float]]:
    run = Run(wish)
    loop = asyncio.get_running_loop()
    for _ in range(wish["clients"]):
        await loop.create_connection(lambda: Client(run), "127.0.0.1", wish["port"])
    run.began = time.monotonic()
    run.tick()
    await run.done
    return run.told


if __name__ == "__main__":
    asked = json.loads(sys.stdin.readline())
    Path(asked["out"]).write_bytes(orjson.dumps(uvloop.run(_go(asked))))
