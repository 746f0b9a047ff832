"""Run the measures and write what came out: bench/results/NAME.json each, and the tables of docs/speed.md.

`make bench`, or `python bench/run.py [NAME ...] [--quick] [--server COMMAND]`; names: updates, slow_disk, cold,
batches, questions, start, notices, history, shared. It takes about a quarter of an hour; the figures are only as quiet
as the machine: let nothing else run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import batches, history, machine, notices, questions, report, server, shared, slow_disk, starting, updates

ROOT: Final = Path(__file__).resolve().parents[1]
OUT: Final = ROOT / "bench" / "out"
RESULTS: Final = ROOT / "bench" / "results"


def measures(command: str, found: dict[str, Any], quick: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    """Name -> what measures it."""
    rounds, seconds = (1, 2.0) if quick else (5, 8.0)

    def hot() -> dict[str, Any]:
        return updates.measure(OUT, found, command, say, rounds=rounds, seconds=seconds, entities=updates.HOT)

    return {
        "updates": hot,
        "slow_disk": hot,
        "cold": lambda: updates.measure(
            OUT, found, command, say, rounds=1 if quick else 3, seconds=seconds, entities=updates.COLD
        ),
        "batches": lambda: batches.measure(OUT, command, say, rounds=1 if quick else 5),
        "questions": lambda: questions.measure(
            OUT, command, say, entities=20_000 if quick else questions.ENTITIES, seconds=1 if quick else 3
        ),
        "notices": lambda: notices.measure(
            OUT, notices.SERVER if command == server.OURS else command, say, notices.QUICK if quick else notices.Scale()
        ),
        "history": lambda: history.measure(OUT, say, days=30 if quick else history.DAYS, rounds=2 if quick else 7),
        "shared": lambda: shared.measure(OUT, command, say, rounds=1 if quick else 3, seconds=seconds),
        "start": lambda: starting.measure(OUT, command, say, rounds=1 if quick else 5),
    }


def say(text: str) -> None:
    """One line of progress."""
    print(f"  {text}", flush=True)


def main() -> int:
    """Measure what was asked for; 0 when everything could be measured, whatever the figures are."""
    parser = argparse.ArgumentParser(description="Measure speed and memory.")
    parser.add_argument("names", nargs="*", help="which measures (default: all)")
    parser.add_argument(
        "--quick", action="store_true", help="one short round each: to see that they run; nothing is written"
    )
    parser.add_argument("--server", default=server.OURS, help="another server's command, with {data} and {port} in it")
    wish = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    found = machine.describe(OUT)
    print(machine.sentence(found), flush=True)
    known = measures(wish.server, found, wish.quick)
    if unknown := set(wish.names) - known.keys():
        parser.error(f"there is no measure {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for name in wish.names or known:
        print(f"{name}:", flush=True)
        if name == "slow_disk" and not slow_disk.slowed():
            if slow_disk.possible():
                again = ["slow_disk", "--server", wish.server, *(["--quick"] if wish.quick else [])]
                slow_disk.run(OUT, [__file__, *again])
            continue
        before = machine.Moment.now()
        measured = known[name]() | {"machine": found, "measured_on": time.strftime("%Y-%m-%d", time.gmtime())}
        measured["cores_busy"] = machine.Moment.now().cores_busy(before)
        for goal in measured["goals"]:
            say(report.reading(goal))
        if not wish.quick:
            (RESULTS / f"{name}.json").write_text(json.dumps(report.shortened(measured), indent=1) + "\n")
    if not wish.quick:
        report.write(RESULTS, ROOT / "docs" / "speed.md")
    if not slow_disk.slowed():
        shutil.rmtree(OUT)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
