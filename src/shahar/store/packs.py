"""A batch of plain entities taken in by one statement a table: rows that were made elsewhere (store/packing) get the
numbers that only the writer knows, and the engine copies them in, while Python is free for others.

Promises: what `take` leaves in the store, and in what the writer remembers, is what the same wishes one by one leave
(tests/property/test_packs.py). It does all or nothing: None says that a member is not what it takes, and that nothing
was written.
Takes: entities under ids that were never used, or in the place of plain ones of the same shape which the writer
remembers as such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Final

from shahar.model.bulk import Pack
from shahar.store import entities, history, packing, shapes
from shahar.store.db import Bulk, Tx
from shahar.store.entities import Held

_PLACES: Final = Bulk("pack.place", {"i": int, "pk": int, "created": int, "fresh": int}, fresh=True)
_TYPES: Final = Bulk("pack.type", {"kinds": int, "pk": int}, fresh=True)
_ATTRS: Final = Bulk("pack.attr", {"i": int, "pk": int}, fresh=True)
_FROM: Final = "FROM pack.one o CROSS JOIN pack.place p ON p.i = o.i"
_ENTITIES: Final = (
    "INSERT INTO entity(pk, tenant, id, gone, multi, doc)"
    f" SELECT p.pk, :tenant, o.id, NULL, 0, o.head || p.created || :rest || o.attrs || '}}' {_FROM} WHERE true"
    " ON CONFLICT(pk) DO UPDATE SET gone = excluded.gone, multi = excluded.multi, doc = excluded.doc"
)
_ENTITY_TYPES: Final = (
    "INSERT INTO entity_type(tenant, type, entity)"
    f" SELECT :tenant, t.pk, p.pk {_FROM} CROSS JOIN pack.type t ON t.kinds = o.kinds WHERE p.fresh"
)
_HISTORY: Final = (
    "INSERT INTO history(entity, at, attr, dataset, kind, modified_at, doc)"
    " SELECT p.pk, l.at, a.pk, 0, l.kind, :at, CAST(substr(o.attrs, l.start, l.length) AS TEXT)"
    " FROM pack.line l CROSS JOIN pack.one o ON o.i = l.one CROSS JOIN pack.place p ON p.i = l.one"
    " CROSS JOIN pack.attr a ON a.i = l.attr WHERE true"
    " ON CONFLICT(entity, at, attr, dataset, kind)"
    " DO UPDATE SET modified_at = excluded.modified_at, doc = excluded.doc"
)
_JOURNAL: Final = (
    "INSERT INTO journal(seq, tenant, at, kind, key, what)"
    " SELECT :seq + o.i, :tenant, :at, CASE p.fresh WHEN 1 THEN 'entity.created' ELSE 'entity.updated' END, o.id,"
    f""" '{{"set":' || o.attrs || ',"types":' || k.text || '}}' {_FROM} CROSS JOIN pack.kinds k ON k.i = o.kinds"""
)
_TAKEN: Final = (_ENTITIES, _ENTITY_TYPES, _HISTORY, _JOURNAL)


def take(tx: Tx, tenant: int, given: Pack, *, replace: bool) -> list[bool] | None:
    """Write the entities of a pack; of each whether it is new. `replace`: one that is there may be replaced unread."""
    held = entities.remembered(tx, tenant, given.ids)
    if held is None or not _fits(given, held, replace):
        return None
    places = _places(tx, given, held)
    names = history.names(tx)
    tx.later(_PLACES, places)
    tx.later(_TYPES, [(number, names[kind]) for number, kinds in enumerate(given.kinds) for kind in kinds])
    tx.later(_ATTRS, [(number, names[attr]) for number, attr in enumerate(given.attrs)])
    bindings = {"tenant": tenant, "at": given.at, "rest": packing.rest(given.at)}
    bindings["seq"] = tx.next("journal", len(given.ids))
    for statement in _TAKEN:
        tx.run(statement, bindings)
    _remember(tx, tenant, given, places)
    return [one is None for one in held]


def _fits(given: Pack, held: Sequence[Held | None], replace: bool) -> bool:
    """Whether each entity that is there may be replaced, and is plain, older, and of the shape of what comes."""
    for one, shape in zip(held, given.shaped, strict=True):
        if one is None:
            continue
        if not replace or one.plain is None or one.gone:
            return False
        if one.plain[0] != given.shapes[shape] or one.plain[2] >= given.at:
            return False
    return True


def _places(tx: Tx, given: Pack, held: Sequence[Held | None]) -> list[tuple[int, int, int, bool]]:
    """The number of each entity, its row's, when it was made, whether it is new."""
    fresh = count(tx.next("entity", held.count(None)))
    places = []
    for number, one in enumerate(held):
        if one is None or one.plain is None:
            places.append((number, next(fresh), given.at, True))
        else:
            places.append((number, one.pk, one.plain[1], False))
    return places


def _remember(tx: Tx, tenant: int, given: Pack, places: Sequence[tuple[int, int, int, bool]]) -> None:
    """Count the shapes of what is new; note what was written, without its text."""
    fresh: Counter[int] = Counter()
    for entity_id, shaped, (_, pk, created, new) in zip(given.ids, given.shaped, places, strict=True):
        entities.note(tx, tenant, entity_id, pk, (given.shapes[shaped], created, given.at))
        fresh[shaped] += new
    for shaped, number in fresh.items():
        shapes.more(tx, tenant, given.shapes[shaped], number)
