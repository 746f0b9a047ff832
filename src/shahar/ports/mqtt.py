"""Our consumer of devices' messages: any MQTT 3.1.1 broker, one persistent session, acknowledged after the commit.

For: every message on `up/{device}` and below it is handed to `receive`, which assembly gives us.
Promises: a QoS 1 message is acknowledged only after `receive` returned, or raised CallerFault (the message is broken;
whoever was to receive it has counted and kept it). After any other error it is not acknowledged: we leave the broker
once what is under way is finished, and are given it again when we come back. So a message may come twice, but never not
at all. The messages of one device are received one after another in the order of their arrival, `in_flight` of
different devices at once. A lost broker is tried again with growing, jittered waits, and logged once when it falls and
once when it rises.
Does not: decode, judge or keep a message; publish; promise an order between a message and one given again; survive a
`receive` that fails for ever for one message (so `receive` must fence the decoders). Retained messages are passed over:
they have no instant, and a live one has come before. Memory is bounded: when `queue` messages wait, those of QoS 0 are
dropped and counted, and one of QoS 1 makes us leave, and take from the broker again what we had not acknowledged.

On gmqtt: brokers use their packet identifiers anew on each connection, so that an acknowledgement which came late
could hit another message; therefore each connection is a client object of its own, which never reconnects by itself.
It acknowledges when the on_message coroutine returns, so one that must not acknowledge returns after the connection
is closed.
Sources: MQTT 3.1.1 (OASIS, 2014) clauses 3.1.2.4 (session), 4.3.2 (QoS 1), 4.4 (delivery again), 4.6 (order).
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

import structlog
from gmqtt import Client, MQTTConnectError

from shahar.values.errors import CallerFault, Invalid, PeerFailed, ShaharError
from shahar.values.instants import Instant

TOPICS: Final = "up/+/#"
"""Matches `up/{device}` too; a second filter beside it would make some brokers deliver everything twice."""
CLIENT_ID: Final = "shahar-intake"

Receive = Callable[[str, str, bytes, Instant], Awaitable[None]]
"""Given device, topic, payload and the instant of arrival; returns when the message is durable."""

_OPEN_S: Final = 10.0
_FINISH_S: Final = 3.0
_KEEPALIVE_S: Final = 20
_FIRST_WAIT_S: Final = 0.25
_LONGEST_WAIT_S: Final = 30.0
_MQTT_311: Final = 4
_REFUSED: Final = 0x80
_NO_RETRIES: Final = -2  # -1 is "for ever" in gmqtt, and its 0 still allows one

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """A broker: where it is, whether over TLS, and as whom we sign in."""

    host: str
    port: int
    tls: bool
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def address(url: str) -> Address:
    """What `mqtt://user:password@host:port` names, or `mqtts://` (TLS); ports 1883 and 8883. Invalid: anything else."""
    rule = "mqtt://user:password@host:port"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Invalid("the MQTT broker's address cannot be read", field="mqtt", rule=rule) from None
    if parts.scheme not in ("mqtt", "mqtts") or not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise Invalid(f"an MQTT broker's address is {rule}", field="mqtt", rule=rule)
    tls = parts.scheme == "mqtts"
    user, password = (None if text is None else unquote(text) for text in (parts.username, parts.password))
    return Address(host, port or (8883 if tls else 1883), tls, user, password)


@dataclass(frozen=True, slots=True)
class _Fall:
    """Why a connection ended; `ours` when `receive` failed, with its error when that was not one of the house's."""

    reason: str
    ours: bool = False
    error: Exception | None = None


class Consumer:
    """One session with one broker; `now` gives the instants of arrival.

    After a failure of `receive` we are said to be up again when nothing has failed for `calm_s`: longer than the broker
    waits before it gives a message again, or one bad message would make us rise and fall by turns.
    """

    def __init__(
        self,
        url: str,
        receive: Receive,
        now: Callable[[], Instant],
        *,
        client_id: str = CLIENT_ID,
        in_flight: int = 512,
        queue: int = 4096,
        calm_s: float = 40.0,
    ) -> None:
        self._address, self._client_id = address(url), client_id
        self.in_flight, self.queue, self._calm_s = in_flight, queue, calm_s
        self._receive, self.now = receive, now
        self._task: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._fallen: _Fall | None = _Fall("start")
        self._received_before = 0  # counts, at the last fall
        self._wait_s = _FIRST_WAIT_S
        self.counts: Counter[str] = Counter()
        """Messages so far: received, broken, failed (not acknowledged), again (marked so), retained, dropped."""

    def running(self) -> bool:
        """Whether we are connected and subscribed."""
        return self._connected.is_set()

    async def start(self) -> None:
        """Begin to consume, and return at once: a broker that is not there yet is waited for."""
        logging.getLogger("gmqtt").setLevel(logging.CRITICAL + 1)  # it tells of each failure thrice; we tell once
        self._task = asyncio.create_task(self._consume())

    async def subscribed(self, timeout_s: float = 10.0) -> None:
        """Return when the broker keeps messages for us; PeerFailed, saying what was wrong, when it does not in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._connected.wait()
        except TimeoutError:
            reason = self._fallen.reason if self._fallen else "it is silent"
            raise PeerFailed(f"The MQTT broker at {self._place()} cannot be used: {reason}") from None

    async def stop(self) -> None:
        """Take no more, finish what is under way, within 4 s, and leave; the broker keeps what comes from then on."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _consume(self) -> None:
        while True:
            fall = await self._one_connection()
            if self._fallen is None or self._fallen.reason == "start":
                _log.warning("mqtt intake fell", broker=self._place(), reason=fall.reason, exc_info=fall.error)
            self._fallen, self._received_before = fall, self.counts["received"]
            await asyncio.sleep(self._wait_s * random.uniform(0.5, 1.5))
            self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)

    async def _one_connection(self) -> _Fall:
        link = _Link(self, self._address, self._client_id)
        try:
            await link.open()
            self._connected.set()
            if self._fallen and self._fallen.ours:
                await self._settle(link)
            else:
                self._rise()
            return await link.fallen
        except Exception as error:  # fence: whatever the network and gmqtt come up with, we try again
            if link.fallen.done() and link.fallen.result().ours:
                return link.fallen.result()
            foreseen = isinstance(error, (OSError, MQTTConnectError, PeerFailed))
            return _Fall(str(error) or "it does not answer", error=None if foreseen else error)
        finally:
            self._connected.clear()
            await link.leave()

    async def _settle(self, link: _Link) -> None:
        """After a failure of our own, rise only when messages were received and none has failed for a while."""
        while True:
            await asyncio.wait({link.fallen}, timeout=self._calm_s)
            if link.fallen.done():
                return
            if self.counts["received"] > self._received_before:
                self._rise()
                return

    def _rise(self) -> None:
        _log.info("mqtt intake rose", broker=self._place(), after=self._fallen.reason if self._fallen else None)
        self._fallen, self._wait_s = None, _FIRST_WAIT_S

    def _place(self) -> str:
        return f"{self._address.host}:{self._address.port}"

    # What a connection asks of us

    async def take(self, device: str, topic: str, payload: bytes, arrived_at: Instant) -> None:
        """Have one message received; raises what `receive` raises, but for CallerFault."""
        try:
            await self._receive(device, topic, payload, arrived_at)
        except CallerFault:
            self.counts["broken"] += 1
        except Exception:  # fence: counted here and judged by the link, whatever it is
            self.counts["failed"] += 1
            raise
        else:
            self.counts["received"] += 1


class _Link:
    """One connection, from CONNECT to its loss; `fallen` tells why it was lost."""

    def __init__(self, consumer: Consumer, at: Address, client_id: str) -> None:
        loop = asyncio.get_running_loop()
        self.fallen: asyncio.Future[_Fall] = loop.create_future()
        self._consumer, self._at = consumer, at
        self._granted: asyncio.Future[tuple[int, ...]] = loop.create_future()
        self._closed = asyncio.Event()
        self._room = asyncio.Semaphore(consumer.in_flight)
        self._last: dict[str, asyncio.Future[None]] = {}  # of each device, the message behind which the next one waits
        self._waiting = self._busy = 0
        self._client = self._new_client(client_id)

    def _new_client(self, client_id: str) -> Any:
        client = Client(client_id, clean_session=False, optimistic_acknowledgement=False)
        client.set_config({"reconnect_retries": _NO_RETRIES})
        if self._at.user is not None:
            client.set_auth_credentials(self._at.user, self._at.password)
        client.on_message = self._message
        client.on_subscribe = self._suback
        client.on_disconnect = self._lost
        return client

    async def open(self) -> None:
        """Connect, sign in, subscribe; OSError, TimeoutError, MQTTConnectError or PeerFailed when one of them fails."""
        at, client = self._at, self._client
        tls = ssl.create_default_context() if at.tls else False
        async with asyncio.timeout(_OPEN_S):
            connecting = client.connect(at.host, at.port, ssl=tls, keepalive=_KEEPALIVE_S, version=_MQTT_311)
            await self._unless_lost(connecting)
            client.subscribe(TOPICS, qos=1)
            granted = await self._unless_lost(self._granted)
        if granted[0] == _REFUSED:
            raise PeerFailed(f"it does not let us subscribe to {TOPICS}")

    async def leave(self) -> None:
        """Begin nothing more, finish what is under way, close; what has not been acknowledged by then never is."""
        self._fall(_Fall("we left"))
        for _ in range(int(_FINISH_S / 0.02)):
            if not self._busy:
                break
            await asyncio.sleep(0.02)
        await asyncio.sleep(0)  # the acknowledgement of the last one leaves a turn after its coroutine
        try:
            async with asyncio.timeout(1):
                await self._client.disconnect()
        except (OSError, TimeoutError):
            pass  # the other side is gone or deaf; the socket is closing either way
        self._closed.set()

    async def _unless_lost(self, act: Awaitable[_T]) -> _T:
        """Wait for what the broker must do; PeerFailed when it closes the connection instead."""
        task = asyncio.ensure_future(act)
        either: set[asyncio.Future[Any]] = {task, self.fallen}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({task}, timeout=0.1)  # a refusal and the close come together; the refusal says more
            if not task.done():
                raise PeerFailed("it closed the connection")
            return task.result()
        finally:
            task.cancel()

    # What gmqtt calls

    def _suback(self, _client: Any, _mid: int, granted: tuple[int, ...], _properties: Any) -> None:
        if not self._granted.done():
            self._granted.set_result(granted)

    def _lost(self, _client: Any, _packet: Any, _error: Exception | None = None) -> None:
        self._fall(_Fall("it closed the connection"))
        self._closed.set()

    async def _message(self, _client: Any, topic: str | bytes, payload: bytes, qos: int, flags: dict[str, Any]) -> int:
        """Receive one message in its turn; gmqtt acknowledges when this returns."""
        if self._welcome(qos, flags):
            self._waiting += 1
            text = topic if isinstance(topic, str) else topic.decode(errors="backslashreplace")
            done = await self._in_turn(text, payload)
            self._waiting -= 1
            if not done:
                await self._closed.wait()
        return 0

    def _welcome(self, qos: int, flags: dict[str, Any]) -> bool:
        """Whether a message is to be received, or left."""
        counts = self._consumer.counts
        counts["again"] += flags["dup"]
        if flags["retain"]:
            counts["retained"] += 1
            return False
        if self._waiting < self._consumer.queue:
            return True
        if qos:
            self._fall(_Fall(f"more than {self._consumer.queue} messages wait", ours=True))
            return True
        counts["dropped"] += 1
        return False

    async def _in_turn(self, topic: str, payload: bytes) -> bool:
        """Wait for the device's earlier messages and for room; whether the message may be acknowledged."""
        arrived_at = self._consumer.now()
        device = topic.split("/", 2)[1]
        before, mine = self._last.get(device), asyncio.get_running_loop().create_future()
        self._last[device] = mine
        try:
            if before:
                await asyncio.shield(before)
            async with self._room:
                return await self._receive(device, topic, payload, arrived_at)
        finally:
            mine.set_result(None)
            if self._last[device] is mine:
                del self._last[device]

    async def _receive(self, device: str, topic: str, payload: bytes, arrived_at: Instant) -> bool:
        if self.fallen.done():
            return False
        self._busy += 1
        try:
            await self._consumer.take(device, topic, payload, arrived_at)
        except ShaharError as error:
            self._fall(_Fall(f"a message could not be received: {error}", ours=True))
            return False
        except Exception as error:  # fence: never acknowledged, and the log gets the traceback once
            self._fall(_Fall(f"a message could not be received: {error!r}", ours=True, error=error))
            return False
        finally:
            self._busy -= 1
        return True

    def _fall(self, fall: _Fall) -> None:
        if not self.fallen.done():
            self.fallen.set_result(fall)
