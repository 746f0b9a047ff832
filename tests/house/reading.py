"""Reads the house from the disk for the rules: the package's sources, the tests', and the files that git keeps or would
keep.
"""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from tests.house.rules import Source

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE_FOLDER: Final = ROOT / "src" / "shahar"
NOT_TEXT: Final = (
    ".png",
    ".jpg",
    ".webp",
    ".woff2",
    ".ico",
    ".gz",
    ".br",
    ".parquet",
    ".pbf",
    ".zip",
    ".db",
    ".bin",
    ".pdf",
)
NOT_OURS: Final = ("LICENSE",)


def source_of(path: Path, root: Path) -> Source:
    """Return one file as a source, its room named by its place below `root`."""
    parts = list(path.relative_to(root).with_suffix("").parts)
    is_folder = parts[-1] == "__init__"
    return Source(".".join(parts[:-1] if is_folder else parts), path.read_text("utf-8"), is_folder)


@cache
def package_sources() -> tuple[Source, ...]:
    """Return every Python source of the package."""
    return tuple(source_of(path, PACKAGE_FOLDER) for path in sorted(PACKAGE_FOLDER.rglob("*.py")))


@cache
def test_sources() -> tuple[Source, ...]:
    """Return every Python source of the tests and of the setting-up scripts."""
    folders = [ROOT / "tests", ROOT / "scripts", ROOT / "bench"]
    return tuple(source_of(path, ROOT) for folder in folders for path in sorted(folder.rglob("*.py")))


@cache
def systems() -> tuple[str, ...]:
    """Return the names of the systems in the tree: the folders of `systems/`."""
    folder = PACKAGE_FOLDER / "systems"
    if not folder.is_dir():
        return ()
    return tuple(sorted(path.name for path in folder.iterdir() if (path / "__init__.py").is_file()))


@cache
def committed_files() -> tuple[Path, ...]:
    """Return every text file that git keeps or would keep."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    paths = [ROOT / name for name in listed if name]
    return tuple(path for path in paths if path.is_file() and path.suffix not in NOT_TEXT and path.name not in NOT_OURS)


def text_of(path: Path) -> str:
    """Return a file's text; empty when it is not text after all."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return ""
