"""Notifications from sources, taken in: what a source tells about a subscription of ours there.

What comes is written to the journal, a row for each entity, and is told from there like every other change: in order,
at least once, by the lanes of services/subscriptions. A source is answered when its rows are durable.

Promises: what a source tells beyond its registration is not looked at; a notification that comes again, by its id, is
taken once (as long as we run, of the newest `NOTIFIED_REMEMBERED`); the parts of an entity that are elsewhere are put
to it where the subscription leaves that open, waited for no longer than `PARTS_S`; a change that comes by several ways,
since brokers know each other, is told once (within `MOMENT_S`).
Does not: hold filters or rights against what comes (that is done when it is told); know who may tell (services/
forwarded does).
Source: ETSI GS CIM 009 V1.9.1 clauses 5.8.6, 4.3.6.1, 4.5.5.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import orjson
import structlog

from shahar.model.context import CORE, Context, Source
from shahar.model.entity import Doc
from shahar.model.federation import merged, supplemented
from shahar.model.notified import entities_of, seen_in
from shahar.model.registration import Ask, Registration
from shahar.model.registration.forwarding import within
from shahar.model.subscription import Seen, Subscription, selected
from shahar.services.deliveries import Contexts
from shahar.services.federation import Federation, Origin
from shahar.services.federation.questions import QUERY, Gathered, Question, gather
from shahar.services.forwarded_rows import Forwarded
from shahar.services.lanes import FindLane, Key, Lane
from shahar.store import journal, tenants
from shahar.store.db import Database, Tx
from shahar.values.bounds import ID_CHARS, NOTIFIED_REMEMBERED
from shahar.values.errors import Invalid, NotFound, ShaharError
from shahar.values.instants import SECOND, Instant

KIND: Final = "notification.received"
PARTS_S: Final = 1.0
MOMENT_S: Final = 60

log = structlog.get_logger(__name__)


class Notified:
    """The service. `lane` gives a subscription that is being told."""

    def __init__(self, db: Database, federation: Federation, context: Contexts, lane: FindLane) -> None:
        self._db = db
        self._federation = federation
        self._context = context
        self._lane = lane
        self._told: OrderedDict[tuple[str, str], asyncio.Task[None]] = OrderedDict()
        self._newest: OrderedDict[tuple[Key, str], tuple[str, bytes, Instant]] = OrderedDict()
        """Of a subscription and an entity: by whom it was told last, what, and when."""

    async def stop(self) -> None:
        """Give up what is being taken."""
        for task in self._told.values():
            task.cancel()
        await asyncio.gather(*self._told.values(), return_exceptions=True)
        self._told.clear()

    async def take(self, one: Forwarded, document: Any, link: Source, at: Instant) -> None:
        """Take a notification in; it is durable when this returns. `link`: the @context that stood beside it. Raises
        Invalid, TooLarge, ContextUnavailable, NotFound."""
        bodies = entities_of(document)
        told = document.get("id")
        if not isinstance(told, str) or len(told) > ID_CHARS:
            await self._taken(one, document, bodies, link, at)
            return
        key = (one.id, told)
        if key not in self._told:
            work = self._taken(one, document, bodies, link, at)
            self._told[key] = asyncio.get_running_loop().create_task(work)
            self._forget_oldest()
        try:
            await asyncio.shield(self._told[key])
        except Exception:  # told to who sent it, who may send it again
            self._told.pop(key, None)
            raise

    def _forget_oldest(self) -> None:
        while len(self._told) > NOTIFIED_REMEMBERED and next(iter(self._told.values())).done():
            self._told.popitem(last=False)

    async def _taken(
        self, one: Forwarded, document: Any, bodies: Sequence[dict[str, Any]], link: Source, at: Instant
    ) -> None:
        registration = self._federation.registrations.one(one.tenant, one.source.id, at)
        lane = await self._lane(one.key)
        if registration is None or lane is None:
            raise NotFound("nobody waits for notifications here", field="path")
        seen = await self._read(one, registration, document, bodies, link, at)
        seen = [each for each in seen if self._is_new(one, each)]
        if seen and not one.filtered:
            seen = await self._whole(one, lane, seen, at)
        texts = [(each.doc["id"], _what(one, each)) for each in seen]
        if texts:
            await self._db.write(lambda tx: _keep(tx, one.tenant, texts, at))

    def _is_new(self, one: Forwarded, seen: Seen) -> bool:
        """Whether nobody else has told the same a moment before: the instants of a change are its source's."""
        key = (one.key, seen.doc["id"])
        text = orjson.dumps([seen.doc, seen.gone, seen.deleted], option=orjson.OPT_SORT_KEYS)
        mark = blake2b(text, digest_size=16).digest()
        by, before, told_at = self._newest.get(key, ("", b"", 0))
        if before == mark and by != one.id and seen.at - told_at < MOMENT_S * SECOND:
            return False
        self._newest[key] = (one.id, mark, seen.at)
        self._newest.move_to_end(key)
        if len(self._newest) > NOTIFIED_REMEMBERED:
            self._newest.popitem(last=False)
        return True

    async def _read(
        self, one: Forwarded, registration: Registration, document: Any, bodies: Sequence[dict[str, Any]],
        link: Source, at: Instant,
    ) -> list[Seen]:  # fmt: skip
        """What is read and registered. Of entities that cannot be read the others are taken; Invalid when none can."""
        found: list[Seen] = []
        wrong: ShaharError | None = None
        for body in bodies:
            try:
                context = await self._context_of(one, body.get("@context", document.get("@context", link)), at)
                plain = {name: value for name, value in body.items() if name != "@context"}
                seen = seen_in(plain, context, at)
            except ShaharError as problem:
                wrong = problem
                continue
            narrowed = within(seen, registration)
            if narrowed is not None:
                found.append(narrowed)
        if wrong is not None:
            if not found:
                raise wrong
            log.warning("notified of what is no entity", registration=registration.id, problem=wrong.detail[:300])
        return found

    async def _context_of(self, one: Forwarded, source: Source, at: Instant) -> Context:
        if source is not None and not isinstance(source, (str, list, dict)):
            raise Invalid("this is no @context", field="@context", rule="clause 5.5.6")
        return await self._context(source, at, one.tenant) if source else CORE

    async def _whole(self, one: Forwarded, lane: Lane, seen: list[Seen], at: Instant) -> list[Seen]:
        """The entities with what other sources have of them; without what does not come in time."""
        ids = tuple(dict.fromkeys(each.doc["id"] for each in seen if not each.deleted))
        question = Question(QUERY, Ask(ids=ids), lane.may_show, without=one.source.id)
        try:
            async with asyncio.timeout(PARTS_S):
                others = await gather(self._federation, question, Origin(one.tenant, CORE, at))
        except (TimeoutError, ShaharError):
            return seen
        return [each if each.deleted else _with_parts(each, others, at) for each in seen]


def _with_parts(seen: Seen, others: Gathered, at: Instant) -> Seen:
    entity_id = seen.doc["id"]
    doc = merged([seen.doc, *others.equal.get(entity_id, ())], at)
    doc = supplemented(doc, others.extra.get(entity_id, ()), at)
    return seen if doc is None else Seen(doc, seen.gone, seen.at, seen.deleted, seen.was)


def _what(one: Forwarded, seen: Seen) -> str:
    what: dict[str, Any] = {
        "subscription": one.subscription,
        "types": seen.doc["type"],
        "doc": seen.doc,
        "gone": seen.gone,
        "deleted": seen.deleted,
        "was": seen.was,
        "filtered": one.filtered,
    }
    return orjson.dumps(what).decode()


def _keep(tx: Tx, tenant: str, texts: Sequence[tuple[str, str]], at: Instant) -> None:
    number = tenants.number(tx, tenant)
    for entity_id, text in texts:
        journal.append(tx, number, at, KIND, entity_id, text)


# -- when it is told ---------------------------------------------------------------------------------------------------


def concerns(what: Mapping[str, Any], entity_id: str, sub: Subscription) -> bool:
    """Whether what a source told is of an entity and an attribute that are subscribed to: it may know no better, or
    not want to."""
    if not selected(sub, entity_id, what["types"]):
        return False
    told = what["doc"]["attrs"].keys() | {row[0] for row in what["gone"]}
    return what["deleted"] or not sub.watched or not sub.watched.isdisjoint(told)


def laid_over(what: Mapping[str, Any], present: Doc | None, lane: Lane, at: Instant) -> Doc:
    """The entity of a row, with what of it is here, where that is to be put to it and the lane's owner may read it."""
    doc: Doc = what["doc"]
    if what["deleted"] or what["filtered"] or present is None or "deletedAt" in present:
        return doc
    whole = merged([doc, present], at) if lane.may_show(present["type"]) else None
    return doc if whole is None else whole
