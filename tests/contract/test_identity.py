"""Who the broker is to others (ETSI GS CIM 009 clauses 5.15.1, 6.33)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shahar.model.access import Scope
from shahar.services.identity import Identity
from shahar.store import tenants
from shahar.values.errors import NoTenant
from shahar.values.instants import SECOND
from tests.engines import store_at
from tests.in_process import asking

pytestmark = pytest.mark.anyio


async def nowhere(_address: str) -> bytes:
    """No @context is fetched here."""
    raise AssertionError("a context was fetched")


async def test_the_identity_is_kept_and_an_alias_tells_tenants_apart_without_naming_them(tmp_path: Path) -> None:
    db = store_at(tmp_path / "city.db")
    await db.open()
    await db.write(lambda tx: tenants.make(tx, "harbour", 1))
    first, again = Identity(db), Identity(db)
    await first.load(10 * SECOND)
    await again.load(50 * SECOND)
    one, two = await first.describe("", 75 * SECOND), await again.describe("", 75 * SECOND)
    assert (one["contextSourceUptime"], two["contextSourceUptime"]) == ("PT65S", "PT25S")
    assert {**one, "contextSourceUptime": "PT25S"} == two
    other = await first.describe("harbour", 75 * SECOND)
    assert other["id"] == one["id"] and other["contextSourceAlias"] != one["contextSourceAlias"]
    assert "harbour" not in str(other)
    assert all(re.fullmatch(r"[A-Za-z0-9-]+", each["contextSourceAlias"]) for each in (one, other))
    with pytest.raises(NoTenant):
        await first.describe("nobody", 75 * SECOND)
    await db.close()


async def test_the_identity_is_told_over_http(tmp_path: Path) -> None:
    async with asking(tmp_path, nowhere, [Scope("read", "entities", "")], "") as (client, _):
        told = await client.get("/info/sourceIdentity")
        assert told.status_code == 200 and told.json()["type"] == "ContextSourceIdentity"
        assert 'rel="http://www.w3.org/ns/json-ld#context"' in told.headers["link"]
        linked = await client.get("/info/sourceIdentity", headers={"accept": "application/ld+json"})
        assert linked.json()["@context"] and linked.json()["contextSourceTimeAt"] == told.json()["contextSourceTimeAt"]
        assert (await client.get("/info/sourceIdentity?x=1")).status_code == 400
        assert (await client.get("/info/sourceIdentity", headers={"accept": "text/html"})).status_code == 406
