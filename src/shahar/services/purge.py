"""Deleting what a question finds: entities whole, or attributes of them.

Promises: each change goes through broker.apply like any other, with its history, journal row and notifications; the
work is cut into transactions of `CHUNK` entities, so that nobody waits long behind it; what is created after it began
is left alone, and an entity that somebody else deleted meanwhile is no failure.
Does not: decide who may (`may` is given to it and asked for each entity's types; those that may not be changed are left
as they are, as a question leaves out what may not be read); undo: a purge that fails half way, as when the disk is
full, raises and has done its first part.
Source: ETSI GS CIM 009 clause 5.6.21.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from shahar.model import query as q
from shahar.model.change import Change
from shahar.services.broker import Broker
from shahar.store import entities, tenants
from shahar.store.db import Tx
from shahar.values.errors import NotFound, ShaharError
from shahar.values.instants import Instant

PAGE: Final = 500
CHUNK: Final = 50


async def purge(
    broker: Broker,
    tenant: str,
    query: q.Query,
    wish: Callable[[str], Change],
    may: Callable[[Sequence[str]], bool],
    at: Instant,
) -> int:
    """Apply `wish(id)` to each entity that matches and may be changed; how many were met. NoTenant."""
    until = await broker.db.read(entities.last)
    after = met = 0
    while True:
        found = await broker.db.read(partial(_scan, tenant=tenant, query=query, after=after, until=until))
        ids = [entity_id for _, entity_id, types in found if may(types)]
        for start in range(0, len(ids), CHUNK):
            await _apply(broker, tenant, [wish(entity_id) for entity_id in ids[start : start + CHUNK]], at)
        met += len(ids)
        if len(found) < PAGE:
            return met
        after = found[-1][0]


def _scan(tx: Tx, tenant: str, query: q.Query, after: int, until: int) -> list[tuple[int, str, list[str]]]:
    return entities.scan(tx, tenants.number(tx, tenant), query, after=after, until=until, limit=PAGE)


async def _apply(broker: Broker, tenant: str, wishes: list[Change], at: Instant) -> None:
    for outcome in await broker.apply(tenant, wishes, at):
        if isinstance(outcome, ShaharError) and not isinstance(outcome, NotFound):
            raise outcome
