"""Subscriptions: kept per tenant, matched against the journal, and put into the queues of services/deliveries.

The theory. The journal is the queue. Every subscription is a reader of it with a place of its own: all that concerns it
up to there has been delivered. Thousands of readers would read the same rows thousands of times, so one consumer of the
runner reads for all who are at the journal's end (they are *live*) and puts what concerns a subscription into its queue
in memory, which is only a piece of the journal looked up in advance. Whoever cannot keep up stops being live: the queue
takes no more, and the subscription goes on from `read`, its own number in the journal, as its queue empties (*catching
up*; those with near places share one reading). It joins the live ones again when it has read up to where they are.

Promises
- What was matched and not delivered survives kill -9: what is made durable, in one transaction, is the consumer's place
  and the places of those who are behind it. Who has been waiting for less than `FRESH_S` holds the consumer's place
  back instead, so that endpoints in good health cost no writes. After a kill at most about a second is repeated, after
  a clean stop nothing that was answered.
- The journal is kept for seven days (store/journal). An endpoint that was silent for longer has lost what was dropped:
  it goes on with the oldest row, and `changesLost` in the subscription's notification member says how many rows went.
- A pause or an expiry drops what waits (5.2.12: shall not be delivered); a subscription that runs again begins at the
  change that made it run. Other updates keep what waits and send it as the subscription now says.
- What sources tell about a subscription of ours there (services/notified) stands in the journal too, and goes the same
  way.
- A subscription tells what its owner may read now (services/owners): what was taken away is not told from the moment
  in which the journal's row of it is read, and what waits of it is dropped. One whose owner may read nothing is paused.
What is promised of order, failing endpoints, memory and throttling stands in services/deliveries, of periodic
subscriptions in services/periods, of what was given up in services/dead_letters.

Does not: send anything itself, speak SQL or HTTP, decide who may subscribe (web asks model/access).
Source: ETSI GS CIM 009 V1.9.1 clauses 5.8.1 to 5.8.6, 5.2.12 to 5.2.15.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import structlog

from shahar.model import linking
from shahar.model import query as q
from shahar.model import subscription as model
from shahar.model.context import Source
from shahar.model.entity import Doc
from shahar.model.subscription import LD_JSON, Record, Seen
from shahar.services import notified
from shahar.services import subscription_rows as rows
from shahar.services.broker import Broker
from shahar.services.dead_letters import DeadLetters
from shahar.services.deliveries import Contexts, Deliveries, Sender
from shahar.services.forwarded import Forwarding
from shahar.services.lanes import TOGETHER, Item, Key, Lane, notification_id
from shahar.services.ledger import LedgerService, owner_of, tally_of
from shahar.services.owners import Owner, Owners, Rights, everybody
from shahar.services.periods import Periods
from shahar.services.runner import Entry, Settled
from shahar.services.subscription_rows import KIND, STATE
from shahar.store import journal
from shahar.store.db import Database
from shahar.values.bounds import PAGE_LIMIT
from shahar.values.errors import ShaharError
from shahar.values.instants import Instant

__all__ = ["KIND", "STATE", "Subscriptions"]

FRESH_S: Final = 1.0
TALLIES_A_SAVE: Final = 200
READ_ROWS: Final = 256
PAGES_MAX: Final = 10

Imply = Callable[[str, Source, Instant], Awaitable[str]]
"""Gives the one address of a tenant's @context (services/contexts.Contexts.imply)."""

log = structlog.get_logger(__name__)


class Subscriptions(LedgerService):
    """The service: create, get, list, update, delete; and the runner's consumer that matches and delivers.

    `context` compiles an @context (services/contexts), `now()` is the clock of expiry, throttling and notifiedAt,
    `imply` gives the one address by which a context of many is named, `rights` says what an owner may read,
    `forwarding` subscribes at sources.
    `start` before the runner's start, `stop` before the runner's stop.
    """

    name = "subscriptions"
    parse = staticmethod(model.parse)
    patched = staticmethod(model.patched)

    def __init__(
        self, db: Database, broker: Broker, send: Sender, context: Contexts, now: Callable[[], Instant],
        imply: Imply | None = None, rights: Rights = everybody, forwarding: Forwarding | None = None,
    ) -> None:  # fmt: skip
        LedgerService.__init__(self, db, rows.LEDGER, context)
        self._broker = broker
        self._imply = imply
        self._forwarding = forwarding
        self._now = now
        self._lanes: dict[Key, Lane] = {}
        self._index = model.Index()
        self._out = Deliveries(send, context, broker.linked, now)
        self._periods = Periods(self._out, now, self._tell_all)
        self._owners = Owners(rights, self._judge_again)
        self.dead_letters = DeadLetters(db, self._out, self.lane)
        self._evaluating = asyncio.Lock()
        self._busy: set[Lane] = set()
        self._catching: asyncio.Task[None] | None = None

    def lanes(self) -> Mapping[Key, Lane]:
        """Those that are being told."""
        return self._lanes

    async def ready(self, tenant: str, record: Record, at: Instant) -> Record:
        """See that the @context is at hand, and find the one address that notifications name it by (5.13.1)."""
        await LedgerService.ready(self, tenant, record, at)
        source = record["context"]
        json_ld = record["body"]["notification"]["endpoint"].get("accept") == LD_JSON
        named = self._imply is None or json_ld or not source or isinstance(source, str)
        return {"implied": "" if named or self._imply is None else await self._imply(tenant, source, at)}

    # -- running ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up every subscription where it was left, here or by another process."""
        self._out.stopping = False
        place, kept = await self._db.read(lambda tx: rows.LEDGER.load(tx, self.name))
        self._seen = place
        await self._owners.learn(owner_of(tenant, record) for tenant, record, _ in kept)
        for tenant, record, state in kept:
            lane = self._put(tenant, record, state)
            if lane is not None and state is not None and state["place"] is not None and lane.runs:
                lane.done = set(state["done"])
                lane.goes_on(max(state["place"], lane.since), live=False)
                self._out.behind.add(lane)
                self._busy.add(lane)
        self._catching = asyncio.create_task(self._catch_up())
        if self._forwarding is not None:
            await self._forwarding.start(self._lanes)

    async def stop(self) -> None:
        """Send nothing more and give back what is under way; within two seconds. The runner's stop saves the places."""
        if self._forwarding is not None:
            await self._forwarding.stop()
        await self._out.stop()
        self._owners.stop()
        if self._catching is not None:
            self._catching.cancel()
            await asyncio.gather(self._catching, return_exceptions=True)
            self._catching = None
        for lane in self._lanes.values():
            lane.unset()

    def forget(self) -> None:
        """Let go of all, for another process to take up; after the runner has saved the places."""
        for key in list(self._lanes):
            self._part(key)
        self._busy.clear()

    def waiting(self) -> int:
        """Changes that wait in memory, over all subscriptions."""
        return sum(len(lane.waiting) for lane in self._busy)

    def forwarded(self) -> dict[str, int]:
        """How many subscriptions of ours at sources are in which state."""
        return {} if self._forwarding is None else self._forwarding.states()

    async def take(self, entries: Sequence[Entry]) -> None:
        """Put what the entries tell into the queues of those whom it concerns."""
        changed = {(entry.tenant, entry.key) for entry in entries if entry.kind == f"{KIND}.put"}
        kept = await self._db.read(lambda tx: rows.LEDGER.some(tx, changed)) if changed else {}
        await self._owners.review(entries)
        await self._owners.learn(owner_of(tenant, record) for (tenant, _), (record, _) in kept.items())
        for lane in list(self._out.behind):
            if lane.read >= entries[0].seq - 1:
                lane.goes_on(lane.read, live=True)
                self._out.behind.discard(lane)
        picked: list[tuple[Entry, list[Lane]]] = []
        for number, entry in enumerate(entries):
            if entry.kind.startswith("entity."):
                lanes = [lane for lane in self._touched(entry, self._index) if lane.live]
                if lanes:
                    picked.append((entry, lanes))
            elif entry.kind == notified.KIND:
                picked += [(entry, [lane]) for lane in self._told_to(entry) if lane.live]
            elif entry.kind == f"{KIND}.put":
                key = (entry.tenant, entry.key)
                if key in kept and key not in self._forgotten:
                    self._put(entry.tenant, *kept[key])
                else:
                    self.drop(key)
            elif entry.kind == f"{KIND}.dropped":
                self.dropped((entry.tenant, entry.key))
            if number % 64 == 63:
                await asyncio.sleep(0)
        fed = await self._queue(picked, live=True)
        if self._forwarding is not None:
            self._forwarding.hear(entries)
        self._seen = entries[-1].seq
        for lane in fed:
            self._out.pump(lane)
        if self._out.behind:
            self._out.hungry.set()

    def settle(self, seq: int) -> Settled:
        """The place that is safe to keep, and the states of those who are behind it."""
        settled, writes = seq, {}
        clock = asyncio.get_running_loop().time()
        for lane in list(self._busy):
            oldest = lane.oldest()
            if lane.dropped or (oldest is None and (lane.live or lane.read >= seq)):
                self._busy.discard(lane)
                if not lane.dropped and lane.stored is not None and lane.stored["place"] is not None:
                    writes[lane.key] = (lane, rows.state(lane, None))
                continue
            place = lane.read if oldest is None else oldest.first - 1
            fresh = lane.live and oldest is not None and clock - oldest.taken < FRESH_S
            if fresh and not self._out.stopping and (lane.stored is None or lane.stored["place"] is None):
                settled = min(settled, place)
            elif lane.stored is None or lane.stored["place"] != place:
                writes[lane.key] = (lane, rows.state(lane, place))
        for key in list(self._out.dirty)[: len(self._out.dirty) if self._out.stopping else TALLIES_A_SAVE]:
            lane = self._out.dirty.pop(key)
            if not lane.dropped and key not in writes:
                writes[key] = (lane, rows.state(lane, None if lane.stored is None else lane.stored["place"]))
        letters = list(self._out.letters)
        if not writes and not letters:
            return Settled(settled)
        listed, at = list(writes.values()), self._now()

        def kept() -> None:
            del self._out.letters[: len(letters)]
            for lane, state in listed:
                lane.stored = state

        return Settled(settled, lambda tx: rows.save(tx, listed, letters, at), kept)

    # -- matching -----------------------------------------------------------------------------------------------

    def _touched(self, entry: Entry, index: model.Index) -> list[Lane]:
        touched = index.touched(entry.tenant, entry)
        if not touched:
            return []
        now = self._now()
        lanes = (self._lanes[entry.tenant, sub.id] for sub in touched if sub.live(now))
        return [lane for lane in lanes if lane.may_show(entry.what["types"])]

    def _told_to(self, entry: Entry) -> list[Lane]:
        """The lane of the subscription that a source tells about, while it is to be told."""
        what = entry.what
        lane = self._lanes.get((entry.tenant, what["subscription"]))
        if lane is None or not lane.runs or not lane.sub.live(self._now()) or not lane.may_show(what["types"]):
            return []
        return [lane] if notified.concerns(what, entry.key, lane.sub) else []

    async def _queue(self, picked: list[tuple[Entry, list[Lane]]], *, live: bool) -> set[Lane]:
        """Evaluate and queue; the lanes that were fed. A lane whose turn changed reads again for itself."""
        fed: set[Lane] = set()
        if not picked:
            return fed
        turns = {lane: lane.turn for _, lanes in picked for lane in lanes}
        async with self._evaluating:
            found = await self._db.read(lambda tx: rows.evaluate(tx, picked))
        clock = asyncio.get_running_loop().time()
        for (entry, lanes), (payload, held) in zip(picked, found, strict=True):
            item = Item(entry.seq, entry.seq, entry.key, payload, clock)
            for lane, holds in zip(lanes, held, strict=True):
                if not holds or lane.dropped or lane.live != live or lane.turn != turns[lane]:
                    continue
                self._busy.add(lane)
                if self._out.add(lane, item):
                    fed.add(lane)
        return fed

    async def _catch_up(self) -> None:
        failing = False
        while True:
            self._out.hungry.clear()
            try:
                if not await self._catch_up_once():
                    await self._out.hungry.wait()
                failing = False
            except Exception as problem:  # fence: those who are behind wait; the live ones are not concerned
                if not failing:
                    log.error("catching up fell", exc_info=problem)
                failing = True
                await asyncio.sleep(1.0)

    async def _catch_up_once(self) -> bool:
        """Read a piece of the journal for those who are behind and have room; False when there is none to read."""
        out = self._out
        hungry = out.takers()
        if not hungry:
            return False
        after = min(lane.read for lane in hungry)
        entries = await self._db.read(lambda tx: journal.read(tx, after, READ_ROWS))
        if not entries:
            return False
        last = entries[-1].seq
        group = {lane for lane in hungry if not lane.live and not lane.dropped and after <= lane.read < last}
        self._count_lost(group, entries[0].seq)
        index = model.Index()
        for lane in group:
            if not lane.sub.every_s:
                index.put(lane.tenant, lane.sub)
        picked = []
        for entry in entries:
            if entry.kind.startswith("entity."):
                lanes = [lane for lane in self._touched(entry, index) if entry.seq > lane.read]
            elif entry.kind == notified.KIND:
                lanes = [lane for lane in self._told_to(entry) if lane in group and entry.seq > lane.read]
            else:
                continue
            if lanes:
                picked.append((entry, lanes))
        turns = {lane: lane.turn for lane in group}
        fed = await self._queue(picked, live=False)
        for lane, turn in turns.items():
            if lane.turn == turn:
                lane.read = last
        for lane in fed:
            out.pump(lane)
        return True

    def _count_lost(self, group: Iterable[Lane], first: int) -> None:
        """The journal begins later than somebody's place: what lay between is gone."""
        for lane in group:
            if first > lane.read + 1:
                lane.tally.lost += first - lane.read - 1
                log.error("changes lost", subscription=lane.sub.id, tenant=lane.tenant, rows=first - lane.read - 1)
                lane.goes_on(first - 1, live=False)
                self._out.dirty[lane.key] = lane

    # -- periodic subscriptions ---------------------------------------------------------------------------------

    async def _tell_all(self, lane: Lane, due: Instant) -> None:
        """Tell every entity that matches and that the owner may read."""
        now = self._now()
        docs = await self._matching(lane)
        for start in range(0, len(docs), TOGETHER):
            shown = [Seen(doc, [], now) for doc in docs[start : start + TOGETHER]]
            self._out.left(lane, now)
            await self._out.post(lane, shown, notification_id(lane, f"at:{due // 1_000}:{start}"), now)
            self._out.succeeded(lane, now)

    async def _matching(self, lane: Lane) -> list[Doc]:
        found: dict[str, Doc] = {}
        sub, types = lane.sub, model.readable(lane.reads)
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

    # -- the set of subscriptions ---------------------------------------------------------------------------------

    def _put(self, tenant: str, record: Record, state: dict[str, Any] | None) -> Lane | None:
        """Take in a subscription, new or changed."""
        try:
            sub = model.compiled(record)
        except ShaharError as problem:  # a record of another version; the others go on
            log.error("subscription not understood", subscription=record["id"], tenant=tenant, problem=str(problem))
            return None
        lane = self._lanes.get((tenant, sub.id))
        if lane is None:
            lane = self._lanes[tenant, sub.id] = Lane(tenant, sub, record["since"], record["since"])
            if state is not None:
                lane.tally, lane.stored = tally_of(state), state
        if sub.every_s and not lane.sub.every_s:  # what changed before is not for its periods
            self._out.clear(lane)
        lane.sub, lane.owner = sub, owner_of(tenant, record)[0]
        lane.reads = self._owners.reads(owner_of(tenant, record))
        lane.tally.withheld = not lane.reads and lane.reads is not None
        self._resume(lane, record["since"])
        self._set(lane)
        self._out.pump(lane)
        return lane

    def _set(self, lane: Lane) -> None:
        """Let a lane be found or not, as it runs or not; one that is periodic is told by sources alone in between."""
        if lane.runs and not lane.sub.every_s:
            self._index.put(lane.tenant, lane.sub)
        else:
            self._index.drop(lane.tenant, lane.sub.id)
        if not lane.runs:
            self._out.clear(lane)
            self._out.behind.discard(lane)
            lane.goes_on(lane.read, live=True)
        if lane.runs:
            self._periods.begin(lane)

    def _judge_again(self, owner: Owner) -> None:
        """The rights of an owner are another now: what may not be told any more is dropped."""
        for lane in self._lanes.values():
            if (lane.owner, lane.tenant) == owner:
                lane.reads = self._owners.reads(owner)
                lane.tally.withheld = not lane.reads and lane.reads is not None
                self._out.sift(lane)
                self._set(lane)
                self._out.dirty[lane.key] = lane
                log.info("rights changed", subscription=lane.sub.id, tenant=lane.tenant, withheld=lane.tally.withheld)

    def _resume(self, lane: Lane, since: int) -> None:
        """After a change: try at once, but nothing from before it ran again."""
        lane.failures, lane.not_before = 0, 0.0
        lane.refusals.clear()
        lane.unset()
        if since > lane.since:
            lane.since = since
            lane.goes_on(max(lane.read, since), live=lane.live)
            self._out.clear(lane)
        if lane.waiting or lane.flying or not lane.live:
            self._busy.add(lane)

    def drop(self, key: Key) -> None:
        """Tell one nothing more; nothing when it is not being told."""
        if self._forwarding is not None:
            self._forwarding.look_at(key)
        self._part(key)

    def _part(self, key: Key) -> None:
        lane = self._lanes.pop(key, None)
        self._index.drop(*key)
        if lane is not None:
            lane.dropped = True
            self._out.clear(lane)
            self._out.behind.discard(lane)
            self._out.dirty.pop(key, None)
            lane.unset()
