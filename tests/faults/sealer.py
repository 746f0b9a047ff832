"""A process that seals a store and is killed by itself at the nth thing that it does to disk or store.

Usage: sealer.py FOLDER NOW NTH; an NTH of 0 is never reached. Only test_lake starts it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shahar.services.sealing import Sealing
from shahar.store.engines import connect
from shahar.store.lake import LAKE, Lake


def counting(nth: int) -> Callable[[], None]:
    """An act that kills this process when it is done the nth time."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if done == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


async def seal(folder: Path, now: int, nth: int) -> None:
    """Seal what is due, unless killed meanwhile."""
    count = counting(nth)
    db, lake = connect(folder / "shahar.db"), Lake(folder / LAKE)
    db.lake = lake
    await db.open()
    write, rename = db.write, lake.write

    async def writing(*given: Any, **more: Any) -> Any:
        count()
        found = await write(*given, **more)
        count()
        return found

    def renaming(*given: Any) -> Any:
        count()
        found = rename(*given)
        count()
        return found

    for room, act in ((db, writing), (lake, renaming)):
        setattr(room, "write", act)  # noqa: B010 -- a method is put in the place of another
    await Sealing(db, lake, lambda: now, 7).look(now)
    await db.close()


if __name__ == "__main__":
    asyncio.run(seal(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
