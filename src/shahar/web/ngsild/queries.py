"""Questions about entities: GET /entities, GET /entities/{id}, and POST queries.

Each handler reads the question from an address or a body, narrows it to what the actor may read, hands it to the broker
and dresses what came of it. The past (temporal) asks with the same words.
Source: ETSI GS CIM 009 clauses 5.7.1, 5.7.2, 6.4, 6.5, 6.23 (POST query), 6.3.10 (paging), 4.21, 4.23.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_in
from typing import Any, Final

import orjson

from shahar.model import access, collation, fallback, linking, ordering, render
from shahar.model import query as q
from shahar.model.context import Context
from shahar.model.entity import Doc, check_uri
from shahar.model.linking import Join
from shahar.model.render import View
from shahar.services.broker import Page
from shahar.services.federation import Federation
from shahar.values.bounds import PAGE_LIMIT, PAGE_OFFSET
from shahar.values.errors import Invalid, NotCarried, NotFound
from shahar.web.exchange import GEO_JSON, JSON, LD_JSON, Params, Request, Response
from shahar.web.ngsild.distribution import served
from shahar.web.ngsild.gathering import SPLIT, Spread, found_everywhere, retrieved
from shahar.web.ngsild.gathering_linked import linked_everywhere
from shahar.web.ngsild.listing import links
from shahar.web.ngsild.mapped import NOTHING, gone_on, page_of_map
from shahar.web.ngsild.mapping import Use, named_in_links, use_of
from shahar.web.ngsild.negotiate import (
    LATER,
    accepted,
    check_id,
    context_of,
    join_of,
    object_of,
    preferences,
    reply,
    view_of,
    wanted_version,
)


async def retrieve(request: Request) -> Response:
    """GET /entities/{id}. Flat with nothing linked is the entity itself, as the official cases want it, and not a list
    of one."""
    kind = accepted(request, JSON, LD_JSON, GEO_JSON)
    entity_id = check_id(request.args[0])
    context = await context_of(request)
    join = join_of(request.params)
    view = view_of(request, context, levels=join.levels if join else 0)
    geometry = _geometry(request, context, kind)
    types = _types(request, context)
    local = request.params.flag("local")
    use = use_of(request, context, "entities")
    request.params.done(LATER)
    headers: list[tuple[bytes, bytes]] = []
    if (sources := served(request, local)) is not None:
        wholly = await retrieved(request, sources, entity_id, context, types, view, use)
        if isinstance(wholly, Response):
            return wholly
        doc, headers = wholly
    else:
        doc = await request.parts.broker.get(request.tenant, entity_id)
        access.demand(request.actor, access.Target("read", "entities", request.tenant, tuple(doc["type"])))
        use.note([(entity_id, doc["type"])], NOTHING)
    headers += use.headers
    if not q.matches_types(types, doc["type"]):
        raise NotFound(f"entity {entity_id} is of another type", field="type")
    if view.attrs and view.attrs.isdisjoint(doc["attrs"]):
        raise NotFound(f"entity {entity_id} has none of the attributes asked for", field="attrs")
    docs, status = conforming(request, [doc])
    found = await shown(request, docs, view, join, geometry, sources, headers)
    if not found:
        raise NotFound(f"entity {entity_id} has none of the members asked for", field="pick")
    if geometry and join and join.form == "flat":
        return reply(request, kind, context, _collection(found), headers, status=status)
    return reply(request, kind, context, found if len(found) > 1 else found[0], headers, status=status)


async def find(request: Request) -> Response:
    """GET /entities."""
    kind = accepted(request, JSON, LD_JSON, GEO_JSON)
    context = await context_of(request)
    return await answer_query(request, kind, context, query_of(request, context))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a query asks for: which entities, how they are shown, by which map."""

    spread: Spread
    order: ordering.Order
    view: View
    join: Join | None
    geometry: str
    sources: Federation | None
    use: Use


def wanted_of(request: Request, kind: str, context: Context, query: q.Query) -> Wanted:
    """Everything that a query asks for, of which `query` was read from an address or a body. Raises Invalid, Malformed,
    Forbidden."""
    params = request.params
    join = join_of(params)
    levels = join.levels if join else 0
    view = view_of(request, context, levels=levels)
    query = replace_in(query, attrs=tuple(sorted(view.attrs)))
    if q.linked_depth(query.q) > levels:
        rule = "join=inline or join=flat, with a joinLevel as deep as the braces"
        raise Invalid("q asks about entities that are not asked for", field="q", rule=rule)
    order = order_of(params, context)
    geometry = _geometry(request, context, kind)
    limit = params.number("limit", 20, 0, PAGE_LIMIT)
    offset = params.number("offset", 0, 0, PAGE_OFFSET)
    count = params.flag("count")
    local = params.flag("local")
    wide = "splitEntities" in params and not local
    split = params.flag("splitEntities", SPLIT)
    about = params.take("csf")
    sources_like = q.parse_q(about, context.expand, field="csf") if about else None
    use = use_of(request, context, "entities")
    params.done(LATER)
    if (before := gone_on(use, query)) is not None:
        query, split, sources_like = before.query, before.split, before.csf
    if not local:
        check_selective(query)
    if limit == 0 and not count:
        raise Invalid("a limit of 0 needs count=true", field="limit", rule="ETSI GS CIM 009 clause 6.3.10")
    asked = picked(query, view) if before is None else query
    query = readable(request, asked)
    spread = Spread(query, asked, limit, offset, count, bool(order), split, sources_like, wide and split)
    return Wanted(spread, order, view, join, geometry, served(request, local), use)


async def answer_query(request: Request, kind: str, context: Context, query: q.Query) -> Response:
    """A page of entities for a query that was read from an address or a body."""
    wanted = wanted_of(request, kind, context, query)
    spread, use = wanted.spread, wanted.use
    headers: list[tuple[bytes, bytes]] = []
    if use.wished:
        page, more, headers = await page_of_map(request, wanted.sources, context, spread, wanted.order, use)
        named_in_links(request, use)
    elif wanted.sources is not None:
        page, more, headers = await found_everywhere(request, wanted.sources, context, spread)
    else:
        page = await request.parts.broker.find(
            request.tenant, spread.query, limit=spread.limit + 1 if spread.limit else 0, offset=spread.offset,
            count=spread.count, at=request.at, order=wanted.order,
        )  # fmt: skip
        more = len(page.docs) > spread.limit
    headers = page_headers(request, page, spread.limit, spread.offset, more=more) + headers
    docs, status = conforming(request, page.docs[: spread.limit])
    found = await shown(request, docs, wanted.view, wanted.join, wanted.geometry, wanted.sources, headers)
    document = _collection(found) if wanted.geometry else found
    return reply(request, kind, context, document, headers, status=use.status if status == 200 else status)


async def shown(
    request: Request, docs: list[Doc], view: View, join: Join | None, geometry: str, sources: Federation | None,
    headers: list[tuple[bytes, bytes]],
) -> list[dict[str, Any]]:  # fmt: skip
    """The entities as they are answered, as Features when `geometry` names a GeoProperty, with what they lead to within
    or behind them, here and at `sources`; who of these is missing is added to `headers`.

    An entity of which nothing is left is left out (clause 4.21).
    """
    seen = [(doc, view) for doc in docs]
    if join is not None:
        types = allowed(request)
        if sources is None:
            linked = await request.parts.broker.linked(request.tenant, docs, view, join, types)
        else:
            linked, more = await linked_everywhere(request, sources, view.context, docs, view, join, types)
            headers += [line for line in more if line not in headers]
        if join.form == "inline":
            seen = [(doc, view) for doc in linking.embed(docs, view, join, linked)]
        else:
            seen += linked.behind
    if geometry:
        found = [render.feature(doc, under, geometry) for doc, under in seen]
    else:
        found = [render.entity(doc, under) for doc, under in seen]
    return [one for one in found if one]


def conforming(request: Request, docs: list[Doc]) -> tuple[list[Doc], int]:
    """The entities as the version of the standard that the caller names has them; 203 when that changed any, else
    200."""
    version = wanted_version(preferences(request))
    if version is None:
        return docs, 200
    found = [fallback.conform(doc, version) for doc in docs]
    return found, 200 if all(one is doc for one, doc in zip(found, docs, strict=True)) else 203


def _collection(features: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": features}


def _geometry(request: Request, context: Context, kind: str) -> str:
    """The GeoProperty that is to be the geometry; empty when the answer is not GeoJSON, of which alone it may be asked
    (5.7.1.4)."""
    name = request.params.take("geometryProperty")
    if kind == GEO_JSON:
        return context.expand(name or "location")
    if name is not None:
        raise Invalid("only GeoJSON has a geometry", field="geometryProperty", rule=f"Accept: {GEO_JSON}")
    return ""


# -- what is asked ----------------------------------------------------------------------------------------------------


def _types(request: Request, context: Context) -> q.Node | None:
    text = request.params.take("type")
    if text is None:
        return None
    types = q.parse_types(text, context.expand)
    if types is None:
        every_type(request.params)
    return types


def every_type(params: Params) -> None:
    """A type of "*" makes the question a local one (table 6.4.3.2-1)."""
    if params.take("local") == "false":
        raise Invalid('the type "*" is asked for locally alone', field="local", rule="table 6.4.3.2-1: local=true")
    params.put("local", "true")


def order_of(params: Params, context: Context) -> ordering.Order:
    """The order that the entities are wanted in (clause 4.23); empty: any."""
    text, origin, geometry = params.take("orderBy"), params.take("orderFrom"), params.take("orderGeometry")
    named = params.take("collation")
    texts = collation.parse(named) if named else collation.ROOT
    return ordering.parse(text, context.expand, origin, geometry, texts) if text else ()


def picked(query: q.Query, view: View) -> q.Query:
    """The query, narrowed to entities that have one of the members picked, so that pages are counted as they are
    shown."""
    if not view.pick or not view.pick.isdisjoint({"id", "type"}):
        return query
    if "scope" not in view.pick:
        return replace_in(query, attrs=tuple(sorted(view.pick)))
    some: list[q.Node] = [q.ScopeIs((), below=True), *(q.Exists(q.Path(iri)) for iri in sorted(view.pick - {"scope"}))]
    one = some[0] if len(some) == 1 else q.Or(tuple(some))
    return replace_in(query, q=q.And((query.q, one)) if query.q else one)


def check_selective(query: q.Query) -> None:
    """Refuse a question that is too wide (clauses 5.7.2.4, 5.6.21.4): a type, an attribute that is not the system's
    own, or a place must narrow it; ids and scopes do not.
    """
    named = {*query.attrs, *q.attributes(query.q)} - q.MOMENT_MEMBERS.keys()
    if not (query.types or named or query.geo):
        raise Invalid(
            "the question is too wide: it needs one of type, attrs, q, georel, or local=true",
            field="query",
            rule="ETSI GS CIM 009 clause 5.7.2.4",
        )


def readable(request: Request, query: q.Query, resource: str = "entities") -> q.Query:
    """The query, narrowed to the types that the actor may read, its followed relationships too."""
    types = allowed(request, resource)
    if types is None:
        return query
    condition = linking.within(query.q, types) if query.q else None
    return replace_in(query, types=q.And((query.types, types)) if query.types else types, q=condition)


def allowed(request: Request, resource: str = "entities") -> q.Node | None:
    """The types that the actor may read, None: all; Forbidden when there are none."""
    types = access.readable_types(request.actor, resource, request.tenant)
    if types is None:
        return None
    if not types:
        access.demand(request.actor, access.Target("read", resource, request.tenant))
    return q.TypeIs(types[0]) if len(types) == 1 else q.Or(tuple(q.TypeIs(kind) for kind in types))


def query_of(request: Request, context: Context) -> q.Query:
    """The question that an address asks; `attrs` is left to the view."""
    params = request.params
    ids = params.names("id")
    for entity_id in ids:
        check_uri(entity_id, "id")
    pattern = params.take("idPattern")
    condition = params.take("q")
    scope = params.take("scopeQ")
    values = expanded(params)
    return q.Query(
        ids=tuple(ids),
        id_pattern=q.parse_id_pattern(pattern) if pattern else None,
        types=_types(request, context),
        q=q.parse_q(condition, context.expand, expand_values=values) if condition else None,
        scope=q.parse_scope(scope) if scope else None,
        geo=_geo(
            params.take("georel"),
            params.take("geometry"),
            params.take("coordinates"),
            params.take("geoproperty"),
            context,
        ),
    )


def expanded(params: Params) -> list[str]:
    """The attributes of expandValues; jsonKeys needs nothing done, for values are compared as they came
    (model/query)."""
    params.names("jsonKeys")
    return params.names("expandValues")


def _geo(rel: Any, geometry: Any, coordinates: Any, name: Any, context: Context) -> q.Geo | None:
    if rel is None and geometry is None and coordinates is None:
        return None
    for field, value in (("georel", rel), ("geometry", geometry), ("coordinates", coordinates)):
        if value is None:
            raise Invalid(f"a geo query needs {field}", field=field, rule="ETSI GS CIM 009 clause 4.10")
    return q.parse_geo(rel, geometry, coordinates, context.expand(name or "location"))


# -- pages ------------------------------------------------------------------------------------------------------------


def page_headers(
    request: Request, page: Page, limit: int, offset: int, *, more: bool | None = None
) -> list[tuple[bytes, bytes]]:
    """Total and the addresses of the pages before and behind (clause 6.3.10)."""
    headers: list[tuple[bytes, bytes]] = []
    if page.total is not None:
        headers.append((b"ngsild-results-count", str(page.total).encode()))
    if request.method != "GET":
        return headers
    return headers + links(request, limit, offset, more=len(page.docs) > limit if more is None else more)


# -- POST query -------------------------------------------------------------------------------------------------------


_READ_FROM_BODY: Final = frozenset({"type", "@context", "entities", "q", "geoQ", "scopeQ", "temporalQ"})
_LISTS: Final = ("attrs", "pick", "omit", "datasetId", "containedBy")
_TEXTS: Final = ("csf", "lang", "join", "geometryProperty", "expandValues", "jsonKeys", "entityMapLifetime")
_FLAGS: Final = ("entityMap", "splitEntities")
_ORDERING: Final = {"collation": "collation", "geometry": "orderGeometry"}


async def post_query(request: Request) -> Response:
    """POST /entityOperations/query (clause 6.23)."""
    kind = accepted(request, JSON, LD_JSON, GEO_JSON)
    context, query = await posted(request)
    return await answer_query(request, kind, context, query)


async def posted(request: Request) -> tuple[Context, q.Query]:
    """The question in a body, with the @context that it is asked in."""
    body = object_of(request)
    context = await context_of(request, body)
    if body.get("type") != "Query":
        raise Invalid("the body's type is Query", field="type", rule="ETSI GS CIM 009 clause 5.2.23")
    from_body(request, body)
    query = query_in(body, context, expanded(request.params))
    if any(one["type"].strip() == "*" for one in body.get("entities", ())):
        every_type(request.params)
    return context, query


def from_body(request: Request, body: dict[str, Any]) -> None:
    """Members of a Query document that an address gives as parameters are moved to the parameters (clause 5.2.23)."""
    for name, value in body.items():
        if name in _LISTS:
            request.params.put(name, _listed(name, value))
        elif name in _TEXTS:
            request.params.put(name, _text(body, name))
        elif name in _FLAGS and isinstance(value, bool):
            request.params.put(name, "true" if value else "false")
        elif name == "joinLevel" and isinstance(value, int):
            request.params.put(name, str(value))
        elif name == "ordering" and isinstance(value, dict):
            _ordering_from(request, value)
        elif name not in _READ_FROM_BODY:
            request.params.put(name, "given in the body")


def _listed(name: str, value: Any) -> str:
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(part, str) and part for part in listed) or not listed:
        raise Invalid(f"{name} is a list of names", field=name, rule="ETSI GS CIM 009 clause 5.2.23")
    return ",".join(listed)


def _ordering_from(request: Request, wanted: dict[str, Any]) -> None:
    """The members of OrderingParams (5.2.43) as parameters."""
    request.params.put("orderBy", _listed("orderBy", wanted.get("orderBy")))
    if "coordinates" in wanted:
        request.params.put("orderFrom", orjson.dumps(wanted["coordinates"]).decode())
    for name, param in _ORDERING.items():
        if name in wanted:
            request.params.put(param, _text(wanted, name))


def query_in(body: dict[str, Any], context: Context, values: Sequence[str] = ()) -> q.Query:
    """The question that a Query document asks (clause 5.2.23); `values`: the attributes of expandValues."""
    selectors = body.get("entities", [])
    if (
        not isinstance(selectors, list)
        or not all(isinstance(one, dict) for one in selectors)
        or ("entities" in body and not selectors)
    ):
        raise Invalid("entities is a list of selectors", field="entities", rule="ETSI GS CIM 009 clause 5.2.33")
    geo = body.get("geoQ") or {}
    if not isinstance(geo, dict):
        raise Invalid("geoQ is an object", field="geoQ", rule="ETSI GS CIM 009 clause 5.2.13")
    base: Doc = {
        "q": q.parse_q(_text(body, "q"), context.expand, expand_values=values) if "q" in body else None,
        "scope": q.parse_scope(_text(body, "scopeQ")) if "scopeQ" in body else None,
        "geo": _geo(geo.get("georel"), geo.get("geometry"), geo.get("coordinates"), geo.get("geoproperty"), context),
    }
    return q.Query(**base, **_selectors([_selector(one, context) for one in selectors]))


def _selectors(listed: list[dict[str, Any]]) -> dict[str, Any]:
    """Several selectors as one, where that says the same: ids of one type each, or types alone; NotCarried for
    others."""
    if len(listed) < 2:
        return listed[0] if listed else {}
    types = [one["types"] for one in listed]
    joined: q.Node = types[0] if all(kind == types[0] for kind in types) else q.Or(tuple(dict.fromkeys(types)))
    if not any(one["ids"] or one["id_pattern"] for one in listed):
        return {"types": joined}
    if all(one["ids"] and one["id_pattern"] is None for one in listed) and all(kind == types[0] for kind in types):
        return {"types": joined, "ids": tuple(entity_id for one in listed for entity_id in one["ids"])}
    raise NotCarried("selectors that mix ids, patterns and types are not carried yet", field="entities")


def _text(body: dict[str, Any], name: str) -> str:
    value = body[name]
    if not isinstance(value, str) or not value:
        raise Invalid(f"{name} is a text", field=name, rule="a text that is not empty")
    return value


def _selector(one: dict[str, Any], context: Context) -> dict[str, Any]:
    ids = one.get("id", [])
    listed = ids if isinstance(ids, list) else [ids]
    if "type" not in one:
        raise Invalid("a selector needs a type", field="entities.type", rule="ETSI GS CIM 009 clause 5.2.33")
    return {
        "ids": tuple(check_uri(entity_id, "entities.id") for entity_id in listed),
        "id_pattern": q.parse_id_pattern(_text(one, "idPattern")) if "idPattern" in one else None,
        "types": q.parse_types(_text(one, "type"), context.expand),
    }
