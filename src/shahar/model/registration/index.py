"""Registrations of one tenant in memory, found by what an ask must have in common with them.

Promises: `candidates` never leaves out a registration that the ask matches.
Does not: match (match), know clocks.
Source: ETSI GS CIM 009 V1.9.1 clause 5.12.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shahar.model.registration.forms import Registration
from shahar.model.registration.match import Ask
from shahar.model.subscription.match import leaves

_Key = tuple[str, str]
_ANY: _Key = ("any", "")
_OPEN: _Key = ("open", "")


class Index:
    """Registrations by type and by id."""

    def __init__(self) -> None:
        self._held: dict[str, Registration] = {}
        self._by: dict[_Key, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._held.values())

    def get(self, registration_id: str) -> Registration | None:
        """The registration of an id."""
        return self._held.get(registration_id)

    def put(self, registration: Registration) -> None:
        """Take a registration in, in the place of the one with its id."""
        held = self._held.get(registration.id)
        if held is not None:
            self._unlist(held)
        self._held[registration.id] = registration
        for key in _keys(registration):
            self._by.setdefault(key, {})[registration.id] = None

    def drop(self, registration_id: str) -> None:
        """Forget a registration; nothing when it is not there."""
        held = self._held.pop(registration_id, None)
        if held is not None:
            self._unlist(held)

    def candidates(self, ask: Ask) -> list[Registration]:
        """The registrations that the ask may match, each once, the oldest first."""
        keys = _keys_of(ask)
        if keys is None:
            found: Iterable[str] = self._held
        else:
            found = {one for key in keys for one in self._by.get(key, ())}
        return sorted((self._held[one] for one in found), key=lambda registration: registration.born)

    def _unlist(self, registration: Registration) -> None:
        for key in _keys(registration):
            listed = self._by[key]
            del listed[registration.id]
            if not listed:
                del self._by[key]


def _keys(registration: Registration) -> set[_Key]:
    """By type, for asks that name types; by id or among those open to any id, for asks that name ids alone."""
    found: set[_Key] = set()
    for information in registration.information:
        if not information.entities:
            found |= {_ANY, _OPEN}
        for info in information.entities:
            found |= {("type", iri) for iri in info.types} or {_ANY}
            found.add(("id", info.id) if info.id else _OPEN)
    return found


def _keys_of(ask: Ask) -> list[_Key] | None:
    """None: nothing narrows."""
    if ask.types is not None or ask.of_types:
        types = leaves(ask.types) if ask.types is not None else iter(ask.of_types)
        return [_ANY, *(("type", iri) for iri in types)]
    if ask.ids:
        return [_OPEN, *(("id", one) for one in ask.ids)]
    return None
