"""Histories that two brokers hold together (ETSI GS CIM 009 clauses 5.7.3, 5.7.4)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shahar.values import instants
from tests.contract.test_distribution import E1, City, city, hanging, limited
from tests.in_process import BASE

__all__ = ["city"]
pytestmark = pytest.mark.anyio

OPERATIONS = ["retrieveTemporal", "queryTemporal"]
START = instants.parse("2026-01-01T00:00:00Z")
ALL = "timerel=after&timeAt=2020-01-01T00:00:00Z"


def at(day: int, value: Any) -> dict[str, Any]:
    """An instance of a day."""
    return {"type": "Property", "value": value, "observedAt": f"2026-01-{day:02}T00:00:00Z"}


async def tell(where: Any, entity_id: str, *instances: dict[str, Any], kind: str = "Car") -> None:
    """A history at one broker alone."""
    body = {"id": entity_id, "type": kind, "speed": list(instances)}
    answer = await where.post(f"{BASE}/temporal/entities?local=true", json=body)
    assert answer.status_code == 201, answer.text


def speeds(entity: dict[str, Any]) -> list[Any]:
    """The values of an evolution."""
    listed = entity["speed"] if isinstance(entity["speed"], list) else [entity["speed"]]
    return [one["value"] for one in listed]


async def test_an_evolution_is_one_however_many_hold_it(city: City) -> None:
    await tell(city.here, E1, at(1, 1), at(3, 3))
    await tell(city.there, E1, at(2, 2), at(4, 4))
    await city.register(operations=OPERATIONS)
    assert speeds((await city.get(f"/temporal/entities/{E1}")).json()) == [1, 2, 3, 4]
    assert speeds((await city.get(f"/temporal/entities/{E1}?lastN=2")).json()) == [3, 4]
    assert speeds((await city.get(f"/temporal/entities/{E1}?local=true")).json()) == [1, 3]
    [found] = (await city.get(f"/temporal/entities?type=Car&{ALL}")).json()
    assert speeds(found) == [1, 2, 3, 4]
    between = "timerel=between&timeAt=2026-01-02T00:00:00Z&endTimeAt=2026-01-03T12:00:00Z"
    [some] = (await city.get(f"/temporal/entities?type=Car&{between}")).json()
    assert speeds(some) == [2, 3]


async def test_pages_of_evolutions_fit_together(city: City) -> None:
    for number in range(3):
        await tell(city.here, f"urn:ngsi-ld:Car:h{number}", at(1, number))
        await tell(city.there, f"urn:ngsi-ld:Car:t{number}", at(1, number))
    await tell(city.there, "urn:ngsi-ld:Car:h2", at(2, 9))
    await city.register(operations=OPERATIONS)
    seen: list[str] = []
    for offset in (0, 2, 4):
        answer = await city.get(f"/temporal/entities?type=Car&{ALL}&limit=2&offset={offset}&count=true")
        assert answer.headers["ngsild-results-count"] == "6"
        seen += [one["id"] for one in answer.json()]
        assert ('rel="next"' in answer.headers.get("link", "")) == (offset < 4)
    assert len(seen) == len(set(seen)) == 6


async def test_a_source_that_hangs_is_missing_from_the_past_and_named(city: City) -> None:
    await tell(city.here, E1, at(1, 1))
    city.door.hosts["slow"] = hanging
    slow = await city.register("slow", operations=OPERATIONS, management={"timeout": 50})
    for path in (f"/temporal/entities/{E1}", f"/temporal/entities?type=Car&{ALL}"):
        answer = await city.get(path)
        assert answer.status_code == 200
        assert slow in answer.headers["ngsild-warning"]


async def test_the_past_from_elsewhere_is_shown_to_those_who_may_read_its_type(city: City) -> None:
    await tell(city.there, "urn:ngsi-ld:Bus:1", at(1, 1), kind="Bus")
    await city.register(operations=OPERATIONS, information=[{"entities": [{"type": "Bus"}]}])
    assert speeds((await city.get("/temporal/entities/urn:ngsi-ld:Bus:1")).json()) == [1]
    who = await limited(city, "Car")
    assert (await city.here.get(f"{BASE}/temporal/entities/urn:ngsi-ld:Bus:1", headers=who)).status_code in {403, 404}
    found = await city.here.get(f"{BASE}/temporal/entities?type=Bus&{ALL}", headers=who)
    assert found.status_code == 403 or found.json() == []


async def test_a_past_that_a_source_tells_in_parts_is_asked_for_to_its_end(city: City) -> None:
    there = city.door.hosts["there"]

    async def by_and_by(method: str, url: str, headers: Any, body: bytes | None) -> Any:
        """A broker that does not know how much we can read at once."""
        return await there(method, url, [one for one in headers if one[0] != "Prefer"], body)

    city.door.hosts["there"] = by_and_by
    hours = [instants.text(START + number * instants.HOUR) for number in range(150)]
    told = [{"type": "Property", "value": number, "observedAt": hour} for number, hour in enumerate(hours)]
    await tell(city.there, E1, *told)
    await city.register(operations=OPERATIONS)
    big = {"prefer": "maxpagesize=1000"}
    between = f"timerel=between&timeAt={hours[10]}&endTimeAt={hours[140]}"
    for path, values in (
        (f"/temporal/entities/{E1}", list(range(150))),
        (f"/temporal/entities?type=Car&{ALL}", list(range(150))),
        (f"/temporal/entities?type=Car&{between}", list(range(10, 140))),
        (f"/temporal/entities/{E1}?lastN=100", list(range(50, 150))),
        (f"/temporal/entities?type=Car&timerel=before&timeAt={hours[60]}", list(range(60))),
    ):
        city.door.asked.clear()
        answer = await city.get(path, **big)
        whole = answer.json()
        assert speeds(whole[0] if isinstance(whole, list) else whole) == values, path
        assert len(city.door.asked) > 1
        assert "ngsild-warning" not in answer.headers
    city.door.hosts["there"] = there
    city.door.asked.clear()
    assert speeds((await city.get(f"/temporal/entities/{E1}")).json()) == list(range(150))
    assert len(city.door.asked) == 1, "who knows how much we read tells it at once"


async def test_a_source_that_tells_the_same_part_again_and_again_is_asked_twice(city: City) -> None:
    body = {"id": E1, "type": "Car", "speed": [at(1, 1)]}
    reach = "date-time 2026-01-01T00:00:00Z-2026-01-02T00:00:00Z/*"

    async def stuck(_method: str, _url: str, _headers: Any, _body: bytes | None) -> Any:
        return 206, {"content-range": reach}, json.dumps(body).encode()

    city.door.hosts["stuck"] = stuck
    known = await city.register("stuck", operations=OPERATIONS)
    answer = await city.get(f"/temporal/entities/{E1}")
    assert speeds(answer.json()) == [1]
    assert known in answer.headers["ngsild-warning"]
    assert len(city.door.asked) == 2


async def test_the_rest_of_a_past_is_asked_for_by_name_for_other_entities_match_in_another_time(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shahar.services.federation.questions.FIRST_PAGE", 2)
    monkeypatch.setattr("shahar.services.federation.questions.PAGE", 2)
    there = city.door.hosts["there"]

    async def by_and_by(method: str, url: str, headers: Any, body: bytes | None) -> Any:
        return await there(method, url, [one for one in headers if one[0] != "Prefer"], body)

    city.door.hosts["there"] = by_and_by
    for number in range(4):
        first = START + (number // 2) * 100 * instants.HOUR
        hours = [instants.text(first + hour * instants.HOUR) for hour in range(30)]
        told = [{"type": "Property", "value": hour, "observedAt": at} for hour, at in enumerate(hours)]
        await tell(city.there, f"urn:ngsi-ld:Car:{number}", *told)
    await city.register(operations=OPERATIONS)
    found = (await city.get(f"/temporal/entities?type=Car&{ALL}", prefer="maxpagesize=1000")).json()
    assert [speeds(one) for one in found] == [list(range(30))] * 4


async def test_a_question_in_a_context_with_scopes_tells_sources_of_its_time(city: City) -> None:
    await tell(city.here, E1, at(1, 1))
    await tell(city.there, E1, at(2, 2), at(9, 9))
    await city.register(operations=OPERATIONS)
    default = "https://uri.etsi.org/ngsi-ld/default-context/"
    time = {"timerel": "before", "timeAt": "2026-01-05T00:00:00Z"}
    body: dict[str, Any] = {
        "type": "Query",
        "entities": [{"type": "Car"}],
        "temporalQ": time,
        "@context": {"Car": {"@id": f"{default}Car", "@context": {"v": f"{default}speed"}}},
    }
    kind = {"content-type": "application/ld+json"}
    answer = await city.here.post(f"{BASE}/temporal/entityOperations/query", json=body, headers=kind)
    assert answer.status_code == 200, answer.text
    assert "ngsild-warning" not in answer.headers
    [found] = answer.json()
    assert [one["value"] for one in found["v"]] == [1, 2]
    body["temporalQ"] = {**time, "aggrMethods": "max", "aggrPeriodDuration": "PT0S"}
    path = f"{BASE}/temporal/entityOperations/query?options=aggregatedValues"
    [figures] = (await city.here.post(path, json=body, headers=kind)).json()
    assert figures["v"]["max"][0][0] == 2
