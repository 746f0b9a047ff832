"""Dead letters: notifications that were given up, kept for an administrator to read and to send again.

What becomes one: a notification that its endpoint refuses as such, or that cannot be made, after the tries of
services/deliveries. What an endpoint merely does not take now is no dead letter: it waits and is tried again.
Promises: a letter is durable before its place in the journal is passed; the newest DEAD_LETTERS of a tenant are kept,
the oldest go first; a body beyond DEAD_LETTER_BYTES is not kept, only what was said of it. To send one again is
audited; it goes to the endpoint that the subscription has now, with the id that it had, and is dropped when it was
taken.
Does not: try by itself; send to an endpoint of a subscription that is gone, or what its owner may not read any more.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import orjson

from shahar.model.access import Actor, Target, demand
from shahar.services import accounts
from shahar.services.deliveries import Deliveries, Letter
from shahar.services.lanes import FindLane, Key, Lane
from shahar.store import records, tenants
from shahar.store.db import Database, Tx
from shahar.values.bounds import DEAD_LETTER_BYTES, DEAD_LETTERS
from shahar.values.errors import Conflict, NotFound
from shahar.values.instants import Instant

KIND: Final = "dead_letter"


class DeadLetters:
    """The letters of every tenant; `lane` gives the one by which a letter is sent again."""

    def __init__(self, db: Database, out: Deliveries, lane: FindLane) -> None:
        self._db = db
        self._out = out
        self._lane = lane
        self._others: list[DeadLetters] = []

    def join(self, other: DeadLetters) -> None:
        """Let letters be sent again whose subscriptions are the other's: all are kept together."""
        self._others.append(other)

    async def page(self, tenant: str, after: str, limit: int, *, by: Actor) -> list[dict[str, Any]]:
        """Letters of a tenant, oldest first: {id, subscription, notification, at, why, body}; `after`: the last id
        seen."""
        demand(by, Target("admin", "subscriptions", tenant))
        return await self._db.read(lambda tx: _page(tx, tenant, after, limit))

    async def send(self, tenant: str, letter_id: str, at: Instant, *, by: Actor) -> None:
        """Send a letter again; it is gone when the endpoint took it. NotFound, Conflict, Refused, PeerFailed."""
        demand(by, Target("admin", "subscriptions", tenant))
        doc = await self._db.read(lambda tx: _get(tx, tenant, letter_id))
        holder, lane = await self._holder((tenant, doc["subscription"]))
        if doc["body"] is None:
            raise Conflict("the letter's body was not kept", field="id")
        if not all(lane.may_show(types) for types in doc["types"]):
            raise Conflict("whoever subscribed may not read this any more", field="id")
        await self._db.write(lambda tx: _audit(tx, tenant, letter_id, "dead_letter.sent", at, by))
        await holder._out.again(lane, doc["body"].encode())
        await self._db.write(lambda tx: _drop(tx, tenant, letter_id, at))

    async def _holder(self, key: Key) -> tuple[DeadLetters, Lane]:
        for one in (self, *self._others):
            lane = await one._lane(key)
            if lane is not None:
                return one, lane
        raise Conflict("the subscription of the letter is gone", field="id")

    async def drop(self, tenant: str, letter_id: str, at: Instant, *, by: Actor) -> None:
        """Drop a letter; NotFound."""
        demand(by, Target("admin", "subscriptions", tenant))

        def work(tx: Tx) -> None:
            _get(tx, tenant, letter_id)
            _drop(tx, tenant, letter_id, at)
            _audit(tx, tenant, letter_id, "dead_letter.dropped", at, by)

        await self._db.write(work)


# -- works of the store -----------------------------------------------------------------------------------------------


def keep(tx: Tx, letter: Letter, at: Instant) -> None:
    """Write a letter, and drop the oldest when they are too many."""
    number = tenants.number(tx, letter.tenant)
    which = sha256(letter.id.encode()).hexdigest()[:16]
    whole = 0 < len(letter.body) <= DEAD_LETTER_BYTES
    doc = {
        "subscription": letter.subscription,
        "notification": letter.id,
        "at": letter.at,
        "why": letter.why,
        "types": list(letter.types),
        "body": letter.body.decode() if whole else None,
    }
    records.put(tx, KIND, number, f"{letter.at:017d}-{which}", doc, at, journaled=False)
    for _, key, _ in records.every(tx, KIND, number, limit=max(0, records.count(tx, KIND, number) - DEAD_LETTERS)):
        records.drop(tx, KIND, number, key, at, journaled=False)


def _page(tx: Tx, tenant: str, after: str, limit: int) -> list[dict[str, Any]]:
    number = tenants.number(tx, tenant)
    return [_shown(key, doc) for _, key, doc in records.every(tx, KIND, number, after=after, limit=limit)]


def _shown(key: str, doc: dict[str, Any]) -> dict[str, Any]:
    body = None if doc["body"] is None else orjson.loads(doc["body"])
    return {"id": key} | {name: doc[name] for name in ("subscription", "notification", "at", "why")} | {"body": body}


def _get(tx: Tx, tenant: str, letter_id: str) -> dict[str, Any]:
    doc = records.get(tx, KIND, tenants.number(tx, tenant), letter_id)
    if doc is None:
        raise NotFound(f"there is no dead letter {letter_id!r:.60}", field="id")
    return doc


def _drop(tx: Tx, tenant: str, letter_id: str, at: Instant) -> None:
    records.drop(tx, KIND, tenants.number(tx, tenant), letter_id, at, journaled=False)


def _audit(tx: Tx, tenant: str, letter_id: str, act: str, at: Instant, by: Actor) -> None:
    accounts.note(tx, tenants.number(tx, tenant), at, by, act, letter_id)
