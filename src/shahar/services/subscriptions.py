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
- A period of a periodic subscription that fails is not made up for.
What is promised of order, failing endpoints, memory and throttling stands in services/deliveries.

Does not: send anything itself, speak SQL or HTTP, decide who may subscribe (web asks model/access).
Source: ETSI GS CIM 009 V1.9.1 clauses 5.8.1 to 5.8.6, 5.2.12 to 5.2.15.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, fields
from functools import partial
from typing import Any, Final
from uuid import uuid4

import orjson
import structlog

from shahar.model import query as q
from shahar.model import subscription as model
from shahar.model.context import Context, Source
from shahar.model.entity import Doc
from shahar.model.subscription import Record, Seen, Subscription, Tally
from shahar.model.subscription.forms import LD_JSON
from shahar.services.broker import Broker
from shahar.services.deliveries import (
    LOOK_AGAIN_S,
    TOGETHER,
    Contexts,
    Deliveries,
    Item,
    Key,
    Lane,
    Sender,
    notification_id,
)
from shahar.services.runner import Entry, Settled
from shahar.store import entities, journal, records, tenants
from shahar.store.db import Database, Tx
from shahar.values.bounds import PAGE_LIMIT, SUBSCRIPTIONS
from shahar.values.errors import Exists, NoTenant, NotFound, ShaharError, TooMany
from shahar.values.instants import SECOND, Instant

KIND: Final = "subscription"
STATE: Final = "subscription_state"
FRESH_S: Final = 1.0
TALLIES_A_SAVE: Final = 200
READ_ROWS: Final = 256

Imply = Callable[[str, Source, Instant], Awaitable[str]]
"""Gives the one address of a tenant's @context (services/contexts.Contexts.imply)."""

log = structlog.get_logger(__name__)


class Subscriptions:
    """The service: create, get, list, update, delete; and the runner's consumer that matches and delivers.

    `context` compiles an @context (services/contexts), `now()` is the clock of expiry, throttling and notifiedAt.
    `start` before the runner's start, `stop` before the runner's stop.
    """

    name = "subscriptions"

    def __init__(
        self,
        db: Database,
        broker: Broker,
        send: Sender,
        context: Contexts,
        now: Callable[[], Instant],
        imply: Imply | None = None,
    ) -> None:
        self._db = db
        self._broker = broker
        self._context = context
        self._imply = imply
        self._now = now
        self._lanes: dict[Key, Lane] = {}
        self._index = model.Index()
        self._out = Deliveries(send, context, now)
        self._evaluating = asyncio.Lock()
        self._busy: set[Lane] = set()
        self._seen = 0
        self._creating = 0
        self._until = 0
        self._catching: asyncio.Task[None] | None = None

    # -- what callers ask for -----------------------------------------------------------------------------------

    async def create(self, tenant: str, body: Any, context: Context, at: Instant) -> str:
        """Keep a new subscription; its id. Raises Invalid, NotCarried, Exists, TooMany, ContextUnavailable."""
        record = model.parse(body, context, at, new_id=f"urn:ngsi-ld:Subscription:{uuid4()}")
        await self._name(tenant, record, at)
        self._creating += 1
        try:
            seq = await self._db.write(lambda tx: _create(tx, tenant, record, at))
            self._until = max(self._until, seq)
        finally:
            self._creating -= 1
        identifier: str = record["id"]
        return identifier

    async def get(self, tenant: str, subscription_id: str) -> tuple[Record, Tally]:
        """A subscription and what became of its notifications; NotFound."""
        record, tally = await self._db.read(lambda tx: _held(tx, tenant, subscription_id))
        return record, self._tally(tenant, subscription_id, tally)

    async def page(self, tenant: str, limit: int, offset: int = 0) -> tuple[list[tuple[Record, Tally]], int]:
        """Some of a tenant's subscriptions, oldest first, and how many there are."""
        held, total = await self._db.read(lambda tx: _page(tx, tenant, limit, offset))
        return [(record, self._tally(tenant, record["id"], tally)) for record, tally in held], total

    async def update(
        self, tenant: str, subscription_id: str, fragment: Any, context: Context, at: Instant,
        check: Callable[[Record], None] | None = None,
    ) -> None:  # fmt: skip
        """Change members. `check` may refuse the outcome (rights). Raises Invalid, NotCarried, NotFound."""
        record, _ = await self.get(tenant, subscription_id)
        new = model.patched(record, fragment, context, at)
        await self._name(tenant, new, at)

        def work(tx: Tx) -> None:
            held, _ = _held(tx, tenant, subscription_id)
            changed = model.patched(held, fragment, context, at) | {"implied": new["implied"]}
            if check is not None:
                check(changed)
            if model.status(changed, at) == "active" != model.status(held, at):
                changed["since"] = journal.last_seq(tx) + 1
            records.put(tx, KIND, tenants.number(tx, tenant), subscription_id, changed, at)

        await self._db.write(work)

    async def _name(self, tenant: str, record: Record, at: Instant) -> None:
        """See that the @context is at hand, and note the one address that notifications name it by (5.13.1)."""
        source = record["context"]
        await self._context(source, at, tenant)
        json_ld = record["body"]["notification"]["endpoint"].get("accept") == LD_JSON
        named = self._imply is None or json_ld or not source or isinstance(source, str)
        record["implied"] = "" if named or self._imply is None else await self._imply(tenant, source, at)

    async def delete(self, tenant: str, subscription_id: str, at: Instant) -> None:
        """Forget a subscription and what waits for it; NotFound."""
        await self._db.write(lambda tx: _delete(tx, tenant, subscription_id, at))

    def _tally(self, tenant: str, subscription_id: str, kept: Tally) -> Tally:
        lane = self._lanes.get((tenant, subscription_id))
        return lane.tally if lane is not None else kept

    # -- running ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up every subscription where it was left."""
        self._out.stopping = False
        place, kept = await self._db.read(lambda tx: _load(tx, self.name))
        self._seen = place
        for tenant, record, state in kept:
            lane = self._put(tenant, record, state)
            if lane is not None and state is not None and state["place"] is not None and lane.sub.active:
                lane.done = set(state["done"])
                lane.goes_on(max(state["place"], lane.since), live=False)
                self._out.behind.add(lane)
                self._busy.add(lane)
        self._catching = asyncio.create_task(self._catch_up())

    async def stop(self) -> None:
        """Send nothing more and give back what is under way; within two seconds. The runner's stop saves the places."""
        await self._out.stop()
        if self._catching is not None:
            self._catching.cancel()
            await asyncio.gather(self._catching, return_exceptions=True)
            self._catching = None
        for lane in self._lanes.values():
            if lane.timer is not None:
                lane.timer.cancel()
                lane.timer = None

    def wants(self) -> bool:
        """Whether there is, or is about to be, a subscription."""
        return bool(self._lanes) or self._creating > 0 or self._until > self._seen

    def waiting(self) -> int:
        """Changes that wait in memory, over all subscriptions."""
        return sum(len(lane.waiting) for lane in self._busy)

    async def take(self, entries: Sequence[Entry]) -> None:
        """Put what the entries tell into the queues of those whom it concerns."""
        changed = {(entry.tenant, entry.key) for entry in entries if entry.kind == f"{KIND}.put"}
        kept = await self._db.read(lambda tx: _some(tx, changed)) if changed else {}
        for lane in list(self._out.behind):
            if lane.read >= entries[0].seq - 1:
                lane.goes_on(lane.read, live=True)
                self._out.behind.discard(lane)
        picked: list[tuple[Entry, list[Lane]]] = []
        for number, entry in enumerate(entries):
            if entry.kind.startswith("entity."):
                lanes = [lane for lane in self._touched(entry) if lane.live]
                if lanes:
                    picked.append((entry, lanes))
            elif entry.kind == f"{KIND}.put" and (entry.tenant, entry.key) in kept:
                self._put(entry.tenant, *kept[entry.tenant, entry.key])
            elif entry.kind in (f"{KIND}.put", f"{KIND}.dropped"):
                self._drop((entry.tenant, entry.key))
            if number % 64 == 63:
                await asyncio.sleep(0)
        fed = await self._queue(picked, live=True)
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
                    writes[lane.key] = (lane, _state(lane, None))
                continue
            place = lane.read if oldest is None else oldest.first - 1
            fresh = lane.live and oldest is not None and clock - oldest.taken < FRESH_S
            if fresh and not self._out.stopping and (lane.stored is None or lane.stored["place"] is None):
                settled = min(settled, place)
            elif lane.stored is None or lane.stored["place"] != place:
                writes[lane.key] = (lane, _state(lane, place))
        for key in list(self._out.dirty)[: len(self._out.dirty) if self._out.stopping else TALLIES_A_SAVE]:
            lane = self._out.dirty.pop(key)
            if not lane.dropped and key not in writes:
                writes[key] = (lane, _state(lane, None if lane.stored is None else lane.stored["place"]))
        if not writes:
            return Settled(settled)
        listed, at = list(writes.values()), self._now()
        return Settled(settled, lambda tx: _save(tx, listed, at), lambda: _kept(listed))

    # -- matching -----------------------------------------------------------------------------------------------

    def _touched(self, entry: Entry) -> list[Lane]:
        touched = self._index.touched(entry.tenant, entry)
        if not touched:
            return []
        now = self._now()
        return [self._lanes[entry.tenant, sub.id] for sub in touched if sub.live(now)]

    async def _queue(self, picked: list[tuple[Entry, list[Lane]]], *, live: bool) -> set[Lane]:
        """Evaluate and queue; the lanes that were fed. A lane whose turn changed reads again for itself."""
        fed: set[Lane] = set()
        if not picked:
            return fed
        turns = {lane: lane.turn for _, lanes in picked for lane in lanes}
        async with self._evaluating:
            subs = [(entry, [lane.sub for lane in lanes]) for entry, lanes in picked]
            found = await self._db.read(lambda tx: _evaluate(tx, subs))
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
        picked = []
        for entry in entries:
            if entry.kind.startswith("entity."):
                lanes = [lane for lane in self._touched(entry) if lane in group and entry.seq > lane.read]
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
                lane.tally, lane.stored = _tally_of(state), state
        lane.sub = sub
        self._resume(lane, record["since"])
        if sub.active and not sub.every_s:
            self._index.put(tenant, sub)
        else:
            self._index.drop(tenant, sub.id)
            self._out.clear(lane)
            self._out.behind.discard(lane)
            lane.goes_on(lane.read, live=True)
        if sub.active and sub.every_s:
            self._begin_period(lane)
        self._out.pump(lane)
        return lane

    def _resume(self, lane: Lane, since: int) -> None:
        """After a change: try at once, but nothing from before it ran again."""
        lane.failures, lane.not_before = 0, 0.0
        lane.refusals.clear()
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        if since > lane.since:
            lane.since = since
            lane.goes_on(max(lane.read, since), live=lane.live)
            self._out.clear(lane)
        if lane.waiting or lane.flying or not lane.live:
            self._busy.add(lane)

    def _drop(self, key: Key) -> None:
        lane = self._lanes.pop(key, None)
        self._index.drop(*key)
        if lane is not None:
            lane.dropped = True
            self._out.clear(lane)
            self._out.behind.discard(lane)
            self._out.dirty.pop(key, None)
            if lane.timer is not None:
                lane.timer.cancel()

    # -- periodic subscriptions ---------------------------------------------------------------------------------

    def _begin_period(self, lane: Lane) -> None:
        now = self._now()
        last = lane.tally.last_notification
        lane.due = now + round(lane.sub.every_s * SECOND)
        if last is not None:
            lane.due = max(now, min(lane.due, last + round(lane.sub.every_s * SECOND)))
        self._look_at_clock(lane)

    def _look_at_clock(self, lane: Lane) -> None:
        """Send when it is time; look again then, or after a while, since the clock may run at a speed of its own."""
        lane.timer = None
        now = self._now()
        if lane.dropped or self._out.stopping or not lane.sub.every_s or not lane.sub.live(now):
            return
        loop = asyncio.get_running_loop()
        if now >= lane.due:
            period = round(lane.sub.every_s * SECOND)
            due, lane.due = lane.due, lane.due + period * ((now - lane.due) // period + 1)
            if not lane.telling and loop.time() >= lane.not_before:
                lane.telling = True
                self._out.spawn(self._send_all(lane, due))
        wait_s = min(max((lane.due - now) / SECOND, 0.001), LOOK_AGAIN_S)
        lane.timer = loop.call_later(wait_s, self._look_at_clock, lane)

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
        sub = lane.sub
        for selector in sub.selectors or (q.Query(),):
            query = q.Query(
                selector.ids, selector.id_pattern, selector.types, (), sub.q, sub.scope, sub.geo,
            )  # fmt: skip
            offset = 0
            while True:
                page = await self._broker.find(lane.tenant, query, limit=PAGE_LIMIT, offset=offset)
                found.update((doc["id"], doc) for doc in page.docs)
                offset += PAGE_LIMIT
                if len(page.docs) < PAGE_LIMIT or offset > PAGE_LIMIT * 10:
                    break
        return list(found.values())


# -- in a reader ------------------------------------------------------------------------------------------------------


def _evaluate(tx: Tx, picked: list[tuple[Entry, list[Subscription]]]) -> list[tuple[bytes, list[bool]]]:
    """For each change what it shows, as JSON, and for which of the subscriptions the queries hold."""
    present: dict[Key, Doc | None] = {}
    found: list[tuple[bytes, list[bool]]] = []
    for entry, subs in picked:
        number = tenants.number(tx, entry.tenant)
        key = (entry.tenant, entry.key)
        if key not in present:
            located = entities.locate(tx, number, entry.key)
            present[key] = located[1] if located else None
        doc = model.laid_over(entry, present[key])
        judged = model.before(entry, doc) if entry.kind == "entity.deleted" else doc
        held = [model.holds(sub, judged, partial(entities.get, tx, number)) for sub in subs]
        shown = model.seen(entry, doc)
        payload = orjson.dumps([shown.doc, shown.gone, shown.at, shown.deleted]) if any(held) else b""
        found.append((payload, held))
    return found


def _load(tx: Tx, name: str) -> tuple[int, list[tuple[str, Record, dict[str, Any] | None]]]:
    names = {tenants.number(tx, tenant): tenant for tenant in tenants.every(tx)}
    states = {(number, key): state for number, key, state in records.every(tx, STATE)}
    kept = [(names[number], record, states.get((number, key))) for number, key, record in records.every(tx, KIND)]
    place = journal.place(tx, name)
    return journal.last_seq(tx) if place is None else place, kept


def _some(tx: Tx, keys: Iterable[Key]) -> dict[Key, tuple[Record, dict[str, Any] | None]]:
    found = {}
    for tenant, key in keys:
        number = tenants.number(tx, tenant)
        record = records.get(tx, KIND, number, key)
        if record is not None:
            found[tenant, key] = (record, records.get(tx, STATE, number, key))
    return found


def _missing(subscription_id: str) -> NotFound:
    return NotFound(f"subscription {subscription_id} does not exist", field="id")


def _number(tx: Tx, tenant: str) -> int | None:
    """The tenant's number; None when it is the default one and nobody has written to it yet. NoTenant for another."""
    try:
        return tenants.number(tx, tenant)
    except NoTenant:
        if tenant:
            raise
        return None


def _held(tx: Tx, tenant: str, subscription_id: str) -> tuple[Record, Tally]:
    number = _number(tx, tenant)
    record = None if number is None else records.get(tx, KIND, number, subscription_id)
    if number is None or record is None:
        raise _missing(subscription_id)
    return record, _tally_of(records.get(tx, STATE, number, subscription_id))


def _page(tx: Tx, tenant: str, limit: int, offset: int) -> tuple[list[tuple[Record, Tally]], int]:
    number = _number(tx, tenant)
    if number is None:
        return [], 0
    held = sorted((record for _, _, record in records.every(tx, KIND, number)), key=lambda record: record["born"])
    some = held[offset : offset + limit]
    return [(record, _tally_of(records.get(tx, STATE, number, record["id"]))) for record in some], len(held)


def _tally_of(state: dict[str, Any] | None) -> Tally:
    known = {one.name for one in fields(Tally)}
    return Tally(**{name: value for name, value in (state or {}).get("tally", {}).items() if name in known})


# -- in the writer ----------------------------------------------------------------------------------------------------


def _create(tx: Tx, tenant: str, record: Record, at: Instant) -> int:
    number = tenants.make(tx, tenant, at)
    if records.get(tx, KIND, number, record["id"]) is not None:
        raise Exists(f"subscription {record['id']} exists already", field="id")
    if records.count(tx, KIND, number) >= SUBSCRIPTIONS:
        raise TooMany("there are too many subscriptions", rule=f"at most {SUBSCRIPTIONS} a tenant")
    seq = journal.last_seq(tx) + 1
    records.drop(tx, STATE, number, record["id"], at, journaled=False)
    records.put(tx, KIND, number, record["id"], record | {"since": seq, "born": seq}, at)
    return seq


def _delete(tx: Tx, tenant: str, subscription_id: str, at: Instant) -> None:
    number = _number(tx, tenant)
    if number is None or not records.drop(tx, KIND, number, subscription_id, at):
        raise _missing(subscription_id)
    records.drop(tx, STATE, number, subscription_id, at, journaled=False)


def _state(lane: Lane, place: int | None) -> dict[str, Any]:
    return {"place": place, "done": [] if place is None else sorted(lane.done), "tally": asdict(lane.tally)}


def _save(tx: Tx, writes: Sequence[tuple[Lane, dict[str, Any]]], at: Instant) -> None:
    for lane, state in writes:
        number = tenants.number(tx, lane.tenant)
        if records.get(tx, KIND, number, lane.sub.id) is not None:
            records.put(tx, STATE, number, lane.sub.id, state, at, journaled=False)


def _kept(writes: Sequence[tuple[Lane, dict[str, Any]]]) -> None:
    for lane, state in writes:
        lane.stored = state
