"""Two brokers as processes, one of which knows of the other: pages by an entity map, linked entities, figures.

What test_entity_maps, test_distribution_join and test_distribution_figures promise in one process, over real sockets,
keys and the guarded door.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.running import Answer, City

ROOT = "/ngsi-ld/v1"
CAR, TRIP = "urn:ngsi-ld:Car:", "urn:ngsi-ld:Trip:1"


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[tuple[City, City]]:
    """The one that is asked, and the one that it knows of."""
    home = tmp_path_factory.mktemp("two")
    options = ("--outbound-allow", "127.0.0.0/8")
    with City(home / "here", options=options) as here, City(home / "there", options=options) as there:
        key = there.call("POST", "/api/keys", {"label": "here", "role": "operator", "days": 1}).json()["key"]
        body = {
            "id": "urn:ngsi-ld:ContextSourceRegistration:there",
            "type": "ContextSourceRegistration",
            "information": [{"entities": [{"type": "Car"}, {"type": "Trip"}]}],
            "endpoint": f"http://127.0.0.1:{there.port}",
            "operations": ["federationOps", "retrieveTemporal", "queryTemporal", "createEntityMapQueryTemporal"],
            "contextSourceInfo": [{"key": "Authorization", "value": f"Bearer {key}"}],
        }
        assert here.call("POST", f"{ROOT}/csourceRegistrations", body).status == 201
        for number in range(4):
            told(here if number % 2 else there, f"{CAR}{number}", number)
        trip = {"id": TRIP, "type": "Trip", "with": {"object": f"{CAR}0", "objectType": "Car"}}
        assert here.call("POST", f"{ROOT}/entities?local=true", trip).status == 201
        told(here, f"{CAR}0", 10, day=2)
        yield here, there


def told(where: City, entity_id: str, value: int, day: int = 1) -> None:
    """A car's speed on a day, at one broker alone."""
    speed = {"type": "Property", "value": value, "observedAt": f"2026-01-0{day}T00:00:00Z"}
    body = {"id": entity_id, "type": "Car", "speed": [speed]}
    assert where.call("POST", f"{ROOT}/temporal/entities?local=true", body).status == 201


def ask(city: City, path: str, **headers: str) -> Answer:
    """Ask for what is there."""
    answer = city.call("GET", ROOT + path, headers=headers)
    assert answer.status in {200, 201}, answer.body
    return answer


def ids(answer: Answer) -> list[str]:
    """The last parts of the ids of an answer."""
    return [one["id"].rpartition(":")[2] for one in answer.json()]


def test_pages_by_a_map_go_over_both(brokers: tuple[City, City]) -> None:
    here, there = brokers
    made = ask(here, "/entityMaps?type=Car")
    assert sorted(made.json()["entityMap"]) == [f"{CAR}{number}" for number in range(4)]
    [theirs] = made.json()["linkedMaps"].values()
    told(there, f"{CAR}9", 1)
    named = {"NGSILD-EntityMap": made.headers["ngsild-entitymap"]}
    seen = [one for offset in (0, 2) for one in ids(ask(here, f"/entities?type=Car&limit=2&offset={offset}", **named))]
    assert sorted(seen) == ["0", "1", "2", "3"]
    assert here.call("GET", f"{ROOT}/entityMaps/{theirs.rpartition('/')[2]}").status == 404, "it is the other's"
    assert here.call("DELETE", f"{ROOT}/entityMaps/{made.json()['id']}").status == 204


def test_what_is_linked_is_found_on_the_other_side(brokers: tuple[City, City]) -> None:
    here, _ = brokers
    found: Any = ask(here, f"/entities/{TRIP}?join=inline&options=keyValues").json()
    assert found["with"] == {"id": f"{CAR}0", "type": "Car", "speed": 10}


def test_figures_are_of_both(brokers: tuple[City, City]) -> None:
    here, _ = brokers
    asked = "options=aggregatedValues&aggrMethods=avg,totalCount&timerel=after&timeAt=2026-01-01T00:00:00Z"
    found: Any = ask(here, f"/temporal/entities/{CAR}0?{asked}").json()
    assert (found["speed"]["avg"][0][0], found["speed"]["totalCount"][0][0]) == (5, 2)
    alone: Any = ask(here, f"/temporal/entities/{CAR}2?{asked}").json()
    assert alone["speed"]["avg"][0][0] == 2
