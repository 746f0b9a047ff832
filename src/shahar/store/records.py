"""Documents that are not entities: subscriptions, devices, accounts, sessions, settings. They are the master copy.

One table holds them all, keyed by kind, tenant and key; a kind's shape is known to the service that owns it. Each put
and drop writes its journal row in the same transaction, unless the kind is private housekeeping (`journal=False`:
last-used stamps, sessions). A kind of which there is a new one with each message is `renewed`: remembered by the writer
and written with the group.
Does not: validate; hold secrets in the clear (services store digests).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import orjson

from shahar.store import journal
from shahar.store.db import Bulk, Tx
from shahar.values.instants import Instant

Record = dict[str, Any]

RENEWED_KEPT: Final = 20_000
"""Records of a kind that is renewed which the writer remembers."""
_ROWS: Final = Bulk(
    "record",
    {"kind": str, "tenant": int, "key": str, "at": int, "doc": str},
    "ON CONFLICT(kind, tenant, key) DO UPDATE SET at = excluded.at, doc = excluded.doc",
    key=3,
)


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


def foresee(tx: Tx, kind: str, tenant: int, keys: Collection[str]) -> None:
    """Read records of a kind that is `renewed` at once, before `latest` asks for each."""
    known = _remembered(tx, kind)
    asked = [key for key in dict.fromkeys(keys) if (tenant, key) not in known]
    found = tx.rows(
        f"SELECT key, doc FROM record WHERE kind = :kind AND tenant = :tenant AND key IN {tx.dialect.texts('keys')}",
        {"kind": kind, "tenant": tenant, "keys": orjson.dumps(asked).decode()},
        apart=True,
    )
    known.update(dict.fromkeys((tenant, key) for key in asked))
    known.update({(tenant, key): orjson.loads(doc) for key, doc in found})


def latest(tx: Tx, kind: str, tenant: int, key: str) -> Record | None:
    """The record of a kind that is `renewed`, as the writer knows it."""
    known = _remembered(tx, kind)
    if (tenant, key) not in known:
        known[tenant, key] = get(tx, kind, tenant, key)
    return known[tenant, key]


def renew(tx: Tx, kind: str, tenant: int, key: str, doc: Record, at: Instant) -> None:
    """Write a record that is renewed all the time, later and without a journal row. Of its kind none is put or dropped
    otherwise, and the writer asks for `latest`.
    """
    known = _remembered(tx, kind)
    known[tenant, key] = doc
    tx.later(_ROWS, [(kind, tenant, key, at, orjson.dumps(doc).decode())])
    if len(known) > RENEWED_KEPT:
        tx.settle()
        known.clear()


def _remembered(tx: Tx, kind: str) -> dict[tuple[int, str], Record | None]:
    found: dict[tuple[int, str], Record | None] = tx.memory.setdefault(f"records.{kind}", {})
    return found


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
