"""One row for each change of an entity or a record, written in the change's own transaction.

For: everything that happens as a consequence (notifications, alarms, the live stream) is read from here by a consumer
that remembers its place, so that nothing is dropped between a write and those whom it concerns, restart or not.
Promises: `seq` rises by one without a gap and is never used again; rows are kept until every consumer has passed them
and for `KEEP_S` at least.
Does not: decide who consumes, or when.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from shahar.store.db import Bulk, Tx
from shahar.values.instants import SECOND, Instant

KEEP_S: Final = 7 * 86_400
PRUNE_ROWS: Final = 20_000
_ROWS: Final = Bulk("journal", {"seq": int, "tenant": int, "at": int, "kind": str, "key": str, "what": str}, fresh=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """One change: `kind` such as entity.created, `key` the entity's id or the record's key, `what` as the writer of the
    row says.
    """

    seq: int
    tenant: str
    at: Instant
    kind: str
    key: str
    what: Any


def append(tx: Tx, tenant: int, at: Instant, kind: str, key: str, what: str) -> int:
    """Write one row; its number. `what` is JSON text."""
    seq = tx.next("journal")
    tx.later(_ROWS, [(seq, tenant, at, kind, key, what)])
    return seq


def last_seq(tx: Tx) -> int:
    """The number of the newest row, 0 when there is none."""
    found = tx.row("SELECT max(seq) FROM journal")
    return int(found[0] or 0) if found else 0


def read(tx: Tx, after: int, limit: int) -> list[Entry]:
    """Up to `limit` rows behind number `after`, in order."""
    rows = tx.rows(
        "SELECT j.seq, t.name, j.at, j.kind, j.key, j.what FROM journal j JOIN tenant t ON t.pk = j.tenant"
        " WHERE j.seq > :after ORDER BY j.seq LIMIT :limit",
        {"after": after, "limit": limit},
    )
    return [Entry(seq, tenant, at, kind, key, orjson.loads(what)) for seq, tenant, at, kind, key, what in rows]


def records_after(tx: Tx, after: int, limit: int) -> list[tuple[int, str, str, str]]:
    """(number, tenant, kind, key) of up to `limit` rows of records behind number `after`, in order."""
    rows = tx.rows(
        "SELECT j.seq, t.name, j.kind, j.key FROM journal j JOIN tenant t ON t.pk = j.tenant"
        " WHERE j.seq > :after AND (j.kind < 'entity.' OR j.kind >= 'entity/') ORDER BY j.seq LIMIT :limit",
        {"after": after, "limit": limit},
    )
    return [(int(seq), tenant, kind, key) for seq, tenant, kind, key in rows]


def place(tx: Tx, consumer: str) -> int | None:
    """The number of the last row that `consumer` has passed; None when it never read."""
    found = tx.row("SELECT seq FROM consumer WHERE name = :name", {"name": consumer})
    return int(found[0]) if found else None


def passed(tx: Tx, consumer: str, seq: int) -> None:
    """Remember that `consumer` is done with everything up to `seq`."""
    tx.run(
        "INSERT INTO consumer VALUES(:name, :seq)"
        " ON CONFLICT(name) DO UPDATE SET seq ="
        " CASE WHEN consumer.seq > excluded.seq THEN consumer.seq ELSE excluded.seq END",
        {"name": consumer, "seq": seq},
    )


def prune(tx: Tx, now: Instant) -> int:
    """Drop rows that every consumer has passed and that are older than the keeping time; how many went (bounded per
    call).
    """
    found = tx.row("SELECT min(seq) FROM consumer")
    least = found[0] if found and found[0] is not None else None
    if least is None:
        return 0
    return tx.run(
        "DELETE FROM journal WHERE seq IN (SELECT seq FROM journal WHERE seq <= :least AND at < :before"
        " AND seq < (SELECT max(seq) FROM journal) ORDER BY seq LIMIT :limit)",
        {"least": least, "before": now - KEEP_S * SECOND, "limit": PRUNE_ROWS},
    )
