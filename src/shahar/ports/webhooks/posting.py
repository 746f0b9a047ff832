"""POST over kept connections, and nothing else of HTTP: how notifications leave quickly.

A general client costs five times the processor time of what a notification needs: a few header lines out, a status in.
Promises
- Every connection is made to an address that `refused` was asked about: the numbers that a name stands for now, one
  after the other, never the name itself.
- A connection is used by one request at a time, kept for `KEEP_ALIVE_S` when the peer agrees, and at most `IDLE_MAX`
  wait without work. One that was closed while it waited is replaced without a word: a request is sent a second time on
  a new connection only when the old one was closed before a byte of an answer had come.
- An answer's body is passed over; one beyond `ANSWER_BYTES` costs its connection. Cancelling gives the connection up.
Does not: bound the time (whoever posts does), follow redirects, know proxies or cookies, read what is answered.
Source: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httptools

from shahar.values.errors import PeerFailed

CONNECT_S: Final = 5.0
KEEP_ALIVE_S: Final = 4.0
IDLE_MAX: Final = 1_024
ANSWER_BYTES: Final = 64 * 1024
AGENT: Final = "shahar"
_SAFE: Final = "%/:;=@!$&'()*+,~?-._"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection leads."""

    tls: bool
    host: str
    port: int


class Posts:
    """The connections to every peer; `refused` says why a numeric address may not be reached. Close it when done."""

    def __init__(self, refused: Callable[[str], str | None]) -> None:
        self._refused = refused
        self._idle: dict[Origin, deque[_Connection]] = {}
        self._waiting = 0
        self._tls: ssl.SSLContext | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    async def post(self, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> int:
        """The status of the answer. OSError, ValueError or PeerFailed when there is none."""
        origin, request = _request(url, headers, body)
        kept = self._take(origin)
        if kept is not None:
            try:
                return await self._ask(origin, kept, request)
            except _Unanswered:
                pass  # it was closed while it waited
        return await self._ask(origin, await self._connected(origin), request)

    def close(self) -> None:
        """Let go of every connection that waits."""
        for waiting in self._idle.values():
            for one in waiting:
                one.drop()
        self._idle, self._waiting = {}, 0
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    async def _ask(self, origin: Origin, connection: _Connection, request: bytes) -> int:
        try:
            status = await connection.ask(request)
        except BaseException:
            connection.drop()
            raise
        if connection.reusable() and self._waiting < IDLE_MAX:
            connection.since = monotonic()
            self._idle.setdefault(origin, deque()).append(connection)
            self._waiting += 1
            if self._sweeping is None:
                self._sweeping = asyncio.get_running_loop().call_later(KEEP_ALIVE_S, self._sweep)
        else:
            connection.drop()
        return status

    def _take(self, origin: Origin) -> _Connection | None:
        """A connection that waits, the one used last; those that ended meanwhile are dropped."""
        waiting = self._idle.get(origin)
        while waiting:
            one = waiting.pop()
            self._waiting -= 1
            if one.reusable() and monotonic() - one.since < KEEP_ALIVE_S:
                return one
            one.drop()
        return None

    def _sweep(self) -> None:
        oldest = monotonic() - KEEP_ALIVE_S
        for origin, waiting in list(self._idle.items()):
            while waiting and (waiting[0].since < oldest or not waiting[0].reusable()):
                waiting.popleft().drop()
                self._waiting -= 1
            if not waiting:
                del self._idle[origin]
        again = asyncio.get_running_loop().call_later(KEEP_ALIVE_S, self._sweep) if self._idle else None
        self._sweeping = again

    async def _connected(self, origin: Origin) -> _Connection:
        """A new connection with the first address that may be reached and answers."""
        loop = asyncio.get_running_loop()
        problem: Exception | None = None
        for family, kind, protocol, _, where in await loop.getaddrinfo(
            origin.host, origin.port, type=socket.SOCK_STREAM
        ):
            why = self._refused(str(where[0]))
            if why is not None:
                problem = problem or PeerFailed(f"{origin.host[:200]} could not be reached: {why}")
                continue
            made = socket.socket(family, kind, protocol)
            made.setblocking(False)
            try:
                async with asyncio.timeout(CONNECT_S):
                    await loop.sock_connect(made, where)
                return await self._spoken(origin, made)
            except OSError as error:  # TimeoutError is one
                made.close()
                problem = error
            except BaseException:
                made.close()
                raise
        raise problem or OSError("the name has no address")

    async def _spoken(self, origin: Origin, made: socket.socket) -> _Connection:
        if origin.tls and self._tls is None:
            self._tls = ssl.create_default_context()
        _, connection = await asyncio.get_running_loop().create_connection(
            _Connection,
            sock=made,
            ssl=self._tls if origin.tls else None,
            server_hostname=origin.host if origin.tls else None,
        )
        return connection


class _Unanswered(OSError):
    """The connection was closed before anything of an answer had come."""


class _Connection(asyncio.Protocol):
    """One connection, with at most one request under way."""

    def __init__(self) -> None:
        self.since = 0.0
        self._transport: Any = None
        self._answer: asyncio.Future[int] | None = None
        self._parser: Any = None
        self._begun = self._headed = self._keep = self._ended = False
        self._left = 0

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """Send a request; its answer's status."""
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._begun = self._headed = self._keep = False
        self._left = ANSWER_BYTES
        if self._ended:
            self._fail(_Unanswered("the peer closed the connection"))
        else:
            self._transport.write(request)
        return self._answer

    def reusable(self) -> bool:
        """Whether another request may follow."""
        return self._keep and not self._ended and not self._transport.is_closing()

    def drop(self) -> None:
        """Close; at once where a request is under way, for whose answer nobody waits any more."""
        if self._keep:
            self._transport.close()
        else:
            self._transport.abort()

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self._keep = False  # it talks unasked
            self._transport.abort()
            return
        self._begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as problem:
            self._keep = False
            self._fail(OSError(f"the answer is no HTTP: {str(problem)[:100]}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        if self._headed:  # a body without a length ends with the connection
            self._done()
        elif self._begun:
            self._fail(OSError("the peer closed the connection within its answer"))
        else:
            self._fail(_Unanswered(str(exc) if exc else "the peer closed the connection"))

    # What the parser calls

    def on_headers_complete(self) -> None:
        self._headed = self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        self._left -= len(body)
        if self._left < 0:
            self._done()
            self._transport.abort()

    def on_message_complete(self) -> None:
        if self._headed:
            self._keep = self._parser.should_keep_alive() and self._left >= 0
            self._done()

    def _done(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._parser.get_status_code())

    def _fail(self, problem: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(problem)


def _request(url: str, headers: Iterable[tuple[str, str]], body: bytes) -> tuple[Origin, bytes]:
    parts = urlsplit(url)
    tls = parts.scheme.lower() == "https"
    host = (parts.hostname or "").encode("idna").decode()
    origin = Origin(tls, host, parts.port or (443 if tls else 80))
    target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    named = f"[{host}]" if ":" in host else host
    where = named if parts.port is None else f"{named}:{parts.port}"
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {where}\r\nUser-Agent: {AGENT}\r\nAccept-Encoding: identity\r\n"
        f"Content-Length: {len(body)}\r\n{lines}\r\n"
    )
    return origin, head.encode() + body
