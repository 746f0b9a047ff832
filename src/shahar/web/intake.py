"""POST /intake/{device}: a device's message over HTTP, answered only when its readings are durable.

The body is what the device's profile says (an envelope of a network server, or plain JSON). The credential is the
device's own key, or a key that may write intake.
"""

from __future__ import annotations

from shahar.model.access import Target, demand
from shahar.web.exchange import Request, Response, json_response


async def receive(request: Request) -> Response:
    """Take one message; the answer says how many values were new."""
    name = request.args[0]
    demand(request.actor, Target("write", "intake", request.tenant, device=name))
    new = await request.parts.devices.take(name, request.body, request.at)
    return json_response(200, {"device": name, "values": new})
