"""A slower disk than the machine has: every fsync and fdatasync of a process and its children takes 3.7 ms more.

For: reading the rule for disks of 2 to 6 ms on a machine with a quick one.
It needs a C compiler (`cc`) and a dynamic loader that knows LD_PRELOAD. What it cannot imitate: the time that a slow
disk takes to carry the bytes themselves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

VARIABLE: Final = "BENCH_SYNC_NS"
MORE_NS: Final = 3_700_000
SOURCE: Final = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
static int late(const char *name, int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int done = real(file);
    long ns = atol(getenv("BENCH_SYNC_NS"));
    struct timespec nap = {ns / 1000000000L, ns % 1000000000L};
    nanosleep(&nap, NULL);
    return done;
}
int fsync(int file) { return late("fsync", file); }
int fdatasync(int file) { return late("fdatasync", file); }
"""


def slowed() -> bool:
    """Whether this process already runs on the slower disk."""
    return VARIABLE in os.environ


def possible() -> bool:
    """Whether there is a compiler to make one with."""
    return shutil.which("cc") is not None


def run(folder: Path, arguments: Sequence[str]) -> None:
    """Run Python with these arguments on a slower disk; the library for it is built in `folder`."""
    library = folder / "slow_disk.so"
    build = ["cc", "-O2", "-shared", "-fPIC", "-x", "c", "-o", str(library), "-", "-ldl"]
    subprocess.run(build, input=SOURCE, text=True, check=True)
    environment = os.environ | {"LD_PRELOAD": str(library), VARIABLE: str(MORE_NS)}
    subprocess.run([sys.executable, *arguments], env=environment, check=True)
