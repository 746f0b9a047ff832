"""Those who subscribed, and what they may read now: a notification must not tell what its owner may read no longer.

Whoever makes or changes a subscription is its owner: the right to read was asked of them then. Here it is asked again
when it may have changed: the journal tells when a key or a person went or came (services/accounts writes it), and the
instant at which a key ends is waited for.
Promises: who is not known any more may read nothing; who asks twice is looked up once; a look-up that fails is tried
again and meanwhile what was known holds.
Does not: decide (model/access does), look at subscriptions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog

from shahar.services.lanes import Reads
from shahar.store.journal import Entry
from shahar.values.errors import ShaharError

LONGEST_S: Final = 3_600.0
AGAIN_S: Final = 5.0
_KINDS: Final = frozenset({"key.put", "key.dropped", "person.put", "person.dropped"})

log = structlog.get_logger(__name__)

Owner = tuple[str, str]
"""The id of an actor and the tenant in which it subscribed."""
Rights = Callable[[str, str], Awaitable[tuple[Reads, float | None]]]
"""Of an actor's id and a tenant: the types that it may read there, and the seconds after which that ends."""


class Owners:
    """What is known of owners; `changed` is told of those whose rights are another than they were."""

    def __init__(self, rights: Rights, changed: Callable[[Owner], None]) -> None:
        self._rights = rights
        self._changed = changed
        self._known: dict[Owner, Reads] = {}
        self._timers: dict[Owner, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def reads(self, owner: Owner) -> Reads:
        """What a learnt owner may read; nothing when it was never learnt."""
        return self._known.get(owner, frozenset())

    async def learn(self, owners: Iterable[Owner]) -> None:
        """Look up those who are not known yet; raises what the look-up raises."""
        for owner in set(owners) - self._known.keys():
            await self._look(owner)

    async def look(self, owner: Owner) -> Reads:
        """What an owner may read now, nobody being told when that changes."""
        return (await self._rights(*owner))[0]

    async def review(self, entries: Iterable[Entry]) -> None:
        """Look up again whomever these entries of the journal tell of."""
        told = {f"{entry.kind.partition('.')[0]}:{entry.key}" for entry in entries if entry.kind in _KINDS}
        for owner in [owner for owner in self._known if owner[0] in told] if told else ():
            await self._look(owner)

    def stop(self) -> None:
        """Wait for nobody any more."""
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()

    async def _look(self, owner: Owner) -> None:
        reads, ends_s = await self._rights(*owner)
        before = self._known.get(owner, reads)
        self._known[owner] = reads
        if ends_s is not None:
            self._later(owner, min(max(ends_s, 0.0) + 0.05, LONGEST_S))
        if before != reads:
            self._changed(owner)

    def _later(self, owner: Owner, wait_s: float) -> None:
        earlier = self._timers.pop(owner, None)
        if earlier is not None:
            earlier.cancel()
        self._timers[owner] = asyncio.get_running_loop().call_later(wait_s, self._due, owner)

    def _due(self, owner: Owner) -> None:
        task = asyncio.get_running_loop().create_task(self._look_later(owner))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_later(self, owner: Owner) -> None:
        try:
            await self._look(owner)
        except ShaharError as problem:
            log.warning("rights not looked up", owner=owner[0], problem=str(problem))
            self._later(owner, AGAIN_S)


async def everybody(_owner: str, _tenant: str) -> tuple[Reads, float | None]:
    """The rights of a house that asks nobody: everything, for ever."""
    return None, None
