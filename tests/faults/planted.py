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

from shahar import main
from shahar.store import db, sqlite

VARIABLE: Final = "SHAHAR_TEST_PLANTED"
FAULT: Final = "answer-before-commit"
LATE_S: Final = 0.1
"""How long after its answer a group is committed: a disk that is slow, or a cache that says it has written."""


def plant() -> None:
    """Answer a group first, and make it durable a little later."""
    groups: dict[int, list[db.Job]] = {}
    deliver, begin, commit = db.Database._deliver, sqlite._Writing.begin, sqlite._Writing.commit

    def noting(self: sqlite._Writing, group: list[db.Job]) -> None:
        groups[id(self)] = group
        begin(self, group)

    def answering(self: sqlite._Writing) -> None:
        assert self._db._loop is not None
        self._db._loop.call_soon_threadsafe(self._db._deliver, list(groups[id(self)]))
        time.sleep(LATE_S)
        commit(self)

    def once(self: db.Database, group: list[db.Job]) -> None:
        deliver(self, [job for job in group if not job.future.done()])

    writing = sqlite._Writing
    for room, name, act in (
        (writing, "begin", noting),
        (writing, "commit", answering),
        (db.Database, "_deliver", once),
    ):
        setattr(room, name, act)


if __name__ == "__main__":
    if os.environ.get(VARIABLE) == FAULT:
        plant()
    raise SystemExit(main.main(sys.argv[1:]))
