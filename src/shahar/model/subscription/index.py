"""Subscriptions in memory, found by what a change must have in common with them.

Promises: `Index.touched` never leaves out a subscription that the change touches, and looks only at those that have an
id, a type or a watched attribute in common with it, and at those that ask for everything.
Does not: look at documents (match.concerns, match.holds), know clocks: whoever asks leaves out the paused and expired.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.2.12, 5.2.33.
"""

from __future__ import annotations

from collections.abc import Iterator

from shahar.model.subscription.forms import Subscription
from shahar.model.subscription.match import Facts, Told, leaves, touched_by


class Index:
    """Subscriptions by what a change must have in common with them: an id, else a type, else a watched attribute."""

    def __init__(self) -> None:
        self._by: dict[tuple[str, str, str], dict[str, Subscription]] = {}
        self._keys: dict[tuple[str, str], tuple[tuple[str, str, str], ...]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, tenant: str, subscription: Subscription) -> None:
        """Take a subscription in, in the place of the one with its id."""
        self.drop(tenant, subscription.id)
        keys = tuple({(tenant, kind, value) for kind, value in _handles(subscription)})
        self._keys[tenant, subscription.id] = keys
        for key in keys:
            self._by.setdefault(key, {})[subscription.id] = subscription

    def drop(self, tenant: str, subscription_id: str) -> None:
        """Forget a subscription; nothing when it is not there."""
        for key in self._keys.pop((tenant, subscription_id), ()):
            listed = self._by[key]
            del listed[subscription_id]
            if not listed:
                del self._by[key]

    def touched(self, tenant: str, told: Told) -> list[Subscription]:
        """The subscriptions that the change touches, each once."""
        found: dict[str, Subscription] = {}
        facts: Facts | None = None
        for handle in self._handles_of(tenant, told):
            listed = self._by.get(handle)
            if listed is None:
                continue
            if facts is None:
                facts = Facts(told)
            for identifier, subscription in listed.items():
                if identifier not in found and touched_by(subscription, facts):
                    found[identifier] = subscription
        return list(found.values())

    def _handles_of(self, tenant: str, told: Told) -> Iterator[tuple[str, str, str]]:
        yield tenant, "id", told.key
        for iri in told.what["types"]:
            yield tenant, "type", iri
        for iri in told.what["set"]:
            yield tenant, "attr", iri
        for iri in {row[0] for row in told.what.get("gone", ())}:
            yield tenant, "attr", iri
        yield tenant, "any", ""


def _handles(subscription: Subscription) -> Iterator[tuple[str, str]]:
    if not subscription.selectors:
        yield from (("attr", iri) for iri in subscription.watched) if subscription.watched else [("any", "")]
    for selector in subscription.selectors:
        if selector.ids:
            yield from (("id", identifier) for identifier in selector.ids)
        elif selector.types is not None:
            yield from (("type", iri) for iri in leaves(selector.types))
        else:
            yield "any", ""
