"""The city as the operations centre sees it: objects with their state, indicators, cards, charts, the live stream of
changes.

For: /ops and the summary on /. Everything is read through the broker and the systems' declarations; nothing is kept
that a restart loses.
Promises: a value goes out with unit, instant, age and source; what was measured elsewhere or made up says so in every
answer and counts in no indicator of the city (made-up values count where the whole city is made up); what is older than
its freshness is stale, never repeated as if new; an object that is gone is told as gone.
Does not: decide what is abnormal beyond the limits and scales that systems declare (alarms are an issue of their own).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from shahar.model import query as q
from shahar.model.access import DEFAULT_TENANT, Act
from shahar.model.city import BORROWED, NAME, ORIGINAL, SIMULATED, SOURCE, City, Pace
from shahar.model.entity import Doc, Instance
from shahar.model.reading import summarise
from shahar.model.system import LANGUAGES, Attribute, Card, Catalogue, Indicator, Model, System, holds, step_of
from shahar.services.broker import Broker
from shahar.services.runner import Entry, Lost, Runner
from shahar.values import instants, units
from shahar.values.errors import Invalid, NotFound, Unavailable
from shahar.values.instants import DAY, HOUR, SECOND, Instant
from shahar.web.pages.view import AirNow

LOCATION: Final = "https://uri.etsi.org/ngsi-ld/location"
MODEL_NAME: Final = "https://smartdatamodels.org/name"
MODEL_SOURCE: Final = "https://smartdatamodels.org/source"
OBJECTS_MAX: Final = 5_000
SPARKED_MAX: Final = 200
POINTS_MAX: Final = 5_000
WINDOW_POINTS_MAX: Final = 100_000
"""Of one entity within an indicator's window: more than one a second for a day."""
CHART_HOURS_MAX: Final = 24 * 31
CHART_PERIODS: Final = (24, 7 * 24, 30 * 24)
CHART_ENOUGH: Final = 10
"""Values that make a line worth drawing: without a wish a chart is as short as it can be with so many."""
BATCH_S: Final = 1.0
_SILENT: Final = frozenset({"stale", "nodata"})
_BY_STEP: Final = ("normal", "normal", "minor", "major", "critical")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is known of an entity type: its system, model, card, and the indicator that judges the value it shows."""

    system: System
    model: Model
    card: Card
    indicator: Indicator | None


@dataclass(frozen=True, slots=True)
class _Counted:
    """What an entity counts with in an indicator: the instant of its latest value, and the mean of the window that ends
    there.
    """

    doc: Doc
    at: Instant
    value: float


Point = tuple[Instant, float]


@dataclass(slots=True)
class Operations:
    """The live picture of one city's default tenant. `pace` reads the city's clock."""

    city: City
    catalogue: Catalogue
    broker: Broker
    runner: Runner
    pace: Callable[[], Pace]
    _ending: bool = False
    _kinds: dict[str, _Kind] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for system in self.catalogue.systems:
            cards = {card.type: card for card in self.catalogue.panels[system.key].cards}
            for model in system.models:
                card = cards.get(model.type, Card(type=model.type, shows=tuple(one.name for one in model.attributes)))
                self._kinds[model.iri] = _Kind(system, model, card, _judge(system, model, card))

    # -- objects -----------------------------------------------------------------------------------------------------

    async def docs(self) -> list[Doc]:
        """The entities of every type that a system declares."""
        if not self._kinds:
            return []
        kinds = tuple(q.TypeIs(iri) for iri in self._kinds)
        query = q.Query(types=kinds[0] if len(kinds) == 1 else q.Or(kinds))
        try:
            page = await self.broker.find(DEFAULT_TENANT, query, limit=OBJECTS_MAX)
        except NotFound:
            return []
        return page.docs

    def kind(self, doc: Doc) -> _Kind | None:
        """What is known of an entity's type, by the first that a system declares."""
        return next((self._kinds[iri] for iri in doc["type"] if iri in self._kinds), None)

    def object(self, doc: Doc, at: Instant) -> dict[str, Any] | None:
        """One object for map and list; None when no system knows its type."""
        kind = self.kind(doc)
        if kind is None:
            return None
        shown = self._shown(doc, kind)
        place = _first(doc, LOCATION)
        lon, lat = place["value"]["coordinates"][:2] if place and place["value"]["type"] == "Point" else (None, None)
        value, observed = (shown[1].get("value"), shown[1].get("observedAt")) if shown else (None, None)
        attribute = shown[0] if shown else None
        state = self._state(kind, attribute, value, observed, at)
        return {
            "id": doc["id"],
            "type": kind.model.type,
            "system": kind.system.key,
            "name": _name(doc),
            "lon": lon,
            "lat": lat,
            "state": state,
            "step_label": self._step_label(kind, attribute, value, state),
            "value": _number(value),
            "unit": _symbol(attribute),
            "attribute": attribute.name if attribute else None,
            "label": self._words(kind.system, attribute.title) if attribute else {},
            "at": instants.text(observed) if observed else None,
            "age_s": (at - observed) // SECOND if observed else None,
            "fresh_s": _fresh_s(kind.indicator),
            "note": None if observed else self._off_season(doc["id"], at),
            "borrowed": _member(doc, BORROWED, "json"),
            "simulated": bool(_member(doc, SIMULATED, "value")),
            "source": _source(doc),
        }

    def _shown(self, doc: Doc, kind: _Kind) -> tuple[Attribute, Instance] | None:
        """The attribute whose value stands for the object: the judged one, else the first of the card that it has."""
        names = ([kind.indicator.attribute] if kind.indicator else []) + [kind.card.chart or "", *kind.card.shows]
        for name in names:
            attribute = next((one for one in kind.model.attributes if one.name == name and one.unit), None)
            instance = _first(doc, attribute.iri) if attribute else None
            if attribute and instance:
                return attribute, instance
        return None

    def _state(
        self, kind: _Kind, attribute: Attribute | None, value: Any, observed: Instant | None, at: Instant
    ) -> str:
        if attribute is None or observed is None:
            return "nodata"
        if at - observed > _fresh_s(kind.indicator) * SECOND:
            return "stale"
        indicator, number = _judging(kind, attribute), _number(value)
        return "normal" if indicator is None or number is None else state_of(indicator, number)

    def _step_label(self, kind: _Kind, attribute: Attribute | None, value: Any, state: str) -> dict[str, str] | None:
        """The word of the system's own scale for a fresh value; None where it has no scale."""
        indicator, number = _judging(kind, attribute), _number(value)
        if indicator is None or number is None or state in _SILENT:
            return None
        return self._step_word(kind.system, indicator, number)

    def _step_word(self, system: System, indicator: Indicator, value: float) -> dict[str, str] | None:
        step = step_of(indicator, value)
        return None if step is None else self._words(system, indicator.steps[step].word)

    def _off_season(self, entity_id: str, at: Instant) -> Mapping[str, str] | None:
        """Why an object says nothing on this day of the year, when the city's settings tell it."""
        season = self.city.settings.get("seasons", {}).get(entity_id)
        if season is None:
            return None
        day = datetime.fromtimestamp(at // SECOND, ZoneInfo(self.city.timezone)).strftime("%m-%d")
        first, last = season["from"], season["to"]
        within = first <= day <= last if first <= last else day >= first or day <= last
        note: Mapping[str, str] = season["note"]
        return None if within else note

    def _words(self, system: System, key: str) -> dict[str, str]:
        return {language: self.catalogue.word(system.key, language, key) for language in LANGUAGES} if key else {}

    async def card(self, entity_id: str, at: Instant) -> dict[str, Any]:
        """One object with all the values of its card."""
        doc = await self.broker.get(DEFAULT_TENANT, entity_id)
        shown = self.object(doc, at)
        kind = self.kind(doc)
        if shown is None or kind is None:
            raise NotFound(f"{entity_id} is no object of a system", field="id")
        values = []
        for name in kind.card.shows:
            attribute = next((one for one in kind.model.attributes if one.name == name), None)
            instance = _first(doc, attribute.iri) if attribute else None
            if attribute and instance and "value" in instance:
                values.append(self._value(kind, attribute, instance, doc, at))
        return shown | {"values": values, "about": self._words(kind.system, kind.model.title)}

    def _value(self, kind: _Kind, attribute: Attribute, instance: Instance, doc: Doc, at: Instant) -> dict[str, Any]:
        observed = instance.get("observedAt")
        original = instance.get("attrs", {}).get(ORIGINAL)
        state = self._state(kind, attribute, instance["value"], observed, at)
        return {
            "attribute": attribute.name,
            "label": self._words(kind.system, attribute.title),
            "value": instance["value"],
            "unit": _symbol(attribute),
            "at": instants.text(observed) if observed else None,
            "age_s": (at - observed) // SECOND if observed else None,
            "source": _source(doc),
            "original_at": original[0]["value"] if original else None,
            "fresh_s": _fresh_s(kind.indicator),
            "state": state,
            "step_label": self._step_label(kind, attribute, instance["value"], state),
            "chart": attribute.unit is not None and observed is not None,
        }

    async def chart(self, entity_id: str, name: str, hours: int | None, at: Instant) -> dict[str, Any]:
        """The values of one attribute over the last `hours`; None: over the shortest period that makes a line."""
        doc = await self.broker.get(DEFAULT_TENANT, entity_id)
        kind = self.kind(doc)
        if kind is None:
            raise NotFound(f"{entity_id} is no object of a system", field="id")
        attribute = kind.model.attribute(name)
        hours, points = await self._line(entity_id, attribute, hours, at)
        judged = _judging(kind, attribute)
        if judged is not None and judged.when is not None:
            judged = None
        return {
            "points": [[moment // 1000, value] for moment, value in points],
            "unit": _symbol(attribute),
            "hours": hours,
            "from": instants.text(at - hours * HOUR),
            "to": instants.text(at),
            "limit": judged.limit if judged else None,
            "limit_kind": _limit_kind(judged),
            "limit_label": self._words(kind.system, judged.limit_word) if judged and judged.limit_word else None,
        }

    async def _line(
        self, entity_id: str, attribute: Attribute, hours: int | None, at: Instant
    ) -> tuple[int, list[Point]]:
        """How many hours are drawn, and the points in them."""
        periods = CHART_PERIODS if hours is None else (hours,)
        for period in periods:
            points = await self._points(entity_id, attribute, at - period * HOUR, at, POINTS_MAX)
            if len(points) >= CHART_ENOUGH or (period == periods[-1] and points):
                return period, points
        return periods[0], []

    async def _points(
        self, entity_id: str, attribute: Attribute, start: Instant, last: Instant, most: int
    ) -> list[Point]:
        """The numbers of one attribute from `start` up to and with `last`, oldest first."""
        points = await self.broker.points(DEFAULT_TENANT, entity_id, attribute.iri, start, last + 1, most)
        return [(moment, number) for moment, value in points if (number := _number(value)) is not None]

    # -- indicators --------------------------------------------------------------------------------------------------

    async def tiles(self, at: Instant) -> list[dict[str, Any]]:
        """One tile for each indicator that a system puts on its panel."""
        docs = await self.docs()
        tiles = []
        for system in self.catalogue.systems:
            for key in self.catalogue.panels[system.key].tiles:
                indicator = next(one for one in system.indicators if one.key == key)
                tiles.append(await self._tile(system, indicator, docs, at))
        return tiles

    async def _tile(self, system: System, indicator: Indicator, docs: list[Doc], at: Instant) -> dict[str, Any]:
        model = system.model(indicator.type)
        attribute = model.attribute(indicator.attribute)
        ours = [doc for doc in docs if model.iri in doc["type"]]
        mine = [doc for doc in ours if self._counts(doc)]
        fresh = await self._fresh(indicator, attribute, mine, at)
        value = summarise(indicator, [one.value for one in fresh]) if fresh else None
        newest = max((one.at for one in fresh), default=None) or max(
            (_observed(doc, attribute) for doc in mine), default=0
        )
        return {
            "key": f"{system.key}.{indicator.key}",
            "system": system.key,
            "title": self._words(system, indicator.title),
            "value": value,
            "unit": units.symbol(indicator.unit),
            "at": instants.text(newest) if newest else None,
            "age_s": (at - newest) // SECOND if newest else None,
            "fresh_s": indicator.fresh_s,
            "limit": indicator.limit,
            "limit_kind": _limit_kind(indicator),
            "state": state_of(indicator, value) if value is not None else "stale" if newest else "nodata",
            "step_label": self._step_word(system, indicator, value) if value is not None else None,
            "spark": await self._spark(indicator, attribute, mine, at),
            "spark_hours": _spark_width(indicator)[1] * _spark_width(indicator)[0] // HOUR,
            "count": len(fresh),
            "of": len(mine),
            "note": self._silence(mine, at) if value is None else None,
            "elsewhere": _places(ours, attribute),
            "simulated": bool(fresh) and bool(self.city.settings.get("simulated")),
        }

    def _counts(self, doc: Doc) -> bool:
        """Whether an object counts in the city's indicators: measured here, or made up where the whole city is."""
        made_up = _member(doc, SIMULATED, "value") and not self.city.settings.get("simulated")
        return _member(doc, BORROWED, "json") is None and not made_up

    def _silence(self, docs: list[Doc], at: Instant) -> Mapping[str, str] | None:
        """Why none of these objects says anything, when the reason of each is known."""
        notes = [self._off_season(doc["id"], at) for doc in docs]
        return notes[0] if notes and all(notes) else None

    async def _fresh(self, indicator: Indicator, attribute: Attribute, docs: list[Doc], at: Instant) -> list[_Counted]:
        """What each entity counts with, of those whose latest value is fresh: see model/system.Indicator."""
        found = []
        for doc in docs:
            instance, observed = _first(doc, attribute.iri), _observed(doc, attribute)
            number = _number(instance["value"]) if instance and observed else None
            if number is not None and at - observed <= indicator.fresh_s * SECOND:
                found.append(_Counted(doc, observed, await self._mean(indicator, attribute, doc, observed, number)))
        return found

    async def _mean(self, indicator: Indicator, attribute: Attribute, doc: Doc, last: Instant, value: float) -> float:
        """The mean of the window that ends at the latest value; that value alone without a window."""
        if not indicator.over_s:
            return value
        start = last - indicator.over_s * SECOND + 1  # a daily series has one value in a window of a day, not two
        points = await self._points(doc["id"], attribute, start, last, WINDOW_POINTS_MAX)
        return fmean(number for _, number in points) if points else value

    async def _spark(
        self, indicator: Indicator, attribute: Attribute, docs: list[Doc], at: Instant
    ) -> list[list[float]]:
        """The indicator's past: a day by the hour, or thirty days by the day for what is a mean over a day."""
        width, count = _spark_width(indicator)
        start = at - count * width
        buckets: dict[int, list[float]] = {}
        for doc in docs[:SPARKED_MAX]:
            for bucket, value in (await self._means(doc["id"], attribute, start, at, width)).items():
                buckets.setdefault(bucket, []).append(value)
        spark = []
        for bucket in sorted(buckets):
            told = summarise(indicator, buckets[bucket])
            if told is not None:
                spark.append([(start + bucket * width + width // 2) / 1000, told])
        return spark

    async def _means(
        self, entity_id: str, attribute: Attribute, start: Instant, at: Instant, width: int
    ) -> dict[int, float]:
        """Number of a stretch of `width` since `start` -> the mean of the values in it."""
        found: dict[int, list[float]] = {}
        for moment, number in await self._points(entity_id, attribute, start, at, POINTS_MAX):
            found.setdefault((moment - start) // width, []).append(number)
        return {bucket: fmean(values) for bucket, values in found.items()}

    async def air_now(self) -> AirNow | None:
        """What the public page says of the air: the first indicator that has a scale of words; None without one."""
        at = self.pace().at
        for system in self.catalogue.systems:
            indicator = next((one for one in system.indicators if one.steps), None)
            if indicator is not None:
                return await self._air(system, indicator, at)
        return None

    async def _air(self, system: System, indicator: Indicator, at: Instant) -> AirNow | None:
        docs = await self.docs()
        tile = await self._tile(system, indicator, docs, at)
        if tile["value"] is None:
            return None
        model = system.model(indicator.type)
        mine = [doc for doc in docs if model.iri in doc["type"] and self._counts(doc)]
        fresh = await self._fresh(indicator, model.attribute(indicator.attribute), mine, at)
        stations = [(_name(one.doc), one.value, one.at, step_of(indicator, one.value) or 0) for one in fresh]
        return AirNow(
            system=system,
            indicator=indicator,
            value=tile["value"],
            unit=tile["unit"],
            step=step_of(indicator, tile["value"]) or 0,
            at=instants.parse(tile["at"]),
            age_s=tile["age_s"],
            count=tile["count"],
            of=tile["of"],
            limit=indicator.limit,
            spark=[(int(moment), value) for moment, value in tile["spark"]],
            source=next((text for doc in mine if (text := _source(doc))), ""),
            stations=sorted(stations, key=lambda station: -station[1]),
        )

    # -- the city and its stream -------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """What a page must know of the city before anything else."""
        city = self.city
        return {
            "name": city.name,
            "tenant": None,
            "timezone": city.timezone,
            "bbox": list(city.bbox),
            "demo": city.demo,
            "notice": city.notice,
            "attribution": list(city.attribution),
            "unit": next(
                ({"soato": one.soato, "name": one.name} for one in city.units if one.soato == city.soato), None
            ),
            "units": [
                {"soato": one.soato, "name": one.name, "lon": one.lon, "lat": one.lat, "has_data": one.has_data}
                for one in city.units
            ],
            "systems": [
                {"key": system.key, "title": self._words(system, system.title), "icon": system.icon}
                for system in self.catalogue.systems
            ],
            "clock": self.clock(),
            "history_from": None,
        }

    def clock(self) -> dict[str, Any]:
        """Where the city's clock stands."""
        pace = self.pace()
        return {
            "at": instants.text(pace.at),
            "speed": pace.speed,
            "live": pace.live,
            "label": pace.label,
            "start": instants.text(pace.start) if pace.start else None,
            "now": instants.text(pace.wall),
        }

    async def events(self) -> AsyncIterator[bytes]:
        """Server-sent events: the clock each second, objects and tiles when they changed, batched once a second."""
        changed: set[str] = set()
        listener = self.runner.listen()
        task = asyncio.create_task(self._gather(listener, changed))
        try:
            while not self._ending:
                yield _event("clock", self.clock())
                if changed:
                    ids = set(changed)
                    changed.clear()
                    at = self.pace().at
                    yield _event("objects", await self.some(ids, at))
                    yield _event("tiles", {"tiles": await self.tiles(at)})
                await asyncio.sleep(BATCH_S)
        finally:
            task.cancel()
            listener.close()

    def close(self) -> None:
        """End every stream within a second."""
        self._ending = True

    async def _gather(self, entries: AsyncIterator[Entry | Lost], changed: set[str]) -> None:
        async for entry in entries:
            if isinstance(entry, Lost):
                changed.update(doc["id"] for doc in await self.docs())
            elif entry.tenant == DEFAULT_TENANT and entry.kind.startswith("entity."):
                changed.add(entry.key)

    async def some(self, ids: set[str], at: Instant) -> dict[str, Any]:
        """The objects of these ids as they are now, and the ids that no object has any more."""
        page = await self.broker.find(DEFAULT_TENANT, q.Query(ids=tuple(sorted(ids)[:OBJECTS_MAX])), limit=OBJECTS_MAX)
        shown = [one for doc in page.docs if (one := self.object(doc, at))]
        return {"objects": shown, "gone": sorted(ids - {doc["id"] for doc in page.docs})}


def _event(name: str, document: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(document) + b"\n\n"


def _judge(system: System, model: Model, card: Card) -> Indicator | None:
    """The indicator that judges an object of this type: one with a scale or a limit on what the card draws, else any
    with a limit.
    """
    mine = [one for one in system.indicators if one.type == model.type and (one.steps or one.limit is not None)]
    return next((one for one in mine if one.attribute == card.chart), mine[0] if mine else None)


def state_of(indicator: Indicator, value: float) -> str:
    """The state that an indicator's scale or limit gives a value."""
    step = step_of(indicator, value)
    if step is not None:
        return _BY_STEP[min(step, len(_BY_STEP) - 1)]
    if indicator.when is not None:
        return (
            "major"
            if holds(indicator.when[0], value, indicator.when[1]) and indicator.statistic == "count"
            else "normal"
        )
    if indicator.limit is None:
        return "normal"
    beyond = value > indicator.limit if indicator.limit_kind == "upper" else value < indicator.limit
    return "minor" if beyond else "normal"


def _judging(kind: _Kind, attribute: Attribute | None) -> Indicator | None:
    """The indicator that judges this attribute of such objects."""
    indicator = kind.indicator
    return (
        indicator if indicator is not None and attribute is not None and indicator.attribute == attribute.name else None
    )


def _limit_kind(indicator: Indicator | None) -> str | None:
    """Which side of its limit is good: "max" below it, "min" above it."""
    if indicator is None or indicator.limit is None:
        return None
    return {"upper": "max", "lower": "min"}[indicator.limit_kind]


def _fresh_s(indicator: Indicator | None) -> int:
    return indicator.fresh_s if indicator else 86_400


def _spark_width(indicator: Indicator) -> tuple[int, int]:
    """Microseconds of one point of an indicator's past, and how many there are."""
    return (DAY, 30) if indicator.over_s >= 86_400 else (HOUR, 24)


def _places(docs: Sequence[Doc], attribute: Attribute) -> list[str]:
    """Where else than in the city this attribute was measured, each place once."""
    borrowed = [_member(doc, BORROWED, "json") for doc in docs if _first(doc, attribute.iri)]
    return list(dict.fromkeys(str(one["place"]) for one in borrowed if one and one.get("place")))


def _number(value: Any) -> float | None:
    """A value that can be drawn and reckoned with; None for a truth, a word, an object."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _observed(doc: Doc, attribute: Attribute) -> Instant:
    """When the attribute was last observed; 0 when it never was."""
    instance = _first(doc, attribute.iri)
    return int(instance.get("observedAt", 0)) if instance else 0


def _first(doc: Doc, iri: str) -> Instance | None:
    listed = doc["attrs"].get(iri)
    return listed[0] if listed else None


def _member(doc: Doc, iri: str, member: str) -> Any:
    instance = _first(doc, iri)
    return instance.get(member) if instance else None


def _name(doc: Doc) -> dict[str, str]:
    instance = _first(doc, NAME) or _first(doc, MODEL_NAME)
    if instance is None:
        return {"uz": doc["id"].rpartition(":")[2]}
    found = instance.get("languageMap", instance.get("value"))
    return found if isinstance(found, dict) else {"uz": str(found)}


def _source(doc: Doc) -> str:
    found = _member(doc, SOURCE, "value") or _member(doc, MODEL_SOURCE, "value")
    return str(found) if found else ""


def _symbol(attribute: Attribute | None) -> str:
    return units.symbol(attribute.shown or attribute.unit) if attribute and attribute.unit else ""


# -- endpoints ------------------------------------------------------------------------------------------------------


def _of(request: Request) -> Operations:
    found: Operations = request.scope["shahar.parts"].operations
    return found


def _at(request: Request) -> Instant:
    at: Instant = request.scope["shahar.parts"].now()
    return at


def _json(document: Any) -> Response:
    return Response(orjson.dumps(document), media_type="application/json", headers={"cache-control": "no-store"})


async def city(request: Request) -> Response:
    """GET /ops/api/city."""
    return _json(_of(request).document())


async def objects(request: Request) -> Response:
    """GET /ops/api/objects."""
    operations, at = _of(request), _at(request)
    shown = [one for doc in await operations.docs() if (one := operations.object(doc, at))]
    return _json({"objects": shown})


async def card(request: Request) -> Response:
    """GET /ops/api/objects/{id}."""
    return _json(await _of(request).card(request.path_params["id"], _at(request)))


async def chart(request: Request) -> Response:
    """GET /ops/api/history?id=&attribute=&hours=; without hours as many as make a line."""
    given = request.query_params
    return _json(
        await _of(request).chart(
            given.get("id", ""), given.get("attribute", ""), _hours(given.get("hours")), _at(request)
        )
    )


def _hours(text: str | None) -> int | None:
    """A wish for a period; None when there is none."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= CHART_HOURS_MAX):
        raise Invalid("hours is a whole number", field="hours", rule=f"1 to {CHART_HOURS_MAX}")
    return int(text)


async def tiles(request: Request) -> Response:
    """GET /ops/api/tiles."""
    return _json({"tiles": await _of(request).tiles(_at(request))})


async def stream(request: Request) -> Response:
    """GET /ops/api/stream: server-sent events."""
    operations = _of(request)
    return StreamingResponse(
        operations.events(),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


PAGE: Final = Path(__file__).parent / "static" / "ops" / "index.html"
_PAGE_HEADERS: Final = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
    " worker-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


async def page(_request: Request) -> Response:
    """GET /ops: the operations centre, built from ui/."""
    if not PAGE.is_file():
        raise Unavailable("the operations centre is not built: run `make run`, or install the wheel")
    return FileResponse(PAGE, media_type="text/html", headers=dict(_PAGE_HEADERS))


_READ: Final[tuple[Act, str]] = ("read", "ops")
ROUTES: Final[Sequence[tuple[Sequence[str], str, Callable[[Request], Awaitable[Response]], tuple[Act, str]]]] = (
    (("GET",), "/ops", page, _READ),
    (("GET",), "/ops/api/city", city, _READ),
    (("GET",), "/ops/api/objects", objects, _READ),
    (("GET",), "/ops/api/objects/{id:path}", card, _READ),
    (("GET",), "/ops/api/history", chart, _READ),
    (("GET",), "/ops/api/tiles", tiles, _READ),
    (("GET",), "/ops/api/stream", stream, _READ),
)
