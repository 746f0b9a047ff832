"""Who subscribes to what in the measure of notifications, and which update is due to whom; pure.

Entities of TYPES types change one at a time; a subscription of each kind of filter is due for few of them, so
that an update is due to two of ten thousand subscriptions on the average. Who is due is reckoned here from the update
alone, not asked of the server.
Promises: the same numbers always give the same bodies; every update has a `turn` of its own, by which a notification
can be told.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

KIND: Final = "Meter"
ENTITIES_A_SUBSCRIPTION: Final = 0.47
TYPES: Final = 100
LEVELS: Final = 100
RARE: Final = 100
RARE_ONE_IN: Final = 50
GRID: Final = 0.01
SHARES: Final = {
    "id": 0.68,
    "id_and_q": 0.05,
    "id_pattern": 0.06,
    "type_and_q": 0.05,
    "type_and_near": 0.05,
    "type_and_scope": 0.05,
    "id_and_watched": 0.04,
    "watched_alone": 0.01,
    "type_deleted": 0.01,
}
"""Kind of filter -> its part of the subscriptions."""


@dataclass(frozen=True, slots=True)
class Update:
    """One update of an entity: its new level, and the rare attribute that it sets besides, or -1."""

    turn: int
    entity: int
    level: int
    rare: int

    @property
    def fragment(self) -> dict[str, Any]:
        """Its body."""
        body = {"turn": _number(self.turn), "level": _number(self.level)}
        return body | ({f"rare{self.rare}": _number(self.turn)} if self.rare >= 0 else {})


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription: its number, its kind and what it is about; its endpoint is its number modulo the endpoints."""

    number: int
    kind: str
    entity: int
    level: int
    rare: int


def entity_id(number: int) -> str:
    """The id of an entity."""
    return f"urn:ngsi-ld:{KIND}:{number:05d}"


def subscription_id(number: int) -> str:
    """The id of a subscription."""
    return f"urn:ngsi-ld:Subscription:{number:05d}"


def entity(number: int) -> dict[str, Any]:
    """A whole entity before its first update."""
    return {
        "id": entity_id(number),
        "type": _type(number),
        "scope": f"/city/d{number // TYPES}",
        "turn": _number(-1),
        "level": _number(0),
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": _place(number)}},
    }


def entities(count: int) -> int:
    """How many entities there are for so many subscriptions: with these an update is due to two."""
    return round(count * ENTITIES_A_SUBSCRIPTION)


def subscriptions(count: int) -> list[Subscription]:
    """So many subscriptions, each kind of filter in its part, mixed."""
    among = entities(count)
    chance = random.Random(7)
    kinds = [kind for kind, share in SHARES.items() for _ in range(round(share * count))]
    kinds = (kinds + ["id"] * count)[:count]
    chance.shuffle(kinds)
    return [
        Subscription(number, kind, chance.randrange(among), chance.randrange(LEVELS), chance.randrange(RARE))
        for number, kind in enumerate(kinds)
    ]


def body(one: Subscription, uri: str) -> dict[str, Any]:
    """What is posted to subscribe."""
    return {
        "id": subscription_id(one.number),
        "type": "Subscription",
        "notification": {"endpoint": {"uri": uri, "accept": "application/json"}},
        **_FILTERS[one.kind](one),
    }


def updates(first: int, seed: int, among: int) -> Iterator[Update]:
    """Updates of so many entities without an end, from turn `first` on."""
    chance = random.Random(seed)
    while True:
        rare = chance.randrange(RARE) if chance.randrange(RARE_ONE_IN) == 0 else -1
        yield Update(first, chance.randrange(among), chance.randrange(LEVELS), rare)
        first += 1


class Due:
    """Tells whom an update is due to."""

    def __init__(self, held: list[Subscription]) -> None:
        self._by_entity: dict[int, list[Subscription]] = {}
        self._by_level: dict[tuple[str, int], list[Subscription]] = {}
        self._by_rare: dict[int, list[Subscription]] = {}
        for one in held:
            if one.kind == "type_and_q":
                self._by_level.setdefault((_type(one.entity), one.level), []).append(one)
            elif one.kind == "watched_alone":
                self._by_rare.setdefault(one.rare, []).append(one)
            elif one.kind != "type_deleted":
                self._by_entity.setdefault(one.entity, []).append(one)

    def of(self, update: Update) -> list[int]:
        """The numbers of the subscriptions that the update is due to."""
        found = self._by_level.get((_type(update.entity), update.level), []) + self._by_rare.get(update.rare, [])
        for one in self._by_entity.get(update.entity, ()):
            if one.kind != "id_and_q" or update.level < LEVELS // 2:
                found = [*found, one]
        return [one.number for one in found]


def _number(value: int) -> dict[str, Any]:
    return {"type": "Property", "value": value}


def _type(number: int) -> str:
    return f"{KIND}{number % TYPES}"


def _place(number: int) -> list[float]:
    return [round(69 + GRID * (number % TYPES), 6), round(41 + GRID * (number // TYPES), 6)]


def _selected(one: Subscription, **more: Any) -> dict[str, Any]:
    return {"entities": [{"type": _type(one.entity), **more}]}


_FILTERS: Final[dict[str, Callable[[Subscription], dict[str, Any]]]] = {
    "id": lambda one: _selected(one, id=entity_id(one.entity)),
    "id_and_q": lambda one: {**_selected(one, id=entity_id(one.entity)), "q": f"level<{LEVELS // 2}"},
    "id_pattern": lambda one: _selected(one, idPattern=f"Meter:{one.entity:05d}$"),
    "type_and_q": lambda one: {**_selected(one), "q": f"level=={one.level};turn>=0"},
    "type_and_near": lambda one: {
        **_selected(one),
        "geoQ": {"georel": "near;maxDistance==200", "geometry": "Point", "coordinates": _place(one.entity)},
    },
    "type_and_scope": lambda one: {**_selected(one), "scopeQ": f"/city/d{one.entity // TYPES}"},
    "id_and_watched": lambda one: {**_selected(one, id=entity_id(one.entity)), "watchedAttributes": ["turn"]},
    "watched_alone": lambda one: {"watchedAttributes": [f"rare{one.rare}"]},
    "type_deleted": lambda one: {**_selected(one), "notificationTrigger": ["entityDeleted", "attributeDeleted"]},
}
