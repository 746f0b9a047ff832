"""Telling and correcting the past: /temporal/entities, its attributes and their instances.

The past and the present are one store, so that whoever writes the one needs the right to write the other as well.
Source: ETSI GS CIM 009 clauses 5.6.11 to 5.6.16, 6.18 to 6.22.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from shahar.model import access, evolution
from shahar.model.context import Context
from shahar.model.entity import CREATE, VALUE_MEMBER, Instance, check_uri, parse_instances
from shahar.services import past, temporal
from shahar.values.errors import Invalid, WrongMethod
from shahar.web.exchange import Request, Response
from shahar.web.ngsild.entities import attribute_name
from shahar.web.ngsild.negotiate import LATER, body_of, check_id, context_of, object_of

_NO_NAME: Final = frozenset(' ()<>"{}[]|\\^`;,=&')


async def tell(request: Request) -> Response:
    """POST /temporal/entities: an entity's evolution is made, or what is told is added to it."""
    request.params.flag("local")
    request.params.done(LATER)
    body = object_of(request)
    told = evolution.read(body, await context_of(request, body))
    entity_id = told.doc["id"]
    types = told.doc.get("type", [])
    if not types:
        raise Invalid("an entity needs a type", field="type", rule="ETSI GS CIM 009 clause 5.2.4")
    _may_write(request, types)
    await _guard(request, entity_id)
    if not await past.tell(request.parts.broker, request.tenant, told, request.at, create=True):
        return Response(204)
    location = b"/ngsi-ld/v1/temporal/entities/" + quote(entity_id, safe=":").encode()
    return Response(201, headers=[(b"location", location)])


async def append(request: Request) -> Response:
    """POST /temporal/entities/{id}/attrs."""
    entity_id = check_id(request.args[0])
    request.params.flag("local")
    request.params.done(LATER)
    body = object_of(request)
    told = evolution.read(body, await context_of(request, body), entity_id=entity_id)
    if not (told.doc["attrs"] or told.scopes or told.doc.get("type")):
        raise Invalid("there is no attribute to add", field="body", rule="ETSI GS CIM 009 clause 5.6.12")
    await _guard(request, entity_id)
    if "type" in told.doc:
        _may_write(request, told.doc["type"])
    await past.tell(request.parts.broker, request.tenant, told, request.at, create=False)
    return Response(204)


async def delete(request: Request) -> Response:
    """DELETE /temporal/entities/{id}."""
    entity_id = check_id(request.args[0])
    request.params.flag("local")
    request.params.done(LATER)
    await _guard(request, entity_id)
    await past.drop(request.parts.broker, request.tenant, entity_id, request.at)
    return Response(204)


async def delete_attr(request: Request) -> Response:
    """DELETE /temporal/entities/{id}/attrs/{attr}."""
    entity_id = check_id(request.args[0])
    every = request.params.flag("deleteAll")
    dataset = request.params.take("datasetId") or ""
    request.params.flag("local")
    request.params.done(LATER)
    if dataset in {"", "@none"}:
        dataset = ""
    else:
        check_uri(dataset, "datasetId")
    if request.path.endswith("/"):  # an instance was meant: the whole attribute must not go for a slip
        raise Invalid("the address names no instance", field="instanceId", rule="ETSI GS CIM 009 clause 5.6.15.4")
    iri = _name(request, await context_of(request))
    await _guard(request, entity_id)
    broker = request.parts.broker
    await past.drop_attribute(broker, request.tenant, entity_id, iri, dataset, request.at, every=every)
    return Response(204)


async def correct(request: Request) -> Response:
    """PATCH /temporal/entities/{id}/attrs/{attr}/{instance}."""
    entity_id, instance_id = check_id(request.args[0]), check_uri(request.args[2], "instanceId")
    request.params.flag("local")
    request.params.done(LATER)
    if not request.args[1]:
        raise WrongMethod("the address names no attribute", field="attrId")
    body = body_of(request, patch=True)
    context = await context_of(request, body)
    iri = _name(request, context)
    new = _one(body, context, request.args[1], iri)
    await _guard(request, entity_id)
    broker = request.parts.broker
    await past.correct(broker, request.tenant, entity_id, iri, instance_id, new, request.at)
    return Response(204)


async def delete_instance(request: Request) -> Response:
    """DELETE /temporal/entities/{id}/attrs/{attr}/{instance}."""
    entity_id, instance_id = check_id(request.args[0]), check_uri(request.args[2], "instanceId")
    request.params.flag("local")
    request.params.done(LATER)
    iri = _name(request, await context_of(request))
    await _guard(request, entity_id)
    await past.drop_instance(request.parts.broker, request.tenant, entity_id, iri, instance_id, request.at)
    return Response(204)


def _name(request: Request, context: Context) -> str:
    """The attribute that the address names, expanded."""
    name = request.args[1]
    if name == evolution.SCOPE:
        return name
    if not _NO_NAME.isdisjoint(name):
        raise Invalid(f"{name!r:.80} is not an attribute's name", field="attrId", rule="ETSI GS CIM 009 clause 4.6.2")
    return context.expand(attribute_name(name))


def _one(body: Any, context: Context, name: str, iri: str) -> Instance:
    """The one instance of a fragment: bare, in a list of one, or under the attribute's name (clause 5.6.14.3)."""
    if isinstance(body, dict) and not _is_instance(body):
        named = [value for key, value in body.items() if key not in _AROUND and context.expand(key) == iri]
        others = [key for key in body if key not in _AROUND and context.expand(key) != iri]
        if len(named) == 1 and not others:
            body = named[0]
    listed = body if isinstance(body, list) else [body]
    if len(listed) != 1 or not isinstance(listed[0], dict) or not listed[0].keys() - {"@context"}:
        raise Invalid("the fragment is one instance", field="body", rule="ETSI GS CIM 009 clause 5.6.14")
    given = {key: value for key, value in listed[0].items() if key != "@context"}
    return parse_instances(name, given, context, CREATE)[0]


_AROUND: Final = frozenset({"@context", "id", "type"})
_VALUES: Final = frozenset(VALUE_MEMBER.values())


def _is_instance(body: dict[str, Any]) -> bool:
    return body.get("type") in VALUE_MEMBER or not _VALUES.isdisjoint(body)


# -- rights -----------------------------------------------------------------------------------------------------------


def _may_write(request: Request, types: list[str]) -> None:
    """Refuse unless the actor may write past and present of these types."""
    for resource in ("temporal", "entities"):
        access.demand(request.actor, access.Target("write", resource, request.tenant, tuple(types)))


async def _guard(request: Request, entity_id: str) -> None:
    """Refuse unless the actor may write past and present of the entity, if there is one, living or deleted."""
    targets = [access.Target("write", resource, request.tenant) for resource in ("temporal", "entities")]
    if all(access.may(request.actor, target).allowed for target in targets):
        return
    types = await temporal.types_of(request.parts.broker, request.tenant, entity_id)
    if types is not None:
        _may_write(request, types)
