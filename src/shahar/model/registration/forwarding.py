"""Subscriptions at sources: which of ours are forwarded to whom, what of them, and what a source may tell us.

A subscription that is not local is copied to every exclusive, redirect and inclusive source that matches it and offers
createSubscription (5.8.1.4). The copy is reduced to what the registration covers, and tells nothing of the subscriber:
neither its endpoint nor what is said to it, neither names nor descriptions.

Promises: a copy names no id, type, attribute or dataset that its registration does not offer (4.3.6.1); what a source
tells is narrowed to what it registered (`within`).
Does not: know clocks, sockets, the store.

Where the clauses leave it open:
- what is watched decides who takes part: a source that has none of the watched attributes is not subscribed to;
- with split entities (the default) the filters and the choice of attributes are left out of the copy, as the clause
  says, and hold here; without, a source whose @context is another than ours gets none either, since their names could
  mean something else;
- `throttling` is not copied: it holds here, over all sources, and drops nothing;
- a copy asks for normalised entities with their instants, so that parts of an entity can be put together (4.5.5).
Source: ETSI GS CIM 009 V1.9.1 clauses 5.8.1.4, 5.8.2.4, 5.8.5.4, 5.8.6, 4.3.6, 5.12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from shahar.model import query as q
from shahar.model import subscription as subscriptions
from shahar.model.context import Context
from shahar.model.entity import NULL
from shahar.model.projection import MEMBERS
from shahar.model.registration.forms import Attrs, Registration
from shahar.model.registration.match import Ask, Parts, Share, shares
from shahar.model.subscription import LD_JSON, Seen, Tally
from shahar.values.instants import Instant

Record = dict[str, Any]
Chosen = tuple[Mapping[str, Any] | None, Share]
"""A selector of a subscription, None where it has none, and a source's share of it."""
SPLIT: Final = True
"""Whether parts of one entity may be at different sources, where a subscription or a question does not say (5.2.12,
5.7.2.3)."""
CREATE: Final = "createSubscription"
UPDATE: Final = "updateSubscription"
DELETE: Final = "deleteSubscription"
RETRIEVE: Final = "retrieveSubscription"
_COPIED: Final = ("notificationTrigger", "timeInterval", "expiresAt", "isActive", "splitEntities")
_FILTERS: Final = ("q", "expandValues", "geoQ", "scopeQ")


def is_local(record: Record) -> bool:
    """Whether a subscription is about what is held here alone (5.5.13)."""
    return bool(record.get("local") or record["body"].get("localOnly"))


def is_split(record: Record) -> bool:
    """Whether entities are put together before the subscription's filters are held against them."""
    split: bool = record["body"].get("splitEntities", SPLIT)
    return split


def asks(record: Record) -> list[tuple[Mapping[str, Any] | None, Ask]]:
    """What the subscription asks of sources, by its selectors; all types are asked for here alone (5.2.33)."""
    body, sub = record["body"], subscriptions.compiled(record)
    common: dict[str, Any] = {
        "operation": CREATE,
        "attrs": sub.watched or None,
        "datasets": sub.dataset,
        "geo": sub.geo,
        "scope": sub.scope,
    }
    if not sub.selectors:
        return [(None, Ask(**common))]
    return [
        (given, Ask(ids=one.ids, id_pattern=None if one.ids else one.id_pattern, types=one.types, **common))
        for given, one in zip(body["entities"], sub.selectors, strict=True)
        if one.types is not None
    ]


def chosen(record: Record, parts: Callable[[Ask], Parts]) -> dict[str, list[Chosen]]:
    """Every source that is to have a copy, by its registration's id, with its shares; `parts` says who takes part."""
    found: dict[str, list[Chosen]] = {}
    if is_local(record):
        return found
    body = record["body"]
    csf = q.parse_q(body["csf"], record["terms"].__getitem__, field="csf") if "csf" in body else None
    for given, ask in asks(record):
        for share in parts(ask).asked:
            registration = share.registration
            if csf is None or q.matches_q(csf, {"id": registration.id, "attrs": registration.described}):
                found.setdefault(registration.id, []).append((given, share))
    return found


def copied(record: Record, picked: Sequence[Chosen]) -> Record:
    """The body of the copy for one source, names as IRIs, without an endpoint; `terms` beside it as in a record."""
    body, registration = record["body"], picked[0][1].registration
    copy: Record = {name: body[name] for name in _COPIED if name in body}
    entities: list[Record] = []
    for given, share in picked:
        entities += [one for one in _selectors(given, share) if one not in entities]
    if entities:
        copy["entities"] = entities
    attrs = _together(share for _, share in picked)
    if attrs is not None and "timeInterval" not in body:
        copy["watchedAttributes"] = sorted(attrs)
    datasets = _datasets(body.get("datasetId"), registration.datasets)
    if datasets is not None:
        copy["datasetId"] = datasets
    if registration.management.local_only:
        copy["localOnly"] = True
    note: Record = {"format": "normalized", "sysAttrs": True}
    if body["notification"].get("showChanges"):
        note["showChanges"] = True
    if not is_split(record):
        copy |= {name: body[name] for name in _FILTERS if name in body}
        note |= _shown(body["notification"], attrs if "watchedAttributes" not in body else None)
    return copy | {"notification": note}


def _selectors(given: Mapping[str, Any] | None, share: Share) -> list[Record]:
    """The entities of a share as selectors; none where it names no type, which a selector must."""
    kind = ";".join(share.types) or (given["type"] if given is not None else "")
    if not kind:
        return []
    if share.ids:
        return [{"id": list(share.ids) if len(share.ids) > 1 else share.ids[0], "type": kind}]
    return [{"type": kind} | ({"idPattern": share.id_pattern} if share.id_pattern else {})]


def _together(picked: Iterable[Share]) -> Attrs:
    found: frozenset[str] = frozenset()
    for share in picked:
        if share.attrs is None:
            return None
        found |= share.attrs
    return found


def _datasets(asked: Sequence[str] | None, offered: frozenset[str] | None) -> list[str] | None:
    if offered is None:
        return None if asked is None else list(asked)
    return sorted(offered if asked is None else offered.intersection(asked))


def _shown(note: Mapping[str, Any], offered: Attrs) -> Record:
    """What of the choice of members a source is asked for; `offered`: of these attributes alone."""
    found: Record = {}
    for name in ("attributes", "pick"):
        kept = [one for one in note.get(name, ()) if offered is None or one in offered or one in MEMBERS]
        if kept:
            found[name] = kept
    return found | ({"omit": note["omit"]} if "omit" in note else {})


def worded(copy: Record, terms: Mapping[str, str], remote: str, uri: str, context: Context, at: Instant,
           *, inline: bool = False) -> tuple[Record, bool]:  # fmt: skip
    """The copy as it is sent, its id `remote`, its endpoint `uri`, names in this @context; and whether the source holds
    the filters against what it tells."""
    body = dict(copy)
    understood = all(context.expand(name) == iri for name, iri in terms.items())
    note = {**body["notification"], "endpoint": {"uri": uri, "accept": LD_JSON if inline else "application/json"}}
    if not understood:
        body = {name: value for name, value in body.items() if name not in _FILTERS}
        note = {name: value for name, value in note.items() if name not in ("attributes", "pick", "omit")}
    record = {"id": remote, "body": {**body, "notification": note}, "terms": {}, "context": context.source}
    told = subscriptions.told(record, Tally(), context, at, secrets=True)
    for name in ("status", "jsonldContext", *(() if "notificationTrigger" in copy else ("notificationTrigger",))):
        told.pop(name, None)
    return told, understood


def fragment(old: Record, new: Record) -> Record:
    """What turns the one document into the other as a fragment: members that went are null (5.5.8)."""
    gone = dict.fromkeys(old.keys() - new.keys(), NULL)
    return {name: value for name, value in new.items() if old.get(name) != value and name != "id"} | gone


def within(seen: Seen, registration: Registration) -> Seen | None:
    """What a source tells of an entity, as far as it registered it; None: nothing of it."""
    offered = shares(registration, Ask(ids=(seen.doc["id"],), of_types=tuple(seen.doc["type"])))
    if not offered:
        return None
    attrs, datasets = _together(offered), registration.datasets

    def offers(iri: str, dataset: str) -> bool:
        return (attrs is None or iri in attrs) and (datasets is None or (dataset or "@none") in datasets)

    kept = {
        iri: some
        for iri, instances in seen.doc["attrs"].items()
        if (some := [one for one in instances if offers(iri, one.get("datasetId", ""))])
    }
    gone = [row for row in seen.gone if offers(row[0], row[1])]
    was = [row for row in seen.was if offers(row[0], row[1])]
    if not (kept or gone or seen.deleted) and (attrs is not None or datasets is not None):
        return None
    return Seen({**seen.doc, "attrs": kept}, gone, seen.at, seen.deleted, was)
