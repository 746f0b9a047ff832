"""One request and its answer on the hot path, as plain records over raw ASGI.

For: /ngsi-ld/v1 and /intake, where a framework's request object would cost a third of the time. Pages and streams are
Starlette's.
Promises: a body is read whole and bounded before anyone sees it; parameters are decoded once, and one that no one
asked for is refused.
Source: ASGI 3.0; ETSI GS CIM 009 clause 6.3.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

import orjson

from shahar.services.entity_maps import EntityMaps
from shahar.values.bounds import ADDRESS_BYTES
from shahar.values.errors import Invalid, Malformed, NotCarried, NotFound, TooLarge

if TYPE_CHECKING:
    from shahar.model.access import Actor
    from shahar.services.accounts import Accounts
    from shahar.services.batches import Batches
    from shahar.services.broker import Broker
    from shahar.services.contexts import Contexts
    from shahar.services.devices import Devices
    from shahar.services.federation import Federation
    from shahar.services.forwarded import Forwarding
    from shahar.services.forwarded_rows import Forwarded
    from shahar.services.identity import Identity
    from shahar.services.notified import Notified
    from shahar.services.registration_subscriptions import RegistrationSubscriptions
    from shahar.services.registrations import Registrations
    from shahar.services.runner import Runner
    from shahar.services.subscriptions import Subscriptions
    from shahar.values.instants import Instant
    from shahar.web.picture import Picture

JSON: Final = "application/json"
LD_JSON: Final = "application/ld+json"
GEO_JSON: Final = "application/geo+json"
MERGE_JSON: Final = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the web floor works with, put together by assembly. `now()` is the city's clock, in the demo the demo's own;
    `wall()` is the real
    one, by which sessions, links and rates are counted."""

    now: Callable[[], Instant]
    wall: Callable[[], Instant]
    broker: Broker
    contexts: Contexts
    identity: Identity
    accounts: Accounts
    subscriptions: Subscriptions
    registrations: Registrations
    registration_subscriptions: RegistrationSubscriptions
    devices: Devices
    runner: Runner
    picture: Picture
    batches: Batches
    federation: Federation | None = None
    """None where no sources can be asked (a test without ports)."""
    entity_maps: EntityMaps = field(default_factory=EntityMaps)
    forwarding: Forwarding | None = None
    """Subscriptions of ours at sources."""
    notifications: Notified | None = None
    """What these sources tell."""

    async def forwarded(self, forwarded_id: str, token: str) -> Forwarded:
        """The subscription at a source that an address of ours is for; NotFound."""
        if self.forwarding is None:
            raise NotFound("nobody waits for notifications here", field="path")
        return await self.forwarding.known(forwarded_id, token)

    @property
    def notified(self) -> Notified:
        """What takes in the notifications of sources; NotFound where nobody does."""
        if self.notifications is None:
            raise NotFound("nobody waits for notifications here", field="path")
        return self.notifications


class Params:
    """Query parameters, decoded once; each value is taken out by the one who understands it."""

    __slots__ = ("_given",)

    def __init__(self, raw: bytes) -> None:
        if len(raw) > ADDRESS_BYTES:
            raise TooLarge("the query string is too long", rule=f"at most {ADDRESS_BYTES} bytes")
        self._given: dict[str, str] = {}
        for pair in filter(None, raw.split(b"&")):
            name, _, value = pair.partition(b"=")
            key = _decode(name)
            if key in self._given:
                raise Malformed(f"parameter {key!r:.60} is given twice", field=key[:60], rule="each parameter once")
            self._given[key] = _decode(value)

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def put(self, name: str, value: str) -> None:
        """Let a member of a body count as a parameter; Malformed when the address says it too."""
        if name in self._given:
            raise Malformed(f"{name} is given in the address and in the body", field=name, rule="one of both")
        self._given[name] = value

    def take(self, name: str) -> str | None:
        """The value, None when it was not given; an empty one is Malformed."""
        value = self._given.pop(name, None)
        if value == "":
            raise Invalid(f"parameter {name} has no value", field=name, rule="a value")
        return value

    def names(self, name: str) -> list[str]:
        """A comma-separated list."""
        value = self.take(name)
        return value.split(",") if value is not None else []

    def flag(self, name: str, default: bool = False) -> bool:
        """`true` or `false`; `default` when it was not given."""
        value = self.take(name)
        if value not in {None, "true", "false"}:
            raise Invalid(f"parameter {name} is true or false", field=name, rule="true or false")
        return default if value is None else value == "true"

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number within its bounds."""
        value = self.take(name)
        if value is None:
            return default
        if not value.isascii() or not value.isdigit() or len(value) > 15 or not least <= int(value) <= most:
            raise Invalid(
                f"parameter {name} is a whole number from {least} to {most}", field=name, rule=f"{least} to {most}"
            )
        return int(value)

    def done(self, later: frozenset[str] = frozenset()) -> None:
        """Refuse what is left: NotCarried when the standard has it (`later`), Malformed when nobody knows it."""
        for name in self._given:
            if name in later:
                raise NotCarried(f"parameter {name} is not carried yet", field=name)
            raise Malformed(
                f"parameter {name!r:.60} is not known here", field=name[:60], rule="a parameter of this operation"
            )


def _decode(raw: bytes) -> str:
    try:
        text = unquote_to_bytes(raw.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise Malformed("the address is not UTF-8", field="query") from None
    if "\0" in text:
        raise Malformed("a NUL character cannot be asked for", field="query", rule="no U+0000 in text")
    return text


@dataclass(slots=True)
class Request:
    """What a handler of the hot path gets: everything read, the actor known and allowed."""

    method: str
    path: str
    args: tuple[str, ...]
    params: Params
    headers: dict[str, str]
    body: bytes
    actor: Actor
    tenant: str
    at: Instant
    parts: Parts

    def json(self) -> Any:
        """The body as JSON; Malformed when it is none."""
        if not self.body:
            raise Malformed("the request has no body", field="body", rule="a JSON body")
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as problem:
            raise Malformed(f"the body is not JSON: {problem}", field="body", rule="RFC 8259 JSON in UTF-8") from None

    @property
    def media_type(self) -> str:
        """The body's media type without parameters, empty when none was named."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(slots=True)
class Response:
    """Status, body and headers of an answer; Content-Length is added when it is sent."""

    status: int
    body: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


class _Spelt(bytes):
    """A header's name that goes out as it is spelt, though servers write names in their small letters; it equals the
    same name in any case."""

    def lower(self) -> bytes:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, bytes) and bytes(self).lower() == bytes(other).lower()

    def __hash__(self) -> int:
        return hash(bytes(self).lower())


LOCATION: Final[bytes] = _Spelt(b"Location")
"""As the standards spell it. Any case would do, but two official cases (033_11, 038_02) look for these letters."""

Handler = Callable[[Request], Awaitable[Response]]


def json_response(
    status: int, document: Any, media_type: str = JSON, headers: list[tuple[bytes, bytes]] | None = None
) -> Response:
    """An answer with a JSON body."""
    return Response(status, orjson.dumps(document), [(b"content-type", media_type.encode()), *(headers or ())])
