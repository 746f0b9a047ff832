"""Entity maps in requests: which map a caller names or wishes, and what a request makes of it.

A map is named by the header NGSILD-EntityMap, by its id or its address; links to pages name it by `entityMap=ID`, for
an address carries no header.
Promises: a map that is another's, has ended or was never made is not there: a new one is made, and the answer says so
(201). Whoever uses a map is asked for their rights again: what it names is found by the question of now.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.7.1.4, 5.7.2.4, 5.5.9, 6.4.3.2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from shahar.model import entity_map
from shahar.model.context import Context
from shahar.model.entity_map import EntityMap, Resource
from shahar.services.entity_maps import Found, new_id
from shahar.services.federation.questions import Gathered
from shahar.values.errors import Invalid, NotFound
from shahar.web.exchange import Request
from shahar.web.ngsild.negotiate import check_id

ADDRESS: Final = "/ngsi-ld/v1/entityMaps/"
HEADER: Final = "NGSILD-EntityMap"
STEP: Final = 500
"""Entities of a map that are looked at together."""

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Use:
    """What a request has to do with entity maps: `held` is the one it uses, `wished` whether it wants one."""

    request: Request
    context: Context
    resource: Resource
    wished: bool = False
    lifetime: str | None = None
    held: EntityMap | None = None
    made: bool = False

    def among(self, entity_id: str) -> dict[str, tuple[str, ...]] | None:
        """Of which registrations an entity is to be asked; None: of all that match."""
        return None if self.held is None else self.held.asked_of([entity_id])

    @property
    def maps(self) -> dict[str, str]:
        """The maps that sources use themselves."""
        return {} if self.held is None else self.held.linked

    def make(self, here: Found, found: Gathered, question: object) -> EntityMap:
        """A new map of what is here and at sources. TooMany."""
        request = self.request
        self.held = EntityMap(
            new_id(),
            request.tenant,
            request.actor.id,
            self.resource,
            question,
            self.context.source,
            entity_map.end(request.at, self.lifetime),
            entity_map.entries(here, found.known),
            dict(found.maps),
        )
        self.made = True
        request.parts.entity_maps.keep(self.held)
        return self.held

    def note(self, here: Found, found: Gathered) -> None:
        """One entity was retrieved: make a map of it, if one is wished, or learn which maps its sources used."""
        if self.held is not None:
            self.held.linked.update(found.maps)
        elif self.wished:
            self.make(here, found, None)

    @property
    def headers(self) -> Headers:
        """Where the map is that was used."""
        return [] if self.held is None else [entity_map_header(self.held)]

    @property
    def status(self) -> int:
        """201 when the map was made for this answer, else 200."""
        return 201 if self.made else 200


def use_of(request: Request, context: Context, resource: Resource) -> Use:
    """The map that a request names, or wishes to have made. Invalid, also where the map was made in another @context
    (5.5.9.1)."""
    params = request.params
    told, lifetime = params.take("entityMap"), params.take("entityMapLifetime")
    entity_map.end(request.at, lifetime)
    named = request.headers.get(HEADER.lower())
    if named is None and told not in {None, "true", "false"}:
        named = told
    use = Use(request, context, resource, told not in {None, "false"} or named is not None, lifetime)
    if named is not None:
        map_id = id_in(named)
        held = request.parts.entity_maps.find(map_id, request.tenant, request.actor.id, request.at)
        use.held = held if held is not None and held.resource == resource else None
    if use.held is not None and use.held.context != context.source:
        rule = "ETSI GS CIM 009 clause 5.5.9.1: the same @context for all pages"
        raise Invalid("the entity map was made in another @context", field="Link", rule=rule)
    return use


def entity_map_header(held: EntityMap) -> tuple[bytes, bytes]:
    """The header that says where a map is."""
    return (HEADER.lower().encode(), f"{ADDRESS}{held.id}".encode())


def named_map(request: Request, resource: Resource) -> EntityMap | None:
    """The map that the header names, for a change of what it names; None: it names none. NotFound, for nothing may be
    changed by a map that is made anew."""
    named = request.headers.get(HEADER.lower())
    if named is None:
        return None
    held = request.parts.entity_maps.get(id_in(named), request.tenant, request.actor.id, request.at)
    if held.resource != resource:
        raise NotFound(f"entity map {held.id} is of another kind", field=HEADER)
    return held


def id_in(named: str) -> str:
    """The id of a map that is named by id or by address; Invalid."""
    return check_id(unquote(named.strip()).rpartition("/entityMaps/")[2], HEADER)


def named_in_links(request: Request, use: Use) -> None:
    """Let the links to other pages name the map."""
    if use.held is None:
        return
    given = request.headers.get(":query", "").split("&")
    kept = [part for part in given if part and part.partition("=")[0] not in {"entityMap", "entityMapLifetime"}]
    request.headers[":query"] = "&".join([*kept, f"entityMap={use.held.id}"])


@dataclass(slots=True)
class Window:
    """A page of a map: `fits` are the entities of it, in order, `total` how many the map names now."""

    fits: list[str]
    total: int
    more: bool


Look = Callable[[Sequence[str]], Awaitable[list[tuple[str, bool | None]]]]
"""Whether each of some entities fits the question now; None: nobody can tell, for a source is silent."""


@dataclass(frozen=True, slots=True)
class Pager:
    """Walks through a map until a page is full (5.5.9.3). `same`: the map was made for this very question, so that what
    does not fit leaves it; another question only leaves it out of its page. `every`: the map is looked at to its end,
    to be counted."""

    held: EntityMap
    limit: int
    offset: int
    same: bool
    every: bool

    async def walk(self, look: Look) -> Window:
        """The page. What nobody can tell of keeps its place, so that pages stay where they are while a source is
        silent; what lies before the page stays as well."""
        ids = tuple(self.held.entries)
        seen: list[tuple[str, bool | None]] = []
        end, full, at = self.offset + self.limit, 0, self.offset
        while at < len(ids) and (self.every or full < self.limit):
            some = ids[at : at + STEP if self.same else end]
            looked = await look(some)
            seen += looked
            full += sum(1 for _, fits in looked if fits is not False or not self.same)
            at += len(some)
        if self.same:
            self.held.drop(one for one, fits in seen if fits is False)
            seen = [(one, fits) for one, fits in seen if fits is not False]
        total = len(self.held.entries)
        return Window([one for one, fits in seen[: self.limit] if fits], total, end < total)


__all__ = ["ADDRESS", "HEADER", "Look", "Pager", "Use", "Window", "id_in", "named_in_links", "named_map", "use_of"]
