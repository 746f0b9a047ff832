"""Tidings: what waits for a registration subscription, how it goes, and as what.

Promises: one notification of a subscription at a time, in the order of the changes, each of one trigger reason; what
waits stands in `Follower.pending` until its endpoint took it.
Does not: match, keep anything on the disk (services/registration_subscriptions).
Source: ETSI GS CIM 009 V1.9.1 clauses 5.3.2, 5.3.3, 5.11.7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from shahar.model import registration as registrations_model
from shahar.model.registration import Record
from shahar.model.registration import interest as model
from shahar.model.registration.interest import Interest, Reason, Shown
from shahar.model.subscription import Seen
from shahar.services.deliveries import Deliveries
from shahar.services.lanes import TOGETHER, Item, Lane
from shahar.values.instants import Instant


@dataclass(slots=True, eq=False)
class Follower(Lane):
    """A registration subscription on its way through the journal; `pending`: everything that waits, by its number."""

    interest: Interest | None = None
    pending: dict[int, bytes] = field(default_factory=dict)
    bound: int = 0
    """How many may wait before those of one registration are made one again."""

    def window(self) -> int:
        """One at a time: a change of one registration must not overtake that of another."""
        return 1

    def take(self, index: int) -> list[Item]:
        """Take out what goes together: of a throttled subscription the changes of one reason."""
        if not self.sub.throttling_s:
            return Lane.take(self, index)
        batch = [self.waiting.popleft()]
        while self.waiting and len(batch) < TOGETHER and _reason(self.waiting[0]) == _reason(batch[0]):
            batch.append(self.waiting.popleft())
        self.flying[batch[0].key] = batch
        return batch

    def landed(self, batch: list[Item]) -> None:
        """A batch is done with, and waits no more."""
        Lane.landed(self, batch)
        for item in batch:
            self.pending.pop(item.seq, None)


class Tidings(Deliveries):
    """Deliveries whose notifications tell of registrations."""

    async def _written(self, lane: Lane, shown: Iterable[Seen], told: str, now: Instant) -> bytes:
        context = await self._context(lane.sub.context, now, lane.tenant)
        docs = [one.doc for one in shown]
        told_of = [(record, places) for doc in docs for record, places, types in doc["shown"] if lane.may_show(types)]
        return orjson.dumps(model.notification(lane.sub, told, docs[0]["reason"], told_of, context, now))

    def left(self, lane: Lane, now: Instant) -> None:
        """Count a notification once, however often it is tried (official case 047_06)."""
        Deliveries.left(self, lane, now)
        if lane.failures:
            lane.tally.times_sent -= 1

    def fell(self, lane: Lane, now: Instant, problem: Exception) -> None:
        """Count a notification that was not taken once, however often it is tried."""
        again = lane.failures > 0
        Deliveries.fell(self, lane, now, problem)
        if again:
            lane.tally.times_failed -= 1


# -- what waits -------------------------------------------------------------------------------------------------------


def payload_of(key: str, reason: Reason, shown: Sequence[Shown], at: Instant) -> bytes:
    """One change as it waits: a model.Seen, whose document holds the reason, and of each registration the record, the
    places of its elements and its types."""
    rows = [(record, places, list(_types(record))) for record, places in shown]
    types = sorted({iri for _, _, held in rows for iri in held})
    return orjson.dumps([{"id": key, "type": types, "attrs": {}, "reason": reason, "shown": rows}, [], at, False, []])


def _types(record: Record) -> tuple[str, ...]:
    return registrations_model.types_of(registrations_model.compiled(record))


def _reason(item: Item) -> Reason:
    reason: Reason = orjson.loads(item.payload)[0]["reason"]
    return reason


def folded(pending: Mapping[int, bytes]) -> dict[int, bytes]:
    """Changes that wait, those of one registration made one; what came and went meanwhile is gone."""
    newest: dict[str, tuple[int, Reason, Any]] = {}
    rest: dict[int, bytes] = {}
    for seq in sorted(pending):
        doc, _, at, *_ = orjson.loads(pending[seq])
        for row in doc["shown"]:
            before = newest.pop(row[0]["id"], None)
            reason = doc["reason"] if before is None else _together(before[1], doc["reason"])
            if reason is not None:
                newest[row[0]["id"]] = (seq, reason, (row, at))
    for number, (seq, reason, (row, at)) in enumerate(newest.values()):
        shown: Shown = (row[0], row[1])
        key = seq if seq not in rest else min(pending) - 1 - number
        rest[key] = payload_of(row[0]["id"], reason, [shown], at)
    return rest


def _together(earlier: Reason, later: Reason) -> Reason | None:
    """What two changes are together to somebody who was told neither."""
    if earlier == "newlyMatching":
        return None if later == "noLongerMatching" else "newlyMatching"
    if earlier == "noLongerMatching" and later != "noLongerMatching":
        return "updated"
    return later


def state_of(lane: Follower) -> dict[str, Any]:
    """What is kept of a follower: what waits, and its tally."""
    pending = [(seq, payload.decode()) for seq, payload in sorted(lane.pending.items())]
    return {"pending": pending, "tally": asdict(lane.tally)}
