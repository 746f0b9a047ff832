"""Lanes: one subscription each on its way through the journal, with what waits for it and what is under way.

For: services/deliveries moves lanes, services/subscriptions fills them; why a queue is only a piece of the journal
looked up in advance is told there.
Promises: `next` never passes over an earlier change of the same entity; a batch that is given back stands in its old
place; changes of one entity that are made one keep what went, and what was there before the first of them.
Does not: send, wait, read a clock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from shahar.model.context import Context
from shahar.model.entity import Doc
from shahar.model.render import View
from shahar.model.subscription import Seen, Subscription, Tally
from shahar.values.bounds import NOTIFICATION_QUEUE
from shahar.values.instants import Instant

WINDOW: Final = 8
SLOW_WINDOW: Final = 4
BREAKER: Final = 5
TOGETHER: Final = NOTIFICATION_QUEUE
LOOK_AHEAD: Final = 64

Key = tuple[str, str]
"""Tenant and id of a subscription."""
Reads = frozenset[str] | None
"""The types of entities that somebody may read; None: of any type."""


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
    `owner`: the actor who subscribed, and `reads` what that one may read now.
    `done`: numbers delivered ahead of one that is not; `stored`: the state as it is on the disk; `turn` changes when
    `read` is set anew: whoever was reading for it meanwhile has read for nothing. `timer`: of what waits,
    `clock`: of its periods.
    """

    tenant: str
    sub: Subscription
    since: int
    read: int
    owner: str = ""
    reads: Reads = None
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
    clock: asyncio.TimerHandle | None = None
    due: Instant = 0
    telling: bool = False
    stored: dict[str, Any] | None = None
    seen_by: tuple[Subscription, View] | None = None

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

    @property
    def runs(self) -> bool:
        """Whether it is to be told anything: not paused, and its owner may still read something."""
        return self.sub.active and self.reads != frozenset()

    def view(self, context: Context) -> View:
        """How its entities are shown in this @context; made once for each."""
        if self.seen_by is None or self.seen_by[0] is not self.sub or self.seen_by[1].context is not context:
            self.seen_by = self.sub, self.sub.view(context)
        return self.seen_by[1]

    def may_show(self, types: Sequence[str]) -> bool:
        """Whether the owner may read an entity of these types."""
        return self.reads is None or not self.reads.isdisjoint(types)

    def unset(self) -> None:
        """Let nobody look at it again by the clock."""
        for handle in (self.timer, self.clock):
            if handle is not None:
                handle.cancel()
        self.timer = self.clock = None

    def goes_on(self, read: int, *, live: bool) -> None:
        """From now on it has read up to there."""
        self.read, self.live = read, live
        self.turn += 1

    def room(self) -> int:
        """How many more changes it may hold."""
        if self.failures >= BREAKER:
            return 1 - len(self.waiting) - len(self.flying)
        return NOTIFICATION_QUEUE - len(self.waiting)

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
        if self.failures or self.sub.throttling_s:
            return 1
        return SLOW_WINDOW if self.slow else WINDOW


FindLane = Callable[[Key], Awaitable[Lane | None]]
"""Gives a subscription's lane, whichever process tells it."""


def notification_id(lane: Lane, what: int | str) -> str:
    """The id of a lane's notification; `what` tells it from the others, and is the same when it is sent again."""
    return f"urn:ngsi-ld:Notification:{lane.sub.id}:{what}"


def newest(batch: list[Item]) -> list[Seen]:
    """What a batch shows: of each entity its newest change."""
    found: dict[str, Item] = {}
    for item in batch:
        earlier = found.pop(item.key, None)
        found[item.key] = item if earlier is None else one_of(earlier, item)
    return [Seen(*orjson.loads(item.payload)) for item in found.values()]


def one_of(earlier: Item, later: Item) -> Item:
    """The later change, with what went in the earlier one and did not come back, and what was there before it."""
    doc, gone, at, deleted, was = orjson.loads(later.payload)
    _, went_before, _, _, was_before = orjson.loads(earlier.payload)
    payload = later.payload
    if went_before and not deleted:
        gone = [row for row in went_before if not _has(doc, row) and row not in gone] + gone
    if was_before:
        known = {(row[0], row[1]) for row in was_before}
        was = was_before + [row for row in was if (row[0], row[1]) not in known]
    if went_before or was_before:
        payload = orjson.dumps([doc, gone, at, deleted, was])
    return Item(later.seq, min(earlier.first, later.first), later.key, payload, later.taken)


def _has(doc: Doc, row: Sequence[Any]) -> bool:
    return any(one.get("datasetId", "") == row[1] for one in doc["attrs"].get(row[0], ()))
