"""The book of accounts: where their records lie, how a credential's is written and ended, and the audit of every act.

For: the rooms beside it, whose works run in the store's writer.
Promises: an act and its audit record are of one transaction; neither secret nor digest stands in an audit record; a
session's record is written without a journal row, every other with one.
Refuses: NotFound for what is not there; Forbidden for whoever may not administrate the tenant that it belongs to.
Does not: decide which rights are given (rights), remember anything (memory).
"""

from __future__ import annotations

from typing import Any, Final

from shahar.model.access import DEFAULT_TENANT, Actor, Target, demand
from shahar.services.credentials import digest_of, home_of, text_of
from shahar.store import journal, records, tenants
from shahar.store.db import Tx
from shahar.store.records import Record
from shahar.values.errors import NoTenant, NotFound
from shahar.values.instants import Instant

NEVER: Final = 1 << 62
ALL_TENANTS: Final = "*"


def home(tx: Tx, tenant: str, at: Instant) -> int:
    """The number of the tenant that records about `tenant` lie under."""
    return tenants.make(tx, DEFAULT_TENANT if tenant == ALL_TENANTS else tenant, at)


def rows(tx: Tx, kind: str, tenant: str, *, after: str = "", limit: int = 1_000_000) -> list[tuple[str, Record]]:
    """The records of a kind under a tenant; none when it was never made."""
    try:
        number = tenants.number(tx, DEFAULT_TENANT if tenant == ALL_TENANTS else tenant)
    except NoTenant:
        return []
    return [(key, doc) for _, key, doc in records.every(tx, kind, number, after=after, limit=limit)]


def put_secret(tx: Tx, kind: str, number: int, name: str, secret: str, doc: Record, at: Instant) -> tuple[str, str]:
    """(id, text) of a credential whose record is written with the digest of the text."""
    key = f"{number}-{name}"
    text = text_of(kind, key, secret)
    records.put(tx, kind, number, key, doc | {"digest": digest_of(text).hex()}, at, journaled=kind != "session")
    return key, text


def end(tx: Tx, kind: str, key: str, at: Instant, by: Actor) -> None:
    """End a person's account or a key. Raises NotFound, Forbidden."""
    number = home_of(key)
    doc = records.get(tx, kind, number, key)
    if doc is None:
        raise NotFound(f"there is no {kind} {key!r:.60}")
    demand(by, Target("admin", "accounts", doc["tenant"]))
    records.drop(tx, kind, number, key, at)
    note(tx, number, at, by, f"{kind}.revoked", key, name=doc["label"])


def note(tx: Tx, number: int, at: Instant, by: Actor, act: str, about: str, **more: Any) -> None:
    """One audit record, named so that names sort by time and then by order; `more` never holds a secret."""
    doc = {"at": at, "by": by.id, "label": by.label, "act": act, "about": about} | more
    records.put(tx, "audit", number, f"{at:017d}-{journal.last_seq(tx):012d}", doc, at)
