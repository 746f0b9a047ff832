"""Deliveries: each subscription's own queue to its own endpoint.

A subscription on its way through the journal is a *lane*: a queue of what waits, what is under way, and how far it has
read. What fills the queue, and why the queue is only a piece of the journal looked up in advance, is told in
services/subscriptions.

Promises
- A repeat can be told by its id: urn:ngsi-ld:Notification:<subscription>:<number in the journal>.
- Order per entity: up to `WINDOW` notifications of one subscription are under way, of different entities.
- An endpoint delays only itself. After a failure its subscription waits (0.5 s doubled up to 5 min, jittered, at least
  the endpoint's cooldown), then tries one notification; after `BREAKER` failures its queue is given back and only the
  next notification is kept. Failing and slow endpoints share places under way of their own, apart from the others'.
- Memory is bounded: NOTIFICATION_QUEUE entries a subscription, `BUDGET_BYTES` together; beyond it lies the journal.
- A notification that its endpoint refuses as such (`Refused`) is tried `REFUSALS` times and then passed over, counted
  as failed: everything behind it would wait for ever.
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
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson
import structlog

from shahar.model import subscription as model
from shahar.model.context import Context, Source
from shahar.model.entity import Doc
from shahar.model.subscription import Seen, Subscription, Tally
from shahar.values.bounds import NOTIFICATION_QUEUE
from shahar.values.errors import PeerFailed, ShaharError
from shahar.values.instants import SECOND, Instant

WINDOW: Final = 8
FAST: Final = 128
SLOW: Final = 48
SLOW_S: Final = 1.0
BREAKER: Final = 5
REFUSALS: Final = 3
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 300.0
TOGETHER: Final = NOTIFICATION_QUEUE
LOOK_AHEAD: Final = 64
BUDGET_BYTES: Final = 32 * 1024 * 1024
LOOK_AGAIN_S: Final = 2.0
STOP_S: Final = 1.0

log = structlog.get_logger(__name__)

Key = tuple[str, str]
"""Tenant and id of a subscription."""
Contexts = Callable[[Source, Instant, str], Awaitable[Context]]
"""Gives the compiled @context of a source for a tenant (services/contexts.Contexts.get)."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification ready to be sent: `body` is JSON, `info` what the receiver is to be told besides (5.2.22)."""

    uri: str
    accept: str
    tenant: str
    context: Source
    info: tuple[tuple[str, str], ...]
    timeout_s: float
    body: bytes


class Refused(PeerFailed):
    """The endpoint has read the notification and will never take it, however often it is sent."""


class Sender(Protocol):
    """The port that notifications leave by."""

    async def post(self, notice: Notice) -> None:
        """Return when the endpoint took it; Refused, or PeerFailed for what may pass."""
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """A change that concerns somebody; `payload` is what it shows (model.Seen) as JSON, shared by all concerned.

    `first`: the oldest change that it stands for, where several of one entity were made one.
    """

    seq: int
    first: int
    key: str
    payload: bytes
    taken: float


@dataclass(slots=True, eq=False)
class Lane:
    """One subscription on its way through the journal.

    `read`: everything up to there that concerns it is waiting, under way or done (of a live one: at least).
    `done`: numbers delivered ahead of one that is not; `stored`: the state as it is on the disk; `turn` changes when
    `read` is set anew: whoever was reading for it meanwhile has read for nothing.
    """

    tenant: str
    sub: Subscription
    since: int
    read: int
    tally: Tally = field(default_factory=Tally)
    live: bool = True
    dropped: bool = False
    turn: int = 0
    waiting: deque[Item] = field(default_factory=deque)
    flying: dict[str, list[Item]] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    refusals: dict[int, int] = field(default_factory=dict)
    failures: int = 0
    not_before: float = 0.0
    slow: bool = False
    in_line: bool = False
    timer: asyncio.TimerHandle | None = None
    due: Instant = 0
    telling: bool = False
    stored: dict[str, Any] | None = None

    @property
    def key(self) -> Key:
        return self.tenant, self.sub.id

    def oldest(self) -> Item | None:
        """The first change that is not delivered."""
        if self.sub.throttling_s:
            pending = [*self.waiting, *(item for batch in self.flying.values() for item in batch)]
        else:
            pending = [batch[0] for batch in self.flying.values()]
            if self.waiting:
                pending.append(self.waiting[0])
        return min(pending, key=lambda item: item.first) if pending else None

    def goes_on(self, read: int, *, live: bool) -> None:
        """From now on it has read up to there."""
        self.read, self.live = read, live
        self.turn += 1

    def room(self) -> int:
        """How many more changes it may hold."""
        return (NOTIFICATION_QUEUE if self.failures < BREAKER else 1) - len(self.waiting)

    def next(self) -> int | None:
        """Where in the queue the next change stands that no earlier one of the same entity is in the way of."""
        passed: set[str] = set()
        for index, item in enumerate(self.waiting):
            if index >= LOOK_AHEAD:
                return None
            if item.key not in self.flying and item.key not in passed:
                return index
            passed.add(item.key)
        return None

    def take(self, index: int) -> list[Item]:
        """Take a change out to be sent; of a throttled subscription all that go together."""
        if self.sub.throttling_s:
            batch = [self.waiting.popleft() for _ in range(min(TOGETHER, len(self.waiting)))]
        else:
            batch = [self.waiting[index]]
            del self.waiting[index]
        self.flying[batch[0].key] = batch
        return batch

    def landed(self, batch: list[Item]) -> None:
        """A batch is done with."""
        del self.flying[batch[0].key]
        self.refusals.pop(batch[0].seq, None)
        self.done.update(item.seq for item in batch)
        oldest = self.oldest()
        base = oldest.first - 1 if oldest else self.read
        self.done = set() if oldest is None and self.live else {seq for seq in self.done if seq > base}

    def back(self, batch: list[Item]) -> None:
        """A batch was not delivered: it stands in the queue again."""
        del self.flying[batch[0].key]
        self.waiting = deque(sorted([*batch, *self.waiting], key=lambda item: item.seq))

    def window(self) -> int:
        """How many notifications may be under way."""
        return 1 if self.failures or self.slow or self.sub.throttling_s else WINDOW


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

    def __init__(self, send: Sender, context: Contexts, now: Callable[[], Instant]) -> None:
        self._send = send
        self._context = context
        self._now = now
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
        newest: dict[str, Item] = {}
        before = len(lane.waiting)
        for item in lane.waiting:
            earlier = newest.pop(item.key, None)
            newest[item.key] = item if earlier is None else _one_of(earlier, item)
        self.bytes += sum(len(item.payload) for item in newest.values())
        self.bytes -= sum(len(item.payload) for item in lane.waiting)
        lane.waiting = deque(newest.values())
        return lane.room() > 0 and self.bytes < BUDGET_BYTES and len(lane.waiting) <= before * 0.9

    def clear(self, lane: Lane, keep: int = 0) -> None:
        """Drop what waits, but for the first `keep`."""
        while len(lane.waiting) > keep:
            self.bytes -= len(lane.waiting.pop().payload)

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
        self.left(lane, now)
        try:
            await self.post(lane, _newest(batch), notification_id(lane, batch[-1].seq), now)
        except asyncio.CancelledError:
            lane.back(batch)
            raise
        except Exception as problem:  # fence: whatever one notification meets delays its own subscription alone
            if isinstance(problem, ShaharError) and not isinstance(problem, Refused):
                self._failed(lane, batch, now, problem)
            else:
                self._refused(lane, batch, now, problem)
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

    async def post(self, lane: Lane, shown: Iterable[Seen], notification_id: str, now: Instant) -> None:
        """Send one notification."""
        sub = lane.sub
        context = await self._context(sub.context, now, lane.tenant)
        document = model.notification(sub, notification_id, shown, context, now)
        end = sub.endpoint
        body = orjson.dumps(document)
        await self._send.post(
            Notice(end.uri, end.accept, lane.tenant, sub.implied or sub.context, end.receiver_info, end.timeout_s, body)
        )

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

    def _refused(self, lane: Lane, batch: list[Item], now: Instant, problem: Exception) -> None:
        tries = lane.refusals.get(batch[0].seq, 0) + 1
        if tries < REFUSALS:
            lane.refusals[batch[0].seq] = tries
            self._failed(lane, batch, now, problem)
            return
        if not isinstance(problem, ShaharError):
            log.error("notification broken", subscription=lane.sub.id, seq=batch[0].seq, exc_info=problem)
        self.bytes -= sum(len(item.payload) for item in batch)
        lane.landed(batch)
        self.fell(lane, now, problem)
        lane.failures, lane.not_before = 0, 0.0


def notification_id(lane: Lane, what: int | str) -> str:
    """The id of a lane's notification; `what` tells it from the others, and is the same when it is sent again."""
    return f"urn:ngsi-ld:Notification:{lane.sub.id}:{what}"


def _newest(batch: list[Item]) -> list[Seen]:
    """What a batch shows: of each entity its newest change."""
    newest: dict[str, Item] = {}
    for item in batch:
        earlier = newest.pop(item.key, None)
        newest[item.key] = item if earlier is None else _one_of(earlier, item)
    return [Seen(*orjson.loads(item.payload)) for item in newest.values()]


def _one_of(earlier: Item, later: Item) -> Item:
    """The later change, with what went in the earlier one and did not come back."""
    doc, gone, at, deleted = orjson.loads(later.payload)
    before = orjson.loads(earlier.payload)[1]
    payload = later.payload
    if before and not deleted:
        gone = [row for row in before if not _has(doc, row) and row not in gone] + gone
        payload = orjson.dumps([doc, gone, at, deleted])
    return Item(later.seq, min(earlier.first, later.first), later.key, payload, later.taken)


def _has(doc: Doc, row: Sequence[Any]) -> bool:
    return any(one.get("datasetId", "") == row[1] for one in doc["attrs"].get(row[0], ()))
