"""Credentials that were looked up and are remembered, so that most requests read nothing; and when each was last used.

Promises: what `ending` ended is refused from the moment in which it returns, remembered or not, also when whoever asked
is cancelled in between; at most IDENTITIES are remembered; a last use is noted once in STAMP_EVERY, beside the requests
that it is about.
Refuses: Unauthenticated for what is unknown, has ended or, a session, was left alone too long; the reason is not told.
Does not: make credentials or decide what ends them (the rooms beside it), know what their rights are (rights).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from shahar.model.access import Actor
from shahar.services.accounts.rights import actor_of
from shahar.services.credentials import UNKNOWN, Place, opens, place_of
from shahar.store import records
from shahar.store.db import Database, Tx
from shahar.values.bounds import IDENTITIES, SESSION_IDLE_S
from shahar.values.errors import ShaharError, Unauthenticated
from shahar.values.instants import MINUTE, SECOND, Instant

T = TypeVar("T")
STAMP_EVERY: Final = MINUTE


@dataclass(slots=True)
class Known:
    """A credential that was looked up; `stamped_at` is when its last use was noted."""

    actor: Actor
    place: Place
    ends_at: Instant
    idle: int
    stamped_at: Instant


class Memory:
    """What is remembered of the credentials of one store, by their digests."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.known: dict[bytes, Known] = {}
        self._generation = 0
        self._stamps: dict[Place, Instant] = {}
        self._stamping: asyncio.Task[None] | None = None
        self._endings: set[asyncio.Task[Any]] = set()

    def fresh(self, digest: bytes, at: Instant) -> Actor | None:
        """The actor of a credential that is remembered and whose use need not be noted."""
        known = self.known.get(digest)
        if known is not None and at < known.ends_at and at - known.stamped_at < STAMP_EVERY:
            return known.actor
        return None

    async def find(self, credential: str, digest: bytes, at: Instant) -> Known:
        """The credential of this text and digest, whose use is noted; Unauthenticated."""
        known = self.known.get(digest) or await self._look_up(credential, digest)
        if at >= known.ends_at or (known.idle and at - known.stamped_at >= known.idle):
            self.known.pop(digest, None)
            raise Unauthenticated(UNKNOWN)
        if at - known.stamped_at >= STAMP_EVERY:
            known.stamped_at = at
            self._stamp(known.place, at)
        return known

    async def _look_up(self, credential: str, digest: bytes) -> Known:
        place = place_of(credential)
        if place is None or place.kind == "link":
            raise Unauthenticated(UNKNOWN)
        generation = self._generation
        found = await self._db.read(lambda tx: _known_from(tx, place, digest))
        if found is None:
            raise Unauthenticated(UNKNOWN)
        if generation == self._generation:  # else something was revoked meanwhile, maybe after the snapshot
            if len(self.known) >= IDENTITIES:
                self.known.pop(next(iter(self.known)))
            self.known[digest] = found
        return found

    async def ending(self, work: Callable[[Tx], T], gone: Callable[[Known], bool]) -> T:
        """Do a work that ends credentials and forget them, also when the one who asked is cancelled in between."""

        async def both() -> T:
            result = await self._db.write(work)
            self._generation += 1
            self.known = {digest: known for digest, known in self.known.items() if not gone(known)}
            return result

        task = asyncio.get_running_loop().create_task(both())
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        return await asyncio.shield(task)

    def forget(self) -> None:
        """Look up every credential again: some may have been ended elsewhere."""
        self._generation += 1
        self.known = {}

    async def settle(self) -> None:
        """Return when what goes on in the background is written."""
        if self._endings:
            await asyncio.wait(self._endings)
        if self._stamping is not None:
            await self._stamping

    # -- last use -----------------------------------------------------------------------------------------------------

    def _stamp(self, place: Place, at: Instant) -> None:
        self._stamps[place] = at
        if self._stamping is None or self._stamping.done():
            self._stamping = asyncio.get_running_loop().create_task(self._write_stamps())

    async def _write_stamps(self) -> None:
        while self._stamps:
            stamps, self._stamps = self._stamps, {}
            try:
                await self._db.write(partial(_write_stamps, stamps))
            except ShaharError:
                return  # fence: a stamp is a courtesy; a store that cannot write says so to those who change something


def _known_from(tx: Tx, place: Place, digest: bytes) -> Known | None:
    doc = records.get(tx, place.kind, place.home, place.key)
    if doc is None or not opens(doc, digest):
        return None
    stamped_at = doc["used_at"] or 0
    if place.kind != "session":
        return Known(actor_of(place, doc), place, doc["ends_at"], 0, stamped_at)
    holder = Place(*doc["holder"])
    held = records.get(tx, holder.kind, holder.home, holder.key)
    if held is None:
        return None
    return Known(actor_of(holder, held), place, doc["ends_at"], SESSION_IDLE_S * SECOND, stamped_at)


def _write_stamps(stamps: dict[Place, Instant], tx: Tx) -> None:
    for place, at in stamps.items():
        doc = records.get(tx, place.kind, place.home, place.key)
        if doc is not None:
            records.put(tx, place.kind, place.home, place.key, doc | {"used_at": at}, at, journaled=False)
