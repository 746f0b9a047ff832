"""The entity maps that callers use now: kept in memory, each by the one who asked for it.

Promises
- A map is known to its owner, in its tenant, until it ends; to everybody else it is not there.
- Bounded: so many maps an actor, so many entities a map and in all maps together. Who asks for more loses the maps
  that were longest unused, of the actor whose maps name most; who comes back with such a map gets a new one.
- What has ended leaves the memory within SWEEP_S, whether anybody asks or not.
Does not: outlive the process (the standard lets a broker make a lost map anew, and reading must not write to the disk);
decide what may be read (web asks model/access again at every use).
Source: ETSI GS CIM 009 V1.9.1 clauses 5.14, 5.7.1.4, 5.7.2.4.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from uuid import uuid4

from shahar.model import ordering
from shahar.model import query as q
from shahar.model.entity_map import PREFIX, EntityMap
from shahar.services import temporal
from shahar.services.broker import Broker
from shahar.services.temporal import Asked
from shahar.store import entities, tenants
from shahar.store.db import Tx
from shahar.values.bounds import ENTITY_MAP_ENTITIES, ENTITY_MAPS, ENTITY_MAPS_ENTITIES
from shahar.values.errors import NotFound
from shahar.values.instants import Instant

SWEEP_S = 10.0

Owner = tuple[str, str]
"""Tenant and id of an actor."""


class EntityMaps:
    """The service. `now()` is the clock by which maps end on their own, between `start` and `stop`."""

    def __init__(self, now: Callable[[], Instant] | None = None) -> None:
        self._now = now
        self._held: OrderedDict[str, EntityMap] = OrderedDict()
        self._sweeping: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, new: EntityMap) -> None:
        """Take up a new map, and make room for it."""
        owner = _owner(new)
        own = [one for one in self._held.values() if _owner(one) == owner]
        for one in own[: max(0, len(own) - ENTITY_MAPS + 1)]:
            del self._held[one.id]
        self._held[new.id] = new
        while sum(map(_weight, self._held.values())) > ENTITY_MAPS_ENTITIES:
            del self._held[self._largest(new).id]

    def _largest(self, new: EntityMap) -> EntityMap:
        """The map longest unused of the owner whose maps name most; not the newest."""
        sizes: Counter[Owner] = Counter()
        for one in self._held.values():
            sizes[_owner(one)] += _weight(one)
        for owner, _ in sizes.most_common():
            for one in self._held.values():
                if _owner(one) == owner and one is not new:
                    return one
        return new

    def get(self, map_id: str, tenant: str, actor_id: str, at: Instant) -> EntityMap:
        """The map, when it is the actor's own and lives; NotFound."""
        found = self.find(map_id, tenant, actor_id, at)
        if found is None:
            raise NotFound(f"entity map {map_id} does not exist", field="id")
        return found

    def find(self, map_id: str, tenant: str, actor_id: str, at: Instant) -> EntityMap | None:
        """The map, when it is the actor's own and lives; it counts as used."""
        found = self._held.get(map_id)
        if found is None or _owner(found) != (tenant, actor_id) or not found.lives(at):
            return None
        self._held.move_to_end(map_id)
        return found

    def drop(self, one: EntityMap) -> None:
        """Forget a map."""
        self._held.pop(one.id, None)

    # -- running ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """End maps on their own from now on."""
        self._sweeping = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """End none any more."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
            self._sweeping = None

    async def _sweep(self) -> None:
        while self._now is not None:
            await asyncio.sleep(SWEEP_S)
            self.sweep(self._now())

    def sweep(self, at: Instant) -> None:
        """Forget what has ended."""
        for one in [one for one in self._held.values() if not one.lives(at)]:
            del self._held[one.id]


def _weight(one: EntityMap) -> int:
    """What a map counts for: its entities, and the map itself as some."""
    return len(one.entries) + 10


def _owner(one: EntityMap) -> Owner:
    return (one.tenant, one.owner)


def new_id() -> str:
    """An id for a map, which nobody can guess."""
    return f"{PREFIX}{uuid4()}"


# -- what is here -----------------------------------------------------------------------------------------------------

Found = list[tuple[str, Sequence[str]]]
"""Ids and types of entities."""


async def found_here(broker: Broker, tenant: str, query: q.Query, order: ordering.Order = ()) -> Found:
    """The entities here that match now, in `order` or that of creation; one more than a map holds at most. NoTenant."""

    def work(tx: Tx) -> Found:
        number = tenants.number(tx, tenant)
        if order:
            found = entities.find(tx, number, query, limit=ENTITY_MAP_ENTITIES + 1, order=order)
            return [(doc["id"], doc["type"]) for doc in found.docs]
        until = entities.last(tx)
        rows = entities.scan(tx, number, query, after=0, until=until, limit=ENTITY_MAP_ENTITIES + 1)
        return [(entity_id, types) for _, entity_id, types in rows]

    return await broker.db.read(work)


async def past_here(broker: Broker, tenant: str, query: q.Query, asked: Asked, order: str = "") -> Found:
    """The entities whose past here matches, likewise; `asked` is taken without what would be shown."""
    answer = await temporal.find(broker, tenant, query, asked, limit=ENTITY_MAP_ENTITIES + 1, order=order)
    return [(past.doc["id"], past.doc["type"]) for past in answer.found]
