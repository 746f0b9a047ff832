"""The demo's starts on a real store: the first, the second, one that was killed, and folders that do not fit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from shahar import plugins
from shahar.demo import stage
from shahar.demo.roster import roster
from shahar.demo.stage import Stage
from shahar.kit import read
from shahar.model.city import ORIGINAL
from shahar.model.temporal import Span
from shahar.ports.nats import hash_key
from shahar.services.accounts import Accounts
from shahar.services.broker import Broker
from shahar.services.devices import Devices
from shahar.values import instants
from shahar.values.errors import Invalid
from shahar.values.instants import DAY, HOUR, parse
from tests.engines import store_at

CATALOGUE = plugins.discover().catalogue
AUTUMN, WINTER = parse("2026-11-22T12:00:00Z"), parse("2027-02-28T12:00:00Z")
DAYS = 4 * DAY
SPRING = parse("2026-03-15T12:00:00Z")
PM25 = "https://smartdatamodels.org/dataModel.Environment/pm25"
WEATHER_TEMPERATURE = "https://smartdatamodels.org/dataModel.Weather/temperature"


def tell(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 60))


@asynccontextmanager
async def house(path: Path) -> AsyncIterator[Devices]:
    db = store_at(path)
    await db.open()
    devices = Devices(db, Broker(db), Accounts(db, access="closed"), CATALOGUE, hash_key)
    await devices.load()
    try:
        yield devices
    finally:
        await db.close()


async def everything(devices: Devices, show: Stage) -> dict[tuple[str, str], list[tuple[int, Any]]]:
    """Each attribute's history of each entity: (instant, value)."""
    found = {}
    for part in show.roster.parts:
        model = CATALOGUE.model(CATALOGUE.profile(part.device.profile).type)
        for attribute in model.attributes:
            points = await devices.broker.points("", part.device.entity, attribute.iri, 0, 1 << 60, 1_000_000)
            if points:
                found[part.device.entity, attribute.iri] = points
    return found


def expected(show: Stage, until: int) -> dict[tuple[str, str], dict[int, Any]]:
    """What must be known of the roster's messages: a frame told again within an hour counts once."""
    told: dict[tuple[str, str], dict[int, Any]] = {}
    last: dict[str, tuple[str, int]] = {}
    parts = {part.device.name: part.device for part in show.roster.parts}
    for due in show.roster.due(show.first, until):
        device = parts[due.device]
        reading = read(CATALOGUE, CATALOGUE.profile(device.profile), due.body)
        frame = reading.uplink.frame
        before = last.get(due.device)
        if frame is not None:
            if before and before[0] == frame and due.at - before[1] <= HOUR:
                continue
            last[due.device] = (frame, due.at)
        for one in reading.measurements:
            told.setdefault((device.entity, one.attribute.iri), {})[due.at] = one.value
    return told


@pytest.mark.parametrize(
    ("region", "now"), [("", AUTUMN), ("", SPRING), ("1703", WINTER)], ids=["autumn", "spring", "simulated"]
)
def test_thirty_days_are_loaded_whole_and_within_twenty_seconds(tmp_path: Path, region: str, now: int) -> None:
    async def story() -> None:
        async with house(tmp_path / "city.db") as devices:
            show = stage.enter(tmp_path, region, now)
            assert show.at == show.start == show.sent == now - 7 * DAY
            began = perf_counter()
            keys = await stage.prepare(show, devices)
            assert perf_counter() - began < 20
            assert set(keys) == {part.device.name for part in show.roster.parts}
            assert devices.counts["refused"] == devices.counts["broken"] == 0
            found = await everything(devices, show)
            assert {key: dict(points) for key, points in found.items()} == expected(show, show.at)
            assert min(at for points in found.values() for at, _ in points) < show.at - 29 * DAY

    tell(story)


def test_the_original_instant_stays_with_each_value(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path / "city.db") as devices:
            show = stage.enter(tmp_path, "", WINTER, history=9 * DAY)
            await stage.prepare(show, devices)
            entity = "urn:ngsi-ld:AirQualityObserved:tashkent-040112022"
            evolution = await devices.broker.evolution("", entity, Span(), [PM25])
            assert len(evolution.series[PM25]) >= 8
            for instance in evolution.series[PM25]:
                told = instants.text(instance["observedAt"])
                assert instance["attrs"][ORIGINAL][0]["value"] == told.replace("2027", "2025", 1)
                assert instance["unitCode"] == "GQ"
            weather = await devices.broker.get("", "urn:ngsi-ld:WeatherObserved:tashkent-era5")
            (now,) = weather["attrs"][WEATHER_TEMPERATURE]
            assert now["attrs"][ORIGINAL][0]["value"] == instants.text(now["observedAt"]).replace("2027", "2026", 1)

    tell(story)


def test_the_second_start_does_nothing_and_is_quick(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path / "city.db") as devices:
            show = stage.enter(tmp_path, "", AUTUMN, history=DAYS)
            keys = await stage.prepare(show, devices)
            show.at, show.sent = show.at + DAY, show.sent + DAY
            show.save()
        async with house(tmp_path / "city.db") as devices:
            began = perf_counter()
            again = stage.enter(tmp_path, "", AUTUMN + 3 * DAY)
            assert await stage.prepare(again, devices) == keys
            assert perf_counter() - began < 1
            assert not devices.counts
            assert devices.db.counters.commits == 0
            assert (again.start, again.at, again.sent) == (show.start, show.at, show.sent)

    tell(story)


class Killed(Exception):
    """The process ends here."""


def test_a_first_start_that_was_killed_is_done_again_and_keeps_nothing_twice(tmp_path: Path) -> None:
    def die(part: float, _messages: int) -> None:
        if part > 0.4:
            raise Killed

    async def story() -> None:
        async with house(tmp_path / "city.db") as devices:
            with pytest.raises(Killed):
                await stage.prepare(stage.enter(tmp_path, "", AUTUMN, history=DAYS), devices, die)
        async with house(tmp_path / "city.db") as devices:
            show = stage.enter(tmp_path, "", AUTUMN, history=DAYS)
            await stage.prepare(show, devices)
            found = await everything(devices, show)
            assert {key: dict(points) for key, points in found.items()} == expected(show, show.at)
            assert all(len(points) == len(dict(points)) for points in found.values())

    tell(story)


def test_an_emptied_store_gets_its_devices_and_its_last_thirty_days_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path / "city.db") as devices:
            show = stage.enter(tmp_path, "1706", AUTUMN, history=DAYS)
            old = await stage.prepare(show, devices)
            show.at = show.sent = AUTUMN
            show.save()
        async with house(tmp_path / "other.db") as devices:
            show = stage.enter(tmp_path, "1706", AUTUMN + HOUR, history=DAYS)
            keys = await stage.prepare(show, devices)
            assert set(keys) == set(old)
            assert not set(keys.values()) & set(old.values())
            found = await everything(devices, show)
            assert max(at for points in found.values() for at, _ in points) > AUTUMN - HOUR

    tell(story)


def test_keys_and_state_are_for_the_owner_alone(tmp_path: Path) -> None:
    async def story() -> None:
        async with house(tmp_path / "city.db") as devices:
            await stage.prepare(stage.enter(tmp_path, "1706", AUTUMN, history=DAYS), devices)
        files = sorted((tmp_path / "demo").iterdir())
        assert [file.name for file in files] == ["keys.json", "state.json"]
        assert all(file.stat().st_mode & 0o077 == 0 for file in (*files, tmp_path / "demo"))

    tell(story)


def test_one_folder_shows_one_place(tmp_path: Path) -> None:
    stage.enter(tmp_path, "1703", AUTUMN).save()
    assert stage.enter(tmp_path, "1703", AUTUMN).region == "1703"
    with pytest.raises(Invalid, match="holds the demo of 1703, not of 1726"):
        stage.enter(tmp_path, "", AUTUMN)


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 99}'])
def test_a_state_that_cannot_be_read_is_refused_with_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "state.json").write_text(text)
    with pytest.raises(Invalid, match=r"state\.json cannot be read"):
        stage.enter(tmp_path, "", AUTUMN)


def test_the_register_can_keep_every_device_of_the_demo() -> None:
    for part in roster().parts:
        assert len(json.dumps(part.device.shifts)) < 10_000
        assert [at for at, _ in part.device.shifts] == sorted(at for at, _ in part.device.shifts)
