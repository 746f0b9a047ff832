"""A small city with one indicator, for the tests of the pages: everything by hand, so that they need no system in the
tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from shahar.model import access
from shahar.model.city import City, Pace, Unit
from shahar.model.system import LANGUAGES, Attribute, Catalogue, Indicator, Model, Profile, Step, System, step_of
from shahar.values.instants import DAY, HOUR, SECOND, Instant, parse
from shahar.web import docs, resident
from shahar.web.pages.view import AirNow, Station

AT = parse("2026-11-22T09:32:00Z")
NAMES = ("Bogʻ maydoni", "Maktab <7> & koʻcha", "Eski bozor")

SYSTEM = System(
    key="breath",
    kit=1,
    title="title",
    about="about",
    icon="M3 8h10",
    models=(
        Model(
            type="Mast",
            iri="https://example.org/Mast",
            title="mast",
            attributes=(
                Attribute(name="name", iri="https://example.org/name", title="name"),
                Attribute(name="dust", iri="https://example.org/dust", title="dust", unit="GQ", low=0, high=5000),
            ),
        ),
    ),
    indicators=(
        Indicator(
            key="dust",
            title="measure",
            type="Mast",
            attribute="dust",
            statistic="median",
            unit="GQ",
            over_s=86_400,
            fresh_s=172_800,
            limit=15,
            limit_word="limit",
            limit_source="A rule of 2021",
            steps=tuple(
                Step(word=f"word.{place}", advice=f"advice.{place}", below=below)
                for place, below in enumerate((9.0, 35.0, 55.0, 125.0, None))
            ),
            steps_source="A table of 2024",
        ),
    ),
    profiles=(
        Profile(name="breath.plain", envelope="plain", decoder="breath.plain", type="Mast", attributes={"pm": "dust"}),
    ),
)
WORDS = {
    "title": "Havo",
    "about": "Shahar havosi",
    "mast": "Ustun",
    "name": "Nomi",
    "dust": "Chang",
    "measure": "Chang, sutkalik",
    "limit": "Meʼyor",
} | {
    key: text
    for place, word in enumerate(("Toza", "Oʻrtacha", "Ogʻir", "Zararli", "Xavfli"))
    for key, text in ((f"word.{place}", word), (f"advice.{place}", f"Maslahat {place}."))
}
CATALOGUE = Catalogue(systems=(SYSTEM,), words={"breath": dict.fromkeys(LANGUAGES, WORDS)})

CITY = City(
    name={"uz": "Bahor", "uz-Cyrl": "Баҳор", "ru": "Бахор", "en": "Bahor"},
    timezone="Asia/Tashkent",
    soato="1726",
    units=(
        Unit("1726", {"uz": "Bahor shahri", "ru": "город Бахор"}, 69.26, 41.28, has_data=True),
        Unit("1735", {"uz": "Qoraqalpogʻiston Respublikasi", "kaa": "Qaraqalpaqstan Respublikası"}, 59.6, 42.5),
    ),
    attribution=("© OpenStreetMap contributors",),
    notice={"uz": "Sinov maʼlumotlari", "ru": "Пробные данные"},
    demo=True,
)
PACE = Pace(at=AT, wall=AT + 5 * DAY, speed=60.0, live=False, label="demo", start=AT - 2 * DAY)


def air(*values: float, age_s: int = 8 * 3600, of: int | None = None) -> AirNow:
    """The indicator with stations of these values (the city's own is their middle one), 28 days of past with a gap."""
    indicator = SYSTEM.indicators[0]
    at = AT - age_s * SECOND
    ordered = sorted(values, reverse=True)
    middle = ordered[len(ordered) // 2]
    stations: list[Station] = [
        ({"uz": NAMES[place % len(NAMES)]}, value, at, step_of(indicator, value) or 0)
        for place, value in enumerate(ordered)
    ]
    days = [place for place in range(30) if place not in (11, 12)]
    return AirNow(
        system=SYSTEM,
        indicator=indicator,
        value=middle,
        unit="µg/m³",
        step=step_of(indicator, middle) or 0,
        at=at,
        age_s=age_s,
        count=len(values),
        of=of or len(values),
        limit=15,
        spark=[((AT - (29 - place) * DAY) // 1000, middle * (0.4 + place % 7 / 5)) for place in days],
        source="Shahar kuzatuvi",
        stations=stations,
    )


@dataclass
class Face:
    """Who knows the figures of this city: as much of `Picture` as the pages ask for."""

    now: AirNow | None
    city: City = CITY
    catalogue: Catalogue = CATALOGUE
    at: Pace = PACE

    def pace(self) -> Pace:
        """Where the clock stands."""
        return self.at

    async def air_now(self) -> AirNow | None:
        """The indicator as it was given."""
        return self.now

    async def docs(self) -> list[dict[str, Any]]:
        """Three masts here, and one that stands elsewhere."""
        return [{"id": f"urn:ngsi-ld:Mast:{place}"} for place in range(4)]

    def object(self, doc: dict[str, Any], at: Instant) -> dict[str, Any] | None:
        """A mast as the operations centre shows it."""
        elsewhere = {"place": "Grenoble, France"} if doc["id"].endswith("3") else None
        return {"system": "breath", "state": "normal", "borrowed": elsewhere, "simulated": False, "at": at}


def application(face: Face, actor: access.Actor = access.PUBLIC) -> ASGIApp:
    """The pages as an application, with what the outer layer puts into the scope."""
    tables = (*resident.ROUTES, *docs.ROUTES)
    inner = Starlette(routes=[Route(path, endpoint, methods=list(methods)) for methods, path, endpoint, _ in tables])

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        scope["shahar.actor"], scope["shahar.parts"] = actor, SimpleNamespace(picture=face)
        await inner(scope, receive, send)

    return outer


def situations() -> Iterator[tuple[str, Face]]:
    """Faces of a city as it can be: heavy, clean, dangerous, silent, with a live clock, made up."""
    heavy = Face(air(61.5, 44.0, 20.0, of=4))
    yield "heavy", heavy
    yield "clean", Face(air(3.0, 4.5, 6.25))
    yield "dangerous", Face(air(180.0, 220.4, 140.0))
    yield "silent", Face(None)
    yield "live", replace(heavy, at=Pace(at=AT, wall=AT, start=AT - HOUR))
    yield "made-up", replace(heavy, city=replace(CITY, settings={"simulated": True}))
