"""Makes the virtual environment `.venv` and installs into it from the lock files. Called as `python -m scripts.install
run` (or `dev`, `node`, `client`).

Binary packages only, every file checked against its hash: nothing is compiled here and nothing unknown is run. A second
call with unchanged locks does nothing. `dev` holds everything of `run`, so that one environment serves both. `client`
is a library of others with which a test drives a server; it agrees with none of our versions and has `.venv-client`.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from scripts.steps import ROOT, digest, install_debian, is_done, mark_done, run, say, stop

INSIDE = "Scripts/python.exe" if os.name == "nt" else "bin/python"
LOCKS = {
    "run": ("requirements.lock", "requirements-build.lock"),
    "dev": ("requirements-dev.lock",),
    "node": ("requirements-node.lock",),
    "client": ("requirements-client.lock",),
}
OURS = frozenset({"run", "dev"})
"""The kinds that hold the package itself."""


def environment_of(kind: str) -> Path:
    """Where the environment of a kind is."""
    return ROOT / (".venv-client" if kind == "client" else ".venv")


def make_environment(venv: Path) -> None:
    """Make it anew unless it is there, works, has this Python's version and was made at this place."""
    stamp, python = venv / ".stamp-venv", venv / INSIDE
    wanted = digest([str(venv), ".".join(map(str, sys.version_info[:2]))])
    works = python.exists() and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
    if works and is_done(stamp, wanted):
        return
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    # Debian keeps the part of Python that makes environments in a package of its own.
    if importlib.util.find_spec("ensurepip") is None and not install_debian([f"python{version}-venv"]):
        stop(f"Python {version} has no venv module here: install python3-venv and call make again.")
    say(f"making the virtual environment {venv.name} (Python {version})")
    run([sys.executable, "-m", "venv", "--clear", venv], "the virtual environment could not be made, see above.")
    mark_done(stamp, wanted)


def pip(venv: Path, options: list[str | Path], failure: str) -> None:
    """Let the environment's pip install, without a question and without a word unless it fails."""
    command: list[str | Path] = [venv / INSIDE, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*command, "--no-input", *options], failure)


def install_locks(kind: str) -> None:
    """Install the lock files of one kind, exactly as written."""
    options: list[str | Path] = ["--require-hashes", "--only-binary", ":all:"]
    for lock in LOCKS[kind]:
        options += ["-r", ROOT / lock]
    named = " and ".join(LOCKS[kind])
    say(f"installing from {named}")
    pip(environment_of(kind), options, f"installing from {named} failed, see above; is there a way to a package index?")


def install_package() -> None:
    """Install the package itself by reference to `src/`, so that a changed source needs no installing."""
    options: list[str | Path] = ["--no-deps", "--no-build-isolation", "--no-index", "--editable", ROOT]
    pip(environment_of("run"), options, "installing the package itself failed, see above.")


def install(kind: str) -> None:
    """Bring its environment to one kind (of LOCKS); does nothing when it is there already."""
    venv = environment_of(kind)
    make_environment(venv)
    stamp = venv / f".stamp-{kind}"
    names = [*LOCKS[kind], *(["pyproject.toml"] if kind in OURS else [])]
    wanted = digest(ROOT / name for name in names)
    if is_done(stamp, wanted):
        return
    install_locks(kind)
    if kind in OURS:
        install_package()
    mark_done(stamp, wanted)


if __name__ == "__main__":
    for asked in sys.argv[1:] or ["run"]:
        if asked not in LOCKS:
            stop(f"install.py knows {', '.join(LOCKS)}, not {asked!r}.")
        install(asked)
