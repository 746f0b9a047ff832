"""Browser sessions: begun by whoever holds a key or used a link, ended by them, by time, or with what they rest on.

Promises: a session ends with its holder's credential at the latest; its beginning and end are audited, its record and
last-used stamps are housekeeping and not journaled.
Refuses: Unauthenticated when the holder is not there any more.
Does not: know cookies (web/session); end sessions whose holder went: memory finds no holder then.
"""

from __future__ import annotations

from shahar.model.access import Actor
from shahar.services.accounts.book import NEVER, note, put_secret
from shahar.services.credentials import UNKNOWN, Minted, Place, opens
from shahar.store import records
from shahar.store.db import Tx
from shahar.values.bounds import SESSION_S
from shahar.values.errors import Unauthenticated
from shahar.values.instants import SECOND, Instant


def begin(tx: Tx, holder: Place, minted: Minted, at: Instant) -> str:
    """The token of a session of the person or the key whose record lies there; Unauthenticated."""
    held = records.get(tx, holder.kind, holder.home, holder.key)
    if held is None:
        raise Unauthenticated(UNKNOWN)
    ends_at = min(at + SESSION_S * SECOND, held.get("ends_at", NEVER))
    actor = f"{holder.kind}:{holder.key}"
    doc = {
        "holder": [holder.kind, holder.home, holder.key],
        "actor": actor,
        "label": held["label"],
        "ends_at": ends_at,
        "used_at": at,
    }
    key, text = put_secret(tx, "session", holder.home, minted.name, minted.secret, doc, at)
    note(tx, holder.home, at, Actor(actor, "person", held["label"]), "session.begun", key)
    return text


def end(tx: Tx, place: Place, digest: bytes, at: Instant) -> None:
    """End the session of this digest; one that has ended already is no error."""
    doc = records.get(tx, "session", place.home, place.key)
    if doc is not None and opens(doc, digest):
        records.drop(tx, "session", place.home, place.key, at, journaled=False)
        note(tx, place.home, at, Actor(doc["actor"], "person", doc["label"]), "session.ended", place.key)


def sweep(tx: Tx, at: Instant) -> int:
    """Drop sessions and links that have ended; how many."""
    ended = 0
    for kind in ("session", "link"):
        for number, key, doc in records.every(tx, kind):
            if at >= doc["ends_at"]:
                ended += records.drop(tx, kind, number, key, at, journaled=kind == "link")
    return ended
