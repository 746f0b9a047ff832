"""Subscriptions at sources as they are kept: one record each, beside the subscription of ours that it serves.

Promises: what is needed to end one stands with it, also after its registration has gone: where the source is, and what
it wants to be told to let us in. That stands in the record alone: not in the journal, not in the log, not in a repr. Of
the secret by which the source tells us no more than a digest is kept.
Does not: contact a source.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from secrets import token_urlsafe
from typing import Any, Final
from uuid import uuid4

from shahar.model.registration import Management, Registration, Share
from shahar.services.lanes import Key
from shahar.store import records, tenants
from shahar.store.db import Tx
from shahar.values.instants import Instant

KIND: Final = "forwarded_subscription"
Copy = dict[str, Any]


@dataclass(slots=True, eq=False)
class Forwarded:
    """One subscription at a source. `wanted`: what the source is to have (model/registration/forwarding.copied), None:
    nothing any more; `sent`: what it took last."""

    id: str
    tenant: str
    subscription: str
    source: Registration = field(repr=False)
    remote: str = ""
    tokens: list[str] = field(default_factory=list)
    """Digests of the secrets in the addresses that the source may have: the newest, before it the one that it had."""
    spoken: str = field(default="", repr=False)
    """The newest secret, as long as we run."""
    wanted: Copy | None = None
    sent: Copy | None = None
    made: bool = False
    filtered: bool = False
    """Whether the source holds the subscription's filters against what it tells."""
    problem: str = ""
    refused: bool = False
    since: Instant = 0
    failures: int = 0
    next_s: float = 0.0
    task: asyncio.Task[None] | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> Key:
        """Of the subscription of ours."""
        return self.tenant, self.subscription

    def new_token(self) -> str:
        """A secret for a new address; that of the one before is good too until `taken`."""
        self.spoken = token_urlsafe(32)
        self.tokens = [*self.tokens[-1:], digest(self.spoken)]
        return self.spoken

    def taken(self) -> None:
        """The source has the newest address."""
        self.tokens = self.tokens[-1:]

    def knows(self, token: str) -> bool:
        """Whether this is the secret of an address of ours, in a time that tells nothing of it."""
        found = digest(token)
        return any(compare_digest(found, one) for one in self.tokens)

    @property
    def settled(self) -> bool:
        """Whether the source has what it is to have."""
        return self.made and self.wanted is not None and self.sent == self.wanted

    @property
    def state(self) -> str:
        """made, waiting (to be made or changed), refused, leaving (to be ended)."""
        if self.wanted is None:
            return "leaving"
        return "made" if self.settled else "refused" if self.refused else "waiting"


def begun(key: Key, source: Registration, wanted: Copy, at: Instant) -> Forwarded:
    """A new one, to be made; its id at the source is ours to choose, and tells nothing."""
    return Forwarded(uuid4().hex, *key, source, new_id(), wanted=wanted, since=at)


def digest(token: str) -> str:
    """What is kept of a secret."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def new_id() -> str:
    """An id for a subscription at a source."""
    return f"urn:ngsi-ld:Subscription:{uuid4()}"


def load(tx: Tx) -> list[Forwarded]:
    """All that are kept."""
    names = tenants.names(tx)
    return [_read(names[number], key, record) for number, key, record in records.every(tx, KIND)]


def find(tx: Tx, forwarded_id: str) -> Forwarded | None:
    """The one of this id, whatever its tenant."""
    found = records.find(tx, KIND, forwarded_id)
    return None if found is None else _read(tenants.names(tx)[found[0]], forwarded_id, found[1])


def save(tx: Tx, one: Forwarded, at: Instant) -> None:
    """Keep one as it is now."""
    number = tenants.make(tx, one.tenant, at)
    records.put(tx, KIND, number, one.id, _record(one), at, journaled=False)


def save_all(tx: Tx, some: Iterable[Forwarded], at: Instant) -> None:
    """Keep some as they are now."""
    for one in some:
        save(tx, one, at)


def drop(tx: Tx, one: Forwarded, at: Instant) -> None:
    """Forget one."""
    number = tenants.known(tx, one.tenant)
    if number is not None:
        records.drop(tx, KIND, number, one.id, at, journaled=False)


_KEPT: Final = ("subscription", "remote", "tokens", "wanted", "sent", "made", "filtered", "problem", "refused", "since")


def _record(one: Forwarded) -> dict[str, Any]:
    source = one.source
    return {name: getattr(one, name) for name in _KEPT} | {
        "source": {
            "id": source.id,
            "endpoint": source.endpoint,
            "tenant": source.tenant,
            "operations": sorted(source.operations),
            "info": [list(pair) for pair in source.info],
            "localOnly": source.management.local_only,
            "timeout_s": source.management.timeout_s,
        }
    }


def _read(tenant: str, key: str, record: Mapping[str, Any]) -> Forwarded:
    given = record["source"]
    source = Registration(
        id=given["id"],
        endpoint=given["endpoint"],
        information=(),
        operations=frozenset(given["operations"]),
        info=tuple((name, value) for name, value in given["info"]),
        tenant=given["tenant"],
        management=Management(given["localOnly"], given["timeout_s"]),
    )
    found = Forwarded(key, tenant, record["subscription"], source)
    for name in _KEPT:
        setattr(found, name, record[name])
    return found


def share_of(one: Forwarded) -> Share:
    """Whom to ask."""
    return Share(one.source)
