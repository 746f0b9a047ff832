"""Subscriptions of ours at sources over HTTP: GET /api/forwarded, how it stands with each, for an administrator.

[{"id", "subscription", "registration", "state": made, waiting, refused or leaving, "failures", and while it is not well
"problem" and "againInSeconds"}], in the order of ids. `?tenant=` names the tenant, `limit` and `after` (the last id
seen) the page.
"""

from __future__ import annotations

from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from shahar.web.dead_letters import asked_page


async def every(request: Request) -> Response:
    """GET /api/forwarded."""
    forwarding = request.scope["shahar.parts"].forwarding
    shown = [] if forwarding is None else await forwarding.page(*asked_page(request))
    return Response(orjson.dumps(shown), 200, {"cache-control": "no-store"}, "application/json")


ROUTES: Final = ((("GET",), "/api/forwarded", every, ("admin", "subscriptions")),)
