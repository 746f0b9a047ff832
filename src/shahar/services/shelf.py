"""The @contexts that are kept, each tenant's by itself: in memory, and as records that outlive a restart.

Three kinds (5.13.1): Cached is a copy of a document elsewhere, Hosted was added by somebody, ImplicitlyCreated is a
list of contexts that a notification must name by one address. A Cached one is found by its address or its local id,
the others by their id or an address of ours that ends in it.
Promises: a tenant's contexts are found, listed and dropped by that tenant alone; there are at most so many (bounds).
How often one was used is counted since the start of the program, and lost with it.
Source: ETSI GS CIM 009 clauses 5.13.1, 5.13.3.5, 5.5.10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import NAMESPACE_URL, uuid5

import orjson

from shahar.model.context import Source
from shahar.store import records, tenants
from shahar.store.db import Tx
from shahar.values.bounds import CONTEXT_FRESH_S
from shahar.values.errors import NoTenant
from shahar.values.instants import SECOND, Instant

ContextKind = Literal["Cached", "Hosted", "ImplicitlyCreated"]
RECORDS: Final = "context"
PLACE: Final = "/ngsi-ld/v1/jsonldContexts/"
_OURS: Final = re.compile(rf"(?:https?://[^/]+)?{PLACE}([0-9a-f]{{8}}-[0-9a-f-]{{27}})")


@dataclass(slots=True, eq=False)
class Entry:
    """One kept @context. `key` is the address of a Cached one and the local id of others; `document` is what stands
    under @context.
    """

    tenant: str
    key: str
    kind: ContextKind
    document: Source
    created: Instant
    expires: Instant | None = None
    hits: int = 0
    used: Instant | None = None
    id: str = field(init=False)

    def __post_init__(self) -> None:
        self.id = local_id(self.key) if self.kind == "Cached" else self.key

    def use(self, at: Instant) -> None:
        """Count that it was found."""
        self.hits += 1
        self.used = at


def local_id(address: str) -> str:
    """The local id of what was fetched from an address."""
    return str(uuid5(NAMESPACE_URL, address))


def implied_id(source: Source) -> str:
    """The local id of an ImplicitlyCreated context: the same for the same content."""
    return str(uuid5(NAMESPACE_URL, orjson.dumps(source, option=orjson.OPT_SORT_KEYS).decode()))


def cached(tenant: str, address: str, document: Source, at: Instant) -> Entry:
    """A copy made now; it is fresh for some time."""
    return Entry(tenant, address, "Cached", document, at, at + CONTEXT_FRESH_S * SECOND)


@dataclass(slots=True)
class Shelf:
    """Every tenant's entries."""

    _held: dict[str, dict[str, Entry]] = field(default_factory=dict)

    def of(self, tenant: str) -> list[Entry]:
        """A tenant's entries, oldest first."""
        return list(self._held.get(tenant, {}).values())

    def find(self, tenant: str, name: str) -> Entry | None:
        """The entry of an address, a local id, or an address of ours."""
        held = self._held.get(tenant, {})
        ours = _OURS.fullmatch(name)
        name = ours.group(1) if ours else name
        return held.get(name) or next((one for one in held.values() if one.id == name), None)

    def put(self, entry: Entry) -> None:
        """Take up an entry, in place of the one with its key."""
        self._held.setdefault(entry.tenant, {})[entry.key] = entry

    def drop(self, entry: Entry) -> None:
        """Let go of an entry."""
        held = self._held.get(entry.tenant, {})
        if held.get(entry.key) is entry:
            del held[entry.key]

    def stalest(self, tenant: str, most: int) -> Iterator[Entry]:
        """The Cached entries beyond `most`, those that were not used for longest."""
        copies = [one for one in self.of(tenant) if one.kind == "Cached"]
        copies.sort(key=lambda one: one.used or one.created)
        yield from copies[: max(0, len(copies) - most)]


# -- records ----------------------------------------------------------------------------------------------------------


def every(tx: Tx) -> list[Entry]:
    """What was kept in earlier runs; a record from before there were kinds is a copy."""
    names = tenants.names(tx)
    return [_entry(names[owner], key, record) for owner, key, record in records.every(tx, RECORDS)]


def some(tx: Tx, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Entry]:
    """Those of the contexts of these tenants and keys that are kept."""
    found = {}
    for tenant, key in keys:
        record = records.get(tx, RECORDS, tenants.number(tx, tenant), key)
        if record is not None:
            found[tenant, key] = _entry(tenant, key, record)
    return found


def _entry(tenant: str, key: str, record: dict[str, Any]) -> Entry:
    kind = record.get("kind", "Cached")
    return Entry(tenant, key, kind, record["context"], record.get("createdAt", 0), record.get("expiresAt"))


def keep(tx: Tx, entry: Entry, at: Instant) -> bool:
    """Write the entry's record; False for a copy whose tenant was never made: it is not kept."""
    try:
        owner = tenants.number(tx, entry.tenant)
    except NoTenant:
        if entry.kind == "Cached":
            return False
        owner = tenants.make(tx, entry.tenant, at)
    record = {"context": entry.document, "kind": entry.kind, "createdAt": entry.created}
    if entry.expires is not None:
        record["expiresAt"] = entry.expires
    records.put(tx, RECORDS, owner, entry.key, record, at)
    return True


def forget(tx: Tx, entry: Entry, at: Instant) -> None:
    """Drop the entry's record."""
    try:
        owner = tenants.number(tx, entry.tenant)
    except NoTenant:
        return
    records.drop(tx, RECORDS, owner, entry.key, at)
