"""A store of an earlier program, brought up to date on a copy that then takes its place.

Promises: the steps are tried on a copy, which is read whole and held against the store before anything is changed;
then it takes the store's place at once (store/keep.swap), so that whenever the power goes the folder holds the old
store or the new one; the old one is kept aside, for a way back with the old program. `rehearse` does all of it but the
last.
Refuses: a store of a later program; a folder in which a process works (not for `rehearse`); a disk without room.
Does not: what `serve` does at opening, in place and in one transaction, when nobody has asked before (store/migrate).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shahar.services import archive
from shahar.services.parcel import Progress
from shahar.store import keep
from shahar.values.errors import NotFound, Unavailable
from shahar.values.instants import SECOND, Instant

TRYING: Final = "upgrading.db"
COPIES: Final = 2
"""Room for the copy, and again for what the steps write."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done: from one schema to another, by these steps, with a store of so many bytes."""

    found: int
    wanted: int
    steps: tuple[str, ...]
    bytes: int

    @property
    def needed(self) -> int:
        """The room that it takes while it runs."""
        return COPIES * self.bytes


def plan(data: Path) -> Plan:
    """What there is to do with the city in `data`. NotFound, Unavailable when it is of a later program."""
    path = data / keep.NAME
    if not path.exists():
        raise NotFound(f"there is no city in {data}; name its folder with --data")
    steps = keep.missing(path)
    return Plan(keep.SCHEMA - len(steps), keep.SCHEMA, steps, path.stat().st_size)


def rehearse(data: Path, progress: Progress) -> float:
    """Try the steps on a copy, whether the city runs or not; the seconds that they took. Unavailable."""
    try:
        return _tried(data, progress)
    finally:
        _clear(data / TRYING)


def perform(data: Path, at: Instant, progress: Progress) -> str:
    """Bring the city up to date; the name under which the old store is kept aside. Conflict, Unavailable."""
    with keep.owning(data):
        try:
            _tried(data, progress)
            return keep.swap(data, data / TRYING, f"{keep.NAME}.before-{at // SECOND}")
        finally:
            _clear(data / TRYING)


def _tried(data: Path, progress: Progress) -> float:
    source, copy = data / keep.NAME, data / TRYING
    archive.need_room(data, plan(data).needed)
    _clear(copy)
    try:
        keep.copy(source, copy, _of(progress, "copying"))
        copy.chmod(0o600)
        before = keep.counts(copy)
        progress("upgrading", 0.0)
        took_s = keep.upgrade(copy)
        progress("upgrading", 1.0)
        problem = keep.check(copy, _of(progress, "checking"))
    except OSError as failure:
        raise Unavailable(f"{copy} cannot be written: {failure.strerror or failure}") from None
    after = keep.counts(copy)
    if not problem and any(after.get(table) != rows for table, rows in before.items()):
        problem = "a table holds another number of rows than before"
    if problem:
        raise Unavailable(f"the store cannot be brought up to date: {problem}", rule="nothing was changed")
    return took_s


def _of(progress: Progress, what: str) -> Callable[[float], None]:
    return lambda part: progress(what, part)


def _clear(copy: Path) -> None:
    for name in ("", "-wal", "-shm", "-journal"):
        copy.with_name(copy.name + name).unlink(missing_ok=True)
