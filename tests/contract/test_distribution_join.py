"""Linked entities that two brokers hold together (ETSI GS CIM 009 clause 4.5.23)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from shahar.model.linking import LINKED_MAX
from tests.contract.test_distribution import E1, City, city, hanging, limited, of
from tests.in_process import BASE

__all__ = ["city"]
pytestmark = pytest.mark.anyio

ANN, BOB, TOWN = "urn:ngsi-ld:Person:ann", "urn:ngsi-ld:Person:bob", "urn:ngsi-ld:Town:t"
EVERYBODY = [{"entities": [{"type": kind}]} for kind in ("Car", "Person", "Town")]


def to(*ids: str, kind: str = "") -> dict[str, Any]:
    """A Relationship."""
    typed = {"objectType": kind} if kind else {}
    return {"type": "Relationship", "object": ids[0] if len(ids) == 1 else list(ids), **typed}


async def ids(city: City, path: str, **headers: str) -> list[str]:
    """The ids of an answer."""
    answer = await city.get(path, **headers)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in (answer.json() if isinstance(answer.json(), list) else [answer.json()])]


async def test_what_a_relationship_leads_to_is_found_at_a_source(city: City) -> None:
    await city.make(city.here, owner=to(ANN, kind="Person"))
    await city.make(city.there, ANN, "Person", name=of("Ann"))
    await city.register(information=EVERYBODY)
    assert await ids(city, f"/entities/{E1}?join=flat") == [E1, ANN]
    inline = (await city.get(f"/entities/{E1}?join=inline&options=keyValues")).json()
    assert inline["owner"] == {"id": ANN, "type": "Person", "name": "Ann"}
    [found] = (await city.get("/entities?type=Car&join=inline")).json()
    assert found["owner"]["entity"]["name"]["value"] == "Ann"
    assert await ids(city, "/entities?type=Car&join=flat") == [E1, ANN]
    geo = (await city.get(f"/entities/{E1}?join=flat", accept="application/geo+json")).json()
    assert [one["id"] for one in geo["features"]] == [E1, ANN]
    posted = await city.here.post(
        f"{BASE}/entityOperations/query", json={"type": "Query", "entities": [{"type": "Car"}], "join": "flat"}
    )
    assert [one["id"] for one in posted.json()] == [E1, ANN]
    by_map = await city.get("/entities?type=Car&join=flat&entityMap=true")
    assert [one["id"] for one in by_map.json()] == [E1, ANN]


async def test_levels_go_from_one_broker_to_the_other_and_circles_end(city: City) -> None:
    await city.make(city.here, owner=to(ANN, kind="Person"))
    await city.make(city.there, ANN, "Person", home=to(TOWN, kind="Town"))
    await city.make(city.here, TOWN, "Town", mayor=to(BOB, kind="Person"), first=to(E1, kind="Car"))
    await city.make(city.there, BOB, "Person", friend=to(ANN, BOB, kind="Person"))
    await city.register(information=EVERYBODY)
    assert await ids(city, "/entities?type=Car&join=flat") == [E1, ANN]
    assert await ids(city, "/entities?type=Car&join=flat&joinLevel=2") == [E1, ANN, TOWN]
    city.door.asked.clear()
    assert await ids(city, "/entities?type=Car&join=flat&joinLevel=8") == [E1, ANN, TOWN, BOB]
    asked = [url for _, url, _, _ in city.door.asked]
    assert all(sum(name in url for url in asked) == 1 for name in (ANN, TOWN, BOB)), asked
    assert not any("join" in url or E1 in url for url in asked)


async def test_each_source_is_asked_once_a_level_whatever_the_number_of_entities(city: City) -> None:
    people = [f"urn:ngsi-ld:Person:{number}" for number in range(20)]
    await city.make(city.here, owners=to(*people, kind="Person"))
    for person in people:
        await city.make(city.there, person, "Person", name=of("x"))
    await city.register(information=EVERYBODY)
    city.door.asked.clear()
    assert await ids(city, "/entities?type=Car&join=flat&local=false") == [E1, *people]
    asked = [httpx.URL(url).params for _, url, _, _ in city.door.asked]
    assert [one.get("type") for one in asked] == ["Car", "Person"]


async def test_a_source_is_asked_for_entities_of_a_type_that_is_known(city: City) -> None:
    await city.make(city.here, owner=to(ANN), seller=to(BOB))
    await city.make(city.here, BOB, "Person", name=of("Bob"))
    for person in (ANN, BOB):
        await city.make(city.there, person, "Person", age=of(40))
    await city.register(information=EVERYBODY)
    found = (await city.get(f"/entities/{E1}?join=inline&options=keyValues")).json()
    assert found["owner"] == ANN, "a relationship says no type of what only a source holds"
    assert found["seller"] == {"id": BOB, "type": "Person", "name": "Bob", "age": 40}
    assert not any(ANN in url for _, url, _, _ in city.door.asked)


async def test_asked_for_what_is_local_no_source_is_asked_for_linked_entities(city: City) -> None:
    await city.make(city.here, owner=to(ANN, kind="Person"))
    await city.make(city.there, ANN, "Person", name=of("Ann"))
    await city.register(information=EVERYBODY)
    assert await ids(city, f"/entities/{E1}?join=flat&local=true") == [E1]
    assert city.door.asked == []


async def test_a_source_that_hangs_is_missing_from_what_is_linked_and_named(city: City) -> None:
    await city.make(city.here, owner=to(ANN, kind="Person"))
    city.door.hosts["slow"] = hanging
    slow = await city.register("slow", information=[{"entities": [{"type": "Person"}]}], management={"timeout": 50})
    began = asyncio.get_running_loop().time()
    answer = await city.get(f"/entities/{E1}?join=inline&joinLevel=3&options=keyValues")
    assert asyncio.get_running_loop().time() - began < 2
    assert answer.json()["owner"] == ANN
    assert answer.headers["ngsild-warning"].startswith(f"199 {city.alias} ")
    assert slow in answer.headers["ngsild-warning"]


async def test_when_the_time_for_all_levels_is_over_who_is_not_asked_is_named(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shahar.web.ngsild.gathering_linked.LINKED_S", 0.0)
    await city.make(city.here, owner=to(ANN, kind="Person"))
    known = await city.register(information=[{"entities": [{"type": "Person"}]}])
    answer = await city.get("/entities?type=Car&join=flat")
    assert (answer.status_code, city.door.asked) == (200, [])
    assert f"{known}: no time was left" in answer.headers["ngsild-warning"]


async def test_the_time_of_a_source_is_no_longer_than_what_is_left_for_all(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shahar.web.ngsild.gathering_linked.LINKED_S", 0.1)
    await city.make(city.here, owner=to(ANN, kind="Person"))
    city.door.hosts["slow"] = hanging
    await city.register("slow", information=[{"entities": [{"type": "Person"}]}], management={"timeout": 20_000})
    began = asyncio.get_running_loop().time()
    assert "ngsild-warning" in (await city.get("/entities?type=Car&join=flat")).headers
    assert asyncio.get_running_loop().time() - began < 2


async def test_more_linked_entities_than_the_bound_are_refused_before_they_are_asked_for(city: City) -> None:
    many = [f"urn:ngsi-ld:Person:{number}" for number in range(LINKED_MAX + 1)]
    await city.make(city.here, owners=to(*many, kind="Person"))
    await city.register(information=[{"entities": [{"type": "Person"}]}])
    answer = await city.get("/entities?type=Car&join=flat")
    assert (answer.status_code, answer.json()["title"]) == (403, "Too complex query")
    assert city.door.asked == []


async def test_what_is_linked_elsewhere_is_shown_to_those_who_may_read_its_type(city: City) -> None:
    await city.make(city.here, owner=to(ANN, kind="Person"))
    await city.make(city.there, ANN, "Person", name=of("Ann"))
    await city.register(information=EVERYBODY)
    assert (await ids(city, f"/entities/{E1}?join=flat", **await limited(city, "Car"))) == [E1]
    assert (await ids(city, f"/entities/{E1}?join=flat", **await limited(city, "Car", "Person"))) == [E1, ANN]


# -- conditions on what is linked (4.9) -------------------------------------------------------------------------------


async def test_a_condition_on_a_linked_entity_is_held_against_it_wherever_it_is(city: City) -> None:
    eve = "urn:ngsi-ld:Person:eve"
    for number, (person, kind) in enumerate(((ANN, "Person"), (BOB, "Person"), (eve, ""))):
        await city.make(city.there, f"urn:ngsi-ld:Car:{number}", owner=to(person, kind=kind))
    await city.make(city.here, ANN, "Person", name=of("Ann"), home=to(TOWN, kind="Town"))
    await city.make(city.there, BOB, "Person", name=of("Bob"))
    await city.make(city.there, eve, "Person", name=of("Eve"))
    await city.make(city.there, TOWN, "Town", size=of(3))
    await city.register(information=EVERYBODY)
    for condition, level, names in (
        ('owner{name}=="Ann"', 1, ["0"]),
        ('owner{name}=="Bob"', 1, ["1"]),
        ("owner{home{size}}>2", 2, ["0"]),
        ('owner{name}=="Bob"|owner{home{size}}==3', 2, ["0", "1"]),
        ('owner{name}=="Eve"', 1, []),
    ):
        for more in ("", "&splitEntities=false", "&entityMap=true"):
            answer = await city.get(f"/entities?type=Car&join=inline&joinLevel={level}&q={condition}{more}")
            found = [one["id"].rpartition(":")[2] for one in answer.json()]
            assert (answer.status_code in {200, 201}, found) == (True, names), (condition, more)


async def test_while_what_is_linked_is_silent_its_cars_keep_their_places_in_a_map(city: City) -> None:
    await city.make(city.there, owner=to(ANN, kind="Person"))
    people = [{"entities": [{"type": "Person"}]}]
    city.door.hosts["people"] = hanging
    await city.register()
    slow = await city.register("people", information=people, management={"timeout": 50})
    made = await city.get('/entities?type=Car&join=inline&q=owner{name}=="Ann"&entityMap=true')
    assert (made.status_code, made.json()) == (201, [])
    assert slow in made.headers["ngsild-warning"]
    told = (await city.get("/entityMaps/" + made.headers["ngsild-entitymap"].rpartition("/")[2])).json()
    assert list(told["entityMap"]) == [E1]
