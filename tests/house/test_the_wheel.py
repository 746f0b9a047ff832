"""The wheel holds everything the command needs: the sources, and the words, templates, data and the built browser part
with them.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.house import reading


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what a wheel is made of, with a browser part in the place where git ignores it."""
    for name in ("pyproject.toml", "LICENSE", "README.md", ".gitignore"):
        shutil.copy(reading.ROOT / name, tmp_path / name)
    shutil.copytree(
        reading.PACKAGE_FOLDER, tmp_path / "src" / "shahar", ignore=shutil.ignore_patterns("__pycache__", "ops")
    )
    built = tmp_path / "src" / "shahar" / "web" / "static" / "ops"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_text("<!doctype html>", "utf-8")
    (built / "assets" / "main.js").write_text("export {}", "utf-8")
    return tmp_path


def test_the_wheel_holds_every_file_of_the_package_and_the_built_browser_part(checkout: Path) -> None:
    package = checkout / "src" / "shahar"
    wanted = {f"shahar/{path.relative_to(package).as_posix()}" for path in package.rglob("*") if path.is_file()}
    wheel = next(WheelBuilder(str(checkout)).build(directory=str(checkout / "dist"), versions=["standard"]))
    with zipfile.ZipFile(wheel) as packed:
        held = set(packed.namelist())
        entry_points = packed.read(next(name for name in held if name.endswith("entry_points.txt"))).decode()
    assert {"shahar/web/static/ops/index.html", "shahar/web/static/ops/assets/main.js"} <= held
    assert sorted(wanted - held) == []
    assert "shahar = shahar.main:main" in entry_points
