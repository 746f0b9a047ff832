"""The one guarded door for what we send or fetch by HTTP on somebody's word: notifications out, @contexts in.

A subscriber names the address, so the address is a stranger's: without a guard anybody who may subscribe could make us
knock at doors inside the city's own network (server-side request forgery).

Promises
- Every socket that is opened here passes `Outbound.refused` (values/outbound) with the very address that it is about
  to connect to, not with a name: a name that resolves to something else the second time (rebinding) gains nothing,
  since nothing is resolved between the check and the connection.
- A POST follows no redirect; a fetch follows at most three, each through the same door.
- Time and answer are bounded, an answer is never decompressed, proxies of the environment and cookies are not used.
- What was accepted returns; `Refused` is raised for an answer that says that this notification will never be taken
  (400, 413, 415, 422), PeerFailed for everything else. Neither carries the answer's text.

Does not: try again, keep order, count (services/deliveries does); look into bodies.
Source: ETSI GS CIM 009 clauses 6.3.5, 6.3.6, 6.3.14 (tenant), 5.2.22; RFC 6890 (special addresses); RFC 9110.

Fetching is aiohttp's, which is imported with the first fetch: it costs 12 MB. A POST has a room of its own
(`posting`): aiohttp takes 85 us for one on one core here, httpx 1 350 us.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from shahar.model.subscription import GEO_JSON, JSON, outward_address
from shahar.ports.webhooks.posting import Posts
from shahar.services.deliveries import Notice, Refused
from shahar.values.bounds import CONTEXT_BYTES, CONTEXT_S
from shahar.values.errors import PeerFailed
from shahar.values.outbound import Outbound

__all__ = ["Outbound", "Webhooks"]

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession, ClientTimeout

CONNECT_S: Final = 5.0
KEEP_ALIVE_S: Final = 4.0
REDIRECTS: Final = 3
LINK_REL: Final = "http://www.w3.org/ns/json-ld#context"
_REFUSING: Final = frozenset({400, 413, 415, 422})
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_AGENT: Final = "shahar"


class _Shut(OSError):
    """The guard's no, in the form that a connector passes through."""


class Webhooks:
    """Sends notifications (services/deliveries.Sender) and fetches documents. Close it when done."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._session: ClientSession | None = None
        self._posts = Posts(outbound.refused)

    async def post(self, notice: Notice) -> None:
        """Deliver one notification; Refused when the endpoint will never take it, PeerFailed when it did not now."""
        try:
            async with asyncio.timeout(notice.timeout_s):
                status = await self._posts.post(notice.uri, _headers(notice).items(), notice.body)
        except TimeoutError:
            raise PeerFailed(f"{_place(notice.uri)} did not answer within {notice.timeout_s:g} s") from None
        except (OSError, ValueError) as problem:
            raise PeerFailed(f"{_place(notice.uri)} could not be reached: {_short(problem)}") from None
        if status in _REFUSING:
            raise Refused(f"{_place(notice.uri)} refused the notification with status {status}")
        if not 200 <= status < 300:
            raise PeerFailed(f"{_place(notice.uri)} answered with status {status}")

    async def fetch(
        self, url: str, accept: str = "application/ld+json, application/json;q=0.9", max_bytes: int = CONTEXT_BYTES,
        timeout_s: float = CONTEXT_S,
    ) -> bytes:  # fmt: skip
        """A document's bytes, over at most three redirects; PeerFailed when it is not had within the bounds."""
        import aiohttp

        try:
            async with asyncio.timeout(timeout_s):
                return await self._fetched(url, accept, max_bytes)
        except TimeoutError:
            raise PeerFailed(f"{_place(url)} did not answer within {timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            raise PeerFailed(f"{_place(url)} could not be reached: {_short(problem)}") from None

    async def ask(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes | None, max_bytes: int
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (small letters) and body of one request, whatever its status; no redirect is followed.

        Raises PeerFailed when nobody answers or the answer is too large. The time is the caller's to bound.
        """
        import aiohttp

        if urlsplit(url).scheme not in ("http", "https"):
            raise PeerFailed(f"{_place(url)} is not an http or https address")
        try:
            asked = self._opened().request(method, url, data=body, headers=list(headers), allow_redirects=False)
            async with asked as answer:
                told = {name.lower(): value for name, value in answer.headers.items()}
                return answer.status, told, await _bounded(answer, max_bytes, url)
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            raise PeerFailed(f"{_place(url)} could not be reached: {_short(problem)}") from None

    async def close(self) -> None:
        """Let go of every connection."""
        self._posts.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _fetched(self, url: str, accept: str, max_bytes: int) -> bytes:
        for _ in range(REDIRECTS + 1):
            if urlsplit(url).scheme not in ("http", "https"):
                raise PeerFailed(f"{_place(url)} is not an http or https address")
            async with self._opened().get(url, headers={"accept": accept}, allow_redirects=False) as answer:
                if answer.status in _MOVED and answer.headers.get("location"):
                    url = urljoin(url, answer.headers["location"])
                    continue
                if answer.status != 200:
                    raise PeerFailed(f"{_place(url)} answered with status {answer.status}")
                return await _bounded(answer, max_bytes, url)
        raise PeerFailed(f"{_place(url)} leads on and on", rule=f"at most {REDIRECTS} redirects")

    def _opened(self) -> ClientSession:
        if self._session is None:
            import aiohttp

            connector = aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEEP_ALIVE_S, use_dns_cache=False, socket_factory=self._socket
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=_no_own_timeout(),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                headers={"user-agent": _AGENT, "accept-encoding": "identity"},
                max_line_size=8_190,
                max_field_size=8_190,
            )
        return self._session

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """The guard: called by the connector for each connection with the address that it will connect to."""
        family, kind, protocol, _, where = info
        refused = self._outbound.refused(str(where[0]))
        if refused is not None:
            raise _Shut(refused)
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made


def _no_own_timeout() -> ClientTimeout:
    """The whole is bounded by asyncio.timeout; only connecting has a bound of its own."""
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)


def _headers(notice: Notice) -> dict[str, str]:
    kind = notice.accept
    headers = {"Content-Type": kind}
    if kind == JSON or (kind == GEO_JSON and ("prefer", "body=json") in _lowered(notice.info)):
        headers["Link"] = f'<{outward_address(notice.context)}>; rel="{LINK_REL}"; type="application/ld+json"'
    if notice.tenant:
        headers["NGSILD-Tenant"] = notice.tenant
    headers.update(notice.info)
    return headers


def _lowered(info: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(key.lower(), value) for key, value in info]


async def _bounded(answer: ClientResponse, most: int, url: str) -> bytes:
    if (answer.content_length or 0) > most:
        raise PeerFailed(f"the document at {_place(url)} is too large", rule=f"at most {most} bytes")
    found = bytearray()
    async for chunk in answer.content.iter_any():
        found += chunk
        if len(found) > most:
            raise PeerFailed(f"the document at {_place(url)} is too large", rule=f"at most {most} bytes")
    return bytes(found)


def _place(url: str) -> str:
    """The host of an address, for a message: what stands behind it may be a secret."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2][:200] or "the address"
    except ValueError:
        return "the address"


def _short(problem: BaseException) -> str:
    inner = getattr(problem, "os_error", None) or problem
    return (str(inner) or type(inner).__name__)[:200]
