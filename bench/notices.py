"""Notifications under load: ten thousand subscriptions of every kind of filter, two due notifications an update, 500
updates a second for a minute; one endpoint in ten takes 2 s to answer, one in a hundred is dead. Then ten times the
rate for ten seconds.

What is due to whom is reckoned from the updates (bench/subscribed), and what came is noted by the endpoints
(bench/endpoints); every due notification to an endpoint that lives must have come. The delay of a notification is from
the instant at which its update was due to be sent to its arrival, so that a late write counts against it.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from bench import load, server, subscribed
from bench.figures import Goal, percentile
from bench.machine import cpu_s, resident_mb

ENDPOINTS: Final = 100
SLOW: Final = frozenset(range(0, ENDPOINTS, 10))
DEAD: Final = frozenset({5})
SLOW_S: Final = 2.0
CLIENTS: Final = 64
SUBSCRIBERS: Final = 16
BURST_CLIENTS: Final = 256
WITHIN_S: Final = 2.0
DRAIN_S: Final = 600.0
SERVER: Final = f"{server.OURS} --outbound-allow 127.0.0.0/8"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much: subscriptions, updates a second and seconds; the second phase is `burst` times the rate."""

    subscriptions: int = 10_000
    rate: int = 500
    seconds: float = 60.0
    burst: int = 10
    burst_seconds: float = 10.0


QUICK: Final = Scale(subscriptions=1_000, rate=200, seconds=5.0, burst=5, burst_seconds=2.0)


def measure(folder: Path, command: str, say: Callable[[str], None], scale: Scale) -> dict[str, Any]:
    """The figures of both phases."""
    held = subscribed.subscriptions(scale.subscriptions)
    due = subscribed.Due(held)
    with _endpoints() as ends, server.serving(folder / "notices", command) as served:
        _fill(served.port, subscribed.entities(scale.subscriptions))
        started = time.perf_counter()
        _subscribe(served.port, held, ends.ports)
        say(f"{len(held)} subscriptions made in {time.perf_counter() - started:.1f} s")
        wish: dict[str, Any] = {"rate": scale.rate, "seconds": scale.seconds, "clients": CLIENTS, "first": 0}
        wish |= {"entities": subscribed.entities(scale.subscriptions), "out": str(folder / "updates.json")}
        steady = _phase(served, ends, due, wish)
        say(_line("steady", steady))
        faster = {"rate": scale.rate * scale.burst, "seconds": scale.burst_seconds, "clients": BURST_CLIENTS}
        burst = _phase(served, ends, due, wish | faster | {"first": steady["updates"]})
        say(_line("burst", burst))
        memory = resident_mb(served.pid)
    return {
        "subscriptions": scale.subscriptions,
        "kinds": dict(Counter(one.kind for one in held)),
        "endpoints": {"all": ENDPOINTS, "slow": len(SLOW), "dead": len(DEAD), "slow_s": SLOW_S},
        "steady": steady,
        "burst": burst,
        "resident_mb": memory,
        "goals": _goals(steady, burst),
    }


@dataclass(slots=True)
class _Ends:
    """The endpoints' process."""

    process: subprocess.Popen[str]
    ports: list[int] = field(default_factory=list)

    def ask(self, line: str) -> Any:
        """The answer to a line."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextmanager
def _endpoints() -> Iterator[_Ends]:
    command = [sys.executable, "-m", "bench.endpoints"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=load.ROOT, bufsize=1
    )
    try:
        ends = _Ends(process)
        ends.ports = ends.ask(
            json.dumps({"count": ENDPOINTS, "slow": sorted(SLOW), "dead": sorted(DEAD), "slow_s": SLOW_S})
        )
        yield ends
    finally:
        process.terminate()
        process.wait()


def _fill(port: int, entities: int) -> None:
    """Make the entities."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for start in range(0, entities, 500):
        numbers = range(start, min(start + 500, entities))
        _post(client, "/ngsi-ld/v1/entityOperations/create", [subscribed.entity(number) for number in numbers])
    client.close()


def _subscribe(port: int, held: list[subscribed.Subscription], ports: list[int]) -> None:
    """Make the subscriptions, several at a time."""

    def some(first: int) -> None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for one in held[first::SUBSCRIBERS]:
            uri = f"http://127.0.0.1:{ports[one.number % ENDPOINTS]}/{one.number}"
            _post(client, "/ngsi-ld/v1/subscriptions", subscribed.body(one, uri))
        client.close()

    with ThreadPoolExecutor(SUBSCRIBERS) as together:
        list(together.map(some, range(SUBSCRIBERS)))


def _post(client: http.client.HTTPConnection, path: str, body: Any) -> None:
    client.request("POST", path, orjson.dumps(body), {"content-type": "application/json"})
    answer = client.getresponse()
    text = answer.read()
    if answer.status != 201:
        raise RuntimeError(f"{path} was answered {answer.status}: {text[:300]!r}")


def _phase(served: server.Server, ends: _Ends, due: subscribed.Due, wish: dict[str, Any]) -> dict[str, Any]:
    """One rate for some seconds, and the wait until everything due has come."""
    before = len(ends.ask("report")) if wish["first"] else 0
    cpu = cpu_s(served.pid)
    wish = wish | {"port": served.port, "seed": wish["first"] + 1}
    command = [sys.executable, "-m", "bench.pacing"]
    subprocess.run(command, input=json.dumps(wish) + "\n", text=True, cwd=load.ROOT, check=True)
    rows = orjson.loads(Path(wish["out"]).read_bytes())
    loaded_cpu = cpu_s(served.pid) - cpu
    wanted, dead = _wanted(due, rows)
    waited = _drain(ends, before + len(wanted))
    return _figures(rows, wanted, dead, ends.ask("report"), wish["rate"]) | {
        "server_cpu_s": loaded_cpu,
        "server_cpu_with_drain_s": cpu_s(served.pid) - cpu,
        "gave_up_after_s": waited,
    }


def _wanted(due: subscribed.Due, rows: list[list[float]]) -> tuple[dict[tuple[int, int], tuple[float, float]], int]:
    """Of each due notification to the living when its update was due to be sent and was answered; how many to the
    dead."""
    wanted, dead = {}, 0
    for turn, entity, level, rare, at, answered, status in rows:
        if status != 204:
            continue
        for number in due.of(subscribed.Update(int(turn), int(entity), int(level), int(rare))):
            if number % ENDPOINTS in DEAD:
                dead += 1
            else:
                wanted[number, int(turn)] = (at, answered)
    return wanted, dead


def _drain(ends: _Ends, wanted: int) -> float:
    """Wait until so many have come; the seconds waited."""
    began = time.monotonic()
    while ends.ask("count") < wanted and time.monotonic() - began < DRAIN_S:
        time.sleep(0.25)
    return time.monotonic() - began


def _figures(
    rows: list[list[float]], wanted: dict[tuple[int, int], tuple[float, float]], dead: int, report: list[Any], rate: int
) -> dict[str, Any]:
    came = {(number, turn): (at, times) for number, turn, at, times in report}
    last_due, last_answer = max(row[4] for row in rows), max(row[5] for row in rows)
    healthy, slow, ends_healthy, ends_all = [], [], last_answer, last_answer
    missing = again = 0
    for key, (at, _) in wanted.items():
        if key not in came:
            missing += 1
            continue
        arrived, times = came[key]
        again += times - 1
        ends_all = max(ends_all, arrived)
        if key[0] % ENDPOINTS in SLOW:
            slow.append(arrived - at)
        else:
            healthy.append(arrived - at)
            ends_healthy = max(ends_healthy, arrived)
    unwanted = sum((number, turn) not in wanted for number, turn in came if turn >= rows[0][0])
    writes = [(row[5] - row[4]) * 1_000 for row in rows]
    return {
        "rate": rate,
        "updates": len(rows),
        "refused": sum(row[6] != 204 for row in rows),
        "answered_per_s": len(rows) / (last_answer - min(row[4] for row in rows)),
        "write_p50_ms": percentile(writes, 50),
        "write_p99_ms": percentile(writes, 99),
        "last_write_late_s": last_answer - last_due,
        "due_an_update": (len(wanted) + dead) / len(rows),
        "due_to_the_living": len(wanted),
        "missing": missing,
        "told_again": again,
        "not_due": unwanted,
        "healthy_p50_s": percentile(healthy, 50),
        "healthy_p99_s": percentile(healthy, 99),
        "healthy_worst_s": max(healthy),
        "slow_p50_s": percentile(slow, 50),
        "slow_p99_s": percentile(slow, 99),
        "drain_healthy_s": ends_healthy - last_answer,
        "drain_s": ends_all - last_answer,
    }


def _line(name: str, one: dict[str, Any]) -> str:
    return (
        f"{name}: {one['updates']} updates at {one['rate']}/s ({one['answered_per_s']:.0f}/s answered, p99"
        f" {one['write_p99_ms']:.0f} ms, {one['refused']} refused); {one['due_an_update']:.2f} due each,"
        f" {one['missing']} of {one['due_to_the_living']} missing, {one['told_again']} again, {one['not_due']} not due;"
        f" healthy p50 {one['healthy_p50_s']:.3f} p99 {one['healthy_p99_s']:.2f} s, slow p99 {one['slow_p99_s']:.2f} s;"
        f" drained {one['drain_healthy_s']:.1f} s (healthy), {one['drain_s']:.1f} s after the last answer;"
        f" server {one['server_cpu_with_drain_s']:.1f} s of processor"
    )


def _goals(steady: dict[str, Any], burst: dict[str, Any]) -> list[dict[str, Any]]:
    goals = (
        Goal("due notifications to the living that did not come", steady["missing"], 0, most=True),
        Goal("p99 of notifications to healthy endpoints, s", steady["healthy_p99_s"], WITHIN_S, most=True),
        Goal("due notifications that did not come after the burst", burst["missing"], 0, most=True),
        Goal("writes refused in the burst", burst["refused"], 0, most=True),
    )
    return [goal.document() for goal in goals]
