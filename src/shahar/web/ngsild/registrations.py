"""Registrations of context sources: /csourceRegistrations and /csourceRegistrations/{id}.

Rights. Whoever registers a source decides where what is written here is sent, and what stands among our answers:
besides the right over registrations the rights to read and to write the entities of every type that the registration
names are demanded, and of any type where it names none. A registration is seen by those who may read registrations of
one of its types; the values of its contextSourceInfo by those alone who may change it.
Source: ETSI GS CIM 009 clauses 6.8, 6.9, 5.9, 5.10.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from shahar.model import access, projection
from shahar.model import query as q
from shahar.model import registration as model
from shahar.model.access import Act, Target
from shahar.model.context import Context
from shahar.model.entity import check_uri
from shahar.model.registration import Ask, Period, Record, Tally
from shahar.values.bounds import QUERY_NAMES
from shahar.values.errors import Invalid, TooLarge
from shahar.web.exchange import JSON, LD_JSON, LOCATION, Params, Request, Response
from shahar.web.ngsild.listing import id_of, sys_of, window_of
from shahar.web.ngsild.negotiate import accepted, context_of, object_of, reply

ROOT: Final = "/ngsi-ld/v1/csourceRegistrations"
LATER: Final = frozenset({"lang", "omit", "geometryProperty"})


async def create(request: Request) -> Response:
    """POST /csourceRegistrations."""
    body = object_of(request)
    _done(request)
    context = await context_of(request, body)
    _guard(request, model.parse(body, context, request.at, new_id="urn:ngsi-ld:ContextSourceRegistration:new"))
    made = await request.parts.registrations.create(request.tenant, body, context, request.at)
    return Response(201, headers=[(LOCATION, f"{ROOT}/{quote(made, safe=':')}".encode())])


async def retrieve(request: Request) -> Response:
    """GET /csourceRegistrations/{id}."""
    registration_id = id_of(request, "registration")
    sys = sys_of(request, "registration")
    _done(request)
    kind = accepted(request, JSON, LD_JSON)
    context = await context_of(request)
    record, tally = await request.parts.registrations.get(request.tenant, registration_id, request.at)
    access.demand(request.actor, _target(request, "read", record))
    return reply(request, kind, context, _told(request, record, tally, context, sys))


async def update(request: Request) -> Response:
    """PATCH /csourceRegistrations/{id}."""
    registration_id = id_of(request, "registration")
    _done(request)
    body = object_of(request, patch=True)
    context = await context_of(request, body)
    await request.parts.registrations.update(
        request.tenant, registration_id, body, context, request.at, lambda record: _guard(request, record)
    )
    return Response(204)


async def delete(request: Request) -> Response:
    """DELETE /csourceRegistrations/{id}."""
    registration_id = id_of(request, "registration")
    _done(request)

    def check(record: Record) -> None:
        access.demand(request.actor, _target(request, "write", record))

    await request.parts.registrations.delete(request.tenant, registration_id, request.at, check)
    return Response(204)


async def find(request: Request) -> Response:
    """GET /csourceRegistrations: a page of those that may have what is asked for, oldest first (5.10.2)."""
    params = request.params
    window = window_of(params)
    sys = sys_of(request, "registration")
    kind = accepted(request, JSON, LD_JSON)
    context = await context_of(request)
    ask = ask_of(params, context)
    filtered = params.take("csf")
    csf = q.parse_q(filtered, context.expand, field="csf") if filtered else None
    _done(request)
    if not (ask.types or ask.attrs or ask.ids):
        raise Invalid(
            "a query of registrations needs one of type, attrs, q, georel, id",
            field="query",
            rule="ETSI GS CIM 009 clause 5.10.2.4",
        )
    window.check()
    types = access.readable_types(request.actor, "registrations", request.tenant)
    held, total = await request.parts.registrations.find(
        request.tenant, ask, request.at, limit=window.limit, offset=window.offset, csf=csf, types=types
    )
    shown = [_told(request, record, tally, context, sys) for record, tally in held]
    return reply(request, kind, context, shown, window.headers(request, total, LD_JSON))


# -- what is asked ----------------------------------------------------------------------------------------------------


def ask_of(params: Params, context: Context) -> Ask:
    """The entities, attributes, place and time that a discovery is about; Invalid."""
    ids = params.names("id")
    for entity_id in ids:
        check_uri(entity_id, "id")
    pattern, types, scope = params.take("idPattern"), params.take("type"), params.take("scopeQ")
    condition = params.take("q")
    node = q.parse_q(condition, context.expand) if condition else None
    geo = _geo(params, context)
    attrs = _attrs(params, context) | q.attributes(node) | ({geo.attr} if geo else frozenset())
    datasets = params.names("datasetId")
    return Ask(
        ids=tuple(ids),
        id_pattern=q.parse_id_pattern(pattern) if pattern else None,
        types=q.parse_types(types, context.expand) if types else None,
        attrs=attrs or None,
        datasets=frozenset(datasets) if datasets else None,
        geo=geo,
        scope=q.parse_scope(scope) if scope else None,
        period=period_of(params),
        strict=True,
    )


def _attrs(params: Params, context: Context) -> frozenset[str]:
    names = params.names("attrs") + [name for name in params.names("pick") if name not in projection.MEMBERS]
    if len(names) > QUERY_NAMES:
        raise TooLarge("too many names", field="attrs", rule=f"at most {QUERY_NAMES}")
    return frozenset(context.expand(name) for name in names)


def _geo(params: Params, context: Context) -> q.Geo | None:
    """The geo query of an address, None when there is none; Invalid (4.10)."""
    given = {name: params.take(name) for name in ("georel", "geometry", "coordinates")}
    where = params.take("geoproperty") or "location"
    if all(value is None for value in given.values()):
        return None
    for name, value in given.items():
        if value is None:
            raise Invalid(f"a geo query needs {name}", field=name, rule="ETSI GS CIM 009 clause 4.10")
    return q.parse_geo(given["georel"], given["geometry"], given["coordinates"], context.expand(where))


def period_of(params: Params) -> Period | None:
    """The temporal query of an address, None when there is none; Invalid (4.11)."""
    relation, by = params.take("timerel"), params.take("timeproperty") or "observedAt"
    start, end = params.take("timeAt"), params.take("endTimeAt")
    if relation is None:
        if start is not None or end is not None:
            raise Invalid("a temporal query needs timerel", field="timerel", rule="before, after or between")
        return None
    return model.period(relation, start, end, by)


# -- rights and answers -----------------------------------------------------------------------------------------------


def _target(request: Request, act: Act, record: Record, resource: str = "registrations") -> Target:
    return Target(act, resource, request.tenant, model.types_of(model.compiled(record)))


def _guard(request: Request, record: Record) -> None:
    """Refuse a registration of entities that the actor may not read and write."""
    access.demand(request.actor, _target(request, "write", record))
    for kind in model.types_of(model.compiled(record)) or (None,):
        types = () if kind is None else (kind,)
        for act in ("read", "write"):
            access.demand(request.actor, Target(act, "entities", request.tenant, types))


def _told(request: Request, record: Record, tally: Tally, context: Context, sys: bool) -> dict[str, object]:
    secrets = access.may(request.actor, _target(request, "write", record)).allowed
    return model.told(record, context, tally=tally, sys=sys, secrets=secrets)


def _done(request: Request) -> None:
    request.params.flag("local")
    request.params.done(LATER)
