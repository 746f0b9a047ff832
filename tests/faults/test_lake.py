"""The lake under faults: kill -9 at any step of a sealing, torn files. The past is what it was, and a torn day costs
nothing but itself, and is named.

Rounds: SHAHAR_TEST_FAULT_ROUNDS, 3 unless told; each kills a sealing at another step.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from anyio import to_thread
from structlog.testing import capture_logs

from shahar.model import query as q
from shahar.model.evolution import Chronicle
from shahar.model.temporal import Aggregation, Period, Span
from shahar.services import past, temporal
from shahar.services.broker import Broker
from shahar.services.sealing import KEPT_S, Sealing
from shahar.services.temporal import Asked
from shahar.store.engines import connect
from shahar.store.lake import LAKE, Lake
from shahar.values.instants import DAY, HOUR, SECOND
from tests.running import command, environment

pytestmark = [pytest.mark.faults, pytest.mark.anyio, pytest.mark.timeout(300)]

ROUNDS: Final = int(os.environ.get("SHAHAR_TEST_FAULT_ROUNDS", "3"))
SEALER: Final = str(Path(__file__).parent / "sealer.py")
STEPS: Final = 10
"""As many as a sealing of one day does to disk and store."""
FIRST: Final = 20_000 * DAY
NOW: Final = FIRST + 30 * DAY
LAMPS: Final = 20


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Broker, Sealing]]:
    """The store in a folder, with its lake."""
    db = connect(folder / "shahar.db")
    db.lake = Lake(folder / LAKE)
    await db.open()
    try:
        yield Broker(db), Sealing(db, db.lake, lambda: NOW, 7)
    finally:
        await db.close()


async def tell(broker: Broker, day: int, at: int, value: float, every: int = HOUR) -> None:
    """Tell of a day of every lamp."""
    instants = range(FIRST + day * DAY, FIRST + (day + 1) * DAY, every)
    for lamp in range(LAMPS):
        listed = [{"type": "Property", "value": value + lamp, "observedAt": when} for when in instants]
        doc = {"id": f"urn:lamp:{lamp}", "type": ["urn:Lamp"], "attrs": {"urn:power": listed}}
        await past.tell(broker, "", Chronicle(doc), at, create=True)


async def everything(broker: Broker) -> Any:
    """All that there is to be told of the past."""
    asked = Asked(Span(by=""), most=50_000)
    return (await temporal.find(broker, "", q.Query(), asked, limit=1_000)).found


async def days_told(broker: Broker) -> list[float]:
    """Of each day that has any how many instances there are, by figures and by instances, which are the same."""
    asked = Asked(Span(FIRST), aggregation=Aggregation(("totalCount",), Period(0, DAY)))
    figures = (await temporal.find(broker, "", q.Query(), asked, limit=1_000)).found[0].figures
    listed = (await everything(broker))[0].series["urn:power"]
    counts = [sum(one.start <= each["observedAt"] < one.end for each in listed) for one in figures]
    assert [one.values["totalCount"] for one in figures] == counts
    return counts


async def test_a_sealing_killed_at_any_step_leaves_the_past_as_it_was(tmp_path: Path) -> None:
    async with opened(tmp_path) as (broker, _):
        await tell(broker, 0, NOW, 1.0)
        await tell(broker, 1, NOW, 2.0)
    reached, before = 0, None
    for number in range(ROUNDS):
        async with opened(tmp_path) as (broker, _):
            await tell(broker, number % 2, NOW + number * SECOND, 3.0 + number, every=7 * HOUR)
            doc = (await everything(broker))[number % LAMPS]
            gone = doc.series["urn:power"][5]["instanceId"]
            await past.drop_instance(broker, "", doc.doc["id"], "urn:power", gone, NOW + number * SECOND)
            before = await everything(broker)
        step = 1 + (number * 7 + 3) % STEPS
        given = [sys.executable, SEALER, str(tmp_path), str(NOW), str(step)]
        ended = await to_thread.run_sync(
            partial(subprocess.run, given, env=environment(), capture_output=True, text=True)
        )
        assert ended.returncode in {0, -signal.SIGKILL}, ended.stderr
        reached += ended.returncode == -signal.SIGKILL
        async with opened(tmp_path) as (broker, _):
            assert await everything(broker) == before, f"killed at step {step}"
    assert reached == ROUNDS
    async with opened(tmp_path) as (broker, sealing):
        assert not (await sealing.look(NOW)).failed
        assert await everything(broker) == before
        rows = await broker.db.read(lambda tx: tx.rows("SELECT count(*) FROM history"))
        assert rows == [(0,)]
        await sealing.look(NOW)
        await sealing.look(NOW + (KEPT_S + 1) * SECOND)
        assert broker.db.lake is not None
        assert len(broker.db.lake.names()) == 2, "files of killed sealings are swept"
        assert await everything(broker) == before


def tear(path: Path) -> None:
    """Cut a file short."""
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size // 2)


def turn(path: Path) -> None:
    """Turn the bits of some bytes in the middle."""
    text = bytearray(path.read_bytes())
    middle = len(text) // 3
    text[middle : middle + 64] = bytes(255 - byte for byte in text[middle : middle + 64])
    path.write_bytes(bytes(text))


@pytest.mark.parametrize("harm", [tear, turn, Path.unlink])
async def test_a_torn_day_is_named_once_and_costs_itself_alone(tmp_path: Path, harm: Any) -> None:
    async with opened(tmp_path) as (broker, sealing):
        for day in range(3):
            await tell(broker, day, NOW, float(day))
        await sealing.look(NOW)
        assert await days_told(broker) == [24, 24, 24]
        assert broker.db.lake is not None
        file = tmp_path / LAKE / broker.db.lake.names()[1]
        kept = file.read_bytes()
    harm(file)
    async with opened(tmp_path) as (broker, sealing):
        with capture_logs() as logs:
            for _ in range(3):
                assert await days_told(broker) == [24, 24]
            await tell(broker, 1, NOW + SECOND, 9.0, every=12 * HOUR)
            await tell(broker, 2, NOW + SECOND, 9.0, every=12 * HOUR)
            done = await sealing.look(NOW)
        assert (done.sealed, done.failed) == (1, 1), "the torn day alone is not sealed"
        named = [one for one in logs if one["log_level"] == "error"]
        assert [one["file"] for one in named] == [str(file.relative_to(tmp_path / LAKE))]
        assert await days_told(broker) == [24, 2, 24], "what came since for the torn day is there"
    said = command("doctor", "--data", str(tmp_path), cwd=tmp_path)
    assert said.returncode == 1
    assert said.stdout.count(str(file.relative_to(tmp_path / LAKE))) == 1, said.stdout
    file.write_bytes(kept)
    async with opened(tmp_path) as (broker, sealing):
        assert not (await sealing.look(NOW)).failed
        assert await days_told(broker) == [24, 24, 24]
    assert command("doctor", "--data", str(tmp_path), cwd=tmp_path).returncode == 0
