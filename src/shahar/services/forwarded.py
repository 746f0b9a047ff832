"""Subscriptions of ours at sources: made, changed and ended there as subscriptions here and registrations come and go.

The theory. What sources are to have follows from two things that are kept: the subscriptions and the registrations. So
it is reckoned anew (`_reckon`) whenever the journal tells of a change of either, and once at the start; what differs
from what is there is noted, durably, and then brought about by a task of its own for each source and subscription,
which tries again with growing waits. A crash between two steps costs a step that is done twice, and every step may be:
the id at the source is chosen here, so that a subscription that was made and not noted is met again.

Promises
- Nobody waits for a source: neither who subscribes nor another source.
- A source is told nothing of the subscriber (forwarding.copied). Notifications come to an address of ours in which a
  token stands that nobody can guess, another for each source and subscription (`known`).
- What is no longer wanted is ended at the source for as long as `GIVE_UP_S` has not passed; then it is forgotten.
- What a source has lost is made again: seldom, all are asked for (`CHECK_S`), where the source offers that.
- A subscription that came to us through other brokers is not forwarded to these (Via; 4.3.6.4).
Does not: take notifications in (services/notified); speak HTTP; decide who may subscribe.
Departure: values of contextSourceInfo that are to be taken from the request (`urn:ngsi-ld:request`) are left out: a
subscription outlives the request, and callers' headers are not kept.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.8.1.4, 5.8.2.4, 5.8.5.4, 4.3.6.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from weakref import WeakValueDictionary

import structlog

from shahar.model import subscription as subscriptions
from shahar.model.context import CORE
from shahar.model.registration import NOBODY, Ask, Parts, Registration
from shahar.model.registration import forwarding as model
from shahar.model.registration.forwarding import Chosen
from shahar.model.subscription import Record
from shahar.services import forwarded_rows as rows
from shahar.services import registrations, subscription_rows
from shahar.services.deliveries import Contexts
from shahar.services.federation import Call, Federation, Origin
from shahar.services.forwarded_rows import Forwarded
from shahar.services.lanes import Key
from shahar.services.runner import Entry
from shahar.store.db import Database
from shahar.values.bounds import FORWARDED, FORWARDED_SOURCES, ID_CHARS
from shahar.values.errors import CallerFault, Exists, NotFound, PeerLooped, ShaharError, TooMany
from shahar.values.instants import SECOND, Instant

PATH: Final = "/ngsi-ld/notifications"
"""Below which sources tell us of changes: /{id}/{token}."""
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 300.0
REFUSED_S: Final = 3_600.0
GIVE_UP_S: Final = 7 * 86_400
CHECK_S: Final = 600.0
SWEEP_S: Final = 30.0
AT_ONCE: Final = 4
"""Requests about subscriptions to one source at the same time."""
SOME: Final = 100

log = structlog.get_logger(__name__)


class Forwarding:
    """The service. `address`: where sources reach us, empty where they cannot; `start` when the subscriptions are
    known, `stop` before the store closes."""

    def __init__(
        self, db: Database, federation: Federation, context: Contexts, now: Callable[[], Instant], address: str
    ) -> None:
        self._db = db
        self.federation = federation
        self._context = context
        self._now = now
        self._address = address
        self._all: dict[str, Forwarded] = {}
        self._of: dict[Key, dict[str, Forwarded]] = {}
        self._subscriptions: set[Key] = set()
        self._changed: dict[Key, None] = {}
        self._stirred: set[str] = set()
        self._heard = asyncio.Event()
        self._places: WeakValueDictionary[Key, asyncio.Semaphore] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        self._said: set[str] = set()
        self._stopping = False

    # -- what callers ask for -----------------------------------------------------------------------------------

    async def known(self, forwarded_id: str, token: str) -> Forwarded:
        """The one that a notification is about, by what stands in its address; NotFound for everything else."""
        found = self._all.get(forwarded_id)
        if found is None and self._db.shared:
            found = await self._db.read(lambda tx: rows.find(tx, forwarded_id))
        if found is None or not found.knows(token) or found.wanted is None:
            raise NotFound("nobody waits for notifications here", field="path")
        return found

    async def page(self, tenant: str, after: str, limit: int) -> list[dict[str, Any]]:
        """How it stands with a tenant's, in the order of their ids, for an administrator."""
        if not self._all and self._db.shared:
            return _page(await self._db.read(rows.load), tenant, after, limit)
        return self.shown(tenant, after, limit)

    def shown(self, tenant: str, after: str, limit: int) -> list[dict[str, Any]]:
        """The same of those that are kept up here, not by another process."""
        return _page(self._all.values(), tenant, after, limit)

    def states(self) -> dict[str, int]:
        """How many are in which state."""
        found = dict.fromkeys(("made", "waiting", "refused", "leaving"), 0)
        for one in self._all.values():
            found[one.state] += 1
        return found

    # -- running ------------------------------------------------------------------------------------------------

    async def start(self, keys: Iterable[Key]) -> None:
        """Take up what is kept; `keys`: every subscription that there is."""
        self._stopping = False
        self._subscriptions = set(keys)
        self._all, self._of = {}, {}
        for one in await self._db.read(rows.load):
            self._all[one.id] = one
            if one.wanted is not None:
                self._of.setdefault(one.key, {})[one.source.id] = one
            self._wake(one)
        self._changed = dict.fromkeys([*self._subscriptions, *self._of])
        self._heard.set()
        for work in (self._reckon_forever(), self._sweep()):
            self._spawn(work)

    async def stop(self) -> None:
        """Ask sources nothing more."""
        self._stopping = True
        tasks = [*self._tasks, *(one.task for one in self._all.values() if one.task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    def hear(self, entries: Sequence[Entry]) -> None:
        """Look at what the journal tells of subscriptions and registrations."""
        for entry in entries:
            kind, _, what = entry.kind.rpartition(".")
            if kind == subscription_rows.KIND:
                key = (entry.tenant, entry.key)
                (self._subscriptions.add if what == "put" else self._subscriptions.discard)(key)
                self.look_at(key)
            elif kind == registrations.KIND:
                self._stirred.add(entry.tenant)
                self._heard.set()

    def look_at(self, key: Key) -> None:
        """See soon whether sources have what they are to have of one subscription."""
        self._changed[key] = None
        self._heard.set()

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _sweep(self) -> None:
        """End what has expired, and ask seldom whether the sources still have theirs."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now, clock = self._now(), asyncio.get_running_loop().time()
            for one in list(self._all.values()):
                ends_at = None if one.wanted is None else one.wanted.get("expiresAt")
                if ends_at is not None and ends_at <= now:
                    self.look_at(one.key)
                elif one.settled and one.next_s <= clock and model.RETRIEVE in one.source.operations:
                    self._wake(one)

    # -- what is to be there ------------------------------------------------------------------------------------

    async def _reckon_forever(self) -> None:
        failing = False
        while True:
            await self._heard.wait()
            self._heard.clear()
            stirred, self._stirred = self._stirred, set()
            self._changed |= dict.fromkeys(key for key in self._subscriptions if key[0] in stirred)
            changed, self._changed = list(self._changed), {}
            try:
                while changed:
                    await self._reckon(changed[:SOME])
                    del changed[:SOME]
                failing = False
            except Exception as problem:  # fence: the store fails for a while; what was to be reckoned is again
                if not failing:
                    log.error("forwarding fell", exc_info=problem)
                failing = True
                self._changed |= dict.fromkeys(changed)
                self._heard.set()
                await asyncio.sleep(1.0)

    async def _reckon(self, keys: Sequence[Key]) -> None:
        idle = {key for key in keys if key not in self._of and not self.federation.concerns(key[0])}
        asked = [key for key in keys if key not in idle]
        if not asked:
            await asyncio.sleep(0)
            return
        kept = await self._db.read(lambda tx: subscription_rows.LEDGER.some(tx, asked))
        touched: list[Forwarded] = []
        for key in asked:
            found = kept.get(key)
            try:
                touched += self._compare(key, None if found is None else found[0])
            except ShaharError as problem:  # a record of another version; the others go on
                self._say(problem.detail, subscription=key[1], tenant=key[0])
        at = self._now()
        try:
            if touched:
                await self._db.write(lambda tx: rows.save_all(tx, touched, at))
        finally:
            for one in touched:
                self._wake(one)

    def _compare(self, key: Key, record: Record | None) -> list[Forwarded]:
        """Note what of one subscription is to be made, changed, ended; those that were touched."""
        at = self._now()
        picked = {} if record is None else self._chosen(key[0], record, at)
        touched: list[Forwarded] = []
        held = self._of.get(key, {})
        for registration_id, one in list(held.items()):
            chosen = picked.get(registration_id)
            if chosen is None or not self._follows(one, chosen[0][1].registration, chosen, record or {}):
                one.wanted, one.since = None, at
                del held[registration_id]
                touched.append(one)
        for registration_id, chosen in picked.items():
            source, wanted = chosen[0][1].registration, model.copied(record or {}, chosen)
            wanted |= self._beside(record or {})
            known = held.get(registration_id)
            if known is None:
                if not self._room(key, held):
                    continue
                known = held[registration_id] = rows.begun(key, source, wanted, at)
                self._all[known.id] = known
            elif known.wanted == wanted and known.source is source:
                continue
            known.refused = known.refused and known.wanted == wanted
            known.source = source
            known.wanted = wanted if known.sent is None or model.UPDATE in source.operations else known.sent
            touched.append(known)
        if held:
            self._of[key] = held
        else:
            self._of.pop(key, None)
        return touched

    def _follows(self, one: Forwarded, source: Registration, chosen: list[Chosen], record: Record) -> bool:
        """Whether one may stay where it is: the source is where it was, and takes changes if there are any."""
        if (source.endpoint, source.tenant) != (one.source.endpoint, one.source.tenant):
            return False
        if one.sent is None or model.UPDATE in source.operations or model.DELETE not in source.operations:
            return True
        return model.copied(record, chosen) | self._beside(record) == one.sent

    def _beside(self, record: Record) -> Record:
        """What a copy is sent with: the names that its filters use, and where we are to be told."""
        return {"terms": {} if model.is_split(record) else record["terms"], "address": self._address}

    def _chosen(self, tenant: str, record: Record, at: Instant) -> dict[str, list[Chosen]]:
        if subscriptions.status(record, at) == "expired" or model.is_local(record):
            return {}
        origin = Origin(tenant, CORE, at, record.get("via", ""))

        def parts(ask: Ask) -> Parts:
            try:
                return self.federation.parts(model.CREATE, ask, origin)
            except (PeerLooped, TooMany) as problem:
                self._say(str(problem.detail), subscription=record["id"], tenant=tenant)
                return NOBODY

        found = model.chosen(record, parts)
        if found and not self._address:
            self._say("sources cannot reach us: no public address is set (--public-url)")
            return {}
        return found

    def _room(self, key: Key, held: dict[str, Forwarded]) -> bool:
        if len(held) >= FORWARDED_SOURCES:
            self._say(f"more than {FORWARDED_SOURCES} sources", subscription=key[1], tenant=key[0])
            return False
        if len(self._all) >= FORWARDED and sum(one.tenant == key[0] for one in self._all.values()) >= FORWARDED:
            self._say(f"more than {FORWARDED} subscriptions at sources", tenant=key[0])
            return False
        return True

    def _say(self, why: str, **where: str) -> None:
        """Log once why something is not forwarded."""
        if why not in self._said:
            if len(self._said) < SOME:
                self._said.add(why)
            log.warning("subscription not forwarded", why=why, **where)

    # -- bringing it about --------------------------------------------------------------------------------------

    def _wake(self, one: Forwarded) -> None:
        """Let its task look at it, now."""
        if self._stopping:
            return
        one.woken.set()
        if one.task is None or one.task.done():
            one.task = asyncio.get_running_loop().create_task(self._tend(one))

    async def _tend(self, one: Forwarded) -> None:
        """Bring one about, trying again until it is so."""
        place = self._places.setdefault((one.tenant, one.source.id), asyncio.Semaphore(AT_ONCE))
        while True:
            one.woken.clear()
            async with place:
                wait_s = await self._tried(one)
            if wait_s is not None:
                one.next_s = asyncio.get_running_loop().time() + wait_s
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await one.woken.wait()
            elif not one.woken.is_set():
                return

    async def _tried(self, one: Forwarded) -> float | None:
        """One step towards what is to be; the seconds to wait before the next, None: it is so."""
        try:
            done = await self._step(one)
        except NotFound as problem:  # nothing is there now; it may come
            return await self._fell(one, problem, refused=False)
        except (CallerFault, PeerLooped) as problem:
            return await self._fell(one, problem, refused=True)
        except ShaharError as problem:
            return await self._fell(one, problem, refused=False)
        except Exception as problem:  # fence: what one source meets delays its own subscription alone
            log.error("forwarding broke", subscription=one.subscription, registration=one.source.id, exc_info=problem)
            return await self._fell(one, problem, refused=False)
        if one.failures:
            log.info("forwarded subscription rose", subscription=one.subscription, registration=one.source.id)
        one.failures, one.problem, one.refused = 0, "", False
        if done:
            one.next_s = asyncio.get_running_loop().time() + CHECK_S * random.uniform(0.8, 1.2)
            return None
        return 0.0

    async def _fell(self, one: Forwarded, problem: Exception, *, refused: bool) -> float | None:
        at, why = self._now(), _without(str(problem)[:600], one.spoken)[:300]
        if one.wanted is None and (at - one.since > GIVE_UP_S * SECOND or refused):
            try:
                await self._forget(one)
            except ShaharError:  # the store fails; it is forgotten later
                return LONGEST_WAIT_S
            return None
        if not one.failures:
            log.warning(
                "forwarded subscription fell",
                subscription=one.subscription,
                registration=one.source.id,
                problem=why,
            )
        one.failures += 1
        one.refused, one.problem = refused, why
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(one.failures - 1, 16))
        return (REFUSED_S if refused else longest) * random.uniform(0.5, 1.0)

    async def _step(self, one: Forwarded) -> bool:
        """Do the next thing; whether it is all done then."""
        if one.wanted is None:
            await self._end(one)
        elif not one.made:
            await self._make(one, one.wanted)
        elif one.sent != one.wanted:
            await self._change(one, one.wanted)
        else:
            await self._check(one)
        return one.settled or one.id not in self._all

    async def _make(self, one: Forwarded, wanted: Record) -> None:
        call = await self._call(model.CREATE, one)
        document, one.filtered = self._worded(one, wanted, call)
        known = one.knows(one.spoken)
        await self._address_in(one, document)
        try:
            reply = await self.federation.carry(replace(call, document=document))
        except Exists:  # it was made, and we went before we noted it, or nobody told us
            if model.UPDATE in one.source.operations:
                one.made = True
                await self._change(one, wanted)
            elif not known:  # with an address of which we know nothing any more
                await self._lost(one)
            else:
                await self._made(one, wanted)
            return
        told = reply.location.rstrip("/").rpartition("/")[2]
        if ":" in told and len(told) <= ID_CHARS:
            one.remote = told
        await self._made(one, wanted)

    async def _made(self, one: Forwarded, wanted: Record) -> None:
        one.taken()
        one.made, one.sent = True, wanted
        await self._save(one)

    async def _change(self, one: Forwarded, wanted: Record) -> None:
        call = await self._call(model.UPDATE, one)
        document, filtered = self._worded(one, wanted, call)
        old = {} if one.sent is None else self._worded(one, one.sent, call)[0]
        change = model.fragment(old, document)
        if "notification" in change:
            await self._address_in(one, change)
        try:
            await self.federation.carry(replace(call, entity_id=one.remote, document=change))
        except NotFound:
            await self._lost(one)
            return
        if "notification" in change:
            one.taken()
        one.sent, one.filtered = wanted, filtered
        await self._save(one)

    async def _address_in(self, one: Forwarded, document: Record) -> None:
        """Put an address with a secret into a document for the source; its digest is kept before it goes out. What is
        tried again has the same."""
        token = one.spoken
        if one.made or not one.knows(token):
            token = one.new_token()
            await self._save(one)
        endpoint = document["notification"]["endpoint"]
        document["notification"]["endpoint"] = {**endpoint, "uri": f"{endpoint['uri']}/{token}"}

    async def _check(self, one: Forwarded) -> None:
        if model.RETRIEVE not in one.source.operations or one.next_s > asyncio.get_running_loop().time():
            return
        try:
            await self.federation.carry(replace(await self._call(model.RETRIEVE, one), entity_id=one.remote))
        except NotFound:
            await self._lost(one)

    async def _lost(self, one: Forwarded) -> None:
        """The source does not know it any more: it is made anew."""
        one.made, one.sent, one.remote = False, None, rows.new_id()
        await self._save(one)

    async def _end(self, one: Forwarded) -> None:
        if one.remote and model.DELETE in one.source.operations:
            try:
                await self.federation.carry(replace(await self._call(model.DELETE, one), entity_id=one.remote))
            except NotFound:
                pass
        await self._forget(one)

    async def _forget(self, one: Forwarded) -> None:
        at = self._now()
        await self._db.write(lambda tx: rows.drop(tx, one, at))
        self._all.pop(one.id, None)

    async def _save(self, one: Forwarded) -> None:
        at = self._now()
        await self._db.write(lambda tx: rows.save(tx, one, at))

    async def _call(self, operation: str, one: Forwarded) -> Call:
        """A call about one, in the @context of the subscription."""
        at = self._now()
        kept = await self._db.read(lambda tx: subscription_rows.LEDGER.some(tx, [one.key]))
        record = kept[one.key][0] if one.key in kept else None
        context = CORE if record is None else await self._context(record["context"], at, one.tenant)
        via = "" if record is None else record.get("via", "")
        return await self.federation.call(operation, rows.share_of(one), Origin(one.tenant, context, at, via))

    def _worded(self, one: Forwarded, copy: Record, call: Call) -> tuple[Record, bool]:
        """The copy in the words of the source, the address without its secret; whether the source filters."""
        body = {name: value for name, value in copy.items() if name not in ("terms", "address")}
        uri = f"{copy['address']}{PATH}/{one.id}"
        context, inline = call.terms.context, call.terms.inline is not None
        document, understood = model.worded(body, copy["terms"], one.remote, uri, context, self._now(), inline=inline)
        return document, understood and not body.get("splitEntities", model.SPLIT)


def _without(text: str, secret: str) -> str:
    return text.replace(secret, "...") if secret else text


def _page(every: Iterable[Forwarded], tenant: str, after: str, limit: int) -> list[dict[str, Any]]:
    found = sorted((one for one in every if one.tenant == tenant and one.id > after), key=lambda one: one.id)
    clock = asyncio.get_running_loop().time()
    return [_shown(one, clock) for one in found[:limit]]


def _shown(one: Forwarded, clock: float) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": one.id,
        "subscription": one.subscription,
        "registration": one.source.id,
        "state": one.state,
        "failures": one.failures,
    }
    if one.problem:
        shown |= {"problem": one.problem, "againInSeconds": max(0, round(one.next_s - clock))}
    return shown
