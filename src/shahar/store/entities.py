"""The present state: one document row an entity, its types, its places; found by a query tree.

Promises: `find` answers exactly what model/query's evaluation says, page by page in a stable order (the order of
creation): SQL narrows, the evaluation decides, and SQL alone answers only what it can decide exactly (types, ids).
Does not: decide who may; write history or the journal. What narrows: ids; types; geometry by the R*Tree (its order is
forced with CROSS JOIN: the type index first is 50 times slower); equality and ranges of attributes that have an index
on demand (an index on every attribute would cost three quarters of the write rate).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import orjson

from shahar.model import expiry, ordering
from shahar.model import query as q
from shahar.model.entity import Doc
from shahar.model.told import Whole
from shahar.store import expiries, history, shapes
from shahar.store.db import Bulk, Tx
from shahar.values import places
from shahar.values.errors import TooComplex
from shahar.values.instants import Instant

CACHE_BYTES: Final = 48_000_000
"""Texts of entities that were written lately: of 25 000 entities of ten attributes."""
ABSENT_KEPT: Final = 10_000
"""Ids of which the writer remembers that they were never used."""
UNTOLD_BYTES: Final = 500
"""What remembering an entity takes without its text."""
FOLLOWED_KEPT: Final = 1_000
"""Linked entities that one question remembers while it asks about them (`q=locatedAt{name}==...`)."""
INDEXES_MAX: Final = 24
INDEX_AFTER_ROWS: Final = 5_000
PLACED: Final = '"GeoProperty"'
"""What stands in the text of an entity, and of a shape, with a geometry."""

_ROWS: Final = Bulk(
    "entity",
    {"pk": int, "tenant": int, "id": str, "gone": int, "multi": int, "doc": str},
    "ON CONFLICT(pk) DO UPDATE SET gone = excluded.gone, multi = excluded.multi, doc = excluded.doc",
    key=1,
    last_wins=True,
)
_TYPE_ROWS: Final = Bulk("entity_type", {"tenant": int, "type": int, "entity": int}, "ON CONFLICT DO NOTHING")
_PLACE_OF_ROWS: Final = Bulk("place_of", {"pk": int, "tenant": int, "entity": int, "attr": int}, fresh=True)
_PLACE_ROWS: Final = Bulk(
    "place", {"pk": int, "west": float, "east": float, "south": float, "north": float}, fresh=True
)


Plain = tuple[str, Instant, Instant]
"""Of an entity that was told plainly as a whole (model/told): its shape, and when it was made and changed."""


@dataclass(slots=True)
class Held:
    """An entity's row as the writer knows it: the text of its document, which takes a sixth of the document's own room,
    empty of a plain one whose text is in the file alone; `settled` tells how often the writer had settled when the row
    was put off (-1: it is in the file).
    """

    pk: int
    text: str
    gone: bool
    settled: int = -1
    plain: Plain | None = None
    """Of one that holds nothing but what was so told."""

    def read(self) -> Doc | None:
        """The document, None while the entity is deleted."""
        return None if self.gone else orjson.loads(self.text)

    @property
    def bytes(self) -> int:
        """What it weighs in the writer's memory."""
        return len(self.text) or UNTOLD_BYTES

    @property
    def ends(self) -> bool:
        """Whether something of it may end."""
        return '"expiresAt":' in self.text

    @property
    def placed(self) -> bool:
        """Whether it may hold a geometry."""
        return PLACED in self.text


@dataclass(slots=True)
class Page:
    """One page of an answer. `total` only when it was asked for; `wants` names attributes that an index would have
    helped.
    """

    docs: list[Doc] = field(default_factory=list)
    pks: list[int] = field(default_factory=list)
    total: int | None = None
    wants: frozenset[str] = frozenset()


class _Cache:
    """The writer's recently written documents, bounded by the bytes of their texts. A row that is put off is in here:
    who does not find an entity here may look into the file.
    """

    def __init__(self, tx: Tx) -> None:
        self.tx = tx
        self.absent: set[tuple[int, str]] = set()
        self.held: OrderedDict[tuple[int, str], Held] = OrderedDict()
        self.bytes = 0

    def get(self, key: tuple[int, str]) -> Held | None:
        found = self.held.get(key)
        if found is not None:
            self.held.move_to_end(key)
        return found

    def put(self, key: tuple[int, str], held: Held) -> None:
        old = self.held.pop(key, None)
        self.bytes += held.bytes - (old.bytes if old else 0)
        self.held[key] = held
        self.absent.discard(key)
        while self.bytes > CACHE_BYTES:
            _, dropped = self.held.popitem(last=False)
            self.bytes -= dropped.bytes
            if dropped.settled == self.tx.settled:
                self.tx.settle()


def _cache(tx: Tx) -> _Cache:
    found: _Cache | None = tx.memory.get("entities")
    if found is None:
        found = tx.memory["entities"] = _Cache(tx)
    return found


def load(tx: Tx, tenant: int, entity_id: str) -> Held | None:
    """The row of an entity, living or deleted, for the writer; None when the id was never used."""
    cache = _cache(tx)
    key = (tenant, entity_id)
    found = cache.get(key)
    if (found is None and key not in cache.absent) or (found is not None and not found.text):
        row = tx.row(
            "SELECT pk, gone, doc FROM entity WHERE tenant = :t AND id = :id",
            {"t": tenant, "id": entity_id},
            apart=True,
        )
        if row is None:
            return None
        found = Held(row[0], row[2], row[1] is not None, plain=found.plain if found else None)
        cache.put(key, found)
    return found


def foresee(tx: Tx, tenant: int, ids: Sequence[str]) -> None:
    """Read the rows of many entities at once, before `load` asks for each; notes which ids were never used."""
    cache = _cache(tx)
    asked = {(tenant, entity_id) for entity_id in ids} - cache.absent
    asked -= {key for key in asked if (held := cache.held.get(key)) is not None and held.text}
    if not asked:
        return
    unknown = orjson.dumps([entity_id for _, entity_id in asked]).decode()
    rows = tx.rows(
        f"SELECT id, pk, gone, doc FROM entity WHERE tenant = :t AND id IN {tx.dialect.texts('ids')}",
        {"t": tenant, "ids": unknown},
        apart=True,
    )
    if len(cache.absent) > ABSENT_KEPT:
        cache.absent.clear()
    cache.absent |= asked
    for entity_id, pk, gone, text in rows:
        known = cache.held.get((tenant, entity_id))
        cache.put((tenant, entity_id), Held(pk, text, gone is not None, plain=known.plain if known else None))


def remembered(tx: Tx, tenant: int, ids: Sequence[str]) -> list[Held | None] | None:
    """What the writer remembers of each entity, None of one whose id was never used; None for all when one is there
    that it does not remember.
    """
    held = _cache(tx).held
    found = [held.get((tenant, entity_id)) for entity_id in ids]
    unknown = [entity_id for entity_id, one in zip(ids, found, strict=True) if one is None]
    row = tx.row(
        f"SELECT 1 FROM entity WHERE tenant = :t AND id IN {tx.dialect.texts('ids')} LIMIT 1",
        {"t": tenant, "ids": orjson.dumps(unknown).decode()},
        apart=True,
    )
    return found if row is None else None


def note(tx: Tx, tenant: int, entity_id: str, pk: int, plain: Plain) -> None:
    """Remember a plain entity that was written, but not its text."""
    _cache(tx).put((tenant, entity_id), Held(pk, "", gone=False, plain=plain))


def put(
    tx: Tx,
    tenant: int,
    entity_id: str,
    held: Held | None,
    old: Doc | None,
    doc: Doc,
    text: str,
    multi: bool,
    shape: str | None = None,
    plain: Plain | None = None,
) -> int:
    """Write what a change made of an entity, `old` before it; the row's number. `text` is the whole document, of which
    `doc` may lack the attributes when its `shape` is told; `multi`: an attribute has several instances; `plain`: it was
    told plainly as a whole.
    """
    pk = held.pk if held else tx.next("entity")
    new = Held(pk, text, gone=False, plain=plain)
    tx.later(_ROWS, [(pk, tenant, entity_id, None, int(multi), text)])
    if old is None or old["type"] != doc["type"]:
        _put_types(tx, tenant, pk, doc, new=held is None)
    if (PLACED in shape if shape else new.placed) or (held is not None and held.placed):
        _put_places(tx, tenant, pk, old, doc if "attrs" in doc else orjson.loads(text))
    if shape is None:
        shapes.moved(tx, tenant, old, doc)
    else:
        shapes.became(tx, tenant, old, shape)
    if new.ends or (held is not None and held.ends):
        expiries.put(tx, pk, expiry.earliest(doc if "attrs" in doc else orjson.loads(text)))
    new.settled = tx.settled
    _cache(tx).put((tenant, entity_id), new)
    return pk


def put_plain(tx: Tx, tenant: int, held: Held | None, whole: Whole, shell: Doc, text: str) -> int:
    """Write a plain entity that is new, or is of the same shape as the plain one that was `held`; the row's number."""
    pk = held.pk if held else tx.next("entity")
    tx.later(_ROWS, [(pk, tenant, whole.id, None, 0, text)])
    if held is None:
        _put_types(tx, tenant, pk, shell, new=True)
        shapes.became(tx, tenant, None, whole.shape)
    plain = (whole.shape, shell["createdAt"], whole.at)
    _cache(tx).put((tenant, whole.id), Held(pk, text, gone=False, settled=tx.settled, plain=plain))
    return pk


def bury(tx: Tx, tenant: int, entity_id: str, held: Held, old: Doc, at: Instant) -> int:
    """Leave of a deleted entity what its history is asked for by; the row's number."""
    shell = {key: value for key, value in old.items() if key != "attrs"} | {"attrs": {}, "deletedAt": at}
    text = orjson.dumps(shell).decode()
    tx.later(_ROWS, [(held.pk, tenant, entity_id, at, 0, text)])
    if held.placed:
        _drop_places(tx, held.pk)
    shapes.moved(tx, tenant, old, None)
    if held.ends:
        expiries.put(tx, held.pk, None)
    _cache(tx).put((tenant, entity_id), Held(held.pk, text, gone=True, settled=tx.settled))
    return held.pk


def _put_types(tx: Tx, tenant: int, pk: int, doc: Doc, *, new: bool) -> None:
    names = history.names(tx)
    wanted = [names[kind] for kind in doc["type"]]
    if not new:  # a deleted entity keeps its types for history; one that comes again may be of others
        kept = {"t": tenant, "pk": pk, "kept": orjson.dumps(wanted).decode()}
        unwanted = f"tenant = :t AND entity = :pk AND type NOT IN {tx.dialect.numbers('kept')}"
        for (number,) in tx.rows(f"SELECT DISTINCT type FROM entity_type WHERE {unwanted}", kept):
            tx.run(
                "DELETE FROM entity_type WHERE tenant = :t AND type = :k AND entity = :pk",
                {"t": tenant, "k": number, "pk": pk},
            )
    tx.later(_TYPE_ROWS, [(tenant, kind, pk) for kind in wanted])


def _geometries(doc: Doc | None) -> list[tuple[str, Any]]:
    if doc is None:
        return []
    return [
        (iri, one["value"]) for iri, listed in doc["attrs"].items() for one in listed if one["type"] == "GeoProperty"
    ]


def _put_places(tx: Tx, tenant: int, pk: int, old: Doc | None, new: Doc) -> None:
    """Write the places of an entity where they changed."""
    wanted = _geometries(new)
    before = _geometries(old)
    if wanted == before:
        return
    if before:
        _drop_places(tx, pk)
    for iri, geometry in wanted:
        place = tx.next("place_of")
        west, south, east, north = places.bbox(geometry)
        tx.later(_PLACE_OF_ROWS, [(place, tenant, pk, history.name(tx, iri))])
        tx.later(_PLACE_ROWS, [(place, west, east, south, north)])


def _drop_places(tx: Tx, pk: int) -> None:
    tx.run("DELETE FROM place WHERE pk IN (SELECT pk FROM place_of WHERE entity = :pk)", {"pk": pk})
    tx.run("DELETE FROM place_of WHERE entity = :pk", {"pk": pk})


def get(tx: Tx, tenant: int, entity_id: str) -> Doc | None:
    """The living entity's document, or None."""
    row = tx.row(
        "SELECT doc FROM entity WHERE tenant = :t AND id = :id AND gone IS NULL", {"t": tenant, "id": entity_id}
    )
    return None if row is None else orjson.loads(row[0])


def locate(tx: Tx, tenant: int, entity_id: str) -> tuple[int, Doc] | None:
    """The row's number and document of an entity, deleted or not: what history is asked for by."""
    row = tx.row("SELECT pk, doc FROM entity WHERE tenant = :t AND id = :id", {"t": tenant, "id": entity_id})
    return None if row is None else (int(row[0]), orjson.loads(row[1]))


# -- finding --------------------------------------------------------------------------------------------------------


def find(
    tx: Tx,
    tenant: int,
    query: q.Query,
    *,
    limit: int,
    offset: int = 0,
    count: bool = False,
    gone: bool = False,
    order: ordering.Order = (),
) -> Page:
    """A page of the entities that match, in `order` and then that of creation; `gone` takes in deleted ones (for
    history).

    TooComplex when more than ORDERED_MAX would have to be put in an order.
    """
    plan = _Plan(tx, tenant, query, gone)
    if order:
        return _find_in_order(tx, plan, query, order, limit, offset, count)
    if plan.exact:
        return _find_exactly(tx, plan, limit, offset, count)
    return _find_by_evaluation(tx, plan, query, limit, offset, count)


def get_many(tx: Tx, tenant: int, ids: Sequence[str], types: q.Node | None = None) -> list[Doc]:
    """The living entities of these ids, of `types` alone when they are given, in the order of creation."""
    return find(tx, tenant, q.Query(ids=tuple(ids), types=types), limit=len(ids)).docs if ids else []


def last(tx: Tx) -> int:
    """The number of the newest row."""
    found = tx.row("SELECT max(pk) FROM entity")
    return int(found[0] or 0) if found else 0


def scan(
    tx: Tx, tenant: int, query: q.Query, *, after: int, until: int, limit: int
) -> list[tuple[int, str, list[str]]]:
    """(row, id, types) of the entities that match, in the order of rows `after` < row <= `until`: a walk over all of
    them that holds no reader for long and is not disturbed by what is changed meanwhile.
    """
    plan = _Plan(tx, tenant, query, gone=False)
    plan.between(after, until)
    follow = _follow(tx, plan)
    found: list[tuple[int, str, list[str]]] = []
    for pk, doc in _candidates(tx, plan):
        if plan.exact or q.matches(query, doc, follow):
            found.append((pk, doc["id"], doc["type"]))
            if len(found) == limit:
                break
    return found


def each(tx: Tx, tenant: int, query: q.Query) -> Iterator[tuple[int, Doc]]:
    """(pk, document) of every entity, living or deleted, of these ids or this pattern and these types, in the order of
    creation: what history is asked about."""
    for pk, doc in _candidates(tx, _Plan(tx, tenant, query, gone=True)):
        if query.id_pattern is None or query.ids or query.id_pattern.matches(doc["id"]):
            yield pk, doc


def erase(tx: Tx, tenant: int, pk: int, entity_id: str) -> bool:
    """Take out the row of a deleted entity whose history is taken out already; False when it lives again."""
    row = tx.row("DELETE FROM entity WHERE pk = :pk AND gone IS NOT NULL RETURNING doc", {"pk": pk})
    if row is None:
        return False
    for kind in orjson.loads(row[0])["type"]:
        tx.run(
            "DELETE FROM entity_type WHERE tenant = :t AND type = :k AND entity = :pk",
            {"t": tenant, "k": history.name(tx, kind), "pk": pk},
        )
    cache = _cache(tx)
    dropped = cache.held.pop((tenant, entity_id), None)
    cache.bytes -= dropped.bytes if dropped else 0
    return True


def _find_exactly(tx: Tx, plan: _Plan, limit: int, offset: int, count: bool) -> Page:
    page = Page()
    if limit:
        rows = tx.rows(
            plan.select("e.pk, e.doc") + " LIMIT :limit OFFSET :offset",
            plan.bindings | {"limit": limit, "offset": offset},
        )
        page.pks = [pk for pk, _ in rows]
        page.docs = [orjson.loads(doc) for _, doc in rows]
    if count:
        found = tx.row(plan.select("count(*)", ordered=False), plan.bindings)
        page.total = int(found[0]) if found else 0
    return page


def _find_by_evaluation(tx: Tx, plan: _Plan, query: q.Query, limit: int, offset: int, count: bool) -> Page:
    page = Page()
    matched = scanned = 0
    follow = _follow(tx, plan)
    for pk, doc in _candidates(tx, plan):
        scanned += 1
        if not q.matches(query, doc, follow):
            continue
        matched += 1
        if matched > offset and len(page.docs) < limit:
            page.pks.append(pk)
            page.docs.append(doc)
        elif not count and matched >= offset + limit:
            break
    if count:
        page.total = matched
    if scanned > INDEX_AFTER_ROWS:
        page.wants = plan.wants
    return page


def _find_in_order(
    tx: Tx, plan: _Plan, query: q.Query, order: ordering.Order, limit: int, offset: int, count: bool
) -> Page:
    """Keys alone are kept of what matches, and the documents of the page are read again."""
    ranked: list[tuple[tuple[ordering.Key, ...], int]] = []
    scanned = 0
    follow = _follow(tx, plan)
    for pk, doc in _candidates(tx, plan):
        scanned += 1
        if not (plan.exact or q.matches(query, doc, follow)):
            continue
        if len(ranked) == ordering.ORDERED_MAX:
            rule = f"at most {ordering.ORDERED_MAX} matches"
            raise TooComplex("too many entities match to be put in order", field="orderBy", rule=rule)
        ranked.append((ordering.keys(order, doc), pk))
    pks = ordering.arrange(ranked, order)[offset : offset + limit]
    listed = f"SELECT pk, doc FROM entity WHERE pk IN {tx.dialect.numbers('pks')}"
    docs = {pk: orjson.loads(text) for pk, text in tx.rows(listed, {"pks": orjson.dumps(pks).decode()})}
    page = Page([docs[pk] for pk in pks], pks, len(ranked) if count else None)
    if scanned > INDEX_AFTER_ROWS:
        page.wants = plan.wants
    return page


def _follow(tx: Tx, plan: _Plan) -> q.Follow:
    """How a question looks at the entities that relationships lead to."""
    tenant = plan.bindings["tenant"]
    return lru_cache(FOLLOWED_KEPT)(lambda entity_id: get(tx, tenant, entity_id))


def _candidates(tx: Tx, plan: _Plan) -> Iterator[tuple[int, Doc]]:
    last = -1
    for pk, text in tx.iterate(plan.select("e.pk, e.doc"), plan.bindings):
        if pk != last:
            last = pk
            yield pk, orjson.loads(text)


class _Plan:
    """A query as SQL: where to start, what narrows, and whether that decides it exactly."""

    def __init__(self, tx: Tx, tenant: int, query: q.Query, gone: bool) -> None:
        self.bindings: dict[str, Any] = {"tenant": tenant}
        self.conditions: list[str] = [] if gone else ["e.gone IS NULL"]
        self.source = "entity e"
        self.wants: frozenset[str] = frozenset()
        self.exact = (
            query.q is None
            and query.geo is None
            and query.scope is None
            and query.id_pattern is None
            and not query.attrs
        )
        self._started = False
        self._order = "e.pk"
        self._tx = tx
        self._dialect = tx.dialect
        self._ids(query)
        self._geo(query.geo, tenant)
        self._q(query.q)
        self._types(query.types)

    def between(self, after: int, until: int) -> None:
        """Leave out the rows up to `after` and those behind `until`."""
        self.conditions += [f"{self._order} > {self._bind(after)}", f"{self._order} <= {self._bind(until)}"]

    def select(self, columns: str, *, ordered: bool = True) -> str:
        """The statement for these columns."""
        where = " AND ".join(["e.tenant = :tenant", *self.conditions])
        return f"SELECT {columns} FROM {self.source} WHERE {where}" + (f" ORDER BY {self._order}" if ordered else "")

    def _bind(self, value: Any) -> str:
        name = f"p{len(self.bindings)}"
        self.bindings[name] = value
        return f":{name}"

    def _ids(self, query: q.Query) -> None:
        if query.ids:
            self._started = True
            self.bindings["ids"] = orjson.dumps(list(query.ids)).decode()
            self.conditions.append(f"e.id IN {self._dialect.texts('ids')}")

    def _geo(self, geo: q.Geo | None, tenant: int) -> None:
        if geo is None or geo.box is None or self._started:
            return
        self._started = True
        west, south, east, north = geo.box
        touching = self._dialect.touching(*map(self._bind, (west, south, east, north)))
        join = self._dialect.joined
        self.source = f"place p {join} place_of o ON o.pk = p.pk {join} entity e ON e.pk = o.entity"
        attr = self._tx.row("SELECT pk FROM name WHERE text = :text", {"text": geo.attr})
        self.conditions += [
            touching,
            f"o.tenant = {self._bind(tenant)}",
            f"o.attr = {self._bind(attr[0] if attr else -1)}",
        ]

    def _q(self, node: q.Node | None) -> None:
        if node is None:
            return
        indexed = {row[0] for row in self._tx.rows("SELECT attr FROM attribute_index")}
        narrowed, wants = self._narrow(node, indexed)
        self.wants = frozenset(wants)
        if narrowed and not self._started:
            self._started = True
            self.source = f"({narrowed}) c {self._dialect.joined} entity e ON e.pk = c.pk"

    def _narrow(self, node: q.Node, indexed: set[str]) -> tuple[str, set[str]]:
        """A selection of rows that leaves no match out, or none; and the attributes whose index would give one."""
        tests: dict[str, list[str]] = {}
        for part in _conditions(node):
            test = self._test(part)
            if test:
                tests.setdefault(part.path.attr, []).append(test)
        for attr, found in tests.items():
            if attr in indexed:
                return self._rows_by_index(attr, " AND ".join(found)), set()
        return "", set(tests)

    def _rows_by_index(self, attr: str, test: str) -> str:
        """Rows whose attribute passes the test, is compound, or has several instances: each by its index."""
        index = self._dialect.indexed("entity", _index_name(self._tx, attr))
        value = self._dialect.attribute(attr)
        tests = [one.format(v=value) for one in (test, *self._dialect.compound)]
        parts = [f"SELECT pk FROM {index} WHERE tenant = :tenant AND {one}" for one in tests]
        return " UNION ".join([*parts, "SELECT pk FROM entity WHERE tenant = :tenant AND multi = 1"])

    def _test(self, node: q.Compare) -> str:
        """An SQL test on an attribute's value ({v}) that every match passes, compound values aside; empty for none."""
        value = node.value
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            return ""
        if node.op == "==" and node.expanded is None:
            return "{v} = " + self._operand(value)
        if isinstance(value, (int, float)) and node.op in {">", ">=", "<", "<="}:
            return f"{{v}} {node.op} {self._operand(value)}"
        return ""

    def _operand(self, value: Any) -> str:
        return self._dialect.operand(self._bind(self._dialect.given(value)))

    def _types(self, node: q.Node | None) -> None:
        if node is None:
            return
        if isinstance(node, q.TypeIs) and not self._started:
            self._started = True
            self.source = f"entity_type t {self._dialect.joined} entity e ON e.pk = t.entity"
            self._order = "t.entity"  # the same numbers, but by this name the order is seen to be there already
            self.conditions += ["t.tenant = :tenant", f"t.type = {self._type(node.iri)}"]
        else:
            self.conditions.append(self._type_test(node))

    def _type(self, iri: str) -> str:
        found = self._tx.row("SELECT pk FROM name WHERE text = :text", {"text": iri})
        return self._bind(found[0] if found else -1)

    def _type_test(self, node: q.Node) -> str:
        if isinstance(node, q.TypeIs):
            return (
                "EXISTS (SELECT 1 FROM entity_type t"
                f" WHERE t.tenant = :tenant AND t.type = {self._type(node.iri)} AND t.entity = e.pk)"
            )
        if isinstance(node, (q.And, q.Or)):
            joint = " AND " if isinstance(node, q.And) else " OR "
            return "(" + joint.join(self._type_test(part) for part in node.parts) + ")"
        raise TypeError(f"no type selection: {node!r}")


def _conditions(node: q.Node) -> Iterator[q.Compare]:
    """The comparisons of whole attributes that must all hold where the node does."""
    if isinstance(node, q.And):
        for part in node.parts:
            yield from _conditions(part)
    elif isinstance(node, q.Compare) and not node.path.subs and not node.path.keys:
        yield node


def _index_name(tx: Tx, attr: str) -> str:
    return f"attribute_{history.name(tx, attr)}"


def make_index(tx: Tx, attr: str, at: Instant) -> bool:
    """Index the values of an attribute; False when it has one or there are enough."""
    if tx.row("SELECT 1 FROM attribute_index WHERE attr = :attr", {"attr": attr}):
        return False
    held = tx.row("SELECT count(*) FROM attribute_index")
    if held and held[0] >= INDEXES_MAX:
        return False
    tx.run(f"CREATE INDEX {_index_name(tx, attr)} ON entity(tenant, {tx.dialect.attribute(attr)})")
    tx.run("INSERT INTO attribute_index VALUES(:attr, :at)", {"attr": attr, "at": at})
    return True
