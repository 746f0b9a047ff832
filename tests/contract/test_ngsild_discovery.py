"""Which types and attributes there are, asked over HTTP on a real store (ETSI GS CIM 009 clauses 5.7.5 to 5.7.11)."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest

from shahar.model.access import HOUSE, Scope
from shahar.model.change import Change, Kind
from shahar.model.context import CORE
from shahar.model.told import Wish, read_whole
from shahar.services.accounts import Accounts
from shahar.services.broker import Broker
from shahar.store import migrate, shapes
from shahar.store.db import Tx
from tests.engines import store_at
from tests.in_process import BASE, NOW, asking

pytestmark = pytest.mark.anyio
D = "https://uri.etsi.org/ngsi-ld/default-context/"
LAMP = {"id": "urn:lamp:1", "type": "Lamp", "power": 12, "at": {"object": "urn:pole:1"}}
ALL = [Scope("read", "entities", "*"), Scope("write", "entities", "*")]


async def nowhere(_address: str) -> bytes:
    """No @context is fetched here."""
    raise AssertionError("a context was fetched")


Asked = tuple[httpx.AsyncClient, Accounts]


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[Asked]:
    """Two lamps and a pole, which is a sensor too."""
    async with asking(tmp_path, nowhere, ALL, "*") as (client, accounts):
        for entity in (
            LAMP,
            {"id": "urn:lamp:2", "type": "Lamp", "power": {"languageMap": {"en": "much"}}},
            {"id": "urn:pole:1", "type": ["Pole", "Sensor"], "height": [_sample("a"), _sample("b"), _sample("c")]},
        ):
            assert (await client.post("/entities", json=entity)).status_code == 201
        yield client, accounts


def _sample(dataset: str) -> dict[str, Any]:
    return {"value": 7, "datasetId": f"urn:d:{dataset}"}


async def test_the_types_are_those_of_living_entities(city: Asked) -> None:
    client, _ = city
    found = (await client.get("/types")).json()
    assert found["type"] == "EntityTypeList" and found["typeList"] == ["Lamp", "Pole", "Sensor"]
    assert (await client.delete("/entities/urn:pole:1")).status_code == 204
    again = (await client.get("/types")).json()
    assert again["typeList"] == ["Lamp"] and again["id"] == found["id"]


async def test_details_name_the_attributes_of_each_type(city: Asked) -> None:
    client, _ = city
    found = (await client.get("/types?details=true")).json()
    assert [(one["id"], one["typeName"], one["attributeNames"]) for one in found] == [
        (f"{D}Lamp", "Lamp", ["at", "power"]),
        (f"{D}Pole", "Pole", ["height"]),
        (f"{D}Sensor", "Sensor", ["height"]),
    ]


async def test_a_type_tells_its_entities_and_the_kinds_of_its_attributes(city: Asked) -> None:
    client, _ = city
    found = (await client.get("/types/Lamp")).json()
    assert (found["id"], found["type"], found["entityCount"]) == (f"{D}Lamp", "EntityTypeInfo", 2)
    kinds = {one["attributeName"]: one["attributeTypes"] for one in found["attributeDetails"]}
    assert kinds == {"at": ["Relationship"], "power": ["Property", "LanguageProperty"]}
    assert (await client.get(f"/types/{D.replace('/', '%2F')}Lamp")).json() == found


async def test_an_attribute_tells_its_instances_and_the_types_that_have_it(city: Asked) -> None:
    client, _ = city
    found = (await client.get("/attributes/height", headers={"accept": "application/ld+json"})).json()
    assert found.pop("@context")
    assert found == {
        "id": f"{D}height", "type": "Attribute", "attributeName": "height", "attributeCount": 3,
        "attributeTypes": ["Property"], "typeNames": ["Pole", "Sensor"],
    }  # fmt: skip
    listed = (await client.get("/attributes?details=true")).json()
    assert [one["typeNames"] for one in listed] == [["Lamp"], ["Pole", "Sensor"], ["Lamp"]]
    assert (await client.get("/attributes")).json()["attributeList"] == ["at", "height", "power"]


async def test_a_change_of_an_attributes_kind_is_seen_and_one_of_its_value_is_not(city: Asked) -> None:
    client, _ = city
    assert (await client.patch("/entities/urn:lamp:1/attrs", json={"power": 13})).status_code == 204
    assert (await client.get("/attributes/power")).json()["attributeCount"] == 2
    assert (await client.delete("/entities/urn:lamp:2/attrs/power")).status_code == 204
    assert (await client.get("/attributes/power")).json()["attributeTypes"] == ["Property"]
    assert (await client.delete("/entities/urn:lamp:1/attrs/power")).status_code == 204
    assert (await client.get("/attributes/power")).status_code == 404
    assert (await client.get("/types/Lamp")).json()["entityCount"] == 2


@pytest.mark.parametrize(
    ("path", "status", "problem"),
    [
        ("/types/Boat", 404, "ResourceNotFound"),
        ("/attributes/sail", 404, "ResourceNotFound"),
        ("/types?details=yes", 400, "BadRequestData"),
        ("/types?page=2", 400, "InvalidRequest"),
        ("/attributes?typo=1", 400, "InvalidRequest"),
        ("/types/La<mp", 400, "BadRequestData"),
    ],
)
async def test_what_is_not_there_or_not_asked_well_is_told(city: Asked, path: str, status: int, problem: str) -> None:
    answer = await city[0].get(path)
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (status, problem)


async def test_each_tenant_has_its_own_types(city: Asked) -> None:
    client, _ = city
    other = {"NGSILD-Tenant": "harbour"}
    assert (await client.get("/types", headers=other)).status_code == 404
    boat = {"id": "urn:boat:1", "type": "Boat", "sail": 1}
    assert (await client.post("/entities", json=boat, headers=other)).status_code == 201
    assert (await client.get("/types", headers=other)).json()["typeList"] == ["Boat"]
    assert "Boat" not in (await client.get("/types")).json()["typeList"]


async def test_an_actor_is_told_of_the_types_that_it_may_read_alone(city: Asked) -> None:
    client, accounts = city
    rights = [Scope("read", "entities", "", (f"{D}Sensor",))]
    _, key = await accounts.make_key("sensors", rights, "", ["*"], 30, NOW, by=HOUSE)
    narrow = {"authorization": f"Bearer {key}"}
    assert (await client.get("/types", headers=narrow)).json()["typeList"] == ["Sensor"]
    assert (await client.get("/attributes", headers=narrow)).json()["attributeList"] == ["height"]
    assert (await client.get("/types/Pole", headers=narrow)).status_code == 404
    assert (await client.get("/attributes/power", headers=narrow)).status_code == 404
    assert (await client.get("/attributes/height", headers=narrow)).json()["typeNames"] == ["Sensor"]
    _, blind = await accounts.make_key("blind", [Scope("write", "entities", "")], "", ["*"], 30, NOW, by=HOUSE)
    assert (await client.get(f"{BASE}/types", headers={"authorization": f"Bearer {blind}"})).status_code == 403


async def test_the_tally_is_what_counting_the_documents_says(tmp_path: Path) -> None:
    db, dice = store_at(tmp_path / "city.db"), random.Random(7)
    await db.open()
    broker = Broker(db)
    for round_ in range(12):
        wishes = [_wish(dice, round_) for _ in range(60)]
        await broker.apply("", wishes, NOW + round_, update=dice.random() < 0.5)
        assert await broker.shapes("") and await db.read(_tallied) == await db.read(_counted)
    await db.write(shapes.prune)
    assert await db.read(_tallied) == await db.read(_counted)
    await db.close()


def _given(instance: dict[str, Any]) -> Any:
    """An attribute as a caller gives it: of one instance or of two."""
    other = {**instance, "datasetId": "urn:d:1"}
    return [instance, other] if instance["value"] % 2 else instance


def _wish(dice: random.Random, at: int) -> Wish:
    kinds: tuple[Kind, ...] = ("create", "upsert", "append", "delete", "merge", "delete_attr", "observe")
    kind = dice.choice(kinds)
    names = dice.sample(["a", "b", "c"], dice.randint(1, 3))
    attrs = {name: [{"type": dice.choice(("Property", "JsonProperty")), "value": at, "json": at}] for name in names}
    identifier = f"urn:x:{dice.randint(1, 20)}"
    types = dice.sample(["A", "B"], dice.randint(1, 2))
    if kind in {"create", "upsert"} and dice.random() < 0.7:
        body = {"id": identifier, "type": types} | {name: _given(one[0]) for name, one in attrs.items()}
        return read_whole(kind, body, CORE, NOW + at)
    fragment = {"id": identifier, "type": types, "attrs": attrs}
    return Change(kind, identifier, fragment, attr="a", every=True)


def _tallied(tx: Tx) -> Counter[str]:
    return Counter({repr((one.types, one.attrs)): one.entities for one in shapes.every(tx, _default(tx))})


def _counted(tx: Tx) -> Counter[str]:
    texts = tx.rows("SELECT doc FROM entity WHERE gone IS NULL")
    return Counter(repr(_shape_of(text)) for (text,) in texts)


def _shape_of(text: str) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    doc = json.loads(text)
    attrs = {iri: [one["type"] for one in doc["attrs"][iri]] for iri in sorted(doc["attrs"])}
    return tuple(sorted(doc["type"])), attrs


def _default(tx: Tx) -> int:
    found = tx.row("SELECT pk FROM tenant WHERE name = ''")
    assert found is not None
    return int(found[0])


@pytest.mark.sqlite
async def test_a_store_from_before_the_tally_is_counted_once_and_goes_on(tmp_path: Path) -> None:
    db = store_at(tmp_path / "city.db")
    await db.open()
    await Broker(db).apply("", [_wish(random.Random(seed), seed) for seed in range(40)], NOW)
    before = await db.read(_tallied)
    await db.close()
    connection = apsw.Connection(str(tmp_path / "city.db"))
    live = connection.execute("SELECT * FROM shape WHERE entities > 0").fetchall()
    connection.execute(
        "DROP TABLE shape; DROP TABLE expiry; DROP TABLE sealed; DROP TABLE void;"
        " DROP TABLE outdated; PRAGMA user_version=1"
    )
    migrate.migrate(connection)
    assert connection.execute("SELECT * FROM shape").fetchall() == live
    connection.close()
    await db.open()
    assert await db.read(_tallied) == before
    await db.close()
