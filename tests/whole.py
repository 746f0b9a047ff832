"""The whole application in this process, put together as for `shahar serve`, and a client: for tests that ask
every address without a server.

Promises: everything is real but the network: no port is opened, MQTT is off, nothing outward is allowed; access is
open.
Does not: hold against a server how requests are read from a socket (`running.py` does).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import httpx
from prometheus_client import CollectorRegistry

from shahar import scenes
from shahar.assembly import house
from shahar.config import Settings
from shahar.main import wall
from shahar.serving import TABLES
from shahar.web.application import Application, pages
from shahar.web.rates import Rates

BASE: Final = "http://city.example"


@asynccontextmanager
async def whole(folder: Path) -> AsyncIterator[Application]:
    """The application of an empty city whose store is in `folder`, which exists."""
    registry = CollectorRegistry()
    settings = Settings(access="open", data=folder, mqtt="off")
    async with house(settings, scenes.plain(wall), wall, registry) as built:
        yield Application(built.parts, pages(TABLES, {}, registry, built.ready), registry, Rates())


@asynccontextmanager
async def asking_all(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that application; paths are whole."""
    async with whole(folder) as application:
        transport = httpx.ASGITransport(cast("Any", application))
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            yield client
