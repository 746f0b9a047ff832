"""`shahar` with a clock that can be set: it is as far from the machine's as a file says.

Usage: stepped.py ARGUMENTS, with SHAHAR_TEST_STEP naming the file, which holds seconds. Nothing else differs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from shahar import main

VARIABLE: Final = "SHAHAR_TEST_STEP"


def step() -> None:
    """Let the one clock of the house be the one that can be set."""
    real, file = main.wall, Path(os.environ[VARIABLE])
    setattr(main, "wall", lambda: real() + int(file.read_text()) * 1_000_000)  # noqa: B010 -- it is a function there


if __name__ == "__main__":
    step()
    raise SystemExit(main.main(sys.argv[1:]))
