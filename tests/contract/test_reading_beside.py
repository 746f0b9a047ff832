"""The process that reads batches beside ours: its life, its end, and that nobody can tell whether it was there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shahar.model import bulk
from shahar.model.bulk import Pack
from shahar.model.context import CORE
from shahar.model.told import Whole
from shahar.ports import beside as port
from shahar.ports.beside import Beside
from shahar.services.batches import Batches
from shahar.values.errors import Unavailable
from tests.running import City, until

AT = 1_767_312_000_001_000

pytestmark = pytest.mark.anyio


def entities(count: int, **more: Any) -> list[dict[str, Any]]:
    """Entities with an attribute that makes a text worth the other process's while."""
    return [{"id": f"urn:e:{number}", "type": "T", "name": "x" * 50, "v": number, **more} for number in range(count)]


BODY = (
    b"[" + b",".join(b'{"id":"urn:e:%d","type":"T","v":%d,"pad":"%s"}' % (n, n, b"x" * 50) for n in range(999)) + b"]"
)
MEASURED = json.dumps(
    [{"id": f"urn:e:{n}", "type": "T", "v": {"type": "Property", "value": n}} for n in range(500)]
).encode()
QUESTION = bulk.question("upsert", BODY, CORE, AT)


@asynccontextmanager
async def reading(idle_s: float = 60.0) -> AsyncIterator[Beside]:
    """One that takes questions."""
    beside = Beside(idle_s=idle_s)
    try:
        await ready(beside)
        yield beside
    finally:
        await beside.close()


async def ready(beside: Beside) -> None:
    """Return when it takes questions."""
    with pytest.raises(Unavailable):
        await beside.ask(QUESTION, bulk.wishes)
    await come(lambda: beside.pid is not None)


async def come(true: Callable[[], bool]) -> None:
    """Return when it has come true."""
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come true in time")


def alive(pid: int) -> bool:
    """Whether there is a process of this number that is not merely waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_questions_are_answered_in_their_order() -> None:
    async with reading() as beside:
        small = bulk.question("create", b'[{"id":"urn:a","type":"T"}]', CORE, AT)
        answers = await asyncio.gather(
            beside.ask(QUESTION, bulk.wishes), beside.ask(small, bulk.wishes), beside.ask(QUESTION, bulk.wishes)
        )
        assert [len(answer) for answer in answers if isinstance(answer, list)] == [999, 1, 999]


async def test_it_ends_when_nobody_asks_and_starts_again() -> None:
    async with reading(idle_s=0.2) as beside:
        first = beside.pid
        assert first is not None
        await beside.ask(QUESTION, bulk.wishes)
        await come(lambda: beside.pid is None and not alive(first))
        await ready(beside)
        assert await beside.ask(QUESTION, bulk.wishes)


async def test_whoever_waits_when_it_dies_is_told_so_and_it_is_left_alone_for_a_while() -> None:
    async with reading() as beside:
        pid = beside.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        asked = [asyncio.create_task(beside.ask(QUESTION, bulk.wishes)) for _ in range(port.SLOTS)]
        await asyncio.sleep(0.05)
        with pytest.raises(Unavailable):
            await beside.ask(QUESTION, bulk.wishes)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(port.ANSWER_S / 2):
            told = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(one, Unavailable) for one in told)
        assert await Batches(beside).read("upsert", BODY, CORE, AT) is None
        await asyncio.sleep(0.1)
        assert beside.pid is None


async def test_one_that_falls_silent_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reading() as beside:
        pid = beside.pid
        assert pid is not None
        monkeypatch.setattr(port, "ANSWER_S", 0.2)
        os.kill(pid, signal.SIGSTOP)
        assert await Batches(beside).read("upsert", BODY, CORE, AT) is None
        await come(lambda: not alive(pid))


async def test_a_small_batch_is_not_worth_asking() -> None:
    async with reading() as beside:
        assert await Batches(beside).read("upsert", b"[]", CORE, AT) is None
        read = await Batches(beside).read("upsert", BODY, CORE, AT)
        assert isinstance(read, list)
        assert all(isinstance(one, Whole) for one in read)
        mixed = await Batches(beside).read("upsert", BODY, CORE, AT, packed=True)
        assert isinstance(mixed, list), "texts are no measurements"
        packed = await Batches(beside).read("upsert", MEASURED, CORE, AT, packed=True)
        assert isinstance(packed, Pack)
        assert len(packed.ids) == 500


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    found = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for child in " ".join(found).split() if alive(int(child))]


def test_nobody_can_tell_who_read_a_batch_and_it_ends_with_us(tmp_path: Path) -> None:
    path = "/ngsi-ld/v1/entityOperations/upsert"
    given = entities(800)
    given[3] |= {"id": "no uri"}
    given[5] |= {"v": {"type": "Property"}}
    del given[7]["type"]
    with City(tmp_path) as city:
        assert city.call("POST", path, given).status == 207
        until(lambda: bool(children(city.pid)))
        (child,) = children(city.pid)
        used = Path(f"/proc/{child}/stat")
        city.call("POST", path, given)
        before = sum(map(int, used.read_text().rpartition(")")[2].split()[11:13]))
        answers = [city.call("POST", path, given) for _ in range(8)]
        assert sum(map(int, used.read_text().rpartition(")")[2].split()[11:13])) > before, "it had nothing to do"
        found = city.call("GET", "/ngsi-ld/v1/entities/urn:e:9").json()
        assert found["v"]["value"] == 9
        small = city.call("POST", path, [given[3], given[5], given[7]])
        errors = small.json()["errors"]
        assert [one["entityId"] for one in errors] == ["no uri", "urn:e:5", "urn:e:7"]
        for answer in answers:
            assert answer.status == 207
            assert answer.json()["errors"] == errors
        broken = city.call("POST", path, b'[{"id":' + b" " * 40_000)
        assert (broken.status, broken.json()["type"].rsplit("/")[-1]) == (400, "InvalidRequest")
        city.kill()
        until(lambda: not alive(child))


def test_it_ends_when_the_city_stops(tmp_path: Path) -> None:
    with City(tmp_path) as city:
        assert city.call("POST", "/ngsi-ld/v1/entityOperations/create", entities(800)).status == 201
        until(lambda: bool(children(city.pid)))
        (child,) = children(city.pid)
        assert city.stop() < 5
        assert not alive(child)
        assert "reading process" not in city.said()
