"""Reading a body: the record of a new registration, and of one that is changed.

Promises: `parse` and `patched` raise Invalid or TooLarge naming the member, and nothing else whatever JSON they are
given; what they give can be compiled. Members of the standard are kept as given with names expanded; others are the
source's own properties.
Departures, as the official cases have it: an exclusive registration may name several entities, each by its id; an
auxiliary one that names no operations is taken (it is asked, and nothing else, whatever its operations).
Does not: know what a single member may be (members), know other registrations or entities (claims), keep anything.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.2.9, 5.5.8, 5.9.2, 5.9.3, 4.3.6.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shahar.model.context import Context
from shahar.model.entity import CREATE, NULL, check_depth, parse_instances
from shahar.model.registration.forms import Record, compiled
from shahar.model.registration.members import READ_ONLY, REGISTRATION, RULE, check_type, identifier
from shahar.model.registration.operations import AUXILIARY
from shahar.values.bounds import REGISTRATION_PROPERTIES
from shahar.values.errors import Invalid, TooLarge
from shahar.values.instants import Instant


def parse(body: Any, context: Context, at: Instant, *, new_id: str = "") -> Record:
    """The record of a new registration; `new_id` is its id when the body has none. Raises Invalid, TooLarge."""
    if not isinstance(body, dict) or not body:
        raise Invalid("a registration is a JSON object", field="body", rule=RULE)
    check_type(body.get("type", body.get("@type")))
    given = body.get("id", body.get("@id"))
    record = {
        "id": identifier(new_id if given is None else given),
        **_read(body, context),
        "context": context.source,
        "createdAt": at,
        "modifiedAt": at,
    }
    _check_whole(record["body"], at, record["body"].get("expiresAt"))
    compiled(record)
    return record


def patched(record: Record, fragment: Any, context: Context, at: Instant) -> Record:
    """The record with the fragment's members in place of its own; null or urn:ngsi-ld:null removes one (5.5.8)."""
    if not isinstance(fragment, dict):
        raise Invalid("a registration fragment is a JSON object", field="body", rule=RULE)
    gone = {name for name, value in fragment.items() if value is None or value == NULL}
    for name in sorted(gone & {"id", "@id", "type", "@type", "information", "endpoint"}):
        raise Invalid("what a registration must have cannot be removed", field=name, rule=RULE)
    if "type" in fragment or "@type" in fragment:
        check_type(fragment.get("type", fragment.get("@type")))
    if identifier(fragment.get("id", fragment.get("@id", record["id"]))) != record["id"]:
        raise Invalid("the id of a registration cannot be changed", field="id", rule=RULE)
    read = _read({name: value for name, value in fragment.items() if name not in gone}, context)
    body = {name: value for name, value in {**record["body"], **read["body"]}.items() if name not in gone}
    _check_whole(body, at, read["body"].get("expiresAt"))
    lost = {context.expand(name) for name in gone - REGISTRATION.keys() - READ_ONLY}
    new = {
        **record,
        "body": body,
        "own": _without({**record["own"], **read["own"]}, lost),
        "instances": _without({**record["instances"], **read["instances"]}, lost),
        "context": context.source or record["context"],
        "modifiedAt": at,
    }
    compiled(new)
    return new


def _without(found: Mapping[str, Any], lost: set[str]) -> dict[str, Any]:
    if len(found) > REGISTRATION_PROPERTIES:
        rule = f"at most {REGISTRATION_PROPERTIES} properties of its own"
        raise TooLarge("a registration has too many properties", field="body", rule=rule)
    return {iri: value for iri, value in found.items() if iri not in lost}


def _read(body: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """The members that are kept, each checked by itself: the standard's, and the source's own."""
    members: dict[str, Any] = {}
    own: dict[str, Any] = {}
    held: dict[str, Any] = {}
    for name, value in body.items():
        if value is None or name in READ_ONLY or name in ("id", "@id", "type", "@type"):
            continue
        take = REGISTRATION.get(name)
        if take is not None:
            members[name] = take(context, value, name)
            continue
        if name.startswith("@"):
            raise Invalid(f"{name[:80]!r} is no member of a registration", field=name[:80], rule=RULE)
        iri = context.expand(name)
        check_depth(value, name)
        held[iri] = parse_instances(name, value, context, CREATE)
        own[iri] = value
    return {"body": members, "own": _without(own, set()), "instances": held}


def _check_whole(body: Mapping[str, Any], at: Instant, expires_at: Instant | None) -> None:
    """What members must be to each other (5.9.2.4, 4.3.6.3)."""
    for name in ("information", "endpoint"):
        if name not in body:
            raise Invalid(f"a registration has {name}", field=name, rule=RULE)
    if expires_at is not None and expires_at <= at:
        raise Invalid("expiresAt is in the past", field="expiresAt", rule="ETSI GS CIM 009 clause 5.9.2.4")
    mode = body.get("mode", "inclusive")
    if mode == "auxiliary" and not set(body.get("operations", ())) <= AUXILIARY:
        rule = "ETSI GS CIM 009 clause 5.9.2.4: " + ", ".join(sorted(AUXILIARY))
        raise Invalid("an auxiliary source is only asked", field="operations", rule=rule)
    if mode == "exclusive":
        _check_exclusive(body["information"])


def _check_exclusive(information: list[dict[str, Any]]) -> None:
    """An exclusive registration is of single attributes of single entities."""
    for part in information:
        if "propertyNames" not in part and "relationshipNames" not in part:
            raise Invalid(
                "an exclusive registration names its attributes",
                field="information.propertyNames",
                rule="ETSI GS CIM 009 clause 4.3.6.3",
            )
        if not all("id" in one for one in part.get("entities", [{}])):
            raise Invalid(
                "an exclusive registration names its entities by their ids",
                field="information.entities",
                rule="ETSI GS CIM 009 clause 4.3.6.3",
            )
