"""Subscriptions to registrations: which change of a registration concerns whom, and what is told.

A registration subscription is a Subscription (model/subscription) whose selectors, watched attributes, geo query, scope
query and temporal query are held against what sources offer, as a discovery is (match), and whose `csf` is held against
the sources' own members.

Promises: `parse` and `patched` raise Invalid and nothing else; the same record means the same after a
restart; of a registration that the subscriber may not see nothing is told, nor any value of contextSourceInfo.
Does not: know the journal, clocks, sockets.
Where the clauses leave it open: attributes narrow when both watchedAttributes and the notification's attributes (or
pick) are given, and then both together (5.11.2.4 and 5.12); `q` narrows nothing, since it is about entities; a
registration that stops to match is told whole.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.3.2, 5.3.3, 5.11, 5.12.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shahar.model import query as q
from shahar.model import subscription as subscriptions
from shahar.model.context import Context
from shahar.model.projection import MEMBERS
from shahar.model.query import Node
from shahar.model.registration import forms
from shahar.model.registration.claims import types_of
from shahar.model.registration.forms import Record, Registration
from shahar.model.registration.match import Ask, matching
from shahar.model.registration.periods import Period, period
from shahar.model.registration.show import told as told_registration
from shahar.model.subscription import GEO_JSON, JSON, LD_JSON, Subscription, Tally, outward
from shahar.model.subscription.match import leaves
from shahar.values import instants
from shahar.values.errors import Invalid
from shahar.values.instants import Instant

Reason = Literal["newlyMatching", "updated", "noLongerMatching"]
Shown = tuple[Record, Sequence[int]]
"""A registration, and the places of the elements of its information that are told; none: all of them."""
Reads = frozenset[str] | None
"""The types of registrations that somebody may read; None: of any type."""


@dataclass(frozen=True, slots=True, eq=False)
class Interest:
    """A compiled registration subscription; a registration concerns it when one of `asks` and `csf` match."""

    subscription: Subscription
    asks: tuple[Ask, ...]
    csf: Node | None = None

    def matched(self, registration: Registration | None, reads: Reads = None) -> tuple[int, ...]:
        """The places of the elements that match; () when the registration does not, or may not be seen by whoever may
        read registrations of the types `reads`."""
        if registration is None or not sees(reads, registration):
            return ()
        doc = {"id": registration.id, "attrs": registration.described}
        if self.csf is not None and not q.matches_q(self.csf, doc):
            return ()
        return tuple(sorted({place for ask in self.asks for place in matching(registration, ask)}))


def sees(reads: Reads, registration: Registration) -> bool:
    """Whether somebody who may read registrations of these types (None: of any) sees this one."""
    return reads is None or not reads.isdisjoint(types_of(registration))


# -- bodies -----------------------------------------------------------------------------------------------------------


def parse(body: Any, context: Context, at: Instant, *, new_id: str = "") -> Record:
    """The record of a new registration subscription. Raises Invalid."""
    return _checked(subscriptions.parse(body, context, at, new_id=new_id))


def patched(record: Record, fragment: Any, context: Context, at: Instant) -> Record:
    """The record with the fragment's members in place of its own; null removes one. Raises Invalid."""
    return _checked(subscriptions.patched(record, fragment, context, at))


def _checked(record: Record) -> Record:
    if compiled(record).subscription.endpoint.accept == GEO_JSON:
        rule = f"{JSON} or {LD_JSON}"
        raise Invalid("registrations are no features", field="notification.endpoint.accept", rule=rule)
    return record


def compiled(record: Record) -> Interest:
    """The interest of a record."""
    body, terms = record["body"], record["terms"]
    sub = subscriptions.compiled(record)
    common: dict[str, Any] = {
        "attrs": _attrs(body, sub),
        "geo": sub.geo,
        "scope": sub.scope,
        "datasets": sub.dataset,
        "period": _period(body["temporalQ"]) if "temporalQ" in body else None,
        "strict": True,
    }
    asks = [
        Ask(ids=one.ids, id_pattern=None if one.ids else one.id_pattern, types=one.types, **common)
        for one in sub.selectors
    ]
    return Interest(
        sub,
        tuple(asks) or (Ask(**common),),
        q.parse_q(body["csf"], terms.__getitem__, field="csf") if "csf" in body else None,
    )


def _period(given: Mapping[str, Any]) -> Period:
    by = given.get("timeproperty", "observedAt")
    return period(given["timerel"], given["timeAt"], given.get("endTimeAt"), by)


def _attrs(body: Mapping[str, Any], sub: Subscription) -> frozenset[str] | None:
    shown = sub.attrs | (sub.projection.pick - MEMBERS)
    watched = body.get("watchedAttributes")
    return shown.union(watched) if watched and shown else None


def selected_types(interest: Interest) -> tuple[str, ...]:
    """Every type that the subscription names; () when it also asks for registrations of any type."""
    found: set[str] = set()
    for ask in interest.asks:
        if ask.types is None:
            return ()
        found |= set(leaves(ask.types))
    return tuple(sorted(found))


# -- changes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of a registration: what it was and what it is, None where it is new or gone, as records and compiled."""

    before: Record | None
    after: Record | None
    old: Registration | None
    new: Registration | None


def turn(what: Mapping[str, Any]) -> Turn:
    """The change that a row of the journal tells: {"old": record or null, "new": record or null}."""
    before, after = what["old"], what["new"]
    old, new = (None if record is None else forms.compiled(record) for record in (before, after))
    return Turn(before, after, old, new)


def concerned(interest: Interest, change: Turn, reads: Reads = None) -> tuple[Reason, Shown] | None:
    """Why a change is told, and what of it; None: it is not told."""
    was, now = interest.matched(change.old, reads), interest.matched(change.new, reads)
    if now and change.after is not None:
        return ("updated" if was else "newlyMatching"), (change.after, now)
    if not was or change.before is None:
        return None
    if change.after is not None and change.new is not None and sees(reads, change.new):
        return "noLongerMatching", (change.after, ())
    return "noLongerMatching", (change.before, was)


# -- what is told -----------------------------------------------------------------------------------------------------


def notification(
    subscription: Subscription,
    notification_id: str,
    reason: Reason,
    shown: Iterable[Shown],
    context: Context,
    at: Instant,
) -> dict[str, Any]:
    """The document that is sent (5.3.2), its @context inside for JSON-LD."""
    document: dict[str, Any] = {
        "id": notification_id,
        "type": "ContextSourceNotification",
        "subscriptionId": subscription.id,
        "notifiedAt": instants.text(at),
        "triggerReason": reason,
        "data": [_shown(record, places, context) for record, places in shown],
    }
    if subscription.endpoint.accept == LD_JSON:
        document["@context"] = outward(context)
    return document


def _shown(record: Record, places: Sequence[int], context: Context) -> dict[str, Any]:
    """The registration with the elements that matter; types are lists, as the official cases read them (047_03)."""
    shown = told_registration(record, context)
    elements = [shown["information"][place] for place in places] or shown["information"]
    shown["information"] = [
        {name: [_typed(one) for one in part] if name == "entities" else part for name, part in element.items()}
        for element in elements
    ]
    return shown


def _typed(entity: dict[str, Any]) -> dict[str, Any]:
    kind = entity.get("type")
    return {**entity, "type": [kind]} if isinstance(kind, str) else entity


def told(
    record: Record, tally: Tally, context: Context, at: Instant, *, sys: bool = False, secrets: bool = False
) -> dict[str, Any]:
    """The subscription as it is shown; what only subscriptions to entities have by default is left out."""
    shown = subscriptions.told(record, tally, context, at, sys=sys, secrets=secrets)
    for name in ("notificationTrigger", "jsonldContext"):
        if name not in record["body"]:
            shown.pop(name, None)
    return shown
