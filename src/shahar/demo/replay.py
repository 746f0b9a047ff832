"""The devices of the demo, speaking: each signs in to the MQTT broker with its name and key and sends what falls due.

Promises: every message of the roster is sent at least once, those of one device in order, as QoS 1 on `up/{device}`; a
part of time counts as sent only when the broker has acknowledged every message in it, and where that stands is kept
every few seconds and at the end. So a restart sends the last part again, and the platform keeps it once. A broker that
is away is tried again with growing waits; the clock goes on meanwhile, and nothing is left out.
Does not: wait for the platform to have received (the broker keeps it until then); go faster than its clock.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

import structlog
from gmqtt import Client, MQTTConnectError
from gmqtt.storage import PersistentStorage

from shahar.demo.clock import Clock
from shahar.demo.series import Due
from shahar.demo.stage import Keys, Stage
from shahar.values.errors import PeerFailed
from shahar.values.instants import DAY

AT_ONCE: Final = 100
"""Messages of one device that wait for their acknowledgement together."""

_ANSWER_S: Final = 10.0
_SAVE_S: Final = 3.0
_LEAVE_S: Final = 1.0
_FIRST_WAIT_S: Final = 0.25
_LONGEST_WAIT_S: Final = 10.0
_KEEPALIVE_S: Final = 30
_MQTT_311: Final = 4
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a broker that listens on all addresses is reached from here."""
_NO_RETRIES: Final = -2  # -1 is "for ever" in gmqtt, and its 0 still allows one

_log = structlog.get_logger(__name__)


class Replay:
    """The speaking devices of one stage; `keys` as `stage.prepare` gave them."""

    def __init__(self, stage: Stage, keys: Keys, clock: Clock, *, host: str, port: int, tick_s: float = 0.5) -> None:
        self._stage, self._clock, self._tick_s = stage, clock, tick_s
        self._radios = {name: _Radio(name, key, _EVERYWHERE.get(host, host), port) for name, key in keys.items()}
        self._task: asyncio.Task[None] | None = None
        self._saved_s = 0.0
        self._wait_s = 0.0
        self.sent = 0
        """Messages that the broker acknowledged since the start."""

    def running(self) -> bool:
        """Whether the last part could be sent."""
        return self._task is not None and not self._task.done() and not self._wait_s

    async def start(self) -> None:
        """Begin to send, and return at once."""
        logging.getLogger("gmqtt").setLevel(logging.CRITICAL + 1)  # it tells of each failure thrice; we tell once
        self._task = asyncio.create_task(self._go())

    async def stop(self) -> None:
        """Send no more, keep where it stands, sign the devices out; within 2 s."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._stage.at = max(self._stage.at, self._clock.now())
        await asyncio.to_thread(self._stage.save)
        await asyncio.gather(*(radio.leave() for radio in self._radios.values()))

    async def _go(self) -> None:
        while True:
            await self._step()
            await self._keep()
            behind = self._clock.now() - self._stage.sent > DAY
            await asyncio.sleep(0 if behind and not self._wait_s else self._tick_s)

    async def _step(self) -> None:
        """Send what has fallen due, a day at most."""
        until = min(self._clock.now(), self._stage.sent + DAY)
        due = list(self._stage.roster.due(self._stage.sent, until))
        try:
            await self._send(due)
        except (OSError, TimeoutError, MQTTConnectError, PeerFailed) as error:
            await self._fell(error)
            return
        if self._wait_s:
            _log.info("demo replay rose", sent=len(due))
            self._wait_s = 0.0
        self.sent += len(due)
        self._stage.sent = max(self._stage.sent, until)

    async def _fell(self, error: Exception) -> None:
        if not self._wait_s:
            _log.warning("demo replay fell", reason=str(error) or "the broker does not answer")
        self._wait_s = min(max(self._wait_s * 2, _FIRST_WAIT_S), _LONGEST_WAIT_S)
        await asyncio.sleep(self._wait_s * random.uniform(0.5, 1.5))

    async def _keep(self) -> None:
        """Keep where the clock and the messages stand, every few seconds."""
        self._stage.at = max(self._stage.at, self._clock.now())
        now_s = asyncio.get_running_loop().time()
        if now_s - self._saved_s >= _SAVE_S:
            self._saved_s = now_s
            await asyncio.to_thread(self._stage.save)

    async def _send(self, due: Iterable[Due]) -> None:
        """Send messages, each by its device, and return when all are acknowledged; raises the first failure."""
        by_device = sorted(due, key=attrgetter("device"))  # stable: those of one device stay in order
        told = [(name, list(group)) for name, group in groupby(by_device, key=attrgetter("device"))]
        ends = await asyncio.gather(*(self._radios[name].say(each) for name, each in told), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end


class _Radio:
    """One device's connection, made when it has something to say and kept."""

    def __init__(self, name: str, key: str, host: str, port: int) -> None:
        self._name, self._key, self._host, self._port = name, key, host, port
        self._client: Any = None
        self._unacknowledged: Any = None
        self._lost = asyncio.Event()

    async def say(self, told: Sequence[Due]) -> None:
        """Send messages in order; OSError, TimeoutError, MQTTConnectError, PeerFailed when one was not acknowledged."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._sign_in()
            for first in range(0, len(told), AT_ONCE):
                for due in told[first : first + AT_ONCE]:
                    self._client.publish(f"up/{self._name}", due.body, qos=1)
                async with asyncio.timeout(_ANSWER_S):
                    await self._acknowledged()
        except BaseException:  # fence: not swallowed; what was not acknowledged must not be sent by this client later
            await self.leave()
            raise

    async def _sign_in(self) -> None:
        if self._client is not None and not self._lost.is_set():
            return
        await self.leave()
        self._lost, self._unacknowledged = asyncio.Event(), PersistentStorage()
        client = Client(f"demo-{self._name}", clean_session=True, persistent_storage=self._unacknowledged)
        client.set_config({"reconnect_retries": _NO_RETRIES})
        client.set_auth_credentials(self._name, self._key)
        client.on_disconnect = self._fall
        self._client = client
        await client.connect(self._host, self._port, keepalive=_KEEPALIVE_S, version=_MQTT_311)

    def _fall(self, _client: Any, _packet: Any, _error: Exception | None = None) -> None:
        self._lost.set()

    async def _acknowledged(self) -> None:
        """Return when the broker has acknowledged everything; PeerFailed when it leaves before."""
        empty, lost = (asyncio.ensure_future(one) for one in (self._unacknowledged.wait_empty(), self._lost.wait()))
        try:
            await asyncio.wait({empty, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not empty.done():
                raise PeerFailed("the broker closed the connection")
        finally:
            empty.cancel()
            lost.cancel()

    async def leave(self) -> None:
        """Sign out; a broker that is gone is no failure."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            async with asyncio.timeout(_LEAVE_S):
                await client.disconnect()
        except (OSError, TimeoutError, AttributeError):  # AttributeError: gmqtt, when it never was connected
            pass  # the other side is gone or deaf; the socket is closing either way
