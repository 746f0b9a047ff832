"""Telling over HTTP on a real store: entities, attributes, batches, tenants, @context rules, what is not carried."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shahar.model.access import Scope
from shahar.values.errors import PeerFailed
from tests.in_process import asking

pytestmark = pytest.mark.anyio
D = "https://uri.etsi.org/ngsi-ld/default-context/"
CONTEXT = "https://a.example/context.jsonld"
LINK = f'<{CONTEXT}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
JSON = {"content-type": "application/json"}
LD = {"content-type": "application/ld+json"}
LAMP = {"id": "urn:lamp:1", "type": "Lamp", "power": {"value": 40, "unitCode": "WTT"}, "lit": True}


async def fetch(address: str) -> bytes:
    """The one @context that there is."""
    if address != CONTEXT:
        raise PeerFailed("nobody is there")
    return json.dumps({"@context": {"Lamp": "https://a.example/Lamp", "power": "https://a.example/power"}}).encode()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key for every right, of every tenant."""
    async with asking(tmp_path, fetch, [Scope(act, "*") for act in ("read", "write")], "*") as (made, _):
        yield made


async def shown(client: httpx.AsyncClient, entity_id: str = "urn:lamp:1", **headers: str) -> dict[str, Any]:
    """The entity, simplified."""
    answer = await client.get(f"/entities/{entity_id}", params={"options": "simplified"}, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and the last word of the problem's type."""
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["detail"]
    return answer.status_code, document["type"].rpartition("/")[2]


async def test_an_entity_is_made_read_and_deleted(client: httpx.AsyncClient) -> None:
    made = await client.post("/entities", json=LAMP)
    assert (made.status_code, made.headers["location"], made.content) == (201, "/ngsi-ld/v1/entities/urn:lamp:1", b"")
    assert await shown(client) == {"id": "urn:lamp:1", "type": "Lamp", "power": 40, "lit": True}
    assert problem(await client.post("/entities", json=LAMP)) == (409, "AlreadyExists")
    assert (await client.delete("/entities/urn:lamp:1")).status_code == 204
    assert problem(await client.get("/entities/urn:lamp:1")) == (404, "ResourceNotFound")


async def test_attributes_are_added_changed_merged_replaced_and_deleted(client: httpx.AsyncClient) -> None:
    await client.post("/entities", json=LAMP)
    base = "/entities/urn:lamp:1/attrs"
    steps: list[tuple[str, str, Any, dict[str, Any]]] = [
        ("POST", base, {"hours": 7}, {"power": 40, "lit": True, "hours": 7}),
        ("PATCH", base, {"hours": 8}, {"power": 40, "lit": True, "hours": 8}),
        ("PATCH", f"{base}/hours", {"value": 9, "unitCode": "HUR"}, {"power": 40, "lit": True, "hours": 9}),
        ("PUT", f"{base}/power", {"value": 60}, {"power": 60, "lit": True, "hours": 9}),
        (
            "PATCH",
            "/entities/urn:lamp:1",
            {"lit": "urn:ngsi-ld:null", "hours": {"value": 10}},
            {"power": 60, "hours": 10},
        ),
        ("DELETE", f"{base}/hours", None, {"power": 60}),
        ("PUT", "/entities/urn:lamp:1", {"type": "Lamp", "new": 1}, {"new": 1}),
    ]
    for method, path, body, expected in steps:
        answer = await client.request(method, path, json=body)
        assert answer.status_code == 204, (method, path, answer.text)
        assert {k: v for k, v in (await shown(client)).items() if k not in {"id", "type"}} == expected


async def test_no_overwrite_tells_what_was_kept(client: httpx.AsyncClient) -> None:
    await client.post("/entities", json=LAMP)
    answer = await client.post("/entities/urn:lamp:1/attrs?options=noOverwrite", json={"power": 1, "hours": 7})
    assert answer.status_code == 207
    assert answer.json()["updated"] == [D + "hours"]
    assert [missed["attributeName"] for missed in answer.json()["notUpdated"]] == [D + "power"]
    assert (await shown(client))["power"] == 40


async def test_a_batch_succeeds_and_fails_member_by_member(client: httpx.AsyncClient) -> None:
    batch = [{**LAMP, "id": f"urn:lamp:{number}"} for number in range(3)]
    made = await client.post("/entityOperations/create", json=batch)
    assert (made.status_code, made.json()) == (201, [one["id"] for one in batch])
    again = await client.post("/entityOperations/create", json=[batch[0], {"id": "bad"}, {**LAMP, "id": "urn:lamp:9"}])
    assert again.status_code == 207
    assert again.json()["success"] == ["urn:lamp:9"]
    assert [(one["entityId"], one["error"]["status"]) for one in again.json()["errors"]] == [
        ("bad", 400),
        ("urn:lamp:0", 409),
    ] or [(one["entityId"], one["error"]["status"]) for one in again.json()["errors"]] == [
        ("urn:lamp:0", 409),
        ("bad", 400),
    ]
    upserted = await client.post("/entityOperations/upsert", json=[{**LAMP, "id": "urn:lamp:10"}, batch[0]])
    assert (upserted.status_code, upserted.json()) == (201, ["urn:lamp:10"])
    assert (
        await client.post(
            "/entityOperations/upsert?options=update", json=[{"id": "urn:lamp:0", "type": "Lamp", "x": 1}]
        )
    ).status_code == 204
    assert (await shown(client, "urn:lamp:0"))["power"] == 40
    assert (
        await client.post("/entityOperations/merge", json=[{"id": "urn:lamp:0", "x": "urn:ngsi-ld:null"}])
    ).status_code == 204
    assert "x" not in await shown(client, "urn:lamp:0")
    deleted = await client.post("/entityOperations/delete", json=["urn:lamp:0", "urn:lamp:none"])
    assert deleted.status_code == 207
    assert deleted.json()["success"] == ["urn:lamp:0"]


async def test_tenants_are_apart_and_made_on_first_use(client: httpx.AsyncClient) -> None:
    north = {"NGSILD-Tenant": "north"}
    assert problem(await client.get("/entities?type=Lamp", headers=north)) == (404, "NonexistentTenant")
    made = await client.post("/entities", json=LAMP, headers=north)
    assert (made.status_code, made.headers["ngsild-tenant"]) == (201, "north")
    assert problem(await client.get("/entities/urn:lamp:1"))[0] == 404
    assert (await client.get("/entities/urn:lamp:1", headers=north)).status_code == 200
    assert problem(await client.get("/entities?type=Lamp", headers={"NGSILD-Tenant": "a/b"})) == (400, "InvalidRequest")


async def test_names_follow_the_context_of_the_one_who_asks(client: httpx.AsyncClient) -> None:
    await client.post("/entities", json=LAMP, headers={"Link": LINK})
    assert set(await shown(client, Link=LINK)) == {"id", "type", "power", "lit"}
    assert set(await shown(client)) == {"id", "type", "https://a.example/power", "lit"}
    answer = await client.get("/entities/urn:lamp:1", headers={"accept": "application/ld+json", "Link": LINK})
    assert (answer.headers["content-type"], answer.json()["@context"]) == ("application/ld+json", CONTEXT)
    answer = await client.get("/entities/urn:lamp:1", headers={"Link": LINK})
    assert CONTEXT in answer.headers["link"]


@pytest.mark.parametrize(
    ("headers", "body", "told"),
    [
        (JSON, {**LAMP, "@context": CONTEXT}, (400, "BadRequestData")),
        (LD, LAMP, (400, "BadRequestData")),
        (LD | {"Link": LINK}, {**LAMP, "@context": CONTEXT}, (400, "BadRequestData")),
        (LD, {**LAMP, "@context": "https://nowhere.example/c"}, (504, "LdContextNotAvailable")),
        ({"content-type": "text/plain"}, LAMP, (415, "UnsupportedMediaType")),
        (JSON, [], (400, "InvalidRequest")),
        (JSON, {"id": "urn:a:b"}, (400, "BadRequestData")),
    ],
)
async def test_a_body_that_breaks_the_rules_of_context_and_form_is_refused(
    client: httpx.AsyncClient, headers: dict[str, str], body: Any, told: tuple[int, str]
) -> None:
    assert problem(await client.post("/entities", content=json.dumps(body), headers=headers)) == told


async def test_what_nobody_accepts_is_not_served(client: httpx.AsyncClient) -> None:
    await client.post("/entities", json=LAMP)
    assert problem(await client.get("/entities/urn:lamp:1", headers={"accept": "image/png"}))[0] == 406


async def test_a_parameter_that_is_not_carried_says_so(client: httpx.AsyncClient) -> None:
    answer = await client.get("/entities?type=Lamp&via=a")
    assert problem(answer) == (501, "OperationNotSupported")


async def test_a_parameter_that_nobody_knows_is_refused(client: httpx.AsyncClient) -> None:
    assert problem(await client.get("/entities?type=Lamp&tpye=x")) == (400, "InvalidRequest")


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("", [1, 2, 3]),
        ("timerel=after&timeAt=2024-01-01T12:00:00Z", [2, 3]),
        ("timerel=before&timeAt=2024-01-02T00:00:00Z", [1]),
        ("timerel=between&timeAt=2024-01-02T00:00:00Z&endTimeAt=2024-01-03T00:00:00Z", [2]),
        ("lastN=2", [2, 3]),
        ("timeproperty=modifiedAt", [1, 2, 3]),
    ],
)
async def test_the_past_is_told(client: httpx.AsyncClient, query: str, values: list[int]) -> None:
    await client.post(
        "/entities",
        json={"id": "urn:lamp:1", "type": "Lamp", "power": {"value": 1, "observedAt": "2024-01-01T00:00:00Z"}},
    )
    for day in (2, 3):
        observed = {"power": {"value": day, "observedAt": f"2024-01-0{day}T00:00:00Z"}}
        await client.patch("/entities/urn:lamp:1/attrs", json=observed)
    answer = await client.get(f"/temporal/entities/urn:lamp:1?{query}")
    assert [one["value"] for one in answer.json()["power"]] == values
    pairs = await client.get(f"/temporal/entities/urn:lamp:1?{query}&options=temporalValues")
    assert [value for value, _ in pairs.json()["power"]["values"]] == values


@pytest.mark.parametrize(
    "query",
    [
        "timerel=after",
        "timeAt=2024-01-01T00:00:00Z",
        "timerel=sometime&timeAt=2024-01-01T00:00:00Z",
        "timeproperty=x",
        "lastN=0",
    ],
)
async def test_a_broken_question_for_the_past_is_refused(client: httpx.AsyncClient, query: str) -> None:
    await client.post("/entities", json=LAMP)
    assert problem(await client.get(f"/temporal/entities/urn:lamp:1?{query}")) == (400, "BadRequestData")
