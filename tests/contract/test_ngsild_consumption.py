"""Asking over HTTP on a real store: projection, linked entities, order and pages, rights (ETSI GS CIM 009)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shahar.model import ordering
from shahar.model.access import HOUSE, Scope
from shahar.services.accounts import Accounts
from tests.in_process import BASE, NOW, asking

pytestmark = pytest.mark.anyio
D = "https://uri.etsi.org/ngsi-ld/default-context/"


async def nowhere(_address: str) -> bytes:
    """No @context is fetched here."""
    raise AssertionError("a context was fetched")


class City:
    """A client and what it talks to."""

    def __init__(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        self.client, self.accounts = client, accounts

    async def create(self, *entities: dict[str, Any]) -> None:
        """Make these entities, in order."""
        for entity in entities:
            answer = await self.client.post(f"{BASE}/entities", json=entity)
            assert answer.status_code == 201, answer.text

    async def get(self, path: str, headers: dict[str, str] | None = None, /, **params: str) -> httpx.Response:
        """Ask by GET, below /ngsi-ld/v1."""
        return await self.client.get(BASE + path, params=params, headers=headers)

    async def ids(self, headers: dict[str, str] | None = None, /, **params: str) -> list[str]:
        """The last parts of the ids of an answer."""
        answer = await self.get("/entities", headers, **params)
        assert answer.status_code == 200, answer.text
        return [each["id"].rpartition(":")[2] for each in answer.json()]

    async def refused(self, path: str, **params: str) -> tuple[int, str]:
        """Status and the last word of the problem's type."""
        answer = await self.get(path, **params)
        return answer.status_code, answer.json()["type"].rpartition("/")[2]


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[City]:
    """A store with houses in a town in a land, and a client who may do all with entities."""
    rights = [Scope("read", "entities", ""), Scope("write", "entities", "")]
    async with asking(tmp_path, nowhere, rights, "") as (client, accounts):
        made = City(client, accounts)
        await made.create(
            {"id": "urn:house:1", "type": "House", "at": {"object": "urn:town:1"}, "floors": 2, "name": "b"},
            {"id": "urn:house:2", "type": "House", "at": {"object": "urn:town:1"}, "floors": 9, "name": "a"},
            {"id": "urn:house:3", "type": "House", "name": "c"},
            {"id": "urn:town:1", "type": "Town", "in": {"object": "urn:land:1"}, "name": "Toshkent"},
            {"id": "urn:land:1", "type": "Land", "name": "O‘zbekiston"},
        )
        yield made


# -- pick and omit (4.21) ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/entities/urn:house:1", "/entities?type=House"])
@pytest.mark.parametrize(
    "query",
    [
        "pick=name&omit=name",
        "pick=name&attrs=floors",
        "omit=name&attrs=floors",
        "pick=at{name",
        "pick=at{}",
        "pick=a;b",
    ],
)
async def test_what_is_no_projection_is_bad_data(city: City, path: str, query: str) -> None:
    answer = await city.client.get(f"{BASE}{path}{'&' if '?' in path else '?'}{query}")
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (400, "BadRequestData")


async def test_an_entity_of_which_nothing_is_left_is_not_there(city: City) -> None:
    assert await city.refused("/entities/urn:house:1", pick="nothing") == (404, "ResourceNotFound")
    assert await city.refused("/entities/urn:house:3", omit="id,type,name") == (404, "ResourceNotFound")
    answer = await city.get("/entities", type="House", omit="id,type,name")
    assert [sorted(each) for each in answer.json()] == [["at", "floors"], ["at", "floors"]]


async def test_pages_count_only_what_a_pick_leaves(city: City) -> None:
    answer = await city.get("/entities", type="House", pick="floors,scope", count="true", limit="1")
    assert (answer.headers["ngsild-results-count"], len(answer.json())) == ("2", 1)
    assert len((await city.get("/entities", type="House", pick="floors,scope", limit="5")).json()) == 2


async def test_braces_need_linked_entities_as_deep_as_they_are(city: City) -> None:
    wanted = "at{in{name}}"
    assert await city.refused("/entities/urn:house:1", pick=wanted) == (400, "BadRequestData")
    assert await city.refused("/entities/urn:house:1", pick=wanted, join="flat") == (400, "BadRequestData")
    answer = await city.get("/entities/urn:house:1", pick=wanted, join="inline", joinLevel="2", options="simplified")
    assert answer.json() == {"at": {"in": {"name": "O‘zbekiston"}}}


# -- linked entities (4.5.23) -----------------------------------------------------------------------------------------


async def test_a_flat_answer_holds_each_linked_entity_once_behind_the_others(city: City) -> None:
    assert await city.ids(type="House", join="flat", joinLevel="2") == ["1", "2", "3", "1", "1"]
    answer = await city.get("/entities", type="House", join="flat", joinLevel="2", options="sysAttrs")
    assert [each["type"] for each in answer.json()] == ["House"] * 3 + ["Town", "Land"]
    assert all("createdAt" in each for each in answer.json())


async def test_an_inline_answer_holds_the_linked_entity_in_every_relationship(city: City) -> None:
    answer = await city.get("/entities", type="House", join="inline", pick="at", options="simplified")
    town = {"id": "urn:town:1", "type": "Town", "in": "urn:land:1", "name": "Toshkent"}
    assert answer.json() == [{"at": town}, {"at": town}]


async def test_linked_entities_are_features_in_geojson(city: City) -> None:
    geo = {"accept": "application/geo+json"}
    answer = await city.get("/entities/urn:house:1", geo, join="flat")
    assert [each["id"] for each in answer.json()["features"]] == ["urn:house:1", "urn:town:1"]
    answer = await city.get("/entities/urn:house:1", geo, join="inline")
    assert answer.json()["properties"]["at"]["entity"]["id"] == "urn:town:1"


@pytest.mark.parametrize(
    "params",
    [
        {"join": "both"},
        {"join": "flat", "joinLevel": "0"},
        {"join": "flat", "joinLevel": "9"},
        {"join": "flat", "containedBy": "x"},
    ],
)
async def test_what_is_no_join_is_bad_data(city: City, params: dict[str, str]) -> None:
    assert await city.refused("/entities/urn:house:1", **params) == (400, "BadRequestData")


async def test_none_joins_nothing(city: City) -> None:
    assert await city.ids(type="House", join="@none") == ["1", "2", "3"]


async def test_a_post_query_joins_and_orders_as_a_get_does(city: City) -> None:
    body = {
        "type": "Query",
        "entities": [{"type": "House"}],
        "join": "flat",
        "joinLevel": 1,
        "containedBy": ["urn:land:1"],
        "ordering": {"orderBy": ["name;desc"]},
    }
    answer = await city.client.post(f"{BASE}/entityOperations/query", json=body)
    assert [each["id"] for each in answer.json()] == ["urn:house:3", "urn:house:1", "urn:house:2", "urn:town:1"]


# -- rights -----------------------------------------------------------------------------------------------------------


async def test_linked_entities_are_only_those_of_types_that_may_be_read(city: City) -> None:
    rights = [Scope("read", "entities", "", (D + "House", D + "Land"))]
    _, key = await city.accounts.make_key("Ali", rights, "", ["*"], 30, NOW, by=HOUSE)
    asking = {"authorization": f"Bearer {key}"}
    everything: dict[str, str] = {"type": "House", "join": "flat", "joinLevel": "2"}
    assert await city.ids(asking, **everything) == ["1", "2", "3"]
    inline = await city.get("/entities/urn:house:1", asking, join="inline")
    assert "entity" not in inline.json()["at"]
    condition = {"type": "House", "q": 'at{name}=="Toshkent"', "join": "flat"}
    assert await city.ids(asking, **condition) == []
    assert await city.ids(**condition) == ["1", "2", "1"]


# -- q along relationships (4.9) --------------------------------------------------------------------------------------


async def test_q_asks_about_linked_entities(city: City) -> None:
    chain = {"type": "House", "join": "inline", "joinLevel": "2"}
    assert await city.ids(q='at{in{name}}=="O‘zbekiston"', **chain) == ["1", "2"]
    assert await city.ids(q='at{Town:name}=="Toshkent";floors>5', **chain) == ["2"]
    assert await city.ids(q='at{name}=="Buxoro"', **chain) == []


async def test_q_goes_no_deeper_than_the_join(city: City) -> None:
    for params in ({}, {"join": "inline"}):
        assert await city.refused("/entities", type="House", q="at{in{name}}", **params) == (400, "BadRequestData")


# -- order (4.23) and pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("name", "213"),
        ("name;desc", "312"),
        ("id", "123"),
        ("floors;desc", "213"),
        ("type,floors", "123"),
        ("at;desc,name", "213"),
    ],
)
async def test_entities_come_in_the_order_asked_for(city: City, order: str, expected: str) -> None:
    assert "".join(await city.ids(type="House", orderBy=order)) == expected


async def test_pages_of_an_ordered_answer_fit_together(city: City) -> None:
    await city.create(*({"id": f"urn:post:{at:02}", "type": "Post", "row": at % 3} for at in range(20)))
    whole = await city.ids(type="Post", orderBy="row;desc", limit="100")
    pages: list[str] = []
    for offset in range(0, 20, 6):
        pages += await city.ids(type="Post", orderBy="row;desc", limit="6", offset=str(offset))
    assert pages == whole == sorted(whole, key=lambda each: (-(int(each) % 3), int(each)))
    answer = await city.get("/entities", type="Post", orderBy="row", limit="6", count="true", q="row>0")
    assert (answer.headers["ngsild-results-count"], 'rel="next"' in answer.headers["link"]) == ("13", True)


async def test_more_than_can_be_put_in_order_is_refused(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "ORDERED_MAX", 2)
    assert await city.refused("/entities", type="House", orderBy="name") == (403, "TooComplexQuery")
    assert await city.ids(type="House", q="floors", orderBy="name") == ["2", "1"]


async def test_other_collations_are_not_carried(city: City) -> None:
    assert await city.refused("/entities", type="House", orderBy="name", collation="sv") == (
        501,
        "OperationNotSupported",
    )
    assert await city.refused("/entities", type="House", orderBy="name", collation="!") == (400, "BadRequestData")


async def test_texts_stand_in_the_order_of_the_collation_that_is_named(city: City) -> None:
    words = {"1": "shahar", "2": "suv", "3": "Suv"}
    await city.create(*({"id": f"urn:word:{key}", "type": "Word", "w": word} for key, word in words.items()))
    assert await city.ids(type="Word", orderBy="w") == ["1", "2", "3"]
    assert await city.ids(type="Word", orderBy="w", collation="uz-u-kf-upper") == ["3", "2", "1"]
    body = {"type": "Query", "entities": [{"type": "Word"}], "ordering": {"orderBy": ["w"], "collation": "uz"}}
    asked = await city.client.post(f"{BASE}/entityOperations/query", json=body)
    assert [each["w"]["value"] for each in asked.json()] == ["suv", "Suv", "shahar"]


# -- the rest ---------------------------------------------------------------------------------------------------------


async def test_an_entity_of_another_type_is_not_there(city: City) -> None:
    assert await city.refused("/entities/urn:house:1", type="Town") == (404, "ResourceNotFound")
    assert (await city.get("/entities/urn:house:1", type="Town,House")).status_code == 200


async def test_only_geojson_has_a_geometry(city: City) -> None:
    assert await city.refused("/entities/urn:house:1", geometryProperty="location") == (400, "BadRequestData")


async def test_expand_values_reaches_vocabularies(city: City) -> None:
    await city.create({"id": "urn:t:1", "type": "T", "kind": {"vocab": "green"}})
    assert await city.ids(type="T", q="kind==green", expandValues="kind", jsonKeys="kind") == ["1"]
    assert await city.ids(type="T", q="kind==green") == []


# -- Prefer, methods, problems (6.3) ----------------------------------------------------------------------------------


async def test_an_older_version_of_the_standard_is_told_what_it_knows(city: City) -> None:
    await city.create({"id": "urn:sign:1", "type": "Sign", "text": {"languageMap": {"en": "x"}}, "j": {"json": 1}})
    plain = await city.get("/entities/urn:sign:1")
    assert plain.status_code == 200 and "preference-applied" not in plain.headers
    older = await city.get("/entities/urn:sign:1", {"prefer": 'body=json; ngsi-ld="1.4"'})
    assert (older.status_code, older.headers["preference-applied"]) == (203, "ngsi-ld=1.4")
    assert older.json()["j"] == {"type": "Property", "value": 1} and older.json()["text"]["type"] == "LanguageProperty"
    newer = await city.get("/entities", {"prefer": "ngsi-ld=2.0"}, type="Sign")
    assert (newer.status_code, newer.headers["preference-applied"]) == (200, "ngsi-ld=1.9")
    assert newer.json()[0]["j"]["type"] == "JsonProperty"
    for odd in ("ngsi-ld=", "ngsi-ld=one", "ngsi-ld=1.4.2", ";;,=", "respond-async"):
        assert (await city.get("/entities/urn:sign:1", {"prefer": odd})).json() == plain.json()


async def test_geo_json_carries_its_context_in_the_body_unless_plain_json_is_preferred(city: City) -> None:
    geo = {"accept": "application/geo+json"}
    assert "@context" in (await city.get("/entities", geo, type="House")).json()
    plain = await city.get("/entities", geo | {"prefer": "body=json"}, type="House")
    assert "@context" not in plain.json() and "json-ld#context" in plain.headers["link"]
    assert plain.json()["type"] == "FeatureCollection"


async def test_a_wrong_method_is_told_the_right_ones(city: City) -> None:
    answer = await city.client.put(f"{BASE}/entities", json={})
    assert answer.status_code == 405 and answer.headers["allow"] == "DELETE, GET, POST"
    assert answer.headers["content-type"] == "application/json"


async def test_an_attribute_has_no_context_of_its_own(city: City) -> None:
    entity = {"id": "urn:sign:2", "type": "Sign", "a": {"value": 1, "@context": {"x": "https://x.example/x"}}}
    answer = await city.client.post(f"{BASE}/entities", json=entity)
    assert answer.status_code == 400 and answer.json()["field"] == "a.@context"
