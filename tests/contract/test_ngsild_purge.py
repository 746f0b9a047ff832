"""Purge over HTTP on a real store: what is deleted, what is left, who may (ETSI GS CIM 009 clause 5.6.21)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shahar.model.access import HOUSE, Scope
from shahar.model.change import Change
from shahar.model.query import Query, TypeIs
from shahar.services import purge as service
from shahar.services.accounts import Accounts
from shahar.services.broker import Broker
from shahar.store import journal
from tests.engines import store_at
from tests.in_process import NOW, asking

pytestmark = pytest.mark.anyio
D = "https://uri.etsi.org/ngsi-ld/default-context/"


async def nowhere(_address: str) -> bytes:
    """No @context is fetched here."""
    raise AssertionError("a context was fetched")


class City:
    """A client, and the accounts behind it."""

    def __init__(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        self.client, self.accounts = client, accounts

    async def purge(self, query: str, **headers: str) -> int:
        """The status of a purge."""
        return (await self.client.delete(f"/entities?{query}", headers=headers)).status_code

    async def left(self) -> list[str]:
        """The last parts of the ids that are there."""
        found = (await self.client.get("/entities?local=true")).json()
        return sorted(each["id"].rpartition(":")[2] for each in found)

    async def attributes(self, name: str) -> set[str]:
        """What an entity has besides id and type."""
        return set((await self.client.get(f"/entities/urn:x:{name}")).json()) - {"id", "type"}


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[City]:
    """Lamps and a tree in two places."""
    rights = [Scope("read", "entities", ""), Scope("write", "entities", "")]
    async with asking(tmp_path, nowhere, rights, "") as (client, accounts):
        for entity in (
            _thing("lamp1", "Lamp", power=10, scope="/centre", location=_point(69.2, 41.3)),
            _thing("lamp2", "Lamp", power=20, colour="white", location=_point(64.4, 39.7)),
            _thing("tree1", "Tree", height=3, location=_point(69.2, 41.3)),
            _thing("both1", ["Lamp", "Tree"], power=10, height=9),
        ):
            assert (await client.post("/entities", json=entity)).status_code == 201
        yield City(client, accounts)


def _thing(name: str, kind: Any, **members: Any) -> dict[str, Any]:
    return {"id": f"urn:x:{name}", "type": kind, **members}


def _point(east: float, north: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [east, north]}


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("type=Tree", ["lamp1", "lamp2"]),
        ("type=Tree;Lamp", ["lamp1", "lamp2", "tree1"]),
        ("type=Lamp&id=urn:x:lamp1,urn:x:tree1", ["both1", "lamp2", "tree1"]),
        ("type=Lamp&idPattern=lamp", ["both1", "tree1"]),
        ("q=power==10", ["lamp2", "tree1"]),
        ("attrs=colour", ["both1", "lamp1", "tree1"]),
        ("local=true&scopeQ=/centre", ["both1", "lamp2", "tree1"]),
        ("georel=near;maxDistance==1000&geometry=Point&coordinates=[69.2,41.3]", ["both1", "lamp2"]),
        ("local=true", []),
        ("type=*", []),
        ("type=Boat", ["both1", "lamp1", "lamp2", "tree1"]),
    ],
)
async def test_what_the_query_finds_goes_and_nothing_else(city: City, query: str, left: list[str]) -> None:
    assert await city.purge(query) == 204
    assert await city.left() == left


@pytest.mark.parametrize(
    "query",
    [
        "", "id=urn:x:lamp1", "idPattern=lamp", "scopeQ=/centre", "q=createdAt>2020-01-01T00:00:00Z", "drop=power",
        "type=Lamp&drop=power&keep=colour", "type=Lamp&drop=at{name}", "type=Lamp&keep=at{name}", "type=Lamp&drop=id",
        "type=Lamp&drop=", "type=Lamp&id=lamp1", "type=Lamp&q=power==", "q=at{name}==1", "type=Lamp&local=yes",
        "type=*&local=false", "type=Lamp&page=1", "georel=near&geometry=Point&coordinates=[69.2,41.3]",
        "type=Lamp&attrs=type",
    ],
)  # fmt: skip
async def test_a_purge_that_is_too_wide_or_not_well_said_deletes_nothing(city: City, query: str) -> None:
    assert await city.purge(query) == 400
    assert await city.left() == ["both1", "lamp1", "lamp2", "tree1"]


async def test_a_slash_behind_entities_is_the_purge_too_and_still_needs_a_selector(city: City) -> None:
    assert (await city.client.delete("/entities/")).status_code == 400
    assert (await city.client.delete("/entities/?type=Tree")).status_code == 204
    assert await city.left() == ["lamp1", "lamp2"]


async def test_drop_takes_the_named_attributes_alone(city: City) -> None:
    assert await city.purge("type=Lamp&drop=power,scope") == 204
    assert await city.attributes("lamp1") == {"location"}
    assert await city.attributes("both1") == {"height"}
    assert await city.attributes("tree1") == {"height", "location"}


async def test_keep_leaves_the_named_attributes_and_the_scope(city: City) -> None:
    assert await city.purge("type=Lamp&keep=power,id") == 204
    assert await city.attributes("lamp1") == {"power", "scope"}
    assert await city.attributes("both1") == {"power"}
    assert (await city.client.get("/attributes/colour")).status_code == 404


async def test_an_entity_with_a_type_that_the_actor_may_not_write_stays(city: City) -> None:
    rights = [Scope("write", "entities", "", (f"{D}Lamp",))]
    _, key = await city.accounts.make_key("lamps", rights, "", ["*"], 30, NOW, by=HOUSE)
    assert await city.purge("local=true", authorization=f"Bearer {key}") == 204
    assert await city.left() == ["both1", "tree1"]


async def test_without_the_right_to_write_nothing_is_purged(city: City) -> None:
    _, key = await city.accounts.make_key("eyes", [Scope("read", "entities", "")], "", ["*"], 30, NOW, by=HOUSE)
    assert await city.purge("local=true", authorization=f"Bearer {key}") == 403
    assert len(await city.left()) == 4


async def test_a_tenant_that_was_never_made_cannot_be_purged(city: City) -> None:
    _, key = await city.accounts.make_key("all", [Scope("write", "entities", "*")], "*", ["*"], 30, NOW, by=HOUSE)
    headers = {"authorization": f"Bearer {key}", "ngsild-tenant": "harbour"}
    assert await city.purge("local=true", **headers) == 404


async def test_a_large_purge_walks_on_in_small_works_and_leaves_what_comes_meanwhile(tmp_path: Path) -> None:
    db = store_at(tmp_path / "city.db")
    await db.open()
    broker = Broker(db)
    every = Query(types=TypeIs("A"))
    await broker.apply("", [_create(number) for number in range(1_200)], NOW)
    works = db.counters.works
    purging = asyncio.ensure_future(service.purge(broker, "", every, _delete, lambda types: "A" in types, NOW + 1))
    while (await broker.find("", every, limit=1)).docs[0]["id"] == "urn:x:0":
        pass
    await broker.apply("", [_create(5_000)], NOW)
    assert not purging.done() and await purging == 1_200
    assert db.counters.works - works == 1_200 // service.CHUNK + 1
    assert [doc["id"] for doc in (await broker.find("", every, limit=10)).docs] == ["urn:x:5000"]
    assert await service.purge(broker, "", every, _delete, lambda _types: False, NOW + 3) == 0
    told = await db.read(lambda tx: [entry.kind for entry in journal.read(tx, 1_200, 5_000)])
    assert sorted(told) == ["entity.created"] + ["entity.deleted"] * 1_200
    await db.close()


def _delete(entity_id: str) -> Change:
    return Change("delete", entity_id)


def _create(number: int) -> Change:
    attrs = {"a": [{"type": "Property", "value": number}]}
    return Change("create", f"urn:x:{number}", {"id": f"urn:x:{number}", "type": ["A"], "attrs": attrs})
