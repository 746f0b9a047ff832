"""Which engine a store has: told by its address, a file's path here.

Does not: open it.
"""

from __future__ import annotations

from pathlib import Path

from shahar.store.db import Database
from shahar.store.sqlite import Sqlite


def connect(where: Path, readers: int = 2) -> Database:
    """The store there, not open yet."""
    return Sqlite(where, readers)
