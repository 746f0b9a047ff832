"""A store in a file as one end of a transfer (store/transfer), and which end an address means.

Promises: a file that is filled is a file of its own until it is whole; then it alone is the whole store (nothing
stands in a log beside it), so that it can be put in place at once (store/keep.swap).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import apsw

from shahar.store import keep
from shahar.store.db import Tx
from shahar.store.migrate import MOVING, migrate, pending
from shahar.store.sqlite import LiteTx
from shahar.store.transfer import End
from shahar.values.errors import Invalid, Unavailable


def end(where: Path | str) -> End:
    """The store at this address or file as an end of a transfer, not opened by any process of ours."""
    if isinstance(where, str):
        from shahar.store.postgres.end import PostgresEnd

        return PostgresEnd(where)
    return FileEnd(where)


def looked(address: str) -> keep.Look:
    """What is found in the store of a database."""
    from shahar.store.postgres.end import PostgresEnd

    found = PostgresEnd(address)
    try:
        return found.look()
    finally:
        found.close()


class FileEnd(End):
    """The store in a file, which is made when it is not there."""

    tx: LiteTx

    def __init__(self, path: Path) -> None:
        self.path, self._filled = path, False
        try:
            self._connection = apsw.Connection(str(path))
            self._connection.set_busy_timeout(10_000)
            self._connection.execute("PRAGMA synchronous=FULL").fetchall()
            self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except apsw.Error as problem:
            raise Invalid(f"{path} cannot be opened as a store: {problem}", field="data") from None
        self.tx = LiteTx(self._connection)

    def holding(self) -> AbstractContextManager[None]:
        return keep.owning(self.path.parent)

    def prepare(self) -> None:
        self._filled = True
        self.path.chmod(0o600)
        self._connection.execute("PRAGMA journal_mode=WAL").fetchall()
        migrate(self._connection)

    def check(self) -> None:
        if pending(self._connection):
            raise Unavailable(f"{self.path} is of an earlier version", rule="shahar upgrade, first")

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        try:
            with super().transaction() as tx:
                yield tx
        except apsw.Error as problem:
            raise Unavailable(f"{self.path} cannot be used: {problem}") from problem

    def is_begun(self) -> bool:
        return bool(self.tx.row("SELECT 1 FROM sqlite_schema WHERE name = :name", {"name": MOVING}))

    def begin(self) -> None:
        self._connection.execute("BEGIN")

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def settle(self) -> None:
        """Nothing is due: rows without a number of their own get it from the highest there."""

    def close(self) -> None:
        if self._filled:
            self._connection.execute("PRAGMA journal_mode=DELETE").fetchall()
        self._connection.close(True)
