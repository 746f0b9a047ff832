"""The endpoints of the measure of notifications: a process of its own that takes what it is sent and notes when.

It runs as `python -m bench.endpoints`, reads {"count", "slow", "dead", "slow_s"} as a line of JSON, answers with the
ports of its endpoints (a dead one has a port that nobody listens on), and then to each line `count` with how many
different notifications it has, and to `report` with all of them: [subscription, turn, when it came first, how often].
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import partial
from typing import Any, Final

import orjson
import uvloop

from bench.server import free_port

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "


class Taken:
    """What came: (subscription, turn) -> [monotonic seconds of its first coming, how often]."""

    def __init__(self) -> None:
        self.first: dict[tuple[int, int], list[float]] = {}

    def note(self, body: bytes) -> None:
        """Note one notification."""
        document = orjson.loads(body)
        key = int(document["subscriptionId"][-5:]), int(document["data"][0]["turn"]["value"])
        found = self.first.get(key)
        if found is None:
            self.first[key] = [time.monotonic(), 1]
        else:
            found[1] += 1


class Endpoint(asyncio.Protocol):
    """One connection to an endpoint that answers at once, or `slow_s` later."""

    def __init__(self, taken: Taken, slow_s: float) -> None:
        self.taken, self.slow_s = taken, slow_s
        self.buffer = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(_END)
        if head < 0:
            return
        start = self.buffer[:head].lower().find(_LENGTH) + len(_LENGTH)
        length = int(self.buffer[start : self.buffer.find(b"\r", start)])
        if len(self.buffer) < head + 4 + length:
            return
        body, self.buffer = self.buffer[head + 4 : head + 4 + length], self.buffer[head + 4 + length :]
        self.taken.note(body)
        if self.slow_s:
            asyncio.get_running_loop().call_later(self.slow_s, self._answer)
        else:
            self.transport.write(OK)

    def _answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(OK)


async def _serve(wish: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    taken = Taken()
    ports, servers = [], []
    for number in range(wish["count"]):
        if number in wish["dead"]:
            ports.append(free_port())
            continue
        slow_s = wish["slow_s"] if number in wish["slow"] else 0.0
        server = await loop.create_server(partial(Endpoint, taken, slow_s), "127.0.0.1", 0, backlog=2_048)
        servers.append(server)
        ports.append(server.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        if line == "count":
            print(len(taken.first), flush=True)
        else:
            print(orjson.dumps([[*key, *found] for key, found in taken.first.items()]).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(_serve(json.loads(sys.stdin.readline())))
