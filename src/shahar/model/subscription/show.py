"""What is told: a notification to the endpoint, a subscription to whoever asks for it.

Promises: names in the @context that is given, instants as texts; what went from an entity is told as urn:ngsi-ld:null
with the instant at which it went.
Does not: count what became of notifications (`Tally` is the count as it is shown), send anything.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.2.12 to 5.2.14, 5.3.1, 5.8.3, 5.8.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shahar.model import fallback, linking, render
from shahar.model import query as q
from shahar.model.context import Context, Source
from shahar.model.entity import NULL, VALUE_MEMBER, Doc, Instance
from shahar.model.linking import Linked
from shahar.model.render import View
from shahar.model.subscription.forms import (
    DEFAULT_TRIGGERS,
    ENTITY_MEMBERS,
    GEO_JSON,
    LD_JSON,
    MEMBER_NAME,
    TYPE_NAME,
    Record,
    Subscription,
)
from shahar.model.subscription.match import Told
from shahar.model.terms import CORE_URL
from shahar.values import instants
from shahar.values.instants import Instant

HIDDEN: Final = "***"
PASSWORD: Final = re.compile(r":[^/@]*@")

# -- what a notification says -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """What a notification tells of one entity: its document, the instances that went ([IRI, datasetId, old?]), and
    the instant; `deleted`: the entity itself went; `was`: the instances that others took the place of, as in a change.
    """

    doc: Doc
    gone: list[list[Any]]
    at: Instant
    deleted: bool = False
    was: list[list[Any]] = field(default_factory=list)


def seen(told: Told, doc: Doc) -> Seen:
    """What the change shows, `doc` being the document as `laid_over` gives it."""
    what = told.what
    return Seen(doc, what.get("gone", []), told.at, told.kind == "entity.deleted", what.get("was", []))


def docs_of(subscription: Subscription, entities: Iterable[Seen]) -> list[Doc]:
    """The documents that the notification shows: what went and what was in them, in the version that is asked for."""
    docs = [_doc(subscription, one) for one in entities]
    version = subscription.version
    return docs if version is None else [fallback.conform(doc, version) for doc in docs]


def notification(
    subscription: Subscription, notification_id: str, docs: Sequence[Doc], view: View, at: Instant,
    linked: Linked | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The document that is sent (5.3.1), its @context inside for JSON-LD and, unless Prefer refuses it, GeoJSON.

    `docs` as `docs_of` gives them; `linked`: what they lead to, where the subscription joins it.
    """
    context = view.context
    if linked is not None and subscription.join is not None and subscription.join.form == "inline":
        docs = linking.embed(docs, view, subscription.join, linked)
    shown = [(doc, _entity(doc, view)) for doc in docs]
    if linked is not None:
        shown += [(doc, render.entity(doc, below)) for doc, below in linked.behind]
    shown = [(doc, entity) for doc, entity in shown if entity]
    source = outward(context)
    document: dict[str, Any] = {
        "id": notification_id,
        "type": "Notification",
        "subscriptionId": subscription.id,
        "notifiedAt": instants.text(at),
    }
    if subscription.endpoint.accept == GEO_JSON:
        collection = {"type": "FeatureCollection", "features": [_feature(doc, entity) for doc, entity in shown]}
        info = subscription.endpoint.receiver_info
        plain = any(key.lower() == "prefer" and value == "body=json" for key, value in info)
        document["data"] = collection if plain else {**collection, "@context": source}
    elif subscription.endpoint.accept == LD_JSON:
        document["data"] = [{**entity, "@context": source} for _, entity in shown]
        document["@context"] = source
    else:
        document["data"] = [entity for _, entity in shown]
    return document


def outward(context: Context) -> Source:
    """The @context as it is written in a notification or a Link: an address where it is one."""
    source = context.source
    if isinstance(source, list) and len(source) == 1:
        source = source[0]
    return source or CORE_URL


def outward_address(source: Source) -> str:
    """The address that a Link header names for an @context; the core's where it has none of its own."""
    if isinstance(source, list) and len(source) == 1:
        source = source[0]
    return source if isinstance(source, str) and source else CORE_URL


def _entity(doc: Doc, view: View) -> dict[str, Any]:
    """The entity as the view shows it; of a deleted one also when it went."""
    shown = render.entity(doc, view)
    if shown and "deletedAt" in doc:
        shown["deletedAt"] = instants.text(doc["deletedAt"])
    return shown


def _doc(subscription: Subscription, one: Seen) -> Doc:
    doc = one.doc
    if subscription.changes and one.was:
        doc = {**doc, "attrs": _with_previous(doc["attrs"], one.was)}
    if one.gone and (not one.deleted or subscription.changes or "attributeDeleted" in subscription.triggers):
        doc = {**doc, "attrs": _with_tombstones(subscription, one, doc["attrs"])}
    return {**doc, "deletedAt": one.at} if one.deleted else doc


def _with_previous(attrs: dict[str, list[Instance]], was: Iterable[list[Any]]) -> dict[str, list[Instance]]:
    """The attributes, each instance that took another's place with that one in its member `previous`."""
    shown = dict(attrs)
    for iri, dataset, old in was:
        shown[iri] = [
            {**one, "previous": old} if one.get("datasetId", "") == dataset else one for one in shown.get(iri, ())
        ]
    return shown


def _with_tombstones(
    subscription: Subscription, one: Seen, attrs: Mapping[str, list[Instance]]
) -> dict[str, list[Instance]]:
    """The attributes with urn:ngsi-ld:null for those that went; of a deleted entity only the watched ones, unless
    changes are to be shown."""
    found = dict(attrs)
    watched = subscription.watched if one.deleted and not subscription.changes else frozenset()
    graves: dict[str, list[Instance]] = {}
    for iri, dataset, *old in one.gone:
        if not watched or iri in watched:
            graves.setdefault(iri, []).append(_tombstone(old[0] if old else {}, dataset, one.at, subscription))
    for iri, stones in graves.items():
        left = found.get(iri, [])
        whole = [stone for stone in stones if "datasetId" not in stone]
        found[iri] = [*left, *stones] if left or not whole or subscription.changes else whole
    return found


def _tombstone(old: Instance, dataset: str, at: Instant, subscription: Subscription) -> Instance:
    kind = "Property" if subscription.form == "simplified" else old.get("type", "Property")
    value: Any = {"@none": NULL} if kind == "LanguageProperty" else NULL
    stone: Instance = {"type": kind, VALUE_MEMBER[kind]: value, "deletedAt": at}
    stone |= {key: old[key] for key in ("createdAt", "modifiedAt") if key in old}
    if subscription.changes and VALUE_MEMBER.get(old.get("type", "")) in old:
        stone["previous"] = old
    return stone | {"datasetId": dataset} if dataset else stone


def _feature(doc: Doc, shown: dict[str, Any]) -> dict[str, Any]:
    places = doc["attrs"].get(q.LOCATION, ())
    found = (each["value"] for each in places if each["type"] == "GeoProperty" and "datasetId" not in each)
    geometry = next((value for value in found if value != NULL), None)
    properties = {key: value for key, value in shown.items() if key != "id"}
    return {"type": "Feature", "id": doc["id"], "geometry": geometry, "properties": properties}


# -- what is told of a subscription -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What became of a subscription's notifications; instants are None as long as there was none.

    `lost`: rows of the journal that were gone before the endpoint answered again (their changes may or may not have
    concerned it). `withheld`: whoever subscribed may read none of it any more; it is shown as paused.
    """

    times_sent: int = 0
    times_failed: int = 0
    last_notification: Instant | None = None
    last_success: Instant | None = None
    last_failure: Instant | None = None
    ok: bool | None = None
    lost: int = 0
    withheld: bool = False


def status(record: Record, at: Instant) -> str:
    """active, paused or expired."""
    body = record["body"]
    if "expiresAt" in body and body["expiresAt"] <= at:
        return "expired"
    return "active" if body.get("isActive", True) else "paused"


def told(
    record: Record, tally: Tally, context: Context, at: Instant, *, sys: bool = False, secrets: bool = False
) -> dict[str, Any]:
    """The subscription as it is shown, names in the reader's @context; the @context itself is left to the caller.

    Without `secrets` neither the password in an address nor what receiverInfo tells the endpoint is shown.
    """
    body = record["body"]
    compact = context.compact
    shown: dict[str, Any] = {"id": record["id"], "type": "Subscription"}
    for name, value in body.items():
        shown[name] = _SHOW.get(name, _as_given)(value, compact)
    shown.setdefault("notificationTrigger", list(DEFAULT_TRIGGERS))
    shown["notification"] = _told_notification(body["notification"], tally, compact)
    if not secrets:
        shown["notification"]["endpoint"] = _without_secrets(shown["notification"]["endpoint"])
    state = status(record, at)
    shown["status"] = "paused" if tally.withheld and state == "active" else state
    source = record.get("implied") or record["context"] or CORE_URL
    source = source[0] if isinstance(source, list) and len(source) == 1 else source
    if isinstance(source, str):
        shown.setdefault("jsonldContext", source)
    if sys:
        shown |= {key: instants.text(record[key]) for key in ("createdAt", "modifiedAt")}
    return shown


_Compact = Callable[[str], str]


def _as_given(value: Any, _compact: _Compact) -> Any:
    return value


def _show_names(value: Any, compact: _Compact) -> Any:
    def short(found: re.Match[str]) -> str:
        name = found.group()
        return name if name in ENTITY_MEMBERS else compact(name)

    return [MEMBER_NAME.sub(short, name) for name in value]


def _show_entities(value: Any, compact: _Compact) -> Any:
    def types(text: str) -> str:
        return text if text == "*" else TYPE_NAME.sub(lambda found: compact(found.group()), text)

    return [{**selector, "type": types(selector["type"])} for selector in value]


def _show_geo(value: Any, compact: _Compact) -> Any:
    return {**value, "geoproperty": compact(value["geoproperty"])} if "geoproperty" in value else value


def _show_instant(value: Any, _compact: _Compact) -> Any:
    return instants.text(value)


_SHOW: Final[dict[str, Callable[[Any, _Compact], Any]]] = {
    "entities": _show_entities,
    "watchedAttributes": _show_names,
    "attributes": _show_names,
    "pick": _show_names,
    "omit": _show_names,
    "geoQ": _show_geo,
    "expiresAt": _show_instant,
}


def _without_secrets(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    shown = {**endpoint, "uri": PASSWORD.sub(f":{HIDDEN}@", endpoint["uri"], count=1)}
    if "receiverInfo" in endpoint:
        shown["receiverInfo"] = [{"key": pair["key"], "value": HIDDEN} for pair in endpoint["receiverInfo"]]
    return shown


def _told_notification(note: Mapping[str, Any], tally: Tally, compact: _Compact) -> dict[str, Any]:
    shown = {name: _SHOW.get(name, _as_given)(value, compact) for name, value in note.items()}
    if tally.ok is not None:
        shown["status"] = "ok" if tally.ok else "failed"
    counts = {"timesSent": tally.times_sent, "timesFailed": tally.times_failed, "changesLost": tally.lost}
    shown |= {name: count for name, count in counts.items() if count}
    moments = {
        "lastNotification": tally.last_notification,
        "lastSuccess": tally.last_success,
        "lastFailure": tally.last_failure,
    }
    return shown | {name: instants.text(at) for name, at in moments.items() if at is not None}
