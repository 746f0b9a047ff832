"""GET /openapi.json: the interfaces for programs, as OpenAPI 3.1.

For: whoever makes a client, a test or a gateway by machine. People read /docs.
Promises: every address for programs is here and nothing else (tests hold the rows against the routes, and the
parameters against those that the handlers take).
Does not: describe the pages, nor the operations centre's own addresses (/ops/api), which may change with it.
Source: OpenAPI 3.1.1; what the operations mean is ETSI GS CIM 009.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from shahar import __version__
from shahar.model.access import Act
from shahar.values import errors
from shahar.web.openapi.operations import EXAMPLES, GEO_JSON, JSON, PARTLY, ROOT, Answer, Body, Operation
from shahar.web.openapi.operations import OPERATIONS as OPERATIONS
from shahar.web.openapi.parameters import HEADERS, QUERY
from shahar.web.openapi.schemas import SCHEMAS, Schema, listed, ref
from shahar.web.problem import PROBLEM_JSON, status_of
from shahar.web.problem import STANDARD as TOLD_AS_STANDARD

_FAILURES: Final[dict[type[errors.ShaharError], str]] = {
    errors.Invalid: "the request breaks a rule; field and rule say which",
    errors.Unauthenticated: "no credential, or an unknown one",
    errors.Forbidden: "the credential has no such right, or the question asks for too much",
    errors.NotFound: "there is no such thing, or no such tenant",
    errors.NotAcceptable: "no form of the answer is acceptable to the caller",
    errors.Exists: "it exists already, or the present state does not allow it",
    errors.TooLarge: "more than its bound",
    errors.WrongMediaType: "a body of a media type that is not read here",
    errors.NotSupported: "the standard has it, and it is not done for this thing",
    errors.TooFast: "more requests than the rate allows",
    errors.Broken: "a fault of this server",
    errors.NotCarried: "the standard has it and it is not carried yet",
    errors.Unavailable: "not for the moment",
    errors.PeerFailed: "a context source that takes part failed",
    errors.PeerLooped: "the request came back to where it has been",
    errors.ContextUnavailable: "an @context could not be read",
}
_SOURCES: Final = frozenset({errors.PeerFailed, errors.PeerSilent, errors.PeerLooped})
"""What may come of an operation in which context sources take part, unless it is asked for with local=true."""
_ALWAYS: Final = (
    errors.Invalid,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.TooLarge,
    errors.TooFast,
    errors.Broken,
    errors.Unavailable,
)
STANDARD: Final = "ngsi-ld"
OURS: Final = "shahar"
"""Two families of problems: those of the standard are told as application/json (clause 5.5.3)."""
_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "location": {"Location": {"schema": {"type": "string"}, "description": "the address of what was made"}},
    "count": {"NGSILD-Results-Count": {"schema": {"type": "integer"}, "description": "how many there are, if asked"}},
    "entityMap": {"NGSILD-EntityMap": {"schema": {"type": "string"}, "description": "the entity map used, if asked"}},
    "link": {"Link": {"schema": {"type": "string"}, "description": "the @context, and the pages beside this one"}},
}


def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Shahar",
            "version": __version__,
            "description": "NGSI-LD (ETSI GS CIM 009), intake from devices, accounts and what to watch.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "responses": {
                f"{family}-{status_of(kind())}": _problem(text, media)
                for family, media in ((STANDARD, JSON), (OURS, PROBLEM_JSON))
                for kind, text in _FAILURES.items()
            },
            "parameters": {"header-" + key: header for key, header in HEADERS.items()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{"bearer": []}, {"key": []}, {}],
    }


def _operation(one: Operation) -> dict[str, Any]:
    standard = one.path.startswith(ROOT)
    arguments = [part[1:-1] for part in one.path.split("/") if part.startswith("{")]
    parameters: list[Schema] = [_argument(name) for name in arguments]
    parameters += [QUERY[key] for key in one.params]
    parameters += [{"$ref": f"#/components/parameters/header-{key}"} for key in one.headers]
    if standard:
        parameters.append({"$ref": "#/components/parameters/header-tenant"})
    answers = dict(one.answers)
    if standard and "local" in one.params and one.method != "GET":
        answers |= {207: answers.get(207, PARTLY[207])}
    told: dict[str, Any] = {
        "operationId": one.id,
        "summary": one.summary,
        "tags": [one.tag],
        "parameters": parameters,
        "responses": {str(status): _answer(status, answer) for status, answer in sorted(answers.items())}
        | {
            str(status): {"$ref": f"#/components/responses/{_family(one)}-{status}"}
            for status in _failures(one, standard)
        },
    }
    if one.body is not None:
        told["requestBody"] = _body(one.body)
    if one.public:
        told["security"] = [{}]
    return told


def _family(one: Operation) -> str:
    return STANDARD if one.path.startswith(TOLD_AS_STANDARD) else OURS


def _failures(one: Operation, standard: bool) -> list[int]:
    """The statuses of the problems that the operation may answer."""
    found = {*_ALWAYS, *one.fails}
    if standard:
        found |= {errors.NotFound, errors.NotCarried}  # no such tenant; a parameter or member that is not carried yet
        found |= {errors.ContextUnavailable} if "link" in one.headers else set()
        found |= {errors.WrongMediaType} if one.body is not None else set()
        found |= _SOURCES if "local" in one.params else set()
        found |= {errors.NotAcceptable} if one.method == "GET" or 200 in one.answers else set()
    if one.public:
        found -= {errors.Unauthenticated, errors.Forbidden}
    return sorted({status_of(kind()) for kind in found})


def bare(path: str) -> str:
    """The path as the routes write it: {} for each argument."""
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def _argument(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1},
            "example": EXAMPLES[name]}  # fmt: skip


def _body(body: Body) -> dict[str, Any]:
    schema = listed(ref(body.schema), 1) if body.many else ref(body.schema)
    content = {media: {"schema": schema} for media in body.media}
    content[body.media[0]]["example"] = body.example
    return {"required": True, "content": content}


def _answer(status: int, answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {"description": _SAID[status]}
    for key in answer.headers:
        told.setdefault("headers", {}).update(_HEADERS[key])
    if answer.bare:
        told["content"] = {media: {"schema": listed({"type": "string"})} for media in answer.media}
    elif answer.schema:
        told["content"] = {media: {"schema": _schema_of(answer, media)} for media in answer.media}
    return told


def _schema_of(answer: Answer, media: str) -> Schema:
    if media == GEO_JSON:
        return {"anyOf": [ref("FeatureCollection"), ref("Feature")]}
    return listed(ref(answer.schema)) if answer.many else ref(answer.schema)


_SAID: Final = {
    200: "what was asked for",
    201: "made",
    203: "what was asked for, as the version of the standard that Prefer names has it",
    204: "done",
    206: "a part of what was asked for; Content-Range says which",
    207: "a part was done; the body says what was not, and why",
}


def _problem(text: str, media: str) -> dict[str, Any]:
    return {"description": text, "content": {media: {"schema": ref("Problem")}}}


# -- the address ------------------------------------------------------------------------------------------------------


@cache
def _told() -> bytes:
    return orjson.dumps(document())


async def show(_request: Request) -> Response:
    """GET /openapi.json."""
    return Response(_told(), 200, {"cache-control": "no-cache"}, "application/json")


Endpoint = Callable[[Request], Awaitable[Response]]
ROUTES: Final[tuple[tuple[tuple[str, ...], str, Endpoint, tuple[Act, str] | None], ...]] = (
    (("GET",), "/openapi.json", show, None),
)
"""Methods, path, endpoint; open to everybody: it tells nothing of the city's state."""
