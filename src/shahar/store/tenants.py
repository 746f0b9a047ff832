"""Tenants: a name and a number. Made on first use (ETSI GS CIM 009 clause 4.14); the default tenant is the empty name.

Rows of every room carry the number; a query without it does not exist, so one tenant cannot see another's rows by a
forgotten filter in a service.
"""

from __future__ import annotations

from shahar.store.db import Tx
from shahar.values.errors import NoTenant
from shahar.values.instants import Instant
from shahar.values.names import check_tenant


def number(tx: Tx, name: str) -> int:
    """The tenant's number; NoTenant when it was never made."""
    known: dict[str, int] = tx.known.setdefault("tenants", {})
    if name not in known:
        found = tx.row("SELECT pk FROM tenant WHERE name = :name", {"name": name})
        if found is None:
            raise NoTenant(f"tenant {name!r} does not exist", field="NGSILD-Tenant")
        known[name] = int(found[0])
    return known[name]


def known(tx: Tx, name: str) -> int | None:
    """The tenant's number; None when it is the default one and nobody has written to it yet. NoTenant for another."""
    try:
        return number(tx, name)
    except NoTenant:
        if name:
            raise
        return None


def make(tx: Tx, name: str, at: Instant) -> int:
    """The tenant's number, made now when it is new."""
    try:
        return number(tx, name)
    except NoTenant:
        check_tenant(name)
        given = {"pk": tx.next("tenant"), "name": name, "at": at}
        tx.run("INSERT INTO tenant(pk, name, made_at) VALUES(:pk, :name, :at)", given)
        return number(tx, name)


def names(tx: Tx) -> dict[int, str]:
    """Every tenant's name by its number."""
    return {int(pk): str(name) for pk, name in tx.rows("SELECT pk, name FROM tenant")}


def every(tx: Tx) -> list[str]:
    """All names, oldest first."""
    return [str(row[0]) for row in tx.rows("SELECT name FROM tenant ORDER BY pk")]
