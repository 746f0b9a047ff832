"""Errors become answers here and nowhere else: RFC 7807 problem documents with the standard's types; the only room that
knows status codes.

Under the standard's addresses a problem is told as application/json (clause 5.5.3), elsewhere as problem+json.
Promises: an error of the house keeps its sentence, field and rule; anything else is Broken, is logged once with its
place, and tells the caller nothing of our insides.
Source: RFC 7807; ETSI GS CIM 009 clauses 5.5.2 and 6.3.2 (error types and their status codes).
"""

from __future__ import annotations

from typing import Any, Final

import orjson
import structlog

from shahar.values import errors
from shahar.web.exchange import JSON, Response

log = structlog.get_logger(__name__)

PROBLEM_JSON: Final = "application/problem+json"
STANDARD: Final = "/ngsi-ld/"
LOOKED_FOR: Final = 404
OTHER_METHOD: Final = 405

_STATUS: Final[dict[type[errors.ShaharError], int]] = {
    errors.Invalid: 400,
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.TooComplex: 403,
    errors.TooMany: 403,
    errors.NotFound: 404,
    errors.WrongMethod: 405,
    errors.NotAcceptable: 406,
    errors.Exists: 409,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.WrongMediaType: 415,
    errors.NotSupported: 422,
    errors.TooFast: 429,
    errors.CallerFault: 400,
    errors.NotCarried: 501,
    errors.Unavailable: 503,
    errors.OurFault: 500,
    errors.PeerFailed: 502,
    errors.PeerSilent: 504,
    errors.PeerLooped: 508,
    errors.ContextUnavailable: 504,
    errors.PeerFault: 502,
}


def status_of(problem: errors.ShaharError) -> int:
    """The status code of an error, by the nearest class of the tree."""
    return next(_STATUS[kind] for kind in type(problem).__mro__ if kind in _STATUS)


def document_of(problem: errors.ShaharError) -> dict[str, Any]:
    """The problem document: type, title, status, detail, and field and rule where they are known."""
    shown = {"type": problem.type, "title": problem.title, "status": status_of(problem), "detail": problem.detail}
    if problem.field is not None:
        shown["field"] = problem.field
    if problem.rule is not None:
        shown["rule"] = problem.rule
    return shown


def answer(problem: Exception, method: str = "", path: str = "") -> Response:
    """The answer to a failed request."""
    if not isinstance(problem, errors.ShaharError):
        log.error("request failed", method=method, path=path, exc_info=problem)
        problem = errors.Broken("something went wrong here; it has been noted")
    elif isinstance(problem, errors.OurFault) and not (isinstance(problem, errors.NotCarried) or problem.told):
        log.error("request failed", method=method, path=path, problem=problem.detail)
    kind = JSON if path.startswith(STANDARD) else PROBLEM_JSON
    headers = [(b"content-type", kind.encode())]
    if isinstance(problem, errors.WrongMethod) and problem.rule:
        headers.append((b"allow", problem.rule.encode()))
    if isinstance(problem, errors.Unauthenticated):
        headers.append((b"www-authenticate", b'Bearer realm="shahar"'))
    if isinstance(problem, (errors.TooFast, errors.Unavailable)):
        headers.append((b"retry-after", str(getattr(problem, "retry_after_s", 1)).encode()))
    return Response(status_of(problem), orjson.dumps(document_of(problem)), headers)
