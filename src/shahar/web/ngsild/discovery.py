"""Which types and attributes there are: /types, /types/{type}, /attributes and /attributes/{attr}.

Answers come from the tally of shapes (store/shapes.py), never from documents, and from what registered sources say
that they may hold. An actor who may read some types alone
is told of the entities of those, and of those types.
Source: ETSI GS CIM 009 clauses 5.7.5 to 5.7.11, 5.2.24 to 5.2.28, 6.25 to 6.28.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from shahar.model import access
from shahar.model.access import Target
from shahar.model.context import Context
from shahar.model.registration import EntityInfo
from shahar.services.broker import Shape
from shahar.values.errors import NotFound
from shahar.web.exchange import JSON, LD_JSON, Request, Response
from shahar.web.ngsild.distribution import served
from shahar.web.ngsild.negotiate import accepted, context_of, reply


async def types(request: Request) -> Response:
    """GET /types."""
    kind, details = accepted(request, JSON, LD_JSON), request.params.flag("details")
    context, shapes = await _asked(request)
    names = sorted({name for shape in shapes for name in shape.types})
    if details:
        return reply(request, kind, context, [_type(name, shapes, context) for name in names])
    return reply(request, kind, context, _list(request, "EntityTypeList", "typeList", names, context))


async def type_(request: Request) -> Response:
    """GET /types/{type}."""
    kind = accepted(request, JSON, LD_JSON)
    context, shapes = await _asked(request)
    name = context.expand(request.args[0])
    alike = [shape for shape in shapes if name in shape.types]
    if not alike:
        raise NotFound(f"there is no entity of type {name}", field="type")
    told = {
        "id": name,
        "type": "EntityTypeInfo",
        "typeName": context.compact(name),
        "entityCount": sum(shape.entities for shape in alike),
        "attributeDetails": [
            _attribute(iri, context) | {"attributeTypes": _kinds(iri, alike)} for iri in _attributes(alike)
        ],
    }
    return reply(request, kind, context, told)


async def attributes(request: Request) -> Response:
    """GET /attributes."""
    kind, details = accepted(request, JSON, LD_JSON), request.params.flag("details")
    context, shapes = await _asked(request)
    names = _attributes(shapes)
    if details:
        told = [_attribute(iri, context) | {"typeNames": _types_with(iri, shapes, context)} for iri in names]
        return reply(request, kind, context, told)
    return reply(request, kind, context, _list(request, "AttributeList", "attributeList", names, context))


async def attribute(request: Request) -> Response:
    """GET /attributes/{attr}."""
    kind = accepted(request, JSON, LD_JSON)
    context, shapes = await _asked(request)
    iri = context.expand(request.args[0])
    alike = [shape for shape in shapes if iri in shape.attrs]
    if not alike:
        raise NotFound(f"no entity has an attribute {iri}", field="attrId")
    told = _attribute(iri, context) | {
        "attributeCount": sum(shape.entities * len(shape.attrs[iri]) for shape in alike),
        "attributeTypes": _kinds(iri, alike),
        "typeNames": _types_with(iri, alike, context),
    }
    return reply(request, kind, context, told)


async def _asked(request: Request) -> tuple[Context, list[Shape]]:
    """The @context of the request, and the shapes of the entities that the actor may read."""
    local = request.params.flag("local")
    request.params.done()
    context = await context_of(request)
    held = access.readable_types(request.actor, "entities", request.tenant)
    if held == ():
        access.demand(request.actor, Target("read", "entities", request.tenant))
    shapes = await request.parts.broker.shapes(request.tenant)
    if served(request, local) is not None:
        shapes = shapes + _registered(request)
    return context, shapes if held is None else _within(shapes, frozenset(held))


def _registered(request: Request) -> list[Shape]:
    """What registered sources may hold, as far as they say it: nobody is asked, and no entity is counted (5.7.11)."""
    found: list[Shape] = []
    for registration in request.parts.registrations.living(request.tenant, request.at):
        for information in registration.information:
            attrs: dict[str, list[str]] = {iri: [] for iri in sorted(information.attrs or ())}
            found += [Shape(info.types, attrs, 0) for info in information.entities or (EntityInfo(),)]
    return found


def _within(shapes: list[Shape], held: frozenset[str]) -> list[Shape]:
    """The shapes of entities with one of the types held, of which the other types are not told."""
    narrow = ((tuple(name for name in shape.types if name in held), shape) for shape in shapes)
    return [Shape(kept, shape.attrs, shape.entities) for kept, shape in narrow if kept]


def _list(request: Request, kind: str, member: str, names: Iterable[str], context: Context) -> dict[str, Any]:
    made = uuid5(NAMESPACE_URL, f"{request.tenant}/{request.path}")
    return {"id": f"urn:ngsi-ld:{kind}:{made}", "type": kind, member: [context.compact(name) for name in names]}


def _type(name: str, shapes: list[Shape], context: Context) -> dict[str, Any]:
    found = _attributes([shape for shape in shapes if name in shape.types])
    return {
        "id": name,
        "type": "EntityType",
        "typeName": context.compact(name),
        "attributeNames": [context.compact(iri) for iri in found],
    }


def _attribute(iri: str, context: Context) -> dict[str, Any]:
    return {"id": iri, "type": "Attribute", "attributeName": context.compact(iri)}


def _attributes(shapes: list[Shape]) -> list[str]:
    return sorted({iri for shape in shapes for iri in shape.attrs})


def _kinds(iri: str, shapes: list[Shape]) -> list[str]:
    """The types that the attribute has, the most common first."""
    counted: Counter[str] = Counter()
    for shape in shapes:
        for kind in shape.attrs.get(iri, ()):
            counted[kind] += shape.entities
    return [kind for kind, _ in counted.most_common()]


def _types_with(iri: str, shapes: list[Shape], context: Context) -> list[str]:
    names = {name for shape in shapes if iri in shape.attrs for name in shape.types}
    return [context.compact(name) for name in sorted(names)]
