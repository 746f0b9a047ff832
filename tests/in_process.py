"""The NGSI-LD application in this process on a real store, and a client with a key: for tests that ask over HTTP
without a server.

Promises: everything below HTTP is real; no socket is opened.
Does not: serve pages, subscriptions or devices, send notifications (`running.py` does).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import httpx
from prometheus_client import CollectorRegistry

from shahar.model.access import HOUSE, Scope
from shahar.ports.sources import Door, Sources
from shahar.services.accounts import Accounts
from shahar.services.batches import Batches
from shahar.services.broker import Broker
from shahar.services.contexts import Contexts, Fetch
from shahar.services.federation import Federation
from shahar.services.identity import Identity
from shahar.services.registration_subscriptions import RegistrationSubscriptions
from shahar.services.registrations import Registrations
from shahar.values.instants import SECOND
from shahar.web.application import Application, Receive, Send
from shahar.web.application import Scope as Asgi
from shahar.web.exchange import Parts
from shahar.web.rates import Rates
from tests.engines import store_at

NOW: Final = 1_800_000_000 * SECOND
BASE: Final = "http://city.example/ngsi-ld/v1"


async def _no_pages(_scope: Asgi, _receive: Receive, _send: Send) -> None:
    """No pages are asked for here."""


@asynccontextmanager
async def asking(
    folder: Path, fetch: Fetch, rights: Sequence[Scope], tenant: str, door: Door | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, Accounts]]:
    """A client with a key of these rights, and the accounts behind it; paths are below `BASE`. `door`: by which context
    sources are reached."""
    db = store_at(folder / "city.db")
    await db.open()
    accounts = Accounts(db, access="closed")
    identity = Identity(db)
    await identity.load(NOW)
    none = cast("Any", None)
    broker, contexts, registrations = Broker(db), Contexts(db, fetch), Registrations(db, lambda: NOW)
    parts = Parts(
        now=lambda: NOW,
        wall=lambda: NOW,
        broker=broker,
        contexts=contexts,
        identity=identity,
        accounts=accounts,
        subscriptions=none,
        registrations=registrations,
        registration_subscriptions=RegistrationSubscriptions(db, broker, none, contexts.get, lambda: NOW),
        devices=none,
        runner=none,
        picture=none,
        batches=Batches(),
        federation=Federation(registrations, Sources(door), contexts.get, identity.alias) if door is not None else None,
    )
    app = cast("Any", Application(parts, _no_pages, CollectorRegistry(), Rates()))
    _, key = await accounts.make_key("Nodira", rights, tenant, ["*"], 30, NOW, by=HOUSE)
    bearer = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), headers=bearer, base_url=BASE) as client:
        yield client, accounts
        await accounts.settle()
    await db.close()
