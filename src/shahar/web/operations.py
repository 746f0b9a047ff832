"""The addresses of the operations centre: /ops, which is built from ui/, and what it asks under /ops/api.

Promises: nothing of the city is kept by a browser or on the way (`no-store`); the page asks no host but this one.
Does not: know what is answered (web/picture), nor who may ask: each route names the right that application.py asks for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from shahar.model.access import Act
from shahar.values.errors import Invalid, Unavailable
from shahar.values.instants import Instant
from shahar.web.picture import Picture

CHART_HOURS_MAX: Final = 24 * 31


def _picture(request: Request) -> Picture:
    found: Picture = request.scope["shahar.parts"].picture
    return found


def _at(request: Request) -> Instant:
    at: Instant = request.scope["shahar.parts"].now()
    return at


def _json(document: Any) -> Response:
    return Response(orjson.dumps(document), media_type="application/json", headers={"cache-control": "no-store"})


async def city(request: Request) -> Response:
    """GET /ops/api/city."""
    return _json(_picture(request).document())


async def objects(request: Request) -> Response:
    """GET /ops/api/objects."""
    picture, at = _picture(request), _at(request)
    shown = [one for doc in await picture.docs() if (one := picture.object(doc, at))]
    return _json({"objects": shown})


async def card(request: Request) -> Response:
    """GET /ops/api/objects/{id}."""
    return _json(await _picture(request).card(request.path_params["id"], _at(request)))


async def chart(request: Request) -> Response:
    """GET /ops/api/history?id=&attribute=&hours=; without hours as many as make a line."""
    given = request.query_params
    return _json(
        await _picture(request).chart(
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
    return _json({"tiles": await _picture(request).tiles(_at(request))})


async def stream(request: Request) -> Response:
    """GET /ops/api/stream: server-sent events."""
    return StreamingResponse(
        _picture(request).events(),
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
