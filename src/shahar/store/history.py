"""Attribute instances over time.

One row for each instance: entity, instant (observedAt where it has one, else the moment of the change), attribute,
dataset, kind. The table is clustered by entity and instant, so the readings of one update share a page.
Promises: a reading told twice is kept once (same entity, attribute, dataset, observedAt: the later telling corrects
the earlier); the order of arrival does not matter; a deletion leaves a tombstone.
Does not: seal days (store/sealed, store/moving); know names' meaning; read windows (store/windows).
Source: ETSI GS CIM 009 clauses 4.5.6, 4.5.7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from shahar.store import sealed
from shahar.store.db import Bulk, Tx
from shahar.values.instants import Instant

UNOBSERVED: Final = 0
OBSERVED: Final = 1
DELETED: Final = 2

SCOPE: Final = "scope"
"""The name under which an entity's scopes are kept over time; no attribute's IRI is like it."""

Key = tuple[int, Instant, int, int, int, Instant, str]

_ROWS: Final = Bulk(
    "history",
    {"entity": int, "at": int, "attr": int, "dataset": int, "kind": int, "modified_at": int, "doc": str},
    "ON CONFLICT(entity, at, attr, dataset, kind) DO UPDATE SET modified_at = excluded.modified_at, doc = excluded.doc",
    key=5,
    mostly_new=True,
)


def name(tx: Tx, text: str) -> int:
    """The number of an attribute name or dataset id, made when it is new."""
    return names(tx)[text]


def number(tx: Tx, text: str) -> int | None:
    """The number of a name, None when it was never used: for who must not make one."""
    row = tx.row("SELECT pk FROM name WHERE text = :text", {"text": text}, apart=True)
    return None if row is None else int(row[0])


def text(tx: Tx, number: int) -> str:
    """The name of a number."""
    texts: dict[int, str] = tx.known.setdefault("texts", {})
    if number not in texts:
        row = tx.row("SELECT text FROM name WHERE pk = :pk", {"pk": number}, apart=True)
        texts[number] = str(row[0]) if row else ""
    return texts[number]


def names(tx: Tx) -> Mapping[str, int]:
    """Name -> number for every name: one that is new is made when it is looked up."""
    found: _Names | None = tx.known.get("names")
    if found is None:
        found = tx.known["names"] = _Names(tx)
    return found


class _Names(dict[str, int]):
    """The names that were looked up so far; a known one costs a dictionary's look."""

    def __init__(self, tx: Tx) -> None:
        super().__init__()
        self._tx = tx

    def __missing__(self, text: str) -> int:
        row = self._tx.row("SELECT pk FROM name WHERE text = :text", {"text": text}, apart=True)
        if row is None:
            number = self._tx.next("name")
            self._tx.run("INSERT INTO name(pk, text) VALUES(:pk, :text)", {"pk": number, "text": text}, apart=True)
        else:
            number = int(row[0])
        self[text] = number
        return number


def append(tx: Tx, rows: Sequence[Key]) -> None:
    """Write instances; a row of the same series and instant is replaced."""
    tx.later(_ROWS, rows)


def add(tx: Tx, rows: Sequence[Key]) -> list[bool]:
    """Write instances of one entity unless the very same are there; which were new or different."""
    found = tx.rows(
        "SELECT at, attr, dataset, kind, doc FROM history"
        f" WHERE entity = :entity AND at IN {tx.dialect.numbers('instants')}",
        {"entity": rows[0][0], "instants": orjson.dumps([row[1] for row in rows]).decode()},
    )
    known: dict[tuple[int, ...], str] = {tuple(place): text for *place, text in found}
    missing = [row[1] for row in rows if row[1:5] not in known]
    if missing:
        known.update({(*place,): text for place, text in sealed.told_at(tx, rows[0][0], missing).items()})
    fresh = []
    for row in rows:
        text = known.get(row[1:5])
        fresh.append(text is None or _bare(orjson.loads(text)) != _bare(orjson.loads(row[6])))
    append(tx, [row for row, new in zip(rows, fresh, strict=True) if new])
    return fresh


def _bare(instance: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in instance.items() if key not in {"createdAt", "modifiedAt"}}


def points(tx: Tx, entity: int, attr: str, start: Instant, end: Instant, limit: int) -> list[tuple[Instant, Any]]:
    """(instant, value) of one attribute's observed default instances in [start, end), oldest first: for a chart.

    Of more than `limit` the newest: what is left out is the far past, never the present.
    """
    newest = tx.rows(
        f"SELECT at, {tx.dialect.part('doc', 'value')} FROM history"
        " WHERE entity = :entity AND at >= :start AND at < :end AND kind = 1"
        " AND attr = (SELECT pk FROM name WHERE text = :attr) AND dataset = 0 ORDER BY at DESC LIMIT :limit",
        {"entity": entity, "attr": attr, "start": start, "end": end, "limit": limit},
    )
    found = [(int(at), None if value is None else orjson.loads(value)) for at, value in newest]
    if len(found) < limit:
        found += sealed.points(tx, entity, number(tx, attr), start, end, limit)
        found.sort(key=lambda point: -point[0])
    return found[:limit][::-1]
