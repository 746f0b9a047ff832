"""Dead letters over HTTP: /api/dead-letters, the notifications that were given up, for an administrator.

GET lists them, oldest first: [{"id", "subscription", "notification", "at", "why", "body"}]; POST .../{id}/send sends
one again, DELETE drops one. `?tenant=` names the tenant, `limit` and `after` (the last id seen) the page.
"""

from __future__ import annotations

from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from shahar.model.access import DEFAULT_TENANT
from shahar.services.dead_letters import DeadLetters
from shahar.values import instants
from shahar.values.bounds import PAGE_LIMIT
from shahar.values.errors import Invalid

PAGE: Final = 100


async def every(request: Request) -> Response:
    """GET /api/dead-letters."""
    letters = await _letters(request).page(*asked_page(request), by=request.scope["shahar.actor"])
    shown = [letter | {"at": instants.text(letter["at"])} for letter in letters]
    return Response(orjson.dumps(shown), 200, {"cache-control": "no-store"}, "application/json")


async def send(request: Request) -> Response:
    """POST /api/dead-letters/{id}/send."""
    await _letters(request).send(
        _tenant(request),
        request.path_params["id"],
        request.scope["shahar.parts"].wall(),
        by=request.scope["shahar.actor"],
    )
    return Response(status_code=204)


async def drop(request: Request) -> Response:
    """DELETE /api/dead-letters/{id}."""
    await _letters(request).drop(
        _tenant(request),
        request.path_params["id"],
        request.scope["shahar.parts"].wall(),
        by=request.scope["shahar.actor"],
    )
    return Response(status_code=204)


def asked_page(request: Request) -> tuple[str, str, int]:
    """The tenant, the last id seen and how many; Invalid."""
    asked = request.query_params.get("limit", str(PAGE))
    if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked[:9]) <= PAGE_LIMIT:
        raise Invalid("limit is a number", field="limit", rule=f"1 to {PAGE_LIMIT}")
    return _tenant(request), request.query_params.get("after", ""), int(asked)


def _letters(request: Request) -> DeadLetters:
    found: DeadLetters = request.scope["shahar.parts"].subscriptions.dead_letters
    return found


def _tenant(request: Request) -> str:
    return request.query_params.get("tenant", DEFAULT_TENANT)


ROUTES: Final = (
    (("GET",), "/api/dead-letters", every, ("admin", "subscriptions")),
    (("POST",), "/api/dead-letters/{id}/send", send, ("admin", "subscriptions")),
    (("DELETE",), "/api/dead-letters/{id}", drop, ("admin", "subscriptions")),
)
