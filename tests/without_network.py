"""Runs a command where there is no network: in a namespace with a loopback device and no route.

For: tests of what must work without internet. `words(...)` is the command line; this file, run as a program, is what
stands between `unshare` and the command.
Promises: the command does not start where a route is, so that a test cannot pass by chance.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

SIOCSIFFLAGS: Final = 0x8914
UP: Final = 0x1


def words(*command: str) -> list[str]:
    """The command line that does a command without network, as whoever calls."""
    rights = [] if os.geteuid() == 0 else ["--map-current-user", "--keep-caps"]
    return ["unshare", *rights, "--net", sys.executable, __file__, *command]


def missing() -> str:
    """Why no command can be run so here; empty when one can."""
    if shutil.which("unshare") is None:
        return "unshare (util-linux) is not here"
    tried = subprocess.run(words("true"), capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"no network namespace can be made: {tried.stderr.strip()[-200:]}"


def main() -> None:
    """Bring the loopback device up, look that there is no way out, become the command."""
    with socket.socket() as speaking:
        fcntl.ioctl(speaking, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", UP))
    routes = Path("/proc/net/route").read_text().splitlines()[1:]
    assert routes == [], f"there is a way out: {routes}"
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
