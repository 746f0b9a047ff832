"""The demo's devices over a real nats-server: they sign in with their keys, and what falls due arrives, once."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from shahar import plugins
from shahar.demo import stage
from shahar.demo.clock import Clock
from shahar.demo.replay import Replay
from shahar.demo.stage import Keys, Stage
from shahar.model.access import HOUSE
from shahar.ports.mqtt import Consumer
from shahar.ports.nats import Login, NatsServer, hash_key
from shahar.services.accounts import Accounts
from shahar.services.broker import Broker
from shahar.services.devices import Devices
from shahar.values.instants import DAY, HOUR, SECOND, parse
from tests.engines import store_at

pytestmark = pytest.mark.usefixtures("no_server_is_left")

CATALOGUE = plugins.discover().catalogue
NOW = parse("2026-11-22T12:00:00Z")


def tell(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 90))


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


async def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    for _ in range(round(timeout_s / 0.01)):
        if holds():
            return
        await asyncio.sleep(0.01)
    pytest.fail("what was waited for did not come")


class Wall:
    """A wall clock that goes on a second whenever it is read."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self) -> int:
        self.at += SECOND
        return self.at


class House:
    """The platform's part: register, broker, consumer; and how often each message of a device came."""

    def __init__(self, folder: Path, devices: Devices, server: NatsServer, port: int) -> None:
        self.folder, self.devices, self.server, self.port = folder, devices, server, port
        self.came: Counter[tuple[str, bytes]] = Counter()
        self.now = NOW

    async def receive(self, device: str, _topic: str, payload: bytes, at: int) -> None:
        self.came[device, payload] += 1
        await self.devices.take(device, payload, at)

    async def admit(self) -> None:
        await self.server.admit(Login(*each) for each in self.devices.logins())


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    db, port = store_at(folder / "city.db"), free_port()
    await db.open()
    devices = Devices(db, Broker(db), Accounts(db, access="closed"), CATALOGUE, hash_key)
    await devices.load()
    server = NatsServer(folder / "mqtt", port=port)
    found = House(folder, devices, server, port)
    await server.start()
    consumer = Consumer(server.url, found.receive, lambda: found.now, client_id=server.client_id)
    await consumer.start()
    await consumer.subscribed()
    try:
        yield found
    finally:
        await consumer.stop()
        await server.stop()
        await db.close()


async def shown(here: House, region: str = "") -> tuple[Stage, Keys]:
    show = stage.enter(here.folder, region, NOW)
    keys = {one.device.name: await here.devices.add(one.device, show.first, by=HOUSE) for one in show.roster.parts}
    await here.admit()  # without the history: that is tests/unit/demo/test_stage.py
    return show, keys


def messages(show: Stage, after: int, last: int) -> set[tuple[str, bytes]]:
    return {(due.device, due.body) for due in show.roster.due(after, last)}


def test_what_falls_due_arrives_over_mqtt_once_and_is_kept(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path) as here:
            show, keys = await shown(here)
            begin = show.sent
            clock = Clock(Wall(NOW), begin, speed=1_200)
            replay = Replay(show, keys, clock, host="127.0.0.1", port=here.port, tick_s=0.02)
            await replay.start()
            await until(lambda: show.sent >= begin + 26 * HOUR)
            await replay.stop()
            assert replay.sent == len(list(show.roster.due(begin, show.sent)))
            expected = messages(show, begin, show.sent)
            await until(lambda: set(here.came) == expected)
            assert set(here.came.values()) == {1}
            assert {name for name, _ in here.came} >= {"air-040112022", "grenoble-tour-perret", "grenoble-saint-eynard"}
            assert here.devices.counts["broken"] == here.devices.counts["unknown"] == 0

    tell(story)


def test_a_restart_goes_on_where_it_stood_and_leaves_nothing_out(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path) as here:
            show, keys = await shown(here)
            begin, wall = show.sent, Wall(NOW)
            replay = Replay(show, keys, Clock(wall, show.at, 600), host="127.0.0.1", port=here.port, tick_s=0.02)
            await replay.start()
            await until(lambda: show.sent >= begin + 6 * HOUR)
            await replay.stop()
            again = stage.enter(tmp_path, "", wall.at + DAY)
            assert (again.sent, again.start) == (show.sent, begin)
            assert again.at >= show.sent
            clock = Clock(wall, again.at, 600, start=again.start)
            replay = Replay(again, keys, clock, host="127.0.0.1", port=here.port, tick_s=0.02)
            await replay.start()
            await until(lambda: again.sent >= begin + 12 * HOUR)
            await replay.stop()
            await until(lambda: set(here.came) == messages(again, begin, again.sent))

    tell(story)


def test_a_broker_that_goes_away_costs_no_message_and_is_told_of_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path) as here:
            show, keys = await shown(here)
            begin, wall = show.sent, Wall(NOW)
            replay = Replay(show, keys, Clock(wall, show.at, 600), host="127.0.0.1", port=here.port, tick_s=0.02)
            with capture_logs() as logs:
                await replay.start()
                await until(lambda: show.sent >= begin + 2 * HOUR)
                os.kill(int((tmp_path / "mqtt" / "server.pid").read_text()), signal.SIGKILL)
                await until(lambda: not replay.running())
                stood = show.sent
                await until(lambda: replay.running() and show.sent > stood + HOUR, 40)
                await replay.stop()
            told = Counter(row["event"] for row in logs)
            assert told["demo replay fell"] == told["demo replay rose"] >= 1
            await until(lambda: set(here.came) == messages(show, begin, show.sent), 40)

    tell(story)


def test_a_simulated_town_speaks_too(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path) as here:
            show, keys = await shown(here, "1703")
            begin = show.sent
            replay = Replay(show, keys, Clock(Wall(NOW), begin, 600), host="127.0.0.1", port=here.port, tick_s=0.02)
            await replay.start()
            await until(lambda: show.sent >= begin + HOUR)
            await replay.stop()
            await until(lambda: set(here.came) == messages(show, begin, show.sent))
            doc = await here.devices.broker.get("", "urn:ngsi-ld:AirQualityObserved:sim-1703-1")
            assert "https://smartdatamodels.org/dataModel.Environment/pm25" in doc["attrs"]

    tell(story)
