"""Our process is dead, the MQTT server is not: what devices send meanwhile arrives, all of it, once."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any, Final

import pytest

from shahar.values.instants import parse
from tests.running import City, leave, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

HURRIED: Final = (str(Path(__file__).parent / "hurried.py"),)
DEVICES: Final = 20
EACH: Final = 50
BASE_S: Final = 1_767_225_600  # 2026-01-01T00:00:00Z
VALUES: Final = 'shahar_device_messages_total{outcome="values"}'
REPEATS: Final = 'shahar_device_messages_total{outcome="repeats"}'
ARRIVE_S: Final = 60.0

Told = dict[str, set[tuple[int, float]]]
"""Entity -> (instant in microseconds, value) of what its device has sent."""


def entity_of(device: str) -> str:
    """The entity that a device measures."""
    return f"urn:ngsi-ld:AirQualityObserved:{device}"


def register(city: City) -> dict[str, str]:
    """Devices that send plain JSON; the key of each."""
    names = [f"station-{number}" for number in range(DEVICES)]
    return {name: city.add_device(name, entity_of(name)) for name in names}


def send(city: City, keys: dict[str, str]) -> Told:
    """EACH QoS 1 messages of every device, all acknowledged by the MQTT server when this returns."""
    told: Told = {}
    for number, (name, key) in enumerate(keys.items()):
        client = city.connect_device(name, key)
        receipts = []
        for count in range(EACH):
            at, value = BASE_S + count * 60 + number, round(1 + count + number / 100, 2)
            told.setdefault(entity_of(name), set()).add((at * 1_000_000, value))
            receipts.append(client.publish(f"up/{name}", b'{"at": %d, "pm25": %.2f}' % (at, value), qos=1))
        for receipt in receipts:
            receipt.wait_for_publish(20)
            assert receipt.is_published(), f"{name}: not acknowledged"
        leave(client)
    return told


def arrived(city: City, told: Told) -> dict[str, list[tuple[int, float]]]:
    """The history of every entity, as it is now."""
    found: dict[str, list[tuple[int, float]]] = {}
    for entity in told:
        path = f"/ngsi-ld/v1/temporal/entities/{entity}?options=temporalValues"
        answer = city.call("GET", path, headers={"Prefer": "maxpagesize=50000"})
        assert answer.status == 200, answer.body
        values: dict[str, Any] = answer.json()
        found[entity] = [(parse(at), value) for value, at in _pm25(values)]
    return found


def _pm25(entity: dict[str, Any]) -> list[list[Any]]:
    named = [value for name, value in entity.items() if name.rpartition("/")[2] == "pm25"]
    return list(named[0]["values"]) if named else []


def test_a_thousand_messages_for_a_dead_process_all_arrive_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with City(tmp_path, mqtt=True) as city:
        keys = register(city)
        city.kill()
        told = send(city, keys)
        city.start()
        took_s = until(lambda: city.figures().get(VALUES, 0) >= DEVICES * EACH, ARRIVE_S)
        found = arrived(city, told)
        figures = city.figures()
        assert sum(map(len, told.values())) == DEVICES * EACH
        assert {entity: set(rows) for entity, rows in found.items()} == told
        assert sum(map(len, found.values())) == DEVICES * EACH, "a message is there twice"
        assert figures[VALUES] == DEVICES * EACH
        assert figures.get(REPEATS, 0) == 0
    with capsys.disabled():
        print(f"\ndead process: {DEVICES * EACH} messages, all there once {took_s:.1f} s after the start")


def test_a_process_that_dies_while_it_receives_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with City(tmp_path, mqtt=True, launcher=HURRIED) as city:
        keys = register(city)
        city.kill()
        told = send(city, keys)
        wanted = {entity: sorted(rows) for entity, rows in told.items()}
        city.start(ready=False)
        until(lambda: city.said().count("mqtt intake rose") == 2)
        time.sleep(random.uniform(0.05, 0.3))
        city.kill()
        city.start()
        before = sum(map(len, arrived(city, told).values()))
        took_s = until(lambda: arrived(city, told) == wanted, ARRIVE_S)
        assert city.call("GET", "/api/devices/broken").json()["messages"] == []
    with capsys.disabled():
        print(
            f"\nkilled while receiving: {before} of {DEVICES * EACH} were there at the next start,"
            f" all {took_s:.1f} s later"
        )
