"""The clock is set back and forth under writers: nothing acknowledged is lost or doubled, each step is said once in the
log, and the doctor sees a store whose newest change is after now.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import pytest

from tests.faults import stepped
from tests.running import City, command, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

ROUNDS: Final = int(os.environ.get("SHAHAR_TEST_FAULT_ROUNDS", "3"))
ENTITIES: Final = "/ngsi-ld/v1/entities"
PAST: Final = "/ngsi-ld/v1/temporal/entities"
STEPS_S: Final = (-7_200, 86_400, -30 * 86_400, 3_600)


def said(city: City) -> list[int]:
    """The steps that the log names, in seconds."""
    lines = (json.loads(line) for line in city.said().splitlines() if line.startswith("{"))
    return [line["by_s"] for line in lines if line["event"].startswith("the clock was set")]


def test_a_clock_that_is_set_loses_and_doubles_nothing_and_is_said_once(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    more = {stepped.VARIABLE: str(clock)}
    launcher = [str(Path(__file__).with_name("stepped.py"))]
    number, steps, offset = 0, [], 0
    with City(tmp_path / "home", launcher=launcher, more=more) as city:
        body = {"id": "urn:e:1", "type": "T", "level": {"type": "Property", "value": -1}}
        assert city.call("POST", ENTITIES, body).status == 201
        for turn in range(ROUNDS):
            for _ in range(20):
                at = f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"
                body = {"level": {"type": "Property", "value": number, "observedAt": at}}
                assert city.call("PATCH", f"{ENTITIES}/urn:e:1/attrs", body).status == 204
                number += 1
            by_s = STEPS_S[turn % len(STEPS_S)]
            steps.append(by_s)
            offset += by_s
            clock.write_text(str(offset))
            until(lambda: len(said(city)) == len(steps), 20, "the step was not said")
            assert city.call("GET", "/ready").status == 200
        assert all(abs(told - made) <= 5 for told, made in zip(said(city), steps, strict=True))
        city.kill()
        city.start()
        answer = city.call("GET", f"{PAST}/urn:e:1?options=temporalValues", headers={"Prefer": "maxpagesize=50000"})
        kept = [value for value, _ in answer.json()["level"]["values"]]
        assert sorted(one for one in kept if one >= 0) == list(range(number)), "each once"
        clock.write_text("7200")
        assert city.call("POST", ENTITIES, {"id": "urn:e:2", "type": "T"}).status == 201
    told = command("doctor", "--quick", "--data", str(city.folder), cwd=tmp_path)
    assert "WARN  clock: the newest change is of" in told.stdout
    print(f"clock: set {len(steps)} times under {number} updates, all there once")
