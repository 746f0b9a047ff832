"""The past of the city told, corrected and taken out; one store with the present.

What is told of the past goes through the broker's own writing: document, history and journal in one transaction. A
correction or a deletion in history that concerns the present value changes the present as well, for the present value
is the newest of its series. Taking out the whole evolution takes out the entity.
Promises: each change writes its journal row in its own transaction; what may be long is done piece by piece, so that no
other writer waits for a million rows.
Does not: speak HTTP or SQL; check rights; answer questions (services/temporal); read the clock.
Source: ETSI GS CIM 009 clauses 5.6.11 to 5.6.16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import orjson

from shahar.model import evolution
from shahar.model.change import Applied
from shahar.model.entity import Doc, Instance
from shahar.model.evolution import Chronicle
from shahar.model.told import tell as texts
from shahar.services import previous, rows
from shahar.services.broker import Broker
from shahar.store import entities, history, instances, journal, tenants
from shahar.store.db import Tx
from shahar.store.instances import Place
from shahar.values.bounds import TEMPORAL_TOLD
from shahar.values.errors import NotFound
from shahar.values.instants import Instant

__all__ = ["correct", "drop", "drop_attribute", "drop_instance", "tell"]

BRIEF: Final = 50
"""Instances told at once up to which other answers may wait until they are written."""


async def tell(broker: Broker, tenant: str, told: Chronicle, at: Instant, *, create: bool) -> bool:
    """Add what is told to the entity's past, and to its present what is newest; whether the entity was new.

    `create`: an entity that was never known is made, else NotFound.
    """
    count = sum(1 for _ in told.instances())
    return await broker.db.write(lambda tx: _tell(tx, tenant, told, at, create), long=count > BRIEF)


def _tell(tx: Tx, tenant: str, told: Chronicle, at: Instant, create: bool) -> bool:
    entity_id = told.doc["id"]
    try:
        number = tenants.number(tx, tenant)
    except NotFound:
        if not create or not told.doc.get("type"):
            raise
        number = tenants.make(tx, tenant, at)
    held = entities.load(tx, number, entity_id)
    if held is None and not create:
        raise _unknown(entity_id)
    scopes = evolution.scopes_at(told, at, since_ever=held is None)
    told = _with_scope(tx, told, held, scopes)
    old = held.read() if held else None
    if held is not None and old is None:
        applied = _of_the_dead(orjson.loads(held.text), told, at)
    else:
        applied = evolution.tell(told, old, at)
    applied.late += [(history.SCOPE, one) for _, one in scopes]
    rows.write(tx, number, entity_id, held, old, applied, at)
    return held is None


def _unknown(entity_id: str) -> NotFound:
    return NotFound(f"entity {entity_id} does not exist", field="id")


def _with_scope(
    tx: Tx, told: Chronicle, held: entities.Held | None, scopes: Sequence[tuple[Instant, Instance]]
) -> Chronicle:
    """The newest scopes told are the present ones when history has no newer."""
    if not scopes:
        return told
    since, newest = scopes[-1]
    if held is not None:
        last = instances.newest(tx, held.pk, history.name(tx, history.SCOPE), 0)
        if last is not None and last[0].at > since:
            return told
    return replace(told, doc={**told.doc, "scope": newest["value"]})


def _of_the_dead(shell: Doc, told: Chronicle, at: Instant) -> Applied:
    """What is told of a deleted entity: it lives again when something was observed after its deletion."""
    known: list[str] = shell["type"]
    kinds = known + [kind for kind in told.doc.get("type", ()) if kind not in known]
    if any(one.get("observedAt", at) > shell["deletedAt"] for one in told.instances()):
        return evolution.tell(replace(told, doc={**told.doc, "type": kinds}), None, at)
    return Applied(shell, late=evolution.stamped(told, at))


async def correct(
    broker: Broker, tenant: str, entity_id: str, attr: str, instance_id: str, new: Instance, at: Instant
) -> None:
    """Put `new` in the place of one instance, whose id and createdAt stay; NotFound."""
    await broker.db.write(lambda tx: _correct(tx, tenant, entity_id, attr, instance_id, new, at))


def _correct(tx: Tx, tenant: str, entity_id: str, attr: str, instance_id: str, new: Instance, at: Instant) -> None:
    known = _Known(tx, tenant, entity_id)
    old, doc = known.instance(attr, instance_id)
    kept: Instance = {key: doc[key] for key in ("createdAt", "observedAt", "datasetId", "instanceId") if key in doc}
    changed: Instance = {**kept, **new, "modifiedAt": at}
    dataset = changed.get("datasetId")
    observed = changed.get("observedAt")
    place = Place(
        old.at if observed is None else observed,
        old.attr,
        history.name(tx, dataset) if dataset else 0,
        history.UNOBSERVED if observed is None else history.OBSERVED,
    )
    instances.put(tx, known.tenant, known.pk, old, place, instance_id, changed, at)
    known.settle(attr, doc, changed, at)


# -- taken out --------------------------------------------------------------------------------------------------------


async def drop_instance(broker: Broker, tenant: str, entity_id: str, attr: str, instance_id: str, at: Instant) -> None:
    """Take out one instance; NotFound. When it was the present value, the one before it is that now."""

    def work(tx: Tx) -> None:
        known = _Known(tx, tenant, entity_id)
        old, doc = known.instance(attr, instance_id)
        instances.drop(tx, known.tenant, known.pk, old, instance_id, at)
        known.settle(attr, doc, None, at)

    await broker.db.write(work)


async def drop_attribute(
    broker: Broker, tenant: str, entity_id: str, attr: str, dataset: str, at: Instant, *, every: bool
) -> None:
    """Take out an attribute's instances of one dataset (empty: the default one), or of all, past and present;
    NotFound."""

    def begin(tx: Tx) -> _Clearing:
        known = _Known(tx, tenant, entity_id)
        number = history.number(tx, attr)
        of = None if every else history.number(tx, dataset) if dataset else 0
        unknown = number is None or (of is None and not every)
        if unknown or not instances.has(tx, known.pk, number or 0, of):
            which = f" with datasetId {dataset}" if dataset else ""
            raise NotFound(f"entity {entity_id} has no attribute {attr}{which} in its past", field="attrId")
        known.forget(attr, None if every else dataset, at)
        return _Clearing(known, at, number, of)

    await _clear(broker, begin, lambda _tx, _clearing: None)


async def drop(broker: Broker, tenant: str, entity_id: str, at: Instant) -> None:
    """Take out an entity with all its past; NotFound."""

    def begin(tx: Tx) -> _Clearing:
        known = _Known(tx, tenant, entity_id)
        known.bury(at)
        return _Clearing(known, at)

    def end(tx: Tx, clearing: _Clearing) -> None:
        if entities.erase(tx, clearing.tenant, clearing.pk, entity_id):
            instances.forget(tx, clearing.tenant, clearing.pk)

    await _clear(broker, begin, end)


class _Clearing:
    """Rows of history being taken out: those of an entity (of one attribute, one dataset) up to those written until the
    clearing began."""

    def __init__(self, known: _Known, at: Instant, attr: int | None = None, dataset: int | None = None) -> None:
        doc = known.doc
        self.tenant, self.pk, self.attr, self.dataset = known.tenant, known.pk, attr, dataset
        # instances without instants that were told together stand some microseconds apart, the last behind its request
        self.until = max(at, doc["modifiedAt"] if doc else at) + TEMPORAL_TOLD

    def step(self, tx: Tx, since: Instant | None) -> Instant | None:
        """Take out the rows from an instant on; where to go on, None when it is done."""
        return instances.clear(tx, self.pk, since, self.until, self.attr, self.dataset)


async def _clear(broker: Broker, begin: Callable[[Tx], _Clearing], end: Callable[[Tx, _Clearing], None]) -> None:
    """Begin and end in one transaction where little is to be taken out; else piece by piece, so that others come in
    between."""

    def first(tx: Tx) -> tuple[_Clearing, Instant | None]:
        clearing = begin(tx)
        since = clearing.step(tx, None)
        if since is None:
            end(tx, clearing)
        return clearing, since

    clearing, since = await broker.db.write(first)
    if since is None:
        return
    while since is not None:
        since = await broker.db.write(partial(clearing.step, since=since), long=True)
    await broker.db.write(lambda tx: end(tx, clearing))


class _Known:
    """An entity that history knows, living or deleted, in the writer; NotFound."""

    def __init__(self, tx: Tx, tenant: str, entity_id: str) -> None:
        self.tx, self.id = tx, entity_id
        self.tenant = tenants.number(tx, tenant)
        held = entities.load(tx, self.tenant, entity_id)
        if held is None:
            raise _unknown(entity_id)
        self.held, self.pk, self.doc = held, held.pk, held.read()

    def instance(self, attr: str, instance_id: str) -> tuple[Place, dict[str, Any]]:
        """The place and document of an instance; NotFound."""
        number = history.number(self.tx, attr)
        if number is None or not instances.has(self.tx, self.pk, number, None):
            raise NotFound(f"entity {self.id} has no attribute {attr} in its past", field="attrId")
        found = instances.find(self.tx, self.tenant, self.pk, number, instance_id)
        if found is None:
            raise NotFound(f"attribute {attr} has no instance {instance_id}", field="instanceId")
        return found

    def settle(self, attr: str, old: Instance, new: Instance | None, at: Instant) -> None:
        """Write the journal's row of a correction in history, and the present where it concerns that: `old` was the
        present value of its series, or `new` is not older than that of its own."""
        doc = self.doc
        applied = Applied(doc)
        if doc is not None and attr in doc["attrs"]:
            applied.doc = {**doc, "attrs": dict(doc["attrs"]), "modifiedAt": max(at, doc["modifiedAt"] + 1)}
            for one in doc["attrs"][attr]:
                was = one == _bare(old)
                if was or (new is not None and _dataset(one) == _dataset(new) and _at(new) >= _at(one)):
                    self._renew(applied, attr, one)
        self._write(applied, at)

    def _renew(self, applied: Applied, attr: str, old: Instance) -> None:
        """Put the newest instance of history in the place of a present one."""
        assert applied.doc is not None
        attrs = applied.doc["attrs"]
        dataset = _dataset(old)
        number = history.name(self.tx, dataset) if dataset else 0
        found = instances.newest(self.tx, self.pk, history.name(self.tx, attr), number)
        new = _bare(found[1]) if found else None
        if new == old:
            return
        rest = [one for one in attrs[attr] if one is not old]
        if new is None:
            applied.gone.append((attr, old))
        else:
            applied.set.append((attr, new))
            rest = sorted([*rest, new], key=_dataset)
        if rest:
            attrs[attr] = rest
        else:
            del attrs[attr]

    def forget(self, attr: str, dataset: str | None, at: Instant) -> None:
        """Take an attribute (one dataset of it, unless that is None) out of the present, leaving no mark in history."""
        doc = self.doc
        applied = Applied(doc)
        if doc is not None and attr in doc["attrs"]:
            listed = doc["attrs"][attr]
            going = [one for one in listed if dataset is None or one.get("datasetId", "") == dataset]
            staying = [one for one in listed if one not in going]
            attrs = {iri: each for iri, each in doc["attrs"].items() if iri != attr}
            applied.doc = {**doc, "attrs": {**attrs, attr: staying} if staying else attrs}
            applied.doc["modifiedAt"] = max(at, doc["modifiedAt"] + 1)
            applied.gone = [(attr, one) for one in going]
        elif doc is not None and attr == history.SCOPE and history.SCOPE in doc:
            applied.doc = {key: value for key, value in doc.items() if key != history.SCOPE}
            applied.shell = True
        self._write(applied, at)

    def bury(self, at: Instant) -> None:
        """Delete the present entity, if it lives."""
        doc = self.doc
        if doc is None:
            self._write(Applied(None), at)
            return
        gone = [(iri, one) for iri, listed in doc["attrs"].items() for one in listed]
        self._write(Applied(None, gone=gone), at)

    def _write(self, applied: Applied, at: Instant) -> None:
        """The rows of document and journal; those of history are written already."""
        lives = self.doc is not None
        if lives:
            rows.document(self.tx, self.tenant, self.id, self.held, self.doc, applied, at)
        types = applied.doc["type"] if applied.doc else self.doc["type"] if self.doc else []
        kind = "entity.deleted" if lives and applied.doc is None else "entity.updated"
        before = previous.told(self.tx, self.tenant, self.doc, applied.set, ends=applied.doc is None)
        what = rows.accounted(types, applied, texts(applied.set).attrs, before)
        journal.append(self.tx, self.tenant, at, kind, self.id, what)


def _dataset(one: Instance) -> str:
    return str(one.get("datasetId", ""))


def _at(one: Instance) -> Instant:
    return evolution.moment(one, "")


def _bare(one: Instance) -> Instance:
    """An instance of history as the present holds it."""
    return {key: value for key, value in one.items() if key != "instanceId"}
