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
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import orjson
import structlog

from shahar.model.registration import Record
from shahar.model.registration import interest as model
from shahar.model.registration.interest import Shown
from shahar.model.subscription import Seen, Subscription
from shahar.services import dead_letters, registrations
from shahar.services import registration_subscription_rows as rows
from shahar.services.broker import Broker
from shahar.services.dead_letters import DeadLetters
from shahar.services.deliveries import Contexts, Sender
from shahar.services.lanes import Item, Key, Lane, notification_id
from shahar.services.ledger import LedgerService, owner_of, tally_of
from shahar.services.owners import Owner, Owners, Rights, everybody
from shahar.services.periods import Periods
from shahar.services.registration_subscription_rows import KIND
from shahar.services.runner import Entry, Settled
from shahar.services.tidings import Follower, Tidings, folded, payload_of, state_of
from shahar.store import tenants
from shahar.store.db import Database, Tx
from shahar.values.errors import ShaharError
from shahar.values.instants import Instant

PENDING: Final = 1_000

log = structlog.get_logger(__name__)


class RegistrationSubscriptions(LedgerService):
    """The service: create, get, list, update, delete; and the runner's consumer that matches and delivers.

    `rights` says the types of registrations that an owner may read. `start` before the runner's start, `stop` before
    the runner's stop.
    """

    name = "registration_subscriptions"
    parse = staticmethod(model.parse)
    patched = staticmethod(model.patched)
    long = True

    def __init__(
        self, db: Database, broker: Broker, send: Sender, context: Contexts, now: Callable[[], Instant],
        rights: Rights = everybody,
    ) -> None:  # fmt: skip
        LedgerService.__init__(self, db, rows.LEDGER, context)
        self._now = now
        self._lanes: dict[Key, Follower] = {}
        self._out = Tidings(send, context, broker.linked, now)
        self._periods = Periods(self._out, now, self._tell_all)
        self._owners = Owners(rights, self._judge_again)
        self.dead_letters = DeadLetters(db, self._out, self.lane)
        self._dirty: set[Key] = set()
        self._unsaved: set[Key] = set()
        self._filling: asyncio.Task[None] | None = None

    def compiled(self, record: Record) -> Subscription:
        """What a record says."""
        return model.compiled(record).subscription

    def lanes(self) -> Mapping[Key, Lane]:
        """Those that are being told."""
        return self._lanes

    # -- running ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up every subscription where it was left, here or by another process."""
        self._out.stopping = False
        place, kept = await self._db.read(lambda tx: rows.LEDGER.load(tx, self.name))
        self._seen = place
        await self._owners.learn(owner_of(tenant, record) for tenant, record, _ in kept)
        for tenant, record, state in kept:
            lane = self._put(tenant, record)
            if lane is None or state is None:
                continue
            lane.tally = tally_of(state)
            if lane.runs and lane.sub.live(self._now()):
                lane.pending = {seq: text.encode() for seq, text in state["pending"] if seq >= lane.since}
                self._fill(lane)
                self._periods.begin(lane)
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
            lane.unset()

    def forget(self) -> None:
        """Let go of all, for another process to take up; after the runner has saved the places."""
        for key in list(self._lanes):
            self.drop(key)

    async def take(self, entries: Sequence[Entry]) -> None:
        """Put what the entries tell into the queues of those whom it concerns."""
        changed = {(entry.tenant, entry.key) for entry in entries if entry.kind == f"{KIND}.put"}
        kept = await self._db.read(lambda tx: rows.LEDGER.some(tx, changed)) if changed else {}
        await self._owners.review(entries)
        await self._owners.learn(owner_of(tenant, record) for (tenant, _), (record, _) in kept.items())
        # From here on nothing is awaited: what a state is written of is whole entries.
        for entry in entries:
            key = (entry.tenant, entry.key)
            if entry.kind.startswith(f"{registrations.KIND}."):
                self._tell(entry)
            elif entry.kind == f"{KIND}.put" and key in kept and key not in self._forgotten:
                self._take_up(entry, kept[key][0])
            elif entry.kind == f"{KIND}.put":
                self.drop(key)
            elif entry.kind == f"{KIND}.dropped":
                self.dropped(key)
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
        self._periods.begin(lane)

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
        lane.owner = owner_of(tenant, record)[0]
        self._set_reads(lane)
        lane.failures, lane.not_before = 0, 0.0
        lane.refusals.clear()
        lane.unset()
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
                    self._periods.begin(lane)
                else:
                    lane.pending.clear()
                    self._out.clear(lane)
                self._dirty.add(lane.key)
                log.info("rights changed", subscription=lane.sub.id, tenant=lane.tenant, withheld=lane.tally.withheld)

    def drop(self, key: Key) -> None:
        """Tell one nothing more; nothing when it is not being told."""
        lane = self._lanes.pop(key, None)
        if lane is not None:
            lane.dropped = True
            lane.pending.clear()
            self._out.clear(lane)
            self._out.behind.discard(lane)
            self._out.dirty.pop(key, None)
            lane.unset()

    # -- periodic subscriptions ---------------------------------------------------------------------------------

    async def _tell_all(self, lane: Lane, due: Instant) -> None:
        """Tell everything that matches."""
        now = self._now()
        found = await self._db.read(lambda tx: _matching(tx, lane, now))
        if found:
            shown = [Seen(*orjson.loads(payload_of("", "newlyMatching", found, now)))]
            self._out.left(lane, now)
            await self._out.post(lane, shown, notification_id(lane, f"at:{due // 1_000}"), now)
            self._out.succeeded(lane, now)


def _matching(tx: Tx, lane: Lane, at: Instant) -> list[Shown]:
    if not isinstance(lane, Follower) or lane.interest is None:
        return []
    return rows.matching(tx, tenants.number(tx, lane.tenant), lane.interest, at, lane.reads)
