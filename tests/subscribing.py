"""The parts that a subscription needs, put together as main does, and an endpoint: for tests of notifications.

Promises: real store, real runner, real sockets on this machine; `City` is opened and closed around a story.
Does not: ask over HTTP (tests/in_process.py, tests/running.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import monotonic, time_ns
from typing import Any

import orjson

from shahar.model.access import HOUSE, Actor
from shahar.model.change import Change
from shahar.model.context import CORE, Context, Source, compile_context
from shahar.model.entity import parse_entity
from shahar.model.subscription import Tally
from shahar.ports.webhooks import Webhooks
from shahar.services.broker import Broker
from shahar.services.owners import Rights, everybody
from shahar.services.runner import Runner
from shahar.services.subscriptions import Subscriptions
from shahar.values.outbound import Outbound
from tests.engines import store_at

DEFAULT = "https://uri.etsi.org/ngsi-ld/default-context/"
PM = DEFAULT + "pm25"


def now() -> int:
    return time_ns() // 1_000


class Receiver:
    """An endpoint: keeps what it gets, answers as it is told to."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.delay_s = 0.0
        self.under_way = 0
        self.most_under_way = 0
        self.answer: Callable[[dict[str, Any]], int] = lambda _: self.status
        self.server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}/notify"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while self.server is not None:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                body = await reader.readexactly(int(headers.get("Content-Length", "0")))
                self.under_way += 1
                self.most_under_way = max(self.most_under_way, self.under_way)
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                self.under_way -= 1
                document = orjson.loads(body)
                status = self.answer(document)
                self.headers.append(headers)
                if status == 200:
                    self.got.append(document)
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def values(self, entity_id: str, name: str = "pm25") -> list[Any]:
        """What was told of an entity's attribute, in the order of arrival."""
        return [one[name]["value"] for note in self.got for one in note["data"] if one["id"] == entity_id]


async def contexts(source: Source, _at: int, _tenant: str = "") -> Context:
    return compile_context(source, {}) if source else CORE


class City:
    """The parts that a subscription needs, put together as main does."""

    def __init__(self, folder: Path, clock: Callable[[], int] = now, rights: Rights = everybody) -> None:
        self.db = store_at(folder / "city.db")
        self.broker = Broker(self.db)
        self.out = Webhooks(Outbound(("127.0.0.0/8",)))
        self.subs = Subscriptions(self.db, self.broker, self.out, contexts, clock, rights=rights)
        self.runner = Runner(self.db, clock, [self.subs])

    async def __aenter__(self) -> City:
        await self.db.open()
        await self.subs.start()
        await self.runner.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.subs.stop()
        await self.runner.stop()
        await self.out.close()
        await self.db.close()

    async def subscribe(self, uri: str, tenant: str = "", by: Actor | None = None, **members: Any) -> str:
        note = members.pop("notification", {})
        body = {
            "type": "Subscription",
            "entities": [{"type": "Station"}],
            "notification": {**note, "endpoint": {"uri": uri, **note.get("endpoint", {})}},
            **members,
        }
        return await self.subs.create(tenant, body, CORE, now(), by or HOUSE)

    async def tell(self, entity_id: str, value: Any, kind: str = "Station", tenant: str = "") -> None:
        body = {"id": entity_id, "type": kind, "pm25": {"type": "Property", "value": value}}
        await self.broker.change(tenant, Change("upsert", entity_id, parse_entity(body, CORE)), now())

    async def delete(self, entity_id: str) -> None:
        await self.broker.change("", Change("delete", entity_id), now())

    def failures(self, subscription_id: str) -> int:
        """How often its endpoint has failed one after the other; 0 also before the subscription runs."""
        lane = self.subs._lanes.get(("", subscription_id))
        return 0 if lane is None else lane.failures

    async def tally(self, subscription_id: str) -> Tally:
        return (await self.subs.get("", subscription_id))[1]


async def until(check: Callable[[], bool], within_s: float = 5.0) -> None:
    end = monotonic() + within_s
    while not check():
        if monotonic() > end:
            raise AssertionError("it did not come about in time")
        await asyncio.sleep(0.005)


def story(work: Callable[[Receiver], Coroutine[Any, Any, None]]) -> None:
    """Run a story that has one endpoint."""

    async def run() -> None:
        receiver = Receiver()
        await receiver.open()
        try:
            await work(receiver)
        finally:
            await receiver.close()

    asyncio.run(run())
