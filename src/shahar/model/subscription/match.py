"""Which change concerns whom.

Promises: `touches` needs the change alone, `concerns` also the document; both are total. The document of a notification
is the entity's present one with the change laid over it (`laid_over`), so that each change is seen as it was even when
the entity has moved on.
Does not: look for the subscriptions that a change may touch (index).

What triggers, where the clauses leave it open:
- an attribute is created by this change when its instance says so (createdAt = modifiedAt) and the entity did not
  have it before, as far as the change tells, else updated;
- an attribute that is written again as it was has not changed (5.8.6), where the change says so;
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
    {"types": [IRI], "set": {IRI: [instance]}, "gone": [[IRI, datasetId, old instance?]], "late": {...}}, and where
    somebody asks for it "was": [[IRI, datasetId, the instance that one of `set` took the place of]], "same": [[IRI,
    datasetId]], instances of `set` that differ in nothing from before, and "renewed", those that are new of a name
    and dataset that the entity had before; of a deleted entity "shell": its own instants and scopes."""

    @property
    def at(self) -> Instant: ...
    @property
    def kind(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def what(self) -> Any: ...


class Facts:
    """What of a change can trigger, reckoned once for all whom it may concern: names of attributes that it made,
    changed, took away."""

    __slots__ = ("changed", "gone", "key", "kind", "made", "set", "types")

    def __init__(self, told: Told) -> None:
        what = told.what
        self.kind, self.key, self.types = told.kind, told.key, what["types"]
        self.set: Collection[str] = what["set"].keys()
        self.gone = {row[0] for row in what["gone"]} if "gone" in what else frozenset[str]()
        self.made: set[str] = set()
        self.changed: set[str] = set()
        same, renewed = what.get("same", ()), what.get("renewed", ())
        for iri, instances in what["set"].items():
            for one in instances:
                if same and [iri, one.get("datasetId", "")] in same:
                    continue
                new = one.get("createdAt") == one.get("modifiedAt")
                if new and renewed and [iri, one.get("datasetId", "")] in renewed:
                    new = False
                (self.made if new else self.changed).add(iri)


def touches(subscription: Subscription, told: Told) -> bool:
    """Whether the change is of a subscribed entity, a watched attribute and a kind that triggers."""
    return touched_by(subscription, Facts(told))


def touched_by(subscription: Subscription, facts: Facts) -> bool:
    """The same of a change whose facts are known."""
    return _triggered(subscription, facts) and selected(subscription, facts.key, facts.types)


def selected(subscription: Subscription, entity_id: str, types: Collection[str]) -> bool:
    """Whether the entity is one that is subscribed to."""
    if not subscription.selectors:
        return True
    for selector in subscription.selectors:
        if selector.ids:
            if entity_id not in selector.ids:
                continue
        elif selector.id_pattern is not None and not selector.id_pattern.matches(entity_id):
            continue
        wanted = selector.types
        if wanted.iri in types if isinstance(wanted, q.TypeIs) else q.matches_types(wanted, types):
            return True
    return False


def _triggered(subscription: Subscription, facts: Facts) -> bool:
    triggers, watched = subscription.triggers, subscription.watched
    if facts.kind == "entity.deleted":
        if "entityDeleted" in triggers and (not watched or not watched.isdisjoint(facts.gone)):
            return True
    elif facts.kind == "entity.created":
        if "entityCreated" in triggers and (not watched or not watched.isdisjoint(facts.set)):
            return True
    elif facts.kind != "entity.updated":
        return False
    for trigger, names in (
        ("attributeUpdated", facts.changed),
        ("attributeCreated", facts.made),
        ("attributeDeleted", facts.gone),
    ):
        if names and trigger in triggers and (not watched or not watched.isdisjoint(names)):
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
        kept = shell or {"type": [], **what.get("shell", {})}
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


def readable(types: Collection[str] | None) -> Node | None:
    """The condition that an entity is of one of the types that somebody may read; None: of any."""
    if types is None:
        return None
    parts = tuple(q.TypeIs(kind) for kind in sorted(types))
    return parts[0] if len(parts) == 1 else q.Or(parts)
