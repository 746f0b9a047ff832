"""Deliveries: each subscription's own queue to its own endpoint.

A subscription on its way through the journal is a *lane* (services/lanes): a queue of what waits, what is under way,
and how far it has read. What fills the queue, and why the queue is only a piece of the journal looked up in advance, is
told in services/subscriptions.

Promises
- A repeat can be told by its id: urn:ngsi-ld:Notification:<subscription>:<number in the journal>.
- Order per entity: up to `WINDOW` notifications of one subscription are under way, of different entities.
- An endpoint delays only itself. After a failure its subscription waits (0.5 s doubled up to 5 min, jittered, at least
  the endpoint's cooldown), then tries one notification; after `BREAKER` failures its queue is given back and only the
  next notification is kept. Failing and slow endpoints share places under way of their own, apart from the others'.
- Memory is bounded: NOTIFICATION_QUEUE entries a subscription, `BUDGET_BYTES` together; beyond it lies the journal.
- A notification that its endpoint refuses as such (`Refused`), or that cannot be made, is tried `REFUSALS` times and
  then passed over, counted as failed, and kept as a dead letter: everything behind it would wait for ever.
- Throttling: what changes while the period runs is not dropped; the next notification tells the newest state of every
  entity that changed (of the first `TOGETHER`, the others with the one after). Its id is that of its newest change.

Does not: open sockets (`Sender`), read the journal or keep anything on the disk (services/subscriptions).
Departures from the standard, both towards losing nothing: during a cooldown nothing is dropped; a notification that
failed is sent again.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.2.12 to 5.2.15, 5.2.22, 5.8.6.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson
import structlog

from shahar.model import query as q
from shahar.model import subscription as model
from shahar.model.context import Context, Source
from shahar.model.entity import Doc
from shahar.model.linking import Join, Linked
from shahar.model.render import View
from shahar.model.subscription import Seen
from shahar.services.lanes import BREAKER, Item, Key, Lane, newest, notification_id, one_of
from shahar.values.bounds import NOTIFICATION_QUEUE
from shahar.values.errors import CallerFault, PeerFailed, ShaharError
from shahar.values.instants import SECOND, Instant

FAST: Final = 128
SLOW: Final = 512
SLOW_S: Final = 1.0
REFUSALS: Final = 3
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 300.0
BUDGET_BYTES: Final = 32 * 1024 * 1024
LOOK_AGAIN_S: Final = 2.0
STOP_S: Final = 1.0

log = structlog.get_logger(__name__)

Contexts = Callable[[Source, Instant, str], Awaitable[Context]]
"""Gives the compiled @context of a source for a tenant (services/contexts.Contexts.get)."""
Linker = Callable[[str, Sequence[Doc], View, Join, q.Node | None], Awaitable[Linked]]
"""Reads what entities of a tenant lead to (services/broker.Broker.linked)."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification ready to be sent: `body` is JSON, `info` what the receiver is to be told besides, `channel` how
    the way to it is set up (receiverInfo and notifierInfo, 5.2.15)."""

    uri: str
    accept: str
    tenant: str
    context: Source
    info: tuple[tuple[str, str], ...]
    timeout_s: float
    body: bytes
    channel: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Letter:
    """A notification that was given up: `why`, its body where it could be made, and the types of each entity in it."""

    tenant: str
    subscription: str
    id: str
    at: Instant
    why: str
    body: bytes
    types: tuple[list[str], ...]


class Refused(PeerFailed):
    """The endpoint has read the notification and will never take it, however often it is sent."""


class Sender(Protocol):
    """The port that notifications leave by."""

    async def post(self, notice: Notice) -> None:
        """Return when the endpoint took it; Refused, or PeerFailed for what may pass."""
        ...


class Senders:
    """Each notification by the port of its address's scheme; itself a Sender."""

    def __init__(self, ports: Mapping[str, Sender]) -> None:
        self._ports = ports

    async def post(self, notice: Notice) -> None:
        """Send by the port of the scheme; Refused when there is none."""
        port = self._ports.get(notice.uri.partition(":")[0].lower())
        if port is None:
            raise Refused("there is no port for notifications to such an address")
        await port.post(notice)


@dataclass(slots=True)
class _Slots:
    """Places under way, given out in the order of asking."""

    most: int
    busy: int = 0
    line: deque[Lane] = field(default_factory=deque)


@dataclass(slots=True)
class _Place:
    """One place under way; it moves to the slow ones when its endpoint does not answer."""

    slots: _Slots


class Deliveries:
    """Moves the queues: decides what may go now, sends it, and keeps count."""

    def __init__(self, send: Sender, context: Contexts, linked: Linker, now: Callable[[], Instant]) -> None:
        self._send = send
        self._context = context
        self._linked = linked
        self._now = now
        self.letters: list[Letter] = []
        """Given up and not yet kept."""
        self._slots = {False: _Slots(FAST), True: _Slots(SLOW)}
        self._tasks: set[asyncio.Task[None]] = set()
        self.bytes = 0
        self.stopping = False
        self.dirty: dict[Key, Lane] = {}
        self.hungry = asyncio.Event()
        self.behind: set[Lane] = set()
        """Lanes that are not live: they read the journal for themselves."""

    # -- queues -------------------------------------------------------------------------------------------------

    def add(self, lane: Lane, item: Item) -> bool:
        """Queue a change; False when there is no room, and then the lane reads it from the journal later."""
        if item.seq <= lane.read or item.seq in lane.done:
            return True
        full = lane.room() <= 0 or (self.bytes >= BUDGET_BYTES and bool(lane.waiting))
        if full and not (lane.sub.throttling_s and self._made_one(lane)):
            lane.goes_on(item.seq - 1, live=False)
            self.behind.add(lane)
            return False
        lane.waiting.append(item)
        self.bytes += len(item.payload)
        return True

    def takers(self) -> list[Lane]:
        """Those who are behind and have room enough for a piece of the journal to be worth reading."""
        low = NOTIFICATION_QUEUE // 2
        hungry = [lane for lane in self.behind if lane.room() > 0 and len(lane.waiting) <= low and not lane.dropped]
        return [lane for lane in hungry if self.bytes < BUDGET_BYTES or not lane.waiting]

    def _made_one(self, lane: Lane) -> bool:
        """Make the waiting changes of each entity one, the newest; whether that made room worth having."""
        found: dict[str, Item] = {}
        before = len(lane.waiting)
        for item in lane.waiting:
            earlier = found.pop(item.key, None)
            found[item.key] = item if earlier is None else one_of(earlier, item)
        self.bytes += sum(len(item.payload) for item in found.values())
        self.bytes -= sum(len(item.payload) for item in lane.waiting)
        lane.waiting = deque(found.values())
        return lane.room() > 0 and self.bytes < BUDGET_BYTES and len(lane.waiting) <= before * 0.9

    def clear(self, lane: Lane, keep: int = 0) -> None:
        """Drop what waits, but for the first `keep`."""
        while len(lane.waiting) > keep:
            self.bytes -= len(lane.waiting.pop().payload)

    def sift(self, lane: Lane) -> None:
        """Drop what waits and the lane's owner may no longer read."""
        kept = [item for item in lane.waiting if lane.may_show(orjson.loads(item.payload)[0]["type"])]
        self.bytes -= sum(len(item.payload) for item in lane.waiting) - sum(len(item.payload) for item in kept)
        lane.waiting = deque(kept)

    def pump(self, lane: Lane) -> None:
        """Send what may be sent now."""
        while self._may_send(lane):
            index = lane.next()
            if index is None:
                return
            slots = self._slots[lane.slow or lane.failures > 0]
            if slots.busy >= slots.most:
                if not lane.in_line:
                    lane.in_line = True
                    slots.line.append(lane)
                return
            slots.busy += 1
            self.spawn(self._deliver(lane, lane.take(index), _Place(slots)))

    def spawn(self, work: Any) -> None:
        """Let a coroutine run until `stop`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Send nothing new; wait a second for what is under way, then give it back to its queue."""
        self.stopping = True
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=STOP_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def wait(self, lane: Lane, wait_s: float) -> None:
        """Look at a lane again after a while."""
        if lane.timer is None:
            lane.timer = asyncio.get_running_loop().call_later(wait_s, self._look_again, lane)

    def _look_again(self, lane: Lane) -> None:
        lane.timer = None
        self.pump(lane)

    def _may_send(self, lane: Lane) -> bool:
        if self.stopping or lane.dropped or not lane.waiting or len(lane.flying) >= lane.window():
            return False
        now = self._now()
        if not lane.sub.live(now):
            self.clear(lane)
            return False
        wait_s = lane.not_before - asyncio.get_running_loop().time()
        if wait_s <= 0 and lane.sub.throttling_s and lane.tally.last_notification is not None:
            left = lane.tally.last_notification + round(lane.sub.throttling_s * SECOND) - now
            wait_s = min(left / SECOND, LOOK_AGAIN_S)
        if wait_s > 0:
            self.wait(lane, wait_s)
        return wait_s <= 0

    # -- one delivery -------------------------------------------------------------------------------------------

    async def _deliver(self, lane: Lane, batch: list[Item], place: _Place) -> None:
        loop = asyncio.get_running_loop()
        started, overdue = loop.time(), loop.call_later(SLOW_S, self._overdue, lane, place)
        now = self._now()
        told, body, shown = notification_id(lane, batch[-1].seq), b"", newest(batch)
        self.left(lane, now)
        try:
            body = await self._written(lane, shown, told, now)
            if not lane.dropped:
                await self._send.post(notice(lane, body))
        except asyncio.CancelledError:
            lane.back(batch)
            raise
        except Exception as problem:  # fence: whatever one notification meets delays its own subscription alone
            if isinstance(problem, ShaharError) and not isinstance(problem, (Refused, CallerFault)):
                self._failed(lane, batch, now, problem)
            else:
                types = tuple(one.doc["type"] for one in shown)
                self._refused(lane, batch, now, problem, Letter(*lane.key, told, now, _why(problem), body, types))
        else:
            self._delivered(lane, batch, now, loop.time() - started)
        finally:
            overdue.cancel()
            place.slots.busy -= 1
        self._after(lane, place.slots)

    def _overdue(self, lane: Lane, place: _Place) -> None:
        """An endpoint that hangs gives its place back to those who answer, and waits among the slow ones, which may
        for a while be more than they should.
        """
        fast, slow = self._slots[False], self._slots[True]
        lane.slow = True
        if place.slots is fast:
            fast.busy, slow.busy, place.slots = fast.busy - 1, slow.busy + 1, slow
            self._serve_line(fast)

    def _after(self, lane: Lane, slots: _Slots) -> None:
        self.dirty[lane.key] = lane
        if lane.dropped:
            self.clear(lane)
        if not lane.live and len(lane.waiting) <= NOTIFICATION_QUEUE // 2:
            self.hungry.set()
        self.pump(lane)
        self._serve_line(slots)

    def _serve_line(self, slots: _Slots) -> None:
        while slots.line and slots.busy < slots.most:
            other = slots.line.popleft()
            other.in_line = False
            self.pump(other)

    async def post(self, lane: Lane, shown: Iterable[Seen], told: str, now: Instant) -> None:
        """Send one notification, whose id is `told`; nothing when the lane was dropped."""
        body = await self._written(lane, shown, told, now)
        if not lane.dropped:
            await self._send.post(notice(lane, body))

    async def again(self, lane: Lane, body: bytes) -> None:
        """Send a body that was given up, as the subscription now says; Refused, PeerFailed."""
        await self._send.post(notice(lane, body))

    async def _written(self, lane: Lane, shown: Iterable[Seen], told: str, now: Instant) -> bytes:
        sub = lane.sub
        context = await self._context(sub.context, now, lane.tenant)
        view, linked = lane.view(context), None
        docs = model.docs_of(sub, shown)
        if sub.join is not None:
            linked = await self._linked(lane.tenant, docs, view, sub.join, model.readable(lane.reads))
        return orjson.dumps(model.notification(sub, told, docs, view, now, linked))

    def _delivered(self, lane: Lane, batch: list[Item], now: Instant, took_s: float) -> None:
        self.bytes -= sum(len(item.payload) for item in batch)
        lane.landed(batch)
        lane.slow = took_s > SLOW_S
        self.succeeded(lane, now)

    def left(self, lane: Lane, now: Instant) -> None:
        """Count a notification that is on its way, before its answer is known (5.8.6)."""
        lane.tally.times_sent += 1
        lane.tally.last_notification = max(now, lane.tally.last_notification or 0)
        self.dirty[lane.key] = lane

    def succeeded(self, lane: Lane, now: Instant) -> None:
        """Count a notification that was taken."""
        if lane.failures:
            log.info("endpoint rose", subscription=lane.sub.id, tenant=lane.tenant, after=lane.failures)
            lane.failures = 0
        lane.tally.last_success = max(now, lane.tally.last_success or 0)
        lane.tally.ok = True

    def fell(self, lane: Lane, now: Instant, problem: Exception) -> None:
        """Count a notification that was not taken, and wait before the next; those sent together wait together."""
        tally = lane.tally
        tally.times_failed += 1
        tally.last_failure = max(now, tally.last_failure or 0)
        tally.ok = False
        if not lane.failures:
            log.warning("endpoint fell", subscription=lane.sub.id, tenant=lane.tenant, problem=str(problem))
        clock = asyncio.get_running_loop().time()
        if clock < lane.not_before:
            return
        lane.failures += 1
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(lane.failures - 1, 16))
        wait_s = max(longest * random.uniform(0.5, 1.0), lane.sub.endpoint.cooldown_s)
        lane.not_before = clock + wait_s

    def _failed(self, lane: Lane, batch: list[Item], now: Instant, problem: Exception) -> None:
        lane.back(batch)
        self.fell(lane, now, problem)
        if lane.failures >= BREAKER and len(lane.waiting) > 1 and not lane.flying:
            rest = lane.waiting[1].first - 1
            lane.goes_on(rest if lane.live else min(lane.read, rest), live=False)
            self.behind.add(lane)
            self.clear(lane, keep=1)

    def _refused(self, lane: Lane, batch: list[Item], now: Instant, problem: Exception, letter: Letter) -> None:
        tries = lane.refusals.get(batch[0].seq, 0) + 1
        if tries < REFUSALS:
            lane.refusals[batch[0].seq] = tries
            self._failed(lane, batch, now, problem)
            return
        if not isinstance(problem, ShaharError):
            log.error("notification broken", subscription=lane.sub.id, seq=batch[0].seq, exc_info=problem)
        self.bytes -= sum(len(item.payload) for item in batch)
        lane.landed(batch)
        self.letters.append(letter)
        self.fell(lane, now, problem)
        lane.failures, lane.not_before = 0, 0.0


def notice(lane: Lane, body: bytes) -> Notice:
    """A body on its way to the lane's endpoint."""
    end, named = lane.sub.endpoint, lane.sub.implied or lane.sub.context
    return Notice(end.uri, end.accept, lane.tenant, named, end.receiver_info, end.timeout_s, body, end.notifier_info)


def _why(problem: Exception) -> str:
    """What a dead letter says: an error's own sentence, of a fault of ours no more than that it was one."""
    return problem.detail if isinstance(problem, ShaharError) else "the notification could not be made"
