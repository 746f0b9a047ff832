"""When entities, or parts of them, end: one row for each entity of which something does, with the next end.

Source: ETSI GS CIM 009 clause 4.22.
"""

from __future__ import annotations

from shahar.store.db import Tx
from shahar.values.instants import Instant


def put(tx: Tx, entity: int, at: Instant | None) -> None:
    """Note the next end in an entity; None: nothing of it ends any more."""
    if at is None:
        tx.run("DELETE FROM expiry WHERE entity = :entity", {"entity": entity}, apart=True)
    else:
        tx.run(
            "INSERT INTO expiry(entity, at) VALUES(:entity, :at) ON CONFLICT(entity) DO UPDATE SET at = excluded.at",
            {"entity": entity, "at": at},
            apart=True,
        )


def due(tx: Tx, at: Instant, limit: int) -> list[tuple[str, str]]:
    """(tenant, id) of up to `limit` entities of which something has ended, the longest ended first."""
    rows = tx.rows(
        "SELECT t.name, e.id FROM expiry x JOIN entity e ON e.pk = x.entity JOIN tenant t ON t.pk = e.tenant"
        " WHERE x.at <= :at ORDER BY x.at LIMIT :limit",
        {"at": at, "limit": limit},
    )
    return [(str(tenant), str(entity_id)) for tenant, entity_id in rows]


def first(tx: Tx) -> Instant | None:
    """The next end of all; None when nothing ends."""
    found = tx.row("SELECT min(at) FROM expiry")
    return int(found[0]) if found and found[0] is not None else None
