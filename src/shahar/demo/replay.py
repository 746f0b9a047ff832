"""The devices of the demo, speaking: each signs in to the MQTT broker with its name and key and sends what falls due.

Promises: every message of the roster is sent at least once, those of one device in order, as QoS 1 on `up/{device}`; a
part of time counts as sent only when the broker has acknowledged every message in it, and where that stands is kept
every few seconds and at the end. So a restart sends the last part again, and the platform keeps it once. A broker that
is away is tried again with growing waits; the clock goes on meanwhile, and nothing is left out.
Does not: wait for the platform to have received (the broker keeps it until then); go faster than its clock.
"""

from __future__ import annotations

import asyncio
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
_NO_RETRIES: Final = -2  # -1 is "for ever" in gmqtt, and its 0 still allows one

_log = structlog.get_logger(__name__)


class Replay:
    """The speaking devices of one stage; `keys` as `stage.prepare` gave them."""

    def __init__(
        self, stage: Stage, keys: Keys, clock: Clock, *, host: str, port: int, tick_s: float = 0.5
    ) -> None:
        self._stage, self._clock, self._tick_s = stage, clock, tick_s
        self._radios = {name: _Radio(name, key, host, port) for name, key in keys.items()}
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
        """Send messages, each by its device, and return when all are acknowledged."""
        by_device = sorted(due, key=attrgetter("device"))  # stable: those of one device stay in order
        groups = [(name, list(told)) for name, told in groupby(by_device, key=attrgetter("device"))]
        async with asyncio.TaskGroup() if False else _Together() as together:
            for name, told in groups:
                together.add(self._radios[name].say(told))


class _Together:
    """Tasks that are done together: the first failure is raised when all have ended."""


class _Radio:
    """One device's connection, made when it has something to say."""
