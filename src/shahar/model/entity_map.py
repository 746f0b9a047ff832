"""Entity maps: which entities a question was about, and which sources know of each, so that its pages fit together.

The set of entities is fixed when the map is made. What an entity is, is asked again for every page, and one that fits
no longer leaves the map.
Promises: pure; a map tells an actor of the entities alone whose types the actor may read now; where a source told of an
id alone, without its types, that is everybody who may read every type.
Does not: keep maps (services/entity_maps), ask anybody.
Source: ETSI GS CIM 009 V1.9.1 clauses 4.5.25, 5.2.39, 4.3.6.7, 5.5.9.3, 5.14. Departure: 4.5.25 calls the end
`expiredBy`, table 5.2.39-1 `expiresAt`; here it is `expiresAt`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from shahar.model import temporal
from shahar.model.context import Source
from shahar.model.entity import check_uri
from shahar.values import instants
from shahar.values.bounds import ENTITY_MAP_ENTITIES, ENTITY_MAP_LONGEST_S, ENTITY_MAP_S, ID_CHARS
from shahar.values.errors import Invalid, TooMany
from shahar.values.instants import DAY, SECOND, Instant

HERE: Final = "@none"
"""In the place of a registration where an entity is held here (5.2.39)."""
TYPE: Final = "EntityMap"
PREFIX: Final = "urn:ngsi-ld:EntityMap:"
RULE: Final = "ETSI GS CIM 009 clause 5.2.39"
MONTH: Final = 30 * DAY
_READ_ONLY: Final = frozenset({"entityMap", "linkedMaps", "@context"})

Resource = Literal["entities", "temporal"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Who knows of an entity: registrations, and HERE. `types`: those that it had, None: nobody told."""

    sources: tuple[str, ...]
    types: tuple[str, ...] | None


@dataclass(slots=True)
class EntityMap:
    """A map. `owner`: who asked; `question`: what was asked, to be held against what is asked later; `context`: the
    @context it was asked in; `linked`: the maps that sources use themselves, by registration."""

    id: str
    tenant: str
    owner: str
    resource: Resource
    question: object
    context: Source
    expires_at: Instant
    entries: dict[str, Entry] = field(default_factory=dict)
    linked: dict[str, str] = field(default_factory=dict)

    def lives(self, at: Instant) -> bool:
        """Whether it may still be used."""
        return at < self.expires_at

    def drop(self, ids: Iterable[str]) -> None:
        """Take out entities that fit no longer."""
        for one in ids:
            self.entries.pop(one, None)

    def asked_of(self, ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Which of the ids each registration knows of."""
        found: dict[str, list[str]] = {}
        for one in ids:
            for source in self.sources_of(one):
                if source != HERE:
                    found.setdefault(source, []).append(one)
        return {source: tuple(listed) for source, listed in found.items()}

    def sources_of(self, entity_id: str) -> tuple[str, ...]:
        """Who knows of an entity; nobody, when it has left the map meanwhile."""
        entry = self.entries.get(entity_id)
        return () if entry is None else entry.sources

    def held_here(self, entity_id: str) -> bool:
        """Whether a part of the entity was here when the map was made."""
        return HERE in self.sources_of(entity_id)


def entries(
    here: Iterable[tuple[str, Sequence[str]]],
    elsewhere: Iterable[tuple[str, str, Sequence[str] | None]],
) -> dict[str, Entry]:
    """Who knows of which entity: first those `here` (id, types) in their order, then those that only sources know (id,
    registration, types). TooMany beyond ENTITY_MAP_ENTITIES."""
    sources: dict[str, list[str]] = {}
    types: dict[str, dict[str, None] | None] = {}
    for entity_id, source, kinds in [*((one, HERE, kinds) for one, kinds in here), *elsewhere]:
        known = sources.setdefault(entity_id, [])
        if source not in known:
            known.append(source)
        told = types.setdefault(entity_id, {} if kinds is not None else None)
        if kinds is not None:
            types[entity_id] = (told or {}) | dict.fromkeys(kinds)
        if len(sources) > ENTITY_MAP_ENTITIES:
            rule = f"at most {ENTITY_MAP_ENTITIES} entities in a map"
            raise TooMany("too many entities may match; ask for fewer", field="entityMap", rule=rule)
    alike: dict[Entry, Entry] = {}
    found: dict[str, Entry] = {}
    for entity_id, listed in sources.items():
        had = types[entity_id]
        entry = Entry(tuple(listed), None if had is None else tuple(had))
        found[entity_id] = alike.setdefault(entry, entry)  # thousands are equal: one object stands for them
    return found


def end(at: Instant, wished: str | None) -> Instant:
    """When a map that is made at `at` ends; `wished` is an ISO 8601 duration, cut to the longest. Invalid."""
    if wished is None:
        return at + ENTITY_MAP_S * SECOND
    try:
        period = temporal.parse_period(wished)
    except Invalid:
        rule = "ISO 8601 duration such as PT10M"
        raise Invalid(f"{wished!r:.40} is no duration", field="entityMapLifetime", rule=rule) from None
    if period.whole:  # a suggestion that says nothing
        return at + ENTITY_MAP_S * SECOND
    return at + min(period.months * MONTH + period.micros, ENTITY_MAP_LONGEST_S * SECOND)


def changed_end(body: dict[str, Any], map_id: str, at: Instant) -> Instant | None:
    """The end that a fragment of an EntityMap wishes, cut to the longest; None: it says nothing of it. Members that are
    read-only are passed over (5.2.39); an end in the past ends the map now. Invalid."""
    if body.get("id", map_id) != map_id:
        raise Invalid("a map's id cannot be changed", field="id", rule=RULE)
    if body.get("type", TYPE) != TYPE:
        raise Invalid("the type is EntityMap", field="type", rule=RULE)
    unknown = next((name for name in body if name not in {"id", "type", "expiresAt", *_READ_ONLY}), None)
    if unknown is not None:
        raise Invalid(f"{unknown!r:.60} is no member of an EntityMap", field=unknown[:60], rule=RULE)
    if "expiresAt" not in body:
        return None
    if not isinstance(body["expiresAt"], str):
        raise Invalid("expiresAt is a DateTime", field="expiresAt", rule="ETSI GS CIM 009 clause 4.6.3")
    wished = instants.parse(body["expiresAt"], "expiresAt")
    return min(wished, at + ENTITY_MAP_LONGEST_S * SECOND)


def document(one: EntityMap, types: Collection[str] | None) -> dict[str, Any]:
    """The map as an EntityMap, with the entities alone of which one of `types` may be read (None: all)."""
    shown = _shown(types)
    return {
        "id": one.id,
        "type": TYPE,
        "expiresAt": instants.text(one.expires_at),
        "entityMap": {entity_id: list(entry.sources) for entity_id, entry in one.entries.items() if shown(entry)},
        "linkedMaps": dict(one.linked),
    }


def _shown(types: Collection[str] | None) -> Callable[[Entry], bool]:
    if types is None:
        return lambda _: True
    held = frozenset(types)
    return lambda entry: entry.types is not None and not held.isdisjoint(entry.types)


def named(told: Any) -> str:
    """The address or id by which a source names a map, fit to stand in a header; empty for anything else."""
    fit = isinstance(told, str) and 0 < len(told) <= ID_CHARS and told.isascii() and told.isprintable()
    return told if fit and " " not in told else ""


def received(body: Any, most: int) -> list[str]:
    """The ids of entities in an EntityMap that a source sent. Invalid for anything else: a source is a stranger."""
    listed = body.get("entityMap") if isinstance(body, dict) else None
    if not isinstance(listed, dict):
        raise Invalid("an EntityMap has a member entityMap", field="entityMap", rule=RULE)
    return [check_uri(entity_id, "entityMap") for entity_id in list(listed)[:most]]
