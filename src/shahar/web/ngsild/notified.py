"""POST /ngsi-ld/notifications/{id}/{token}: what a source tells about a subscription of ours there.

Whoever knows the address may tell: it was given to that source alone (services/forwarded). Neither a credential nor a
tenant is read from the request; the tenant is that of the subscription.
Source: ETSI GS CIM 009 clauses 5.8.6, 6.3.5.
"""

from __future__ import annotations

from shahar.web.exchange import Request, Response
from shahar.web.ngsild.negotiate import body_of, linked_context


async def receive(request: Request) -> Response:
    """Take one notification; the answer says that it is durable."""
    parts = request.parts
    one = await parts.forwarded(*request.args)
    request.params.done()
    await parts.notified.take(one, body_of(request), linked_context(request), request.at)
    return Response(200)
