"""People, and the one-time links that they come by: the first administrator, who is invited, who comes back.

Promises: there is one first administrator, made by the newest of the links that starts print; a link is used once, and
looking at it does not use it; a link to come back changes no role.
Refuses: Unauthenticated for a link that is unknown, was used or has ended; TooMany for more than LINKS that wait;
NotFound and Invalid for one that is to let somebody back who is not there, or has another role.
Does not: begin a session (sessions), decide who may invite (rights).
"""

from __future__ import annotations

from dataclasses import dataclass

from shahar.model.access import DEFAULT_TENANT, HOUSE, Actor
from shahar.services.accounts import sessions
from shahar.services.accounts.book import ALL_TENANTS, home, note, put_secret
from shahar.services.accounts.rights import Grant, label_of
from shahar.services.credentials import Minted, Place, digest_of, opens
from shahar.store import records, tenants
from shahar.store.db import Tx
from shahar.store.records import Record
from shahar.values.bounds import LINK_S, LINKS
from shahar.values.errors import Invalid, NotFound, TooMany, Unauthenticated
from shahar.values.instants import SECOND, Instant


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who came by a link."""

    id: str
    label: str
    role: str
    tenant: str
    made_at: Instant


@dataclass(frozen=True, slots=True)
class Link:
    """What a one-time link will give to whoever uses it."""

    role: str
    tenant: str
    label: str
    ends_at: Instant
    returning: bool
    """It signs in a person who is there already."""


def person_from(key: str, doc: Record) -> Person:
    """A person as they are listed."""
    return Person(key, doc["label"], doc["role"], doc["tenant"], doc["made_at"])


def link_from(doc: Record) -> Link:
    """A link as it is told to whoever holds it."""
    return Link(doc["role"], doc["tenant"], doc["label"], doc["ends_at"], doc["person"] is not None)


def first_link(tx: Tx, minted: Minted, at: Instant) -> str | None:
    """The token of the link that makes the administrator, None when there is one; links of earlier starts end."""
    number = tenants.make(tx, DEFAULT_TENANT, at)
    if _administrator_exists(tx):
        return None
    for _, key, doc in records.every(tx, "link", number):
        if doc["first"]:
            records.drop(tx, "link", number, key, at)
    return _put(tx, number, _document("administrator", ALL_TENANTS, "", None, HOUSE, first=True), minted, at, HOUSE)


def make_link(tx: Tx, given: Grant, label: str, person: str | None, minted: Minted, at: Instant, by: Actor) -> str:
    """The token of a link that invites to a role, or lets the person with that id in again. Raises TooMany, NotFound,
    Invalid."""
    number = home(tx, given.tenant, at)
    if sum(at < doc["ends_at"] for _, _, doc in records.every(tx, "link", number)) >= LINKS:
        raise TooMany("too many one-time links wait to be used", rule=f"at most {LINKS} for each tenant")
    if person is not None:
        _same_person(tx, number, person, given)
    return _put(tx, number, _document(given.role, given.tenant, label, person, by), minted, at, by)


def _document(
    role: str | None, tenant: str, label: str, person: str | None, by: Actor, *, first: bool = False
) -> Record:
    return {"role": role, "tenant": tenant, "label": label, "person": person, "first": first, "made_by": by.id}


def _put(tx: Tx, number: int, doc: Record, minted: Minted, at: Instant, by: Actor) -> str:
    ending = doc | {"ends_at": at + LINK_S * SECOND}
    key, text = put_secret(tx, "link", number, minted.name, minted.secret, ending, at)
    note(tx, number, at, by, "link.made", key, role=doc["role"], name=doc["label"])
    return text


def look_at_link(tx: Tx, place: Place, token: str, at: Instant) -> Record:
    """The record of a link that may be used; Unauthenticated."""
    doc = records.get(tx, "link", place.home, place.key)
    if doc is None or at >= doc["ends_at"] or not opens(doc, digest_of(token)):
        raise Unauthenticated("the link is unknown, was used, or has ended")
    if doc["first"] and _administrator_exists(tx):
        raise Unauthenticated("the administrator was made already")
    return doc


def use_link(tx: Tx, place: Place, token: str, label: str, person: Minted, session: Minted, at: Instant) -> str:
    """The session token of the person whom the link makes or lets in again. Raises Unauthenticated, Invalid."""
    doc = look_at_link(tx, place, token, at)
    number = home(tx, doc["tenant"], at)
    name = "" if doc["person"] else label_of(label or doc["label"])
    records.drop(tx, "link", place.home, place.key, at)
    holder = doc["person"] or f"{number}-{person.name}"
    if not doc["person"]:
        _make(tx, number, holder, name, doc, place.key, at)
    return sessions.begin(tx, Place("person", number, holder), session, at)


def _make(tx: Tx, number: int, holder: str, name: str, link: Record, link_key: str, at: Instant) -> None:
    """The person whom a link makes."""
    made = {
        "label": name,
        "role": link["role"],
        "tenant": link["tenant"],
        "made_at": at,
        "made_by": link["made_by"],
    }
    records.put(tx, "person", number, holder, made, at)
    who = Actor(f"person:{holder}", "person", name)
    more = {"role": link["role"], "link": link_key, "invited_by": link["made_by"]}
    note(tx, number, at, who, "person.made", holder, **more)


def _administrator_exists(tx: Tx) -> bool:
    return any(
        doc["role"] == "administrator" and doc["tenant"] == ALL_TENANTS for _, _, doc in records.every(tx, "person")
    )


def _same_person(tx: Tx, number: int, person: str, given: Grant) -> None:
    doc = records.get(tx, "person", number, person)
    if doc is None:
        raise NotFound(f"there is no person {person!r:.60} in the tenant")
    if (doc["role"], doc["tenant"]) != (given.role, given.tenant):
        raise Invalid(f"{doc['label']} is {doc['role']}; a link to come back changes no role", field="role")
