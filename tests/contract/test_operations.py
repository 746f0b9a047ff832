"""What the operations centre is told: indicators over their windows, what counts, and why one is silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from shahar import plugins
from shahar.model.change import Change
from shahar.model.city import BORROWED, SIMULATED, City, Pace
from shahar.model.entity import Doc
from shahar.model.system import Catalogue, Indicator
from shahar.services.broker import Broker
from shahar.services.runner import Runner
from shahar.values.instants import DAY, HOUR, SECOND, Instant, parse
from shahar.web import picture as picture_room
from shahar.web.indicators import Indicators
from shahar.web.picture import Picture
from tests.engines import store_at

pytestmark = pytest.mark.anyio

NOW = parse("2026-11-22T12:00:00Z")
STATION = "urn:ngsi-ld:AirQualityObserved:"
WEATHER = "urn:ngsi-ld:WeatherObserved:model"
PLACE = {"place": "Grenoble, France", "licence": "ODbL 1.0", "source": "CampusIoT"}
CITY = City(name={"uz": "Toshkent"}, timezone="Asia/Tashkent")
CATALOGUE = plugins.discover().catalogue


@pytest.fixture
async def ops(tmp_path: Path) -> AsyncIterator[Picture]:
    """The operations centre of an empty city."""
    db = store_at(tmp_path / "shahar.db")
    await db.open()
    yield Picture(CITY, CATALOGUE, Broker(db), Runner(db, lambda: NOW), lambda: Pace(NOW, NOW))
    await db.close()


def of(ops: Picture, city: City = CITY, catalogue: Catalogue = CATALOGUE) -> Picture:
    """The same store seen with another city or other systems."""
    return Picture(city, catalogue, ops.broker, ops.runner, ops.pace)


async def tell(ops: Picture, entity: str, values: dict[Instant, float], name: str = "pm25", **more: Any) -> None:
    """Readings of one attribute of one entity; `more`: its standing attributes, IRI -> instance."""
    type_ = entity.split(":")[2]
    model = CATALOGUE.model(type_)
    attrs = {iri: [instance] for iri, instance in more.get("standing", {}).items()}
    await ops.broker.change("", Change("upsert", entity, {"id": entity, "type": [model.iri], "attrs": attrs}), NOW)
    for at, value in values.items():
        reading = {"type": "Property", "value": value, "observedAt": at}
        fragment = {"id": entity, "type": [model.iri], "attrs": {model.attribute(name).iri: [reading]}}
        await ops.broker.change("", Change("observe", entity, fragment), NOW)


async def tile(ops: Picture, key: str, at: Instant = NOW) -> dict[str, Any]:
    """One tile."""
    return next(one for one in await ops.tiles(at) if one["key"] == key)


async def test_an_entity_counts_with_the_mean_of_the_window_that_ends_at_its_latest_value(ops: Picture) -> None:
    last = NOW - 3 * HOUR
    await tell(ops, STATION + "1", {last - 30 * HOUR: 1000.0, last - 12 * HOUR: 10.0, last: 40.0})
    await tell(ops, STATION + "2", {last - HOUR: 60.0, last: 70.0})
    assert (await tile(ops, "air.pm25"))["value"] == 45.0  # the median of 25 and 65
    assert (await tile(ops, "air.above"))["value"] == 100.0


async def test_a_daily_series_counts_with_its_latest_day_alone(ops: Picture) -> None:
    await tell(ops, STATION + "1", {NOW - DAY - HOUR: 80.0, NOW - HOUR: 20.0})
    told = await tile(ops, "air.pm25")
    assert (told["value"], told["step_label"]["uz"], told["spark_hours"]) == (20.0, "Oʻrtacha", 720)
    assert [value for _, value in told["spark"]] == [80.0, 20.0]


async def test_without_a_window_the_latest_value_alone_counts(ops: Picture) -> None:
    await tell(ops, WEATHER, {NOW - 2 * HOUR: 4.0, NOW - HOUR: 8.0}, name="temperature")
    assert (await tile(ops, "air.temperature"))["value"] == 8.0


async def test_every_indicator_reads_the_window_that_it_declares(ops: Picture) -> None:
    def widened(one: Indicator) -> Indicator:
        return replace(one, over_s=3 * 3600) if one.key == "temperature" else one

    systems = tuple(replace(one, indicators=tuple(map(widened, one.indicators))) for one in CATALOGUE.systems)
    await tell(ops, WEATHER, {NOW - 5 * HOUR: -50.0, NOW - 2 * HOUR: 4.0, NOW - HOUR: 8.0}, name="temperature")
    told = of(ops, catalogue=replace(CATALOGUE, systems=systems))
    assert (await tile(told, "air.temperature"))["value"] == 6.0


async def test_the_public_page_and_the_tile_say_the_same(ops: Picture) -> None:
    await tell(ops, STATION + "1", {NOW - 12 * HOUR: 10.0, NOW - HOUR: 30.0})
    await tell(ops, STATION + "2", {NOW - 12 * HOUR: 60.0, NOW - HOUR: 80.0})
    air = await ops.air_now()
    assert air is not None
    assert air.value == (await tile(ops, "air.pm25"))["value"] == 45.0
    assert [value for _, value, _, _ in air.stations] == [70.0, 20.0]


async def test_what_is_too_old_is_stale_and_says_since_when(ops: Picture) -> None:
    await tell(ops, STATION + "1", {NOW - 3 * DAY: 20.0})
    told = await tile(ops, "air.pm25")
    assert (told["value"], told["state"], told["at"], told["count"], told["of"]) == (
        None,
        "stale",
        "2026-11-19T12:00:00Z",
        0,
        1,
    )


async def test_what_was_measured_elsewhere_counts_nowhere_and_its_place_is_named(ops: Picture) -> None:
    standing = {BORROWED: {"type": "JsonProperty", "json": PLACE}}
    await tell(ops, STATION + "1", {NOW - HOUR: 20.0}, standing=standing)
    told = await tile(ops, "air.pm25")
    assert (told["value"], told["of"], told["elsewhere"]) == (None, 0, ["Grenoble, France"])


async def test_what_is_made_up_counts_only_where_the_whole_city_is(ops: Picture) -> None:
    standing = {SIMULATED: {"type": "Property", "value": True}}
    await tell(ops, STATION + "1", {NOW - HOUR: 20.0}, standing=standing)
    assert (await tile(ops, "air.pm25"))["value"] is None
    told = await tile(of(ops, replace(CITY, settings={"simulated": True})), "air.pm25")
    assert (told["value"], told["simulated"]) == (20.0, True)


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("2026-11-22T12:00:00Z", True),
        ("2026-12-14T18:59:59Z", True),  # still the 14th in the city
        ("2026-12-14T19:00:00Z", False),
        ("2027-02-01T00:00:00Z", False),
        ("2027-06-11T18:59:59Z", False),
        ("2027-06-11T19:00:00Z", True),
    ],
)
async def test_a_season_without_readings_is_named_by_the_citys_calendar(ops: Picture, at: str, told: bool) -> None:
    note = {"uz": "yilning bu vaqti uchun maʼlumot yoʻq"}
    season = {"from": "12-15", "to": "06-11", "note": note}
    await tell(ops, WEATHER, {})
    here = of(ops, replace(CITY, settings={"seasons": {WEATHER: season}}))
    assert (await tile(here, "air.temperature", parse(at)))["note"] == (note if told else None)
    shown = here.object((await here.docs())[0], parse(at))
    assert shown is not None
    assert (shown["state"], shown["note"]) == ("nodata", note if told else None)


async def test_an_object_speaks_the_words_of_its_systems_scale(ops: Picture) -> None:
    await tell(ops, STATION + "1", {NOW - HOUR: 60.0})
    shown = ops.object((await ops.docs())[0], NOW)
    assert shown is not None
    assert (shown["state"], shown["step_label"]["uz"], shown["step_label"]["en"]) == ("major", "Zararli", "Harmful")
    later = ops.object((await ops.docs())[0], NOW + 3 * DAY)
    assert later is not None
    assert (later["state"], later["step_label"]) == ("stale", None)


@pytest.mark.parametrize(
    ("every", "count", "hours"),
    [(600 * SECOND, 100, 24), (6 * HOUR, 100, 168), (DAY, 60, 720), (DAY, 2, 720), (HOUR, 0, 24)],
)
async def test_a_chart_without_a_wish_is_as_short_as_makes_a_line(
    ops: Picture, every: int, count: int, hours: int
) -> None:
    await tell(ops, STATION + "1", {NOW - number * every: 20.0 for number in range(count)})
    told = await ops.chart(STATION + "1", "pm25", None, NOW)
    assert (told["hours"], told["limit"], told["limit_kind"]) == (hours, 15, "max")
    asked = await ops.chart(STATION + "1", "pm25", 12, NOW)
    assert asked["hours"] == 12


async def test_an_object_that_is_gone_is_told_as_gone(ops: Picture) -> None:
    await tell(ops, STATION + "1", {NOW: 20.0})
    await tell(ops, STATION + "2", {NOW: 20.0})
    await ops.broker.change("", Change("delete", STATION + "2"), NOW)
    told = await ops.some({STATION + "1", STATION + "2"}, NOW)
    assert [one["id"] for one in told["objects"]] == [STATION + "1"]
    assert told["gone"] == [STATION + "2"]


async def test_a_chart_says_on_which_side_of_its_limit_it_is_good(ops: Picture) -> None:
    room = "urn:ngsi-ld:IndoorEnvironmentObserved:1"
    await tell(ops, room, {NOW: 17.0}, name="temperature")
    told = await ops.chart(room, "temperature", None, NOW)
    assert (told["limit"], told["limit_kind"]) == (18, "min")
    assert (await ops.chart(room, "relativeHumidity", None, NOW))["limit_kind"] is None


@dataclass
class Sitting:
    """Streams of one picture, read beat by beat; `wall` is the real clock, set by the test."""

    picture: Picture
    wall: Instant
    made: int = 0

    async def next_of(self, stream: AsyncIterator[bytes], name: str) -> Any:
        """The document of the next event of a name."""
        async for event in stream:
            head, _, rest = event.partition(b"\n")
            if head == b"event: " + name.encode():
                return orjson.loads(rest.removeprefix(b"data: "))
        raise AssertionError(f"the stream ended without {name}")


@pytest.fixture
async def sitting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sitting]:
    """A running city whose streams beat fast, and count how often tiles are computed."""
    monkeypatch.setattr(picture_room, "BATCH_S", 0.01)
    db = store_at(tmp_path / "shahar.db")
    await db.open()
    runner = Runner(db, lambda: NOW)
    await runner.start()
    made = Picture(CITY, CATALOGUE, Broker(db), runner, lambda: Pace(NOW, seats.wall))
    seats = Sitting(made, NOW)
    tiles = Indicators.tiles

    async def counted(self: Indicators, docs: Sequence[Doc], at: Instant) -> list[dict[str, Any]]:
        seats.made += 1
        return await tiles(self, docs, at)

    monkeypatch.setattr(Indicators, "tiles", counted)
    yield seats
    made.close()
    await runner.stop()
    await db.close()


def pm25(told: dict[str, Any]) -> float | None:
    """The value of one tile among those of an event."""
    value: float | None = next(one["value"] for one in told["tiles"] if one["key"] == "air.pm25")
    return value


async def test_open_streams_share_the_tiles(sitting: Sitting) -> None:
    streams = [sitting.picture.events() for _ in range(5)]
    for stream in streams:
        await sitting.next_of(stream, "clock")
    await tell(sitting.picture, STATION + "1", {NOW: 20.0})
    told = await asyncio.gather(*(sitting.next_of(stream, "tiles") for stream in streams))
    assert sitting.made == 1
    assert told == [told[0]] * 5


async def test_a_change_after_the_tiles_of_a_second_is_told_in_the_next(sitting: Sitting) -> None:
    stream, other = sitting.picture.events(), sitting.picture.events()
    for one in (stream, other):
        await sitting.next_of(one, "clock")
    await tell(sitting.picture, STATION + "1", {NOW - HOUR: 20.0})
    while pm25(await sitting.next_of(stream, "tiles")) != 20.0:
        sitting.wall += SECOND
    made = sitting.made
    await tell(sitting.picture, STATION + "1", {NOW: 40.0})
    changed = await sitting.next_of(stream, "objects")
    assert [one["id"] for one in changed["objects"]] == [STATION + "1"]
    for _ in range(5):
        await sitting.next_of(stream, "clock")
    assert sitting.made == made  # the second is not over
    sitting.wall += SECOND
    assert pm25(await sitting.next_of(stream, "tiles")) == 30.0
    while pm25(await sitting.next_of(other, "tiles")) != 30.0:
        pass
    assert sitting.made == made + 1
