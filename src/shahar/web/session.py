"""Who asks: the credential in a request's header, the actor behind it, the browser's cookie, and the guard against
forged requests.

For: the outer layer of the application calls `identify` once for each request and keeps the actor in the scope.
Promises
- A credential comes from `Authorization: Bearer`, else from `X-API-Key`, else from the session cookie; two of the same
  header are refused, never chosen between. Nothing is ever read from an address: addresses are logged (those by which
  sources tell us, web/ngsild/notified, are not).
- A cookie that has ended makes nobody of its sender (the page is public or asks to sign in); a wrong key is an error.
- A request that changes something and is signed by a cookie alone must come from a page of ours: browsers send cookies
  wherever a link or form points. `Sec-Fetch-Site` must say same-origin, and where it is not sent (plain http beyond
  this machine) `Origin` must be our own; with neither the request is refused. Under open access (no credential at all,
  loopback) a foreign page is refused by the same headers, and a program, which sends neither, is not.
- The cookie is HttpOnly, SameSite=Lax, and over https Secure with the prefix `__Host-`; the other name is not accepted.

Does not: decide who may (access), count (rates).
Source: RFC 6750 2.1, RFC 6265bis 4.1, Fetch Metadata (W3C), Fetch standard "append a request Origin header".
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from shahar.model.access import Actor
from shahar.services.accounts import Accounts
from shahar.values.bounds import SESSION_S
from shahar.values.errors import Forbidden, Malformed, Unauthenticated
from shahar.values.instants import Instant

Scope = MutableMapping[str, Any]

COOKIE: Final = "shahar_session"
HOST_COOKIE: Final = "__Host-shahar_session"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_FORWARDED: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"})
_READ: Final = frozenset({b"authorization", b"x-api-key", b"cookie"})


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request signs itself with; `kind` says where it stood. Its text is not printed with it."""

    text: str
    kind: Literal["bearer", "key", "cookie"]

    def __repr__(self) -> str:
        return f"Credential({self.kind})"


def credential_of(scope: Scope) -> Credential | None:
    """The credential of an ASGI request, or None; Malformed when a header that carries one is sent twice."""
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in _READ:
            if name in found and name != b"cookie":
                raise Malformed(f"the header {name.decode()} is sent twice")
            text = value.decode("latin-1")
            found[name] = f"{found[name]}; {text}" if name in found else text
    if not found:
        return None
    kind, _, bearer = found.get(b"authorization", "").partition(" ")
    if kind.lower() == "bearer" and bearer.strip():
        return Credential(bearer.strip(), "bearer")
    if key := found.get(b"x-api-key", "").strip():
        return Credential(key, "key")
    cookie = _cookie(found.get(b"cookie", ""), HOST_COOKIE if is_https(scope) else COOKIE)
    return Credential(cookie, "cookie") if cookie else None


async def identify(scope: Scope, accounts: Accounts, at: Instant) -> Actor:
    """The actor who sends the request; Unauthenticated for a wrong key, Forbidden for a forged request, Malformed."""
    credential = credential_of(scope)
    if credential is None or credential.kind != "cookie":
        actor = await accounts.identify(None if credential is None else credential.text, at, peer=_own_peer(scope))
        if actor.kind == "open":
            demand_ours(scope, told=False)
        return actor
    try:
        actor = await accounts.identify(credential.text, at)
    except Unauthenticated:
        return await accounts.identify(None, at)
    demand_ours(scope, told=actor.kind != "open")
    return actor


def demand_ours(scope: Scope, *, told: bool) -> None:
    """Forbidden when a changing request comes from a page that is not ours; `told`: also when the headers do not
    say."""
    if scope["method"] in SAFE_METHODS:
        return
    site, origin = header(scope, b"sec-fetch-site"), header(scope, b"origin")
    if site is not None:
        ours = site == "same-origin"
    elif origin is not None:
        ours = _is_our_origin(origin, header(scope, b"host") or "")
    else:
        ours = not told
    if not ours:
        raise Forbidden("the request does not come from a page of this platform", rule="same origin")


def peer_of(scope: Scope) -> str | None:
    """The address of whoever holds the other end of the connection; None for a socket without one."""
    client = scope.get("client")
    return str(client[0]) if client else None


def is_https(scope: Scope) -> bool:
    """Whether the browser speaks https; behind a proxy the server must be told to believe its headers."""
    return bool(scope.get("scheme") == "https")


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that name (small letters)."""
    for found, value in scope["headers"]:
        if found == name:
            return str(value.decode("latin-1"))
    return None


def cookie(token: str, *, https: bool) -> str:
    """The value of the Set-Cookie header that begins a browser's session."""
    return _cookie_text(token, SESSION_S, https=https)


def ended_cookie(*, https: bool) -> str:
    """The value of the Set-Cookie header that makes the browser forget its session."""
    return _cookie_text("", 0, https=https)


def _cookie_text(value: str, age_s: int, *, https: bool) -> str:
    name, secure = (HOST_COOKIE, "; Secure") if https else (COOKIE, "")
    return f"{name}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Lax{secure}"


def _cookie(text: str, wanted: str) -> str | None:
    for part in text.split(";"):
        name, _, value = part.strip().partition("=")
        if name == wanted:
            return value.strip('"') or None
    return None


def _own_peer(scope: Scope) -> str | None:
    """The peer's address, or None when somebody else's request was passed on: a proxy on this machine is not its
    user."""
    if any(name in _FORWARDED for name, _ in scope["headers"]):
        return None
    return peer_of(scope)


def _is_our_origin(origin: str, host: str) -> bool:
    try:
        return bool(host) and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False
