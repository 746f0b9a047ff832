"""Keeping a city that a PostgreSQL server keeps, or whose older days are sealed: the same commands and promises."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread
from typing import Final

import apsw
import pytest

from shahar.services import archive, move
from shahar.services.sealing import Sealing
from shahar.store import keep
from shahar.store.lake import LAKE, Lake, look
from shahar.store.sqlite import Sqlite
from shahar.values.errors import Conflict, Invalid
from shahar.values.instants import DAY
from tests import engines
from tests.contract.test_keeping import AT, IRI, UPSERT, batch, quiet
from tests.contract.test_move import ROUNDS, database, digest
from tests.running import MAIN, City, command, environment

pytestmark = pytest.mark.sqlite  # a test here says itself which engine a store has

__all__ = ["database"]
PAST: Final = "/ngsi-ld/v1/temporal/entities"


def test_a_city_on_postgresql_is_backed_up_at_work_and_restored_in_either_engine(database: str, tmp_path: Path) -> None:
    more = {"SHAHAR_DATABASE": database}
    with City(tmp_path, more=more) as city:
        assert city.call("POST", UPSERT, batch(0)).status == 201
        enough, turn = Event(), [0]

        def write() -> None:
            while not enough.is_set():
                turn[0] += 1
                assert city.call("POST", UPSERT, batch(turn[0])).status == 204

        writer = Thread(target=write)
        writer.start()
        try:
            time.sleep(0.3)
            before = turn[0] - 1
            told = command("backup", "b.tar", "--data", str(city.folder), cwd=tmp_path, more=more, timeout_s=60)
        finally:
            enough.set()
            writer.join()
        assert told.returncode == 0, told.stderr
        asked = command("doctor", "--data", str(city.folder), cwd=tmp_path, more=more)
        assert (asked.returncode, "100 entities" in asked.stdout) == (0, True), asked.stdout
        refused = command("restore", "b.tar", "--data", "data", "--replace", cwd=tmp_path, more=more)
        assert (refused.returncode, "stop it first" in refused.stderr) == (1, True), refused.stderr
        city.stop()
    archive.restore(tmp_path / "b.tar", tmp_path / "file", AT, replace=False, progress=quiet)
    check_one_state(tmp_path / "file", before)
    with pytest.raises(Conflict, match="already"):
        archive.restore(tmp_path / "b.tar", tmp_path / "data", AT, replace=False, progress=quiet, database=database)
    archive.restore(tmp_path / "b.tar", tmp_path / "data", AT, replace=True, progress=quiet, database=database)
    move.move(database, tmp_path / "again" / keep.NAME, quiet)
    assert digest(tmp_path / "again") == digest(tmp_path / "file")
    with City(tmp_path, more=more) as city:
        assert city.call("POST", UPSERT, batch(3)).status == 204


def check_one_state(folder: Path, before: int) -> None:
    """It holds what was answered before the backup began, and every batch whole or not at all."""
    connection = apsw.Connection(str(folder / keep.NAME))
    (seen,) = {
        json.loads(str(doc))["attrs"][IRI][0]["value"] for (doc,) in connection.execute("SELECT doc FROM entity")
    }
    ((journaled,),) = connection.execute("SELECT count(*) FROM journal WHERE kind LIKE 'entity.%'").fetchall()
    connection.close()
    assert seen >= before
    assert journaled == 100 * (seen + 1)


@pytest.mark.faults
def test_a_restore_into_a_database_that_is_killed_leaves_the_old_or_the_new(database: str, tmp_path: Path) -> None:
    for name, turn in (("old", 1), ("new", 2)):
        with City(tmp_path / name) as city:
            assert city.call("POST", UPSERT, batch(turn, 800)).status == 201
            city.stop()
        archive.write(tmp_path / name / "data", tmp_path / f"{name}.tar", "0", AT, quiet)
    archive.restore(tmp_path / "old.tar", tmp_path / "data", AT, replace=False, progress=quiet, database=database)
    held = {name: digest(tmp_path / name / "data") for name in ("old", "new")}
    words = ["restore", "new.tar", "--data", "data", "--replace"]
    for attempt in range(ROUNDS):
        more = environment({"SHAHAR_DATABASE": database})
        process = subprocess.Popen([sys.executable, *MAIN, *words], env=more, cwd=tmp_path, stderr=-3, stdout=-3)
        time.sleep(random.Random(attempt).uniform(0.3, 1.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        out = tmp_path / f"out{attempt}"
        move.move(database, out / keep.NAME, quiet)
        assert digest(out) in held.values()


async def seal(folder: Path, at: int) -> None:
    """Seal what is due, as a running city does a minute after its start."""
    db = Sqlite(folder / keep.NAME)
    db.lake = Lake(folder / LAKE)
    await db.open()
    try:
        assert (await Sealing(db, db.lake, lambda: at, 2).look(at)).sealed == 5
    finally:
        await db.close()


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a city that was stopped, some days of which are sealed, with its backup."""
    home = tmp_path_factory.mktemp("sealed")
    with City(home) as city:
        now = time.time_ns() // 1_000
        for day in range(3, 8):
            past = now - day * DAY
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(past // 1_000_000))
            level = {"type": "Property", "value": day, "observedAt": at}
            body = {"id": "urn:e:1", "type": "T", "level": [level]}
            assert city.call("POST", PAST, body).status in {201, 204}
        city.stop()
    engines.apart(seal(city.folder, now))
    assert len(keep.days(city.folder / keep.NAME)) == 5
    told = command("backup", "b.tar", "--data", "data", cwd=home)
    assert told.returncode == 0, told.stderr
    return home


def levels(city: City) -> list[int]:
    """What the past says."""
    answer = city.call("GET", f"{PAST}/urn:e:1?options=temporalValues")
    return sorted(value for value, _ in answer.json()["level"]["values"])


def test_sealed_days_go_with_the_backup_and_come_back(sealed: Path, tmp_path: Path) -> None:
    archive.restore(sealed / "b.tar", tmp_path / "data", AT, replace=False, progress=quiet)
    assert digest(tmp_path / "data") == digest(sealed / "data")
    with City(tmp_path) as city:
        assert levels(city) == [3, 4, 5, 6, 7]
        city.stop()
        told = command("doctor", "--data", "data", cwd=tmp_path)
        assert (told.returncode, "5 sealed days" in told.stdout) == (0, True), told.stdout


def test_days_of_another_city_keep_their_files_and_are_kept_with_the_store_put_aside(
    sealed: Path, tmp_path: Path
) -> None:
    archive.restore(sealed / "b.tar", tmp_path / "data", AT, replace=False, progress=quiet)
    lake = tmp_path / "data" / LAKE
    for file in lake.rglob("part-*.parquet"):
        file.chmod(0o600)
        file.write_bytes(file.read_bytes() + b"another city's")
    before = {str(file.relative_to(lake)): file.read_bytes() for file in lake.rglob("part-*.parquet")}
    _, aside = archive.restore(sealed / "b.tar", tmp_path / "data", AT, replace=True, progress=quiet)
    days = keep.days(tmp_path / "data" / keep.NAME)
    assert all(look(lake, day, whole=True)[1] == "" for day in days)
    assert not {day.name for day in days} & set(before)
    kept = tmp_path / "data" / aside.replace(keep.NAME, LAKE)
    assert {str(file.relative_to(kept)): file.read_bytes() for file in kept.rglob("part-*.parquet")} == before
    with City(tmp_path) as city:
        assert levels(city) == [3, 4, 5, 6, 7]


def test_a_backup_with_a_torn_day_is_refused_and_what_is_there_stays(sealed: Path, tmp_path: Path) -> None:
    torn = bytearray((sealed / "b.tar").read_bytes())
    torn[torn.rindex(b"PAR1") - 40] ^= 0xFF
    (tmp_path / "torn.tar").write_bytes(torn)
    with pytest.raises(Invalid, match=r"the checksum of lake/.* is another"):
        archive.restore(tmp_path / "torn.tar", tmp_path / "data", AT, replace=False, progress=quiet)
    assert not list((tmp_path / "data").glob("*.db"))
