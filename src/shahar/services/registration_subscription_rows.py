"""Registration subscriptions in the store: what is read and written of them, each as a work of one transaction.

Promises: the row of the journal that tells of a subscription says which registrations matched it at that moment.
Does not: hold anything in memory; SQL text (store/records).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import orjson

from shahar.model import registration as registrations_model
from shahar.model import subscription as subscription_model
from shahar.model.registration import Record
from shahar.model.registration import interest as model
from shahar.model.registration.interest import Interest, Reads, Shown
from shahar.model.subscription import Tally
from shahar.services import registrations, subscription_rows
from shahar.services.lanes import Key
from shahar.store import journal, records, tenants
from shahar.store.db import Tx
from shahar.values.bounds import SUBSCRIPTIONS
from shahar.values.errors import Exists, NotFound, TooMany
from shahar.values.instants import Instant

KIND: Final = "registration_subscription"
STATE: Final = "registration_subscription_state"

# -- in a reader ------------------------------------------------------------------------------------------------------


def load(tx: Tx, consumer: str) -> tuple[int, list[tuple[str, Record, dict[str, Any] | None]]]:
    """The consumer's place, and every subscription with its tenant and state."""
    names = {tenants.number(tx, tenant): tenant for tenant in tenants.every(tx)}
    states = {(number, key): state for number, key, state in records.every(tx, STATE)}
    kept = [(names[number], record, states.get((number, key))) for number, key, record in records.every(tx, KIND)]
    place = journal.place(tx, consumer)
    return journal.last_seq(tx) if place is None else place, kept


def some(tx: Tx, keys: Iterable[Key]) -> dict[Key, Record]:
    """Those of the subscriptions that are there."""
    found = {(tenant, key): records.get(tx, KIND, tenants.number(tx, tenant), key) for tenant, key in keys}
    return {key: record for key, record in found.items() if record is not None}


def held(tx: Tx, tenant: str, subscription_id: str) -> tuple[Record, Tally]:
    """A subscription and its tally; NotFound."""
    number = subscription_rows.number_of(tx, tenant)
    record = None if number is None else records.get(tx, KIND, number, subscription_id)
    if number is None or record is None:
        raise NotFound(f"subscription {subscription_id} does not exist", field="id")
    return record, subscription_rows.tally_of(records.get(tx, STATE, number, subscription_id))


def page(tx: Tx, tenant: str, limit: int, offset: int) -> tuple[list[tuple[Record, Tally]], int]:
    """Some of a tenant's subscriptions with their tallies, oldest first, and how many there are."""
    number = subscription_rows.number_of(tx, tenant)
    if number is None:
        return [], 0
    every = sorted((record for _, _, record in records.every(tx, KIND, number)), key=lambda record: record["born"])
    shown = every[offset : offset + limit]
    return [
        (record, subscription_rows.tally_of(records.get(tx, STATE, number, record["id"]))) for record in shown
    ], len(every)


def matching(tx: Tx, number: int, interest: Interest, at: Instant, reads: Reads = None) -> list[Shown]:
    """The registrations of a tenant that match now, oldest first, without what they keep secret; those alone that
    somebody may see who may read registrations of the types `reads`."""
    found: list[tuple[int, Shown]] = []
    for _, _, record in records.every(tx, registrations.KIND, number):
        registration = registrations_model.compiled(record)
        places = interest.matched(registration, reads) if registration.live(at) else ()
        if places:
            found.append((registration.born, (registrations.without_info(record), places)))
    return [shown for _, shown in sorted(found, key=lambda row: row[0])]


# -- in the writer ----------------------------------------------------------------------------------------------------


def create(tx: Tx, tenant: str, record: Record, at: Instant) -> int:
    """Keep a new subscription; the journal's number of its making. Exists, TooMany."""
    number = tenants.make(tx, tenant, at)
    if records.get(tx, KIND, number, record["id"]) is not None:
        raise Exists(f"subscription {record['id']} exists already", field="id")
    if records.count(tx, KIND, number) >= SUBSCRIPTIONS:
        raise TooMany("there are too many subscriptions", rule=f"at most {SUBSCRIPTIONS} a tenant")
    seq = journal.last_seq(tx) + 1
    records.drop(tx, STATE, number, record["id"], at, journaled=False)
    _write(tx, number, record | {"since": seq, "born": seq}, at)
    return seq


def update(tx: Tx, tenant: str, subscription_id: str, change: Callable[[Record], Record], at: Instant) -> None:
    """Put what `change` makes of a subscription in its place; NotFound."""
    before, _ = held(tx, tenant, subscription_id)
    after = change(before)
    if subscription_model.status(after, at) == "active" != subscription_model.status(before, at):
        after["since"] = journal.last_seq(tx) + 1
    _write(tx, tenants.number(tx, tenant), after, at)


def _write(tx: Tx, number: int, record: Record, at: Instant) -> None:
    """Keep a subscription; its row in the journal tells what matches it at this moment, nothing while it rests: whoever
    reads the row may know the subscription only as it was made later.
    """
    runs = subscription_model.status(record, at) == "active"
    found = matching(tx, number, model.compiled(record), at) if runs else []
    records.put(tx, KIND, number, record["id"], record, at, what=orjson.dumps({"matching": found}).decode())


def delete(tx: Tx, tenant: str, subscription_id: str, at: Instant) -> None:
    """Drop a subscription and what is known of it; NotFound."""
    held(tx, tenant, subscription_id)
    number = tenants.number(tx, tenant)
    records.drop(tx, KIND, number, subscription_id, at)
    records.drop(tx, STATE, number, subscription_id, at, journaled=False)


def save(tx: Tx, states: Sequence[tuple[Key, dict[str, Any]]], at: Instant) -> None:
    """Keep the states of those who are still there."""
    for (tenant, subscription_id), state in states:
        number = tenants.number(tx, tenant)
        if records.get(tx, KIND, number, subscription_id) is not None:
            records.put(tx, STATE, number, subscription_id, state, at, journaled=False)
