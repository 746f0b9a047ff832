"""Questions over 300 000 entities: by id, an indexed filter, a page of 100, near 1 km; from one client and from eight.

The entities lie about 190 to a square kilometre. The filter is asked first without its index, which that makes the
store build, and counted once it is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench import load, payloads, server
from bench.figures import median

ENTITIES: Final = 300_000
ADDRESSES: Final = 2_000
ROOT: Final = "/ngsi-ld/v1/entities"
INDEX_S: Final = 60.0
INDEXED_MS: Final = 20.0


def addresses(entities: int) -> dict[str, list[str]]:
    """Name of a question -> the addresses that ask it, each of another part of the city."""
    numbers = [number * 7_919 % entities for number in range(ADDRESSES)]
    kind = payloads.PLACED
    return {
        "by_id": [f"{ROOT}/urn:ngsi-ld:{kind}:{number:07d}" for number in numbers],
        "filter_equal": [f"{ROOT}?type={kind}&q=level=={number * 613 % 300_007}" for number in numbers],
        "filter_range_100": [
            f"{ROOT}?type={kind}&q=level>{low};level<{low + 101}&limit=100"
            for low in (number % 290_000 for number in numbers)
        ],
        "page_100": [f"{ROOT}?type={kind}&limit=100&offset={number % 1_000}" for number in numbers],
        "near_1_km": [f"{ROOT}?type={kind}&limit=100&{_near(number)}" for number in numbers],
    }


def _near(number: int) -> str:
    east, north = payloads.placed(number)["location"]["value"]["coordinates"]
    return f"georel=near;maxDistance==1000&geometry=Point&coordinates=[{east},{north}]"


def measure(folder: Path, command: str, say: Callable[[str], None], *, entities: int, seconds: float) -> dict[str, Any]:
    """The figures; `seconds` for each question and number of clients."""
    with server.serving(folder / "served", command) as served:
        say(f"loading {entities} entities")
        fill = load.Plan(served.port, "batches", clients=2, seconds=300, count=entities // 1_000, placed=True)
        filled = load.generate(fill, served.pid)
        if filled.refused or filled.answers != entities // 1_000:
            raise RuntimeError(f"{filled.refused} batches were refused, {filled.answers} answered")
        say(f"loaded at {filled.per_s * 1_000:.0f} entities/s")
        asked = addresses(entities)
        waited_s = _await_index(served, asked["filter_equal"])
        found = {name: _ask(served, listed, seconds) for name, listed in asked.items()}
    for name, one in found.items():
        say(
            f"{name}: p50 {one['p50_ms']:.2f} ms, p99 {one['p99_ms']:.2f} ms, {one['us']:.0f} us;"
            f" 8 clients {one['per_s_8']:.0f}/s"
        )
    return {
        "entities": entities,
        "loaded_per_s": filled.per_s * 1_000,
        "index_s": waited_s,
        "questions": found,
        "goals": [],
    }


def _await_index(served: server.Server, listed: list[str]) -> float:
    """Ask until the answer comes as fast as an index gives it; how many seconds that took."""
    started = time.monotonic()
    while time.monotonic() - started < INDEX_S:
        told = load.generate(load.Plan(served.port, "addresses", 1, 0.5, addresses=listed), served.pid)
        if told.answers and told.p50_ms < INDEXED_MS:
            return time.monotonic() - started
    raise RuntimeError(f"the index was not made within {INDEX_S:.0f} s")


def _ask(served: server.Server, listed: list[str], seconds: float) -> dict[str, float]:
    alone = load.generate(load.Plan(served.port, "addresses", 1, seconds, 0.3, addresses=listed), served.pid)
    crowd = load.generate(load.Plan(served.port, "addresses", 8, seconds, 0.3, addresses=listed), served.pid)
    if alone.refused or crowd.refused:
        raise RuntimeError(f"{alone.refused + crowd.refused} questions were refused: {listed[0]}")
    return {
        "p50_ms": alone.p50_ms,
        "p99_ms": alone.p99_ms,
        "us": median([alone.server_us, crowd.server_us]),
        "bytes": alone.bytes_mean,
        "per_s_8": crowd.per_s,
        "p99_ms_8": crowd.p99_ms,
    }
