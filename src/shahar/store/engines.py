"""Which engine a store has: told by its address, `postgresql://...` or a file's path.

Does not: open it. The room of an engine that is not used is not loaded.
"""

from __future__ import annotations

from pathlib import Path

from shahar.store.db import Database


def connect(where: Path | str) -> Database:
    """The store there, not open yet."""
    if isinstance(where, str) and where.startswith(("postgresql://", "postgres://")):
        from shahar.store.postgres import Postgres

        return Postgres(where)
    from shahar.store.sqlite import Sqlite

    return Sqlite(Path(where))
