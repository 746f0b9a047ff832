"""What a request's body, @context and wishes are, and how its answer is dressed.

Source: ETSI GS CIM 009 clauses 6.3.4 (media types), 6.3.5 (@context), 6.3.6 (answers), 6.3.7 (representations), 6.3.10
(paging).
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from shahar.model import access, fallback, projection
from shahar.model.access import Act, Target
from shahar.model.context import Context
from shahar.model.entity import check_uri
from shahar.model.linking import Join
from shahar.model.query import matches_types, parse_types
from shahar.model.render import Form, View, through
from shahar.model.terms import CORE_URL
from shahar.values.errors import Invalid, Malformed, NotAcceptable, NotFound, WrongMediaType
from shahar.web.exchange import GEO_JSON, JSON, LD_JSON, MERGE_JSON, Params, Request, Response

LINK_REL: Final = "http://www.w3.org/ns/json-ld#context"
_LINK: Final = re.compile(r'<([^<>]*)>((?:\s*;\s*[A-Za-z*]+\s*=\s*(?:"[^"]*"|[^\s;,"]+))*)')
_FORMS: Final[dict[str, Form]] = {
    "normalized": "normalized",
    "concise": "concise",
    "simplified": "simplified",
    "keyValues": "simplified",
}
LATER: Final = frozenset({"csf", "via"})
"""Parameters of the standard that are not carried yet: they are answered NotCarried (docs/conformance.md lists
them)."""
_FLAG_OPTIONS: Final = frozenset({"splitEntities", "entityMap"})
"""Flags that earlier versions of the standard list among the options."""
_TEMPORAL_FORMS: Final[dict[str, Form]] = {"temporalValues": "simplified", "aggregatedValues": "aggregated"}


def linked_context(request: Request) -> str | None:
    """The @context address of the Link header; Invalid when there are two."""
    header = request.headers.get("link")
    if not header:
        return None
    found = [address for address, rest in _LINK.findall(header) if LINK_REL in rest]
    if len(found) > 1:
        raise Invalid(
            "the Link header names more than one @context",
            field="Link",
            rule="ETSI GS CIM 009 clause 6.3.5: one @context",
        )
    return found[0] if found else None


async def context_of(request: Request, body: Any = None) -> Context:
    """The @context that the request is to be read in, by the rules of clause 6.3.5. Raises Invalid,
    ContextUnavailable."""
    return await request.parts.contexts.get(_source(request, body), request.at, request.tenant)


def _source(request: Request, body: Any) -> Any:
    link = linked_context(request)
    inside = body.get("@context") if isinstance(body, dict) else None
    if body is None:
        return link
    if request.media_type == LD_JSON:
        if link is not None:
            raise Invalid(
                "application/ld+json carries its @context in the body, not in Link", field="Link", rule="clause 6.3.5"
            )
        if inside is None and isinstance(body, dict):
            raise Invalid("application/ld+json needs @context in the body", field="@context", rule="clause 6.3.5")
        return inside
    if inside is not None and request.media_type == JSON:
        raise Invalid("application/json takes its @context from the Link header", field="@context", rule="clause 6.3.5")
    return inside if inside is not None else link


def body_of(request: Request, *, patch: bool = False) -> Any:
    """The JSON body, after its media type was checked. `patch`: merge-patch+json is welcome too."""
    kind = request.media_type
    if not kind:
        request.json()  # what is no JSON is told so first (official case 039_05)
    if kind not in {JSON, LD_JSON} and not (patch and kind == MERGE_JSON):
        raise WrongMediaType(
            f"a body of type {kind or 'unknown'!r:.80} is not read here",
            field="Content-Type",
            rule=f"{JSON} or {LD_JSON}",
        )
    return request.json()


def object_of(request: Request, *, patch: bool = False) -> dict[str, Any]:
    """The body, which must be a JSON object that is not empty."""
    body = body_of(request, patch=patch)
    if not isinstance(body, dict):
        raise Malformed("the body is a JSON object", field="body", rule="a JSON object that is not empty")
    if not body:
        raise Invalid("the body is an empty object", field="body", rule="a JSON object that is not empty")
    return body


# -- answers ----------------------------------------------------------------------------------------------------------


def accepted(request: Request, *offers: str) -> str:
    """The media type of the answer; NotAcceptable when none of `offers` (first is the default) is welcome."""
    header = request.headers.get("accept")
    if not header:
        return offers[0]
    wishes = sorted((_wish(part) for part in header.split(",")[:32]), key=lambda wish: -wish[1])
    for kind, quality in wishes:
        if quality <= 0:
            continue
        for offer in offers:
            if kind in {offer, "*/*"} or (kind.endswith("/*") and offer.startswith(kind[:-1])):
                return offer
    raise NotAcceptable(f"{header!r:.100} cannot be served", field="Accept", rule=" or ".join(offers))


def _wish(part: str) -> tuple[str, float]:
    kind, *rest = (piece.strip() for piece in part.lower().split(";"))
    for piece in rest:
        if piece.startswith("q="):
            try:
                return kind, float(piece[2:])
            except ValueError:
                return kind, 0.0
    return kind, 1.0


def reply(
    request: Request,
    kind: str,
    context: Context,
    document: Any,
    headers: list[tuple[bytes, bytes]] | None = None,
    *,
    status: int = 200,
) -> Response:
    """The document in media type `kind`: @context inside for ld+json, by Link for json (clause 6.3.6)."""
    given = [(b"content-type", kind.encode()), *(headers or ())]
    wishes = preferences(request)
    version = wanted_version(wishes)
    if version is not None:
        given.append((b"preference-applied", "ngsi-ld={}.{}".format(*min(version, fallback.NEWEST)).encode()))
    if kind == JSON or (kind == GEO_JSON and wishes.get("body") == "json"):
        given.append((b"link", _link_of(context).encode()))
    else:
        source = context.source or CORE_URL
        if isinstance(document, list):
            document = [{**one, "@context": source} for one in document]
        else:
            document = {**document, "@context": source}
        if kind == GEO_JSON:
            given.append((b"link", _link_of(context).encode()))
    return Response(status, orjson.dumps(document), given)


def preferences(request: Request) -> dict[str, str]:
    """The Prefer header's wishes (RFC 7240), names in small letters."""
    parts = re.split("[,;]", request.headers.get("prefer", ""))
    pairs = (part.partition("=") for part in parts if part.strip())
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def wanted_version(wishes: dict[str, str]) -> fallback.Version | None:
    """The version of the standard that the caller understands (clause 4.3.6.8); None when it names none."""
    found = re.fullmatch(r"(\d{1,3})\.(\d{1,3})", wishes.get("ngsi-ld", ""), re.ASCII)
    return (int(found[1]), int(found[2])) if found else None


def _link_of(context: Context) -> str:
    source = context.source
    if isinstance(source, list) and len(source) == 1:
        source = source[0]
    address = source if isinstance(source, str) else CORE_URL
    return f'<{address}>; rel="{LINK_REL}"; type="{LD_JSON}"'


def view_of(request: Request, context: Context, *, temporal: bool = False, levels: int = 0) -> View:
    """How the caller wants to see entities: options, format, attrs, pick, omit, lang, datasetId (clause 6.3.7).

    `levels`: how many relationships the answer follows, so many pick and omit may speak of (5.7.1.4).
    """
    params = request.params
    form, sys = _form_of(params, temporal)
    datasets = params.names("datasetId")
    attrs = _attributes(params.names("attrs"))
    pick, omit = params.take("pick"), params.take("omit")
    if attrs and (pick or omit):
        raise Invalid(
            "attrs stands for pick and q, and not beside pick or omit", field="attrs", rule="attrs, or pick and omit"
        )
    wanted = projection.parse(pick, omit, context.expand)
    if wanted.depth > levels:
        rule = "join=inline or join=flat, with a joinLevel as deep as the braces"
        raise Invalid(
            "pick and omit speak of entities that are not asked for", field="pick" if pick else "omit", rule=rule
        )
    view = View(
        context,
        form=form,
        sys=sys,
        attrs=frozenset(map(context.expand, attrs)),
        dataset=frozenset(datasets) if datasets else None,
        lang=params.take("lang") or "",
    )
    return through(wanted, view) if pick or omit else view


def _form_of(params: Params, temporal: bool) -> tuple[Form, bool]:
    """The form of the answer and whether system members are in it; `format` wins over `options`."""
    form: Form = "normalized"
    wishes = set(params.names("options"))
    named = params.take("format")
    forms = _FORMS | _TEMPORAL_FORMS if temporal else _FORMS
    if named is not None and named not in forms:
        raise Malformed(f"{named!r:.40} is not a format", field="format", rule=", ".join(forms))
    for wish in sorted(wishes):
        if wish in _FLAG_OPTIONS:
            if wish not in params:
                params.put(wish, "true")
        elif wish in forms:
            form = forms[wish]
        elif wish != "sysAttrs":
            raise Malformed(
                f"{wish!r:.40} is not an option here", field="options", rule="sysAttrs, concise, simplified, normalized"
            )
    if named is not None:
        form = forms[named]
    elif _TEMPORAL_FORMS.keys() <= wishes:
        rule = "temporalValues or aggregatedValues"
        raise Malformed("an answer has one form", field="options", rule=rule)
    return form, "sysAttrs" in wishes


def _attributes(names: list[str]) -> list[str]:
    if not projection.MEMBERS.isdisjoint(names):
        raise Invalid("id, type and scope are no attributes", field="attrs", rule="names of attributes")
    return names


def join_of(params: Params) -> Join | None:
    """How linked entities are wanted: join, joinLevel, containedBy (clause 4.5.23); None when they are not."""
    form = params.take("join")
    levels = params.number("joinLevel", 1, 1, projection.LEVELS_MAX)
    met = frozenset(check_uri(entity_id, "containedBy") for entity_id in params.names("containedBy"))
    match form:
        case "flat" | "inline":
            return Join(form, levels, met)
        case None | "@none":
            return None
    raise Invalid(f"{form!r:.40} is no way to join", field="join", rule="flat, inline or @none")


def link_header(link: str | None) -> list[tuple[bytes, bytes]]:
    """A Link header line, when there is something to link."""
    return [(b"link", link.encode())] if link else []


async def check_type(request: Request, entity_id: str, kinds: str, context: Context) -> None:
    """NotFound when a change says of which types its entity is, and the one held here is not (clause 4.17)."""
    wanted = parse_types(kinds, context.expand)
    try:
        doc = await request.parts.broker.get(request.tenant, entity_id)
    except NotFound:
        return  # the change will say so, or a source has it
    if not matches_types(wanted, doc["type"]):
        raise NotFound(f"entity {entity_id} is of another type", field="type")


# -- rights -----------------------------------------------------------------------------------------------------------


async def guard(request: Request, act: Act, entity_id: str) -> None:
    """Refuse when the actor's right does not reach the types of this entity; costs nothing for a right over all
    types."""
    if access.may(request.actor, Target(act, "entities", request.tenant)).allowed:
        return
    try:
        doc = await request.parts.broker.get(request.tenant, entity_id)
    except NotFound:
        if request.parts.federation is None or not request.parts.federation.concerns(request.tenant):
            raise
        return  # whoever may hold it elsewhere is guarded by web/ngsild/distribution
    access.demand(request.actor, Target(act, "entities", request.tenant, tuple(doc["type"])))


def guard_types(request: Request, act: Act, types: list[str]) -> None:
    """Refuse when the actor's right does not reach these types."""
    access.demand(request.actor, Target(act, "entities", request.tenant, tuple(types)))


_NEVER_IN_URI: Final = frozenset(' <>"{}|\\^`')


def check_id(text: str, field: str = "id") -> str:
    """An id of the address; Invalid when it is empty or no URI."""
    if not text:
        raise Invalid("the id in the address is empty", field=field, rule="RFC 3986 URI")
    if ":" not in text or not _NEVER_IN_URI.isdisjoint(text):
        raise Invalid(f"{text!r:.80} is not a URI", field=field, rule="RFC 3986 URI")
    return text
