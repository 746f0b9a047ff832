"""A city moves between stores and back: the same rows, gone on with when broken off, never taken for whole early."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import apsw
import pytest

from shahar.services import move
from shahar.store import keep, transfer
from shahar.store.ends import end
from shahar.store.migrate import STEPS
from shahar.values.errors import Conflict, Invalid, Unavailable
from tests import engines
from tests.contract.test_upgrade import earlier
from tests.running import MAIN, City, command, environment, free_ports

pytestmark = pytest.mark.sqlite  # a test here says itself which engine a store has

ROUNDS: Final = int(os.environ.get("SHAHAR_TEST_FAULT_ROUNDS", "3"))
UPSERT: Final = "/ngsi-ld/v1/entityOperations/upsert"


def quiet(_what: str, _part: float, _note: str = "") -> None:
    """Nobody looks."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    """A schema of its own in a server."""
    schema = f"m_{abs(hash(str(tmp_path)))}"
    run = engines.apart
    run(engines._run(f"CREATE SCHEMA {schema}"))
    yield f"{engines.server()}{'&' if urlsplit(engines.server()).query else '?'}{urlencode({'search_path': schema})}"
    run(engines._run(f"DROP SCHEMA {schema} CASCADE"))


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a city in which things have happened, stopped."""
    home = tmp_path_factory.mktemp("lived")
    with City(home) as city:
        for turn in range(3):
            answer = city.call("POST", UPSERT, batch(turn), {"NGSILD-Tenant": "north"} if turn == 2 else {})
            assert answer.status in {201, 204}
        assert city.call("DELETE", "/ngsi-ld/v1/entities/urn:e:5").status == 204
        subscription = {
            "type": "Subscription",
            "entities": [{"type": "T"}],
            "notification": {"endpoint": {"uri": "https://example.org/told"}},
        }
        assert city.call("POST", "/ngsi-ld/v1/subscriptions", subscription).status == 201
        city.stop()
    return city.folder


def batch(turn: int, count: int = 60) -> list[dict[str, Any]]:
    """Entities as they are in this turn."""
    place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [69.2 + turn / 100, 41.3]}}
    more = {"oʻlchov": {"type": "Property", "value": "ғ\u0001" + "x" * turn * 700, "datasetId": "urn:d:1"}}
    return [{"id": f"urn:e:{n}", "type": "T", "v": turn + n / 3, "location": place, **more} for n in range(count)]


def digest(folder: Path) -> str:
    """What the store in a folder holds."""
    return keep.digest(folder / keep.NAME)


def test_every_table_of_the_schema_goes_over_or_is_named_as_left_out() -> None:
    connection = apsw.Connection(":memory:")
    for step in STEPS:
        connection.execute(step.sql)
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    shadows = {name for name in there if name.startswith("place_") and name != "place_of"}
    assert {table.name for table in transfer.tables()} | transfer.LEFT_OUT == there - shadows
    assert all(set(table.key) <= set(table.columns) for table in transfer.tables())


def test_a_city_moves_to_postgresql_and_back_and_is_the_same(lived: Path, database: str, tmp_path: Path) -> None:
    there = command("move", "--from", str(lived), "--to", database, cwd=tmp_path, timeout_s=60)
    assert there.returncode == 0, there.stderr
    assert "both hold the same" in there.stdout
    more = {"SHAHAR_DATABASE": database}
    with City(tmp_path / "served", more=more) as city:
        found = city.call("GET", "/ngsi-ld/v1/entities?type=T&limit=1&count=true")
        assert found.headers["ngsild-results-count"] == "59"
        near = "georel=near;maxDistance==1000&geometry=Point&coordinates=[69.21,41.3]"
        assert len(city.call("GET", f"/ngsi-ld/v1/entities?type=T&{near}").json()) == 20
        refused = command("move", "--from", database, "--to", str(tmp_path / "x"), cwd=tmp_path)
        assert (refused.returncode, "stop it first" in refused.stderr) == (1, True)
        city.stop()
    back = command("move", "--from", database, "--to", str(tmp_path / "back"), cwd=tmp_path, timeout_s=60)
    assert back.returncode == 0, back.stderr
    moved = tmp_path / "once"
    move.move(lived / keep.NAME, moved / keep.NAME, quiet)
    assert digest(moved) == digest(lived)
    assert keep.counts(tmp_path / "back" / keep.NAME)["history"] == keep.counts(lived / keep.NAME)["history"]
    (tmp_path / "back").rename(tmp_path / "data")
    with City(tmp_path) as city:
        assert city.call("POST", UPSERT, batch(9)).status in {201, 204}, "new rows find numbers of their own"


def test_a_city_that_nobody_touched_comes_back_with_an_equal_digest(lived: Path, database: str, tmp_path: Path) -> None:
    move.move(lived / keep.NAME, database, quiet)
    move.move(database, tmp_path / "back" / keep.NAME, quiet)
    assert digest(tmp_path / "back") == digest(lived)
    assert keep.check(tmp_path / "back" / keep.NAME, lambda _part: None) == ""
    assert (tmp_path / "back" / keep.NAME).stat().st_mode & 0o077 == 0


def test_what_is_refused_is_one_sentence_and_changes_nothing(lived: Path, database: str, tmp_path: Path) -> None:
    before = digest(lived)
    with pytest.raises(Conflict, match="the same store"):
        move.move(lived / keep.NAME, lived / keep.NAME, quiet)
    with pytest.raises(Invalid):
        move.place("mysql://here/x")
    old = earlier(tmp_path / "old", 1)
    with pytest.raises(Unavailable, match="earlier version"):
        move.move(old / keep.NAME, database, quiet)
    move.move(lived / keep.NAME, tmp_path / "taken" / keep.NAME, quiet)
    with pytest.raises(Conflict, match="already"):
        move.move(lived / keep.NAME, tmp_path / "taken" / keep.NAME, quiet)
    with keep.owning(lived), pytest.raises(Conflict, match="stop it first"):
        move.move(lived / keep.NAME, tmp_path / "other" / keep.NAME, quiet)
    assert digest(lived) == before


def free(database: str) -> dict[str, str]:
    """The settings of a city on this database, at a port that nobody has."""
    return {"SHAHAR_DATABASE": database, "SHAHAR_PORT": str(free_ports(1)[0])}


def broken_off(source: Path, target: Path | str) -> None:
    """A move of which the first tables have come over."""
    taking = end(target if isinstance(target, str) else target.with_name(move.HALF))
    giving = end(source)
    try:
        taking.prepare()
        with giving.transaction():
            with taking.transaction():
                so_far = transfer.start(giving, taking)
            with taking.transaction(), pytest.raises(InterruptedError):
                transfer.fill(giving, taking, interrupt, so_far)
    finally:
        giving.close()
        taking.close()


def interrupt(_part: float, table: str) -> None:
    """It is broken off in the history."""
    if table == "history":
        raise InterruptedError


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_what_was_broken_off_goes_on_and_is_not_taken_for_whole_before(
    lived: Path, database: str, tmp_path: Path, kind: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    target: Path | str = database if kind == "postgres" else data / keep.NAME
    broken_off(lived / keep.NAME, target)
    if isinstance(target, str):
        told = command("serve", "--mqtt", "off", "--data", str(data), cwd=tmp_path, more=free(target))
        assert (told.returncode, "is not whole" in told.stderr) == (1, True)
    else:
        assert not target.exists()
    copy = tmp_path / "changed"
    move.move(lived / keep.NAME, copy / keep.NAME, quiet)
    connection = apsw.Connection(str(copy / keep.NAME))
    connection.execute("INSERT INTO journal(tenant, at, kind, key, what) VALUES(1, 1, 'x', 'y', 'z')")
    connection.close()
    with pytest.raises(Conflict, match="has changed since"):
        move.move(copy / keep.NAME, target, quiet)
    moved = move.move(lived / keep.NAME, target, quiet)
    assert moved.counts["entity"] == keep.counts(lived / keep.NAME)["entity"]
    if isinstance(target, Path):
        assert digest(data) == digest(lived)


def test_a_difference_is_found_before_it_is_called_whole(lived: Path, tmp_path: Path) -> None:
    target = tmp_path / "data" / keep.NAME
    target.parent.mkdir()
    broken_off(lived / keep.NAME, target)
    connection = apsw.Connection(str(target.with_name(move.HALF)))
    connection.execute("UPDATE entity SET doc = doc || ' ' WHERE pk = 7")
    connection.close()
    with pytest.raises(Unavailable, match="the table entity differs"):
        move.move(lived / keep.NAME, target, quiet)
    assert not target.exists()
    move.move(lived / keep.NAME, target, quiet, afresh=True)
    assert digest(target.parent) == digest(lived)


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_move_that_is_killed_goes_on(database: str, tmp_path: Path, kind: str) -> None:
    source = earlier(tmp_path / "source", len(STEPS), 20_000)
    target = database if kind == "postgres" else str(tmp_path / "target")
    words = ["move", "--from", str(source), "--to", target]
    for attempt in range(ROUNDS):
        process = subprocess.Popen(
            [sys.executable, *MAIN, *words], env=environment(), cwd=tmp_path, stderr=-3, stdout=-3
        )
        time.sleep(random.Random(attempt).uniform(0.2, 0.9))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if kind == "sqlite" and (tmp_path / "target" / keep.NAME).exists():
            break
    if kind == "postgres" or not (tmp_path / "target" / keep.NAME).exists():
        told = command(*words, cwd=tmp_path, timeout_s=60)
        assert told.returncode == 0 or "already" in told.stderr, told.stderr
    if kind == "postgres":
        move.move(database, tmp_path / "target" / keep.NAME, quiet)
    assert digest(tmp_path / "target") == digest(source)
