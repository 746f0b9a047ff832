"""The command `shahar bundle FILE`: one file that installs this version on Debian and Ubuntu without internet.

The file is a shell script with a tar behind it (deploy/head.sh): the installer, the unit of systemd, our own wheel with
the browser part in it, pip, and the wheels of everything in requirements.lock for each Python that is asked for.
Promises: the wheels are those whose hashes the lock names; the same sources and lock make the same file, byte for byte;
a bundle that was not finished is not there.
Needs: a checkout of the sources with `make run` or `make wheel` done once (the browser part is built, hatchling is
there), and a way to a package index; the machine that it is for needs neither.
Refuses: to be made from an installed program, which has no lock (Unavailable).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shahar import __version__
from shahar.values.errors import Conflict, Invalid, Unavailable

if TYPE_CHECKING:
    from shahar.progress import Draw

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
BUILT: Final = Path(__file__).parent / "web" / "static" / "ops"
PYTHONS: Final = ("3.11", "3.12", "3.13")
"""Those of Debian 12 and 13 and of Ubuntu 24.04."""
MACHINES: Final = ("x86_64", "aarch64")
GLIBC: Final = range(5, 37)
"""Minor versions of glibc 2 whose wheels may be taken: Debian 12 has 2.36."""


@dataclass(frozen=True, slots=True)
class Made:
    """A bundle: how large it is, and the SHA-256 of all of it, to be compared where it arrives."""

    bytes: int
    sha256: str
    wheels: int


def arguments(command: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    command.add_argument("file", type=Path, help="the new file, such as shahar-0.1.0.sh")
    command.add_argument("--pythons", default=",".join(PYTHONS), help="for these versions of Python, by comma")
    command.add_argument("--wheels", type=Path, help="keep the wheels in this folder, and take those that are there")
    machine = os.uname().machine
    command.add_argument("--machine", default=machine, help=f"{' or '.join(MACHINES)} (default: {machine}, as here)")


def make(to: Path, pythons: Sequence[str], machine: str, draw: Draw, wheels: Path | None = None) -> Made:
    """Make the bundle; `wheels`: where wheels are kept from one time to the next. Invalid, Conflict, Unavailable."""
    from tempfile import TemporaryDirectory  # a start of the server does not wait for what only this needs

    _check(to, pythons, machine)
    with TemporaryDirectory(dir=to.parent, prefix=f".{to.name}.") as named:
        folder = Path(named)
        draw("our own wheel", 0.0)
        ours = _own_wheel(folder)
        draw("our own wheel", 1.0)
        wanted = [("requirements.lock", python) for python in pythons] + [("requirements-bundle.lock", pythons[0])]
        found: dict[str, Path] = {}
        for number, (lock, python) in enumerate(wanted):
            draw("wheels", number / len(wanted))
            found |= {one.name: one for one in _wheels(lock, wheels or folder / "wheels", python, machine)}
        draw("wheels", 1.0, f"{len(found)} of them")
        payload = folder / "payload.tar"
        _pack(payload, _members(ours, [found[name] for name in sorted(found)], pythons, machine))
        part = folder / "part"
        _join(part, payload, pythons, machine)
        part.chmod(0o755)
        part.replace(to)
    return Made(to.stat().st_size, _digest(to), len(found))


def _check(to: Path, pythons: Sequence[str], machine: str) -> None:
    if not (ROOT / "requirements.lock").exists() or not DEPLOY.is_dir():
        raise Unavailable("a bundle is made from a checkout of the sources", rule="git clone, make run, shahar bundle")
    if not any(BUILT.glob("*")):
        raise Unavailable("the browser part is not built", rule="make wheel, which builds it")
    if machine not in MACHINES:
        raise Invalid(f"{machine} is no machine for which there are wheels", field="machine", rule=", ".join(MACHINES))
    for python in pythons:
        major, _, minor = python.partition(".")
        if major != "3" or not minor.isdigit() or int(minor) < 11:
            raise Invalid(f"{python!r} is no Python that it runs on", field="pythons", rule="3.11 or later, by comma")
    if to.exists():
        raise Conflict(f"{to} is there already", field="file", rule="the name of a file that is not there yet")


def _own_wheel(folder: Path) -> Path:
    """Our own wheel, built now."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1577836800"}
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], "building it", environment)
    return next(folder.glob("shahar-*.whl"))


def _wheels(lock: str, kept: Path, python: str, machine: str) -> list[Path]:
    """The wheels of a lock for one Python, each held against its hash; taken from below `kept` when they are there."""
    folder = kept / f"{_digest(ROOT / lock)[:16]}-{python}-{machine}"
    if not folder.is_dir():
        part = folder.with_suffix(".part")
        _download(lock, part, python, machine)
        part.rename(folder)
    return list(folder.glob("*.whl"))


def _download(lock: str, to: Path, python: str, machine: str) -> None:
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in reversed(GLIBC)]
    platforms += [f"{name}_{machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    words += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(ROOT / lock), "-d", str(to)]
    words += ["--implementation", "cp", "--python-version", python]
    _run([*words, *(word for name in platforms for word in ("--platform", name))], f"taking the wheels of {lock}")


def _run(words: Sequence[str], what: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
        raise Unavailable(f"{what} failed: {said[-1]}")


def _members(
    ours: Path, wheels: Sequence[Path], pythons: Sequence[str], machine: str
) -> Iterator[tuple[str, Path | bytes]]:
    """What stands in the tar: name, and file or content."""
    told = {"VERSION": __version__, "BUILD": _digest(ours)[:8], "MACHINE": machine, "PYTHONS": " ".join(pythons)}
    yield "bundle.conf", "".join(f"{name}='{value}'\n" for name, value in told.items()).encode()
    for name in ("install.sh", "command.sh", "shahar.service", "Caddyfile", "nginx.conf"):
        yield name, DEPLOY / name
    for file in (ROOT / "requirements.lock", ROOT / "LICENSE", ROOT / "docs" / "install.md", ours):
        yield file.name, file
    for wheel in wheels:
        yield f"wheels/{wheel.name}", wheel


def _pack(to: Path, members: Iterator[tuple[str, Path | bytes]]) -> None:
    import tarfile

    with tarfile.open(to, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, given in members:
            member = tarfile.TarInfo(name)
            member.mode = 0o644
            if isinstance(given, bytes):
                member.size = len(given)
                archive.addfile(member, io.BytesIO(given))
            else:
                member.size = given.stat().st_size
                with given.open("rb") as content:
                    archive.addfile(member, content)


def _join(to: Path, payload: Path, pythons: Sequence[str], machine: str) -> None:
    """The script, and the tar behind it."""
    head = (DEPLOY / "head.sh").read_text()
    told = {"VERSION": __version__, "MACHINE": machine, "PYTHONS": ", ".join(pythons), "SUM": _digest(payload)}
    for name, value in {**told, "SKIP": str(head.count("\n") + 1)}.items():
        head = head.replace(f"@{name}@", value)
    with to.open("wb") as out, payload.open("rb") as content:
        out.write(head.encode())
        while chunk := content.read(1 << 20):
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())


def _digest(file: Path) -> str:
    with file.open("rb") as given:
        return hashlib.file_digest(given, "sha256").hexdigest()
