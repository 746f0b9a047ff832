"""The load generator: a process of its own that sends prepared bytes over kept-alive connections and times the
answers.

It runs as `python -m bench.load`, reads a plan as JSON from its input, tells `begin` and `end` around the counted
time (so that the parent can read the server's clocks there), and then its figures as JSON. It spends about 12 us a
request, on the same cores as the server: its own processor time is told too.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain, cycle
from pathlib import Path
from typing import Any, Final

import uvloop

from bench import payloads
from bench.figures import percentile
from bench.machine import Moment, cpu_s

GENERATOR: Final = [sys.executable, "-m", "bench.load"]
ROOT: Final = Path(__file__).resolve().parents[1]
_NO_CONTENT: Final = b"HTTP/1.1 204"
_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send. `kind`: patches (of `entities`, from turn `turn`), batches (`count` of `size`, from entity
    `first`, `turn`), addresses.

    Ends after `seconds`, or when everything was answered. `warm_s` seconds at the start are not counted.
    """

    port: int
    kind: str
    clients: int = 64
    seconds: float = 8.0
    warm_s: float = 0.0
    entities: int = 0
    turn: int = 0
    first: int = 0
    count: int = 0
    size: int = 1_000
    placed: bool = False
    addresses: list[str] = field(default_factory=list)

    def requests(self) -> Iterator[bytes]:
        """The requests in order."""
        if self.kind == "patches":
            return payloads.patches(self.entities, self.turn)
        if self.kind == "batches":
            return chain(
                [payloads.batch(self._bodies(self.first + number * self.size)) for number in range(self.count)]
            )
        prepared = [payloads.request("GET", address) for address in self.addresses]
        return cycle(prepared)

    def _bodies(self, start: int) -> list[dict[str, Any]]:
        numbers = range(start, start + self.size)
        return [payloads.placed(number) if self.placed else payloads.measured(number, self.turn) for number in numbers]


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of a plan: answers in the counted time, refusals, latencies in milliseconds, processor seconds of
    both sides.
    """

    answers: int
    refused: int
    seconds: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    bytes_mean: float
    client_cpu_s: float
    server_cpu_s: float = 0.0
    cores_busy: float = 0.0

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds

    @property
    def server_us(self) -> float:
        """Microseconds of the server's processor time for an answer."""
        return self.server_cpu_s / max(self.answers, 1) * 1e6


def generate(plan: Plan, server_pid: int) -> Figures:
    """Run the plan in a process of its own, reading the server's clocks at its beginning and end. RuntimeError when
    it fails.
    """
    with subprocess.Popen(GENERATOR, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(asdict(plan)))
        child.stdin.close()
        clocks: list[tuple[float, Moment]] = []
        for line in child.stdout:
            if line.startswith("{"):
                (cpu_before, before), (cpu_after, after) = clocks
                told = json.loads(line)
                return Figures(
                    **told | {"server_cpu_s": cpu_after - cpu_before, "cores_busy": after.cores_busy(before)}
                )
            clocks.append((cpu_s(server_pid), Moment.now()))
    raise RuntimeError("the load generator told nothing")


class _Run:
    """One run of a plan: its clock, its requests, what was answered."""

    def __init__(self, plan: Plan, done: asyncio.Future[None]) -> None:
        self.plan, self.done = plan, done
        self.requests = plan.requests()
        self.latencies: list[float] = []
        self.refused = 0
        self.bytes = 0
        self.open = 0
        self.counting = False
        self.ending = False
        self.seconds = self.cpu = 0.0

    def begin(self) -> None:
        self.counting = True
        self.latencies.clear()
        self.refused = self.bytes = 0
        print("begin", flush=True)
        self.cpu, self.seconds = time.process_time(), time.perf_counter()

    def end(self) -> None:
        if self.counting:
            self.seconds, self.cpu = time.perf_counter() - self.seconds, time.process_time() - self.cpu
            self.counting = False
            print("end", flush=True)
        self.ending = True

    def closed(self) -> None:
        self.open -= 1
        if self.open == 0 and not self.done.done():
            self.end()
            self.done.set_result(None)


class _Client(asyncio.Protocol):
    """One connection: sends, waits for the answer, notes how long it took, sends the next."""

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.buffer = b""
        self.sent = 0.0
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.run.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.run.closed()

    def send(self) -> None:
        request = None if self.run.ending else next(self.run.requests, None)
        if request is None:
            self.transport.close()
            return
        self.sent = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
        if data.startswith(_NO_CONTENT) and data.endswith(_END):
            self.answered(True, 0)
            return
        head = data.find(_END)
        start = data.find(b"content-length: ")
        length = int(data[start + 16 : data.find(b"\r", start)]) if 0 <= start < head else 0
        if head < 0 or len(data) < head + 4 + length:
            self.buffer = data
            return
        self.answered(data[9:10] == b"2", length)

    def answered(self, good: bool, length: int) -> None:
        self.buffer = b""
        run = self.run
        if run.counting:
            run.latencies.append(time.perf_counter() - self.sent)
            run.bytes += length
        if not good:
            run.refused += 1
        self.send()


async def _go(plan: Plan) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    run = _Run(plan, loop.create_future())
    clients = [
        (await loop.create_connection(lambda: _Client(run), "127.0.0.1", plan.port))[1] for _ in range(plan.clients)
    ]
    if plan.warm_s:
        loop.call_later(plan.warm_s, run.begin)
    else:
        run.begin()
    loop.call_later(plan.warm_s + plan.seconds, run.end)
    for client in clients:
        client.send()
    await run.done
    taken = [second * 1_000 for second in run.latencies] or [0.0]
    return {
        "answers": len(run.latencies),
        "refused": run.refused,
        "seconds": run.seconds,
        "p50_ms": percentile(taken, 50),
        "p99_ms": percentile(taken, 99),
        "worst_ms": max(taken),
        "bytes_mean": run.bytes / len(taken),
        "client_cpu_s": run.cpu,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_go(Plan(**json.load(sys.stdin))))), flush=True)
