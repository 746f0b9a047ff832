"""Documents that are not entities: subscriptions, devices, accounts, sessions, settings. They are the master copy.

One table holds them all, keyed by kind, tenant and key; a kind's shape is known to the service that owns it. Each put
and drop writes its journal row in the same transaction, unless the kind is private housekeeping (`journal=False`:
last-used stamps, sessions).
Does not: validate; hold secrets in the clear (services store digests).
"""

from __future__ import annotations

from typing import Any

import orjson

from shahar.store import journal
from shahar.store.db import Tx
from shahar.values.instants import Instant

Record = dict[str, Any]


def get(tx: Tx, kind: str, tenant: int, key: str) -> Record | None:
    """The record, or None."""
    found = tx.row(
        "SELECT doc FROM record WHERE kind = :kind AND tenant = :tenant AND key = :key",
        {"kind": kind, "tenant": tenant, "key": key},
        apart=True,
    )
    return orjson.loads(found[0]) if found else None


def find(tx: Tx, kind: str, key: str) -> tuple[int, Record] | None:
    """(tenant, record) of a key that no two tenants have; or None."""
    found = tx.row("SELECT tenant, doc FROM record WHERE kind = :kind AND key = :key", {"kind": kind, "key": key})
    return None if found is None else (int(found[0]), orjson.loads(found[1]))


def put(
    tx: Tx, kind: str, tenant: int, key: str, doc: Record, at: Instant, *, journaled: bool = True, what: str = "{}"
) -> None:
    """Write the record whole, new or not; `what` is what the journal tells of it besides."""
    text = orjson.dumps(doc)
    tx.run(
        "INSERT INTO record VALUES(:kind, :tenant, :key, :at, :doc)"
        " ON CONFLICT(kind, tenant, key) DO UPDATE SET at = excluded.at, doc = excluded.doc",
        {"kind": kind, "tenant": tenant, "key": key, "at": at, "doc": text.decode()},
        apart=True,
    )
    if journaled:
        tx.noted = journal.append(tx, tenant, at, f"{kind}.put", key, what)


def drop(tx: Tx, kind: str, tenant: int, key: str, at: Instant, *, journaled: bool = True, what: str = "{}") -> bool:
    """Delete the record; whether it was there."""
    gone = tx.run(
        "DELETE FROM record WHERE kind = :kind AND tenant = :tenant AND key = :key",
        {"kind": kind, "tenant": tenant, "key": key},
        apart=True,
    )
    if gone and journaled:
        tx.noted = journal.append(tx, tenant, at, f"{kind}.dropped", key, what)
    return bool(gone)


def every(
    tx: Tx, kind: str, tenant: int | None = None, *, after: str = "", limit: int = 1_000_000
) -> list[tuple[int, str, Record]]:
    """(tenant, key, record) of a kind in the order of tenant and key; of one tenant or of all; `after` is the last key
    seen.
    """
    where = "kind = :kind" + ("" if tenant is None else " AND tenant = :tenant AND key > :after")
    rows = tx.rows(
        f"SELECT tenant, key, doc FROM record WHERE {where} ORDER BY tenant, key LIMIT :limit",
        {"kind": kind, "limit": limit} | ({} if tenant is None else {"tenant": tenant, "after": after}),
    )
    return [(owner, key, orjson.loads(doc)) for owner, key, doc in rows]


def count(tx: Tx, kind: str, tenant: int) -> int:
    """How many records of a kind a tenant has."""
    found = tx.row(
        "SELECT count(*) FROM record WHERE kind = :kind AND tenant = :tenant", {"kind": kind, "tenant": tenant}
    )
    return int(found[0]) if found else 0
