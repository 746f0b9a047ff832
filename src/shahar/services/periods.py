"""Periodic subscriptions: what matches is told every `timeInterval`, whether it changed or not.

Promises: the clock may run at a speed of its own and is looked at again often enough; a period that fails is not made
up for, one that takes longer than itself is not begun twice; nothing is sent when nothing matches, nor of what the
owner may not read.
Does not: keep anything on the disk: a restart goes on from the last notification.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.2.12, 5.8.6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from shahar.model import linking
from shahar.model import query as q
from shahar.model.entity import Doc
from shahar.model.subscription import Seen, readable
from shahar.services.broker import Broker
from shahar.services.deliveries import LOOK_AGAIN_S, Deliveries
from shahar.services.lanes import TOGETHER, Lane, notification_id
from shahar.values.bounds import PAGE_LIMIT
from shahar.values.instants import SECOND, Instant

PAGES_MAX: Final = 10


class Periods:
    """The clockwork of those lanes whose subscription is periodic."""

    def __init__(self, broker: Broker, out: Deliveries, now: Callable[[], Instant]) -> None:
        self._broker = broker
        self._out = out
        self._now = now

    def begin(self, lane: Lane) -> None:
        """Let a lane's periods run from now, or from its last notification."""
        now = self._now()
        last = lane.tally.last_notification
        lane.due = now + round(lane.sub.every_s * SECOND)
        if last is not None:
            lane.due = max(now, min(lane.due, last + round(lane.sub.every_s * SECOND)))
        self._look(lane)

    def _look(self, lane: Lane) -> None:
        """Send when it is time; look again then, or after a while, since the clock may run at a speed of its own."""
        lane.timer = None
        now = self._now()
        if lane.dropped or self._out.stopping or not lane.sub.every_s or not lane.runs or not lane.sub.live(now):
            return
        loop = asyncio.get_running_loop()
        if now >= lane.due:
            period = round(lane.sub.every_s * SECOND)
            due, lane.due = lane.due, lane.due + period * ((now - lane.due) // period + 1)
            if not lane.telling and loop.time() >= lane.not_before:
                lane.telling = True
                self._out.spawn(self._send_all(lane, due))
        wait_s = min(max((lane.due - now) / SECOND, 0.001), LOOK_AGAIN_S)
        lane.timer = loop.call_later(wait_s, self._look, lane)

    async def _send_all(self, lane: Lane, due: Instant) -> None:
        """Tell every entity that matches; nothing when there is none. A period that fails is not made up for."""
        now = self._now()
        try:
            docs = await self._matching(lane)
            for start in range(0, len(docs), TOGETHER):
                shown = [Seen(doc, [], now) for doc in docs[start : start + TOGETHER]]
                self._out.left(lane, now)
                await self._out.post(lane, shown, notification_id(lane, f"at:{due // 1_000}:{start}"), now)
                self._out.succeeded(lane, now)
        except Exception as problem:  # fence: whatever one notification meets delays its own subscription alone
            self._out.fell(lane, now, problem)
        finally:
            lane.telling = False
            self._out.dirty[lane.key] = lane

    async def _matching(self, lane: Lane) -> list[Doc]:
        found: dict[str, Doc] = {}
        sub, types = lane.sub, readable(lane.reads)
        asked = sub.q if sub.q is None or types is None else linking.within(sub.q, types)
        for selector in sub.selectors or (q.Query(),):
            query = q.Query(selector.ids, selector.id_pattern, selector.types, (), asked, sub.scope, sub.geo)
            offset = 0
            while True:
                page = await self._broker.find(lane.tenant, query, limit=PAGE_LIMIT, offset=offset)
                found.update((doc["id"], doc) for doc in page.docs if lane.may_show(doc["type"]))
                offset += PAGE_LIMIT
                if len(page.docs) < PAGE_LIMIT or offset > PAGE_LIMIT * PAGES_MAX:
                    break
        return list(found.values())
