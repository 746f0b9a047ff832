"""What a city is to those who look at it: names, place, units beside it, where its clock stands, and what its objects
say of themselves. Pure.

`Pace` is the reading of a clock that may be a demo's own: main makes it, pages show it.
The attributes below are the house's own words on where a value comes from; a number leaves the house only with its
source. The readers at the end take one thing out of an entity document and raise nothing: what is not there is None,
empty, or 0 for an instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shahar.model.entity import Doc, Instance
from shahar.model.system import own
from shahar.values.instants import Instant

NAME: Final = own("name")
"""LanguageProperty {language tag: text}: what an object is called."""
BORROWED: Final = own("borrowed")
"""JsonProperty {"place", "licence", "source"}: measured elsewhere than where the city lies."""
SIMULATED: Final = own("simulated")
"""Property true: made up, not measured."""
SOURCE: Final = own("source")
"""Property text: who measured or computed it."""
ORIGINAL: Final = own("originalObservedAt")
"""Sub-attribute, Property ISO text: the instant at which a replayed value was really measured."""

LOCATION: Final = "https://uri.etsi.org/ngsi-ld/location"
MODEL_NAME: Final = "https://smartdatamodels.org/name"
"""What an object is called where nobody gave it a NAME."""
MODEL_SOURCE: Final = "https://smartdatamodels.org/source"

Words = Mapping[str, str]
"""Language tag -> text; at least "uz"."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A first-level unit of the country: its SOATO code, names, centre (degrees, WGS 84), whether it has data."""

    soato: str
    name: Words
    lon: float
    lat: float
    has_data: bool = False


@dataclass(frozen=True, slots=True)
class City:
    """The city that a page is about. `bbox` is west, south, east, north in degrees."""

    name: Words
    timezone: str = "UTC"
    bbox: tuple[float, float, float, float] = (55.9, 37.1, 73.2, 45.6)
    soato: str = ""
    units: tuple[Unit, ...] = ()
    attribution: tuple[str, ...] = ()
    notice: Words | None = None
    demo: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pace:
    """Where the clock stands and how fast it goes: `at` is its instant, `wall` the real one, `start` where a demo's
    began.
    """

    at: Instant
    wall: Instant
    speed: float = 1.0
    live: bool = True
    label: str = "wall"
    start: Instant | None = None


# -- what an entity document says of itself
# ---------------------------------------------------------------------------------------


def first(doc: Doc, iri: str) -> Instance | None:
    """The default instance of an attribute."""
    listed: list[Instance] | None = doc["attrs"].get(iri)
    return listed[0] if listed else None


def member(doc: Doc, iri: str, name: str) -> Any:
    """One member of an attribute's default instance: "value", "json", "observedAt"."""
    instance = first(doc, iri)
    return instance.get(name) if instance else None


def observed(doc: Doc, iri: str) -> Instant:
    """When the attribute was last observed; 0 when it never was."""
    return int(member(doc, iri, "observedAt") or 0)


def name_of(doc: Doc) -> dict[str, str]:
    """The name in its languages; the end of the id where there is none."""
    instance = first(doc, NAME) or first(doc, MODEL_NAME)
    if instance is None:
        return {"uz": doc["id"].rpartition(":")[2]}
    found = instance.get("languageMap", instance.get("value"))
    return found if isinstance(found, dict) else {"uz": str(found)}


def source_of(doc: Doc) -> str:
    """Who measured or computed what the object says."""
    found = member(doc, SOURCE, "value") or member(doc, MODEL_SOURCE, "value")
    return str(found) if found else ""


def point_of(doc: Doc) -> tuple[float, float] | tuple[None, None]:
    """Longitude and latitude (degrees, WGS 84) of an object that stands at a point."""
    place = first(doc, LOCATION)
    if place is None or place["type"] != "GeoProperty" or place["value"]["type"] != "Point":
        return None, None
    lon, lat = place["value"]["coordinates"][:2]
    return lon, lat


def number(value: Any) -> float | None:
    """A value that can be drawn and reckoned with; None for a truth, a word, an object."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
