"""User @contexts: fetched once, kept over a restart, replaceable by local files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shahar.model.context import CORE
from shahar.services.contexts import Contexts
from shahar.store.db import Database
from shahar.values.errors import ContextUnavailable, Invalid, PeerFailed

pytestmark = pytest.mark.anyio
ADDRESS = "https://a.example/context.jsonld"


class Fetches:
    """A peer that serves documents and counts; None: it is down."""

    def __init__(self, documents: dict[str, object] | None) -> None:
        self.documents, self.asked = documents, 0

    async def __call__(self, address: str) -> bytes:
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.documents is None or address not in self.documents:
            raise PeerFailed("down")
        return json.dumps({"@context": self.documents[address]}).encode()


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    """An open store."""
    database = Database(tmp_path / "shahar.db")
    await database.open()
    yield database
    await database.close()


async def test_a_context_is_fetched_once_however_many_ask(db: Database) -> None:
    fetch = Fetches({ADDRESS: {"speed": "https://a.example/speed"}})
    contexts = Contexts(db, fetch)
    found = await asyncio.gather(*(contexts.get(ADDRESS, 1) for _ in range(20)), contexts.get([ADDRESS], 1))
    assert fetch.asked == 1
    assert {context.expand("speed") for context in found} == {"https://a.example/speed"}


async def test_a_fetched_context_outlives_a_restart_without_network(db: Database) -> None:
    await Contexts(db, Fetches({ADDRESS: {"speed": "https://a.example/speed"}})).get(ADDRESS, 1)
    again = Contexts(db, Fetches(None))
    await again.load()
    assert (await again.get(ADDRESS, 2)).expand("speed") == "https://a.example/speed"


async def test_nested_contexts_are_fetched_too(db: Database) -> None:
    fetch = Fetches({ADDRESS: ["https://a.example/inner"], "https://a.example/inner": {"x": "https://x.example/x"}})
    assert (await Contexts(db, fetch).get(ADDRESS, 1)).expand("x") == "https://x.example/x"


async def test_a_local_file_stands_in_for_the_network(db: Database, tmp_path: Path) -> None:
    (tmp_path / "c.jsonld").write_text(json.dumps({"@context": {"x": "https://x.example/x"}}))
    fetch = Fetches(None)
    assert (await Contexts(db, fetch, table={ADDRESS: tmp_path / "c.jsonld"}).get(ADDRESS, 1)).expand(
        "x"
    ) == "https://x.example/x"
    assert fetch.asked == 0


async def test_an_unreachable_context_is_the_peers_fault_and_is_tried_again(db: Database) -> None:
    fetch = Fetches(None)
    contexts = Contexts(db, fetch)
    for _ in range(2):
        with pytest.raises(ContextUnavailable):
            await contexts.get(ADDRESS, 1)
    assert fetch.asked == 2


async def test_core_contexts_are_never_fetched(db: Database) -> None:
    fetch = Fetches(None)
    contexts = Contexts(db, fetch)
    assert await contexts.get(None, 1) is CORE
    core = await contexts.get("https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.6.jsonld", 1)
    assert core.expand("location") == "https://uri.etsi.org/ngsi-ld/location" and fetch.asked == 0


async def test_too_many_contexts_are_refused(db: Database) -> None:
    with pytest.raises(Invalid):
        await Contexts(db, Fetches({f"https://a.example/{n}": {} for n in range(40)})).get(
            [f"https://a.example/{n}" for n in range(40)], 1
        )
