"""Batch upserts of 1 000 entities of 1 KB with ten attributes, as created and as replaced, against the raw write of the
same rows in groups of 1 000.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bench import load, raw, server
from bench.figures import Goal, medians

SIZE: Final = 1_000
GROUPS: Final = 20
CLIENTS: Final = 4
WARM: Final = 3
"""Batches of other entities before the count begins: the process that reads batches is started by the first."""


def measure(folder: Path, command: str, say: Callable[[str], None], *, rounds: int) -> dict[str, Any]:
    """The figures of 20 batches that create and 20 that replace."""
    say(f"recording {GROUPS} batches of {SIZE} that create, and {GROUPS} that replace")
    creating = [raw.wishes("upsert", range(number * SIZE, (number + 1) * SIZE), 1) for number in range(GROUPS)]
    created = raw.record(folder / "create.db", 0, "upsert", creating)
    replacing = [raw.wishes("upsert", range(number * SIZE, (number + 1) * SIZE), 2) for number in range(GROUPS)]
    replaced = raw.record(folder / "replace.db", GROUPS * SIZE, "upsert", replacing)
    found: list[dict[str, float]] = []
    for _ in range(rounds):
        one: dict[str, float] = {}
        one |= _told("create", _raw(created), _serve(folder, command, CLIENTS, [1]))
        one |= _told("replace", _raw(replaced), _serve(folder, command, CLIENTS, [1, 2]))
        one |= _told("create_alone", None, _serve(folder, command, 1, [1]))
        found.append(one)
        say(_line(one))
    middle = medians(found)
    goals = [
        Goal(f"batch that {kind}s, of the raw write", middle[f"{kind}_of_raw"], 0.5, most=False).document()
        for kind in ("create", "replace")
    ]
    return {"size": SIZE, "clients": CLIENTS, "median": middle, "rounds": found, "goals": goals}


def _raw(recorded: raw.Ceiling) -> dict[str, float]:
    os.sync()  # what others have written is on the disk before the clock starts
    return recorded.write()


def _serve(folder: Path, command: str, clients: int, turns: Sequence[int]) -> load.Figures:
    """The figures of the last of the turns, each on the same entities."""
    with server.serving(folder / "served", command) as served:
        load.generate(load.Plan(served.port, "batches", 1, 120, first=GROUPS * SIZE, turn=1, count=WARM), served.pid)
        told: list[load.Figures] = []
        for turn in turns:
            os.sync()
            plan = load.Plan(served.port, "batches", clients, 120, turn=turn, count=GROUPS)
            told.append(load.generate(plan, served.pid))
    if any(one.refused or one.answers != GROUPS for one in told):
        raise RuntimeError(f"batches were refused or not answered: {told}")
    return told[-1]


def _told(name: str, written: dict[str, float] | None, told: load.Figures) -> dict[str, float]:
    per_s, us = told.per_s * SIZE, told.server_us / SIZE
    found = {f"{name}_per_s": per_s, f"{name}_us": us, f"{name}_p50_ms": told.p50_ms}
    if written is not None:
        found |= {
            f"{name}_raw_per_s": written["per_s"],
            f"{name}_raw_us": written["us"],
            f"{name}_of_raw": per_s / written["per_s"],
            f"{name}_times_raw_us": us / written["us"],
        }
    return found


def _line(one: dict[str, float]) -> str:
    told = [
        f"{kind}: {one[f'{kind}_per_s']:.0f} entities/s, {one[f'{kind}_us']:.0f} us;"
        f" raw {one[f'{kind}_raw_per_s']:.0f}/s, {one[f'{kind}_raw_us']:.0f} us: {one[f'{kind}_of_raw']:.0%}"
        for kind in ("create", "replace")
    ]
    return "; ".join([*told, f"one client alone creates {one['create_alone_per_s']:.0f}/s"])
