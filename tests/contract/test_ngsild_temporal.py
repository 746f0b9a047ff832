"""The past over HTTP on a real store: telling, correcting, taking out, asking, aggregating (ETSI GS CIM 009 clauses
5.6.11 to 5.6.16, 5.7.3, 5.7.4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from shahar.model.access import HOUSE, Scope
from shahar.services.accounts import Accounts
from shahar.values import instants
from tests.in_process import BASE, NOW, asking

pytestmark = pytest.mark.anyio

PAST = "/temporal/entities"
LAMP = f"{PAST}/urn:lamp:1"
AFTER: Final[dict[str, Any]] = {"timerel": "after", "timeAt": "2000-01-01T00:00:00Z"}


async def nowhere(_address: str) -> bytes:
    """No @context is fetched here."""
    raise AssertionError("a context was fetched")


class City:
    """A client that may do all with past and present."""

    def __init__(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        self.client, self.accounts = client, accounts

    async def call(self, method: str, path: str, json: Any = None, expect: int = 204, **params: Any) -> httpx.Response:
        """Ask for something that must be answered as expected."""
        answer = await self.client.request(method, BASE + path, json=json, params=params or None)
        assert answer.status_code == expect, (answer.status_code, answer.text)
        return answer

    async def get(self, path: str, **params: Any) -> Any:
        """The document at a path."""
        return (await self.call("GET", path, None, 200, **params)).json()

    async def tell(self, entity: dict[str, Any], expect: int = 201) -> None:
        """Tell of an entity's past."""
        await self.call("POST", PAST, entity, expect)

    async def values(self, name: str = "level", path: str = LAMP, **params: Any) -> list[Any]:
        """The values of an attribute over time."""
        return [one["value"] for one in (await self.get(path, **params)).get(name, [])]


def at(minute: int, hour: int = 12) -> str:
    return f"2026-11-22T{hour:02d}:{minute:02d}:00Z"


def reading(value: Any, minute: int, **more: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, "observedAt": at(minute), **more}


def lamp(number: int = 1, **attributes: Any) -> dict[str, Any]:
    return {"id": f"urn:lamp:{number}", "type": "Lamp", **attributes}


def _over_all(types: tuple[str, ...]) -> list[Scope]:
    """The rights to read and write past and present of these types."""
    return [
        Scope("read", "entities", "", types),
        Scope("write", "entities", "", types),
        Scope("read", "temporal", "", types),
        Scope("write", "temporal", "", types),
    ]


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[City]:
    async with asking(tmp_path, nowhere, _over_all(("*",)), "") as (client, accounts):
        yield City(client, accounts)


# -- telling ----------------------------------------------------------------------------------------------------------


async def test_what_is_told_of_the_past_is_the_present_where_it_is_newest(city: City) -> None:
    await city.tell(lamp(level=[reading(2, 2), reading(3, 3), reading(1, 1)]))
    assert (await city.get("/entities/urn:lamp:1"))["level"]["value"] == 3
    assert await city.values() == [1, 2, 3]
    await city.tell(lamp(level=[reading(0, 0)]), 204)
    assert (await city.get("/entities/urn:lamp:1"))["level"]["value"] == 3
    await city.call("POST", f"{LAMP}/attrs", {"level": [reading(9, 9)], "colour": [reading("red", 1)]})
    assert (await city.get("/entities/urn:lamp:1"))["level"]["value"] == 9
    assert await city.values() == [0, 1, 2, 3, 9]


async def test_an_instance_told_twice_is_kept_once_and_the_later_telling_corrects(city: City) -> None:
    await city.tell(lamp(level=[reading(1, 1), reading(2, 2)]))
    await city.tell(lamp(level=[reading(1, 1), reading(22, 2), reading(1, 1)]), 204)
    assert await city.values() == [1, 22]
    assert (await city.get("/entities/urn:lamp:1"))["level"]["value"] == 22


async def test_datasets_are_series_of_their_own(city: City) -> None:
    other = {"datasetId": "urn:dataset:b"}
    await city.tell(lamp(level=[reading(1, 1), reading(2, 1, **other), reading(3, 2, **other)]))
    present = (await city.get("/entities/urn:lamp:1"))["level"]
    assert sorted(one["value"] for one in present) == [1, 3]
    assert await city.values(datasetId="urn:dataset:b") == [2, 3]
    assert await city.values(datasetId="@none") == [1]
    pairs = (await city.get(LAMP, options="temporalValues"))["level"]
    assert {one.get("datasetId", ""): len(one["values"]) for one in pairs} == {"": 1, "urn:dataset:b": 2}


async def test_the_simplified_form_is_read_as_it_is_written(city: City) -> None:
    given: dict[str, Any] = {
        "level": {"type": "Property", "values": [[1, at(1)], [2, at(2)]]},
        "sign": {"type": "LanguageProperty", "languageMaps": [[{"languageMap": {"uz": "yoniq"}}, at(1)]]},
        "near": {"type": "Relationship", "objects": [["urn:pole:1", at(1)]]},
        "raw": {"type": "JsonProperty", "jsons": [[{"json": {"json": 1}}, at(1)]]},
        "steps": {"type": "ListProperty", "valueLists": [[[1, 2], at(1)]]},
        "poles": {"type": "ListRelationship", "objectLists": [[["urn:pole:1", "urn:pole:2"], at(1)]]},
    }
    await city.tell(lamp(**given))
    told = await city.get(LAMP, options="temporalValues")
    assert {name: told[name] for name in given} == given


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "Lamp", "level": [reading(1, 1)]},
        {"id": "urn:lamp:1", "level": [reading(1, 1)]},
        lamp(level=[]),
        lamp(level=[{"type": "Property"}]),
        lamp(level=[{"type": "Property", "value": 1, "observedAt": "yesterday"}]),
        lamp(level=[{"type": "Property", "value": "urn:ngsi-ld:null", "observedAt": at(1)}]),
        lamp(level={"type": "Property", "values": [[1]]}),
        lamp(level={"type": "Property", "values": 5}),
        lamp(scope=[{"type": "Relationship", "object": "urn:x"}]),
        lamp(scope=[{"type": "Property", "value": ["not a scope"]}]),
    ],
)
async def test_what_is_no_evolution_is_refused_and_leaves_nothing(city: City, broken: dict[str, Any]) -> None:
    answer = await city.call("POST", PAST, broken, 400)
    assert answer.json()["type"].endswith("BadRequestData")
    await city.call("GET", LAMP, expect=404)
    await city.call("GET", "/entities/urn:lamp:1", expect=404)


async def test_too_many_instances_at_once_are_refused(city: City) -> None:
    many = {"type": "Property", "values": [[number, f"2026-01-01T00:00:00.{number:06d}Z"] for number in range(10_001)]}
    await city.call("POST", PAST, lamp(level=many), 413)
    await city.call("GET", LAMP, expect=404)


async def test_readings_from_before_a_deletion_do_not_bring_an_entity_back(city: City) -> None:
    await city.tell(lamp(level=[reading(1, 1)]))
    await city.call("DELETE", "/entities/urn:lamp:1")
    await city.tell(lamp(level=[reading(0, 0)]), 204)
    await city.call("GET", "/entities/urn:lamp:1", expect=404)
    assert await city.values() == [0, 1]
    later = {"type": "Property", "value": 5, "observedAt": "2030-01-01T00:00:00Z"}
    await city.call("POST", f"{LAMP}/attrs", {"level": [later]})
    assert (await city.get("/entities/urn:lamp:1"))["level"]["value"] == 5


async def test_attributes_are_added_only_to_what_is_known(city: City) -> None:
    await city.call("POST", f"{LAMP}/attrs", {"level": [reading(1, 1)]}, 404)
    await city.call("POST", f"{PAST}/nourn/attrs", {"level": [reading(1, 1)]}, 400)
    await city.tell(lamp(level=[reading(1, 1)]))
    await city.call("POST", f"{LAMP}/attrs", {}, 400)
    await city.call("POST", f"{LAMP}/attrs", {"type": "Thing", "level": [reading(2, 2)]})
    assert sorted((await city.get("/entities/urn:lamp:1"))["type"]) == ["Lamp", "Thing"]


async def test_a_bare_list_is_one_value(city: City) -> None:
    await city.tell(lamp(steps=[1, 2, 3]))
    assert await city.values("steps") == [[1, 2, 3]]


async def test_instances_without_instants_are_all_kept(city: City) -> None:
    await city.tell(lamp(name=[{"type": "Property", "value": value} for value in "abc"]))
    assert await city.values("name") == ["a", "b", "c"]
    assert (await city.get("/entities/urn:lamp:1"))["name"]["value"] == "c"


# -- single instances -------------------------------------------------------------------------------------------------


async def instance_ids(city: City) -> list[str]:
    return [one["instanceId"] for one in (await city.get(LAMP))["level"]]


async def test_a_corrected_instance_keeps_its_id_and_its_creation(city: City) -> None:
    await city.tell(lamp(level=[reading(1, 1), reading(2, 2)]))
    before = (await city.get(LAMP, options="sysAttrs"))["level"][0]
    where = f"{LAMP}/attrs/level/{before['instanceId']}"
    for fragment in (reading(11, 1), [reading(11, 1)], {"level": [reading(11, 1)]}):
        await city.call("PATCH", where, fragment)
        after = (await city.get(LAMP, options="sysAttrs"))["level"][0]
        assert (after["value"], after["instanceId"]) == (11, before["instanceId"])
        assert after["createdAt"] == before["createdAt"]
    assert (await city.get("/entities/urn:lamp:1"))["level"]["value"] == 2


async def test_an_instance_that_was_moved_in_time_is_found_by_its_id_and_told_from_newcomers(city: City) -> None:
    await city.tell(lamp(level=[reading(1, 1), reading(2, 2)]))
    first, second = await instance_ids(city)
    await city.call("PATCH", f"{LAMP}/attrs/level/{first}", reading(1, 5))
    assert await instance_ids(city) == [second, first]
    assert (await city.get("/entities/urn:lamp:1"))["level"]["observedAt"] == at(5)
    await city.tell(lamp(level=[reading(7, 1)]), 204)
    newcomer, *rest = await instance_ids(city)
    assert newcomer not in {first, second}
    assert rest == [second, first]
    await city.call("PATCH", f"{LAMP}/attrs/level/{newcomer}", reading(8, 1))
    await city.call("PATCH", f"{LAMP}/attrs/level/{first}", reading(3, 3))
    assert await city.values() == [8, 2, 3]
    assert await instance_ids(city) == [newcomer, second, first]
    await city.call("DELETE", f"{LAMP}/attrs/level/{first}")
    assert await city.values() == [8, 2]
    await city.call("DELETE", f"{LAMP}/attrs/level/{first}", expect=404)
    assert await instance_ids(city) == [newcomer, second]


async def test_a_correction_of_the_present_value_changes_the_present(city: City) -> None:
    await city.tell(lamp(level=[reading(1, 1), reading(2, 2)]))
    _, second = await instance_ids(city)
    await city.call("PATCH", f"{LAMP}/attrs/level/{second}", reading(20, 2))
    assert (await city.get("/entities/urn:lamp:1"))["level"] == reading(20, 2)
    await city.call("DELETE", f"{LAMP}/attrs/level/{second}")
    assert (await city.get("/entities/urn:lamp:1"))["level"] == reading(1, 1)
    (first,) = await instance_ids(city)
    await city.call("DELETE", f"{LAMP}/attrs/level/{first}")
    assert "level" not in await city.get("/entities/urn:lamp:1")


async def test_an_unobserved_value_can_be_corrected(city: City) -> None:
    await city.tell(lamp(name={"type": "Property", "value": "a"}))
    (one,) = (await city.get(LAMP))["name"]
    await city.call("PATCH", f"{LAMP}/attrs/name/{one['instanceId']}", {"type": "Property", "value": "b"})
    assert (await city.get("/entities/urn:lamp:1"))["name"]["value"] == "b"
    (after,) = (await city.get(LAMP))["name"]
    assert after == {**one, "value": "b"}


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_an_instance_that_is_not_there_is_not_found(city: City, method: str) -> None:
    await city.tell(lamp(level=[reading(1, 1)], colour=[reading("red", 1)]))
    (known,) = await instance_ids(city)
    body = reading(1, 1) if method == "PATCH" else None
    for where, status in (
        (f"{PAST}/urn:lamp:2/attrs/level/{known}", 404),
        (f"{LAMP}/attrs/colour/{known}", 404),
        (f"{LAMP}/attrs/unknown/{known}", 404),
        (f"{LAMP}/attrs/level/urn:ngsi-ld:Instance:1-0-0-0-0", 404),
        (f"{LAMP}/attrs/level/{known}.1", 404),
        (f"{LAMP}/attrs/level/noid", 400),
        (f"{LAMP}/attrs/lev(el/{known}", 400),
        (f"{PAST}/noid/attrs/level/{known}", 400),
    ):
        await city.call(method, where, body, status)


@pytest.mark.parametrize("fragment", [{}, [], [reading(1, 1)] * 2, {"other": [reading(1, 1)]}, {"type": "Property"}, 5])
async def test_a_fragment_is_one_whole_instance(city: City, fragment: Any) -> None:
    await city.tell(lamp(level=[reading(1, 1)]))
    (known,) = await instance_ids(city)
    answer = await city.client.patch(f"{BASE}{LAMP}/attrs/level/{known}", json=fragment)
    if fragment == {"other": [reading(1, 1)]}:
        assert answer.status_code in {204, 400}
    else:
        assert answer.status_code == 400, answer.text
        assert await city.values() == [1]


# -- taking out -------------------------------------------------------------------------------------------------------


async def test_an_attribute_is_taken_out_by_dataset_or_wholly(city: City) -> None:
    other = {"datasetId": "urn:dataset:b"}
    await city.tell(lamp(level=[reading(1, 1), reading(2, 2), reading(3, 1, **other)], colour=[reading("red", 1)]))
    await city.call("DELETE", f"{LAMP}/attrs/level/", expect=400)
    await city.call("DELETE", f"{LAMP}/attrs/level")
    assert await city.values() == [3]
    assert (await city.get("/entities/urn:lamp:1"))["level"]["value"] == 3
    await city.call("DELETE", f"{LAMP}/attrs/level", expect=404)
    await city.call("DELETE", f"{LAMP}/attrs/level", datasetId="urn:dataset:c", expect=404)
    await city.tell(lamp(level=[reading(1, 1)]), 204)
    await city.call("DELETE", f"{LAMP}/attrs/level", deleteAll="true")
    told = await city.get(LAMP)
    assert "level" not in told
    assert "colour" in told
    assert "level" not in await city.get("/entities/urn:lamp:1")
    await city.call("DELETE", f"{LAMP}/attrs/unknown", expect=404)
    await city.call("DELETE", f"{PAST}/urn:lamp:2/attrs/level", expect=404)


async def test_taking_out_an_evolution_takes_out_the_entity_and_its_name_is_free(city: City) -> None:
    await city.tell(lamp(level=[reading(1, 1)], scope="/Tashkent"))
    await city.call("DELETE", LAMP)
    for path in (LAMP, "/entities/urn:lamp:1"):
        await city.call("GET", path, expect=404)
    await city.call("DELETE", LAMP, expect=404)
    await city.tell(lamp(level=[reading(2, 2)]))
    assert await city.values() == [2]
    await city.call("DELETE", "/entities/urn:lamp:1")
    await city.call("DELETE", LAMP)
    await city.call("GET", LAMP, expect=404)


async def test_types_and_attributes_are_counted_as_the_past_is_changed(city: City) -> None:
    async def known() -> tuple[list[str], list[str]]:
        types, attributes = await city.get("/types"), await city.get("/attributes")
        return types["typeList"], sorted(attributes["attributeList"])

    await city.tell(lamp(level=[reading(1, 1)], colour=[reading("red", 1)]))
    assert await known() == (["Lamp"], ["colour", "level"])
    (one,) = await instance_ids(city)
    await city.call("DELETE", f"{LAMP}/attrs/level/{one}")
    assert await known() == (["Lamp"], ["colour"])
    await city.tell(lamp(level=[reading(1, 1)]), 204)
    await city.call("DELETE", f"{LAMP}/attrs/colour")
    assert await known() == (["Lamp"], ["level"])
    await city.call("DELETE", LAMP)
    assert await known() == ([], [])


async def test_a_deletion_in_the_present_is_an_instance_of_the_past(city: City) -> None:
    await city.tell(lamp(level=[reading(1, 1)], sign={"type": "LanguageProperty", "languageMap": {"uz": "yoniq"}}))
    await city.call("DELETE", "/entities/urn:lamp:1/attrs/level")
    await city.call("DELETE", "/entities/urn:lamp:1/attrs/sign")
    gone = await city.get(LAMP, timeproperty="deletedAt")
    assert gone["level"][0]["value"] == "urn:ngsi-ld:null"
    assert gone["sign"][0]["languageMap"] == {"@none": "urn:ngsi-ld:null"}
    assert gone["level"][0]["deletedAt"]
    assert await city.values() == [1]


# -- asking -----------------------------------------------------------------------------------------------------------


async def test_after_takes_in_its_instant_and_before_does_not(city: City) -> None:
    await city.tell(lamp(level=[reading(value, value) for value in range(5)]))
    assert await city.values(timerel="after", timeAt=at(3)) == [3, 4]
    assert await city.values(timerel="before", timeAt=at(3)) == [0, 1, 2]
    assert await city.values(timerel="between", timeAt=at(1), endTimeAt=at(3)) == [1, 2]
    assert await city.values(lastN=2) == [3, 4]
    assert await city.values(lastN=2, timerel="before", timeAt=at(3)) == [1, 2]
    assert await city.values(lastN=1, timeproperty="modifiedAt")
    await city.call("GET", LAMP, expect=404, timerel="after", timeAt=at(30))


async def test_a_long_history_comes_in_parts_that_can_be_followed(city: City) -> None:
    await city.tell(lamp(level=[reading(value, value % 60, datasetId=f"urn:d:{value // 60}") for value in range(120)]))
    collected: set[tuple[int, str]] = set()
    start = at(0)
    for _ in range(20):
        answer = await city.call("GET", LAMP, None, 206 if len(collected) < 110 else 200, timerel="after", timeAt=start)
        collected |= {(one["value"], one["observedAt"]) for one in answer.json()["level"]}
        if answer.status_code == 200:
            break
        unit, span, size = answer.headers["content-range"].replace("/", " ").split(" ")
        assert (unit, size) == ("date-time", "*")
        assert span.startswith(start + "-")
        start = span.removeprefix(start + "-")
    assert {value for value, _ in collected} == set(range(120))


async def test_the_newest_come_in_parts_backwards(city: City) -> None:
    await city.tell(lamp(level=[reading(value, value) for value in range(60)]))
    answer = await city.call("GET", LAMP, None, 206, lastN=50)
    assert [one["value"] for one in answer.json()["level"]] == list(range(21, 60))
    assert answer.headers["content-range"] == f"date-time {at(59)}-{at(21)}/50"
    assert await city.values(timerel="before", timeAt=at(21), lastN=11) == list(range(10, 21))


async def test_more_instances_come_at_once_when_they_are_preferred(city: City) -> None:
    await city.tell(lamp(level=[reading(value, value) for value in range(60)]))
    answer = await city.client.get(BASE + LAMP, headers={"prefer": "maxpagesize=100"})
    assert (answer.status_code, len(answer.json()["level"])) == (200, 60)
    assert answer.headers["preference-applied"] == "maxpagesize=100"
    answer = await city.client.get(BASE + LAMP, headers={"prefer": "maxpagesize=10"})
    assert (answer.status_code, len(answer.json()["level"])) == (206, 10)


async def test_many_instances_of_one_instant_are_never_torn_apart(city: City) -> None:
    same = [reading(value, 1, datasetId=f"urn:d:{value}") for value in range(50)]
    await city.tell(lamp(level=[*same, reading(100, 2)]))
    first = await city.call("GET", LAMP, None, 206)
    assert len(first.json()["level"]) == 50
    rest = await city.call("GET", LAMP, None, 200, timerel="after", timeAt=at(1))
    assert len(rest.json()["level"]) == 51


async def test_entities_are_paged_after_they_were_narrowed_to_the_time(city: City) -> None:
    for number in range(1, 7):
        await city.tell(lamp(number, level=[reading(number, 1 if number % 2 else 30)]))
    asked = {"type": "Lamp", "timerel": "after", "timeAt": at(20), "limit": 2, "count": "true"}
    first = await city.call("GET", PAST, None, 200, **asked)
    assert [one["id"][-1] for one in first.json()] == ["2", "4"]
    assert first.headers["ngsild-results-count"] == "3"
    assert 'rel="next"' in first.headers["link"]
    second = await city.call("GET", PAST, None, 200, **asked, offset=2)
    assert [one["id"][-1] for one in second.json()] == ["6"]
    counted = await city.call("GET", PAST, None, 200, **{**asked, "limit": 0})
    assert (counted.json(), counted.headers["ngsild-results-count"]) == ([], "3")


async def test_a_q_asks_the_instances_in_the_time_and_not_the_present(city: City) -> None:
    await city.tell(lamp(1, level=[reading(5, 1), reading(50, 30)], brand={"type": "Property", "value": "Nur"}))
    await city.tell(lamp(2, level=[reading(50, 1), reading(5, 30)]))

    async def ids(q: str, **span: Any) -> list[str]:
        return [one["id"][-1] for one in await city.get(PAST, type="Lamp", q=q, **(span or AFTER))]

    assert await ids("level>10", timerel="before", timeAt=at(20)) == ["2"]
    assert await ids("level>10", timerel="after", timeAt=at(20)) == ["1"]
    assert await ids("level>10;level<10") == ["1", "2"]
    assert await ids("level==5", timerel="before", timeAt=at(20)) == ["1"]
    assert await ids('brand=="Nur"') == ["1"]
    assert await ids("level>60|brand") == ["1"]
    assert await ids("level<=5") == ["1", "2"]
    await city.call("GET", PAST, expect=400, type="Lamp", q="near{level}>1", **AFTER)


async def test_a_geo_query_asks_where_it_was_at_that_time(city: City) -> None:
    def place(x: float, minute: int) -> dict[str, Any]:
        return {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [x, 41]}, "observedAt": at(minute)}

    await city.tell(lamp(1, location=[place(69.0, 1), place(70.0, 30)]))
    standing = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [69.0, 41]}}
    await city.tell(lamp(2, location=standing, level=[reading(1, 1), reading(1, 30)]))
    near: dict[str, Any] = {
        "georel": "near;maxDistance==1000",
        "geometry": "Point",
        "coordinates": "[69.0,41]",
        "type": "Lamp",
    }
    early = await city.get(PAST, **near, timerel="before", timeAt=at(20))
    late = await city.get(PAST, **near, timerel="after", timeAt=at(20))
    assert [[one["id"][-1] for one in found] for found in (early, late)] == [["1", "2"], ["2"]]


async def test_scopes_are_asked_as_they_were_at_that_time(city: City) -> None:
    scopes = [
        {"type": "Property", "value": ["/Samarkand"], "observedAt": at(0)},
        {"type": "Property", "value": ["/Tashkent", "/Park"], "observedAt": at(10)},
    ]
    await city.tell(lamp(scope=scopes, level=[reading(1, 5), reading(2, 15)]))
    assert (await city.get("/entities/urn:lamp:1"))["scope"] == ["/Tashkent", "/Park"]

    async def found(scope: str, **span: Any) -> int:
        return len(await city.get(PAST, type="Lamp", scopeQ=scope, **span))

    assert await found("/Samarkand", timerel="before", timeAt=at(8)) == 1
    assert await found("/Tashkent", timerel="before", timeAt=at(8)) == 0
    assert await found("/Tashkent", timerel="after", timeAt=at(12)) == 1
    assert await found("/Samarkand", timerel="after", timeAt=at(12)) == 0
    shown = (await city.get(LAMP))["scope"]
    assert [one["value"] for one in shown] == [["/Samarkand"], ["/Tashkent", "/Park"]]
    await city.call("PATCH", "/entities/urn:lamp:1", {"scope": "/Bukhara"})
    assert [one["value"] for one in (await city.get(LAMP))["scope"]][-1] == ["/Bukhara"]
    await city.call("DELETE", "/entities/urn:lamp:1/attrs/scope")
    assert (await city.get(LAMP, timeproperty="deletedAt"))["scope"][0]["value"] == []


async def test_a_post_query_asks_the_same_as_an_address(city: City) -> None:
    await city.tell(lamp(1, level=[reading(5, 1), reading(50, 30)]))
    await city.tell(lamp(2, level=[reading(7, 1)]))
    body = {
        "type": "Query",
        "entities": [{"type": "Lamp"}],
        "q": "level<10",
        "temporalQ": {"timerel": "before", "timeAt": at(20), "lastN": 1},
        "pick": ["id", "level"],
    }
    answer = await city.call("POST", "/temporal/entityOperations/query", body, 200, count="true", limit=1)
    assert answer.headers["ngsild-results-count"] == "2"
    (one,) = answer.json()
    assert one.keys() == {"id", "level"}
    whole = {**body, "aggrParams": {"aggrMethods": "sum", "aggrPeriodDuration": "PT0S"}}
    answer = await city.call("POST", "/temporal/entityOperations/query", whole, 200, options="aggregatedValues")
    assert [one["level"]["sum"][0][0] for one in answer.json()] == [5, 7]


@pytest.mark.parametrize(
    "change",
    [
        {"temporalQ": None},
        {"temporalQ": {}},
        {"temporalQ": {"timerel": "after"}},
        {"temporalQ": {"timerel": "after", "timeAt": at(1), "lastN": 1.5}},
        {"temporalQ": {"timerel": "after", "timeAt": at(1), "unknown": "x"}},
        {"type": "Question"},
        {"entities": None, "temporalQ": {"timerel": "after", "timeAt": at(1)}},
        {"join": "flat"},
        {"q": "near{level}>1"},
    ],
)
async def test_a_broken_post_query_is_bad_data(city: City, change: dict[str, Any]) -> None:
    body = {"type": "Query", "entities": [{"type": "Lamp"}], "temporalQ": {"timerel": "after", "timeAt": at(1)}}
    body = {name: value for name, value in (body | change).items() if value is not None}
    answer = await city.call("POST", "/temporal/entityOperations/query", body, 400)
    assert answer.json()["type"].endswith("BadRequestData")


async def test_a_question_needs_a_time_and_something_that_narrows_it(city: City) -> None:
    await city.tell(lamp(level=[reading(1, 1)]))
    for params in ({"type": "Lamp"}, AFTER, AFTER | {"id": "urn:lamp:1"}, AFTER | {"scopeQ": "/a"}):
        answer = await city.call("GET", PAST, None, 400, **params)
        assert answer.json()["type"].endswith("BadRequestData")
    for params in ({"q": "createdAt>2000-01-01T00:00:00Z"}, {"type": "*", "local": "false"}):
        await city.call("GET", PAST, None, 400, **params, **AFTER)
    assert len(await city.get(PAST, **AFTER, local="true")) == 1
    assert len(await city.get(PAST, **AFTER, type="*")) == 1
    everything = {"type": "Query", "entities": [{"type": "*"}], "temporalQ": AFTER}
    assert len((await city.call("POST", "/temporal/entityOperations/query", everything, 200)).json()) == 1
    assert len(await city.get(PAST, **AFTER, attrs="level")) == 1
    assert len(await city.get(PAST, **AFTER, type="Lamp", attrs="colour")) == 0
    answer = await city.client.get(BASE + LAMP, headers={"accept": "application/geo+json"})
    assert answer.status_code == 406


async def test_ids_alone_put_evolutions_in_order(city: City) -> None:
    for number in (2, 3, 1):
        await city.tell(lamp(number, level=[reading(1, 1)]))
    for order, ids in (("id", "123"), ("id;desc", "321")):
        found = await city.get(PAST, type="Lamp", orderBy=order, **AFTER)
        assert "".join(one["id"][-1] for one in found) == ids
    await city.call("GET", PAST, expect=400, type="Lamp", orderBy="level", **AFTER)


async def test_a_language_is_chosen_in_every_form(city: City) -> None:
    sign = {"type": "LanguageProperty", "languageMap": {"uz": "yoniq", "ru": "горит"}, "observedAt": at(1)}
    await city.tell(lamp(sign=[sign]))
    assert (await city.get(LAMP, lang="ru"))["sign"][0]["value"] == "горит"
    assert (await city.get(LAMP, lang="uz", options="temporalValues"))["sign"] == {
        "type": "Property",
        "values": [["yoniq", at(1)]],
    }
    assert "type" not in (await city.get(LAMP, format="concise"))["sign"][0]


# -- aggregation ------------------------------------------------------------------------------------------------------


async def figures(city: City, methods: str, period: str = "PT0S", **params: Any) -> Any:
    asked: dict[str, Any] = {
        "options": "aggregatedValues",
        "aggrMethods": methods,
        "aggrPeriodDuration": period,
        **params,
    }
    return await city.get(LAMP, **asked)


async def test_numbers_are_aggregated_by_periods_from_the_start_of_the_time(city: City) -> None:
    await city.tell(lamp(level=[reading(value, minute) for value, minute in ((2, 0), (4, 5), (4, 6), (6, 59))]))
    every = "totalCount,distinctCount,sum,avg,min,max,stddev,sumsq"
    found = (await figures(city, every))["level"]
    assert found.pop("type") == "Property"
    assert {name: pairs[0][0] for name, pairs in found.items()} == {
        "totalCount": 4,
        "distinctCount": 3,
        "sum": 16,
        "avg": 4,
        "min": 2,
        "max": 6,
        "stddev": pytest.approx(2**0.5),
        "sumsq": 72,
    }
    hourly = await figures(city, "max", "PT10M", timerel="after", timeAt="2026-11-22T11:55:00Z")
    assert hourly["level"]["max"] == [
        [2, "2026-11-22T11:55:00Z", "2026-11-22T12:05:00Z"],
        [4, "2026-11-22T12:05:00Z", "2026-11-22T12:15:00Z"],
        [6, "2026-11-22T12:55:00Z", "2026-11-22T13:05:00Z"],
    ]
    whole = await figures(city, "sum", timerel="between", timeAt=at(1), endTimeAt=at(30))
    assert whole["level"]["sum"] == [[8, at(1), at(30)]]
    months = await figures(city, "totalCount", "P1M", timerel="after", timeAt="2026-08-31T00:00:00Z")
    assert months["level"]["totalCount"] == [[4, "2026-10-31T00:00:00Z", "2026-11-30T00:00:00Z"]]
    assert (await figures(city, "sum", lastN=2))["level"]["sum"][0][0] == 10


async def test_each_kind_of_value_has_its_own_methods(city: City) -> None:
    await city.tell(
        lamp(
            name=[reading("b", 1), reading("a", 2)],
            lit=[reading(True, 1), reading(False, 2), reading(True, 3)],
            steps=[reading([1, 2, 3], 1), reading([1], 2)],
            box=[reading({"a": 1}, 1), reading({"a": 1}, 2)],
            enters=[reading({"@type": "Time", "@value": text}, n) for n, text in enumerate(("08:00:00Z", "09:00:01Z"))],
            near=[{"type": "Relationship", "object": f"urn:pole:{n}", "observedAt": at(n)} for n in (1, 2)],
        )
    )
    found = await figures(city, "totalCount,distinctCount,sum,avg,min,max,stddev,sumsq")
    bare = {
        name: {method: pairs[0][0] for method, pairs in one.items() if method != "type"}
        for name, one in found.items()
        if isinstance(one, dict)
    }
    assert bare["name"] == {"totalCount": 2, "distinctCount": 2, "min": "a", "max": "b"}
    assert bare["lit"]["sum"] == 2
    assert bare["lit"]["avg"] == pytest.approx(2 / 3)
    assert bare["steps"] == {"totalCount": 2, "distinctCount": 2, "sum": 4, "avg": 2, "min": 1, "max": 3}
    assert bare["box"] == {"totalCount": 2, "distinctCount": 1}
    assert bare["enters"] == {
        "totalCount": 2,
        "distinctCount": 2,
        "avg": "08:30:00.5Z",
        "min": "08:00:00Z",
        "max": "09:00:01Z",
    }
    assert bare["near"] == {"totalCount": 2, "distinctCount": 2}
    assert found["near"]["type"] == "Relationship"
    answer = await city.call("GET", LAMP, None, 400, options="aggregatedValues", aggrMethods="avg", attrs="name")
    assert answer.json()["type"].endswith("InvalidRequest")


async def test_an_aggregation_that_cannot_be_is_refused(city: City) -> None:
    await city.tell(lamp(level=[reading(1, 1), {"type": "Property", "value": 1, "observedAt": "2020-01-01T00:00:00Z"}]))
    for params in (
        {},
        {"aggrMethods": "mean"},
        {"aggrMethods": "avg", "aggrPeriodDuration": "1h"},
        {"aggrMethods": "avg", "aggrPeriodDuration": "P"},
    ):
        answer = await city.call("GET", LAMP, None, 400, format="aggregatedValues", **params)
        assert answer.json()["type"].endswith("BadRequestData")
    start = instants.parse("2026-01-01T00:00:00Z")
    many = [[number, instants.text(start + number * instants.SECOND)] for number in range(9_999)]
    await city.call("POST", f"{LAMP}/attrs", {"level": {"type": "Property", "values": many}})
    await city.call("GET", LAMP, None, 403, format="aggregatedValues", aggrMethods="avg", aggrPeriodDuration="PT1S")


# -- rights -----------------------------------------------------------------------------------------------------------


async def test_rights_over_types_hold_for_the_past(city: City) -> None:
    await city.tell(lamp(1, level=[reading(1, 1)]))
    await city.tell({"id": "urn:door:1", "type": "Door", "level": [reading(1, 1)]})
    lamps = ("https://uri.etsi.org/ngsi-ld/default-context/Lamp",)
    _, key = await city.accounts.make_key("Lamps", _over_all(lamps), "", ["*"], 30, NOW, by=HOUSE)
    bearer = {"authorization": f"Bearer {key}"}

    async def status(method: str, path: str, json: Any = None) -> int:
        return (await city.client.request(method, BASE + path, json=json, headers=bearer)).status_code

    assert await status("GET", LAMP) == 200
    assert await status("GET", f"{PAST}/urn:door:1") == 403
    assert await status("DELETE", f"{PAST}/urn:door:1") == 403
    assert await status("POST", f"{PAST}/urn:door:1/attrs", {"level": [reading(2, 2)]}) == 403
    assert await status("POST", PAST, {"id": "urn:door:1", "type": "Lamp", "level": [reading(2, 2)]}) == 403
    assert await status("POST", PAST, {"id": "urn:door:2", "type": "Door", "level": [reading(2, 2)]}) == 403
    answer = await city.client.get(BASE + PAST, headers=bearer, params={**AFTER, "attrs": "level"})
    assert [one["id"] for one in answer.json()] == ["urn:lamp:1"]


async def test_who_may_write_the_past_alone_may_not_change_the_present(city: City) -> None:
    _, key = await city.accounts.make_key("Past", [Scope("write", "temporal", "")], "", ["*"], 30, NOW, by=HOUSE)
    bearer = {"authorization": f"Bearer {key}"}
    answer = await city.client.post(BASE + PAST, json=lamp(level=[reading(1, 1)]), headers=bearer)
    assert answer.status_code == 403
