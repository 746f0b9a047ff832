"""The commands of docs/coming-from.md, run as they stand there: what another broker holds is taken along."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.running import City

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "coming-from.md"
LAMPS: Final = 12
ENTITIES: Final = "/ngsi-ld/v1/entities"
SUBSCRIPTIONS: Final = "/ngsi-ld/v1/subscriptions"


def fill(old: City) -> None:
    """Lamps that were read twice, and somebody who follows them."""
    for number in range(LAMPS):
        for hour, power in ((10, number), (11, number + 100)):
            reading = {"value": power, "unitCode": "WTT", "observedAt": f"2026-11-22T{hour}:00:00Z"}
            lamp = {"id": f"urn:ngsi-ld:Lamp:{number}", "type": "Lamp", "power": reading}
            assert old.call("POST", "/ngsi-ld/v1/entityOperations/upsert", [lamp]).status in {201, 204}
    told = {"endpoint": {"uri": "https://example.org/told"}}
    follow = {"type": "Subscription", "entities": [{"type": "Lamp"}], "notification": told}
    assert old.call("POST", SUBSCRIPTIONS, follow).status == 201


@pytest.mark.skipif(shutil.which("curl") is None, reason="the commands of the page use curl")
def test_the_commands_of_the_page_take_everything_along(tmp_path: Path) -> None:
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))
    with City(tmp_path / "old", options=("--access", "open")) as old, City(tmp_path / "new") as new:
        fill(old)
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        given = {"OLD": old.base, "NEW": new.base, "TYPE": "Lamp", "KEY": new.secret}
        script = ["bash", "-eu", "-o", "pipefail", "-c", commands]
        run = subprocess.run(
            script, env=kept | given, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert run.returncode == 0, run.stderr
        assert re.search(rf"ngsild-results-count: {LAMPS}\b", run.stdout, re.IGNORECASE)
        for path in (
            f"{ENTITIES}?type=Lamp&limit=100",
            f"/ngsi-ld/v1/temporal{ENTITIES.removeprefix('/ngsi-ld/v1')}/urn:ngsi-ld:Lamp:3?options=temporalValues",
        ):
            assert new.call("GET", path).json() == old.call("GET", path).json()
        past = new.call("GET", "/ngsi-ld/v1/temporal/entities/urn:ngsi-ld:Lamp:3?options=temporalValues").json()
        assert [value for value, _ in past["power"]["values"]] == [3, 103]
        ids = [[one["id"] for one in city.call("GET", SUBSCRIPTIONS).json()] for city in (old, new)]
        assert ids[0] == ids[1]
        assert len(ids[1]) == 1
