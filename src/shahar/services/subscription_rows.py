"""Subscriptions in the store: what is read and written of them, each as a work of one transaction.

Promises: a subscription and what must be known of it in the writer (services/previous) are written together; a place
and the tallies and dead letters that go with it too.
Does not: hold anything in memory; SQL text (store/records).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields
from functools import partial
from typing import Any, Final

import orjson

from shahar.model import subscription as model
from shahar.model.entity import Doc
from shahar.model.query import Follow
from shahar.model.subscription import Record, Tally
from shahar.services import dead_letters, previous
from shahar.services.deliveries import Letter
from shahar.services.lanes import Key, Lane
from shahar.services.runner import Entry
from shahar.store import entities, journal, records, tenants
from shahar.store.db import Tx
from shahar.values.bounds import SUBSCRIPTIONS
from shahar.values.errors import Exists, NoTenant, NotFound, TooMany
from shahar.values.instants import Instant

KIND: Final = previous.KIND
STATE: Final = "subscription_state"

# -- in a reader ------------------------------------------------------------------------------------------------------


def evaluate(tx: Tx, picked: list[tuple[Entry, list[Lane]]]) -> list[tuple[bytes, list[bool]]]:
    """For each change what it shows, as JSON, and for which lanes the queries hold that their owners may ask."""
    present: dict[Key, Doc | None] = {}
    found: list[tuple[bytes, list[bool]]] = []
    for entry, lanes in picked:
        number = tenants.number(tx, entry.tenant)
        key = (entry.tenant, entry.key)
        if key not in present:
            located = entities.locate(tx, number, entry.key)
            present[key] = located[1] if located else None
        doc = model.laid_over(entry, present[key])
        judged = model.before(entry, doc) if entry.kind == "entity.deleted" else doc
        held = [
            lane.may_show(doc["type"]) and model.holds(lane.sub, judged, _follow(tx, number, lane)) for lane in lanes
        ]
        shown = model.seen(entry, doc)
        payload = orjson.dumps([shown.doc, shown.gone, shown.at, shown.deleted, shown.was]) if any(held) else b""
        found.append((payload, held))
    return found


def _follow(tx: Tx, tenant: int, lane: Lane) -> Follow:
    """How a query gets from an entity to another: to those alone that the lane's owner may read."""
    if lane.reads is None:
        return partial(entities.get, tx, tenant)

    def follow(entity_id: str) -> Doc | None:
        found = entities.get(tx, tenant, entity_id)
        return found if found is not None and lane.may_show(found["type"]) else None

    return follow


def load(tx: Tx, consumer: str) -> tuple[int, list[tuple[str, Record, dict[str, Any] | None]]]:
    """The consumer's place, and every subscription with its tenant and state."""
    names = {tenants.number(tx, tenant): tenant for tenant in tenants.every(tx)}
    states = {(number, key): state for number, key, state in records.every(tx, STATE)}
    kept = [(names[number], record, states.get((number, key))) for number, key, record in records.every(tx, KIND)]
    place = journal.place(tx, consumer)
    return journal.last_seq(tx) if place is None else place, kept


def some(tx: Tx, keys: Iterable[Key]) -> dict[Key, tuple[Record, dict[str, Any] | None]]:
    """Those of the subscriptions that are there, each with its state."""
    found = {}
    for tenant, key in keys:
        number = tenants.number(tx, tenant)
        record = records.get(tx, KIND, number, key)
        if record is not None:
            found[tenant, key] = (record, records.get(tx, STATE, number, key))
    return found


def held(tx: Tx, tenant: str, subscription_id: str) -> tuple[Record, Tally]:
    """A subscription and its tally; NotFound."""
    number = number_of(tx, tenant)
    record = None if number is None else records.get(tx, KIND, number, subscription_id)
    if number is None or record is None:
        raise missing(subscription_id)
    return record, tally_of(records.get(tx, STATE, number, subscription_id))


def page(tx: Tx, tenant: str, limit: int, offset: int) -> tuple[list[tuple[Record, Tally]], int]:
    """Some of a tenant's subscriptions with their tallies, oldest first, and how many there are."""
    number = number_of(tx, tenant)
    if number is None:
        return [], 0
    every = sorted((record for _, _, record in records.every(tx, KIND, number)), key=lambda record: record["born"])
    shown = every[offset : offset + limit]
    return [(record, tally_of(records.get(tx, STATE, number, record["id"]))) for record in shown], len(every)


def tally_of(state: dict[str, Any] | None) -> Tally:
    """The tally in a state; what another version knows besides is left."""
    known = {one.name for one in fields(Tally)}
    return Tally(**{name: value for name, value in (state or {}).get("tally", {}).items() if name in known})


def missing(subscription_id: str) -> NotFound:
    """The error for an id that no subscription has."""
    return NotFound(f"subscription {subscription_id} does not exist", field="id")


def number_of(tx: Tx, tenant: str) -> int | None:
    """The tenant's number; None when it is the default one and nobody has written to it yet. NoTenant for another."""
    try:
        return tenants.number(tx, tenant)
    except NoTenant:
        if tenant:
            raise
        return None


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
    records.put(tx, KIND, number, record["id"], record | {"since": seq, "born": seq}, at)
    previous.note(tx, number, record["id"], _shows(record), at)
    return seq


def update(tx: Tx, tenant: str, subscription_id: str, change: Callable[[Record], Record], at: Instant) -> None:
    """Put what `change` makes of a subscription in its place; NotFound."""
    number = tenants.number(tx, tenant)
    before, _ = held(tx, tenant, subscription_id)
    changed = change(before)
    if model.status(changed, at) == "active" != model.status(before, at):
        changed["since"] = journal.last_seq(tx) + 1
    records.put(tx, KIND, number, subscription_id, changed, at)
    previous.note(tx, number, subscription_id, _shows(changed), at)


def delete(tx: Tx, tenant: str, subscription_id: str, at: Instant) -> None:
    """Drop a subscription and what is known of it; NotFound."""
    number = number_of(tx, tenant)
    if number is None or not records.drop(tx, KIND, number, subscription_id, at):
        raise missing(subscription_id)
    records.drop(tx, STATE, number, subscription_id, at, journaled=False)
    previous.note(tx, number, subscription_id, False, at)


def _shows(record: Record) -> bool:
    shows: bool = record["body"]["notification"].get("showChanges", False)
    return shows


def state(lane: Lane, place: int | None) -> dict[str, Any]:
    """What is kept of a lane that is at `place`; None: with the consumer."""
    return {"place": place, "done": [] if place is None else sorted(lane.done), "tally": asdict(lane.tally)}


def save(tx: Tx, writes: Sequence[tuple[Lane, dict[str, Any]]], letters: Sequence[Letter], at: Instant) -> None:
    """Keep states and dead letters."""
    for lane, kept in writes:
        number = tenants.number(tx, lane.tenant)
        if records.get(tx, KIND, number, lane.sub.id) is not None:
            records.put(tx, STATE, number, lane.sub.id, kept, at, journaled=False)
    for letter in letters:
        dead_letters.keep(tx, letter, at)
