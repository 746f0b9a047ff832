"""From the process's start to its first answer, and the memory of a server that has nothing to do.

The first start makes an empty store, the later ones find it. Resident memory is read after two idle seconds; MQTT is
off, so that the bundled server of messages is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench import machine, server
from bench.figures import Goal, medians

IDLE_S: Final = 2.0
START_MS: Final = 1_000
RESIDENT_MB: Final = 90


def measure(folder: Path, command: str, say: Callable[[str], None], *, rounds: int) -> dict[str, Any]:
    """The figures of so many starts on an empty folder and as many on the one that was left."""
    found: list[dict[str, float]] = []
    for _ in range(rounds):
        with server.serving(folder / "served", command) as first:
            first_ms, first_cpu = first.start_ms, machine.cpu_s(first.pid)
        with server.serving(folder / "served", command, fresh=False) as again:
            time.sleep(IDLE_S)
            resident = machine.resident_mb(again.pid)
            found.append(
                {
                    "first_ms": first_ms,
                    "first_cpu_ms": first_cpu * 1_000,
                    "again_ms": again.start_ms,
                    "resident_mb": resident,
                }
            )
        say(f"first start {first_ms:.0f} ms, again {again.start_ms:.0f} ms, resident {resident:.0f} MB")
    middle = medians(found)
    goals = (
        Goal("milliseconds to the first answer", middle["first_ms"], START_MS, most=True),
        Goal("resident megabytes, idle", middle["resident_mb"], RESIDENT_MB, most=True),
    )
    return {"median": middle, "rounds": found, "goals": [goal.document() for goal in goals]}
