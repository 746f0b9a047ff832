"""What the setting-up scripts share: saying a step in a line, remembering that a step is done, and ending in one
sentence.

A step is remembered as a stamp: a file that holds the digest of everything the step depends on. The digest is of
contents, not of times, for a fresh clone gives every file the same time. Standard library only: these scripts run
before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"


def say(sentence: str) -> None:
    """Tell the person at the terminal, in a line, what is being done."""
    print(f"shahar: {sentence}", file=sys.stderr, flush=True)


def stop(sentence: str) -> NoReturn:
    """End with one clear sentence and a non-zero exit."""
    sys.exit(f"shahar: {sentence}")


def everything_required() -> bool:
    """Tell whether a missing part is a failure (continuous integration) and not merely something to mention."""
    return os.environ.get("CI") == "true" or os.environ.get("SHAHAR_TEST_REQUIRE_ALL", "") not in ("", "0")


def digest(parts: Iterable[str | Path]) -> str:
    """Return the digest of texts and of the contents of files, in the given order; a missing file counts as empty."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            name, content = part.name, part.read_bytes() if part.is_file() else b""
        else:
            name, content = "", part.encode()
        total.update(f"{name}:{len(content)}:".encode())
        total.update(content)
    return total.hexdigest()


def is_done(stamp: Path, wanted: str) -> bool:
    """Tell whether the step behind this stamp was done for exactly this digest."""
    return stamp.is_file() and stamp.read_text("utf-8") == wanted


def mark_done(stamp: Path, wanted: str) -> None:
    """Remember that the step was done; called after it, so that an interrupted step is begun again."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(wanted, "utf-8")


def run(command: Sequence[str | Path], failure: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> None:
    """Run a command, showing what it prints only when it fails; then end with the sentence `failure`."""
    done = subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout + done.stderr)
        stop(failure)


def install_debian(packages: Sequence[str]) -> bool:
    """Install Debian packages when this is Debian and we are root; return whether they are there now. Asks nothing."""
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    for command in (install, ["apt-get", "update", "-q"], install):  # the lists of a fresh machine are empty
        done = subprocess.run(command, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if command is install and done.returncode == 0:
            return True
    return False
