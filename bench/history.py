"""The lake: bytes a sample of real series, and questions to 50 million samples.

The 50 million are synthetic (1 000 series, one every 10.5 minutes for a year, tenths of a daily wave with noise) and
made straight as the lake's files, for to tell them one by one would take hours; the store then holds the entities and
names the files, and is asked as a request asks it. The real series are those of the demo (src/shahar/demo/data, sources
there): hours of weather and messages of a radio sensor, each day of theirs as a day of a sensor of its own, all on one
day, so that the file is that of a town and not of one house. Each is sealed twice: as it is told live, each message
with its own moment of arrival, and as it is told at once, years later.
"""

from __future__ import annotations

import asyncio
import csv
import random
import shutil
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import duckdb
import orjson

from bench.figures import Goal, median
from shahar.demo import series
from shahar.model.columns import fold
from shahar.model.temporal import Aggregation, Period, Span
from shahar.services import temporal
from shahar.services.broker import Broker
from shahar.services.temporal import Asked, Wanted
from shahar.store import history, moving, tenants, windows
from shahar.store.db import Database, Tx
from shahar.store.engines import connect
from shahar.store.lake import COLUMNS, FORM, LAKE, NOBODY, ORDER, File, Lake, Made, checksum
from shahar.systems.buildings.elsys import decode
from shahar.values import instants
from shahar.values.instants import DAY, HOUR, SECOND, Instant

SERIES: Final = 1_000
DAYS: Final = 365
A_DAY: Final = 137
EVERY: Final = 630 * SECOND
FIRST: Final = 20_000 * DAY
ATTR: Final = "https://example.org/terms/temperature"
KIND: Final = "https://example.org/terms/Sensor"
BYTES: Final = 3.0
MONTH_S: Final = 0.6
DAY_MS: Final = 25.0


def measure(folder: Path, say: Callable[[str], None], *, days: int = DAYS, rounds: int = 5) -> dict[str, Any]:
    """The figures; `days` of the synthetic year."""
    place = folder / "history"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    real = {name: sizes(place / name, said) for name, said in (("weather", weather), ("radio", radio))}
    for name, found in real.items():
        say(f"{name}: {found['samples']} samples, {found['live']:.2f} bytes each live, {found['at_once']:.2f} at once")
    result = asyncio.run(_asked(place, say, days, rounds))
    samples = sum(found["samples"] for found in real.values())
    mean = sum(found["samples"] * found["live"] for found in real.values()) / samples
    goals = (
        Goal("bytes a sample of real series, told live", mean, BYTES, most=True),
        Goal("seconds for a month by hour over 1 000 series", result["month_by_series_and_hour_s"], MONTH_S, most=True),
        Goal("milliseconds for one series, one day", result["series_day_ms"], DAY_MS, most=True),
    )
    return {"real": real, **result, "goals": [goal.document() for goal in goals]}


# -- real series ------------------------------------------------------------------------------------------------------

Message = tuple[int, Instant, dict[str, float]]
"""Which sensor, the instant in its day, and what it says."""


def weather() -> Iterator[Message]:
    """The hours of the demo's weather, each day as a station of its own."""
    rows = csv.DictReader(series.text_of("weather/hourly.csv.gz").splitlines())
    for row in rows:
        at = instants.parse(row.pop("at"))
        yield at // DAY, at % DAY, {name: float(value) for name, value in row.items() if value}


def radio() -> Iterator[Message]:
    """The messages of the demo's radio sensor, each day as a sensor of its own."""
    for line in series.text_of("uplinks/ems.ndjson.gz").splitlines():
        message = orjson.loads(line)
        at = message["reported_at"] * 1_000
        yield at // DAY, at % DAY, decode(b64decode(message["payload"]))


def sizes(folder: Path, said: Callable[[], Iterator[Message]]) -> dict[str, float]:
    """Samples, and bytes of each in a day's file, told live and at once."""
    found: dict[str, float] = {}
    dice = random.Random(7)
    for name, late in (("live", lambda: dice.randrange(200_000, 3_000_000)), ("at_once", lambda: None)):
        lake = Lake(folder / name)
        spool = lake.spool("real")
        for sensor, of_day, values in said():
            at, wait = FIRST + of_day, late()
            modified = FIRST + 400 * DAY if wait is None else at + wait
            spool.take(_line(f"urn:ngsi-ld:Sensor:{sensor}", key, at, modified, value) for key, value in values.items())
        spool.close()
        made = lake.write("", FIRST // DAY, None, spool)
        assert made is not None
        lake.close()
        found["samples"] = made.rows
        found[name] = made.file.bytes / made.rows
    return found


def _line(entity: str, name: str, at: Instant, modified: Instant, value: float) -> moving.Line:
    doc = {"type": "Property", "value": value, "unitCode": "CEL", "observedAt": at}
    told = orjson.dumps(doc | {"createdAt": FIRST - DAY, "modifiedAt": modified}).decode()
    return entity, KIND, f"https://example.org/terms/{name}", "", at, fold(told, at, history.OBSERVED, modified)


# -- fifty million ----------------------------------------------------------------------------------------------------


async def _asked(folder: Path, say: Callable[[str], None], days: int, rounds: int) -> dict[str, Any]:
    db, lake = connect(folder / "shahar.db"), Lake(folder / LAKE)
    db.lake = lake
    await db.open()
    try:
        begun = time.perf_counter()
        made = make(folder / LAKE, days)
        written_s = time.perf_counter() - begun
        await db.write(lambda tx: _name(tx, made))
        samples, size = sum(one.rows for one in made), sum(one.file.bytes for one in made)
        say(f"{samples} samples, {size / samples:.2f} bytes each, made in {written_s:.0f} s")
        found = {"samples": samples, "bytes_a_sample": size / samples, "made_s": written_s}
        for name, question, scale in _questions(db, min(days, 30)):
            taken = []
            for number in range(rounds + 1):
                begun = time.perf_counter()
                await question(number)
                taken.append((time.perf_counter() - begun) * scale)
            found[name] = median(taken[1:])
            say(f"{name}: {found[name]:.3g} (first {taken[0]:.3g})")
        return found
    finally:
        await db.close()


def make(folder: Path, days: int) -> list[Made]:
    """Write the files; what the store is to be told of each."""
    found = []
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2; SET memory_limit = '512MB'; SELECT setseed(0.5)")
        for day in range(days):
            start = FIRST + day * DAY
            place = folder / f"tenant={NOBODY}" / f"day={instants.text(start)[:10]}" / "part-000001.parquet"
            place.parent.mkdir(parents=True)
            connection.execute(f"COPY (SELECT {COLUMNS} FROM ({_walk(start)}) ORDER BY {ORDER}) TO '{place}' ({FORM})")
            file = File(str(place.relative_to(folder)), place.stat().st_size, checksum(place))
            found.append(Made(file, SERIES * A_DAY, (start, start + DAY), (start, start + DAY)))
    return found


def _walk(start: Instant) -> str:
    """The rows of a day: each series a daily wave, and noise of tenths around it."""
    at = f"{start} + i * {EVERY}"
    document = '{"type":"Property","value":null,"unitCode":null,"observedAt":null,"createdAt":null,"modifiedAt":null}'
    return (
        f"SELECT 'urn:ngsi-ld:Sensor:' || lpad(s::VARCHAR, 4, '0') AS entity, '{KIND}' AS type, '{ATTR}' AS attribute,"
        f" NULL::VARCHAR AS dataset, make_timestamptz({at}) AS observed_at, 'observed' AS kind, 'number' AS class,"
        " round(15 + s / 100 + 8 * sin(i / 22) + random(), 1) AS value, false AS whole, NULL::VARCHAR AS text,"
        f" 'CEL' AS unit, make_timestamptz({at} + 1000000) AS modified_at,"
        f" make_timestamptz({FIRST - DAY}) AS created_at, '{document}' AS document"
        f" FROM range({SERIES}) a(s), range({A_DAY}) b(i)"
    )


def _name(tx: Tx, made: list[Made]) -> None:
    """The entities, and the files as those of their days."""
    tenant = tenants.make(tx, "", FIRST)
    history.name(tx, ATTR)
    for number in range(SERIES):
        doc: dict[str, Any] = {"id": f"urn:ngsi-ld:Sensor:{number:04d}", "type": [KIND]}
        doc |= {"createdAt": FIRST, "modifiedAt": FIRST, "attrs": {}}
        tx.run(
            "INSERT INTO entity(pk, tenant, id, multi, doc) VALUES(:pk, :tenant, :id, 0, :doc)",
            {"pk": number + 1, "tenant": tenant, "id": doc["id"], "doc": orjson.dumps(doc).decode()},
        )
    for day, one in enumerate(made, FIRST // DAY):
        moving.switch(tx, tenant, day, one, moving.begin(tx, tenant, day), "", FIRST)


Question = Callable[[int], Awaitable[Any]]


def _questions(db: Database, days: int) -> list[tuple[str, Question, float]]:
    """Name, question, and by what seconds are multiplied."""
    broker = Broker(db)
    month = Span(FIRST, FIRST + days * DAY)

    async def series_day(number: int) -> None:
        start = FIRST + number % days * DAY
        entity = f"urn:ngsi-ld:Sensor:{number * 37:04d}"
        answer = await temporal.retrieve(broker, "", entity, Asked(Span(start, start + DAY), most=10_000))
        assert len(answer.found[0].series[ATTR]) == A_DAY

    async def series_year(number: int) -> None:
        wanted = Asked(Span(FIRST, FIRST + DAYS * DAY), aggregation=Aggregation(("avg", "min", "max"), Period(0, DAY)))
        answer = await temporal.retrieve(broker, "", f"urn:ngsi-ld:Sensor:{number * 41:04d}", wanted)
        assert answer.found[0].figures

    def over(question: str) -> Question:
        def work(tx: Tx) -> list[Any]:
            part = windows.window(tx, tenants.number(tx, ""), month, Wanted()).sealed(tx, range(1, SERIES + 1))
            assert part is not None
            return part.ask(question.format(rows=part.relation()), {})

        async def ask(_number: int) -> None:
            assert await db.read(work)

        return ask

    hour = f"p.t // {HOUR}"
    means = f"SELECT p.entity, {hour} AS h, avg(p.value) AS mean FROM {{rows}} p GROUP BY p.entity, h"
    return [
        ("series_day_ms", series_day, 1_000),
        ("series_year_by_day_ms", series_year, 1_000),
        ("month_by_hour_s", over(f"SELECT {hour} AS h, avg(p.value) FROM {{rows}} p GROUP BY h"), 1),
        ("month_by_series_and_hour_s", over(f"SELECT count(*), max(mean) FROM ({means})"), 1),
        ("handed_out_as_rows_s", over(means), 1),
    ]
