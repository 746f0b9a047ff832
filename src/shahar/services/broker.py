"""The one door of the city's state: every change of an entity goes through `apply`, every question through `find` and
its kin.

Promises: an answer of `apply` means that document, history and journal row are durable together; a batch is one
transaction whose members succeed or fail each for itself; a tenant is made on first use by a change that creates;
rights are the caller's to check (web and ports ask model/access before they come here; `types` of a query may already
be narrowed to what the actor may read).
Does not: speak HTTP or SQL; know who asks; read the clock (`at` is an argument).
Source: ETSI GS CIM 009 clauses 5.6, 5.7.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Final

import structlog

from shahar.model import change as changes
from shahar.model import linking, ordering
from shahar.model import query as q
from shahar.model.bulk import Pack
from shahar.model.change import Applied, Change
from shahar.model.entity import Doc, Instance
from shahar.model.linking import Join, Linked
from shahar.model.render import View
from shahar.model.temporal import Span
from shahar.model.told import Whole, Wish
from shahar.services import previous, rows
from shahar.store import entities, history, packing, packs, records, shapes, tenants, windows
from shahar.store.db import Database, Tx
from shahar.store.entities import Held, Page
from shahar.store.shapes import Shape
from shahar.store.windows import Wanted
from shahar.values.errors import NotFound, ShaharError
from shahar.values.instants import Instant

__all__ = ["Broker", "Evolution", "Mark", "Outcome", "Page", "Shape", "Span"]

log = structlog.get_logger(__name__)

BRIEF: Final = 50
"""Changes in one batch up to which other answers may wait until it is applied."""
DATASET: Final = '"datasetId":'
"""What stands in the text of an entity of which an attribute may have several instances."""
FRAME: Final = "frame"
"""Records of the last frame of each device."""
CREATING: Final = frozenset({"create", "upsert", "observe"})

Outcome = Applied | ShaharError


@dataclass(frozen=True, slots=True)
class Evolution:
    """The temporal evolution of one entity: its document without attributes, and each attribute's instances in order of
    time.
    """

    doc: Doc
    series: dict[str, list[Instance]]


@dataclass(frozen=True, slots=True)
class Mark:
    """How a frame of a device is told from its repetition: the same `frame` within `within_us` microseconds is the same
    one.
    """

    device: str
    frame: str
    at: Instant
    within_us: int


@dataclass(slots=True)
class Broker:
    """Changes and questions of the city's state, on one store."""

    db: Database
    _indexing: set[str] = field(default_factory=set)

    async def apply(self, tenant: str, wishes: Sequence[Wish], at: Instant, *, update: bool = False) -> list[Outcome]:
        """Do each change in order in one transaction; what came of each, an error in its place where it failed.

        `update`: an upsert of an entity that exists appends instead of replacing.
        """
        return await self.db.write(
            lambda tx: _apply_all(tx, tenant, wishes, at, update),
            long=len(wishes) > BRIEF,
            ahead=(_read_ahead, (tenant, wishes)),
        )

    async def take(self, tenant: str, pack: Pack, *, update: bool = False) -> list[Outcome]:
        """Do the wishes of a pack; what came of each."""
        if not self.db.packs:
            return await self.apply(tenant, packing.unpacked(pack), pack.at, update=update)
        return await self.db.write(lambda tx: _take(tx, tenant, pack, update), long=True, pack=pack.image)

    async def change(self, tenant: str, wish: Change, at: Instant) -> Applied:
        """Do one change; raises what it failed with."""
        return await self.db.write(lambda tx: _apply_one(tx, tenant, wish, at), ahead=(_read_ahead, (tenant, (wish,))))

    async def observe(self, tenant: str, wish: Change, at: Instant, mark: Mark | None = None) -> int:
        """Keep a device's reading unless its frame was told before; how many values were new."""
        return await self.db.write(
            lambda tx: _observe(tx, tenant, wish, at, mark), ahead=(_read_all_ahead, ((tenant, wish, mark, at),))
        )

    async def observe_many(self, readings: Sequence[tuple[str, Change, Mark | None, Instant]]) -> int:
        """Readings (tenant, change, mark, instant of arrival) in one transaction; how many values were new."""
        return await self.db.write(
            lambda tx: sum(_observe(tx, tenant, wish, at, mark) for tenant, wish, mark, at in readings),
            long=len(readings) > BRIEF,
            ahead=(_read_all_ahead, readings),
        )

    async def get(self, tenant: str, entity_id: str) -> Doc:
        """The entity's document; NotFound."""
        return await self.db.read(lambda tx: _get(tx, tenant, entity_id))

    async def find(
        self,
        tenant: str,
        query: q.Query,
        *,
        limit: int,
        offset: int = 0,
        count: bool = False,
        at: Instant = 0,
        order: ordering.Order = (),
    ) -> entities.Page:
        """A page of the entities that match, in `order` and then the order of creation."""
        page = await self.db.read(
            lambda tx: entities.find(
                tx, tenants.number(tx, tenant), query, limit=limit, offset=offset, count=count, order=order
            )
        )
        for attr in page.wants - self._indexing:
            self._indexing.add(attr)
            task = asyncio.ensure_future(self.db.write(partial(entities.make_index, attr=attr, at=at), long=True))
            task.add_done_callback(partial(self._indexed, attr))
        return page

    async def shapes(self, tenant: str) -> list[Shape]:
        """Which types and attributes the entities have, and how many of each; NoTenant."""
        return await self.db.read(lambda tx: shapes.every(tx, tenants.number(tx, tenant)))

    async def linked(
        self, tenant: str, docs: Sequence[Doc], view: View, join: Join, types: q.Node | None = None
    ) -> Linked:
        """What these entities lead to, of `types` alone when they are given; TooComplex when it is too much."""

        def work(tx: Tx) -> Linked:
            number = tenants.number(tx, tenant)
            return linking.walk(docs, view, join, lambda ids: entities.get_many(tx, number, ids, types))

        return await self.db.read(work)

    def _indexed(self, attr: str, done: asyncio.Task[bool]) -> None:
        if done.cancelled():
            return
        if done.exception() is not None:
            log.warning("index not made", attr=attr, problem=str(done.exception()))
        elif done.result():
            log.info("index made", attr=attr)

    async def evolution(self, tenant: str, entity_id: str, span: Span, attrs: Collection[str] = ()) -> Evolution:
        """One entity over time; NotFound when the id was never used."""
        return await self.db.read(lambda tx: _evolution(tx, tenant, entity_id, span, attrs))

    async def points(
        self, tenant: str, entity_id: str, attr: str, start: Instant, end: Instant, limit: int = 20_000
    ) -> list[tuple[Instant, Any]]:
        """(instant, value) of one attribute, oldest first: for charts."""

        def work(tx: Tx) -> list[tuple[Instant, Any]]:
            found = entities.locate(tx, tenants.number(tx, tenant), entity_id)
            return history.points(tx, found[0], attr, start, end, limit) if found else []

        return await self.db.read(work)


# -- in the writer ----------------------------------------------------------------------------------------------------


def _apply_all(tx: Tx, tenant: str, wishes: Sequence[Wish], at: Instant, update: bool) -> list[Outcome]:
    outcomes: list[Outcome] = []
    if len(wishes) > 1:
        _foresee(tx, tenant, wishes)
    for wish in wishes:
        try:
            outcomes.append(_apply_one(tx, tenant, wish, at, update))
        except ShaharError as problem:
            outcomes.append(problem)
    return outcomes


_CREATED: Final = Applied(None, created=True)
_REPLACED: Final = Applied(None)


def _take(tx: Tx, tenant: str, pack: Pack, update: bool) -> list[Outcome]:
    number = tenants.make(tx, tenant, pack.at)
    replace = pack.kind == "upsert" and not update and not previous.wanted(tx, number)
    fresh = packs.take(tx, number, pack, replace=replace)
    if fresh is None:
        return _apply_all(tx, tenant, packing.unpacked(pack), pack.at, update)
    return [_CREATED if new else _REPLACED for new in fresh]


def _read_ahead(tx: Tx, asked: list[tuple[str, Sequence[Wish]]]) -> None:
    """Read at once what the works of a group will ask for."""
    wished: dict[str, list[Wish]] = {}
    for tenant, wishes in asked:
        wished.setdefault(tenant, []).extend(wishes)
    for tenant, together in wished.items():
        _foresee(tx, tenant, together)


def _read_all_ahead(tx: Tx, asked: list[Sequence[tuple[str, Change, Mark | None, Instant]]]) -> None:
    _read_ahead(tx, [(tenant, (wish,)) for readings in asked for tenant, wish, *_ in readings])
    devices: dict[str, list[str]] = {}
    for tenant, _, mark, _ in chain.from_iterable(asked):
        if mark is not None:
            devices.setdefault(tenant, []).append(mark.device)
    for tenant, listed in devices.items():
        try:
            records.foresee(tx, FRAME, tenants.number(tx, tenant), listed)
        except NotFound:
            continue  # the tenant is not there yet: neither are its devices' frames


def _foresee(tx: Tx, tenant: str, wishes: Sequence[Wish]) -> None:
    try:
        entities.foresee(tx, tenants.number(tx, tenant), [wish.id for wish in wishes])
    except NotFound:
        return  # the tenant is not there yet: neither are its entities


def _apply_one(tx: Tx, tenant: str, wish: Wish, at: Instant, update: bool = False) -> Applied:
    """Read, think, write; everything that may fail by a caller's fault fails before the first row is written."""
    try:
        number = tenants.number(tx, tenant)
    except NotFound:
        if wish.kind not in CREATING:
            raise
        if not isinstance(wish, Whole):
            changes.apply(wish, None, at)
        number = tenants.make(tx, tenant, at)
    held = entities.load(tx, number, wish.id)
    if isinstance(wish, Whole) and wish.at == at:
        if held is None:
            return rows.create(tx, number, wish)
        if not update and wish.kind == "upsert" and (replaced := rows.replace_plain(tx, number, held, wish)):
            return replaced
    old = held.read() if held else None
    if isinstance(wish, Whole):
        whole = _whole(wish, held, old, at) if held and old and not update else None
        if whole is not None:
            rows.write(tx, number, wish.id, held, old, whole, at, wish)
            return whole
        wish = wish.untold()
    if update and old is not None and wish.kind == "upsert":
        wish = Change("append", wish.id, wish.fragment)
    applied = changes.apply(wish, old, at)
    if applied.changed:
        rows.write(tx, number, wish.id, held, old, applied, at)
    return applied


def _whole(wish: Whole, held: Held, old: Doc, at: Instant) -> Applied | None:
    """What comes of a wish that was told already and replaces what is there, without its attributes; None when it has
    to be thought again.
    """
    if wish.at != at or wish.kind == "create" or at <= old["modifiedAt"]:
        return None
    shell = wish.shell | {"createdAt": old["createdAt"]}
    attrs = old["attrs"]
    if DATASET not in held.text and DATASET not in wish.text and attrs.keys() <= {line[0] for line in wish.lines}:
        return Applied(shell, shell=True)
    kept = {(iri, dataset) for iri, dataset, *_ in wish.lines}
    gone = [(iri, one) for iri, listed in attrs.items() for one in listed if (iri, one.get("datasetId")) not in kept]
    return Applied(shell, gone=gone, shell=True)


def _observe(tx: Tx, tenant: str, wish: Change, at: Instant, mark: Mark | None) -> int:
    if mark is not None:
        number = tenants.make(tx, tenant, at)
        last = records.latest(tx, FRAME, number, mark.device)
        if last is not None and last["frame"] == mark.frame and abs(mark.at - last["at"]) <= mark.within_us:
            return 0
        records.renew(tx, FRAME, number, mark.device, {"frame": mark.frame, "at": mark.at}, at)
    applied = _apply_one(tx, tenant, wish, at)
    return len(applied.set) + len(applied.late)


# -- in a reader ------------------------------------------------------------------------------------------------------


def _get(tx: Tx, tenant: str, entity_id: str) -> Doc:
    found = entities.get(tx, tenants.number(tx, tenant), entity_id)
    if found is None:
        raise NotFound(f"entity {entity_id} does not exist", field="id")
    return found


def _evolution(tx: Tx, tenant: str, entity_id: str, span: Span, attrs: Collection[str]) -> Evolution:
    number = tenants.number(tx, tenant)
    found = entities.locate(tx, number, entity_id)
    if found is None:
        raise NotFound(f"entity {entity_id} does not exist", field="id")
    view = windows.window(tx, number, span, Wanted(frozenset(attrs)))
    return Evolution(found[1], windows.read(tx, windows.sources(tx, view, [found[0]]), number)[0])
