"""What the city's indicators say: value, state, count and past of each, out of its objects and their history.

For: the tiles of /ops and the summary on /, which say the same because both are read from one `_Standing`.
Promises: an entity counts with the mean of the window that ends at its latest value (model/system.Indicator); what was
measured elsewhere or made up counts in no indicator of the city (made-up values count where the whole city is made up);
what is older than its freshness counts nowhere and is said to be stale; why nothing is said is told where it is known.
Does not: ask which entities there are (they are given); remember anything; decide what is abnormal beyond the limits
and scales that systems declare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Any, Final
from zoneinfo import ZoneInfo

from shahar.model.access import DEFAULT_TENANT
from shahar.model.city import BORROWED, SIMULATED, City, first, member, name_of, number, observed, source_of
from shahar.model.entity import Doc
from shahar.model.reading import summarise
from shahar.model.system import LANGUAGES, Attribute, Card, Catalogue, Indicator, Model, System, holds, step_of
from shahar.services.broker import Broker
from shahar.values import instants, units
from shahar.values.instants import DAY, HOUR, SECOND, Instant
from shahar.web.pages.view import AirNow

SPARKED_MAX: Final = 200
POINTS_MAX: Final = 5_000
WINDOW_POINTS_MAX: Final = 100_000
"""Of one entity within an indicator's window: more than one a second for a day."""
FRESH_S: Final = 86_400
"""How long a value counts as fresh that no indicator judges."""
_BY_STEP: Final = ("normal", "normal", "minor", "major", "critical")

Point = tuple[Instant, float]


@dataclass(frozen=True, slots=True)
class _Counted:
    """What an entity counts with in an indicator: the instant of its latest value, and the mean of the window that ends
    there.
    """

    doc: Doc
    at: Instant
    value: float


@dataclass(frozen=True, slots=True)
class _Standing:
    """How an indicator stands: all objects of its type, those that count in this city, those of them that are fresh,
    and what they come to; None when they come to nothing.
    """

    system: System
    indicator: Indicator
    attribute: Attribute
    ours: Sequence[Doc]
    mine: Sequence[Doc]
    fresh: Sequence[_Counted]
    value: float | None

    @property
    def newest(self) -> Instant:
        """The latest value of those that count, fresh or not; 0 when there never was one."""
        known = [one.at for one in self.fresh] or [observed(doc, self.attribute.iri) for doc in self.mine]
        return max(known, default=0)


@dataclass(frozen=True, slots=True)
class Indicators:
    """The indicators of one city's default tenant. Entities and the instant are arguments of every question."""

    city: City
    catalogue: Catalogue
    broker: Broker

    async def tiles(self, docs: Sequence[Doc], at: Instant) -> list[dict[str, Any]]:
        """One tile for each indicator that a system puts on its panel."""
        tiles = []
        for system in self.catalogue.systems:
            for key in self.catalogue.panels[system.key].tiles:
                indicator = next(one for one in system.indicators if one.key == key)
                tiles.append(await self._tile(await self._standing(system, indicator, docs, at), at))
        return tiles

    async def air_now(self, docs: Sequence[Doc], at: Instant) -> AirNow | None:
        """What the public page says of the air: the first indicator that has a scale of words; None without one, and
        when nothing is fresh.
        """
        for system in self.catalogue.systems:
            indicator = next((one for one in system.indicators if one.steps), None)
            if indicator is not None:
                return await self._air(await self._standing(system, indicator, docs, at), at)
        return None

    async def points(
        self, entity_id: str, attribute: Attribute, start: Instant, last: Instant, most: int = POINTS_MAX
    ) -> list[Point]:
        """The numbers of one attribute from `start` up to and with `last`, oldest first."""
        points = await self.broker.points(DEFAULT_TENANT, entity_id, attribute.iri, start, last + 1, most)
        return [(moment, told) for moment, value in points if (told := number(value)) is not None]

    # -- words -------------------------------------------------------------------------------------------------------

    def words(self, system: System, key: str) -> dict[str, str]:
        """A word of a system in every language; empty for no word."""
        return {language: self.catalogue.word(system.key, language, key) for language in LANGUAGES} if key else {}

    def step_word(self, system: System, indicator: Indicator, value: float) -> dict[str, str] | None:
        """The word of an indicator's scale for a value; None when it has no scale."""
        step = step_of(indicator, value)
        return None if step is None else self.words(system, indicator.steps[step].word)

    def off_season(self, entity_id: str, at: Instant) -> Mapping[str, str] | None:
        """Why an object says nothing on this day of the year, when the city's settings tell it."""
        season = self.city.settings.get("seasons", {}).get(entity_id)
        if season is None:
            return None
        day = datetime.fromtimestamp(at // SECOND, ZoneInfo(self.city.timezone)).strftime("%m-%d")
        begins, ends = season["from"], season["to"]
        within = begins <= day <= ends if begins <= ends else day >= begins or day <= ends
        note: Mapping[str, str] = season["note"]
        return None if within else note

    # -- what counts -------------------------------------------------------------------------------------------------

    async def _standing(self, system: System, indicator: Indicator, docs: Sequence[Doc], at: Instant) -> _Standing:
        model = system.model(indicator.type)
        attribute = model.attribute(indicator.attribute)
        ours = [doc for doc in docs if model.iri in doc["type"]]
        mine = [doc for doc in ours if self._counts(doc)]
        fresh = await self._fresh(indicator, attribute, mine, at)
        value = summarise(indicator, [one.value for one in fresh]) if fresh else None
        return _Standing(system, indicator, attribute, ours, mine, fresh, value)

    def _counts(self, doc: Doc) -> bool:
        """Whether an object counts in the city's indicators: measured here, or made up where the whole city is."""
        made_up = member(doc, SIMULATED, "value") and not self.city.settings.get("simulated")
        return member(doc, BORROWED, "json") is None and not made_up

    async def _fresh(self, indicator: Indicator, attribute: Attribute, docs: list[Doc], at: Instant) -> list[_Counted]:
        """What each entity counts with, of those whose latest value is fresh: see model/system.Indicator."""
        found = []
        for doc in docs:
            last = observed(doc, attribute.iri)
            value = number(member(doc, attribute.iri, "value")) if last else None
            if value is not None and at - last <= indicator.fresh_s * SECOND:
                found.append(_Counted(doc, last, await self._mean(indicator, attribute, doc, last, value)))
        return found

    async def _mean(self, indicator: Indicator, attribute: Attribute, doc: Doc, last: Instant, value: float) -> float:
        """The mean of the window that ends at the latest value; that value alone without a window."""
        if not indicator.over_s:
            return value
        start = last - indicator.over_s * SECOND + 1  # a daily series has one value in a window of a day, not two
        points = await self.points(doc["id"], attribute, start, last, WINDOW_POINTS_MAX)
        return fmean(told for _, told in points) if points else value

    # -- what is said ------------------------------------------------------------------------------------------------

    async def _tile(self, standing: _Standing, at: Instant) -> dict[str, Any]:
        system, indicator, value, newest = standing.system, standing.indicator, standing.value, standing.newest
        width, count = _spark_width(indicator)
        return {
            "key": f"{system.key}.{indicator.key}",
            "system": system.key,
            "title": self.words(system, indicator.title),
            "value": value,
            "unit": units.symbol(indicator.unit),
            "at": instants.text(newest) if newest else None,
            "age_s": (at - newest) // SECOND if newest else None,
            "fresh_s": indicator.fresh_s,
            "limit": indicator.limit,
            "limit_kind": limit_kind(indicator),
            "state": state_of(indicator, value) if value is not None else "stale" if newest else "nodata",
            "step_label": self.step_word(system, indicator, value) if value is not None else None,
            "spark": await self._spark(standing, at),
            "spark_hours": count * width // HOUR,
            "count": len(standing.fresh),
            "of": len(standing.mine),
            "note": self._silence(standing.mine, at) if value is None else None,
            "elsewhere": _places(standing.ours, standing.attribute),
            "simulated": bool(standing.fresh) and bool(self.city.settings.get("simulated")),
        }

    async def _air(self, standing: _Standing, at: Instant) -> AirNow | None:
        indicator, value, newest = standing.indicator, standing.value, standing.newest
        if value is None:
            return None
        stations = [(name_of(one.doc), one.value, one.at, step_of(indicator, one.value) or 0) for one in standing.fresh]
        return AirNow(
            system=standing.system,
            indicator=indicator,
            value=value,
            unit=units.symbol(indicator.unit),
            step=step_of(indicator, value) or 0,
            at=newest,
            age_s=(at - newest) // SECOND,
            count=len(standing.fresh),
            of=len(standing.mine),
            limit=indicator.limit,
            spark=[(int(moment), told) for moment, told in await self._spark(standing, at)],
            source=next((text for doc in standing.mine if (text := source_of(doc))), ""),
            stations=sorted(stations, key=lambda station: -station[1]),
        )

    def _silence(self, docs: Sequence[Doc], at: Instant) -> Mapping[str, str] | None:
        """Why none of these objects says anything, when the reason of each is known."""
        notes = [self.off_season(doc["id"], at) for doc in docs]
        return notes[0] if notes and all(notes) else None

    async def _spark(self, standing: _Standing, at: Instant) -> list[list[float]]:
        """The indicator's past: a day by the hour, or thirty days by the day for what is a mean over a day."""
        width, count = _spark_width(standing.indicator)
        start = at - count * width
        buckets: dict[int, list[float]] = {}
        for doc in standing.mine[:SPARKED_MAX]:
            for bucket, value in (await self._means(doc["id"], standing.attribute, start, at, width)).items():
                buckets.setdefault(bucket, []).append(value)
        spark = []
        for bucket in sorted(buckets):
            told = summarise(standing.indicator, buckets[bucket])
            if told is not None:
                spark.append([(start + bucket * width + width // 2) / 1000, told])
        return spark

    async def _means(
        self, entity_id: str, attribute: Attribute, start: Instant, at: Instant, width: int
    ) -> dict[int, float]:
        """Number of a stretch of `width` since `start` -> the mean of the values in it."""
        found: dict[int, list[float]] = {}
        for moment, value in await self.points(entity_id, attribute, start, at):
            found.setdefault((moment - start) // width, []).append(value)
        return {bucket: fmean(values) for bucket, values in found.items()}


# -- judging -------------------------------------------------------------------------------------------------------


def judge(system: System, model: Model, card: Card) -> Indicator | None:
    """The indicator that judges an object of this type: one with a scale or a limit on what the card draws, else any
    with a limit.
    """
    mine = [one for one in system.indicators if one.type == model.type and (one.steps or one.limit is not None)]
    return next((one for one in mine if one.attribute == card.chart), mine[0] if mine else None)


def judging(indicator: Indicator | None, attribute: Attribute | None) -> Indicator | None:
    """The indicator of an object's type when it judges this attribute."""
    if indicator is None or attribute is None or indicator.attribute != attribute.name:
        return None
    return indicator


def state_of(indicator: Indicator, value: float) -> str:
    """The state that an indicator's scale or limit gives a value."""
    step = step_of(indicator, value)
    if step is not None:
        return _BY_STEP[min(step, len(_BY_STEP) - 1)]
    if indicator.when is not None:
        op, bound = indicator.when
        return "major" if holds(op, value, bound) and indicator.statistic == "count" else "normal"
    if indicator.limit is None:
        return "normal"
    beyond = value > indicator.limit if indicator.limit_kind == "upper" else value < indicator.limit
    return "minor" if beyond else "normal"


def limit_kind(indicator: Indicator | None) -> str | None:
    """Which side of its limit is good: "max" below it, "min" above it."""
    if indicator is None or indicator.limit is None:
        return None
    return {"upper": "max", "lower": "min"}[indicator.limit_kind]


def fresh_s(indicator: Indicator | None) -> int:
    """How many seconds a value counts as fresh."""
    return indicator.fresh_s if indicator else FRESH_S


def _spark_width(indicator: Indicator) -> tuple[int, int]:
    """Microseconds of one point of an indicator's past, and how many there are."""
    return (DAY, 30) if indicator.over_s >= 86_400 else (HOUR, 24)


def _places(docs: Sequence[Doc], attribute: Attribute) -> list[str]:
    """Where else than in the city this attribute was measured, each place once."""
    borrowed = [member(doc, BORROWED, "json") for doc in docs if first(doc, attribute.iri)]
    return list(dict.fromkeys(str(one["place"]) for one in borrowed if one and one.get("place")))
