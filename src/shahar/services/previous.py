"""What a change took the place of, for the journal's row of it: only where somebody subscribed asks for it.

For: `showChanges` (5.2.14.1), and the clause by which an attribute that is written again as it was has not changed
(5.8.6). Both need the document before the change, which the writer alone has.
Promises: a tenant without subscriptions pays one look into a dictionary; what is asked for is known in the writer's own
order, so that the first change after a subscription is told with what was before it.
Does not: keep values for those who subscribe later.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from shahar.model.entity import Doc, Instance
from shahar.store import records
from shahar.store.db import Tx
from shahar.values.instants import Instant

KIND: Final = "subscription"
SHOWING: Final = "subscription_showing"
_STAMPS: Final = ("createdAt", "modifiedAt")


def note(tx: Tx, tenant: int, subscription_id: str, shows: bool, at: Instant) -> None:
    """Remember, in the writer, whether a subscription that is there now shows changes; False also when it goes."""
    if shows:
        records.put(tx, SHOWING, tenant, subscription_id, {}, at, journaled=False)
    else:
        records.drop(tx, SHOWING, tenant, subscription_id, at, journaled=False)
    tx.memory.pop(_place(tenant), None)


def told(
    tx: Tx, tenant: int, old: Doc | None, put: Iterable[tuple[str, Instance]], *, ends: bool = False
) -> dict[str, Any]:
    """The members that the journal's row gets besides: "same", "renewed", "was" (model/subscription/match.Told).

    `put`: the instances that were set in the entity that was `old`; not looked at unless somebody asks. `ends`: the
    entity was deleted; then its own stamps and scopes are told ("shell"), for its row may be erased before anybody
    reads of it.
    """
    asked, showing = _asked(tx, tenant)
    if not asked or old is None:
        return {}
    found: dict[str, Any] = {}
    if ends:
        found["shell"] = {name: old[name] for name in ("createdAt", "modifiedAt", "scope") if name in old}
    for iri, one in put:
        was = _before(old, iri, one)
        if was is None:
            continue
        where = [iri, one.get("datasetId", "")]
        if _alike(one, was):
            found.setdefault("same", []).append(where)
        elif one["createdAt"] == one["modifiedAt"]:
            found.setdefault("renewed", []).append(where)
        if showing:
            found.setdefault("was", []).append([*where, was])
    return found


def wanted(tx: Tx, tenant: int) -> bool:
    """Whether somebody may ask what a change took the place of."""
    return _asked(tx, tenant)[0]


def _asked(tx: Tx, tenant: int) -> tuple[bool, bool]:
    """Whether the tenant has subscriptions, and whether one of them shows changes."""
    found: tuple[bool, bool] | None = tx.memory.get(_place(tenant))
    if found is None:
        found = records.count(tx, KIND, tenant) > 0, records.count(tx, SHOWING, tenant) > 0
        tx.memory[_place(tenant)] = found
    return found


def _place(tenant: int) -> str:
    return f"previous.{tenant}"


def _before(old: Doc, iri: str, one: Instance) -> Instance | None:
    dataset = one.get("datasetId", "")
    for other in old["attrs"].get(iri, ()):
        if other.get("datasetId", "") == dataset:
            found: Instance = other
            return found
    return None


def _alike(one: Instance, other: Instance) -> bool:
    """Whether two instances differ in nothing but the system's own instants."""
    if one.keys() != other.keys():
        return False
    return all(value == other[name] or name in _STAMPS for name, value in one.items())
