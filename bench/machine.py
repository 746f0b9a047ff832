"""What machine this is, how long its disk takes to make bytes durable, and what a process has used of it.

Read from /proc, so that measuring adds nothing to what is measured. Linux only. No name of the machine and no path
leaves this room.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.figures import median, percentile

FSYNCS: Final = 200
PAGE_BYTES: Final = 4_096
REFERENCE_STEPS: Final = 1_000_000
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def fsync_ms(folder: Path) -> dict[str, float]:
    """Median and 95th percentile, in milliseconds, of 200 fdatasync calls, each after 4 KB were appended to a file in
    `folder`.
    """
    file = folder / "fsync.bin"
    page = os.urandom(PAGE_BYTES)
    taken: list[float] = []
    with file.open("wb", buffering=0) as out:
        for _ in range(FSYNCS):
            out.write(page)
            started = time.perf_counter()
            os.fdatasync(out.fileno())
            taken.append((time.perf_counter() - started) * 1_000)
    file.unlink()
    return {"median": median(taken), "p95": percentile(taken, 95)}


def processor() -> str:
    """The processor's model as the system names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def reference_ms() -> float:
    """Processor time, in milliseconds, of a million turns of an empty Python loop, the best of five: how fast this
    core runs Python.
    """
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        for _ in range(REFERENCE_STEPS):
            pass
        best = min(best, time.process_time() - started)
    return best * 1_000


def describe(folder: Path) -> dict[str, Any]:
    """Everything about the machine that a figure's reader needs; `folder` is where the data lie."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "fsync_ms": fsync_ms(folder),
        "reference_ms": reference_ms(),
        "load_1_min": os.getloadavg()[0],
    }


def sentence(machine: dict[str, Any]) -> str:
    """What `describe` found, as it is printed first."""
    fsync = machine["fsync_ms"]
    return (
        f"fsync {fsync['median']:.2f} ms (median of {FSYNCS}, p95 {fsync['p95']:.2f});"
        f" {machine['cores']} cores of {machine['processor']}, Python {machine['python']},"
        f" a million empty turns {machine['reference_ms']:.0f} ms; load {machine['load_1_min']:.1f}."
    )


def cpu_s(pid: int | str = "self") -> float:
    """Seconds of processor time that a process and the processes that it started have used, user and system, all their
    threads (resolution 10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    used = sum(map(int, fields[11:15])) / _TICKS  # its own, and of those that have ended
    started = " ".join(file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children"))
    return used + sum(cpu_s(int(child)) for child in started.split())


def resident_mb(pid: int) -> float:
    """Resident memory of a process in megabytes (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1_024 / 1e6
    raise OSError(f"process {pid} tells no resident memory")


@dataclass(frozen=True, slots=True)
class Moment:
    """Where the machine's clocks stood: wall seconds, seconds in which a core was busy, and seconds in which it was
    stolen or idle.
    """

    wall_s: float
    busy_s: float

    @classmethod
    def now(cls) -> Moment:
        """The clocks as they stand."""
        user, nice, system, _idle, _wait, irq, soft, steal = map(
            int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        )
        return cls(time.perf_counter(), (user + nice + system + irq + soft + steal) / _TICKS)

    def cores_busy(self, since: Moment) -> float:
        """How many cores were busy on the average since then, whoever used them."""
        return (self.busy_s - since.busy_s) / max(self.wall_s - since.wall_s, 1e-9)
