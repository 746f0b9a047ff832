"""A store in PostgreSQL as one end of a transfer (store/transfer).

Promises: a source is read in one snapshot, while others may change it; a target is filled by COPY; while it is held no
process of ours works in it (each holds `used` together with the others, who fills it holds it alone).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Final

from shahar.store import keep
from shahar.store.db import Tx
from shahar.store.migrate import MOVING, STEPS, too_new
from shahar.store.postgres import line
from shahar.store.postgres.line import Line
from shahar.store.postgres.schema import bring_up
from shahar.store.postgres.tx import PgTx
from shahar.store.postgres.watch import used
from shahar.store.transfer import LEFT_OUT, End, tables
from shahar.values.errors import Conflict, Unavailable

HELD_S: Final = 4.0
"""How long a process that was just killed may seem to work: until the server notices."""


class PostgresEnd(End):
    """The store in the database at an address."""

    tx: PgTx

    def __init__(self, address: str) -> None:
        self.address = address
        waits = {"idle_in_transaction_session_timeout": "0", "statement_timeout": "0", "lock_timeout": "60s"}
        self._line = Line(address, client_connection_check_interval="1s", **waits)
        self._line.connect()
        self.tx = PgTx(self._line)

    @contextmanager
    def holding(self) -> Iterator[None]:
        schema = str(self._line.fetch("SELECT current_schema()", {})[0][0])
        until = monotonic() + HELD_S
        while not self._line.fetch(f"SELECT pg_try_advisory_lock({used(schema)})", {})[0][0]:
            if monotonic() < until:
                sleep(0.2)
                continue
            raise Conflict(f"a shahar process works in {line.shown(self.address)}: stop it first", field="database")
        try:
            yield
        finally:
            if self._line.up:
                self._line.script(f"SELECT pg_advisory_unlock({used(schema)})")

    def prepare(self) -> None:
        if not self.is_begun():
            self._line.do(bring_up(self._line.connection))

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        try:
            with super().transaction() as tx:
                yield tx
        except line.FAILURES as problem:
            raise line.translated(problem) from problem

    def clear(self) -> None:
        self._line.script("TRUNCATE " + ", ".join([*(table.name for table in tables()), *LEFT_OUT]))

    def look(self) -> keep.Look:
        """What is found in it; of another schema than ours only sizes."""
        size = int(self._line.fetch("SELECT pg_database_size(current_database())", {})[0][0])
        if (schema := self._schema()) != len(STEPS):
            return keep.Look(schema, size, 0)
        return keep.looked(lambda question: self._line.fetch(question, {}), size)

    def _schema(self) -> int:
        """How far its schema has come; 0 when there is none."""
        if not self._line.fetch("SELECT to_regclass('schema_version') IS NOT NULL", {})[0][0]:
            return 0
        return int(self._line.fetch("SELECT coalesce(max(version), 0) FROM schema_version", {})[0][0])

    def is_begun(self) -> bool:
        return bool(self._line.fetch(f"SELECT to_regclass('{MOVING}') IS NOT NULL", {})[0][0])

    def check(self) -> None:
        found = self._schema()
        if found > len(STEPS):
            raise too_new(found)
        if not found or self.is_begun():
            raise Unavailable(f"there is no whole city in {line.shown(self.address)}")
        if found < len(STEPS):
            raise Unavailable("the database is of an earlier version", rule="start this program on it once, first")

    def begin(self) -> None:
        self._line.script("BEGIN ISOLATION LEVEL REPEATABLE READ")

    def commit(self) -> None:
        self._line.script("COMMIT")

    def back(self) -> None:
        if self._line.up:
            self._line.script("ROLLBACK")

    def settle(self) -> None:
        """New rows get numbers behind those that came; questions are planned by what is there; nobody trusts what was
        remembered before.
        """
        for name in ("tenant", "name"):
            asked = f"SELECT setval(pg_get_serial_sequence('{name}', 'pk'), (SELECT max(pk) FROM {name}))"
            if self._line.fetch(f"SELECT max(pk) FROM {name}", {})[0][0] is not None:
                self._line.fetch(asked, {})
        self._line.script(
            "INSERT INTO writer VALUES('transfer', 1 + (SELECT coalesce(max(generation), 0) FROM writer), now())"
            " ON CONFLICT(process) DO UPDATE SET generation = excluded.generation, seen = excluded.seen; ANALYZE"
        )

    def close(self) -> None:
        self._line.close()
