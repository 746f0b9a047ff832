"""A store of every earlier version comes up to this one in one step, tried before on a copy, and is never between."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import apsw
import pytest

from shahar.store import keep
from shahar.store.migrate import STEPS
from tests.running import MAIN, City, command, environment, free_ports

pytestmark = pytest.mark.sqlite
ROUNDS: Final = int(os.environ.get("SHAHAR_TEST_FAULT_ROUNDS", "3"))
EARLIER: Final = range(1, len(STEPS))
IRI: Final = "https://uri.etsi.org/ngsi-ld/default-context/"
ROWS: Final = f"""
    INSERT INTO name(pk, text) VALUES(1, '{IRI}T'), (2, '{IRI}v');
    WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :entities)
    INSERT INTO entity(pk, tenant, id, doc) SELECT n, 1, 'urn:e:' || n,
      '{{"id":"urn:e:' || n || '","type":["{IRI}T"],"createdAt":1,"modifiedAt":1,'
      || '"attrs":{{"{IRI}v":[{{"type":"Property","value":' || n || ',"createdAt":1,"modifiedAt":1}}]}}}}' FROM n;
    INSERT INTO entity_type(tenant, type, entity) SELECT 1, 1, pk FROM entity;
    INSERT INTO history(entity, at, attr, dataset, kind, modified_at, doc)
      SELECT pk, 1, 2, 0, 0, 1, '{{"type":"Property","value":' || pk || '}}' FROM entity;
    INSERT INTO journal(tenant, at, kind, key, what) SELECT 1, 1, 'entity.created', id, '{{}}' FROM entity;
"""


def earlier(folder: Path, schema: int, entities: int = 50) -> Path:
    """A store as the program of that schema made it: by its own steps."""
    folder.mkdir(parents=True)
    connection = apsw.Connection(str(folder / keep.NAME))
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    for step in STEPS[:1]:
        connection.execute(step.sql)
    connection.execute(ROWS.replace(":entities", str(entities)))
    for step in STEPS[1:schema]:
        connection.execute(step.sql)
    connection.execute(f"PRAGMA user_version={schema}")
    connection.close()
    return folder


def schema_of(folder: Path) -> int:
    """The schema that the file says it has."""
    return keep.look(folder / keep.NAME).schema


@pytest.mark.parametrize("schema", EARLIER)
def test_every_earlier_store_is_upgraded_and_serves_what_it_held(tmp_path: Path, schema: int) -> None:
    data = earlier(tmp_path / "data", schema)
    before = (data / keep.NAME).read_bytes()
    tried = command("upgrade", "--dry-run", "--data", "data", cwd=tmp_path)
    assert tried.returncode == 0, tried.stderr
    lines = tried.stdout.splitlines()
    assert lines[0].startswith(f"data: from schema {schema} to {len(STEPS)}, ")
    assert [line.split("  ")[1:] for line in lines[1:-2]] == [
        [str(number), step.what] for number, step in enumerate(STEPS[schema:], schema + 1)
    ]
    assert "MB are free" in lines[-2]
    assert lines[-1].endswith("nothing was changed")
    assert (data / keep.NAME).read_bytes() == before
    told = command("upgrade", "--data", "data", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    aside = told.stdout.rsplit(" ", 1)[1].strip()
    assert keep.look(data / aside).schema == schema, "the way back"
    assert "nothing to do" in command("upgrade", "--data", "data", cwd=tmp_path).stdout
    check_whole(tmp_path)


def check_whole(home: Path, entities: int = 50) -> str:
    """What the store held is served, and tallied; what was said meanwhile."""
    with City(home) as city:
        found = city.call("GET", "/ngsi-ld/v1/entities?type=T&limit=1&count=true")
        assert found.headers["ngsild-results-count"] == str(entities)
        told = city.call("GET", "/ngsi-ld/v1/types/T").json()
        assert told["entityCount"] == entities
        return city.said()


def test_whoever_just_starts_the_new_program_gets_the_same(tmp_path: Path) -> None:
    for schema in EARLIER:
        home = tmp_path / str(schema)
        earlier(home / "data", schema)
        assert check_whole(home).count("the store is brought up to date") == 1
        assert command("doctor", "--data", "data", cwd=home).returncode == 0
        asked = earlier(tmp_path / f"asked{schema}" / "data", schema)
        assert command("upgrade", "--data", str(asked), cwd=tmp_path).returncode == 0
        assert keep.counts(asked / keep.NAME)["entity"] == keep.counts(home / "data" / keep.NAME)["entity"]


def test_a_store_of_a_later_program_is_refused_by_every_command_with_a_sentence(tmp_path: Path) -> None:
    data = earlier(tmp_path / "data", len(STEPS))
    connection = apsw.Connection(str(data / keep.NAME))
    connection.execute(f"PRAGMA user_version={len(STEPS) + 1}")
    connection.close()
    served = ["serve", "--mqtt", "off", "--port", str(free_ports(1)[0])]
    for words in (["upgrade"], ["upgrade", "--dry-run"], served, ["key"]):
        told = command(*words, "--data", "data", cwd=tmp_path)
        assert told.returncode == 1
        assert told.stderr.splitlines()[-1].startswith(f"shahar: the data are of schema {len(STEPS) + 1}")
        assert "use the newer program" in told.stderr
    assert "use the newer program" in command("doctor", "--data", "data", cwd=tmp_path).stdout
    assert schema_of(data) == len(STEPS) + 1


def test_a_city_that_runs_is_not_upgraded_under_it_and_no_city_is_said(tmp_path: Path) -> None:
    data = earlier(tmp_path / "data", 1)
    with keep.owning(data):
        told = command("upgrade", "--data", "data", cwd=tmp_path)
        assert (told.returncode, "stop it first" in told.stderr) == (1, True)
        assert command("upgrade", "--data", "data", "--dry-run", cwd=tmp_path).returncode == 0
    assert schema_of(data) == 1
    assert "there is no city" in command("upgrade", "--data", "nowhere", cwd=tmp_path).stderr


def test_a_disk_without_room_is_said_before_anything_is_done(tmp_path: Path) -> None:
    data = earlier(tmp_path / "data", 1, 20_000)
    told = subprocess.run(
        ["prlimit", "--fsize=100000", sys.executable, *MAIN, "upgrade", "--data", "data"],
        env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 1
    assert told.stderr.splitlines()[-1].startswith("shahar: ")
    assert sorted(one.name for one in data.iterdir()) == [keep.NAME, "shahar.lock"]
    assert schema_of(data) == 1


@pytest.mark.faults
@pytest.mark.parametrize("words", [["upgrade"], ["serve", "--mqtt", "off"]], ids=["upgrade", "serve"])
def test_an_upgrade_that_is_killed_leaves_the_old_or_the_new(tmp_path: Path, words: list[str]) -> None:
    seen = set()
    for attempt in range(ROUNDS):
        data = earlier(tmp_path / str(attempt) / "data", 1, 20_000)
        process = subprocess.Popen(
            [sys.executable, *MAIN, *words, "--data", str(data)],
            env=environment({"SHAHAR_PORT": str(free_ports(1)[0])}),
            cwd=tmp_path,
            stdout=-3,
            stderr=-3,
        )
        lock = data / "shahar.lock"
        while not (lock.exists() and lock.read_text()) and process.poll() is None:
            time.sleep(0.002)
        time.sleep(random.Random(attempt).uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        schema = schema_of(data)
        assert schema in {1, len(STEPS)}, "never between"
        seen.add(schema)
        assert keep.check(data / keep.NAME, lambda _part: None) == ""
        assert command("upgrade", "--data", str(data), cwd=tmp_path).returncode == 0
        assert keep.counts(data / keep.NAME)["shape"] == 1
        assert not list(data.glob("upgrading*"))
    print(f"killed {ROUNDS} times; found at schema {sorted(seen)}")
