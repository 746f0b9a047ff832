"""The register of devices over HTTP: /api/devices, and the messages that could not be read.

POST takes {"name", "profile", "entity", "attributes"?, "identifier"?, "through"?, "tenant"?} and answers with the
device's key, told this once. `attributes` are the entity's standing ones (place, name, source) in any NGSI-LD form;
short names are those of the installed systems.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from shahar.model.access import Target, demand
from shahar.model.context import Context, compile_context
from shahar.model.entity import CREATE, check_uri, parse_attributes
from shahar.model.system import Catalogue
from shahar.services.devices import Device, Devices
from shahar.values.bounds import FORM_BYTES
from shahar.values.errors import Invalid, Malformed, TooLarge

_MEMBERS: Final = frozenset({"name", "profile", "entity", "attributes", "identifier", "through", "tenant"})


def context_of(catalogue: Catalogue) -> Context:
    """Short names of every installed system, as an @context."""
    terms: dict[str, str] = {}
    for system in catalogue.systems:
        for model in system.models:
            terms |= model.terms()
    return compile_context(terms, {})


def device_from(body: Any, context: Context) -> Device:
    """The device that a body describes; Invalid names the field."""
    if not isinstance(body, dict):
        raise Invalid("a device is a JSON object", field="body", rule="a JSON object")
    for name in body:
        if name not in _MEMBERS:
            raise Invalid(
                f"{name!r:.60} is not a member of a device", field=str(name)[:60], rule=", ".join(sorted(_MEMBERS))
            )
    for name in ("name", "profile", "entity"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise Invalid(f"a device needs {name}", field=name, rule="a text that is not empty")
    for name in ("identifier", "tenant"):
        if not isinstance(body.get(name, ""), str) or len(body.get(name, "")) > 64:
            raise Invalid(f"{name} is a short text", field=name, rule="at most 64 characters")
        if not body.get(name, "").isprintable():
            raise Invalid(f"{name} has a character that cannot be printed", field=name, rule="printable characters")
    if not isinstance(body.get("through", False), bool):
        raise Invalid("through is true or false", field="through", rule="true or false")
    attributes = body.get("attributes", {})
    if not isinstance(attributes, dict):
        raise Invalid("attributes is an object", field="attributes", rule="NGSI-LD attributes")
    return Device(
        name=body["name"],
        profile=body["profile"],
        entity=check_uri(body["entity"], "entity"),
        tenant=body.get("tenant", ""),
        attributes=parse_attributes(attributes, context, CREATE),
        identifier=body.get("identifier", "").lower(),
        through=body.get("through") is True,
    )


def _devices(request: Request) -> Devices:
    found: Devices = request.scope["shahar.parts"].devices
    return found


async def add(request: Request) -> Response:
    """POST /api/devices."""
    body = bytearray()
    async for chunk in request.stream():  # never more than the bound in memory, whatever is announced
        body += chunk
        if len(body) > FORM_BYTES:
            raise TooLarge("the body is too large", field="body", rule=f"at most {FORM_BYTES} bytes")
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise Malformed(f"the body is not JSON: {problem}", field="body", rule="RFC 8259 JSON in UTF-8") from None
    devices = _devices(request)
    device = device_from(told, context_of(devices.catalogue))
    key = await devices.add(device, request.scope["shahar.parts"].now(), by=request.scope["shahar.actor"])
    return _json({"name": device.name, "key": key}, 201)


async def every(request: Request) -> Response:
    """GET /api/devices: each device without its secrets."""
    demand(request.scope["shahar.actor"], Target("read", "devices"))
    shown = [
        {
            "name": one.name,
            "profile": one.profile,
            "entity": one.entity,
            "tenant": one.tenant,
            "identifier": one.identifier,
            "through": one.through,
        }
        for one in _devices(request).every()
    ]
    return _json(shown)


async def broken(request: Request) -> Response:
    """GET /api/devices/broken: the newest messages that could not be read, and why."""
    return _json({"counts": dict(_devices(request).counts), "messages": await _devices(request).broken()})


def _json(document: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, {"cache-control": "no-store"}, "application/json")


ROUTES: Final = (
    (("POST",), "/api/devices", add, ("write", "devices")),
    (("GET",), "/api/devices", every, ("read", "devices")),
    (("GET",), "/api/devices/broken", broken, ("read", "devices")),
)
