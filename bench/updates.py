"""Durable updates: PATCH /entities/{id}/attrs with 1 KB and ten attributes, history included, from 64 clients,
against the raw write.

A round is a raw write and a run of the server, one after the other, so that both meet the same load of the machine;
the figures are the medians of the rounds, the ratios those of each round.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson

from bench import load, payloads, raw, server
from bench.figures import Goal, medians

CLIENTS: Final = 64
GROUPS: Final = 200
FSYNC_RULE_MS: Final = (2.0, 6.0)
HOT: Final = 2_000
COLD: Final = 100_000


def measure(
    folder: Path,
    machine: dict[str, Any],
    command: str,
    say: Callable[[str], None],
    *,
    rounds: int,
    seconds: float,
    entities: int,
) -> dict[str, Any]:
    """The figures over `entities` entities."""
    say(f"recording {GROUPS} groups of {CLIENTS} updates of {entities} entities")
    groups = [
        raw.wishes("update", [(turn * CLIENTS + place) * 7_919 % entities for place in range(CLIENTS)], turn)
        for turn in range(1, GROUPS + 1)
    ]
    ceiling = raw.record(folder / "raw.db", entities, "update", groups)
    found: list[dict[str, float]] = []
    with server.serving(folder / "served", command) as served:
        fill = load.Plan(served.port, "batches", clients=2, seconds=120, count=entities // 1_000)
        load.generate(fill, served.pid)
        for number in range(rounds):
            written = ceiling.write()
            plan = load.Plan(
                served.port, "patches", CLIENTS, seconds, warm_s=1.0, entities=entities, turn=1 + number * 100_000
            )
            told = load.generate(plan, served.pid)
            found.append(_round(written, told))
            say(_line(found[-1]))
    middle = medians(found)
    return {
        "entities": entities,
        "clients": CLIENTS,
        "body_bytes": _body_bytes(),
        "median": middle,
        "rounds": found,
        "goals": _goals(middle, machine),
    }


def _body_bytes() -> int:
    return len(orjson.dumps(payloads.fragment(1, 1)))


def _round(written: dict[str, float], told: load.Figures) -> dict[str, float]:
    if told.refused:
        raise RuntimeError(f"{told.refused} updates were refused")
    return {
        "raw_per_s": written["per_s"],
        "raw_us": written["us"],
        "per_s": told.per_s,
        "us": told.server_us,
        "of_raw": told.per_s / written["per_s"],
        "times_raw_us": told.server_us / written["us"],
        "p50_ms": told.p50_ms,
        "p99_ms": told.p99_ms,
        "worst_ms": told.worst_ms,
        "p99_of_fair_share": told.p99_ms / (CLIENTS / told.per_s * 1_000),
        "client_us": told.client_cpu_s / told.answers * 1e6,
        "cores_busy": told.cores_busy,
        "cores_ours": (told.server_cpu_s + told.client_cpu_s) / told.seconds,
    }


def _line(one: dict[str, float]) -> str:
    return (
        f"{one['per_s']:.0f}/s, p99 {one['p99_ms']:.1f} ms, {one['us']:.0f} us each;"
        f" raw {one['raw_per_s']:.0f}/s, {one['raw_us']:.1f} us: {one['of_raw']:.0%} of raw,"
        f" {one['times_raw_us']:.1f} x its processor time, p99 {one['p99_of_fair_share']:.1f} x clients/throughput"
    )


def _goals(middle: dict[str, float], machine: dict[str, Any]) -> list[dict[str, Any]]:
    fsync = machine["fsync_ms"]["median"]
    slow = FSYNC_RULE_MS[0] <= fsync <= FSYNC_RULE_MS[1]
    goals = (
        Goal("updates of raw, where an fsync takes 2-6 ms", middle["of_raw"], 0.45, most=False, applies=slow),
        Goal("p99 in fsyncs, where an fsync takes 2-6 ms", middle["p99_ms"] / fsync, 12, most=True, applies=slow),
        Goal(
            "processor time an update, in raw writes, elsewhere", middle["times_raw_us"], 7, most=True, applies=not slow
        ),
        Goal("p99 in clients / throughput, elsewhere", middle["p99_of_fair_share"], 4, most=True, applies=not slow),
    )
    return [goal.document() for goal in goals]
