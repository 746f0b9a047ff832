"""The ASGI application: what happens to a request, in which order.

    observe (count, time, log)  ->  identify  ->  rates  ->  route  ->  right  ->  body  ->  handler  ->  problem
    (errors become answers)

Promises: every request is counted once and answered once, whatever happens inside; a body is read only after its
sender is known and allowed, and never beyond its bound; an error of a handler cannot stop the server.
Does not: know what a handler does. Pages and streams are Starlette's, under the same order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, RedirectResponse
from starlette.responses import Response as StarletteResponse
from starlette.routing import BaseRoute, Mount
from starlette.routing import Route as StarletteRoute
from starlette.staticfiles import StaticFiles

from shahar import __version__
from shahar.model import access
from shahar.model.access import Act, Target
from shahar.services import forwarded
from shahar.values import bounds
from shahar.values.errors import Malformed, NotFound, ShaharError, TooLarge, Unauthenticated, Unavailable, WrongMethod
from shahar.values.names import TENANT
from shahar.web import problem, session
from shahar.web.exchange import Params, Parts, Request, Response
from shahar.web.rates import Rates
from shahar.web.routes import HOT, Map, Route

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

Endpoint = Callable[[StarletteRequest], Awaitable[StarletteResponse]]
Table = Sequence[tuple[Sequence[str], str, Endpoint, tuple[Act, str] | None]]

HOT_PREFIXES: Final = ("/ngsi-ld/", "/intake/")
NOTIFIED_BELOW: Final = f"{forwarded.PATH}/"
LEFT: Final = 499
"""How a request is counted whose sender left before it was answered."""


class Gone(Exception):
    """The client left before its request was whole."""


@dataclass(slots=True)
class Figures:
    """What /metrics tells about requests."""

    requests: Counter
    seconds: Histogram

    @classmethod
    def on(cls, registry: CollectorRegistry) -> Figures:
        """Counters on a registry."""
        return cls(
            Counter("shahar_http_requests", "Requests by status", ["status"], registry=registry),
            Histogram(
                "shahar_http_seconds",
                "Time to answer",
                registry=registry,
                buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
            ),
        )


class Application:
    """The outermost layer. `pages` is the Starlette application of everything that is not hot."""

    def __init__(self, parts: Parts, pages: Asgi, registry: CollectorRegistry, rates: Rates) -> None:
        self.parts, self.pages, self.rates = parts, pages, rates
        self.figures = Figures.on(registry)
        self.routes = Map(HOT)
        self._by_status: dict[int, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        started = perf_counter()
        status = LEFT
        try:
            response = await self._serve(scope, receive, send)
            if isinstance(response, int):
                status = response
            else:
                status = response.status
                await _send(send, response)
        except Gone:
            pass
        finally:
            self._count(status, perf_counter() - started)

    def refused(self, status: int) -> None:
        """Count what was refused before it was a request."""
        self._count(status, 0.0)

    def _count(self, status: int, seconds: float) -> None:
        child = self._by_status.get(status)
        if child is None:
            child = self._by_status[status] = self.figures.requests.labels(str(status))
        child.inc()
        self.figures.seconds.observe(seconds)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> Response | int:
        try:
            if len(scope["raw_path"]) + len(scope["query_string"]) > bounds.ADDRESS_BYTES:
                raise TooLarge("the address is too long", rule=f"at most {bounds.ADDRESS_BYTES} bytes")
            at = self.parts.now()
            actor = await self._who(scope)
            if scope["path"].startswith(HOT_PREFIXES):
                return await self._hot(scope, receive, actor, at)
            _headers(scope)  # the same bounds for pages
        except Gone:
            raise
        except Exception as failure:  # fence: one request's failure is one request's answer
            return problem.answer(failure, scope["method"], _loggable(scope["path"]))
        scope["shahar.actor"], scope["shahar.parts"] = actor, self.parts
        return await self._cold(scope, receive, send)

    async def _who(self, scope: Scope) -> access.Actor:
        peer, at = session.peer_of(scope), self.parts.wall()
        if scope["path"].startswith(NOTIFIED_BELOW):
            return await self._source(scope["path"], peer, at)
        try:
            actor = await session.identify(scope, self.parts.accounts, at)
        except Unauthenticated:
            self.rates.take_attempt(peer, at)
            raise
        self.rates.take(actor, peer, at)
        return actor

    async def _source(self, path: str, peer: str | None, at: int) -> access.Actor:
        """Nobody, let in by an address that is known to one source alone; counted by that address."""
        try:
            one, _, token = path.removeprefix(NOTIFIED_BELOW).partition("/")
            found = await self.parts.forwarded(one, token)
        except NotFound:
            self.rates.take_attempt(peer, at)
            raise
        self.rates.take_source(found.id, at)
        return access.ANONYMOUS

    async def _cold(self, scope: Scope, receive: Receive, send: Send) -> int:
        seen = [500]

        async def noting(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                seen[0] = message["status"]
            await send(message)

        try:
            await self.pages(scope, receive, noting)
        except Exception:  # fence: a page's failure is one request's; `_problem` has answered and logged it
            pass
        return seen[0]

    async def _hot(self, scope: Scope, receive: Receive, actor: access.Actor, at: int) -> Response:
        route, args = self._route(scope)
        headers = _headers(scope)
        tenant = "" if route.told else _tenant(headers)
        if not route.told:
            access.demand(actor, Target(route.act, route.resource, tenant, door=route.typed))
        body = await _body(receive, headers, route.body_bytes) if route.method in {"POST", "PATCH", "PUT"} else b""
        headers[":query"] = scope["query_string"].decode("latin-1")
        request = Request(
            scope["method"],
            scope["path"],
            args,
            Params(scope["query_string"]),
            headers,
            body,
            actor,
            tenant,
            at,
            self.parts,
        )
        response = await route.handler(request)
        if tenant:
            response.headers.append((b"ngsild-tenant", tenant.encode()))
        return response

    def _route(self, scope: Scope) -> tuple[Route, tuple[str, ...]]:
        try:
            raw = scope["raw_path"].split(b"/")
            segments = [unquote_to_bytes(one).decode() if b"%" in one else one.decode() for one in raw]
        except UnicodeDecodeError:
            raise Malformed("the address is not UTF-8", field="path") from None
        if "\0" in scope["path"]:
            raise Malformed("a NUL character cannot be asked for", field="path")
        found = self.routes.find(segments)
        bare = self.routes.find(segments[:-1]) if segments[-1] == "" else None
        if bare is not None and scope["method"] in bare[0]:
            found = bare
        if found is None:
            raise NotFound(f"there is nothing at {scope['path']:.200}", field="path")
        methods, args = found
        route = methods.get(scope["method"])
        if route is None or (args and args[-1] == "" and (len(args) > 1 or route.method == "DELETE")):
            raise WrongMethod(
                f"{scope['method']} is not for {scope['path']:.200}", field="method", rule=", ".join(sorted(methods))
            )
        return route, args


def _loggable(path: str) -> str:
    """An address without the secret that some hold."""
    return f"{NOTIFIED_BELOW}..." if path.startswith(NOTIFIED_BELOW) else path


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    if len(scope["headers"]) > bounds.HEADERS:
        raise TooLarge("too many header fields", rule=f"at most {bounds.HEADERS}")
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    if size > bounds.HEADERS_BYTES:
        raise TooLarge("the header fields are too long", rule=f"at most {bounds.HEADERS_BYTES} bytes together")
    return headers


def _tenant(headers: dict[str, str]) -> str:
    name = headers.get("ngsild-tenant", "")
    if name in {"", "default"}:
        return ""
    if not TENANT.fullmatch(name):
        raise Malformed(
            f"{name!r:.80} is not a tenant's name", field="NGSILD-Tenant", rule="letters, digits, _ . - and at most 63"
        )
    return name


async def _body(receive: Receive, headers: dict[str, str], most: int) -> bytes:
    """The whole body, at most `most` bytes; refused by its announced length before it is read."""
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most:
        raise TooLarge(f"the body has {announced} bytes", field="body", rule=f"at most {most} bytes")
    message = await receive()
    if not message.get("more_body") and len(message.get("body", b"")) <= most:
        if message["type"] == "http.disconnect":
            raise Gone
        whole: bytes = message.get("body", b"")
        return whole
    try:
        async with asyncio.timeout(bounds.BODY_S):
            return await _rest(receive, message, most)
    except TimeoutError:
        rule = f"the whole of it within {bounds.BODY_S} s"
        raise Malformed("the body did not come in time", field="body", rule=rule) from None


async def _rest(receive: Receive, message: MutableMapping[str, Any], most: int) -> bytes:
    """A body that comes in pieces, of which `message` is the first."""
    pieces: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise Gone
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > most:
            raise TooLarge("the body is too large", field="body", rule=f"at most {most} bytes")
        if not message.get("more_body"):
            return b"".join(pieces)
        message = await receive()


async def _send(send: Send, response: Response) -> None:
    if response.status != 204:
        response.headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    await send({"type": "http.response.body", "body": response.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


# -- pages, files, streams: Starlette's part, under the same rights
# ------------------------------------------------------------


def pages(
    tables: Sequence[Table],
    folders: Mapping[str, Path],
    registry: CollectorRegistry,
    ready: Callable[[], Mapping[str, bool]],
) -> Starlette:
    """All that is not hot: the page tables (methods, path, endpoint, right), static folders, health and metrics."""
    routes: list[BaseRoute] = [
        StarletteRoute(path, guarded(endpoint, right), methods=list(methods))
        for table in tables
        for methods, path, endpoint, right in table
    ]
    routes += [
        StarletteRoute("/health", health),
        StarletteRoute("/ready", _ready(ready)),
        StarletteRoute("/metrics", guarded(_metrics(registry), ("read", "metrics"))),
    ]
    routes += [Mount(path, StaticFiles(directory=folder)) for path, folder in folders.items() if folder.is_dir()]
    return Starlette(
        routes=routes,
        exception_handlers={
            ShaharError: _problem,
            ClientDisconnect: _left,
            Exception: _problem,
            problem.LOOKED_FOR: _nothing,
            problem.OTHER_METHOD: _nothing,
        },
    )


def guarded(endpoint: Endpoint, right: tuple[Act, str] | None) -> Endpoint:
    """The endpoint behind its right; None: public. A browser that is not signed in is shown where to sign in."""
    if right is None:
        return endpoint

    async def behind(request: StarletteRequest) -> StarletteResponse:
        actor: access.Actor = request.scope["shahar.actor"]
        try:
            access.demand(actor, Target(right[0], right[1], access.DEFAULT_TENANT))
        except Unauthenticated:
            if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
                return RedirectResponse("/signin", 303)
            raise
        return await endpoint(request)

    return behind


async def _problem(request: StarletteRequest, failure: Exception) -> StarletteResponse:
    return _dressed(problem.answer(failure, request.method, request.url.path))


async def _left(_request: StarletteRequest, _failure: Exception) -> StarletteResponse:
    return StarletteResponse(status_code=LEFT)  # to nobody, but counted


async def _nothing(request: StarletteRequest, failure: Exception) -> StarletteResponse:
    kind = NotFound if getattr(failure, "status_code", problem.LOOKED_FOR) == problem.LOOKED_FOR else WrongMethod
    return _dressed(
        problem.answer(kind(f"there is nothing at {request.url.path:.200} for {request.method}", field="path"))
    )


def _dressed(answer: Response) -> StarletteResponse:
    return StarletteResponse(
        answer.body, answer.status, {name.decode(): value.decode() for name, value in answer.headers}
    )


async def health(_request: StarletteRequest) -> StarletteResponse:
    """GET /health: the process answers."""
    return JSONResponse({"status": "ok", "version": __version__})


def _ready(ready: Callable[[], Mapping[str, bool]]) -> Endpoint:
    async def endpoint(_request: StarletteRequest) -> StarletteResponse:
        """GET /ready: each part, and whether all of them work."""
        parts = dict(ready())
        if not all(parts.values()):
            raise Unavailable("not ready: " + ", ".join(name for name, fine in parts.items() if not fine))
        return JSONResponse({"status": "ready", "parts": parts})

    return endpoint


def _metrics(registry: CollectorRegistry) -> Endpoint:
    async def endpoint(_request: StarletteRequest) -> StarletteResponse:
        """GET /metrics in Prometheus' text format."""
        return StarletteResponse(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return endpoint
