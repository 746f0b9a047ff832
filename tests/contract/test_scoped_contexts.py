"""Scoped contexts and aliases of keywords over HTTP: what is told with a context is read with it, and by whole names
without it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shahar.model.access import Scope
from shahar.values.errors import PeerFailed
from tests.in_process import BASE, asking

pytestmark = pytest.mark.anyio
C = "https://car.example/"
FAR = "https://far.example/wind.jsonld"
TABLE: dict[str, Any] = {
    "Car": {
        "@id": C + "Car",
        "@context": {"speed": {"@id": C + "carSpeed", "@context": {"by": C + "measuredBy"}}, "owner": C + "owner"},
    },
    "Wind": {"@id": C + "Wind", "@context": FAR},
    "colour": {"@id": C + "colour", "@context": {"red": C + "red"}},
    "car": C,
    "kind": "@type",
    "ident": "@id",
}
CAR: dict[str, Any] = {
    "id": "urn:ngsi-ld:Car:1",
    "type": "Car",
    "speed": {"type": "Property", "value": 60, "unitCode": "KMH", "by": {"type": "Property", "value": "radar"}},
    "colour": {"type": "VocabProperty", "vocab": "red"},
    "owner": {"type": "Relationship", "object": "urn:ngsi-ld:Human:1"},
}
WHOLE = {
    "id": "urn:ngsi-ld:Car:1",
    "type": C + "Car",
    C + "carSpeed": {
        "type": "Property",
        "value": 60,
        "unitCode": "KMH",
        C + "measuredBy": {"type": "Property", "value": "radar"},
    },
    C + "colour": {"type": "VocabProperty", "vocab": C + "red"},
    C + "owner": {"type": "Relationship", "object": "urn:ngsi-ld:Human:1"},
}
NEAR = CAR["id"]


async def fetch(address: str) -> bytes:
    """The remote scope."""
    if address != FAR:
        raise PeerFailed("nobody is there")
    return json.dumps({"@context": {"speed": C + "windSpeed"}}).encode()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client who may do everything here."""
    async with asking(tmp_path, fetch, [Scope(act, "*", "") for act in ("read", "write", "admin")], "") as (made, _):
        yield made


def link(address: str) -> dict[str, str]:
    """The header that names a context."""
    return {"link": f'<{address}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'}


@pytest.fixture
async def hosted(client: httpx.AsyncClient) -> dict[str, str]:
    """The header that names the context, which we host."""
    made = await client.post("/jsonldContexts", json={"@context": TABLE})
    assert made.status_code == 201, made.text
    return link(BASE + "/jsonldContexts/" + made.headers["location"].rpartition("/")[2])


async def shown(client: httpx.AsyncClient, path: str, headers: dict[str, str] | None = None) -> Any:
    """What stands at a path."""
    answer = await client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_an_entity_is_read_back_as_it_was_told_and_by_whole_names(
    client: httpx.AsyncClient, hosted: dict[str, str]
) -> None:
    assert (await client.post("/entities", json=CAR, headers=hosted)).status_code == 201
    assert await shown(client, f"/entities/{NEAR}", hosted) == CAR
    assert await shown(client, f"/entities/{NEAR}") == WHOLE
    assert await shown(client, "/entities?type=Car", hosted) == [CAR]
    assert await shown(client, f"/entities?type={C}Car") == [WHOLE]


async def test_the_context_may_stand_in_the_body_and_call_keywords_otherwise(client: httpx.AsyncClient) -> None:
    told = {"@context": [TABLE], "ident": CAR["id"], "kind": "Car", **{k: CAR[k] for k in ("speed", "colour", "owner")}}
    told["speed"] = {"kind": "Property", **{k: v for k, v in CAR["speed"].items() if k != "type"}}
    ld = {"content-type": "application/ld+json"}
    assert (await client.post("/entities", content=json.dumps(told), headers=ld)).status_code == 201
    assert await shown(client, f"/entities/{NEAR}") == WHOLE


async def test_a_batch_is_read_by_the_scopes_of_each_of_its_entities(
    client: httpx.AsyncClient, hosted: dict[str, str]
) -> None:
    wind = {"ident": "urn:ngsi-ld:Wind:1", "kind": "Wind", "speed": 3}
    wrong = {"ident": "urn:ngsi-ld:Wind:2", "kind": "Wind", "wet": None}
    done = await client.post("/entityOperations/upsert", json=[CAR, wind, wrong], headers=hosted)
    assert done.status_code == 207
    assert [one["entityId"] for one in done.json()["errors"]] == ["urn:ngsi-ld:Wind:2"]
    assert await shown(client, f"/entities/{NEAR}") == WHOLE
    found = await shown(client, "/entities/urn:ngsi-ld:Wind:1?options=simplified")
    assert found == {"id": "urn:ngsi-ld:Wind:1", "type": C + "Wind", C + "windSpeed": 3}


async def test_names_in_questions_and_addresses_are_those_without_scopes(
    client: httpx.AsyncClient, hosted: dict[str, str]
) -> None:
    await client.post("/entities", json=CAR, headers=hosted)
    assert await shown(client, "/entities?type=Car&q=speed>50", hosted) == []
    prefixed = "/entities?type=Car&q=car:carSpeed>50&pick=id,car:carSpeed&format=simplified"
    assert await shown(client, prefixed, hosted) == [{"id": CAR["id"], "car:carSpeed": 60}]
    base = f"/entities/{NEAR}/attrs"
    assert (await client.patch(base, json={"speed": {"value": 1}}, headers=hosted)).status_code == 204
    assert (await client.patch(base, json={"type": "Car", "speed": {"value": 2}}, headers=hosted)).status_code == 204
    whole = await shown(client, f"/entities/{NEAR}?options=simplified")
    assert (whole["speed"], whole[C + "carSpeed"]) == (1, 2)
    assert (await client.patch(f"{base}/colour", json={"vocab": "red"}, headers=hosted)).status_code == 204
    assert (await shown(client, f"/entities/{NEAR}"))[C + "colour"]["vocab"] == C + "red"


async def test_the_past_is_told_and_read_by_scopes(client: httpx.AsyncClient, hosted: dict[str, str]) -> None:
    speed = {
        "type": "Property",
        "value": 5,
        "observedAt": "2026-01-01T00:00:00Z",
        "by": {"type": "Property", "value": 1},
    }
    told = {"ident": NEAR, "kind": "Car", "speed": [speed]}
    assert (await client.post("/temporal/entities", json=told, headers=hosted)).status_code == 201
    path = f"/temporal/entities/{NEAR}?timerel=after&timeAt=2025-01-01T00:00:00Z"
    found = await shown(client, path, hosted)
    assert {**found["speed"][0], "instanceId": ""} == {**speed, "instanceId": ""}
    assert C + "measuredBy" in (await shown(client, path))[C + "carSpeed"][0]


@pytest.mark.parametrize(
    ("context", "status", "kind"),
    [
        ({"Car": {"@id": C + "Car", "@context": 7}}, 400, "BadRequestData"),
        ({"Car": {"@id": C + "Car", "@context": {"a": "b:x", "b": "a:x"}}}, 400, "BadRequestData"),
        ({"Car": {"@id": C + "Car", "@context": "nowhere.jsonld"}}, 400, "BadRequestData"),
        ({"Car": {"@id": C + "Car", "@context": "https://dead.example/"}}, 504, "LdContextNotAvailable"),
        (
            [{"@protected": True, "owner": C}, {"Car": {"@id": C, "@context": {"owner": C + "x"}}}],
            400,
            "BadRequestData",
        ),
        ({"owner": "@graph"}, 400, "BadRequestData"),
    ],
)
async def test_scopes_that_cannot_be_read_are_refused_and_nothing_is_written(
    client: httpx.AsyncClient, context: Any, status: int, kind: str
) -> None:
    ld = {"content-type": "application/ld+json"}
    answer = await client.post("/entities", content=json.dumps({**CAR, "@context": context}), headers=ld)
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (status, kind)
    assert (await client.get(f"/entities/{NEAR}")).status_code == 404


async def test_a_scope_cannot_reach_what_the_core_names(client: httpx.AsyncClient) -> None:
    scope = {"location": C + "place", "value": C + "v", "Property": C + "P", "observedAt": C + "at"}
    point = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [69.2, 41.3]}}
    told = {**CAR, "location": point, "@context": {"Car": {"@id": C + "Car", "@context": scope}}}
    ld = {"content-type": "application/ld+json"}
    assert (await client.post("/entities", content=json.dumps(told), headers=ld)).status_code == 201
    found = await shown(client, f"/entities/{NEAR}")
    assert (found["location"], found["speed"]["value"]) == (point, 60)
