"""Reading a body: the record of a new subscription, and of one that is changed.

Promises: `parse` and `patched` raise Invalid naming the member, and nothing else whatever JSON they are given; what
they give can be compiled.
Does not: know what a single member may be (members), keep anything.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.2.12, 5.5.8, 5.8.1, 5.8.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shahar.model import query as q
from shahar.model.context import Context
from shahar.model.entity import NULL, check_uri
from shahar.model.subscription.forms import Record, compiled
from shahar.model.subscription.members import RULE, SUBSCRIPTION, Reading
from shahar.values.errors import Invalid
from shahar.values.instants import Instant


def parse(body: Any, context: Context, at: Instant, *, new_id: str = "") -> Record:
    """The record of a new subscription; `new_id` is its id when the body has none. Raises Invalid."""
    if not isinstance(body, dict) or not body:
        raise Invalid("a subscription is a JSON object", field="body", rule=RULE)
    members, terms = _members(body, context)
    identifier = members.pop("id", new_id)
    check_uri(identifier, "id")
    if "type" not in body and "@type" not in body:
        raise Invalid("a subscription has the type Subscription", field="type", rule=RULE)
    _whole(members, at, members.get("expiresAt"))
    _note_terms(members, terms, context)
    source = members.get("jsonldContext", context.source)
    record = {
        "id": identifier, "body": members, "terms": terms, "context": source, "createdAt": at, "modifiedAt": at,
    }  # fmt: skip
    compiled(record)
    return record


def patched(record: Record, fragment: Any, context: Context, at: Instant) -> Record:
    """The record with the fragment's members in place of its own; null or urn:ngsi-ld:null removes one (5.5.8)."""
    if not isinstance(fragment, dict):
        raise Invalid("a subscription fragment is a JSON object", field="body", rule=RULE)
    gone = {name for name, value in fragment.items() if value is None or value == NULL}
    for name in sorted(gone & {"id", "type", "notification"}):
        raise Invalid("what a subscription must have cannot be removed", field=name, rule=RULE)
    members, terms = _members({name: value for name, value in fragment.items() if name not in gone}, context)
    if members.pop("id", record["id"]) != record["id"]:
        raise Invalid("the id of a subscription cannot be changed", field="id", rule=RULE)
    body = {name: value for name, value in {**record["body"], **members}.items() if name not in gone}
    _whole(body, at, members.get("expiresAt"))
    terms = {**record["terms"], **terms}
    _note_terms(body, terms, context)
    source = body.get("jsonldContext", record["context"])
    new = {**record, "body": body, "terms": terms, "context": source, "modifiedAt": at}
    compiled(new)
    return new


def _members(body: Any, context: Context) -> tuple[dict[str, Any], dict[str, str]]:
    """The members that are kept, each checked by itself, names expanded; and the names that queries use."""
    terms: dict[str, str] = {}
    reading = Reading(context, terms)
    return reading.members(body, SUBSCRIPTION, ""), terms


def _note_terms(members: Mapping[str, Any], terms: dict[str, str], context: Context) -> None:
    """Note the values that q is to expand besides; only q and expandValues together say which."""

    def noted(name: str) -> str:
        if name not in terms:
            terms[name] = context.expand(name)
        return terms[name]

    if "q" in members and "expandValues" in members:
        q.parse_q(members["q"], noted, expand_values=members["expandValues"].split(","))


def _whole(members: Mapping[str, Any], at: Instant, expires_at: Instant | None) -> None:
    """What members must be to each other."""
    if "notification" not in members:
        raise Invalid("a subscription says how to notify", field="notification", rule=RULE)
    if not ("entities" in members or "watchedAttributes" in members or members.get("localOnly")):
        raise Invalid("entities or watchedAttributes must say what is subscribed to", field="entities", rule=RULE)
    if members.get("localOnly") is False and any(one["type"] == "*" for one in members.get("entities", ())):
        raise Invalid("all types are asked for, which is local", field="localOnly", rule="clause 5.2.33")
    if "timeInterval" in members:
        for other in ("throttling", "watchedAttributes"):
            if other in members:
                raise Invalid(f"timeInterval and {other} exclude each other", field=other, rule=RULE)
        if "entities" not in members and not members.get("localOnly"):
            raise Invalid("a periodic subscription names its entities", field="entities", rule=RULE)
    if expires_at is not None and expires_at <= at:
        raise Invalid("expiresAt is in the past", field="expiresAt", rule="ETSI GS CIM 009 clause 5.8.1.4")
