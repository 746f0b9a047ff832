"""A small disk fills up under writers: each fault is said once in the log and by the doctor, nothing is half there, a
backup has no half file, and with room it goes on.

The disk is a file system of its own in memory, which takes a machine where one may be mounted (as root).
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import City, command

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

MEGABYTES = 24
ENTITIES = "/ngsi-ld/v1/entities"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """The folder of a file system with little room."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=False)


def entity(number: int) -> dict[str, object]:
    """One of 20 KB."""
    return {"id": f"urn:e:{number}", "type": "T", "text": {"type": "Property", "value": "x" * 20_000}}


def lines(said: str, event: str) -> int:
    """How often the log names it."""
    return sum(json.loads(line)["event"] == event for line in said.splitlines() if line.startswith("{"))


def test_a_small_disk_that_fills_up_is_said_once_and_loses_nothing(small: Path, tmp_path: Path) -> None:
    with City(small / "home") as city:
        log = tmp_path / "server.log"  # the log is on another disk
        city.stop()
        (city.home / "server.log").unlink()
        (city.home / "server.log").symlink_to(log)
        city.start()
        taken, refused = [], 0
        for number in range(2_000):
            status = city.call("POST", ENTITIES, entity(number)).status
            if status == 201:
                taken.append(number)
            else:
                assert status == 503
                refused += 1
            if refused >= 20:
                break
        assert refused >= 20
        assert lines(city.said(), "the store cannot write") == 1
        assert lines(city.said(), "request failed") == 0
        told = command("doctor", "--data", str(city.folder), cwd=tmp_path)
        assert (told.returncode, "FAIL  disk: " in told.stdout) == (1, True), told.stdout
        backup = command("backup", str(small / "b.tar"), "--data", str(city.folder), cwd=tmp_path)
        assert backup.returncode == 1
        assert backup.stderr.splitlines()[-1].startswith("shahar: ")
        assert [one.name for one in small.iterdir()] == ["home"]
        subprocess.run(["mount", "-o", f"remount,size={4 * MEGABYTES}m", str(small)], check=True)
        time.sleep(2.1)
        assert city.call("POST", ENTITIES, entity(9_999)).status == 201
        assert lines(city.said(), "the store writes again") == 1
        city.kill()
        city.start()
        found = city.call("GET", f"{ENTITIES}?type=T&limit=1&count=true").headers["ngsild-results-count"]
        assert int(found) == len(taken) + 1
        assert command("doctor", "--data", str(city.folder), cwd=tmp_path).returncode == 0
        whole = command("backup", str(tmp_path / "b.tar"), "--data", str(city.folder), cwd=tmp_path)
        assert whole.returncode == 0, whole.stderr
        city.stop()
    print(f"small disk: {len(taken)} taken and there, {refused} refused and not there")
