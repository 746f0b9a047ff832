"""GET /: the city for those who live in it. What is the matter now, how bad, how sure, how old, and what is not known.

For: a phone on a bad link, a printer, a screen reader; no script at all.
Promises: a figure stands with its unit, instant, age, source and number of stations; a service without data says "no
data yet"; a demo says that it is one and what its clock shows. A city that is closed shows no figure here.
Does not: offer what does not exist yet (reporting a problem, one's own address); know any system by name: words, steps
and sources come from the systems' declarations.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from shahar.model.access import Act, Actor, Target, may
from shahar.model.city import City, Pace, Unit
from shahar.model.system import Catalogue, Step, step_of
from shahar.values import units
from shahar.values.instants import MINUTE, Instant
from shahar.web.pages import draw, paper, view, words
from shahar.web.pages.view import AirNow, Face, Presence

Endpoint = Callable[[Request], Awaitable[Response]]
_MS: Final = 1_000
_CLOCKS_DIFFER: Final = 2 * MINUTE


async def home(request: Request) -> Response:
    """The page of the city in the reader's language."""
    face: Face = request.scope["shahar.parts"].picture
    actor: Actor = request.scope["shahar.actor"]
    language, pace = words.language_of(request), face.pace()
    shut = not may(actor, Target("read", "ops")).allowed
    air = None if shut else await face.air_now()
    objects = [] if shut else [face.object(doc, pace.at) for doc in await face.docs()]
    present = view.presences(face.catalogue, filter(None, objects))
    page = resident_page(face.city, pace, air, language, catalogue=face.catalogue, present=present, shut=shut)
    return paper.answer(request, page, language)


def resident_page(
    city: City,
    pace: Pace,
    air: AirNow | None,
    language: str,
    *,
    catalogue: Catalogue,
    present: Sequence[Presence] = (),
    shut: bool = False,
) -> str:
    """The page as HTML. `air`: the indicator that the city speaks of, None when nothing is fresh; `present`: what there
    is of each system; `shut`: the reader may see no figures.
    """
    return paper.render(
        "home.html",
        city,
        language,
        "/",
        shut=shut,
        now=_moment(city, language, pace.at) | {"iso": words.iso(pace.at, city.timezone)},
        demo=_demo(city, pace, language),
        air=None if air is None else _air(city, air, language, catalogue),
        present=[_present(one, language, catalogue) for one in present],
        installed={system.key for system in catalogue.systems},
        units=[(words.name_in(unit.name, language), unit.has_data) for unit in city.units],
        map=_map(city.units),
    )


def _moment(city: City, language: str, at: Instant) -> dict[str, str]:
    return {"text": words.moment(at, language, city.timezone), "time": words.clock(at, city.timezone)}


def _demo(city: City, pace: Pace, language: str) -> dict[str, Any] | None:
    """What is said of a demo's clock; None for a city that is none."""
    if not city.demo:
        return None
    return {
        "notice": words.name_in(city.notice, language) if city.notice else "",
        "made_up": bool(city.settings.get("simulated")),
        "speed": view.told_speed(pace),
        "moment": words.moment(pace.at, language, city.timezone),
        "wall": words.moment(pace.wall, language, city.timezone) if abs(pace.wall - pace.at) > _CLOCKS_DIFFER else None,
    }


def _air(city: City, air: AirNow, language: str, catalogue: Catalogue) -> dict[str, Any]:
    indicator = air.indicator
    say = words.words(language)

    def word(key: str) -> str:
        return catalogue.word(air.system.key, language, key)

    def valued(value: float) -> str:
        return f"{words.number(value, language)}\u00a0{units.symbol(indicator.unit, language)}"

    what, steps = word(air.system.title), [_step(step, word) for step in indicator.steps]
    worst = air.worst if air.worst > air.step else None
    limit = None if air.limit is None else f"{word(indicator.limit_word)} {words.number(air.limit, language)}"
    return {
        "what": what,
        "what_low": words.lowered(what, language),
        "step": air.step,
        "steps": steps,
        "state": view.state_of_step(air.step),
        "word": words.lowered(steps[air.step]["word"], language),
        "worst": None if worst is None else words.lowered(steps[worst]["word"], language),
        "worst_state": view.state_of_step(air.worst),
        "measure": word(indicator.title),
        "valued": valued(air.value),
        "unit": units.symbol(indicator.unit, language),
        "statistic": say(f"statistic.{indicator.statistic}"),
        "limit": limit,
        "count": air.count,
        "of": air.of,
        "silent": air.of - air.count,
        "above": air.above,
        "at": words.moment(air.at, language, city.timezone),
        "iso": words.iso(air.at, city.timezone),
        "age": words.age(air.age_s, language),
        "source": air.source,
        "sources": [text for text in (indicator.limit_source, indicator.steps_source) if text],
        "chart": _chart(city, air, language, valued),
        "stations": _stations(city, air, language, steps),
    }


def _step(step: Step, word: Callable[[str], str]) -> dict[str, str]:
    return {"word": word(step.word), "advice": word(step.advice)}


def _chart(city: City, air: AirNow, language: str, valued: Callable[[float], str]) -> dict[str, Any] | None:
    """The indicator's past as bars, with the texts beside them."""
    drawn = draw.chart(air.spark, air.limit, upper=air.indicator.limit_kind == "upper")
    if drawn is None:
        return None
    say = words.words(language)
    show = words.day if drawn.daily else words.moment

    def end(at: Instant) -> str:
        return words.day(at, language, city.timezone) if drawn.daily else words.clock(at, city.timezone)

    values = [bar.value for bar in drawn.bars]
    peak = drawn.peak
    return {
        "drawn": drawn,
        "width": draw.WIDTH,
        "height": draw.HEIGHT,
        "bars": [(bar, view.state_of_step(step_of(air.indicator, bar.value) or 0)) for bar in drawn.bars],
        "peak": words.number(peak.value, language),
        "peak_x": min(max(peak.x + peak.width / 2, 14), draw.WIDTH - 14),
        "span": say("chart.days" if drawn.daily else "chart.hours", n=drawn.slots),
        "from": end(drawn.bars[0].at_ms * _MS),
        "to": end(drawn.bars[-1].at_ms * _MS),
        "low": valued(min(values)),
        "high": valued(max(values)),
        "over": sum(bar.over_height > 0 for bar in drawn.bars),
        "rows": [
            (show(bar.at_ms * _MS, language, city.timezone), words.number(bar.value, language)) for bar in drawn.bars
        ],
    }


def _stations(city: City, air: AirNow, language: str, steps: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The stations, each with its bar on one common scale (percent of its length)."""
    most = max([value for _, value, *_ in air.stations] + [(air.limit or 0) * 1.25, 1e-9])
    decimals = 0 if most >= 100 else 1  # the same for all, so that they can be compared down the column
    return [
        {
            "name": words.name_in(name, language),
            "value": words.number(value, language, decimals),
            "share": round(100 * max(value, 0) / most, 1),
            "tick": None if air.limit is None else round(100 * air.limit / most, 1),
            "state": view.state_of_step(step),
            "word": steps[step]["word"] if step < len(steps) else "",
            "at": words.moment(at, language, city.timezone),
        }
        for name, value, at, step in air.stations
    ]


def _present(one: Presence, language: str, catalogue: Catalogue) -> dict[str, Any]:
    return {
        "key": one.system.key,
        "icon": one.system.icon,
        "title": catalogue.word(one.system.key, language, one.system.title),
        "about": catalogue.word(one.system.key, language, one.system.about),
        "own": one.own,
        "simulated": one.simulated,
        "borrowed": one.borrowed,
    }


def _map(listed: Sequence[Unit]) -> dict[str, Any] | None:
    """The units' outlines with those that have data; None when none of them has an outline."""
    drawn = draw.outlines()
    shown = [unit for unit in listed if drawn is not None and unit.soato in drawn.paths]
    if drawn is None or not shown:
        return None
    return {
        "width": drawn.width,
        "height": drawn.height,
        "paths": [(drawn.paths[unit.soato], unit.has_data) for unit in shown],
        "dots": [drawn.place(unit.lon, unit.lat) for unit in shown if unit.has_data],
    }


ROUTES: Final[tuple[tuple[tuple[str, ...], str, Endpoint, tuple[Act, str] | None], ...]] = (
    (("GET",), "/", home, None),
    (("GET",), f"{paper.STATIC_AT}/{{name}}", paper.static, None),
)
"""Methods, path, endpoint; open to everybody: the page itself leaves out what its reader may not see."""
