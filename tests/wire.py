"""HTTP without a library's good manners: anything can be said on a connection, and what comes back is looked at."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tests.running import Answer, City

REFUSALS: Final = {*range(400, 500), 501}


@dataclass(slots=True)
class Wire:
    """A connection on which anything can be said."""

    city: City
    socket: socket.socket
    held: bytes = b""

    def say(self, said: bytes) -> None:
        """Send; a server that has closed by now is no error."""
        with suppress(OSError):
            self.socket.sendall(said)

    def hear(self, *, headless: bool = False) -> Answer | None:
        """The next answer (`headless`: to HEAD, which has no body); None when the server closes without one."""
        try:
            head = self._until(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
            }
            return Answer(
                int(lines[0].split(" ")[1]),
                headers,
                self._take(0 if headless else int(headers.get("content-length", 0))),
            )
        except (OSError, EOFError):
            return None

    def _until(self, end: bytes) -> bytes:
        while end not in self.held:
            self._more()
        head, _, self.held = self.held.partition(end)
        return head

    def _take(self, count: int) -> bytes:
        while len(self.held) < count:
            self._more()
        body, self.held = self.held[:count], self.held[count:]
        return body

    def _more(self) -> None:
        piece = self.socket.recv(65_536)
        if not piece:
            raise EOFError
        self.held += piece


def connect(city: City) -> socket.socket:
    """A connection to the server; answers within 20 s."""
    return socket.create_connection(("127.0.0.1", city.port), timeout=20)


def request_text(
    city: City,
    method: str,
    path: str | bytes,
    body: bytes = b"",
    *headers: str | bytes,
    content_type: str = "application/json",
) -> bytes:
    """A request as it goes over the wire, signed."""
    raw = path if isinstance(path, bytes) else path.encode()
    lines = [b"host: x", f"authorization: Bearer {city.secret}".encode(), b"content-length: %d" % len(body)]
    lines += [b"content-type: " + content_type.encode()] if content_type else []
    lines += [one if isinstance(one, bytes) else one.encode() for one in headers]
    return method.encode() + b" " + raw + b" HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body


def check_refused(answer: Answer | None, field: str | None = None, *statuses: int) -> None:
    """A problem document of one of the statuses (any refusal when none is named) that names the field."""
    assert answer is not None, "no answer"
    assert answer.status in (statuses or REFUSALS), (answer.status, answer.body[:500])
    assert answer.headers["content-type"] in {"application/problem+json", "application/json"}
    problem = answer.json()
    assert problem["status"] == answer.status
    assert {"type", "title", "detail"} <= problem.keys()
    assert len(answer.body) < 2_000, "a refusal repeats at length what it was told"
    if field is not None:
        assert problem.get("field") == field, problem
