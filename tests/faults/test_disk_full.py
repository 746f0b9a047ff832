"""The disk is full: a clear refusal, nothing half written, and on with it as soon as there is room.

A limit on the size of files (setrlimit RLIMIT_FSIZE, put on the running process from outside) takes the disk's part: it
needs no rights and no mount, and every write beyond it fails, those to the log too.
"""

from __future__ import annotations

import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shahar.values.instants import parse
from tests.faults.writers import LEVEL, observed
from tests.running import Answer, City

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

ENTITIES = "/ngsi-ld/v1/entities"
SUBSCRIPTION = {
    "type": "Subscription",
    "entities": [{"type": "Probe"}],
    "notification": {"endpoint": {"uri": "http://192.0.2.1/"}},
}
WRITERS = 16


def entity(name: str, level: int) -> dict[str, Any]:
    """An entity with one reading and a text of 1 KB."""
    attribute = {"type": "Property", "value": level, "observedAt": observed(level)}
    return {
        "id": f"urn:ngsi-ld:Probe:{name}",
        "type": "Probe",
        LEVEL: attribute,
        "text": {"type": "Property", "value": "x" * 1_000},
    }


def fill(city: City, most: int) -> None:
    """Let no file of the process grow beyond `most` bytes."""
    resource.prlimit(city.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def make_room(city: City) -> None:
    """The disk is as it was."""
    fill(city, resource.RLIM_INFINITY)


def check_refused(answer: Answer) -> None:
    """A problem document that says whose fault it is."""
    assert answer.status == 503, (answer.status, answer.body)
    assert answer.headers["content-type"] in {"application/problem+json", "application/json"}
    assert int(answer.headers["retry-after"]) > 0
    assert "cannot write" in answer.json()["detail"]


def test_a_full_disk_refuses_changes_and_still_answers_questions(tmp_path: Path) -> None:
    with City(tmp_path) as city:
        assert city.call("POST", ENTITIES, entity("kept", 1)).status == 201
        fill(city, 0)
        changes = (
            ("POST", ENTITIES, entity("one", 1)),
            ("POST", "/ngsi-ld/v1/entityOperations/create", [entity(f"batch{number}", 1) for number in range(50)]),
            ("PATCH", f"{ENTITIES}/urn:ngsi-ld:Probe:kept/attrs", {LEVEL: {"type": "Property", "value": 2}}),
            ("DELETE", f"{ENTITIES}/urn:ngsi-ld:Probe:kept", None),
            ("POST", "/ngsi-ld/v1/subscriptions", SUBSCRIPTION),
            ("POST", "/api/keys", {"label": "a key", "role": "resident"}),
        )
        for method, path, body in changes:
            check_refused(city.call(method, path, body))
        assert city.answered(503) == len(changes)
        shown = city.call("GET", f"{ENTITIES}?type=Probe&options=simplified&attrs={LEVEL}").json()
        assert [(one["id"], one[LEVEL]) for one in shown] == [("urn:ngsi-ld:Probe:kept", 1)]
        make_room(city)
        assert city.call("POST", ENTITIES, entity("one", 1)).status == 201
        assert city.call("GET", "/ready").status == 200
        assert len(city.call("GET", "/ngsi-ld/v1/subscriptions").json()) == 0


def test_what_was_refused_is_not_there_and_what_was_acknowledged_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with City(tmp_path) as city:
        ids = [f"w{writer}" for writer in range(WRITERS)]
        assert city.call("POST", "/ngsi-ld/v1/entityOperations/create", [entity(name, 0) for name in ids]).status == 201
        log = city.folder / "shahar.db-wal"
        fill(city, log.stat().st_size + 1_000_000)
        with ThreadPoolExecutor(WRITERS) as pool:
            outcomes = dict(
                one for some in pool.map(lambda writer: write(city, writer), range(WRITERS)) for one in some
            )
        full = sum(status == 503 for status in outcomes.values())
        assert {204, 503} == set(outcomes.values())
        make_room(city)
        city.kill()
        city.start()
        kept = {level for name in ids for level in past(city, name)} - {0}
        assert kept == {level for level, status in outcomes.items() if status == 204}
    with capsys.disabled():
        print(
            f"\nfull disk: {len(outcomes)} updates, {full} refused and not there,"
            f" {len(outcomes) - full} acknowledged and there"
        )


def write(city: City, writer: int) -> list[tuple[int, int]]:
    """Updates of one writer, each with the status of its answer, until three were refused."""
    outcomes: list[tuple[int, int]] = []
    while sum(status == 503 for _, status in outcomes) < 3 and len(outcomes) < 500:
        level = 1 + len(outcomes) * WRITERS + writer
        answer = city.call(
            "POST",
            f"{ENTITIES}/urn:ngsi-ld:Probe:w{writer}/attrs",
            {name: entity("", level)[name] for name in (LEVEL, "text")},
        )
        outcomes.append((level, answer.status))
    return outcomes


def past(city: City, name: str) -> set[int]:
    """The levels in an entity's history."""
    path = f"/ngsi-ld/v1/temporal/entities/urn:ngsi-ld:Probe:{name}?options=temporalValues"
    answer = city.call("GET", path, headers={"Prefer": "maxpagesize=50000"})
    assert answer.status == 200, answer.body
    values = answer.json()[LEVEL]["values"]
    assert all(parse(at) == parse(observed(level)) for level, at in values)
    return {level for level, _ in values}
