"""Figures of histories that two brokers hold together (ETSI GS CIM 009 clauses 4.5.19, 5.7.3, 5.7.4)."""

from __future__ import annotations

import random
from typing import Any

import pytest

from shahar.model.temporal import METHODS
from shahar.values import instants
from tests.contract.test_distribution import E1, City, city, hanging, saying
from tests.contract.test_distribution_past import ALL, OPERATIONS, START, at, tell
from tests.in_process import BASE

__all__ = ["city"]
pytestmark = pytest.mark.anyio

ONE = "/temporal/entities"
TWIN = "urn:ngsi-ld:Twin:1"
"""Has here alone what the car has in parts."""
EVERY = ",".join(METHODS)
SPANS = [
    ALL,
    "timerel=before&timeAt=2026-01-20T00:00:00Z",
    "timerel=between&timeAt=2026-01-03T05:00:00Z&endTimeAt=2026-02-03T00:00:00Z",
    f"{ALL}&lastN=7",
]
PERIODS = ["", "PT0S", "P1D", "PT7H", "P1M"]


def asking(span: str, period: str, methods: str = EVERY) -> str:
    """The question for figures."""
    duration = f"&aggrPeriodDuration={period}" if period else ""
    return f"{span}&options=aggregatedValues&aggrMethods={methods}{duration}"


def instance(name: str, number: int, chance: random.Random) -> dict[str, Any]:
    """An instance of an attribute of some kind."""
    when = instants.text(START + number * instants.HOUR * 5 + chance.randrange(instants.HOUR))
    values = {
        "speed": chance.choice([number, number / 7, -number]),
        "open": chance.random() < 0.5,
        "list": list(range(chance.randrange(4))),
        "text": chance.choice("abcd") * 2,
        "mixed": chance.choice([number, "x", True, {"a": number % 3}, [1]]),
        "day": {"@type": "Date", "@value": f"2026-01-0{1 + number % 9}"},
        "clock": {"@type": "Time", "@value": f"0{number % 9}:30:0{number % 7}.5Z"},
    }
    if name == "owner":
        return {"type": "Relationship", "object": f"urn:a:{chance.randrange(3)}", "observedAt": when}
    return {"type": "Property", "value": values[name], "observedAt": when}


NAMES = ("speed", "open", "list", "text", "mixed", "day", "clock", "owner")


async def told_in_parts(city: City) -> None:
    """A car of which each broker has some of the instances, and a twin that is here alone and has all of them."""
    chance = random.Random(7)
    whole = {name: [instance(name, number, chance) for number in range(40)] for name in NAMES}
    whole["speed"] += [{**one, "datasetId": "urn:d:1"} for one in whole["speed"][::2]]
    parts: list[dict[str, list[Any]]] = [{}, {}]
    for name, listed in whole.items():
        for one in listed:
            parts[chance.randrange(2)].setdefault(name, []).append(one)
    for name, part in (("here", parts[0]), ("there", parts[1])):
        part[name] = whole[name] = [one for one in whole["speed"] if "datasetId" not in one]
    bodies = [(city.here, E1, parts[0]), (city.there, E1, parts[1]), (city.here, TWIN, whole)]
    for where, entity_id, attrs in bodies:
        body = {"id": entity_id, "type": entity_id.split(":")[2], **attrs}
        answer = await where.post(f"{BASE}{ONE}?local=true", json=body)
        assert answer.status_code == 201, answer.text


def rounded(value: Any) -> Any:
    """Figures without the last digits of sums, which depend on the order."""
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, list):
        return [rounded(one) for one in value]
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    return value


def shown(entity: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an answer, the datasets of each in order."""
    told = {name: one for name, one in rounded(entity).items() if name not in {"id", "type"}}
    listed = {name: one if isinstance(one, list) else [one] for name, one in told.items()}
    return {name: sorted(one, key=lambda each: each.get("datasetId", "")) for name, one in listed.items()}


@pytest.mark.parametrize("span", SPANS)
async def test_figures_of_parts_are_those_of_the_whole(city: City, span: str) -> None:
    await told_in_parts(city)
    await city.register(operations=OPERATIONS)
    for period in PERIODS:
        asked = asking(span, period)
        whole = (await city.get(f"{ONE}/{TWIN}?{asked}&local=true")).json()
        answer = await city.get(f"{ONE}/{E1}?{asked}")
        assert answer.status_code == 200, answer.text
        assert "ngsild-warning" not in answer.headers
        expected, found = shown(whole), shown(answer.json())
        assert found.keys() == expected.keys() == {*NAMES, "here", "there"}
        assert found == expected, (span, period)
        [listed] = (await city.get(f"{ONE}?type=Car&{asked}")).json()
        assert shown(listed) == found
        [mapped] = (await city.get(f"{ONE}?type=Car&{asked}&entityMap=true")).json()
        assert shown(mapped) == found


async def test_one_source_alone_reckons_its_figures_itself(city: City) -> None:
    await tell(city.there, E1, at(1, 1), at(2, 3), at(3, 9))
    await tell(city.there, "urn:ngsi-ld:Car:2", at(1, 5))
    await city.register(operations=OPERATIONS)
    for path, number in ((f"{ONE}/{E1}?", 1), (f"{ONE}?type=Car&", 2)):
        city.door.asked.clear()
        found = (await city.get(f"{path}{asking(ALL, 'P1Y', 'avg,max,stddev')}")).json()
        first = found[0] if isinstance(found, list) else found
        assert (first["speed"]["avg"][0][0], first["speed"]["max"][0][0]) == (13 / 3, 9)
        assert not isinstance(found, list) or len(found) == number
        [(_, url, _, _)] = city.door.asked
        assert "aggrMethods=avg,max,stddev" in url


@pytest.mark.parametrize(
    "said",
    [saying(501), saying(400), saying(200, {"id": E1, "type": "Car", "speed": {"type": "Property", "max": [[1, 2]]}}),
     saying(200, {"id": E1, "type": "Car", "speed": {"type": "Property", "max": [[{}, "2026-01-01T00:00:00Z", "x"]]}})],
)  # fmt: skip
async def test_a_source_that_cannot_reckon_is_asked_for_instances(city: City, said: Any) -> None:
    await tell(city.there, E1, at(1, 1), at(2, 3))
    there = city.door.hosts["there"]

    async def plain(method: str, url: str, headers: Any, body: bytes | None) -> Any:
        return await (said if "aggr" in url else there)(method, url, headers, body)

    city.door.hosts["there"] = plain
    await city.register(operations=OPERATIONS)
    answer = await city.get(f"{ONE}/{E1}?{asking(ALL, 'P1Y', 'max,totalCount')}")
    assert [one[0] for one in answer.json()["speed"]["max"]] == [3]
    assert "ngsild-warning" not in answer.headers


async def test_filters_choose_by_instances_wherever_they_are(city: City) -> None:
    await tell(city.there, E1, at(1, 1), at(2, 9))
    await tell(city.there, "urn:ngsi-ld:Car:2", at(1, 5))
    await city.register(operations=OPERATIONS)
    [found] = (await city.get(f"{ONE}?type=Car&q=speed>8&{asking(ALL, 'P1Y', 'avg')}")).json()
    assert (found["id"], found["speed"]["avg"][0][0]) == (E1, 5)


async def test_a_source_that_does_not_tell_all_counts_for_nothing_and_is_named(city: City) -> None:
    await tell(city.here, E1, at(1, 1))
    for host, said in (("slow", hanging), ("half", saying(206, {"id": E1, "type": "Car", "speed": [at(2, 100)]}))):
        city.door.hosts[host] = said
        known = await city.register(host, operations=OPERATIONS, management={"timeout": 50})
        answer = await city.get(f"{ONE}/{E1}?{asking(ALL, 'P1Y', 'max')}")
        assert answer.json()["speed"]["max"][0][0] == 1
        assert known in answer.headers["ngsild-warning"]


async def test_a_method_that_is_not_for_the_values_of_a_source_is_refused(city: City) -> None:
    await tell(city.here, E1, at(1, "a"))
    await tell(city.there, E1, at(2, "b"))
    await city.register(operations=OPERATIONS)
    answer = await city.get(f"{ONE}/{E1}?attrs=speed&{asking(ALL, 'P1Y', 'avg')}")
    assert (answer.status_code, answer.json()["field"]) == (400, "aggrMethods")
    left_out = await city.get(f"{ONE}/{E1}?{asking(ALL, 'P1Y', 'avg')}")
    assert (left_out.status_code, "speed" in left_out.json()) == (200, False)


async def test_more_than_can_be_put_together_is_refused(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    await tell(city.here, E1, *[at(day, day) for day in range(1, 9)])
    await tell(city.there, E1, at(20, 2))
    await city.register(operations=OPERATIONS)
    monkeypatch.setattr("shahar.web.ngsild.past_parts.TEMPORAL_INSTANCES", 3)
    answer = await city.get(f"{ONE}/{E1}?{asking(ALL, 'P1Y', 'max')}")
    assert (answer.status_code, answer.json()["title"]) == (403, "Too many results")
    assert (await city.get(f"{ONE}/{E1}?local=true&{asking(ALL, 'P1Y', 'max')}")).status_code == 200
    assert (await city.get(f"{ONE}/{E1}?lastN=2&{asking(ALL, 'P1Y', 'max')}")).status_code == 200


async def test_an_attribute_that_is_here_alone_is_reckoned_here_however_long_it_is(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tell(city.here, E1, *[at(day, day) for day in range(1, 9)])
    body = {"id": E1, "type": "Car", "weight": [at(1, 700)]}
    await city.there.post(f"{BASE}{ONE}?local=true", json=body)
    await city.register(operations=OPERATIONS)
    monkeypatch.setattr("shahar.web.ngsild.past_parts.TEMPORAL_INSTANCES", 3)
    found = (await city.get(f"{ONE}/{E1}?{asking(ALL, 'P1Y', 'max')}")).json()
    assert (found["speed"]["max"][0][0], found["weight"]["max"][0][0]) == (8, 700)
