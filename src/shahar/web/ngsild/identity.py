"""Who this broker is to others: /info/sourceIdentity.

Source: ETSI GS CIM 009 clauses 5.15.1, 6.33.
"""

from __future__ import annotations

from shahar.web.exchange import JSON, LD_JSON, Request, Response
from shahar.web.ngsild.negotiate import accepted, context_of, reply


async def retrieve(request: Request) -> Response:
    """GET /info/sourceIdentity."""
    kind = accepted(request, JSON, LD_JSON)
    request.params.done()
    context = await context_of(request)
    return reply(request, kind, context, await request.parts.identity.describe(request.tenant, request.at))
