"""A city from one store to another, whichever engine either has: `shahar move --from A --to B`.

Promises: nobody works in either meanwhile; what was broken off goes on where it stood; the target is a city only when
both were read again and every table's count and digest is the same; the source is left as it was.
Refuses: a target in which there is a city; a source that has changed since a move was broken off; a source of another
version. Does not: take along what lies beside the store (sealed days, the MQTT server's messages): they belong to the
data folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shahar.services.parcel import Progress
from shahar.store import keep, transfer
from shahar.store.ends import end
from shahar.store.transfer import End
from shahar.values.errors import Conflict, Invalid, NotFound

HALF: Final = "moving.db"
"""A store in a file that is not whole yet."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What came over: rows and digest of each table."""

    counts: dict[str, int]
    digests: dict[str, str]


def place(address: str) -> Path | str:
    """What an address means: a database, or the file in a data folder. Invalid."""
    if address.startswith(("postgresql://", "postgres://")):
        return address
    if "://" in address:
        raise Invalid(f"{address!r} is no store", field="address", rule="postgresql://user@host/name, or a data folder")
    return Path(address) / keep.NAME


def move(source: Path | str, target: Path | str, progress: Progress, *, afresh: bool = False) -> Moved:
    """Bring the city of `source` to `target`. NotFound, Conflict, Unavailable."""
    if source == target:
        raise Conflict("both are the same store", field="to")
    if isinstance(source, Path) and not source.exists():
        raise NotFound(f"there is no city in {source.parent}", field="from")
    with _opened(source) as giving, _half(target, afresh) as taking:
        giving.check()
        taking.prepare()
        if afresh:
            with taking.transaction():
                transfer.forget(taking)
        with giving.transaction(), taking.transaction():
            so_far = transfer.start(giving, taking)
            taking.commit()
            taking.begin()
            counts = transfer.fill(giving, taking, lambda part, name: progress("copying", part, name), so_far)
            taking.commit()
            taking.begin()
            digests = transfer.compare(giving, taking, lambda part, name: progress("comparing", part, name))
            transfer.finish(taking)
    if isinstance(target, Path):
        with keep.owning(target.parent):
            keep.swap(target.parent, target.parent / HALF, f"{keep.NAME}.before-move")
    return Moved(counts, digests)


@contextmanager
def _opened(where: Path | str) -> Iterator[End]:
    with ExitStack() as stack:
        found = end(where)
        stack.callback(found.close)
        stack.enter_context(found.holding())
        yield found


@contextmanager
def _half(target: Path | str, afresh: bool) -> Iterator[End]:
    """The target while it is not whole."""
    if isinstance(target, Path):
        if target.exists():
            raise Conflict(f"there is a city in {target.parent} already", field="to", rule="another folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        target = target.with_name(HALF)
        if afresh:
            for name in ("", "-wal", "-shm", "-journal"):
                target.with_name(HALF + name).unlink(missing_ok=True)
    with _opened(target) as found:
        yield found
