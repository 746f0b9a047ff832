"""Keeping a city: backup while it works, restore elsewhere, doctor. What is put back is all that was there."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import apsw
import pytest

from shahar.services import archive, doctor
from shahar.services.doctor import Facts, findings
from shahar.store import keep
from shahar.store.keep import SCHEMA, Lag, Look
from shahar.values.errors import Conflict, Invalid, NotFound
from tests.running import MAIN, City, command, environment

pytestmark = pytest.mark.sqlite
AT: Final = 1_767_312_000_000_000
ROUNDS: Final = int(os.environ.get("SHAHAR_TEST_FAULT_ROUNDS", "3"))
UPSERT: Final = "/ngsi-ld/v1/entityOperations/upsert"


def quiet(_what: str, _part: float, _note: str = "") -> None:
    """Nobody looks."""


def batch(turn: int, count: int = 100) -> list[dict[str, Any]]:
    """Entities as they are in this turn."""
    place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [69.2, 41.3]}}
    return [{"id": f"urn:e:{n}", "type": "T", "v": turn, "location": place} for n in range(count)]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a city that was stopped, and in it `backup.tar`."""
    home = tmp_path_factory.mktemp("kept")
    with City(home) as city:
        assert city.call("POST", UPSERT, batch(1)).status == 201
        assert city.call("POST", UPSERT, batch(2)).status == 204
        subscription = {
            "type": "Subscription",
            "entities": [{"type": "T"}],
            "notification": {"endpoint": {"uri": "https://example.org/told"}},
        }
        assert city.call("POST", "/ngsi-ld/v1/subscriptions", subscription).status == 201
        city.stop()
        archive.write(city.folder, home / "backup.tar", "0", AT, quiet)
        yield home


def digest(folder: Path) -> str:
    """What the store in a folder holds."""
    return keep.digest(folder / keep.NAME)


def test_what_is_restored_elsewhere_is_what_was_backed_up(kept: Path, tmp_path: Path) -> None:
    told, aside = archive.restore(kept / "backup.tar", tmp_path / "new", AT, replace=False, progress=quiet)
    assert (told.counts["entity"], told.counts["history"], aside) == (100, 400, "")
    assert digest(tmp_path / "new") == digest(kept / "data")
    assert sorted(one.name for one in (tmp_path / "new").iterdir()) == ["shahar.db", "shahar.lock"]
    (tmp_path / "new").rename(tmp_path / "data")
    with City(tmp_path) as city:
        assert city.call("GET", "/ngsi-ld/v1/entities/urn:e:99").json()["v"]["value"] == 2
        assert len(city.call("GET", "/ngsi-ld/v1/subscriptions").json()) == 1
        said = command("doctor", "--data", str(city.folder), cwd=tmp_path)
        assert (said.returncode, said.stdout.splitlines()[0]) == (0, "ok    process: it runs and is ready")


def test_a_backup_under_load_is_one_state_and_holds_what_was_answered_before(tmp_path: Path) -> None:
    with City(tmp_path) as city:
        assert city.call("POST", UPSERT, batch(0)).status == 201
        answered, enough = [0], Event()

        def write() -> None:
            while not enough.is_set():
                answered[0] += 1
                assert city.call("POST", UPSERT, batch(answered[0])).status == 204

        writer = Thread(target=write)
        writer.start()
        try:
            time.sleep(0.3)
            before = answered[0] - 1
            told = command("backup", str(tmp_path / "b.tar"), "--data", str(city.folder), cwd=tmp_path)
        finally:
            enough.set()
            writer.join()
        assert told.returncode == 0, told.stderr
        archive.restore(tmp_path / "b.tar", tmp_path / "new", AT, replace=False, progress=quiet)
    connection = apsw.Connection(str(tmp_path / "new" / keep.NAME))
    (seen,) = {json.loads(doc)["attrs"][IRI][0]["value"] for (doc,) in connection.execute("SELECT doc FROM entity")}
    (journaled,) = connection.execute("SELECT count(*) FROM journal WHERE kind LIKE 'entity.%'").fetchall()[0]
    connection.close()
    assert seen >= before, "what was answered before is in it"
    assert journaled == 100 * (seen + 1), "a batch is in it whole or not at all"


IRI: Final = "https://uri.etsi.org/ngsi-ld/default-context/v"


def test_a_city_is_replaced_only_when_that_is_said_and_kept_aside(kept: Path, tmp_path: Path) -> None:
    with City(tmp_path) as city:
        city.call("POST", UPSERT, batch(7, 3))
        with pytest.raises(Conflict, match="stop it first"):
            archive.restore(kept / "backup.tar", city.folder, AT, replace=True, progress=quiet)
        city.kill()
    old = digest(city.folder)
    with pytest.raises(Conflict, match="already"):
        archive.restore(kept / "backup.tar", city.folder, AT, replace=False, progress=quiet)
    assert digest(city.folder) == old
    _, aside = archive.restore(kept / "backup.tar", city.folder, AT, replace=True, progress=quiet)
    assert digest(city.folder) == digest(kept / "data")
    assert keep.digest(city.folder / aside) == old, "with what stood in the log of the killed process"
    _, again = archive.restore(kept / "backup.tar", city.folder, AT, replace=True, progress=quiet)
    assert again not in {"", aside}, "at the same instant, and nothing that was kept is lost"
    assert keep.digest(city.folder / aside) == old


@pytest.mark.faults
def test_a_restore_that_is_killed_leaves_the_old_or_the_new(kept: Path, tmp_path: Path) -> None:
    archive.restore(kept / "backup.tar", tmp_path / "data", AT, replace=False, progress=quiet)
    connection = apsw.Connection(str(tmp_path / "data" / keep.NAME))
    connection.execute("DELETE FROM record")
    connection.close()
    old, new = digest(tmp_path / "data"), digest(kept / "data")
    assert old != new
    words = ["restore", str(kept / "backup.tar"), "--data", str(tmp_path / "data"), "--replace"]
    for attempt in range(max(5, ROUNDS)):
        process = subprocess.Popen(
            [sys.executable, *MAIN, *words], env=environment(), cwd=tmp_path, stderr=subprocess.PIPE, stdout=-3
        )
        assert process.stderr is not None
        process.stderr.readline()  # the first thing that it does was begun
        time.sleep(random.Random(attempt).uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
        assert digest(tmp_path / "data") in {old, new}
    assert command(*words, cwd=tmp_path).returncode == 0
    assert digest(tmp_path / "data") == new


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _flip(file: Path) -> None:
    with file.open("r+b") as given:
        given.seek(200_000)
        byte = given.read(1)[0]
        given.seek(200_000)
        given.write(bytes([byte ^ 0xFF]))


def _later(file: Path) -> None:
    _rewrite(file, schema=SCHEMA + 1, version="9.9")


def _miscounted(file: Path) -> None:
    _rewrite(file, counts={"entity": 5})


def _rewrite(file: Path, **changes: Any) -> None:
    with tarfile.open(file) as given:
        told = given.extractfile("manifest.json")
        assert told is not None
        manifest = json.loads(told.read())
        given.extract(keep.NAME, file.parent, filter="data")
    text = file.parent / "manifest.json"
    text.write_text(json.dumps(manifest | changes))
    with tarfile.open(file, "w") as out:
        out.add(text, "manifest.json")
        out.add(file.parent / keep.NAME, keep.NAME)


def _other(file: Path) -> None:
    file.write_bytes(b"PK" + b"x" * 5000)


def _empty(file: Path) -> None:
    with tarfile.open(file, "w"):
        pass


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (_cut, "damaged"),
        (_flip, "damaged"),
        (_later, "use the newer program"),
        (_miscounted, "damaged"),
        (_other, "no backup"),
        (_empty, "no backup"),
    ],
)
def test_a_backup_that_is_not_whole_is_refused_and_nothing_is_left(
    kept: Path, tmp_path: Path, harm: Callable[[Path], None], word: str
) -> None:
    file = tmp_path / "b.tar"
    file.write_bytes((kept / "backup.tar").read_bytes())
    harm(file)
    with pytest.raises(Invalid, match=word):
        archive.restore(file, tmp_path / "new", AT, replace=False, progress=quiet)
    assert not list((tmp_path / "new").glob("*.db"))


def test_a_backup_is_for_its_owner_alone_and_never_written_over(kept: Path) -> None:
    assert (kept / "backup.tar").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Conflict):
        archive.write(kept / "data", kept / "backup.tar", "0", AT, quiet)
    with pytest.raises(NotFound):
        archive.write(kept, kept / "other.tar", "0", AT, quiet)
    assert not list(kept.glob(".*.part"))


@pytest.mark.parametrize("copied", [False, True], ids=["at the copy", "at the packing"])
def test_a_full_disk_leaves_no_half_backup(kept: Path, tmp_path: Path, copied: bool) -> None:
    """Files beyond the limit fail as they do on a full disk."""
    limit = (kept / "backup.tar").stat().st_size - 4_096 if copied else 4_096
    words = ["backup", str(tmp_path / "b.tar"), "--data", str(kept / "data")]
    told = subprocess.run(
        ["prlimit", f"--fsize={limit}", sys.executable, *MAIN, *words],
        env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 1
    assert told.stderr.splitlines()[-1].startswith("shahar: ")
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_finds_what_is_broken(kept: Path, tmp_path: Path) -> None:
    def asked(*more: str) -> tuple[int, dict[str, dict[str, str]]]:
        told = command("doctor", "--data", str(tmp_path / "data"), "--json", *more, cwd=tmp_path)
        return told.returncode, {one["what"]: one for one in json.loads(told.stdout)}

    status, found = asked()
    assert (status, found["store"]["state"]) == (1, "fail")
    archive.restore(kept / "backup.tar", tmp_path / "data", AT, replace=False, progress=quiet)
    status, found = asked()
    assert status == 0
    assert found["integrity"]["said"] == "all of it was read; it hangs together"
    assert "100 entities" in found["store"]["said"]
    (tmp_path / "data" / archive.RESTORING).write_bytes(b"")
    assert asked("--quick")[1]["folder"]["state"] == "warn"
    file = tmp_path / "data" / keep.NAME
    with file.open("r+b") as given:
        given.seek(4096 * 3)
        given.write(b"\xff" * 4096 * 20)
    status, found = asked()
    assert status == 1
    assert "fail" in {found["store"]["state"], found.get("integrity", {}).get("state")}


GOOD: Final = Look(SCHEMA, 5_000_000, 0, {"entity": 1, "history": 2, "journal": 3}, AT, (Lag("a", 0, 0),))


def facts(look: Look | None = GOOD, **more: Any) -> Facts:
    """A city in good health but for this."""
    plain = {"at": AT, "free_bytes": 50, "disk_bytes": 100, "look": look, "problem": "", "ready": ""}
    return Facts(**{**plain, **more})


MINUTE: Final = 60_000_000


@pytest.mark.parametrize(
    ("seen", "what", "state"),
    [
        (facts(), "store", "ok"),
        (facts(None, fault="it is broken"), "store", "fail"),
        (facts(Look(SCHEMA + 1, 1, 0)), "store", "fail"),
        (facts(Look(SCHEMA - 1, 1, 0)), "store", "warn"),
        (facts(problem="row 3 is missing from an index"), "integrity", "fail"),
        (facts(problem=None), "integrity", "ok"),
        (facts(free_bytes=8), "disk", "warn"),
        (facts(free_bytes=1), "disk", "fail"),
        (facts(ready="/ready answers 503"), "process", "fail"),
        (facts(ready=None), "process", "ok"),
        (facts(Look(SCHEMA, 1, 600_000_000, GOOD.counts)), "log", "warn"),
        (facts(Look(SCHEMA, 1, 0, GOOD.counts, AT, (Lag("told", 9, AT - 6 * MINUTE),))), "told", "warn"),
        (facts(Look(SCHEMA, 1, 0, GOOD.counts, AT, (Lag("told", 9, AT - MINUTE),))), "told", "ok"),
        (facts(Look(SCHEMA, 1, 0, GOOD.counts, AT, (Lag("told", 9, 0),)), ready=None), "told", "ok"),
        (facts(Look(SCHEMA, 1, 0, GOOD.counts, AT, (), 4)), "dead letters", "warn"),
        (facts(Look(SCHEMA, 1, 0, GOOD.counts, AT + 2 * MINUTE)), "clock", "warn"),
    ],
)
def test_each_fault_is_named_with_what_to_do(seen: Facts, what: str, state: doctor.State) -> None:
    found = {one.what: one for one in findings(seen)}
    assert found[what].state == state
    for one in found.values():
        assert (one.state == "ok") == (not one.advice)
