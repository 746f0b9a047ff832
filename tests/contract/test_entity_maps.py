"""Entity maps: pages of a question that fit together, here and over two brokers (ETSI GS CIM 009 clauses 5.14, 5.7)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from shahar.values import bounds
from tests.contract.test_distribution import E1, City, city, hanging, limited, of, saying
from tests.contract.test_distribution_past import OPERATIONS, at, speeds, tell
from tests.in_process import BASE

__all__ = ["city"]
pytestmark = pytest.mark.anyio

MAPS = "/entityMaps"
ROOT = "/ngsi-ld/v1"
CARS = "type=Car"


def car(name: str) -> str:
    """The id of a car."""
    return f"urn:ngsi-ld:Car:{name}"


def used(answer: httpx.Response) -> str:
    """The id of the map that an answer says it has used."""
    address = answer.headers["ngsild-entitymap"]
    assert address.startswith(f"{ROOT}{MAPS}/urn:ngsi-ld:EntityMap:")
    return str(address.rpartition("/")[2])


def following(answer: httpx.Response) -> str:
    """The path of the next page; empty: there is none."""
    found = [part for part in answer.headers.get_list("link") for part in part.split(", ") if 'rel="next"' in part]
    return found[0].partition(">")[0].lstrip("<").removeprefix(ROOT) if found else ""


async def fleet(city: City) -> None:
    """Three cars here, three there, one in two parts."""
    for number in range(3):
        await city.make(city.here, car(f"h{number}"), a=of(1))
        await city.make(city.there, car(f"t{number}"), a=of(1))
    await city.make(city.there, car("h1"), b=of(2))


# -- here -------------------------------------------------------------------------------------------------------------


async def test_a_map_of_what_is_here_names_no_source(city: City) -> None:
    await city.make(city.here, a=of(1))
    answer = await city.get(f"/entities?{CARS}&entityMap=true")
    assert answer.status_code == 201
    told = await city.get(f"{MAPS}/{used(answer)}")
    assert told.status_code == 200
    document = told.json()
    assert document == {
        "id": used(answer), "type": "EntityMap", "expiresAt": document["expiresAt"], "entityMap": {E1: ["@none"]},
        "linkedMaps": {},
    }  # fmt: skip
    linked = await city.get(f"{MAPS}/{used(answer)}", accept="application/ld+json")
    assert "@context" in linked.json()


@pytest.mark.parametrize("asked", ["entityMap=true", "options=entityMap", "entityMap=true&entityMapLifetime=PT1H"])
async def test_pages_by_a_map_show_what_was_there_when_it_was_made(city: City, asked: str) -> None:
    for number in range(5):
        await city.make(city.here, car(str(number)), a=of(number))
    first = await city.get(f"/entities?{CARS}&limit=2&count=true&{asked}")
    assert (first.status_code, first.headers["ngsild-results-count"]) == (201, "5")
    await city.make(city.here, car("new"), a=of(1))
    await city.here.delete(f"{BASE}/entities/{car('2')}")
    seen = [one["id"] for one in first.json()]
    path = following(first)
    while path:
        page = await city.get(path)
        assert page.status_code == 200
        assert used(page) == used(first)
        seen += [one["id"] for one in page.json()]
        path = following(page)
    assert seen == [car("0"), car("1"), car("3"), car("4")]


async def test_what_fits_no_longer_leaves_the_map_and_the_page_is_filled(city: City) -> None:
    for number in range(6):
        await city.make(city.here, car(str(number)), a=of(1))
    made = await city.get(f"/entities?{CARS}&q=a==1&limit=2&entityMap=true")
    for number in (2, 3):
        await city.here.patch(f"{BASE}/entities/{car(str(number))}", json={"a": of(9)})
    page = await city.get(f"/entities?{CARS}&q=a==1&limit=2&offset=2", **{"ngsild-entitymap": used(made)})
    assert [one["id"] for one in page.json()] == [car("4"), car("5")]
    left = (await city.get(f"{MAPS}/{used(made)}")).json()["entityMap"]
    assert list(left) == [car("0"), car("1"), car("4"), car("5")]
    other = await city.get(f"/entities?{CARS}&q=a==9&limit=2", **{"ngsild-entitymap": used(made)})
    assert other.json() == []
    assert (await city.get(f"{MAPS}/{used(made)}")).json()["entityMap"] == left, "another question takes nothing out"


async def test_a_map_may_be_named_by_its_id_or_its_address(city: City) -> None:
    await city.make(city.here, a=of(1))
    made = await city.get(f"/entities?{CARS}&entityMap=true")
    for named in (used(made), made.headers["ngsild-entitymap"], made.headers["ngsild-entitymap"].replace(":", "%3A")):
        page = await city.get(f"/entities?{CARS}", **{"ngsild-entitymap": named})
        assert (page.status_code, used(page)) == (200, used(made))


@pytest.mark.parametrize("named", ["urn:ngsi-ld:EntityMap:never", "urn:x:y"])
async def test_a_map_that_is_not_there_is_made_anew(city: City, named: str) -> None:
    await city.make(city.here, a=of(1))
    answer = await city.get(f"/entities?{CARS}", **{"ngsild-entitymap": named})
    assert answer.status_code == 201
    assert used(answer) != named
    assert [one["id"] for one in answer.json()] == [E1]


async def test_a_page_keeps_to_the_context_that_its_map_was_made_in(city: City) -> None:
    await city.make(city.here, a=of(1))
    query = {"type": "Query", "entities": [{"type": "Car"}], "@context": {"Auto": "https://example.org/Auto"}}
    made = await city.here.post(
        f"{BASE}/entityOperations/query?entityMap=true", json=query, headers={"content-type": "application/ld+json"}
    )
    assert made.status_code == 201
    answer = await city.get(f"/entities?{CARS}", **{"ngsild-entitymap": used(made)})
    assert (answer.status_code, answer.json()["field"]) == (400, "Link")


async def test_a_query_in_a_body_may_wish_a_map(city: City) -> None:
    await city.make(city.here, a=of(1))
    query = {"type": "Query", "entities": [{"type": "Car"}], "entityMap": True, "entityMapLifetime": "PT1M"}
    answer = await city.here.post(f"{BASE}/entityOperations/query", json=query)
    assert answer.status_code == 201
    assert (await city.get(f"{MAPS}/{used(answer)}")).json()["entityMap"] == {E1: ["@none"]}
    plain = await city.here.post(f"{BASE}/entityOperations/query", json=query | {"entityMap": False})
    assert plain.status_code == 200
    assert "ngsild-entitymap" not in plain.headers


async def test_the_order_of_a_local_map_is_that_of_the_question(city: City) -> None:
    for number in (2, 0, 1):
        await city.make(city.here, car(str(number)), a=of(number))
    made = await city.get(f"/entities?{CARS}&orderBy=a;desc&limit=1&entityMap=true")
    pages = [made.json(), *[(await city.get(following(made))).json()]]
    assert [one["id"] for page in pages for one in page] == [car("2"), car("1")]


async def test_an_entity_that_is_retrieved_has_a_map_of_its_own(city: City) -> None:
    await city.make(city.here, a=of(1))
    answer = await city.get(f"/entities/{E1}?entityMap=true")
    assert answer.status_code == 200
    assert (await city.get(f"{MAPS}/{used(answer)}")).json()["entityMap"] == {E1: ["@none"]}
    again = await city.get(f"/entities/{E1}", **{"ngsild-entitymap": used(answer)})
    assert used(again) == used(answer)


# -- the maps themselves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["GET", "POST"])
async def test_a_map_is_made_without_any_page(city: City, by: str) -> None:
    await city.make(city.here, a=of(1))
    if by == "GET":
        answer = await city.get(f"{MAPS}?{CARS}&limit=1&offset=7&entityMap=false", **{"ngsild-entitymap": "urn:a:b"})
    else:
        query = {"type": "Query", "entities": [{"type": "Car"}]}
        answer = await city.here.post(BASE + MAPS, json=query)
    assert answer.status_code == 201, answer.text
    assert answer.json()["entityMap"] == {E1: ["@none"]}
    assert used(answer) == answer.json()["id"]
    assert (await city.get(f"{MAPS}/{used(answer)}")).json() == answer.json()


@pytest.mark.parametrize(
    ("more", "names"), [("", ["1"]), ("&splitEntities=false", ["1"]), ("&splitEntities=true", ["0", "1"]),
                        ("&splitEntities=true&local=true", ["1"]), ("&options=splitEntities", ["0", "1"])],
)  # fmt: skip
async def test_a_map_names_candidates_where_entities_are_said_to_be_split(
    city: City, more: str, names: list[str]
) -> None:
    for number in range(2):
        await city.make(city.here, car(str(number)), a=of(number))
    made = await city.get(f"{MAPS}?{CARS}&q=a==1{more}")
    assert list(made.json()["entityMap"]) == [car(name) for name in names]
    page = await city.get("/entities" + more.replace("&", "?", 1), **{"ngsild-entitymap": used(made)})
    assert [one["id"] for one in page.json()] == [car("1")]
    await tell(city.here, car("p0"), at(1, 1))
    await tell(city.here, car("p1"), at(1, 9))
    past = await city.get(f"/temporal{MAPS}?{CARS}&{SINCE}&q=speed>5{more}")
    assert list(past.json()["entityMap"]) == [car(f"p{name}") for name in names]


async def test_a_map_lives_as_long_as_is_wished_and_no_longer_than_the_bound(city: City) -> None:
    await city.make(city.here, a=of(1))
    made = await city.get(f"{MAPS}?{CARS}&entityMapLifetime=PT1H")
    address = f"{BASE}{MAPS}/{used(made)}"
    assert made.json()["expiresAt"] == "2027-01-15T09:00:00Z"
    longest = (await city.get(f"{MAPS}?{CARS}&entityMapLifetime=P1Y")).json()["expiresAt"]
    assert longest == "2027-01-16T08:00:00Z"
    fragment = {"expiresAt": "2027-01-15T10:00:00Z", "entityMap": {}, "linkedMaps": {"a": "b"}}
    assert (await city.here.patch(address, json=fragment)).status_code == 204
    told = (await city.here.get(address)).json()
    assert told == made.json() | {"expiresAt": "2027-01-15T10:00:00Z"}
    assert (await city.here.patch(address, json={"expiresAt": "2127-01-15T10:00:00Z"})).status_code == 204
    assert (await city.here.get(address)).json()["expiresAt"] == longest


async def test_a_map_whose_end_is_put_into_the_past_is_gone(city: City) -> None:
    await city.make(city.here, a=of(1))
    made = await city.get(f"{MAPS}?{CARS}")
    address = f"{BASE}{MAPS}/{used(made)}"
    assert (await city.here.patch(address, json={"expiresAt": "2020-01-01T00:00:00Z"})).status_code == 204
    assert (await city.here.get(address)).status_code == 404
    anew = await city.get(f"/entities?{CARS}", **{"ngsild-entitymap": used(made)})
    assert (anew.status_code, used(anew) != used(made)) == (201, True)


async def test_a_map_is_enough_to_go_on_with_its_question(city: City) -> None:
    for number in range(4):
        await city.make(city.here, car(str(number)), a=of(number))
    await city.make(city.there, car("t"), a=of(7))
    await city.register()
    made = await city.get(f"{MAPS}?{CARS}&q=a>0")
    named = {"ngsild-entitymap": used(made)}
    await city.here.patch(f"{BASE}/entities/{car('1')}", json={"a": of(0)})
    pages = [await city.get(f"/entities?limit=2&offset={offset}", **named) for offset in (0, 2)]
    assert [[one["id"] for one in page.json()] for page in pages] == [[car("2"), car("3")], [car("t")]]
    assert (await city.get("/entities", **{"ngsild-entitymap": "urn:a:b"})).status_code == 400
    await tell(city.here, car("past"), at(1, 1))
    past = await city.get(f"/temporal{MAPS}?{CARS}&{SINCE}&id={car('past')}")
    told = await city.get(PASTS, **{"ngsild-entitymap": used(past)})
    assert (told.status_code, [one["id"] for one in told.json()]) == (200, [car("past")])
    assert (await city.get(PASTS, **{"ngsild-entitymap": used(made)})).status_code == 400


async def test_a_map_that_is_deleted_is_gone(city: City) -> None:
    await city.make(city.here, a=of(1))
    made = await city.get(f"{MAPS}?{CARS}")
    address = f"{BASE}{MAPS}/{used(made)}"
    assert (await city.here.delete(address)).status_code == 204
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", {"expiresAt": "2027-01-15T10:00:00Z"})):
        answer = await city.here.request(method, address, json=body)
        assert (answer.status_code, answer.json()["title"]) == (404, "Resource not found")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{MAPS}/no-uri", 400),
        (f"{MAPS}/urn:ngsi-ld:EntityMap:never", 404),
        (f"{MAPS}?id={E1}", 400),
        (f"{MAPS}?type=Car&q=", 400),
        (f"{MAPS}?type=Car&geometryProperty=location", 400),
        (f"{MAPS}?type=Car&tpye=x", 400),
        (f"/entities?{CARS}&entityMap=maybe", 400),
        (f"/entities?{CARS}&entityMap=true&entityMapLifetime=soon", 400),
        (f"/entities?{CARS}&entityMapLifetime=PT1S&entityMap=false", 200),
        (f"/entities?id={E1}&entityMap=true", 400),
        ("/types?entityMap=true", 400),
    ],
)
async def test_what_is_no_question_for_a_map_is_refused(city: City, path: str, status: int) -> None:
    await city.make(city.here, a=of(1))
    assert (await city.get(path)).status_code == status


@pytest.mark.parametrize("named", ["", "no uri", "x", "<a:b>"])
async def test_a_header_that_names_nothing_is_refused(city: City, named: str) -> None:
    await city.make(city.here, a=of(1))
    answer = await city.get(f"/entities?{CARS}", **{"ngsild-entitymap": named})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "fragment",
    [{}, [], {"expiresAt": "yesterday"}, {"expiresAt": 7}, {"expiresAt": None},
     {"id": "urn:a:b"}, {"type": "Map"}, {"owner": "me"}],
)  # fmt: skip
async def test_a_fragment_that_is_none_changes_nothing(city: City, fragment: Any) -> None:
    await city.make(city.here, a=of(1))
    made = await city.get(f"{MAPS}?{CARS}")
    answer = await city.here.patch(f"{BASE}{MAPS}/{used(made)}", json=fragment)
    assert answer.status_code == 400
    assert (await city.get(f"{MAPS}/{used(made)}")).json() == made.json()


async def test_a_question_for_more_than_a_map_holds_is_refused(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("shahar.model.entity_map", "shahar.services.entity_maps"):
        monkeypatch.setattr(f"{module}.ENTITY_MAP_ENTITIES", 2)
    for number in range(3):
        await city.make(city.here, car(str(number)), a=of(number))
    answer = await city.get(f"/entities?{CARS}&entityMap=true")
    assert (answer.status_code, answer.json()["title"]) == (403, "Too many results")
    assert (await city.get(f"/entities?{CARS}&q=a<2&entityMap=true")).status_code == 201
    assert bounds.ENTITY_MAP_ENTITIES > 2


# -- rights -----------------------------------------------------------------------------------------------------------


async def test_a_map_is_there_for_the_one_alone_who_asked(city: City) -> None:
    await city.make(city.here, a=of(1))
    made = await city.get(f"{MAPS}?{CARS}")
    who = await limited(city, "Car")
    address = f"{BASE}{MAPS}/{used(made)}"
    for method, body in (("GET", None), ("PATCH", {"expiresAt": "2027-01-15T10:00:00Z"}), ("DELETE", None)):
        assert (await city.here.request(method, address, json=body, headers=who)).status_code == 404
    page = await city.here.get(f"{BASE}/entities?{CARS}", headers=who | {"ngsild-entitymap": used(made)})
    assert page.status_code == 201
    assert used(page) != used(made)
    other = await city.get(f"{MAPS}/{used(made)}", **{"ngsild-tenant": "water"})
    assert other.status_code == 404
    assert (await city.get(f"{MAPS}/{used(made)}")).status_code == 200


async def test_a_map_names_what_its_owner_may_read(city: City) -> None:
    await city.make(city.here, a=of(1))
    await city.make(city.here, "urn:ngsi-ld:Bus:1", "Bus", a=of(1))
    await city.make(city.there, "urn:ngsi-ld:Bus:2", "Bus", a=of(1))
    await city.register(information=[{"entities": [{"type": "Car"}, {"type": "Bus"}]}, {"entities": [{"type": "Bus"}]}])
    who = await limited(city, "Car")
    made = await city.here.get(f"{BASE}{MAPS}?type=Car,Bus", headers=who)
    assert made.json()["entityMap"] == {E1: ["@none"]}
    page = await city.here.get(f"{BASE}/entities?type=Car,Bus&entityMap=true", headers=who)
    assert [one["id"] for one in page.json()] == [E1]


# -- with sources -----------------------------------------------------------------------------------------------------


async def test_pages_over_two_brokers_fit_together_though_both_change(city: City) -> None:
    await fleet(city)
    known = await city.register()
    made = await city.get(f"/entities?{CARS}&limit=2&entityMap=true&count=true&options=keyValues")
    assert (made.status_code, made.headers["ngsild-results-count"]) == (201, "6")
    told = (await city.get(f"{MAPS}/{used(made)}")).json()["entityMap"]
    assert told == {
        car("h0"): ["@none"], car("h1"): ["@none", known], car("h2"): ["@none"],
        car("t0"): [known], car("t1"): [known], car("t2"): [known],
    }  # fmt: skip
    await city.make(city.here, car("h3"), a=of(1))
    await city.make(city.there, car("t3"), a=of(1))
    await city.there.delete(f"{BASE}/entities/{car('t0')}")
    seen = made.json()
    assert seen[1] == {"id": car("h1"), "type": "Car", "a": 1, "b": 2}
    path = following(made)
    while path:
        page = await city.get(path)
        seen += page.json()
        path = following(page)
    assert [one["id"] for one in seen] == [car("h0"), car("h1"), car("h2"), car("t1"), car("t2")]


async def test_a_page_asks_those_alone_who_know_of_its_entities(city: City) -> None:
    await fleet(city)
    await city.register()
    city.door.hosts["empty"] = saying(200, [])
    await city.register("empty")
    made = await city.get(f"/entities?{CARS}&limit=1&entityMap=true")
    city.door.asked.clear()
    page = await city.get(f"/entities?{CARS}&limit=1&offset=3", **{"ngsild-entitymap": used(made)})
    assert [one["id"] for one in page.json()] == [car("t0")]
    [(_, url, _, _)] = city.door.asked
    assert httpx.URL(url).host == "there"
    assert car("t0") in url


async def test_filters_are_held_against_whole_entities_page_by_page(city: City) -> None:
    await fleet(city)
    await city.register()
    query = f"{CARS}&q=a==1;b==2&entityMap=true"
    made = await city.get(f"/entities?{query}")
    assert [one["id"] for one in made.json()] == [car("h1")]
    assert list((await city.get(f"{MAPS}/{used(made)}")).json()["entityMap"]) == [car("h1")]
    assert following(made) == ""


async def test_a_source_that_falls_silent_keeps_its_places_in_the_map(city: City) -> None:
    await fleet(city)
    known = await city.register(management={"timeout": 100})
    made = await city.get(f"/entities?{CARS}&limit=2&entityMap=true")
    there = city.door.hosts["there"]
    city.door.hosts["there"] = hanging
    page = await city.get(f"/entities?{CARS}&limit=2&offset=2", **{"ngsild-entitymap": used(made)})
    assert [one["id"] for one in page.json()] == [car("h2")]
    assert known in page.headers["ngsild-warning"]
    city.door.hosts["there"] = there
    later = await city.get(f"/entities?{CARS}&limit=2&offset=2", **{"ngsild-entitymap": used(made)})
    assert [one["id"] for one in later.json()] == [car("h2"), car("t0")]


async def test_sources_make_maps_of_their_own_which_are_used_again(city: City) -> None:
    await fleet(city)
    known = await city.register(operations=["federationOps"])
    made = await city.get(f"{MAPS}?{CARS}")
    assert made.json()["entityMap"][car("t0")] == [known]
    theirs = made.json()["linkedMaps"][known]
    assert theirs.rpartition("/")[2].startswith("urn:ngsi-ld:EntityMap:")
    [(method, url, _, _)] = city.door.asked
    assert (method, httpx.URL(url).path) == ("GET", f"{ROOT}{MAPS}")
    page = await city.get(f"/entities?{CARS}&limit=1&offset=3", **{"ngsild-entitymap": used(made)})
    assert [one["id"] for one in page.json()] == [car("t0")]
    assert city.door.asked[-1][2]["NGSILD-EntityMap"] == theirs
    assert (await city.get(f"{MAPS}/{used(made)}")).json()["linkedMaps"] == {known: theirs}


@pytest.mark.parametrize("said", [saying(404), saying(501), saying(200, [7]), saying(201, {"entityMap": ["x"]})])
async def test_a_source_that_has_no_maps_is_asked_for_entities(city: City, said: Any) -> None:
    await fleet(city)
    there = city.door.hosts["there"]

    async def old(method: str, url: str, headers: Any, body: bytes | None) -> Any:
        return await (said if MAPS in url else there)(method, url, headers, body)

    city.door.hosts["there"] = old
    known = await city.register(operations=["federationOps"])
    made = await city.get(f"{MAPS}?{CARS}")
    assert made.json()["entityMap"][car("t0")] == [known]
    assert "ngsild-warning" not in made.headers


async def test_a_source_that_is_silent_when_the_map_is_made_is_named(city: City) -> None:
    await city.make(city.here, a=of(1))
    city.door.hosts["slow"] = hanging
    slow = await city.register("slow", operations=["federationOps"], management={"timeout": 50})
    for path in (f"{MAPS}?{CARS}", f"/entities?{CARS}&entityMap=true"):
        answer = await city.get(path)
        assert answer.status_code == 201
        assert slow in answer.headers["ngsild-warning"]


async def test_a_name_of_a_map_that_is_none_is_sent_nowhere(city: City) -> None:
    city.door.hosts["liar"] = saying(201, {"id": "urn:a:b\r\nX-Evil: 1", "entityMap": {E1: ["@none"]}})
    await city.register("liar", operations=["federationOps"])
    made = await city.get(f"{MAPS}?{CARS}")
    assert (list(made.json()["entityMap"]), made.json()["linkedMaps"]) == ([E1], {})
    await city.get("/entities", **{"ngsild-entitymap": used(made)})
    assert len(city.door.asked) == 2
    assert not any("NGSILD-EntityMap" in sent for _, _, sent, _ in city.door.asked)


async def test_ids_beyond_a_registration_are_not_believed(city: City) -> None:
    city.door.hosts["liar"] = saying(201, {"id": "urn:a:b", "entityMap": {E1: ["@none"], car("2"): ["@none"]}})
    known = await city.register(
        "liar", operations=["federationOps"], information=[{"entities": [{"type": "Car", "id": E1}]}]
    )
    assert (await city.get(f"{MAPS}?{CARS}")).json()["entityMap"] == {E1: [known]}


async def test_an_entity_is_retrieved_from_the_sources_alone_that_its_map_names(city: City) -> None:
    await city.make(city.there, a=of(1))
    known = await city.register()
    made = await city.get(f"/entities/{E1}?entityMap=true")
    assert (await city.get(f"{MAPS}/{used(made)}")).json()["entityMap"] == {E1: [known]}
    city.door.hosts["new"] = saying(200, {"id": E1, "type": "Car", "b": of(2)})
    await city.register("new")
    city.door.asked.clear()
    again = await city.get(f"/entities/{E1}?options=keyValues", **{"ngsild-entitymap": used(made)})
    assert again.json() == {"id": E1, "type": "Car", "a": 1}
    assert len(city.door.asked) == 1


async def test_many_entities_of_a_source_are_asked_for_in_addresses_of_a_length_that_is_read(city: City) -> None:
    names = [f"{number:03}-{'x' * 60}" for number in range(130)]
    batch = [{"id": car(name), "type": "Car", "a": of(1)} for name in names]
    answer = await city.there.post(f"{BASE}/entityOperations/create?local=true", json=batch)
    assert answer.status_code == 201
    await city.register()
    made = await city.get(f"/entities?{CARS}&limit=1&entityMap=true")
    city.door.asked.clear()
    page = await city.get(f"/entities?{CARS}&limit=1000", **{"ngsild-entitymap": used(made)})
    assert [one["id"] for one in page.json()] == [car(name) for name in names]
    assert all(len(url) < bounds.ADDRESS_BYTES for _, url, _, _ in city.door.asked)


# -- the past ---------------------------------------------------------------------------------------------------------


PASTS = "/temporal/entities"
SINCE = "timerel=after&timeAt=2020-01-01T00:00:00Z"


async def test_a_map_of_pasts_fixes_the_entities_of_all_pages(city: City) -> None:
    for number in range(3):
        await tell(city.here, car(f"h{number}"), at(1, number))
        await tell(city.there, car(f"t{number}"), at(1, number))
    await tell(city.there, car("h1"), at(2, 9))
    await tell(city.here, car("none"), {"type": "Property", "value": 1, "observedAt": "2019-01-01T00:00:00Z"})
    known = await city.register(operations=OPERATIONS)
    made = await city.get(f"{PASTS}?{CARS}&{SINCE}&limit=2&count=true&entityMap=true")
    assert (made.status_code, made.headers["ngsild-results-count"]) == (201, "6")
    told = (await city.get(f"{MAPS}/{used(made)}")).json()["entityMap"]
    assert (told[car("h0")], told[car("h1")], told[car("t0")]) == (["@none"], ["@none", known], [known])
    await tell(city.there, car("t3"), at(1, 1))
    await tell(city.here, car("h3"), at(1, 1))
    await city.there.delete(f"{BASE}{PASTS}/{car('t0')}")
    seen, path = made.json(), following(made)
    assert speeds(seen[1]) == [1, 9]
    while path:
        page = await city.get(path)
        assert page.status_code == 200
        seen += page.json()
        path = following(page)
    assert [one["id"] for one in seen] == [car("h0"), car("h1"), car("h2"), car("t1"), car("t2")]
    present = await city.get(f"/entities?{CARS}", **{"ngsild-entitymap": used(made)})
    assert present.status_code == 201, "a map of pasts is none of the present"


@pytest.mark.parametrize("by", ["GET", "POST"])
async def test_a_map_of_pasts_is_made_without_any_page(city: City, by: str) -> None:
    await tell(city.here, E1, at(1, 1))
    await tell(city.there, car("2"), at(1, 1))
    known = await city.register(operations=[*OPERATIONS, "createEntityMapQueryTemporal"])
    if by == "GET":
        made = await city.get(f"/temporal{MAPS}?{CARS}&{SINCE}&limit=1")
    else:
        query = {
            "type": "Query", "entities": [{"type": "Car"}],
            "temporalQ": {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z"},
        }  # fmt: skip
        made = await city.here.post(f"{BASE}/temporal{MAPS}", json=query)
    assert made.status_code == 201, made.text
    assert made.json()["entityMap"] == {E1: ["@none"], car("2"): [known]}
    assert list(made.json()["linkedMaps"]) == [known]
    page = await city.get(f"{PASTS}?{CARS}&{SINCE}&offset=1", **{"ngsild-entitymap": used(made)})
    assert [one["id"] for one in page.json()] == [car("2")]
    assert city.door.asked[-1][2]["NGSILD-EntityMap"] == made.json()["linkedMaps"][known]


@pytest.mark.parametrize("path", [f"?{CARS}", f"?{SINCE}", f"?{CARS}&{SINCE}&join=flat", f"?{CARS}&{SINCE}&csf==="])
async def test_what_is_no_question_about_the_past_is_refused(city: City, path: str) -> None:
    assert (await city.get(f"/temporal{MAPS}{path}")).status_code == 400


async def test_a_past_that_is_retrieved_has_a_map_of_its_own(city: City) -> None:
    await tell(city.here, E1, at(1, 1))
    await tell(city.there, E1, at(2, 2))
    known = await city.register(operations=OPERATIONS)
    answer = await city.get(f"{PASTS}/{E1}?entityMap=true")
    assert (await city.get(f"{MAPS}/{used(answer)}")).json()["entityMap"] == {E1: ["@none", known]}
    again = await city.get(f"{PASTS}/{E1}", **{"ngsild-entitymap": used(answer)})
    assert (speeds(again.json()), used(again)) == ([1, 2], used(answer))


async def test_filters_over_time_are_held_against_what_sources_tell(city: City) -> None:
    await tell(city.here, E1, at(1, 1))
    await tell(city.there, E1, at(2, 5))
    await tell(city.there, car("2"), at(1, 3))
    await tell(city.there, car("3"), at(1, 9))
    await city.register(operations=OPERATIONS)
    for condition, names in (("speed>4", ["1", "3"]), ("speed==1;speed==5", ["1"]), ("speed==3", ["2"])):
        for more in ("", "&entityMap=true"):
            found = (await city.get(f"{PASTS}?{CARS}&{SINCE}&q={condition}{more}")).json()
            assert [one["id"].rpartition(":")[2] for one in found] == names, condition
    whole = (await city.get(f"{PASTS}?{CARS}&{SINCE}&q=speed>4")).json()[0]
    assert speeds(whole) == [1, 5]


# -- a purge of what a map names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["inclusive", "exclusive"])
async def test_a_purge_by_a_map_takes_what_it_names_and_nothing_else(city: City, mode: str) -> None:
    await city.make(city.here, car("h1"), a=of(1))
    for name in ("t1", "t2", "t3"):
        await city.make(city.there, car(name), a=of(1))
    info = [{"entities": [{"type": "Car", "id": car("t1")}, {"type": "Car", "id": car("t2")}], "propertyNames": ["a"]}]
    more: dict[str, Any] = {"information": info} if mode == "exclusive" else {}
    await city.register(operations=["redirectionOps"], mode=mode, **more)
    made = await city.get(f"{MAPS}?{CARS}&id={car('h1')},{car('t1')}")
    assert list(made.json()["entityMap"]) == [car("h1"), car("t1")]
    await city.make(city.here, car("h2"), a=of(1))
    named = {"ngsild-entitymap": used(made)}
    answer = await city.here.delete(f"{BASE}/entities?{CARS}", headers=named)
    assert (answer.status_code, used(answer)) == (204, used(made))
    left = [one["id"] for one in (await city.get(f"/entities?{CARS}&local=true")).json()]
    assert left == [car("h2")]
    assert [one["id"] for one in (await city.there.get(f"{BASE}/entities?{CARS}")).json()] == [car("t2"), car("t3")]


async def test_a_purge_by_a_map_that_is_not_there_deletes_nothing(city: City) -> None:
    await city.make(city.here, a=of(1))
    other = await city.get(f"/temporal{MAPS}?{CARS}&{SINCE}")
    for named in ("urn:ngsi-ld:EntityMap:never", used(other)):
        answer = await city.here.delete(f"{BASE}/entities?{CARS}", headers={"ngsild-entitymap": named})
        assert answer.status_code == 404
    assert len((await city.get(f"/entities?{CARS}")).json()) == 1


async def test_a_purge_by_a_map_of_what_only_sources_have_leaves_what_is_here(city: City) -> None:
    await city.make(city.there, car("t1"), a=of(1))
    await city.register(operations=["redirectionOps"])
    made = await city.get(f"{MAPS}?{CARS}")
    await city.make(city.here, car("h1"), a=of(1))
    answer = await city.here.delete(f"{BASE}/entities?{CARS}", headers={"ngsild-entitymap": used(made)})
    assert answer.status_code == 204
    assert [one["id"] for one in (await city.get(f"/entities?{CARS}")).json()] == [car("h1")]
