"""Which change concerns whom.

Promises: `touches` needs the change alone, `concerns` also the document; both are total. The document of a notification
is the entity's present one with the change laid over it (`laid_over`), so that each change is seen as it was even when
the entity has moved on.
Does not: look for the subscriptions that a change may touch (index).

What triggers, where the clauses leave it open:
- an attribute is created by this change when its instance says so (createdAt = modifiedAt), else updated;
- a new entity's attributes are created, a deleted entity's attributes are deleted;
- readings that came late (older than the present value) belong to history and trigger nothing; neither does a change of
  types or scopes alone, since entityUpdated means its attributes (5.2.12);
- q, geoQ and scopeQ are held against the document after the change; for a deleted entity against what it was, as far as
  the change tells, and where it does not tell they do not hold the notification back.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.2.12, 5.2.33, 5.8.6.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Protocol

from shahar.model import query as q
from shahar.model.entity import Doc, Instance
from shahar.model.query import Node
from shahar.model.subscription.forms import Record, Subscription, compiled
from shahar.values.instants import Instant


class Told(Protocol):
    """A change as the journal tells it: `kind` entity.created, .updated or .deleted; `key` the entity's id; `what`
    {"types": [IRI], "set": {IRI: [instance]}, "gone": [[IRI, datasetId, old instance?]], "late": {...}}."""

    @property
    def at(self) -> Instant: ...
    @property
    def kind(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def what(self) -> Any: ...


def touches(subscription: Subscription, told: Told) -> bool:
    """Whether the change is of a subscribed entity, a watched attribute and a kind that triggers."""
    return _triggered(subscription, told) and _selected(subscription, told.key, told.what["types"])


def _selected(subscription: Subscription, entity_id: str, types: Collection[str]) -> bool:
    if not subscription.selectors:
        return True
    for selector in subscription.selectors:
        if selector.ids:
            if entity_id not in selector.ids:
                continue
        elif selector.id_pattern is not None and not selector.id_pattern.matches(entity_id):
            continue
        if q.matches_types(selector.types, types):
            return True
    return False


def _triggered(subscription: Subscription, told: Told) -> bool:
    triggers, watched, what = subscription.triggers, subscription.watched, told.what
    if told.kind == "entity.deleted":
        if "entityDeleted" in triggers and (not watched or any(row[0] in watched for row in what.get("gone", ()))):
            return True
    elif told.kind == "entity.created":
        if "entityCreated" in triggers and (not watched or not watched.isdisjoint(what["set"])):
            return True
    elif told.kind != "entity.updated":
        return False
    if "attributeDeleted" in triggers and any(not watched or row[0] in watched for row in what.get("gone", ())):
        return True
    made, changed = "attributeCreated" in triggers, "attributeUpdated" in triggers
    if not (made or changed):
        return False
    for iri, instances in what["set"].items():
        if not watched or iri in watched:
            for one in instances:
                if made if one.get("createdAt") == one.get("modifiedAt") else changed:
                    return True
    return False


def concerns(subscription: Subscription, told: Told, doc: Doc, follow: q.Follow | None = None) -> bool:
    """Whether the change is to be notified; `doc` is the document as `laid_over` gives it."""
    if not touches(subscription, told):
        return False
    return holds(subscription, before(told, doc) if told.kind == "entity.deleted" else doc, follow)


def holds(subscription: Subscription, doc: Doc | None, follow: q.Follow | None = None) -> bool:
    """Whether q, geoQ and scopeQ hold for the document; None (nothing is known of it) holds nothing back."""
    if doc is None:
        return True
    if subscription.scope is not None and not q.matches_scope(subscription.scope, doc.get("scope", ())):
        return False
    if subscription.q is not None and not q.matches_q(subscription.q, doc, follow):
        return False
    return subscription.geo is None or q.matches_geo(subscription.geo, doc)


def before(told: Told, doc: Doc) -> Doc | None:
    """A deleted entity as it was, when the change tells the instances that went; None when it does not."""
    attrs: dict[str, list[Instance]] = {}
    for row in told.what.get("gone", ()):
        if len(row) < 3:
            return None
        attrs.setdefault(row[0], []).append(row[2])
    return {**doc, "attrs": attrs}


def laid_over(told: Told, present: Doc | None) -> Doc:
    """The entity's document at this change: the present one with the change's instances over it.

    `present`: the living document, or the shell that a deleted entity leaves (with deletedAt), or None.
    """
    what = told.what
    shell = present if present is not None and "deletedAt" in present else None
    if told.kind == "entity.deleted":
        kept = shell or {"type": []}
        return {**kept, "id": told.key, "type": what["types"] or kept["type"], "attrs": {}, "deletedAt": told.at}
    if present is None or shell is not None:
        base = {key: value for key, value in (shell or {}).items() if key != "deletedAt"}
        doc: Doc = {**base, "id": told.key, "type": what["types"]}
        attrs: dict[str, list[Instance]] = {}
    else:
        doc, attrs = dict(present), dict(present["attrs"])
    for row in what.get("gone", ()):
        _without(attrs, row[0], row[1])
    for iri, instances in what["set"].items():
        for one in instances:
            _with(attrs, iri, one)
    changed = [one["modifiedAt"] for instances in what["set"].values() for one in instances if "modifiedAt" in one]
    if changed:
        doc["modifiedAt"] = max(changed)
    doc["attrs"] = attrs
    return doc


def _without(attrs: dict[str, list[Instance]], iri: str, dataset: str) -> None:
    left = [one for one in attrs.get(iri, ()) if one.get("datasetId", "") != dataset]
    if left:
        attrs[iri] = left
    else:
        attrs.pop(iri, None)


def _with(attrs: dict[str, list[Instance]], iri: str, one: Instance) -> None:
    dataset = one.get("datasetId", "")
    others = [other for other in attrs.get(iri, ()) if other.get("datasetId", "") != dataset]
    attrs[iri] = sorted([*others, one], key=lambda each: str(each.get("datasetId", ""))) if others else [one]


def types_of(record: Record) -> tuple[str, ...]:
    """Every type that the record's selectors name; () when it also asks for entities of any type."""
    found: set[str] = set()
    for selector in compiled(record).selectors:
        if selector.types is None:
            return ()
        found |= set(leaves(selector.types))
    return tuple(sorted(found))


def leaves(node: Node) -> Iterator[str]:
    """Every type that a type selection names."""
    match node:
        case q.TypeIs(iri):
            yield iri
        case q.And(parts) | q.Or(parts):
            for part in parts:
                yield from leaves(part)
