"""A transaction of PostgreSQL as a work sees it.

Promises: what is put off is written with one statement a kind; long answers come through a cursor on the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from time import monotonic
from typing import Any, Final

import asyncpg

from shahar.store.db import NONE, READ_TIMEOUT_S, Bindings, Bulk, Row, Tx
from shahar.store.dialect import POSTGRES
from shahar.store.postgres.line import Line, numbered
from shahar.values.errors import TooComplex

FIRST_FETCH: Final = 64
FETCH: Final = 1024
SOBER: Final = 8
_KINDS: Final = {int: "bigint", float: "float8", str: "text"}


class PgTx(Tx):
    """A transaction of PostgreSQL on one line."""

    dialect = POSTGRES

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line
        self._changes = 0
        self._sober = 0
        """How often not to hope that rows are new."""
        self.deadline: float | None = None
        """Until when it may ask (time.monotonic)."""

    def rows(self, sql: str, bindings: Bindings = NONE, *, apart: bool = False) -> list[Row]:
        self._ready(sql, apart)
        return self._line.fetch(sql, bindings)

    def row(self, sql: str, bindings: Bindings = NONE, *, apart: bool = False) -> Row | None:
        self._ready(sql, apart)
        found = self._line.fetch(sql, bindings)
        return found[0] if found else None

    def iterate(self, sql: str, bindings: Bindings = NONE, *, apart: bool = False) -> Iterable[Row]:
        self._ready(sql, apart)
        return self._stream(sql, bindings)

    def run(self, sql: str, bindings: Bindings = NONE, *, apart: bool = False) -> int:
        self._ready(sql, apart)
        return self._line.execute(sql, bindings)

    def _stream(self, sql: str, bindings: Bindings) -> Iterator[Row]:
        text, names, _ = numbered(sql)
        cursor: Any = self._line.do(self._line.connection.cursor(text, *[bindings[name] for name in names]))
        wanted = FIRST_FETCH
        while True:
            self._in_time()
            found = self._line.do(cursor.fetch(wanted))
            yield from map(tuple, found)
            if len(found) < wanted:
                return
            wanted = FETCH

    def _ready(self, sql: str, apart: bool) -> None:
        if self._put_off and not apart:
            self.settle()
        if not numbered(sql)[2]:
            self._changes += 1
        self._in_time()

    def _in_time(self) -> None:
        if self.deadline is not None and monotonic() > self.deadline:
            rule = f"queries end within {READ_TIMEOUT_S:.0f} s"
            raise TooComplex("the query did not end within its time", rule=rule)

    def _write(self, kind: Bulk, rows: Sequence[Row]) -> None:
        if not rows:
            return
        if kind.fresh:
            self._line.copy(kind.table, list(kind.columns), rows)
            return
        if kind.key and not (kind.last_wins or kind.sums):
            rows = list({row[: kind.key]: row for row in rows}.values())
        if not kind.mostly_new or not self._hoped(kind, rows):
            self._line.put(_statement(kind), list(zip(*rows, strict=True)))

    def _hoped(self, kind: Bulk, rows: Sequence[Row]) -> bool:
        """Write rows as if none were there yet, at a third of the price; False, and nothing written, when one is."""
        if self._sober:
            self._sober -= 1
            return False
        self._line.script("SAVEPOINT hope")
        try:
            self._line.copy(kind.table, list(kind.columns), rows)
        except asyncpg.UniqueViolationError:
            self._line.script("ROLLBACK TO SAVEPOINT hope")
            self._sober = SOBER
            return False
        return True

    @property
    def changes(self) -> int:
        return self._changes + self._rows_ever


def _statement(kind: Bulk) -> str:
    found = kind.forms.get("unnest")
    if found is None:
        columns = ", ".join(kind.columns)
        given = ", ".join(f"${place}::{_KINDS[one]}[]" for place, one in enumerate(kind.columns.values(), 1))
        conflict = kind.conflict.replace(f"{kind.long})", f"md5({kind.long}))", 1) if kind.long else kind.conflict
        found = f"INSERT INTO {kind.table}({columns}) SELECT * FROM unnest({given}) AS given({columns}) {conflict}"
        kind.forms["unnest"] = found
    return found
