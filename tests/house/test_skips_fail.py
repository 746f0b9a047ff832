"""Where everything is required, a skipped test makes the run fail, in whatever way it is skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import reading

WAYS = {
    "call": "import pytest\ndef test_a() -> None:\n    pytest.skip('no browser here')\n",
    "mark": "import pytest\n@pytest.mark.skip(reason='no browser here')\ndef test_a() -> None: ...\n",
    "file": "import pytest\npytest.skip('no browser here', allow_module_level=True)\n",
    "import": "import pytest\npytest.importorskip('no_such_module', reason='no browser here')\n",
}
PASSES = "def test_b() -> None:\n    assert True\n"
FAILS_AS_EXPECTED = "import pytest\n@pytest.mark.xfail(reason='known')\ndef test_c() -> None:\n    assert False\n"


def run(folder: Path, text: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on one file with our conftest beside it."""
    (folder / "conftest.py").write_text((reading.ROOT / "tests" / "conftest.py").read_text("utf-8"), "utf-8")
    (folder / "test_one.py").write_text(text, "utf-8")
    (folder / "test_two.py").write_text(PASSES, "utf-8")
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "SHAHAR_TEST_REQUIRE_ALL"}}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    return subprocess.run(command, cwd=folder, env={**kept, **settings}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("way", WAYS)
def test_a_skip_is_a_failure_where_everything_is_required(tmp_path: Path, way: str) -> None:
    done = run(tmp_path, WAYS[way], SHAHAR_TEST_REQUIRE_ALL="1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "no browser here" in done.stdout.partition("nothing may be skipped here")[2]


def test_a_skip_is_a_failure_in_continuous_integration(tmp_path: Path) -> None:
    assert run(tmp_path, WAYS["call"], CI="true").returncode == 1


def test_a_skip_is_only_told_elsewhere(tmp_path: Path) -> None:
    assert run(tmp_path, WAYS["call"]).returncode == 0


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    assert run(tmp_path, FAILS_AS_EXPECTED, SHAHAR_TEST_REQUIRE_ALL="1").returncode == 0
