"""Durable updates on PostgreSQL by two workers, against one connection that writes the very rows and does nothing else.

How it is honest: the store itself does the work once while what it says to the server is recorded, group by group; one
bare asyncpg connection then says it again on a schema that was filled the same way, each group with its own commit.
Questions that the store asks in between are left out of that. Server, workers and clients share the machine.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final
from uuid import uuid4

import asyncpg

from bench import load, raw, server
from bench.figures import Goal, medians
from scripts.postgres import Server
from shahar.services.broker import Broker
from shahar.store.engines import connect
from shahar.store.postgres.line import Line

CLIENTS: Final = 128
WORKERS: Final = 2
GROUP: Final = 64
GROUPS: Final = 150
ENTITIES: Final = 2_000
SHARE: Final = 0.55

Said = tuple[str, tuple[Any, ...]]
"""What a line was told to do, and with what."""


def measure(folder: Path, command: str, say: Callable[[str], None], *, rounds: int, seconds: float) -> dict[str, Any]:
    """The figures of two workers and of the bare connection, in turns."""
    found: list[dict[str, float]] = []
    with Server() as postgres:
        say(f"recording {GROUPS} groups of {GROUP} updates of {ENTITIES} entities")
        recorded = asyncio.run(_record(_schema(postgres.url)))
        for number in range(rounds):
            bare = asyncio.run(_replay(postgres.url, recorded))
            told = _serve(folder, f"{command} --workers {WORKERS}", _schema(postgres.url), seconds, number)
            found.append(
                {
                    "bare_per_s": bare,
                    "per_s": told.per_s,
                    "of_bare": told.per_s / bare,
                    "p50_ms": told.p50_ms,
                    "p99_ms": told.p99_ms,
                    "workers_us": told.server_us,
                    "cores_busy": told.cores_busy,
                }
            )
            say(f"{told.per_s:.0f}/s, p99 {told.p99_ms:.0f} ms; bare {bare:.0f}/s: {told.per_s / bare:.0%}")
    middle = medians(found)
    goal = Goal("updates of two workers, of the bare connection", middle["of_bare"], SHARE, most=False)
    return {"clients": CLIENTS, "workers": WORKERS, "median": middle, "rounds": found, "goals": [goal.document()]}


def _schema(address: str) -> str:
    """The address of a new schema."""
    name = f"bench_{uuid4().hex}"

    async def make() -> None:
        connection = await asyncpg.connect(address)
        await connection.execute(f"CREATE SCHEMA {name}")
        await connection.close()

    asyncio.run(make())
    return f"{address}?search_path={name}"


async def _filled(address: str) -> Any:
    """A store with the entities."""
    db = connect(address)
    await db.open()
    broker = Broker(db)
    for first in range(0, ENTITIES, 1_000):
        await broker.apply("", raw.wishes("upsert", range(first, first + 1_000), 0), raw.at_of(0))
    return db


@contextmanager
def _hearing(said: list[Said]) -> Iterator[None]:
    """Note what every line is told to do."""
    names = ("script", "put", "copy", "execute")
    kept = {name: getattr(Line, name) for name in names}

    def noted(name: str) -> Any:
        def act(line: Line, *given: Any) -> Any:
            said.append((name, given))
            return kept[name](line, *given)

        return act

    for name in names:
        setattr(Line, name, noted(name))
    try:
        yield
    finally:
        for name in names:
            setattr(Line, name, kept[name])


async def _record(address: str) -> list[Said]:
    db = await _filled(address)
    broker = Broker(db)
    said: list[Said] = []
    with _hearing(said):
        for turn in range(1, GROUPS + 1):
            wishes = raw.wishes("update", [(turn * GROUP + place) * 7_919 % ENTITIES for place in range(GROUP)], turn)
            await asyncio.gather(*(broker.change("", wish, raw.at_of(turn)) for wish in wishes))
    await db.close()
    return said


async def _replay(address: str, said: list[Said]) -> float:
    """Updates a second of one connection that says it all again."""
    place = await asyncio.to_thread(_schema, address)
    await (await _filled(place)).close()
    connection = await asyncpg.connect(place, statement_cache_size=400)
    started = perf_counter()
    for what, given in said:
        if what == "copy":
            table, columns, rows = given
            await connection.copy_records_to_table(table, records=rows, columns=list(columns))
        elif what == "put":
            await connection.execute(given[0], *given[1])
        elif what == "script":
            await connection.execute(given[0])
    taken = perf_counter() - started
    await connection.close()
    return GROUPS * GROUP / taken


def _serve(folder: Path, command: str, address: str, seconds: float, number: int) -> load.Figures:
    os.environ["SHAHAR_DATABASE"] = address
    try:
        with server.serving(folder / "served", command) as served:
            fill = load.Plan(served.port, "batches", clients=2, seconds=120, count=ENTITIES // 1_000)
            load.generate(fill, served.pid)
            plan = load.Plan(
                served.port, "patches", CLIENTS, seconds, warm_s=1.0, entities=ENTITIES, turn=1 + number * 100_000
            )
            return load.generate(plan, served.pid)
    finally:
        del os.environ["SHAHAR_DATABASE"]
