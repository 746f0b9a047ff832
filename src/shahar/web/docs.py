"""GET /docs: the interfaces on one calm page, with examples that work against the server that shows them.

For: whoever writes the first program against a city. The prose is in the page's language, code and tables of bounds
in English.
Promises: each example carries this server's own address, and types and attributes of the systems that are installed;
the bounds are those that are kept (values/bounds).
Does not: describe every operation of the standard (ETSI GS CIM 009 does), nor show anything that is not carried.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from shahar.model.access import Act, Actor, Target, may
from shahar.model.city import City
from shahar.model.system import Attribute, Catalogue, Model
from shahar.values import instants, units
from shahar.values.bounds import BOUNDS, Bound, quantity
from shahar.values.instants import DAY, Instant
from shahar.web.pages import paper, words
from shahar.web.pages.view import Face

Endpoint = Callable[[Request], Awaitable[Response]]

MQTT_PORT: Final = 1883
DEVICE: Final = "my-station"
PLAIN: Final = "plain"


@dataclass(frozen=True, slots=True)
class Server:
    """Where the reader's programs reach this server: `http` without a trailing slash, and the MQTT listener."""

    http: str
    mqtt_host: str
    mqtt_port: int = MQTT_PORT


async def show(request: Request) -> Response:
    """The page in the reader's language."""
    face: Face = request.scope["shahar.parts"].picture
    actor: Actor = request.scope["shahar.actor"]
    language = words.language_of(request)
    port = face.city.settings.get("mqtt_port", MQTT_PORT)
    server = Server(str(request.base_url).rstrip("/"), request.url.hostname or "localhost", port)
    open_to_all = may(actor, Target("read", "entities")).allowed
    page = docs_page(face.city, language, face.catalogue, server, face.pace().at, open_to_all=open_to_all)
    return paper.answer(request, page, language)


def docs_page(
    city: City, language: str, catalogue: Catalogue, server: Server, at: Instant, *, open_to_all: bool
) -> str:
    """The page as HTML. `at`: the city's present, for the instants in the examples; `open_to_all`: reading needs no
    key.
    """
    return paper.render(
        "docs.html",
        city,
        language,
        "/docs",
        open_to_all=open_to_all,
        examples=examples(city, catalogue, server, at),
        models=[
            _told(system.key, model, language, catalogue) for system in catalogue.systems for model in system.models
        ],
        bounds=_bounds(),
    )


def examples(city: City, catalogue: Catalogue, server: Server, at: Instant) -> dict[str, str]:
    """Commands for a shell, one for each section; made with the first type of an installed system that has a
    measurement.
    """
    model, attribute = _shown(catalogue)
    entities = f"curl -sG {server.http}/ngsi-ld/v1/entities"
    of_type = f"--data-urlencode 'type={model.iri}'"
    day = at - at % DAY
    west, south, east, north = city.bbox
    reading = {
        "id": f"urn:ngsi-ld:{model.type}:{DEVICE}",
        "type": model.iri,
        attribute.iri: {
            "type": "Property",
            "value": 31.4,
            "unitCode": attribute.unit,
            "observedAt": instants.text(day),
        },
    }
    follow = {
        "type": "Subscription",
        "entities": [{"type": model.iri}],
        "notification": {"endpoint": {"uri": "https://example.org/told", "accept": "application/json"}},
    }
    message = orjson.dumps({"at": instants.text(day), _decoded(catalogue, model, attribute): 31.4}).decode()
    return {
        "now": _lines(entities, of_type, "-d format=simplified -d limit=3"),
        "near": _lines(
            entities,
            "-H 'Accept: application/geo+json'",
            of_type,
            "-d 'georel=near;maxDistance==5000' -d geometry=Point",
            f"-d 'coordinates=[{(west + east) / 2:.4f},{(south + north) / 2:.4f}]'",
        ),
        "history": _lines(
            f"curl -sG {server.http}/ngsi-ld/v1/temporal/entities",
            of_type,
            f"--data-urlencode 'attrs={attribute.iri}'",
            f"-d timerel=after -d timeAt={instants.text(day - 2 * DAY)} -d lastN=2 -d limit=3",
        ),
        "write": _posted(f"{server.http}/ngsi-ld/v1/entityOperations/upsert", "$KEY", [reading]),
        "follow": _posted(f"{server.http}/ngsi-ld/v1/subscriptions", "$KEY", follow),
        "http": _lines(
            f"curl -s {server.http}/intake/{DEVICE}", '-H "Authorization: Bearer $DEVICE_KEY"', f"-d '{message}'"
        ),
        "mqtt": _lines(
            f"mosquitto_pub -h {server.mqtt_host} -p {server.mqtt_port} -q 1",
            f'-u {DEVICE} -P "$DEVICE_KEY"',
            f"-t up/{DEVICE}",
            f"-m '{message}'",
        ),
        "watch": f"curl -s {server.http}/health\ncurl -s {server.http}/ready\n"
        + _lines(f"curl -s {server.http}/metrics", '-H "Authorization: Bearer $KEY"'),
    }


def _lines(*parts: str) -> str:
    return " \\\n  ".join(parts)


def _posted(address: str, key: str, document: Any) -> str:
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
    return _lines(
        f"curl -s {address}", f'-H "Authorization: Bearer {key}"', "-H 'Content-Type: application/json'", f"-d '{body}'"
    )


def _shown(catalogue: Catalogue) -> tuple[Model, Attribute]:
    """The type and attribute of the examples: the first that an installed system measures, else an invented one."""
    for system in catalogue.systems:
        for model in system.models:
            for attribute in model.attributes:
                if attribute.unit:
                    return model, attribute
    attribute = Attribute(name="level", iri="https://example.org/level", title="", unit="C62")
    return Model(type="Thing", iri="https://example.org/Thing", title="", attributes=(attribute,)), attribute


def _decoded(catalogue: Catalogue, model: Model, attribute: Attribute) -> str:
    """What a device that sends plain JSON calls an attribute."""
    for system in catalogue.systems:
        for profile in system.profiles:
            if profile.type == model.type and profile.envelope == PLAIN:
                for name, target in profile.attributes.items():
                    if target == attribute.name:
                        return name
    return attribute.name


def _told(system: str, model: Model, language: str, catalogue: Catalogue) -> dict[str, Any]:
    """One type for the table: title, IRI, and each measured attribute with its unit."""
    return {
        "title": catalogue.word(system, language, model.title),
        "type": model.type,
        "iri": model.iri,
        "attributes": [
            {
                "name": one.name,
                "iri": one.iri,
                "title": catalogue.word(system, language, one.title),
                "unit": f"{one.unit} ({units.symbol(one.unit)})" if one.unit and units.symbol(one.unit) else one.unit,
            }
            for one in model.attributes
        ],
    }


def _bounds() -> list[tuple[str, list[dict[str, str]]]]:
    """Every bound by its part."""
    parts: dict[str, list[dict[str, str]]] = {}
    for bound in BOUNDS.values():
        parts.setdefault(bound.part, []).append(_bound(bound))
    return list(parts.items())


def _bound(bound: Bound) -> dict[str, str]:
    beyond = bound.refused_as if isinstance(bound.refused_as, str) else bound.refused_as.__name__
    return {"name": bound.name, "value": quantity(bound), "why": bound.why, "beyond": beyond}


ROUTES: Final[tuple[tuple[tuple[str, ...], str, Endpoint, tuple[Act, str] | None], ...]] = (
    (("GET",), "/docs", show, None),
)
"""Methods, path, endpoint; open to everybody: it tells nothing of the city's state."""
