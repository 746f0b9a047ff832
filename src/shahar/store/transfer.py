"""All of a store into another, whichever engine either has: table by table in the order of their keys, one snapshot.

For: moving between engines, backup and restore of a store that is no file (services/move, services/archive).
Promises
- Rows go over with the numbers by which they point at each other; what is left out is made again when it is needed
  (indexes on demand).
- A target that is not whole says so itself: it holds a table `moving` with how far each table has come, which its
  engine refuses to open, until `finish` drops it in the last transaction.
- What was broken off goes on where it stood, if the source is as it was (its mark); else it is refused.
- `compare` reads both and tells the digest of each table, or the first that differs.
Which tables there are is read from the steps (store/migrate), so that a new one is not forgotten.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, Final

import apsw
import orjson

from shahar.store.db import Bulk, Row, Tx
from shahar.store.migrate import MOVING, STEPS
from shahar.values.errors import Conflict, Unavailable

Progress = Callable[[float, str], None]
"""Told again and again: the part that is done, 0 to 1, and the table that is being copied."""

BATCH: Final = 8_192
EVERY: Final = 200_000
"""Rows after which what has come over is made durable."""
LEFT_OUT: Final = frozenset({"attribute_index"})
ROUGH: Final = frozenset({"place"})
"""Boxes that an engine may widen: only counted."""
_KINDS: Final = {"INTEGER": int, "INT": int, "TEXT": str, "REAL": float}


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its columns with the kind of their values, and those that make its key."""

    name: str
    columns: Mapping[str, type]
    key: tuple[str, ...]

    def after(self, last: Sequence[Any] | None) -> tuple[str, dict[str, Any]]:
        """The question for all rows behind the one with this key, in order."""
        names = ", ".join(self.key)
        given = {f"k{place}": value for place, value in enumerate(last or ())}
        rest = f" WHERE ({names}) > ({', '.join(f':{name}' for name in given)})" if given else ""
        return f"SELECT {', '.join(self.columns)} FROM {self.name}{rest} ORDER BY {names}", given

    def key_of(self, row: Row) -> list[Any]:
        """The key of a row."""
        found = dict(zip(self.columns, row, strict=True))
        return [found[name] for name in self.key]


@cache
def tables() -> tuple[Table, ...]:
    """Every table of the schema whose rows are copied, as the steps make them."""
    connection = apsw.Connection(":memory:")
    for step in STEPS:
        connection.execute(step.sql)
    listed = connection.execute("SELECT name FROM pragma_table_list WHERE type IN ('table', 'virtual') ORDER BY name")
    named = [str(name) for (name,) in listed if not str(name).startswith("sqlite_") and name not in LEFT_OUT]
    found = tuple(_table(connection, name) for name in named)
    connection.close()
    return found


def _table(connection: apsw.Connection, name: str) -> Table:
    columns: list[Any] = connection.execute(
        "SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid", (name,)
    ).fetchall()
    key = [str(column) for column, _, place in sorted(columns, key=lambda one: int(one[2])) if place]
    kinds = {str(column): _KINDS[str(kind)] for column, kind, _ in columns}
    return Table(name, kinds, tuple(key) or (str(columns[0][0]),))


class End(ABC):
    """One store, to be read or filled, from one thread. `tx` is used within `begin` and `commit`."""

    tx: Tx

    @abstractmethod
    def holding(self) -> AbstractContextManager[None]:
        """A context in which no process works in the store; Conflict when one does."""

    @abstractmethod
    def prepare(self) -> None:
        """Bring the schema of a store that is to be filled up to date, unless it was begun to be filled before."""

    @abstractmethod
    def begin(self) -> None:
        """Begin a transaction: what is read in it is one state."""

    @abstractmethod
    def commit(self) -> None:
        """Make it durable."""

    @abstractmethod
    def back(self) -> None:
        """Take it back."""

    @abstractmethod
    def settle(self) -> None:
        """What is due when all rows are there."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""

    @abstractmethod
    def check(self) -> None:
        """Unavailable when it is no whole store of the version that this program writes."""

    @abstractmethod
    def is_begun(self) -> bool:
        """Whether it was begun to be filled, and is not whole."""

    # -- of every engine ----------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """A transaction that ends with the block, taken back when that fails."""
        self.begin()
        try:
            yield self.tx
        except BaseException:
            self.back()
            raise
        self.commit()

    def is_empty(self) -> bool:
        """Whether nobody has put anything in it."""
        used = ("entity", "journal", "record")
        return not any(self.tx.row(f"SELECT 1 FROM {name} LIMIT 1") for name in used)

    def mark(self) -> str:
        """What tells this state of the store from another: each change writes a row of the journal."""
        asked = "SELECT (SELECT coalesce(max(seq), 0) FROM journal), (SELECT count(*) FROM history)"
        return "/".join(map(str, self.tx.rows(asked)[0]))

    def clear(self) -> None:
        """Take every row away."""
        for table in tables():
            self.tx.run(f"DELETE FROM {table.name}")
        for name in LEFT_OUT:
            self.tx.run(f"DELETE FROM {name}")

    def count(self, table: Table) -> int:
        """How many rows a table has."""
        found = self.tx.row(f"SELECT count(*) FROM {table.name}")
        return int(found[0]) if found else 0

    def fill(self, table: Table, rows: Sequence[Row]) -> None:
        """Write rows that are not there."""
        self.tx.later(Bulk(table.name, table.columns, fresh=True), rows)
        self.tx.settle()


def start(source: End, target: End) -> dict[str, tuple[list[Any] | None, int]]:
    """Begin to fill a store, or go on: how far each table has come, its last key (None: all is there) and its rows.

    Conflict when there is something else in it, or the source is not as it was when it was begun.
    """
    mark, tx = source.mark(), target.tx
    if target.is_begun():
        told = {str(name): (str(after), int(rows)) for name, after, rows in tx.rows(_SO_FAR)}
        if told.pop("")[0] != mark:
            detail = "the source has changed since this was begun"
            raise Conflict(detail, field="to", rule="begin anew: --afresh")
        return {name: (orjson.loads(after), rows) for name, (after, rows) in told.items()}
    if not target.is_empty():
        raise Conflict("there is a city in the target already", field="to", rule="an empty database, or folder")
    target.clear()
    tx.run(f"CREATE TABLE {MOVING}(name TEXT PRIMARY KEY, after TEXT NOT NULL, rows BIGINT NOT NULL)")
    _note(tx, "", mark, 0)
    return {}


_SO_FAR: Final = f"SELECT name, after, rows FROM {MOVING}"


def _note(tx: Tx, name: str, after: str, rows: int) -> None:
    tx.run(
        f"INSERT INTO {MOVING}(name, after, rows) VALUES(:name, :after, :rows)"
        " ON CONFLICT(name) DO UPDATE SET after = excluded.after, rows = excluded.rows",
        {"name": name, "after": after, "rows": rows},
    )


def fill(
    source: End, target: End, progress: Progress, so_far: Mapping[str, tuple[list[Any] | None, int]] | None = None
) -> dict[str, int]:
    """Copy every row that is not there; how many each table has. Both are within a transaction.

    `so_far`: what `start` has told; the target's transaction is then ended and begun again after `EVERY` rows. None:
    all of it in the transaction that the caller has begun.
    """
    whole = max(1, sum(source.count(table) for table in tables()))
    counts: dict[str, int] = {}
    done = waiting = 0
    for table in tables():
        last, rows = (so_far or {}).get(table.name, ([], 0))
        if last is not None:
            for batch in _batches(source.tx.iterate(*table.after(last or None))):
                target.fill(table, batch)
                rows, waiting = rows + len(batch), waiting + len(batch)
                if so_far is not None:
                    _note(target.tx, table.name, orjson.dumps(table.key_of(batch[-1])).decode(), rows)
                    waiting = _made_durable(target, waiting)
                progress(min(1.0, (done + rows) / whole), table.name)
            if so_far is not None:
                _note(target.tx, table.name, "null", rows)
        counts[table.name] = rows
        done += rows
    progress(1.0, "all")
    return counts


def _made_durable(target: End, waiting: int) -> int:
    if waiting < EVERY:
        return waiting
    target.commit()
    target.begin()
    return 0


def compare(source: End, target: End, progress: Progress) -> dict[str, str]:
    """The digest of each table, the same in both; Unavailable, naming the first table that differs."""
    found: dict[str, str] = {}
    whole = max(1, sum(source.count(table) for table in tables()))
    done = 0
    for table in tables():
        ours, theirs = ((one.count(table), digest(one, table)) for one in (source, target))
        if ours != theirs:
            raise Unavailable(f"the table {table.name} differs: {ours[0]} rows here, {theirs[0]} there")
        found[table.name] = ours[1]
        done += ours[0]
        progress(min(1.0, done / whole), table.name)
    progress(1.0, "all")
    return found


def digest(end: End, table: Table) -> str:
    """SHA-256 over the rows of a table in the order of its key; empty for one whose rows are `ROUGH`."""
    if table.name in ROUGH:
        return ""
    total = hashlib.sha256()
    for batch in _batches(end.tx.iterate(*table.after(None))):
        total.update(orjson.dumps(batch))
        total.update(b"\n")
    return total.hexdigest()


def forget(target: End) -> None:
    """Take away what a transfer that was broken off has left."""
    if target.is_begun():
        target.tx.run(f"DROP TABLE {MOVING}")
        target.clear()


def finish(target: End) -> None:
    """Say that it is whole."""
    target.tx.run(f"DROP TABLE {MOVING}")
    target.settle()


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    given = iter(rows)
    while batch := list(islice(given, BATCH)):
        yield batch
