"""One HTTP/1.1 connection: what is refused before there is a request that the application could see.

For: uvicorn reads the wire; this adds the bounds that it does not have.
Promises: what cannot be read as HTTP gets a problem document and is counted like every other refusal; address and
header fields together never take more than `HEAD_BYTES` (and one read) of memory; a request that has not wholly come
within `bounds.BODY_S` to twice that, and a connection on which nothing ever comes, is closed.
Does not: look into requests (application.py), limit how many connections there are.
Source: RFC 9112 (HTTP/1.1) clauses 2.2, 3 and 9.5; RFC 6585 clause 5.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from shahar.values import bounds
from shahar.values.bounds import ADDRESS_BYTES, HEADERS_BYTES
from shahar.values.errors import Malformed, ShaharError, TooLarge
from shahar.web import problem

HEAD_BYTES: Final = 2 * (ADDRESS_BYTES + HEADERS_BYTES)
"""Beyond this nobody is listened to; between the bounds and this the application refuses with a better sentence."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection with bounds on what comes before, and instead of, a request."""

    refused: ClassVar[Callable[[int], None]] = staticmethod(lambda _status: None)
    """Told the status of each refusal; set by `counting`."""
    _since = 0.0  # since when a request is awaited or incomplete, in the loop's time; 0: none is
    _begun = 0  # requests so far
    _in_head = False
    _head_bytes = 0
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # -- as uvicorn does
        super().connection_made(transport)
        self._since = self.loop.time()
        self._look = self.loop.call_later(bounds.BODY_S, self._look_at_clock)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        begun = self._begun
        super().data_received(data)
        if self._in_head and begun == self._begun:  # it goes on; its first read has a bound of its own
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                rule = f"at most {ADDRESS_BYTES} bytes of address and {HEADERS_BYTES} of header fields"
                self._refuse(TooLarge("address and header fields are too long", field="header", rule=rule))
        elif not self._since and self.timeout_keep_alive_task is None and self._rests():
            self._since = self.loop.time()  # empty lines have ended uvicorn's own waiting

    def _rests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._since, self._in_head, self._head_bytes = self.loop.time(), True, 0
        self._begun += 1

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._since = 0.0

    def shutdown(self) -> None:
        """What uvicorn calls when the server stops: for the rest of a half sent request nobody waits."""
        if self._since:
            self.transport.close()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when it cannot read a request."""
        self._refuse(Malformed("this cannot be read as an HTTP request", field="request", rule="RFC 9112"))

    def _refuse(self, failure: ShaharError) -> None:
        answer = problem.answer(failure)
        type(self).refused(answer.status)
        lines = [STATUS_LINE[answer.status]]
        headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body)), (b"connection", b"close")]
        lines += [name + b": " + value + b"\r\n" for name, value in headers]
        self.transport.write(b"".join([*lines, b"\r\n", answer.body]))
        self.transport.close()

    def _look_at_clock(self) -> None:
        if self._since and self.loop.time() - self._since > bounds.BODY_S:
            self.transport.close()
            return
        self._look = self.loop.call_later(bounds.BODY_S, self._look_at_clock)


def counting(refused: Callable[[int], None]) -> type[Connection]:
    """The connection of one application, which is told the status of each refusal."""
    made: dict[str, Any] = {"refused": staticmethod(refused)}
    return type("Connection", (Connection,), made)
