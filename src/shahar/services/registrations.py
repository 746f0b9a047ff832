"""Registrations of context sources: kept per tenant, found for a request, counted.

The theory. Every request of the distributed operations asks who takes part, so that the answer comes from memory: all
living registrations of a tenant stand compiled in an index (model/registration.Index). A write puts its registration
there as soon as it is durable and before it is answered, so that the next request meets it. The journal row of a
registration tells what it was and what it is, without contextSourceInfo, for those who follow registrations
(services/registration_subscriptions).

Promises
- What is answered is durable; after a restart the index is the same.
- An expired registration takes part in nothing from that instant on, and is deleted within seconds, with a journal row.
- An exclusive or redirect registration is refused (Conflict) as long as entities or other proxied registrations here
  have what it claims. Entities claimed by id are looked for in the writing transaction itself, others just before it.
- Counts of requests (`count`) are in memory at once and on the disk within seconds: a kill may lose the newest.
- Values of contextSourceInfo stand in the record alone: not in the journal, not in the log.

Does not: contact a source, speak SQL or HTTP, decide who may register (web asks model/access).
Source: ETSI GS CIM 009 V1.9.1 clauses 5.9, 5.10, 5.12, 4.3.6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any, Final
from uuid import uuid4

import orjson
import structlog

from shahar.model import query as q
from shahar.model import registration as model
from shahar.model.context import Context
from shahar.model.query import Node
from shahar.model.registration import Ask, Parts, Record, Registration, Tally
from shahar.store import entities, journal, records, tenants
from shahar.store.db import Database, Tx
from shahar.values.bounds import REGISTRATIONS
from shahar.values.errors import Conflict, Exists, NoTenant, NotFound, ShaharError, TooMany
from shahar.values.instants import Instant

KIND: Final = "registration"
STATE: Final = "registration_state"
SWEEP_S: Final = 1.0

log = structlog.get_logger(__name__)

Key = tuple[str, str]
"""Tenant and id of a registration."""


class Registrations:
    """The service. `now()` is the clock of expiry; `start` before the first request, `stop` saves the counts."""

    def __init__(self, db: Database, now: Callable[[], Instant]) -> None:
        self._db = db
        self._now = now
        self._of: dict[str, model.Index] = {}
        self._expiring: dict[Key, Instant] = {}
        self._tallies: dict[Key, Tally] = {}
        self._dirty: set[Key] = set()
        self._sweeping: asyncio.Task[None] | None = None

    # -- what callers ask for -----------------------------------------------------------------------------------

    async def create(self, tenant: str, body: Any, context: Context, at: Instant) -> str:
        """Keep a new registration; its id. Raises Invalid, TooLarge, Exists, Conflict, TooMany."""
        record = model.parse(body, context, at, new_id=f"urn:ngsi-ld:ContextSourceRegistration:{uuid4()}")
        new = model.compiled(record)
        await self._check_entities(tenant, new)
        record = await self._db.write(lambda tx: _create(tx, tenant, record, new, at))
        self._put(tenant, record, Tally())
        return new.id

    async def get(self, tenant: str, registration_id: str, at: Instant) -> tuple[Record, Tally]:
        """A living registration and what became of the requests to its source; NotFound."""
        record = await self._db.read(lambda tx: _held(tx, tenant, registration_id, at))
        return record, self._tally(tenant, registration_id)

    async def find(
        self, tenant: str, ask: Ask, at: Instant, *, limit: int, offset: int = 0, csf: Node | None = None,
        types: Collection[str] | None = None,
    ) -> tuple[list[tuple[Record, Tally]], int]:  # fmt: skip
        """Some of the registrations that match, oldest first, and how many match (5.10.2); of `types` alone (those that
        the reader may see) when they are given."""
        held = self._of.get(tenant)
        found = [] if held is None else [one for one in held.candidates(ask) if _answers(one, ask, csf, types, at)]
        ids = [one.id for one in found[offset : offset + limit]]
        kept = await self._db.read(lambda tx: _some(tx, tenant, ids))
        return [(record, self._tally(tenant, record["id"])) for record in kept], len(found)

    async def update(
        self, tenant: str, registration_id: str, fragment: Any, context: Context, at: Instant,
        check: Callable[[Record], None] | None = None,
    ) -> None:  # fmt: skip
        """Change members. `check` may refuse what it was and what it becomes (rights). Raises Invalid, NotFound,
        Conflict."""
        held, _ = await self.get(tenant, registration_id, at)
        new = model.patched(held, fragment, context, at)
        if check is not None:
            check(held)
            check(new)
        await self._check_entities(tenant, model.compiled(new))
        record = await self._db.write(lambda tx: _update(tx, tenant, registration_id, fragment, context, at, check))
        self._put(tenant, record, self._tally(tenant, registration_id))

    async def delete(
        self, tenant: str, registration_id: str, at: Instant, check: Callable[[Record], None] | None = None
    ) -> None:
        """Forget a registration; NotFound. `check` may refuse (rights)."""
        await self._db.write(lambda tx: _delete(tx, tenant, registration_id, at, check))
        self._drop((tenant, registration_id))

    def any(self, tenant: str) -> bool:
        """Whether the tenant has registrations at all."""
        return tenant in self._of

    def living(self, tenant: str, at: Instant) -> list[Registration]:
        """Every registration of a tenant that has not expired."""
        return [one for one in self._of.get(tenant, ()) if one.live(at)]

    def one(self, tenant: str, registration_id: str, at: Instant) -> Registration | None:
        """A living registration, from memory."""
        held = self._of.get(tenant)
        found = None if held is None else held.get(registration_id)
        return found if found is not None and found.live(at) else None

    def parts(self, tenant: str, ask: Ask, at: Instant) -> Parts:
        """Who takes part in a request, each with its share (model/registration)."""
        held = self._of.get(tenant)
        return model.NOBODY if held is None else model.parts(held.candidates(ask), ask, at)

    def count(self, tenant: str, registration_id: str, ok: bool, at: Instant) -> None:
        """Count a request to a source and what became of it; nothing when the registration is gone."""
        held = self._of.get(tenant)
        if held is not None and held.get(registration_id) is not None:
            self._tally(tenant, registration_id).count(ok, at)
            self._dirty.add((tenant, registration_id))

    def _tally(self, tenant: str, registration_id: str) -> Tally:
        return self._tallies.get((tenant, registration_id)) or Tally()

    async def _check_entities(self, tenant: str, new: Registration) -> None:
        wide = [query for query in model.claimed(new) if not query.ids]
        if wide:
            await self._db.read(lambda tx: _check_claims(tx, _made(tx, tenant), new, wide))

    # -- the index ----------------------------------------------------------------------------------------------

    def _put(self, tenant: str, record: Record, tally: Tally) -> None:
        key = (tenant, record["id"])
        try:
            registration = model.compiled(record)
        except ShaharError as problem:  # a record of another version; the others go on
            log.error("registration not understood", registration=key[1], tenant=tenant, problem=str(problem))
            return
        self._of.setdefault(tenant, model.Index()).put(registration)
        self._tallies[key] = tally
        self._expiring.pop(key, None)
        if registration.expires_at is not None:
            self._expiring[key] = registration.expires_at

    def _drop(self, key: Key) -> None:
        held = self._of.get(key[0])
        if held is not None:
            held.drop(key[1])
            if not held:
                del self._of[key[0]]
        self._tallies.pop(key, None)
        self._expiring.pop(key, None)
        self._dirty.discard(key)

    # -- running ------------------------------------------------------------------------------------------------

    follows = (KIND,)

    async def follow(self, changed: Sequence[Key]) -> None:
        """Take in what these registrations are now (services/fellows)."""
        held = await self._db.read(lambda tx: _these(tx, changed))
        for key in changed:
            if key in held:
                self._put(key[0], held[key], self._tally(*key))
            else:
                self._drop(key)

    async def start(self) -> None:
        """Take up every registration, and delete those that expire from now on."""
        for tenant, record, tally in await self._db.read(_load):
            self._put(tenant, record, tally)
        self._sweeping = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Delete nothing more; write the counts."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
            self._sweeping = None
        await self._save()

    async def _sweep(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.expire(self._now())
                await self._save()
                failing = False
            except ShaharError as problem:
                if not failing:
                    log.error("registrations not swept", problem=str(problem))
                failing = True

    async def expire(self, at: Instant) -> None:
        """Delete what has expired at this instant."""
        keys = [key for key, ends in self._expiring.items() if ends <= at]
        if keys:
            for key in await self._db.write(lambda tx: _expire(tx, keys, at)):
                self._drop(key)

    async def _save(self) -> None:
        dirty, self._dirty = self._dirty, set()
        states = [(key, asdict(self._tallies[key])) for key in dirty if key in self._tallies]
        if states:
            at = self._now()
            await self._db.write(lambda tx: _save(tx, states, at))


def _answers(
    registration: Registration, ask: Ask, csf: Node | None, types: Collection[str] | None, at: Instant
) -> bool:
    if not registration.live(at) or not model.matching(registration, ask):
        return False
    if types is not None and set(types).isdisjoint(model.types_of(registration)):
        return False
    return csf is None or q.matches_q(csf, {"id": registration.id, "attrs": registration.described})


# -- in a reader ------------------------------------------------------------------------------------------------------


def _load(tx: Tx) -> list[tuple[str, Record, Tally]]:
    names = {tenants.number(tx, tenant): tenant for tenant in tenants.every(tx)}
    states = {(number, key): state for number, key, state in records.every(tx, STATE)}
    kept = sorted(records.every(tx, KIND), key=lambda row: row[2]["born"])
    return [(names[number], record, _tally_of(states.get((number, key)))) for number, key, record in kept]


def _tally_of(state: dict[str, Any] | None) -> Tally:
    known = {one.name for one in fields(Tally)}
    return Tally(**{name: value for name, value in (state or {}).items() if name in known})


def _made(tx: Tx, tenant: str) -> int | None:
    """The tenant's number; None when nobody has written to it yet."""
    try:
        return tenants.number(tx, tenant)
    except NoTenant:
        return None


def _held(tx: Tx, tenant: str, registration_id: str, at: Instant) -> Record:
    number = tenants.known(tx, tenant)
    record = None if number is None else records.get(tx, KIND, number, registration_id)
    if record is None or _expired(record, at):
        raise NotFound(f"registration {registration_id} does not exist", field="id")
    return record


def _some(tx: Tx, tenant: str, ids: Iterable[str]) -> list[Record]:
    number = tenants.known(tx, tenant)
    found = [] if number is None else [records.get(tx, KIND, number, one) for one in ids]
    return [record for record in found if record is not None]


def _these(tx: Tx, keys: Iterable[Key]) -> dict[Key, Record]:
    found = {(tenant, name): records.get(tx, KIND, tenants.number(tx, tenant), name) for tenant, name in keys}
    return {key: record for key, record in found.items() if record is not None}


def _expired(record: Record, at: Instant) -> bool:
    return "expiresAt" in record["body"] and record["body"]["expiresAt"] <= at


def _check_claims(tx: Tx, number: int | None, new: Registration, queries: Sequence[q.Query]) -> None:
    """Conflict when an entity here has what a proxied registration claims (5.9.2.4)."""
    if number is None:
        return
    for query in queries:
        if entities.find(tx, number, query, limit=1).docs:
            raise Conflict(
                f"entities here have what the {new.mode} registration claims",
                field="information",
                rule="ETSI GS CIM 009 clause 5.9.2.4",
            )


# -- in the writer ----------------------------------------------------------------------------------------------------


def _create(tx: Tx, tenant: str, record: Record, new: Registration, at: Instant) -> Record:
    number = tenants.make(tx, tenant, at)
    held = records.get(tx, KIND, number, new.id)
    if held is not None and not _expired(held, at):
        raise Exists(f"registration {new.id} exists already", field="id")
    if held is None and records.count(tx, KIND, number) >= REGISTRATIONS:
        raise TooMany("there are too many registrations", rule=f"at most {REGISTRATIONS} a tenant")
    _check_conflicts(tx, number, new, at)
    if held is not None:
        _forget(tx, number, held, at)
    record = record | {"born": journal.last_seq(tx) + 1}
    records.put(tx, KIND, number, new.id, record, at, what=_told(None, record))
    return record


def _update(
    tx: Tx, tenant: str, registration_id: str, fragment: Any, context: Context, at: Instant,
    check: Callable[[Record], None] | None,
) -> Record:  # fmt: skip
    held = _held(tx, tenant, registration_id, at)
    record = model.patched(held, fragment, context, at)
    if check is not None:
        check(held)
        check(record)
    number = tenants.number(tx, tenant)
    _check_conflicts(tx, number, model.compiled(record), at)
    records.put(tx, KIND, number, registration_id, record, at, what=_told(held, record))
    return record


def _check_conflicts(tx: Tx, number: int, new: Registration, at: Instant) -> None:
    if not new.proxied:
        return
    for _, _, record in records.every(tx, KIND, number):
        if record["body"].get("mode") not in ("exclusive", "redirect") or _expired(record, at):
            continue
        if model.clash(new, model.compiled(record)):
            raise Conflict(
                f"registration {record['id']} has what this one claims",
                field="information",
                rule="ETSI GS CIM 009 clause 5.9.2.4",
            )
    _check_claims(tx, number, new, [query for query in model.claimed(new) if query.ids])


def _delete(tx: Tx, tenant: str, registration_id: str, at: Instant, check: Callable[[Record], None] | None) -> None:
    held = _held(tx, tenant, registration_id, at)
    if check is not None:
        check(held)
    _forget(tx, tenants.number(tx, tenant), held, at)


def _forget(tx: Tx, number: int, held: Record, at: Instant) -> None:
    records.drop(tx, KIND, number, held["id"], at, what=_told(held, None))
    records.drop(tx, STATE, number, held["id"], at, journaled=False)


def _expire(tx: Tx, keys: Iterable[Key], at: Instant) -> list[Key]:
    """Drop those that have expired indeed; the others were changed meanwhile."""
    gone = []
    for tenant, registration_id in keys:
        number = tenants.number(tx, tenant)
        held = records.get(tx, KIND, number, registration_id)
        if held is None or _expired(held, at):
            gone.append((tenant, registration_id))
        if held is not None and _expired(held, at):
            _forget(tx, number, held, at)
    return gone


def _save(tx: Tx, states: Sequence[tuple[Key, dict[str, Any]]], at: Instant) -> None:
    for (tenant, registration_id), state in states:
        number = tenants.number(tx, tenant)
        if records.get(tx, KIND, number, registration_id) is not None:
            records.put(tx, STATE, number, registration_id, state, at, journaled=False)


def _told(old: Record | None, new: Record | None) -> str:
    """What the journal tells of a change: the registration before and after it."""
    return orjson.dumps({"old": old and without_info(old), "new": new and without_info(new)}).decode()


def without_info(record: Record) -> Record:
    """The record without its contextSourceInfo, which leaves this room in no other way than to the source."""
    return record | {"body": {name: value for name, value in record["body"].items() if name != "contextSourceInfo"}}
