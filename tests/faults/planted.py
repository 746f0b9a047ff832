"""`shahar` with a fault planted in its store: it answers before it commits. Only test_kill starts it, to see itself
fail.

Usage: planted.py ARGUMENTS, with SHAHAR_TEST_PLANTED=answer-before-commit; without that it is `shahar ARGUMENTS`.
Nothing of this is in the package: the store's rooms are altered from here.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Final

import apsw

from shahar import main
from shahar.store import db

VARIABLE: Final = "SHAHAR_TEST_PLANTED"
FAULT: Final = "answer-before-commit"
LATE_S: Final = 0.1
"""How long after its answer a group is committed: a disk that is slow, or a cache that says it has written."""


def plant() -> None:
    """Answer a group first, and make it durable a little later."""
    groups: dict[int, list[db._Job]] = {}
    deliver, together = db.Database._deliver, db.Database._try_together

    def noting(self: db.Database, connection: apsw.Connection, tx: db.Tx, group: list[db._Job]) -> bool:
        groups[id(self)] = group
        return together(self, connection, tx, group)

    def answering(self: db.Database, connection: apsw.Connection) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._deliver, list(groups[id(self)]))
        time.sleep(LATE_S)
        connection.execute("COMMIT")

    def once(self: db.Database, group: list[db._Job]) -> None:
        deliver(self, [job for job in group if not job.future.done()])

    for name, act in (("_try_together", noting), ("_make_durable", answering), ("_deliver", once)):
        setattr(db.Database, name, act)


if __name__ == "__main__":
    if os.environ.get(VARIABLE) == FAULT:
        plant()
    raise SystemExit(main.main(sys.argv[1:]))
