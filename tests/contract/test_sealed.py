"""The past is the same whether its days are sealed or not: a city that seals and a twin that never does are told the
same and asked the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, example, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from shahar.model import query as q
from shahar.model.change import Change
from shahar.model.evolution import Chronicle, Figure
from shahar.model.temporal import METHODS, Aggregation, Period, Span
from shahar.services import past, temporal
from shahar.services.broker import Broker
from shahar.services.sealing import Sealing
from shahar.services.temporal import Answer, Asked, Wanted
from shahar.store.lake import Lake
from shahar.values.errors import NotFound, ShaharError
from shahar.values.instants import DAY, HOUR
from tests.engines import store_at

pytestmark = pytest.mark.anyio
ROUNDS = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
FIRST = 20_000 * DAY
NOW = FIRST + 30 * DAY
ENTITIES = ("urn:e:1", "urn:e:2")
SERIES = (("urn:a", ""), ("urn:a", "urn:d"), ("urn:b", ""))


@dataclass
class Twins:
    """A city that seals, and one that is told the same and does not."""

    sealing: Sealing
    seals: Broker
    never: Broker

    async def both(self, do: Callable[[Broker], Any]) -> Any:
        """Do the same to both; what comes of it, which is the same."""
        found = []
        for broker in (self.seals, self.never):
            try:
                found.append(await do(broker))
            except ShaharError as problem:
                found.append(type(problem))
        assert found[0] == found[1]
        return found[0]


@asynccontextmanager
async def born(folder: Path) -> AsyncIterator[Twins]:
    """Both, each with a store of its own."""
    with TemporaryDirectory(dir=folder) as place:
        stores = []
        for name in ("seals", "never"):
            (Path(place) / name).mkdir()
            db = store_at(Path(place) / name / "shahar.db")
            db.lake = Lake(Path(place) / name / "lake")
            await db.open()
            stores.append(db)
        assert stores[0].lake is not None
        yield Twins(Sealing(stores[0], stores[0].lake, lambda: NOW, 7), Broker(stores[0]), Broker(stores[1]))
        for db in stores:
            await db.close()


AT = st.integers(0, 3 * 24 * 2).map(lambda half: FIRST + half * HOUR // 2)
VALUES = (
    st.integers(-9, 9)
    | st.integers(-18, 18).map(lambda half: half / 2)
    | st.sampled_from([True, False, "on", "off", "é", [1, 2.5], [], {"x": [1.0]}, 2**60])
)
READING = st.tuples(st.sampled_from(SERIES), AT | st.none(), VALUES)
TELL = st.tuples(st.just("tell"), st.sampled_from(ENTITIES), st.lists(READING, min_size=1, max_size=12))
OBSERVE = st.tuples(st.just("observe"), st.sampled_from(ENTITIES), st.tuples(st.sampled_from(SERIES), AT, VALUES))
SEAL = st.tuples(st.just("seal"))
TOUCH = st.tuples(
    st.sampled_from(["correct", "move", "drop"]), st.sampled_from(ENTITIES), st.integers(0, 40), AT, VALUES
)
END = st.tuples(
    st.sampled_from(["drop_attribute", "drop_every", "end", "forget"]),
    st.sampled_from(ENTITIES),
    st.sampled_from(SERIES),
)
STEPS = st.lists(TOUCH | TOUCH | TOUCH | TELL | OBSERVE | SEAL | END, min_size=2, max_size=8)
STORIES = st.tuples(TELL, TELL, STEPS).map(lambda three: [three[0], three[1], ("seal",), *three[2]])


def instance(dataset: str, at: int | None, value: Any) -> dict[str, Any]:
    """A Property as it is told."""
    more = {"datasetId": dataset} if dataset else {}
    return {"type": "Property", "value": value, "unitCode": "CEL", **more} | ({} if at is None else {"observedAt": at})


async def play(twins: Twins, tenant: str, story: list[Any]) -> None:
    """Do each step to both at the same instants."""
    at = NOW
    for step in story:
        at += 1_000_000
        await _step(twins, tenant, step, at)


async def _step(twins: Twins, tenant: str, step: Any, at: int) -> None:
    kind = step[0]
    if kind == "seal":
        assert not (await twins.sealing.look(NOW)).failed
    elif kind == "tell":
        attrs: dict[str, list[dict[str, Any]]] = {}
        told = {(series, when): value for series, when, value in step[2]}
        for ((attr, dataset), when), value in sorted(
            told.items(), key=lambda one: (one[0][0], one[0][1] is None, one[0][1] or 0)
        ):
            attrs.setdefault(attr, []).append(instance(dataset, when, value))
        doc = {"id": step[1], "type": ["urn:T"], "attrs": attrs}
        await twins.both(lambda broker: past.tell(broker, tenant, Chronicle(doc), at, create=True))
    elif kind == "observe":
        (attr, dataset), when, value = step[2]
        fragment = {"id": step[1], "type": ["urn:T"], "attrs": {attr: [instance(dataset, when, value)]}}
        await twins.both(lambda broker: outcomes(broker, tenant, Change("observe", step[1], fragment), at))
    elif kind in {"correct", "move", "drop"}:
        await _touch(twins, tenant, step, at)
    elif kind == "end":
        await twins.both(lambda broker: outcomes(broker, tenant, Change("delete", step[1]), at))
    elif kind == "forget":
        await twins.both(lambda broker: past.drop(broker, tenant, step[1], at))
    else:
        attr, dataset = step[2]
        every = kind == "drop_every"
        await twins.both(lambda broker: past.drop_attribute(broker, tenant, step[1], attr, dataset, at, every=every))


async def outcomes(broker: Broker, tenant: str, change: Change, at: int) -> list[Any]:
    """What a change comes to, as far as twins can be compared."""
    return [type(one).__name__ for one in await broker.apply(tenant, [change], at)]


async def _touch(twins: Twins, tenant: str, step: Any, at: int) -> None:
    """Correct or take out one of the instances that there are."""
    kind, entity, number, when, value = step
    whole = Asked(Span(by=""), most=1_000)
    try:
        answer = await temporal.retrieve(twins.never, tenant, entity, whole)
    except NotFound:
        return
    listed = [(iri, one) for iri, each in answer.found[0].series.items() for one in each if iri != "scope"]
    if not listed:
        return
    iri, one = listed[number % len(listed)]
    if kind == "drop":
        await twins.both(lambda broker: past.drop_instance(broker, tenant, entity, iri, one["instanceId"], at))
        return
    new = {"type": "Property", "value": value} | ({"observedAt": when} if kind == "move" else {})
    await twins.both(lambda broker: past.correct(broker, tenant, entity, iri, one["instanceId"], new, at))


ENDS = st.none() | st.none() | AT | st.just(NOW + 5_000_000)
SPANS = st.builds(
    Span,
    ENDS,
    ENDS,
    by=st.sampled_from(["", "observedAt", "observedAt", "modifiedAt", "createdAt", "deletedAt"]),
    last=st.none() | st.integers(1, 5),
)
WANTED = st.builds(
    Wanted,
    st.sampled_from([frozenset(), frozenset(), frozenset({"urn:a"}), frozenset({"urn:b", "urn:c"})]),
    st.sampled_from([frozenset(), frozenset(), frozenset({"urn:b"})]),
    st.sampled_from([None, None, frozenset({"urn:d"}), frozenset({"@none", "urn:x"})]),
)
AGGREGATIONS = st.builds(
    Aggregation,
    st.lists(st.sampled_from(METHODS), min_size=1, unique=True).map(tuple),
    st.sampled_from([Period(), Period(0, 5 * HOUR), Period(0, DAY), Period(1)]),
)
QUERIES = st.builds(
    q.Query,
    q=st.none()
    | st.none()
    | st.builds(
        q.Compare,
        st.just(q.Path("urn:a")),
        st.sampled_from(["==", ">", "<=", "!="]),
        st.sampled_from([3, 1.5, "on", True]),
    ),
)


def readings(attr: str, dataset: str, hours: range) -> list[Any]:
    """A value each hour."""
    return [((attr, dataset), FIRST + hour * HOUR, hour / 2) for hour in hours]


SURE: list[Any] = [
    ("tell", "urn:e:1", readings("urn:a", "", range(0, 60, 6)) + readings("urn:b", "", range(0, 60, 9))),
    ("tell", "urn:e:2", readings("urn:a", "", range(0, 60, 7)) + readings("urn:a", "urn:d", range(0, 60, 20))),
    ("seal",),
    ("correct", "urn:e:1", 2, FIRST, 5.5),
    ("move", "urn:e:1", 4, FIRST + 7 * HOUR, "on"),
    ("move", "urn:e:1", 5, FIRST + 12 * HOUR, 8),
    ("drop", "urn:e:1", 7, FIRST, 0),
    ("tell", "urn:e:2", readings("urn:a", "", range(0, 60, 3))),
    ("drop_attribute", "urn:e:2", ("urn:a", "urn:d")),
]
"""Each kind of change of a sealed day."""


@ROUNDS
@example(story=SURE, span=Span(by=""), wanted=Wanted(), query=q.Query(), most=4)
@example(story=SURE, span=Span(by="modifiedAt"), wanted=Wanted(), query=q.Query(), most=4)
@example(story=[*SURE, ("seal",)], span=Span(last=3), wanted=Wanted(), query=q.Query(), most=2)
@example(
    story=[*SURE, ("forget", "urn:e:1"), SURE[0], ("seal",)], span=Span(), wanted=Wanted(), query=q.Query(), most=4
)
@for_all(STORIES, SPANS, WANTED, QUERIES, st.integers(1, 9))
async def test_a_sealed_past_is_told_page_by_page_as_one_that_is_not(
    tmp_path: Path, story: list[Any], span: Span, wanted: Wanted, query: q.Query, most: int
) -> None:
    async with born(tmp_path) as twins:
        await play(twins, "", story)
        whole = Asked(Span(by=""), most=1_000)
        await twins.both(lambda broker: temporal.find(broker, "", q.Query(), whole, limit=10))
        for _ in range(60):
            asked = Asked(span, wanted, wanted, most=most)

            async def ask(broker: Broker, asked: Asked = asked) -> Answer:
                return await temporal.find(broker, "", query, asked, limit=10, count=True)

            answer = await twins.both(ask)
            if not isinstance(answer, Answer) or answer.cut is None:
                break
            span = replace(span, end=answer.cut) if span.last else replace(span, start=answer.cut)


@ROUNDS
@example(story=SURE, span=Span(FIRST), wanted=Wanted(), aggregation=Aggregation(METHODS, Period(0, 5 * HOUR)))
@for_all(STORIES, SPANS, WANTED, AGGREGATIONS)
async def test_figures_of_a_sealed_past_are_those_of_one_that_is_not(
    tmp_path: Path, story: list[Any], span: Span, wanted: Wanted, aggregation: Aggregation
) -> None:
    async with born(tmp_path) as twins:
        await play(twins, "", story)
        asked = Asked(span, wanted, None, aggregation)

        async def ask(broker: Broker) -> Any:
            answer = await temporal.find(broker, "", q.Query(), asked, limit=10)
            return [[_told(figure) for figure in one.figures] for one in answer.found]

        await twins.both(ask)


def _told(figure: Figure) -> tuple[Any, ...]:
    values = {name: round(value, 9) if isinstance(value, float) else value for name, value in figure.values.items()}
    return figure.attr, figure.dataset, figure.type, figure.start, figure.end, values


async def test_a_stranger_reads_the_lake_as_the_page_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "history.md").read_text()
    question = page.partition("```sql")[2].partition("```")[0]
    month, attr = date.fromisoformat("2026-11-01"), "https://example.org/pm25"
    start = (month.toordinal() - date(1970, 1, 1).toordinal()) * DAY
    async with born(tmp_path) as twins:
        for rounds in range(2):
            listed = [instance("", start + half * HOUR // 2, rounds + half % 2) for half in range(4)]
            doc = {"id": "urn:e:1", "type": ["urn:T"], "attrs": {attr: listed}}
            await past.tell(twins.seals, "", Chronicle(doc), start + 20 * DAY, create=True)
            await twins.sealing.look(start + 30 * DAY)
        lake = twins.seals.db.lake
        assert lake is not None
        assert len(lake.names()) == 2, "the old file of the day is still there"
        asked = question.replace("data/lake", str(lake.folder))
        with duckdb.connect() as connection:
            told = connection.execute(f"SELECT entity, epoch_us(hour), mean FROM ({asked.strip().removesuffix(';')})")
            assert told.fetchall() == [("urn:e:1", start, 1.5), ("urn:e:1", start + HOUR, 1.5)]
