"""Periodic subscriptions: what matches is told every `timeInterval`, whether it changed or not.

Promises: the clock may run at a speed of its own and is looked at again often enough; a period that fails is not made
up for, one that takes longer than itself is not begun twice; whatever one period meets delays its subscription alone.
Does not: know what matches (`tell`); keep anything on the disk: a restart goes on from the last notification.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.2.12, 5.8.6, 5.11.7.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from shahar.services.deliveries import LOOK_AGAIN_S, Deliveries
from shahar.services.lanes import Lane
from shahar.values.instants import SECOND, Instant

Tell = Callable[[Lane, Instant], Awaitable[None]]
"""Tells a lane what matches now, nothing when nothing does, in the period that is due at an instant."""


class Periods:
    """The clockwork of those lanes whose subscription is periodic."""

    def __init__(self, out: Deliveries, now: Callable[[], Instant], tell: Tell) -> None:
        self._out = out
        self._now = now
        self._tell = tell

    def begin(self, lane: Lane) -> None:
        """Let a lane's periods run from now, or from its last notification; nothing when it has none or they run."""
        if not lane.sub.every_s or lane.clock is not None:
            return
        now = self._now()
        last = lane.tally.last_notification
        lane.due = now + round(lane.sub.every_s * SECOND)
        if last is not None:
            lane.due = max(now, min(lane.due, last + round(lane.sub.every_s * SECOND)))
        self._look(lane)

    def _look(self, lane: Lane) -> None:
        """Tell when it is time; look again then, or after a while, since the clock may run at a speed of its own."""
        lane.clock = None
        now = self._now()
        if lane.dropped or self._out.stopping or not lane.sub.every_s or not lane.runs or not lane.sub.live(now):
            return
        loop = asyncio.get_running_loop()
        if now >= lane.due:
            period = round(lane.sub.every_s * SECOND)
            due, lane.due = lane.due, lane.due + period * ((now - lane.due) // period + 1)
            if not lane.telling and loop.time() >= lane.not_before:
                lane.telling = True
                self._out.spawn(self._fenced(lane, due))
        wait_s = min(max((lane.due - now) / SECOND, 0.001), LOOK_AGAIN_S)
        lane.clock = loop.call_later(wait_s, self._look, lane)

    async def _fenced(self, lane: Lane, due: Instant) -> None:
        now = self._now()
        try:
            await self._tell(lane, due)
        except Exception as problem:  # fence: whatever one notification meets delays its own subscription alone
            self._out.fell(lane, now, problem)
        finally:
            lane.telling = False
            self._out.dirty[lane.key] = lane
