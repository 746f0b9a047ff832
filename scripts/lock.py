"""Writes the lock files: every package in one exact version, with the hashes of all its published files.

Why hashes of all files: the same lock then serves Linux, macOS and Windows, x86 and ARM. Why no index address: whoever
has a mirror of their own installs from the same lock. Run by `make lock`; needs pip-tools, which `make lock` installs
apart.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLAGS = [
    "--quiet",
    "--generate-hashes",
    "--allow-unsafe",
    "--strip-extras",
    "--no-header",
    "--no-annotate",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--no-emit-trusted-host",
    "--no-emit-options",
    "--resolver=backtracking",
]
LOCKS: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = [
    # file, its groups in pyproject.toml, the locks it must agree with
    ("requirements.lock", ("dependencies",), ()),
    ("requirements-dev.lock", ("dependencies", "dev"), ("requirements.lock",)),
    ("requirements-build.lock", ("build",), ("requirements-dev.lock",)),
    ("requirements-node.lock", ("node",), ()),
    ("requirements-bundle.lock", ("bundle",), ()),
    ("requirements-client.lock", ("client",), ()),
]


def groups() -> dict[str, list[str]]:
    """Return the named lists of requirements of pyproject.toml; `dependencies` is the runtime's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return {"dependencies": project["project"]["dependencies"], **project["dependency-groups"]}


def compile_lock(name: str, wanted: list[str], agrees_with: tuple[str, ...], upgrade: bool) -> None:
    """Write one lock file; raises CalledProcessError when the versions cannot be reconciled."""
    # PIP_FIND_LINKS would put hashes of this machine's own wheels in.
    environment = {key: value for key, value in os.environ.items() if key != "PIP_FIND_LINKS"}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "wanted.in")
        source.write_text("".join(f"{line}\n" for line in wanted), "utf-8")
        command = [sys.executable, "-m", "piptools", "compile", *FLAGS, *(["--upgrade"] if upgrade else [])]
        for other in agrees_with:
            command += ["--constraint", str(ROOT / other)]
        subprocess.run([*command, "--output-file", str(ROOT / name), str(source)], env=environment, check=True)


def main() -> None:
    """Write all locks in order; `--upgrade` takes the newest versions that pyproject.toml allows."""
    named = groups()
    for name, parts, agrees_with in LOCKS:
        print(f"lock: {name}", flush=True)
        compile_lock(name, [line for part in parts for line in named[part]], agrees_with, "--upgrade" in sys.argv[1:])


if __name__ == "__main__":
    main()
