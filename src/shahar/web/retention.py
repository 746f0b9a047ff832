"""Retention over HTTP: /api/retention, how long and how fine a tenant's past is kept, for an administrator.

GET lists the rules: [{"id", "type", "keepDays", "thin": {"afterDays", "period", "method"}}]; POST makes one, or puts it
in the place of the one about the same type; DELETE .../{id} takes one out. `?tenant=` names the tenant.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from shahar.model.access import DEFAULT_TENANT
from shahar.services import retention
from shahar.web.accounts import asked_json


async def every(request: Request) -> Response:
    """GET /api/retention."""
    parts, actor = request.scope["shahar.parts"], request.scope["shahar.actor"]
    return _json(await retention.listed(parts.broker.db, _tenant(request), by=actor))


async def put(request: Request) -> Response:
    """POST /api/retention."""
    parts, actor = request.scope["shahar.parts"], request.scope["shahar.actor"]
    rule = retention.read(await asked_json(request, retention.MEMBERS))
    new = await retention.put(parts.broker.db, _tenant(request), rule, parts.wall(), by=actor)
    return _json({"id": retention.id_of(rule.type), **rule.shown()}, 201 if new else 200)


async def drop(request: Request) -> Response:
    """DELETE /api/retention/{id}."""
    parts, actor = request.scope["shahar.parts"], request.scope["shahar.actor"]
    await retention.drop(parts.broker.db, _tenant(request), request.path_params["id"], parts.wall(), by=actor)
    return Response(status_code=204)


def _json(document: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, {"cache-control": "no-store"}, "application/json")


def _tenant(request: Request) -> str:
    return request.query_params.get("tenant", DEFAULT_TENANT)


ROUTES: Final = (
    (("GET",), "/api/retention", every, ("admin", "temporal")),
    (("POST",), "/api/retention", put, ("admin", "temporal")),
    (("DELETE",), "/api/retention/{id}", drop, ("admin", "temporal")),
)
