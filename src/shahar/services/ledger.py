"""The ledger: subscriptions of one kind as they are kept, and what callers ask of them.

For: services/subscriptions and services/registration_subscriptions, which differ in what they make of a subscription,
not in how it is created, got, listed, updated and deleted.
Promises: each change is one transaction; a subscription that comes to run begins at the change that made it run; the
number of a change that is being made is known before the journal's consumer may see it.
Does not: match, send; decide who may.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.8.1 to 5.8.5, 5.11.2 to 5.11.6.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Protocol
from uuid import uuid4

from shahar.model import subscription as model
from shahar.model.access import HOUSE, Actor
from shahar.model.context import Context
from shahar.model.subscription import Record, Subscription, Tally
from shahar.services.deliveries import Contexts
from shahar.services.lanes import Key, Lane
from shahar.services.owners import Owner, Owners
from shahar.store import journal, records, tenants
from shahar.store.db import Database, Tx
from shahar.values.bounds import SUBSCRIPTIONS
from shahar.values.errors import Exists, NotFound, TooMany
from shahar.values.instants import Instant

State = dict[str, Any]
SETTLE: Final = "settle"
"""What is asked of the process that tells subscribers: to write how they stand."""


class Parse(Protocol):
    """Reads the body of a new subscription."""

    def __call__(self, body: Any, context: Context, at: Instant, *, new_id: str) -> Record: ...


Patched = Callable[[Record, Any, Context, Instant], Record]


def _nothing(tx: Tx, number: int, subscription_id: str, at: Instant) -> None:
    """Nothing else goes with it."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The rows of one kind of subscription and of their states.

    `put` writes a subscription with its row of the journal, `forget` drops what else was written of one that goes.
    """

    kind: str
    state: str
    put: Callable[[Tx, int, Record, Instant], None]
    forget: Callable[[Tx, int, str, Instant], None] = _nothing

    # -- in a reader --------------------------------------------------------------------------------------------

    def load(self, tx: Tx, consumer: str) -> tuple[int, list[tuple[str, Record, State | None]]]:
        """The consumer's place, and every subscription with its tenant and state."""
        names = tenants.names(tx)
        states = {(number, key): state for number, key, state in records.every(tx, self.state)}
        every = records.every(tx, self.kind)
        kept = [(names[number], record, states.get((number, key))) for number, key, record in every]
        place = journal.place(tx, consumer)
        return journal.last_seq(tx) if place is None else place, kept

    def some(self, tx: Tx, keys: Iterable[Key]) -> dict[Key, tuple[Record, State | None]]:
        """Those of the subscriptions that are there, each with its state."""
        found = {}
        for tenant, key in keys:
            number = tenants.number(tx, tenant)
            record = records.get(tx, self.kind, number, key)
            if record is not None:
                found[tenant, key] = (record, records.get(tx, self.state, number, key))
        return found

    def held(self, tx: Tx, tenant: str, subscription_id: str) -> tuple[Record, Tally]:
        """A subscription and its tally; NotFound."""
        number = tenants.known(tx, tenant)
        record = None if number is None else records.get(tx, self.kind, number, subscription_id)
        if number is None or record is None:
            raise _missing(subscription_id)
        return record, tally_of(records.get(tx, self.state, number, subscription_id))

    def page(self, tx: Tx, tenant: str, limit: int, offset: int) -> tuple[list[tuple[Record, Tally]], int]:
        """Some of a tenant's subscriptions with their tallies, oldest first, and how many there are."""
        number = tenants.known(tx, tenant)
        if number is None:
            return [], 0
        every = sorted((row[2] for row in records.every(tx, self.kind, number)), key=lambda record: record["born"])
        shown = every[offset : offset + limit]
        return [(one, tally_of(records.get(tx, self.state, number, one["id"]))) for one in shown], len(every)

    # -- in the writer ------------------------------------------------------------------------------------------

    def create(self, tx: Tx, tenant: str, record: Record, at: Instant) -> int:
        """Keep a new subscription; the journal's number of its making. Exists, TooMany."""
        number = tenants.make(tx, tenant, at)
        if records.get(tx, self.kind, number, record["id"]) is not None:
            raise Exists(f"subscription {record['id']} exists already", field="id")
        if records.count(tx, self.kind, number) >= SUBSCRIPTIONS:
            raise TooMany("there are too many subscriptions", rule=f"at most {SUBSCRIPTIONS} a tenant")
        seq = journal.last_seq(tx) + 1
        records.drop(tx, self.state, number, record["id"], at, journaled=False)
        self.put(tx, number, record | {"since": seq, "born": seq}, at)
        return seq

    def update(
        self, tx: Tx, tenant: str, subscription_id: str, change: Callable[[Record], Record], at: Instant
    ) -> None:
        """Put what `change` makes of a subscription in its place; NotFound."""
        before, _ = self.held(tx, tenant, subscription_id)
        after = change(before)
        if model.status(after, at) == "active" != model.status(before, at):
            after["since"] = journal.last_seq(tx) + 1
        self.put(tx, tenants.number(tx, tenant), after, at)

    def delete(self, tx: Tx, tenant: str, subscription_id: str, at: Instant) -> None:
        """Drop a subscription and what is known of it; NotFound."""
        number = tenants.known(tx, tenant)
        if number is None or not records.drop(tx, self.kind, number, subscription_id, at):
            raise _missing(subscription_id)
        records.drop(tx, self.state, number, subscription_id, at, journaled=False)
        self.forget(tx, number, subscription_id, at)


class LedgerService(ABC):
    """What callers ask of a kind of subscriptions; a service of them is one of these."""

    parse: Parse
    patched: Patched
    _owners: Owners
    long: bool = False
    """Whether writing one may take more than a few milliseconds."""

    def __init__(self, db: Database, ledger: Ledger, context: Contexts) -> None:
        self._db = db
        self._ledger = ledger
        self._context = context
        self._seen = 0
        self._creating = 0
        self._until = 0
        self._forgotten: set[Key] = set()
        """Deleted, or about to be, and the journal's row of it is not read yet: rows before it make nothing of it."""

    @abstractmethod
    def lanes(self) -> Mapping[Key, Lane]:
        """Those that are being told."""

    def compiled(self, record: Record) -> Subscription:
        """What a record says."""
        return model.compiled(record)

    async def lane(self, key: Key) -> Lane | None:
        """One that is being told here or by another process, as it stands now; None when there is none."""
        held = self.lanes().get(key)
        if held is not None or not self._db.shared:
            return held
        kept = await self._db.read(lambda tx: self._ledger.some(tx, [key]))
        if key not in kept:
            return None
        record = kept[key][0]
        owner = owner_of(key[0], record)
        lane = Lane(key[0], self.compiled(record), record["since"], record["since"], owner[0])
        lane.reads = await self._owners.look(owner)
        return lane

    @abstractmethod
    def drop(self, key: Key) -> None:
        """Tell one nothing more; nothing when it is not being told."""

    def dropped(self, key: Key) -> None:
        """Read in the journal that one was deleted."""
        self._forgotten.discard(key)
        self.drop(key)

    async def ready(self, tenant: str, record: Record, at: Instant) -> Record:
        """See that the @context is at hand; what is to be noted with the record besides. Raises ContextUnavailable."""
        await self._context(record["context"], at, tenant)
        return {}

    async def create(
        self, tenant: str, body: Any, context: Context, at: Instant, by: Actor = HOUSE,
        origin: Mapping[str, Any] | None = None,
    ) -> str:  # fmt: skip
        """Keep a new subscription of `by`; its id. `origin`: what is noted of how it came. Raises Invalid, Exists,
        TooMany, ContextUnavailable."""
        record = type(self).parse(body, context, at, new_id=f"urn:ngsi-ld:Subscription:{uuid4()}")
        record |= {"by": by.id, **(origin or {})} | await self.ready(tenant, record, at)
        self._creating += 1
        try:
            seq = await self._db.write(lambda tx: self._ledger.create(tx, tenant, record, at), long=self.long)
            self._until = max(self._until, seq)
        finally:
            self._creating -= 1
        identifier: str = record["id"]
        return identifier

    async def get(self, tenant: str, subscription_id: str) -> tuple[Record, Tally]:
        """A subscription and what became of its notifications; NotFound."""
        if (tenant, subscription_id) not in self.lanes():
            await self._settled()
        record, tally = await self._db.read(lambda tx: self._ledger.held(tx, tenant, subscription_id))
        return record, self._tally(tenant, subscription_id, tally)

    async def page(self, tenant: str, limit: int, offset: int = 0) -> tuple[list[tuple[Record, Tally]], int]:
        """Some of a tenant's subscriptions, oldest first, and how many there are."""
        if not self.lanes():
            await self._settled()
        held, total = await self._db.read(lambda tx: self._ledger.page(tx, tenant, limit, offset))
        return [(record, self._tally(tenant, record["id"], tally)) for record, tally in held], total

    async def update(
        self, tenant: str, subscription_id: str, fragment: Any, context: Context, at: Instant,
        check: Callable[[Record], None] | None = None, by: Actor = HOUSE,
    ) -> None:  # fmt: skip
        """Change members; the subscription is then of `by`. `check` may refuse the outcome (rights). Raises Invalid,
        NotFound, ContextUnavailable."""
        record, _ = await self.get(tenant, subscription_id)
        patched = type(self).patched
        noted = {"by": by.id} | await self.ready(tenant, patched(record, fragment, context, at), at)

        def changed(held: Record) -> Record:
            new = patched(held, fragment, context, at) | noted
            if check is not None:
                check(new)
            return new

        await self._db.write(lambda tx: self._ledger.update(tx, tenant, subscription_id, changed, at), long=self.long)

    async def delete(self, tenant: str, subscription_id: str, at: Instant) -> None:
        """Forget a subscription and what waits for it; when this returns, nothing more is begun to be sent.
        NotFound."""
        key = (tenant, subscription_id)
        first = key not in self._forgotten
        self._forgotten.add(key)
        try:
            await self._db.write(lambda tx: self._ledger.delete(tx, tenant, subscription_id, at))
        except BaseException:
            if first:
                self._forgotten.discard(key)
            raise
        if key in self._forgotten:  # else the journal has told it already
            self.drop(key)

    def wants(self) -> bool:
        """Whether there is, or is about to be, a subscription: another process may make one at any time."""
        return (
            self._db.shared or bool(self.lanes() or self._forgotten) or self._creating > 0 or self._until > self._seen
        )

    async def _settled(self) -> None:
        """Return when whoever tells subscribers has written how they stand, where that is another process."""
        if self._db.ask_others is not None:
            await self._db.ask_others(SETTLE, "")

    def _tally(self, tenant: str, subscription_id: str, kept: Tally) -> Tally:
        lane = self.lanes().get((tenant, subscription_id))
        return lane.tally if lane is not None else kept


_TALLIED: Final = {one.name for one in fields(Tally)}


def tally_of(state: State | None) -> Tally:
    """The tally in a state; what another version knows besides is left."""
    return Tally(**{name: value for name, value in (state or {}).get("tally", {}).items() if name in _TALLIED})


def owner_of(tenant: str, record: Record) -> Owner:
    """Whose rights count for a subscription; the house's own where nobody is noted."""
    return record.get("by", HOUSE.id), tenant


def _missing(subscription_id: str) -> NotFound:
    return NotFound(f"subscription {subscription_id} does not exist", field="id")
