"""The live picture of the city: objects with their state, cards, charts, the city itself, and the stream of changes.

For: the endpoints of /ops (web/operations) and the page at / (web/resident). Everything is read through the broker and
the systems' declarations; nothing is kept that a restart loses.
Promises: a value goes out with unit, instant, age and source; what was measured elsewhere or made up says so in every
answer; what is older than its freshness is stale, never repeated as if new; an object that is gone is told as gone.
Streams share the tiles: however many are open, they are computed once a second at most, and a change that came while
they were computed is told with the next ones.
Does not: reckon the indicators (web/indicators); speak HTTP; decide what is abnormal (alarms are an issue of their
own).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from shahar.model import query as q
from shahar.model.access import DEFAULT_TENANT
from shahar.model.city import (
    BORROWED,
    ORIGINAL,
    SIMULATED,
    City,
    Pace,
    first,
    member,
    name_of,
    number,
    point_of,
    source_of,
)
from shahar.model.entity import Doc, Instance
from shahar.model.system import Attribute, Card, Catalogue, Indicator, Model, System
from shahar.services.broker import Broker
from shahar.services.runner import Entry, Lost, Runner
from shahar.values import instants, units
from shahar.values.errors import NotFound
from shahar.values.instants import HOUR, SECOND, Instant
from shahar.web.indicators import Indicators, Point, fresh_s, judge, judging, limit_kind, state_of
from shahar.web.pages.view import AirNow

OBJECTS_MAX: Final = 5_000
CHART_PERIODS: Final = (24, 7 * 24, 30 * 24)
CHART_ENOUGH: Final = 10
"""Values that make a line worth drawing: without a wish a chart is as short as it can be with so many."""
BATCH_S: Final = 1.0
_SILENT: Final = frozenset({"stale", "nodata"})


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is known of an entity type: its system, model, card, and the indicator that judges the value it shows."""

    system: System
    model: Model
    card: Card
    indicator: Indicator | None


@dataclass(slots=True)
class _Seen:
    """What one stream knows and has not told yet: objects that changed, and how many changes it has seen and told.

    Changes are counted by the picture, over all its streams.
    """

    told: int
    seen: int
    ids: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Tiles:
    """Tiles that streams share: in which second of the real clock they were begun, and with how many changes seen."""

    second: int
    seen: int
    tiles: list[dict[str, Any]]


@dataclass(slots=True)
class Picture:
    """The live picture of one city's default tenant. `pace` reads the city's clock."""

    city: City
    catalogue: Catalogue
    broker: Broker
    runner: Runner
    pace: Callable[[], Pace]
    indicators: Indicators = field(init=False)
    _ending: bool = False
    _kinds: dict[str, _Kind] = field(default_factory=dict)
    _changes: int = 0
    _shared: _Tiles = field(default_factory=lambda: _Tiles(-1, -1, []))
    _sharing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.indicators = Indicators(self.city, self.catalogue, self.broker)
        for system in self.catalogue.systems:
            cards = {card.type: card for card in self.catalogue.panels[system.key].cards}
            for model in system.models:
                card = cards.get(model.type, Card(type=model.type, shows=tuple(one.name for one in model.attributes)))
                self._kinds[model.iri] = _Kind(system, model, card, judge(system, model, card))

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
        attribute, instance = self._shown(doc, kind) or (None, {})
        value, observed = instance.get("value"), instance.get("observedAt")
        lon, lat = point_of(doc)
        state = _state(kind, attribute, value, observed, at)
        return {
            "id": doc["id"],
            "type": kind.model.type,
            "system": kind.system.key,
            "name": name_of(doc),
            "lon": lon,
            "lat": lat,
            "state": state,
            "step_label": self._step_label(kind, attribute, value, state),
            "value": number(value),
            "unit": _symbol(attribute),
            "attribute": attribute.name if attribute else None,
            "label": self.indicators.words(kind.system, attribute.title) if attribute else {},
            "at": instants.text(observed) if observed else None,
            "age_s": (at - observed) // SECOND if observed else None,
            "fresh_s": fresh_s(kind.indicator),
            "note": None if observed else self.indicators.off_season(doc["id"], at),
            "borrowed": member(doc, BORROWED, "json"),
            "simulated": bool(member(doc, SIMULATED, "value")),
            "source": source_of(doc),
        }

    def _shown(self, doc: Doc, kind: _Kind) -> tuple[Attribute, Instance] | None:
        """The attribute whose value stands for the object: the judged one, else the first of the card that it has."""
        names = ([kind.indicator.attribute] if kind.indicator else []) + [kind.card.chart or "", *kind.card.shows]
        for name in names:
            attribute = next((one for one in kind.model.attributes if one.name == name and one.unit), None)
            instance = first(doc, attribute.iri) if attribute else None
            if attribute and instance:
                return attribute, instance
        return None

    def _step_label(self, kind: _Kind, attribute: Attribute | None, value: Any, state: str) -> dict[str, str] | None:
        """The word of the system's own scale for a fresh value; None where it has no scale."""
        indicator, told = judging(kind.indicator, attribute), number(value)
        if indicator is None or told is None or state in _SILENT:
            return None
        return self.indicators.step_word(kind.system, indicator, told)

    async def some(self, ids: set[str], at: Instant) -> dict[str, Any]:
        """The objects of these ids as they are now, and the ids that no object has any more."""
        page = await self.broker.find(DEFAULT_TENANT, q.Query(ids=tuple(sorted(ids)[:OBJECTS_MAX])), limit=OBJECTS_MAX)
        shown = [one for doc in page.docs if (one := self.object(doc, at))]
        return {"objects": shown, "gone": sorted(ids - {doc["id"] for doc in page.docs})}

    # -- one object: its card, its chart -----------------------------------------------------------------------------

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
            instance = first(doc, attribute.iri) if attribute else None
            if attribute and instance and "value" in instance:
                values.append(self._value(kind, attribute, instance, doc, at))
        return shown | {"values": values, "about": self.indicators.words(kind.system, kind.model.title)}

    def _value(self, kind: _Kind, attribute: Attribute, instance: Instance, doc: Doc, at: Instant) -> dict[str, Any]:
        observed = instance.get("observedAt")
        original = instance.get("attrs", {}).get(ORIGINAL)
        state = _state(kind, attribute, instance["value"], observed, at)
        return {
            "attribute": attribute.name,
            "label": self.indicators.words(kind.system, attribute.title),
            "value": instance["value"],
            "unit": _symbol(attribute),
            "at": instants.text(observed) if observed else None,
            "age_s": (at - observed) // SECOND if observed else None,
            "source": source_of(doc),
            "original_at": original[0]["value"] if original else None,
            "fresh_s": fresh_s(kind.indicator),
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
        judged = judging(kind.indicator, attribute)
        if judged is not None and judged.when is not None:
            judged = None
        word = judged.limit_word if judged else ""
        return {
            "points": [[moment // 1000, value] for moment, value in points],
            "unit": _symbol(attribute),
            "hours": hours,
            "from": instants.text(at - hours * HOUR),
            "to": instants.text(at),
            "limit": judged.limit if judged else None,
            "limit_kind": limit_kind(judged),
            "limit_label": self.indicators.words(kind.system, word) if word else None,
        }

    async def _line(
        self, entity_id: str, attribute: Attribute, hours: int | None, at: Instant
    ) -> tuple[int, list[Point]]:
        """How many hours are drawn, and the points in them."""
        periods = CHART_PERIODS if hours is None else (hours,)
        for period in periods:
            points = await self.indicators.points(entity_id, attribute, at - period * HOUR, at)
            if len(points) >= CHART_ENOUGH or (period == periods[-1] and points):
                return period, points
        return periods[0], []

    # -- the whole city ----------------------------------------------------------------------------------------------

    async def tiles(self, at: Instant) -> list[dict[str, Any]]:
        """One tile for each indicator that a system puts on its panel."""
        return await self.indicators.tiles(await self.docs(), at)

    async def air_now(self) -> AirNow | None:
        """What the public page says of the air now; None when nothing is fresh."""
        at = self.pace().at
        return await self.indicators.air_now(await self.docs(), at)

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
                {"key": system.key, "title": self.indicators.words(system, system.title), "icon": system.icon}
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

    # -- the stream --------------------------------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[bytes]:
        """Server-sent events: the clock each second, objects and tiles when they changed, batched once a second."""
        seen = _Seen(self._changes, self._changes)
        listener = self.runner.listen()
        task = asyncio.create_task(self._gather(listener, seen))
        try:
            while not self._ending:
                yield _event("clock", self.clock())
                if seen.ids:
                    ids, seen.ids = seen.ids, set()
                    yield _event("objects", await self.some(ids, self.pace().at))
                if seen.seen > seen.told and (shared := await self._share(seen)).seen > seen.told:
                    seen.told = shared.seen
                    yield _event("tiles", {"tiles": shared.tiles})
                await asyncio.sleep(BATCH_S)
        finally:
            task.cancel()
            listener.close()

    def close(self) -> None:
        """End every stream within a second."""
        self._ending = True

    async def _gather(self, entries: AsyncIterator[Entry | Lost], seen: _Seen) -> None:
        async for entry in entries:
            if isinstance(entry, Lost):
                known = await self.docs()  # before `ids` is looked up, which the stream replaces when it tells them
                seen.ids.update(doc["id"] for doc in known)
            elif entry.tenant == DEFAULT_TENANT and entry.kind.startswith("entity."):
                seen.ids.add(entry.key)
            else:
                continue
            self._changes += 1
            seen.seen = self._changes

    async def _share(self, stream: _Seen) -> _Tiles:
        """The newest tiles there are: new ones when this stream has seen a change since they were begun, but in one
        second once. Who asks meanwhile waits for the same.
        """
        async with self._sharing:
            pace = self.pace()
            second = pace.wall // SECOND
            if self._shared.seen < stream.seen and self._shared.second != second:
                seen = self._changes
                self._shared = _Tiles(second, seen, await self.tiles(pace.at))
            return self._shared


def _state(kind: _Kind, attribute: Attribute | None, value: Any, observed: Instant | None, at: Instant) -> str:
    """The state of a value: silent, stale, or what its indicator makes of it."""
    if attribute is None or observed is None:
        return "nodata"
    if at - observed > fresh_s(kind.indicator) * SECOND:
        return "stale"
    indicator, told = judging(kind.indicator, attribute), number(value)
    return "normal" if indicator is None or told is None else state_of(indicator, told)


def _symbol(attribute: Attribute | None) -> str:
    return units.symbol(attribute.shown or attribute.unit) if attribute and attribute.unit else ""


def _event(name: str, document: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(document) + b"\n\n"
