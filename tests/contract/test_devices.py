"""The way of a message from bytes to the city's state: real systems, real frames, a real store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shahar import plugins
from shahar.model.access import ANONYMOUS, HOUSE
from shahar.model.city import ORIGINAL
from shahar.services.accounts import Accounts
from shahar.services.broker import Broker, Span
from shahar.services.devices import Device, Devices
from shahar.store.db import Database
from shahar.values import instants
from shahar.values.errors import CallerFault, Exists, Invalid, NotFound, TooLarge, Unauthenticated
from tests.engines import store_at

pytestmark = pytest.mark.anyio
AT = instants.parse("2026-11-22T12:00:00Z")
HOUR = 3_600_000_000
STATION = Device("st1", "air.station", "urn:ngsi-ld:AirQualityObserved:st1")


def hashed(key: str) -> str:
    """Stands for the MQTT server's own hash, which this room does not need to know."""
    return f"hash of {len(key)}"


async def devices_on(folder: Path) -> tuple[Database, Devices]:
    """The service on a store in `folder`."""
    db = store_at(folder / "shahar.db")
    await db.open()
    devices = Devices(db, Broker(db), Accounts(db, access="closed"), plugins.discover().catalogue, hashed)
    await devices.load()
    return db, devices


@pytest.fixture
async def devices(tmp_path: Path) -> AsyncIterator[Devices]:
    """The service with one station."""
    db, service = await devices_on(tmp_path)
    await service.add(STATION, AT, by=HOUSE)
    yield service
    await service.accounts.settle()
    await db.close()


def message(**members: Any) -> bytes:
    """A plain JSON message."""
    return json.dumps(members).encode()


async def history(devices: Devices, iri: str, entity: str = STATION.entity) -> list[Any]:
    """The values of an attribute in the order of time."""
    return [one["value"] for one in (await devices.broker.evolution("", entity, Span())).series.get(iri, [])]


def attribute(devices: Devices, type_: str, name: str) -> str:
    """The IRI of an attribute of a model."""
    return devices.catalogue.model(type_).attribute(name).iri


async def test_a_message_becomes_a_value_with_unit_and_instant(devices: Devices) -> None:
    assert await devices.take("st1", message(pm25=31.5, at="2026-11-22T11:00:00Z"), AT) == 1
    doc = await devices.broker.get("", STATION.entity)
    (instance,) = doc["attrs"][attribute(devices, "AirQualityObserved", "pm25")]
    assert (instance["value"], instance["unitCode"], instance["observedAt"]) == (31.5, "GQ", AT - HOUR)


async def test_a_message_told_twice_is_kept_once(devices: Devices) -> None:
    body = message(pm25=31.5, at="2026-11-22T11:00:00Z")
    assert [await devices.take("st1", body, AT), await devices.take("st1", body, AT + HOUR)] == [1, 0]
    assert await history(devices, attribute(devices, "AirQualityObserved", "pm25")) == [31.5]


async def test_readings_may_come_in_any_order(devices: Devices) -> None:
    for hour in (3, 1, 2):
        await devices.take("st1", message(pm25=hour, at=f"2026-11-22T0{hour}:00:00Z"), AT)
    iri = attribute(devices, "AirQualityObserved", "pm25")
    assert await history(devices, iri) == [1, 2, 3]
    assert (await devices.broker.get("", STATION.entity))["attrs"][iri][0]["value"] == 3


@pytest.mark.parametrize(
    ("name", "body", "fault"),
    [
        ("nobody", message(pm25=1), NotFound),
        ("st1", b"\xff\x00garbage", Invalid),
        ("st1", b"[1,2]", Invalid),
        ("st1", message(pm25=1, at="3026-01-01T00:00:00Z"), Invalid),
        ("st1", b"{" + b" " * 70_000 + b"}", TooLarge),
    ],
)
async def test_a_broken_message_is_counted_kept_and_stops_nothing(
    devices: Devices, name: str, body: bytes, fault: type[CallerFault]
) -> None:
    with pytest.raises(fault):
        await devices.take(name, body, AT)
    assert devices.counts["broken"] + devices.counts["unknown"] == 1
    (kept,) = await devices.broken()
    assert kept["device"] == name and kept["problem"]
    assert await devices.take("st1", message(pm25=5), AT) == 1


async def test_the_list_of_broken_messages_is_bounded(devices: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shahar.services.devices.BROKEN_KEPT", 5)
    for number in range(12):
        with pytest.raises(Invalid):
            await devices.take("st1", b"not json %d" % number, AT)
    assert [kept["number"] for kept in await devices.broken()] == [11, 10, 9, 8, 7]


async def test_a_value_that_cannot_be_is_refused_by_itself(devices: Devices) -> None:
    assert await devices.take("st1", message(pm25=-5, pm10=40), AT) == 1
    assert devices.counts["refused"] == 1


async def test_a_real_frame_repeated_later_is_kept_once_also_after_a_restart(tmp_path: Path) -> None:
    folder = Path(plugins.__file__).parent / "systems" / "buildings"
    frames = [
        json.loads(plugins.samples(folder)[name].message)
        for name in ("ems-frame-again-1.json", "ems-frame-again-2.json")
    ]
    assert frames[0]["fcnt"] == frames[1]["fcnt"] and frames[0]["reported_at"] != frames[1]["reported_at"]
    profile = plugins.samples(folder)["ems-frame-again-1.json"].profile
    assert profile is not None
    device = Device("ems", profile, "urn:ngsi-ld:IndoorEnvironmentObserved:ems")
    counts = []
    for number, told in enumerate(frames):
        db, devices = await devices_on(tmp_path)
        if number == 0:
            await devices.add(device, AT, by=HOUSE)
        counts.append(await devices.take("ems", json.dumps(told).encode(), told["reported_at"] * 1000 + 1_000_000))
        await devices.accounts.settle()
        await db.close()
    assert counts[0] > 0 and counts[1] == 0


async def test_a_replayed_value_keeps_its_original_instant(devices: Devices) -> None:
    await devices.add(
        replace(STATION, name="old", entity="urn:ngsi-ld:AirQualityObserved:old", shifts=((0, 24 * HOUR),)),
        AT,
        by=HOUSE,
    )
    await devices.take("old", message(pm25=9, at="2026-11-22T11:00:00Z"), AT)
    doc = await devices.broker.get("", "urn:ngsi-ld:AirQualityObserved:old")
    (instance,) = doc["attrs"][attribute(devices, "AirQualityObserved", "pm25")]
    assert instance["attrs"][ORIGINAL][0]["value"] == "2026-11-21T11:00:00Z"


async def test_only_who_may_registers_and_a_name_is_one_tenants(devices: Devices) -> None:
    with pytest.raises(Unauthenticated):
        await devices.add(replace(STATION, name="st2"), AT, by=ANONYMOUS)
    with pytest.raises(Exists):
        await devices.add(replace(STATION, tenant="other"), AT, by=HOUSE)


async def test_many_messages_are_loaded_by_the_same_path(devices: Devices) -> None:
    start = AT - 48 * HOUR
    messages = [
        ("st1", message(pm25=hour, at=instants.text(start + hour * HOUR)), start + hour * HOUR) for hour in range(48)
    ]
    assert await devices.load_many([*messages, *messages]) == 48
    assert await history(devices, attribute(devices, "AirQualityObserved", "pm25")) == list(range(48))
