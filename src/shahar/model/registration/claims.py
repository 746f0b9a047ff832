"""What a proxied registration claims for its source alone, and who else claims it.

Promises: `clash` is symmetric.
Does not: look at the store (services/registrations does), concern inclusive and auxiliary registrations, which conflict
with nothing.
Source: ETSI GS CIM 009 V1.9.1 clauses 4.3.6.3, 5.9.2.4, 5.9.3.4.
"""

from __future__ import annotations

from shahar.model import query as q
from shahar.model.registration.forms import EntityInfo, Information, Registration
from shahar.model.registration.match import id_matches


def clash(one: Registration, other: Registration) -> bool:
    """Whether the two cannot be there together: both proxied, one exclusive, and the same attribute of the same entity
    in both."""
    if one.id == other.id or not (one.proxied and other.proxied):
        return False
    if other.mode == "exclusive":
        one, other = other, one
    if one.mode != "exclusive":
        return False
    return any(_meet(mine, theirs) for mine in one.information for theirs in other.information)


def _meet(exclusive: Information, other: Information) -> bool:
    mine, theirs = exclusive.attrs, other.attrs
    if mine is not None and theirs is not None and mine.isdisjoint(theirs):
        return False
    return not other.entities or any(
        id_matches(info, entity.id) and _types_meet(info, entity)
        for info in other.entities
        for entity in exclusive.entities
    )


def _types_meet(one: EntityInfo, other: EntityInfo) -> bool:
    return not one.types or not other.types or not set(one.types).isdisjoint(other.types)


def claimed(registration: Registration) -> list[q.Query]:
    """Questions for the entities here that the registration would take from us; any answer is a conflict."""
    if not registration.proxied:
        return []
    found: list[q.Query] = []
    for information in registration.information:
        attrs = tuple(sorted(information.attrs or ()))
        found += [_query(registration, info, attrs) for info in information.entities] or [q.Query(attrs=attrs)]
    return found


def _query(registration: Registration, info: EntityInfo, attrs: tuple[str, ...]) -> q.Query:
    """An exclusive registration claims by id (its types do not matter), a redirect one by everything that it says."""
    types: q.Node | None = None
    if info.types and registration.mode == "redirect":
        named = tuple(q.TypeIs(iri) for iri in info.types)
        types = named[0] if len(named) == 1 else q.And(named)
    return q.Query(ids=(info.id,) if info.id else (), id_pattern=info.pattern, types=types, attrs=attrs)


def types_of(registration: Registration) -> tuple[str, ...]:
    """Every type that its information names; () when it also speaks of entities of any type."""
    found: set[str] = set()
    for information in registration.information:
        if not information.entities or any(not info.types for info in information.entities):
            return ()
        found |= {iri for info in information.entities for iri in info.types}
    return tuple(sorted(found))
