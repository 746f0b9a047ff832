"""Who we are to other brokers: an id and, for each tenant, an alias by which loops are found.

Promises: the id is made once for a store and kept with it; an alias is the same after a restart, differs for each
tenant, may stand in a Via header, and does not tell the tenant's name.
Source: ETSI GS CIM 009 clauses 5.15.1, 5.2.40; RFC 9110 section 7.6.3 (pseudonym).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4, uuid5

from shahar.store import records, tenants
from shahar.store.db import Database, Tx
from shahar.values import instants
from shahar.values.instants import SECOND, Instant

RECORDS: Final = "identity"
KEY: Final = "self"


@dataclass(slots=True)
class Identity:
    """The identity of this store; `load` it before it is asked."""

    db: Database
    _id: UUID = field(default_factory=uuid4)
    _since: Instant = 0

    async def load(self, at: Instant) -> None:
        """Take up the id, or make it now."""
        self._id = UUID(await self.db.write(lambda tx: _kept(tx, at)))
        self._since = at

    def alias(self, tenant: str) -> str:
        """The pseudonym of a tenant here."""
        return f"shahar-{uuid5(self._id, tenant).hex[:20]}"

    async def describe(self, tenant: str, at: Instant) -> dict[str, Any]:
        """The ContextSourceIdentity of a tenant. NoTenant."""
        if tenant:
            await self.db.read(lambda tx: tenants.number(tx, tenant))
        return {
            "id": f"urn:ngsi-ld:ContextSource:{self._id}",
            "type": "ContextSourceIdentity",
            "contextSourceAlias": self.alias(tenant),
            "contextSourceUptime": f"PT{max(0, at - self._since) // SECOND}S",
            "contextSourceTimeAt": instants.text(at),
        }


def _kept(tx: Tx, at: Instant) -> str:
    owner = tenants.number(tx, "")
    found = records.get(tx, RECORDS, owner, KEY) or {"id": str(uuid4())}
    records.put(tx, RECORDS, owner, KEY, found, at, journaled=False)
    return str(found["id"])
