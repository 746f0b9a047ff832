"""Subscriptions in the store: what is read and written of them, each as a work of one transaction.

Promises: a subscription and what must be known of it in the writer (services/previous) are written together; a place
and the tallies and dead letters that go with it too.
Does not: hold anything in memory; SQL text (store/records).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import orjson

from shahar.model import subscription as model
from shahar.model.entity import Doc
from shahar.model.query import Follow
from shahar.model.subscription import Record
from shahar.services import dead_letters, notified, previous
from shahar.services.deliveries import Letter
from shahar.services.lanes import Key, Lane
from shahar.services.ledger import Ledger
from shahar.services.runner import Entry
from shahar.store import entities, records, tenants
from shahar.store.db import Tx
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
        if entry.kind == notified.KIND:
            found.append(_told(tx, number, entry, present[key], lanes[0]))
            continue
        doc = model.laid_over(entry, present[key])
        judged = model.before(entry, doc) if entry.kind == "entity.deleted" else doc
        held = [
            lane.may_show(doc["type"]) and model.holds(lane.sub, judged, _follow(tx, number, lane)) for lane in lanes
        ]
        shown = model.seen(entry, doc)
        payload = orjson.dumps([shown.doc, shown.gone, shown.at, shown.deleted, shown.was]) if any(held) else b""
        found.append((payload, held))
    return found


def _told(tx: Tx, number: int, entry: Entry, present: Doc | None, lane: Lane) -> tuple[bytes, list[bool]]:
    """The same of what a source has told, which concerns one lane."""
    what = entry.what
    doc = notified.laid_over(what, present, lane, entry.at)
    judged = None if what["deleted"] or what["filtered"] else doc
    if not lane.may_show(doc["type"]) or not model.holds(lane.sub, judged, _follow(tx, number, lane)):
        return b"", [False]
    return orjson.dumps([doc, what["gone"], entry.at, what["deleted"], what["was"]]), [True]


def _follow(tx: Tx, tenant: int, lane: Lane) -> Follow:
    """How a query gets from an entity to another: to those alone that the lane's owner may read."""
    if lane.reads is None:
        return partial(entities.get, tx, tenant)

    def follow(entity_id: str) -> Doc | None:
        found = entities.get(tx, tenant, entity_id)
        return found if found is not None and lane.may_show(found["type"]) else None

    return follow


# -- in the writer ----------------------------------------------------------------------------------------------------


def _put(tx: Tx, number: int, record: Record, at: Instant) -> None:
    records.put(tx, KIND, number, record["id"], record, at)
    previous.note(tx, number, record["id"], record["body"]["notification"].get("showChanges", False), at)


def _forget(tx: Tx, number: int, subscription_id: str, at: Instant) -> None:
    previous.note(tx, number, subscription_id, False, at)


LEDGER: Final = Ledger(KIND, STATE, _put, _forget)


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
