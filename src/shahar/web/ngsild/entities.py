"""Changes of entities and their attributes: /entities, /entities/{id}, /entities/{id}/attrs and
/entities/{id}/attrs/{attr}.

Each handler reads and checks the request, hands one change to the broker, and dresses what came of it. Questions are
read in queries.
Source: ETSI GS CIM 009 clauses 6.4 to 6.7, 5.6.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from shahar.model.change import Applied, Change
from shahar.model.entity import CREATE, PATCH, Reading, check_uri, parse_entity, parse_instances
from shahar.values import instants
from shahar.values.errors import Invalid
from shahar.web.exchange import Request, Response, json_response
from shahar.web.ngsild.distribution import change as distributed
from shahar.web.ngsild.distribution import served
from shahar.web.ngsild.negotiate import (
    LATER,
    check_id,
    check_type,
    context_of,
    guard,
    guard_types,
    object_of,
)

PARTIAL: Final = Reading(nulls=True, partial=True)


async def create(request: Request) -> Response:
    """POST /entities."""
    body = object_of(request)
    local = request.params.flag("local")
    request.params.done(LATER)
    context = await context_of(request, body)
    doc = parse_entity(body, context)
    guard_types(request, "write", doc.get("type", []))
    wanted = Change("create", doc["id"], doc)
    good = Response(201, headers=[(b"location", b"/ngsi-ld/v1/entities/" + quote(doc["id"], safe=":").encode())])
    if (sources := served(request, local)) is not None:
        return await distributed(request, sources, wanted, "createEntity", context, body, good)
    await request.parts.broker.change(request.tenant, wanted, request.at)
    return good


async def merge(request: Request) -> Response:
    """PATCH /entities/{id}: merge patch."""
    entity_id = check_id(request.args[0])
    params = request.params
    observed = params.take("observedAt")
    lang = params.take("lang") or ""
    simplified = _simplified(request)
    local = params.flag("local")
    kinds = params.take("type")
    params.done(LATER)
    body = object_of(request, patch=True)
    context = await context_of(request, body)
    if kinds is not None:
        await check_type(request, entity_id, kinds, context)
    fragment = parse_entity(body, context, Reading(nulls=True, simplified=simplified), entity_id=entity_id)
    await guard(request, "write", entity_id)
    change = Change(
        "merge",
        entity_id,
        fragment,
        bare=simplified,
        lang=lang,
        observed_at=instants.parse(observed, "observedAt") if observed else None,
    )
    if (sources := served(request, local)) is not None:
        flags = _given(type=kinds, observedAt=observed, lang=lang, format="simplified" if simplified else None)
        return await distributed(request, sources, change, "mergeEntity", context, body, Response(204), flags)
    await request.parts.broker.change(request.tenant, change, request.at)
    return Response(204)


def _given(**flags: str | None) -> list[tuple[str, str]]:
    """The parameters that were given, to be passed on."""
    return [(name, value) for name, value in flags.items() if value]


def _simplified(request: Request) -> bool:
    wishes = {*request.params.names("options"), request.params.take("format")} - {None}
    if not wishes <= {"keyValues", "simplified", "concise", "normalized"}:
        raise Invalid("the option is not known here", field="options", rule="keyValues, simplified, concise")
    return bool(wishes & {"keyValues", "simplified"})


async def replace(request: Request) -> Response:
    """PUT /entities/{id}."""
    entity_id = check_id(request.args[0])
    local = request.params.flag("local")
    kinds = request.params.take("type")
    request.params.done(LATER)
    body = object_of(request)
    context = await context_of(request, body)
    doc = parse_entity(body, context, entity_id=entity_id)
    if kinds is not None:
        await check_type(request, entity_id, kinds, context)
    await guard(request, "write", entity_id)
    guard_types(request, "write", doc.get("type", []))
    wanted = Change("replace", entity_id, doc)
    if (sources := served(request, local)) is not None:
        return await distributed(
            request, sources, wanted, "replaceEntity", context, body, Response(204), _given(type=kinds)
        )
    await request.parts.broker.change(request.tenant, wanted, request.at)
    return Response(204)


async def delete(request: Request) -> Response:
    """DELETE /entities/{id}."""
    entity_id = check_id(request.args[0])
    local = request.params.flag("local")
    kinds = request.params.take("type")
    request.params.done(LATER)
    context = await context_of(request)
    if kinds is not None:
        await check_type(request, entity_id, kinds, context)
    await guard(request, "write", entity_id)
    wanted = Change("delete", entity_id)
    if (sources := served(request, local)) is not None:
        return await distributed(
            request, sources, wanted, "deleteEntity", context, None, Response(204), _given(type=kinds)
        )
    await request.parts.broker.change(request.tenant, wanted, request.at)
    return Response(204)


async def append_attrs(request: Request) -> Response:
    """POST /entities/{id}/attrs."""
    new_only = "noOverwrite" in request.params.names("options")
    return await _change_attrs(request, "append_new" if new_only else "append", CREATE)


async def update_attrs(request: Request) -> Response:
    """PATCH /entities/{id}/attrs."""
    request.params.names("options")
    return await _change_attrs(request, "update", PATCH)


async def _change_attrs(request: Request, kind: Any, reading: Reading) -> Response:
    entity_id = check_id(request.args[0])
    kinds = request.params.take("type")
    local = request.params.flag("local")
    request.params.done(LATER)
    body = object_of(request, patch=kind == "update")
    body = {key: value for key, value in body.items() if key not in {"id", "@id"}}  # the address says it (D004_01_exc)
    context = await context_of(request, body)
    fragment = parse_entity(body, context, reading, entity_id=entity_id)
    if kinds is not None:
        await check_type(request, entity_id, kinds, context)
    await guard(request, "write", entity_id)
    wanted = Change(kind, entity_id, fragment)
    if (sources := served(request, local)) is not None:
        operation = "updateEntity" if kind == "update" else "appendAttrs"
        flags = _given(type=kinds, options="noOverwrite" if kind == "append_new" else None)
        return await distributed(request, sources, wanted, operation, context, body, Response(204), flags)
    return update_answer(await request.parts.broker.change(request.tenant, wanted, request.at))


def update_answer(applied: Applied) -> Response:
    """204 when everything was done, else what was and what was not (5.2.18); the answer has no @context, so names are
    whole."""
    if not applied.missed:
        return Response(204)
    missed = [{"attributeName": iri, "reason": reason} for iri, reason in applied.missed]
    updated = list(dict.fromkeys(applied.updated))
    return json_response(207, {"updated": updated, "notUpdated": missed})


def attribute_name(name: str) -> str:
    """The name in an address, when it may be an attribute's; Invalid."""
    if name.startswith("@") or name in {"id", "type", "scope"}:
        raise Invalid(f"{name!r:.80} is not an attribute's name", field="attrId", rule="ETSI GS CIM 009 clause 4.6.2")
    return name


async def patch_attr(request: Request) -> Response:
    """PATCH /entities/{id}/attrs/{attr}: partial update."""
    return await _change_attr(request, "partial", PARTIAL)


async def replace_attr(request: Request) -> Response:
    """PUT /entities/{id}/attrs/{attr}."""
    return await _change_attr(request, "replace_attr", CREATE)


async def _change_attr(request: Request, kind: Any, reading: Reading) -> Response:
    entity_id = check_id(request.args[0])
    kinds = request.params.take("type")
    local = request.params.flag("local")
    request.params.done(LATER)
    body = object_of(request, patch=kind == "partial")
    context = await context_of(request, body)
    name = attribute_name(request.args[1])
    given = {key: value for key, value in body.items() if key not in {"@context", "id"}}
    instances = parse_instances(name, given, context, reading)
    if kinds is not None:
        await check_type(request, entity_id, kinds, context)
    await guard(request, "write", entity_id)
    iri = context.expand(name)
    change = Change(kind, entity_id, {"id": entity_id, "attrs": {iri: instances}}, attr=iri)
    if (sources := served(request, local)) is not None:
        operation = "updateAttrs" if kind == "partial" else "replaceAttrs"
        return await distributed(request, sources, change, operation, context, body, Response(204), _given(type=kinds))
    await request.parts.broker.change(request.tenant, change, request.at)
    return Response(204)


async def delete_attr(request: Request) -> Response:
    """DELETE /entities/{id}/attrs/{attr}."""
    entity_id = check_id(request.args[0])
    params = request.params
    every = params.flag("deleteAll")
    dataset = params.take("datasetId") or ""
    kinds = params.take("type")
    local = params.flag("local")
    params.done(LATER)
    if dataset:
        check_uri(dataset, "datasetId")
    context = await context_of(request)
    if kinds is not None:
        await check_type(request, entity_id, kinds, context)
    await guard(request, "write", entity_id)
    name = request.args[1]
    iri = name if name == "scope" else context.expand(attribute_name(name))
    wanted = Change("delete_attr", entity_id, attr=iri, dataset=dataset, every=every)
    if (sources := served(request, local)) is not None:
        flags = _given(type=kinds, datasetId=dataset, deleteAll="true" if every else None)
        return await distributed(request, sources, wanted, "deleteAttrs", context, None, Response(204), flags)
    await request.parts.broker.change(request.tenant, wanted, request.at)
    return Response(204)
