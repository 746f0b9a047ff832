"""Subscriptions to registrations: kept per tenant, matched against the journal, told through services/deliveries.

The theory. The journal is the queue here too: a row of a registration tells what it was and what it is
(services/registrations), the row of a subscription that was made or changed tells which registrations matched it at
that moment. Such rows are few beside those of entities, so that what waits for an endpoint is not looked up again in
the journal: it is kept, all of it, with the subscription's state, which is written in the transaction of the consumer's
place. A follower's queue (services/tidings) is filled from there.

Promises
- What was matched and not delivered survives kill -9; after a kill at most about a second is repeated.
- Notifications of one subscription come one at a time and in the order of the changes; each has one trigger reason, so
  that a throttled subscription is told changes of one reason together and those of the next a period later.
- A new or changed subscription is told what matches at that moment, when anything does (5.11.2, 5.11.3); a periodic one
  is told everything that matches at its start and then every period; a period that fails is not made up for.
- Of what waits for an endpoint more than `PENDING` changes, those of one registration are made one.
- A subscription that is paused or expires loses what waits; nothing is told that its owner may not read any more.

Does not: send anything itself, speak SQL or HTTP, decide who may subscribe (web asks model/access).
Source: ETSI GS CIM 009 V1.9.1 clauses 5.11, 5.12, 5.3.2, 5.3.3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import uuid4

import orjson
import structlog

from shahar.model.access import HOUSE, Actor
from shahar.model.context import Context
from shahar.model.registration import Record
from shahar.model.registration import interest as model
from shahar.model.registration.interest import Shown
from shahar.model.subscription import Seen, Tally
from shahar.services import dead_letters, registrations, subscription_rows
from shahar.services import registration_subscription_rows as rows
from shahar.services.broker import Broker
from shahar.services.dead_letters import DeadLetters
from shahar.services.deliveries import LOOK_AGAIN_S, Contexts, Sender
from shahar.services.lanes import Item, Key, Lane, notification_id
from shahar.services.owners import Owner, Owners, Rights, everybody
from shahar.services.registration_subscription_rows import KIND
from shahar.services.runner import Entry, Settled
from shahar.services.tidings import Follower, Tidings, folded, payload_of, state_of
from shahar.store import tenants
from shahar.store.db import Database, Tx
from shahar.values.errors import ShaharError
from shahar.values.instants import SECOND, Instant

PENDING: Final = 1_000

log = structlog.get_logger(__name__)


class RegistrationSubscriptions:
    """The service: create, get, list, update, delete; and the runner's consumer that matches and delivers.

    `rights` says the types of registrations that an owner may read. `start` before the runner's start, `stop` before
    the runner's stop.
    """

    name = "registration_subscriptions"

    def __init__(
        self, db: Database, broker: Broker, send: Sender, context: Contexts, now: Callable[[], Instant],
        rights: Rights = everybody,
    ) -> None:  # fmt: skip
        self._db = db
        self._context = context
        self._now = now
        self._lanes: dict[Key, Follower] = {}
        self._out = Tidings(send, context, broker.linked, now)
        self._owners = Owners(rights, self._judge_again)
        self.dead_letters = DeadLetters(db, self._out, self._lanes)
        self._dirty: set[Key] = set()
        self._unsaved: set[Key] = set()
        self._seen = 0
        self._creating = 0
        self._until = 0
        self._filling: asyncio.Task[None] | None = None

    # -- what callers ask for -----------------------------------------------------------------------------------

    async def create(self, tenant: str, body: Any, context: Context, at: Instant, by: Actor = HOUSE) -> str:
        """Keep a new subscription of `by`; its id. Raises Invalid, Exists, TooMany, ContextUnavailable."""
        record = model.parse(body, context, at, new_id=f"urn:ngsi-ld:Subscription:{uuid4()}") | {"by": by.id}
        await self._context(record["context"], at, tenant)
        self._creating += 1
        try:
            seq = await self._db.write(lambda tx: rows.create(tx, tenant, record, at), long=True)
            self._until = max(self._until, seq)
        finally:
            self._creating -= 1
        identifier: str = record["id"]
        return identifier

    async def get(self, tenant: str, subscription_id: str) -> tuple[Record, Tally]:
        """A subscription and what became of its notifications; NotFound."""
        record, tally = await self._db.read(lambda tx: rows.held(tx, tenant, subscription_id))
        return record, self._tally(tenant, subscription_id, tally)

    async def page(self, tenant: str, limit: int, offset: int = 0) -> tuple[list[tuple[Record, Tally]], int]:
        """Some of a tenant's subscriptions, oldest first, and how many there are."""
        held, total = await self._db.read(lambda tx: rows.page(tx, tenant, limit, offset))
        return [(record, self._tally(tenant, record["id"], tally)) for record, tally in held], total

    async def update(
        self, tenant: str, subscription_id: str, fragment: Any, context: Context, at: Instant,
        check: Callable[[Record], None] | None = None, by: Actor = HOUSE,
    ) -> None:  # fmt: skip
        """Change members; the subscription is then of `by`. `check` may refuse the outcome (rights). Raises Invalid,
        NotFound, ContextUnavailable."""
        record, _ = await self.get(tenant, subscription_id)
        await self._context(model.patched(record, fragment, context, at)["context"], at, tenant)

        def changed(held: Record) -> Record:
            new = model.patched(held, fragment, context, at) | {"by": by.id}
            if check is not None:
                check(new)
            return new

        await self._db.write(lambda tx: rows.update(tx, tenant, subscription_id, changed, at), long=True)

    async def delete(self, tenant: str, subscription_id: str, at: Instant) -> None:
        """Forget a subscription and what waits for it; NotFound."""
        await self._db.write(lambda tx: rows.delete(tx, tenant, subscription_id, at))

    def _tally(self, tenant: str, subscription_id: str, kept: Tally) -> Tally:
        lane = self._lanes.get((tenant, subscription_id))
        return lane.tally if lane is not None else kept

    # -- running ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up every subscription where it was left."""
        self._out.stopping = False
        place, kept = await self._db.read(lambda tx: rows.load(tx, self.name))
        self._seen = place
        await self._owners.learn(_owner(tenant, record) for tenant, record, _ in kept)
        for tenant, record, state in kept:
            lane = self._put(tenant, record)
            if lane is None or state is None:
                continue
            lane.tally = subscription_rows.tally_of(state)
            if lane.runs and lane.sub.live(self._now()):
                lane.pending = {seq: text.encode() for seq, text in state["pending"] if seq >= lane.since}
                self._fill(lane)
                self._begin_period(lane)
        self._filling = asyncio.create_task(self._refill())

    async def stop(self) -> None:
        """Send nothing more and give back what is under way. The runner's stop saves what waits."""
        await self._out.stop()
        self._owners.stop()
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)
            self._filling = None
        for lane in self._lanes.values():
            _unset(lane)

    def wants(self) -> bool:
        """Whether there is, or is about to be, a subscription."""
        return bool(self._lanes) or self._creating > 0 or self._until > self._seen

    async def take(self, entries: Sequence[Entry]) -> None:
        """Put what the entries tell into the queues of those whom it concerns."""
        changed = {(entry.tenant, entry.key) for entry in entries if entry.kind == f"{KIND}.put"}
        kept = await self._db.read(lambda tx: rows.some(tx, changed)) if changed else {}
        await self._owners.review(entries)
        await self._owners.learn(_owner(tenant, record) for (tenant, _), record in kept.items())
        # From here on nothing is awaited: what a state is written of is whole entries.
        for entry in entries:
            key = (entry.tenant, entry.key)
            if entry.kind.startswith(f"{registrations.KIND}."):
                self._tell(entry)
            elif entry.kind == f"{KIND}.put" and key in kept:
                self._take_up(entry, kept[key])
            elif entry.kind in (f"{KIND}.put", f"{KIND}.dropped"):
                self._drop(key)
        self._seen = entries[-1].seq

    def settle(self, seq: int) -> Settled:
        """The place, and the states that are to be written with it."""
        keys = self._dirty | self._unsaved | self._out.dirty.keys()
        self._dirty, self._unsaved = set(), keys
        self._out.dirty.clear()
        lanes = [self._lanes[key] for key in keys if key in self._lanes]
        letters = list(self._out.letters)
        if not lanes and not letters:
            return Settled(seq)
        states, at = [(lane.key, state_of(lane)) for lane in lanes], self._now()

        def save(tx: Tx) -> None:
            rows.save(tx, states, at)
            for letter in letters:
                dead_letters.keep(tx, letter, at)

        def kept() -> None:
            del self._out.letters[: len(letters)]
            self._unsaved = set()

        return Settled(seq, save, kept)

    # -- matching -----------------------------------------------------------------------------------------------

    def _tell(self, entry: Entry) -> None:
        """A change of a registration, to everybody whom it concerns."""
        now = self._now()
        lanes = [lane for lane in self._lanes.values() if lane.tenant == entry.tenant and not lane.sub.every_s]
        if not lanes:
            return
        change = model.turn(entry.what)
        for lane in lanes:
            if lane.interest is None or entry.seq <= lane.since or not lane.runs or not lane.sub.live(now):
                continue
            found = model.concerned(lane.interest, change, lane.reads)
            if found is not None:
                self._add(lane, entry.seq, payload_of(entry.key, found[0], [found[1]], now))

    def _take_up(self, entry: Entry, record: Record) -> None:
        """A subscription that was made or changed, and what matched it then."""
        lane = self._put(entry.tenant, record)
        if lane is None:
            return
        now = self._now()
        if not lane.runs or not lane.sub.live(now):
            lane.pending.clear()
            self._out.clear(lane)
        elif entry.what["matching"]:
            self._add(lane, entry.seq, payload_of("", "newlyMatching", entry.what["matching"], now))
        self._dirty.add(lane.key)
        self._begin_period(lane)

    def _add(self, lane: Follower, seq: int, payload: bytes) -> None:
        if seq in lane.pending:
            return
        lane.pending[seq] = payload
        self._dirty.add(lane.key)
        if len(lane.pending) > max(PENDING, lane.bound):
            self._make_one(lane)
        if lane.live:
            self._fill(lane)

    def _make_one(self, lane: Follower) -> None:
        """Of the changes that wait, keep each registration's newest, told as what they are together."""
        flying = {item.seq for batch in lane.flying.values() for item in batch}
        self._out.clear(lane)
        lane.pending = {
            **{seq: lane.pending[seq] for seq in flying if seq in lane.pending},
            **folded({seq: payload for seq, payload in lane.pending.items() if seq not in flying}),
        }
        lane.bound = 2 * len(lane.pending)
        self._fill(lane)

    def _fill(self, lane: Follower) -> None:
        """Queue what waits and is not in the queue, as far as there is room; the rest when there is room again."""
        queued = {item.seq for item in lane.waiting} | {item.seq for batch in lane.flying.values() for item in batch}
        clock = asyncio.get_running_loop().time()
        for seq in sorted(lane.pending.keys() - queued):
            payload = lane.pending[seq]
            key = orjson.loads(payload)[0]["id"]
            lane.read, lane.done = min(lane.read, seq - 1), set()
            if not self._out.add(lane, Item(seq, seq, key, payload, clock)):
                break
        else:
            lane.goes_on(lane.read, live=True)
            self._out.behind.discard(lane)
        self._out.pump(lane)

    async def _refill(self) -> None:
        while True:
            await self._out.hungry.wait()
            self._out.hungry.clear()
            for lane in self._out.takers():
                if isinstance(lane, Follower):
                    self._fill(lane)

    # -- the set of subscriptions ---------------------------------------------------------------------------------

    def _put(self, tenant: str, record: Record) -> Follower | None:
        try:
            interest = model.compiled(record)
        except ShaharError as problem:  # a record of another version; the others go on
            log.error("subscription not understood", subscription=record["id"], tenant=tenant, problem=str(problem))
            return None
        sub = interest.subscription
        lane = self._lanes.get((tenant, sub.id))
        if lane is None:
            lane = self._lanes[tenant, sub.id] = Follower(tenant, sub, record["since"], record["since"])
        if record["since"] > lane.since:  # it runs again: what waited from before is not for it
            lane.pending = {seq: payload for seq, payload in lane.pending.items() if seq >= record["since"]}
            self._out.clear(lane)
        lane.sub, lane.interest, lane.since = sub, interest, record["since"]
        lane.owner = record.get("by", HOUSE.id)
        self._set_reads(lane)
        lane.failures, lane.not_before = 0, 0.0
        lane.refusals.clear()
        _unset(lane)
        return lane

    def _set_reads(self, lane: Follower) -> None:
        lane.reads = self._owners.reads((lane.owner, lane.tenant))
        lane.tally.withheld = lane.reads is not None and not lane.reads

    def _judge_again(self, owner: Owner) -> None:
        """The rights of an owner are another now: what may not be told any more is left out when it is told."""
        for lane in self._lanes.values():
            if (lane.owner, lane.tenant) == owner:
                self._set_reads(lane)
                if lane.runs:
                    self._begin_period(lane)
                else:
                    lane.pending.clear()
                    self._out.clear(lane)
                self._dirty.add(lane.key)
                log.info("rights changed", subscription=lane.sub.id, tenant=lane.tenant, withheld=lane.tally.withheld)

    def _drop(self, key: Key) -> None:
        lane = self._lanes.pop(key, None)
        if lane is not None:
            lane.dropped = True
            lane.pending.clear()
            self._out.clear(lane)
            self._out.behind.discard(lane)
            self._out.dirty.pop(key, None)
            _unset(lane)

    # -- periodic subscriptions ---------------------------------------------------------------------------------

    def _begin_period(self, lane: Follower) -> None:
        if lane.sub.every_s and lane.timer is None:
            now, last = self._now(), lane.tally.last_notification
            lane.due = now + round(lane.sub.every_s * SECOND)
            if last is not None:
                lane.due = max(now, min(lane.due, last + round(lane.sub.every_s * SECOND)))
            self._look(lane)

    def _look(self, lane: Follower) -> None:
        """Tell when it is time; look again then, or after a while, since the clock may run at a speed of its own."""
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
                self._out.spawn(self._tell_all(lane, due))
        wait_s = min(max((lane.due - now) / SECOND, 0.001), LOOK_AGAIN_S)
        lane.timer = loop.call_later(wait_s, self._look, lane)

    async def _tell_all(self, lane: Follower, due: Instant) -> None:
        """Tell everything that matches; nothing when there is nothing."""
        now = self._now()
        try:
            found = await self._db.read(lambda tx: _matching(tx, lane, now))
            if found:
                shown = [Seen(*orjson.loads(payload_of("", "newlyMatching", found, now)))]
                self._out.left(lane, now)
                await self._out.post(lane, shown, notification_id(lane, f"at:{due // 1_000}"), now)
                self._out.succeeded(lane, now)
        except Exception as problem:  # fence: whatever one notification meets delays its own subscription alone
            self._out.fell(lane, now, problem)
        finally:
            lane.telling = False
            self._out.dirty[lane.key] = lane


def _owner(tenant: str, record: Record) -> Owner:
    return record.get("by", HOUSE.id), tenant


def _unset(lane: Lane) -> None:
    if lane.timer is not None:
        lane.timer.cancel()
        lane.timer = None


def _matching(tx: Tx, lane: Follower, at: Instant) -> list[Shown]:
    if lane.interest is None:
        return []
    return rows.matching(tx, tenants.number(tx, lane.tenant), lane.interest, at, lane.reads)
