"""Whose a store is: one process owns it, held by a lock beside the file, which the kernel lets go with the process.

For: store/sqlite, which owns its file as long as it is open; store/keep, which keeps everybody out for a moment; who
serves a city that is kept elsewhere, for its folder.
Does not: lock anything within the file.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from shahar.values.errors import Unavailable


def take(path: Path) -> IO[str] | None:
    """Own the store at `path` until what is given back is closed; None when another process owns it."""
    lock = path.with_suffix(".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def owning(path: Path) -> IO[str]:
    """The same. Unavailable when another process owns it."""
    held = take(path)
    if held is None:
        raise Unavailable(f"{path.parent} is in use by another shahar process")
    return held


def owned(path: Path) -> bool:
    """Whether a process owns the store at `path` now."""
    try:
        with path.with_suffix(".lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
