"""Notifications by MQTT: each published to the topic that its subscription's address names.

    mqtt[s]://[user[:password]@]host[:port]/topic[/subtopic]*

Promises
- Every connection passes values/outbound with the very address that it is made to, as those of ports/webhooks do.
- A message is `{"metadata": {...}, "body": notification}`: Content-Type, the @context as a Link for plain JSON, the
  tenant, and the pairs of receiverInfo. It is never retained.
- MQTT-QoS 0, 1 or 2 and MQTT-Version of notifierInfo are kept to. `post` returns when the broker has acknowledged
  (QoS 1: PUBACK, 2: PUBCOMP), with QoS 0 when it was written; a broker that refuses the message by its reason code, or
  is lost meanwhile, raises PeerFailed, and Refused where the same message will never be taken.
- One connection for each broker, user and version is kept and shared, closed after `IDLE_S` without use; there are at
  most `LINKS_MAX`, and the one unused for longest gives way. Sessions are clean: what was not acknowledged is told
  again by services/deliveries.
Where no version is asked for it is 5.0, and 3.1.1 with a broker that does not know 5.0.

Does not: keep order, try again, count (services/deliveries); receive anything.
On gmqtt: its client makes its own socket from a name, so that no guard could see the address; `_Client` hands it a
socket that was made here. Its reconnecting is off: a lost link is dropped and made anew by the next notification.
Source: ETSI GS CIM 009 V1.9.1 clause 7.2; MQTT 3.1.1 and 5.0 (OASIS).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import orjson
from gmqtt import Client, MQTTConnectError
from gmqtt.mqtt.connection import MQTTConnection
from gmqtt.mqtt.protocol import MQTTProtocol

from shahar.model.subscription import GEO_JSON, JSON, outward_address
from shahar.services.deliveries import Notice, Refused
from shahar.values.errors import PeerFailed
from shahar.values.outbound import Outbound

LINKS_MAX: Final = 128
IDLE_S: Final = 60.0
KEEPALIVE_S: Final = 30
OPEN_S: Final = 5.0
UNDER_WAY_MAX: Final = 256
LINK_REL: Final = "http://www.w3.org/ns/json-ld#context"
VERSIONS: Final = {"mqtt3.1.1": 4, "mqtt5.0": 5}
_NO_RETRIES: Final = -2  # -1 is "for ever" in gmqtt, and its 0 still allows one
_UNKNOWN_VERSION: Final = (1, 132)
_NEVER_TAKEN: Final = (0x90, 0x95, 0x99)
"""Reasons of MQTT 5: the topic is not valid, the packet is too large, the payload is not of its format."""


@dataclass(frozen=True, slots=True)
class Target:
    """One broker and how we speak with it; `version` 0: as it likes."""

    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None = field(repr=False)
    version: int = 0


def target_of(notice: Notice) -> tuple[Target, str, int]:
    """The broker, the topic and the quality of service of a notification."""
    parts = urlsplit(notice.uri)
    tls = parts.scheme.lower() == "mqtts"
    user, password = (None if text is None else unquote(text) for text in (parts.username, parts.password))
    channel = dict(notice.channel)
    version = VERSIONS.get(channel.get("MQTT-Version", ""), 0)
    target = Target(parts.hostname or "", parts.port or (8883 if tls else 1883), tls, user, password, version)
    return target, unquote(parts.path[1:]), int(channel.get("MQTT-QoS", "0"))


def message_of(notice: Notice) -> bytes:
    """The message: what HTTP says in headers is its metadata (7.2)."""
    metadata = {"Content-Type": notice.accept}
    if notice.accept == JSON or (notice.accept == GEO_JSON and ("prefer", "body=json") in _lowered(notice)):
        metadata["Link"] = f'<{outward_address(notice.context)}>; rel="{LINK_REL}"; type="application/ld+json"'
    if notice.tenant:
        metadata["NGSILD-Tenant"] = notice.tenant
    metadata |= dict(notice.info)
    return orjson.dumps({"metadata": metadata, "body": orjson.Fragment(notice.body)})


def _lowered(notice: Notice) -> list[tuple[str, str]]:
    return [(key.lower(), value) for key, value in notice.info]


class MqttNotices:
    """Sends notifications (services/deliveries.Sender) whose address is an MQTT one. Close it when done."""

    def __init__(self, outbound: Outbound) -> None:
        logging.getLogger("gmqtt").setLevel(logging.CRITICAL + 1)  # each failure is told once, by whom it delays
        self._outbound = outbound
        self._links: dict[Target, _Link] = {}
        self._opening: dict[Target, asyncio.Task[_Link]] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def post(self, notice: Notice) -> None:
        """Publish one notification; PeerFailed when the broker did not take it within the notification's time."""
        target, topic, qos = target_of(notice)
        try:
            async with asyncio.timeout(notice.timeout_s):
                link = await self._link(target)
                await link.publish(topic, message_of(notice), qos)
        except TimeoutError:
            raise PeerFailed(f"{_place(target)} did not answer within {notice.timeout_s:g} s") from None
        except (OSError, MQTTConnectError, ValueError, OverflowError) as problem:
            raise PeerFailed(f"{_place(target)} could not be reached: {str(problem)[:200]}") from None

    async def close(self) -> None:
        """Leave every broker."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for opening in self._opening.values():
            opening.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        links, self._links = list(self._links.values()), {}
        await asyncio.gather(*(link.leave() for link in links), *self._closing, return_exceptions=True)

    async def _link(self, target: Target) -> _Link:
        """The link with a broker, made when there is none; those who ask at the same time wait for the same one."""
        link = self._links.get(target)
        if link is None or link.lost.done():
            opening = self._opening.get(target)
            if opening is None:
                self._make_room()
                if len(self._links) + len(self._opening) >= LINKS_MAX:
                    raise PeerFailed("too many brokers are spoken with at once", rule=f"at most {LINKS_MAX}")
                opening = self._opening[target] = asyncio.get_running_loop().create_task(self._opened(target))
                opening.add_done_callback(partial(self._made, target))
            link = await asyncio.shield(opening)
        link.used_s = time.monotonic()
        return link

    def _made(self, target: Target, opening: asyncio.Task[_Link]) -> None:
        del self._opening[target]
        if not opening.cancelled() and opening.exception() is None:
            self._links[target] = opening.result()
            self._sweep_later()

    async def _opened(self, target: Target) -> _Link:
        if target.version:
            return await self._open(target, target.version)
        try:
            return await self._open(target, VERSIONS["mqtt5.0"])
        except MQTTConnectError as problem:
            if problem._code not in _UNKNOWN_VERSION:
                raise
        except _Closed:
            pass  # some brokers close on a version that they do not know, without a word
        return await self._open(target, VERSIONS["mqtt3.1.1"])

    async def _open(self, target: Target, version: int) -> _Link:
        link = _Link(target)
        try:
            async with asyncio.timeout(OPEN_S):
                await link.open(await self._socket(target), version)
        except BaseException:
            await link.leave()
            raise
        return link

    async def _socket(self, target: Target) -> socket.socket:
        """A connection to the first address of the host that may be reached and answers; OSError, PeerFailed."""
        loop = asyncio.get_running_loop()
        refused = ""
        problem: OSError | None = None
        for family, kind, protocol, _, where in await loop.getaddrinfo(
            target.host, target.port, type=socket.SOCK_STREAM
        ):
            why = self._outbound.refused(str(where[0]))
            if why is not None:
                refused = refused or why
                continue
            made = socket.socket(family, kind, protocol)
            made.setblocking(False)
            try:
                await loop.sock_connect(made, where)
            except OSError as error:
                made.close()
                problem = error
            except BaseException:
                made.close()
                raise
            else:
                return made
        raise problem or PeerFailed(f"{_place(target)} could not be reached: {refused or 'it has no address'}")

    def _make_room(self) -> None:
        """Leave those that are lost or were idle for long, and of too many the one unused for longest."""
        now = time.monotonic()
        by_age = sorted(self._links.items(), key=lambda item: item[1].used_s)
        for place, (target, link) in enumerate(by_age):
            too_many = len(by_age) - place + len(self._opening) >= LINKS_MAX
            if link.lost.done() or (not link.waiting and (too_many or now - link.used_s > IDLE_S)):
                del self._links[target]
                task = asyncio.get_running_loop().create_task(link.leave())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    def _sweep_later(self) -> None:
        if self._sweeping is None and self._links:
            self._sweeping = asyncio.get_running_loop().call_later(IDLE_S, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        self._make_room()
        self._sweep_later()


class _Closed(OSError):
    """The other side closed before it had answered."""


class _Waiting:
    """gmqtt's store of messages that are not acknowledged: what leaves it was."""

    def __init__(self) -> None:
        self.acknowledged: dict[int, asyncio.Future[None]] = {}
        self.newest = 0
        self.is_empty = True

    def push_message(self, mid: int, _package: bytes) -> None:
        """Begin to wait; a PUBREL that takes its message's place is waited for already."""
        if mid not in self.acknowledged:
            self.acknowledged[mid] = asyncio.get_running_loop().create_future()
            self.newest = mid

    def remove_message_by_mid(self, mid: int) -> None:
        """The broker is done with it."""
        done = self.acknowledged.pop(mid, None)
        if done is not None and not done.done():
            done.set_result(None)

    async def wait_empty(self) -> None:
        """Nothing is ever sent again by gmqtt itself."""

    def clear(self) -> None:
        """A new session has nothing waiting; nor has ours when it begins."""

    def get_all(self) -> list[tuple[int, bytes]]:
        """Nothing to send again."""
        return []


class _Client(Client):  # type: ignore[misc]  # -- gmqtt ships no types
    """gmqtt's client on a socket that is connected already."""

    socket: socket.socket
    name: str

    async def _create_connection(
        self, host: str, port: int, ssl: Any, clean_session: bool, keepalive: int
    ) -> MQTTConnection:
        self._exit_reconnecting_state()
        self._connack_received.clear()
        self._connection_lost.clear()
        handler = self._package_handler
        factory = partial(MQTTProtocol, connection_state=self._connection_state, id_generator=handler.id_generator)
        transport, protocol = await asyncio.get_running_loop().create_connection(
            factory, sock=self.socket, ssl=ssl or None, server_hostname=self.name if ssl else None
        )
        return MQTTConnection(transport, protocol, clean_session, keepalive, handler)


class _Link:
    """One connection with a broker; `lost` tells why it is none any more."""

    def __init__(self, target: Target) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.used_s = time.monotonic()
        self.waiting = 0
        self._target = target
        self._unanswered = _Waiting()
        self._refused: dict[int, int] = {}
        self._client: Any = None
        self._room = asyncio.Semaphore(1)

    async def open(self, connected: socket.socket, version: int) -> None:
        """Sign in; OSError, MQTTConnectError when the broker does not let us."""
        target = self._target
        client = _Client(f"shahar-{uuid4().hex[:16]}", clean_session=True, persistent_storage=self._unanswered)
        client.socket, client.name = connected, target.host
        client.set_config({"reconnect_retries": _NO_RETRIES})
        if target.user is not None:
            client.set_auth_credentials(target.user, target.password)
        client.on_disconnect = self._ended
        self._client = client
        self._listen_for_reasons(client._package_handler)
        tls = ssl.create_default_context() if target.tls else False
        await self._unless_lost(client.connect(target.host, target.port, tls, KEEPALIVE_S, version))
        self._room = asyncio.Semaphore(min(client._package_handler.id_generator._max - 1, UNDER_WAY_MAX))

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """Publish; return when the broker has taken it as surely as `qos` asks. OSError, PeerFailed."""
        self.waiting += 1
        try:
            if qos == 0:
                self._client.publish(topic, payload, qos=0)
                await self._written()
                return
            async with self._room:  # no more than the broker lets us have under way
                await self._acknowledgement(topic, payload, qos)
        finally:
            self.waiting -= 1

    async def _acknowledgement(self, topic: str, payload: bytes, qos: int) -> None:
        if self.lost.done():
            raise _Closed(self.lost.result())
        self._client.publish(topic, payload, qos=qos)
        mid = self._unanswered.newest
        await self._unless_lost(self._unanswered.acknowledged[mid])
        reason = self._refused.pop(mid, 0)
        if reason >= 0x80:
            kind = Refused if reason in _NEVER_TAKEN else PeerFailed
            raise kind(f"{_place(self._target)} refused the message with reason {reason:#x}")

    async def leave(self) -> None:
        """Say goodbye and close."""
        if not self.lost.done():
            self.lost.set_result("we left")
        client = self._client
        if client is None or client._connection is None:
            if client is not None:
                client.socket.close()
            return
        try:
            async with asyncio.timeout(1):
                await client.disconnect()
        except (OSError, TimeoutError):
            pass  # the other side is gone or deaf; the socket is closing either way

    async def _written(self) -> None:
        """Wait while the socket is full: QoS 0 has no other brake."""
        transport = self._client._connection._transport
        while transport.get_write_buffer_size() > 1 << 20:
            await asyncio.sleep(0.01)
            if self.lost.done():
                break
        if self.lost.done() or transport.is_closing():
            raise _Closed("the connection was closed")

    async def _unless_lost(self, act: Any) -> None:
        task = asyncio.ensure_future(act)
        either: set[asyncio.Future[Any]] = {task, self.lost}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait({task}, timeout=0.1)  # a refusal and the close come together; the refusal says more
            if not task.done():
                raise _Closed(self.lost.result())
            task.result()
        finally:
            task.cancel()

    def _listen_for_reasons(self, handler: Any) -> None:
        """gmqtt does not tell the reason codes of MQTT 5 acknowledgements: look at them before it does away with the
        packets."""
        for name in ("_handle_puback_packet", "_handle_pubrec_packet"):
            setattr(handler, name, partial(self._acknowledged, getattr(handler, name)))

    def _acknowledged(self, then: Any, command: int, packet: bytes) -> None:
        if len(packet) > 2 and packet[2] >= 0x80:
            self._refused[int.from_bytes(packet[:2], "big")] = packet[2]
        then(command, packet)

    def _ended(self, *_: Any) -> None:
        if not self.lost.done():
            self.lost.set_result("the broker closed the connection")


def _place(target: Target) -> str:
    """The broker, for a message: without user and password."""
    return f"{target.host}:{target.port}"[:200]
