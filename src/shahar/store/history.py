"""Attribute instances over time.

One row for each instance: entity, instant (observedAt where it has one, else the moment of the change), attribute,
dataset, kind. The table is clustered by entity and instant, so the readings of one update share a page.
Promises: a reading told twice is kept once (same entity, attribute, dataset, observedAt: the later telling corrects
the earlier); the order of arrival does not matter; a deletion leaves a tombstone.
Does not: seal days into the lake, downsample (issue "two engines"); know names' meaning.
Source: ETSI GS CIM 009 clauses 4.5.6, 4.11 (temporal query), 5.7.3.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from shahar.store.db import Bulk, Tx
from shahar.store.dialect import SQLITE
from shahar.values.bounds import TEMPORAL_INSTANCES
from shahar.values.errors import TooMany
from shahar.values.instants import Instant

UNOBSERVED: Final = 0
OBSERVED: Final = 1
DELETED: Final = 2

Key = tuple[int, Instant, int, int, int, Instant, str]

_ROWS: Final = Bulk(
    "INSERT OR FAIL INTO history(entity, at, attr, dataset, kind, modified_at, doc)",
    7,
    "ON CONFLICT(entity, at, attr, dataset, kind) DO UPDATE SET modified_at = excluded.modified_at, doc = excluded.doc",
)


@dataclass(frozen=True, slots=True)
class Span:
    """Which instances are wanted: instants in [start, end) of the time property; the newest `last` of each series when
    given.
    """

    start: Instant | None = None
    end: Instant | None = None
    by: str = "observedAt"
    last: int | None = None


def name(tx: Tx, text: str) -> int:
    """The number of an attribute name or dataset id, made when it is new."""
    return names(tx)[text]


def names(tx: Tx) -> Mapping[str, int]:
    """Name -> number for every name: one that is new is made when it is looked up."""
    found: _Names | None = tx.memory.get("names")
    if found is None:
        found = tx.memory["names"] = _Names(tx)
    return found


class _Names(dict[str, int]):
    """The names that were looked up so far; a known one costs a dictionary's look."""

    def __init__(self, tx: Tx) -> None:
        super().__init__()
        self._tx = tx

    def __missing__(self, text: str) -> int:
        row = self._tx.row("SELECT pk FROM name WHERE text = :text", {"text": text}, apart=True)
        if row is None:
            row = self._tx.row("INSERT INTO name(text) VALUES(:text) RETURNING pk", {"text": text}, apart=True)
        assert row is not None
        number = self[text] = int(row[0])
        return number


def append(tx: Tx, rows: Sequence[Key]) -> None:
    """Write instances; a row of the same series and instant is replaced."""
    tx.later(_ROWS, rows)


def add(tx: Tx, row: Key) -> bool:
    """Write one instance unless the very same is there; whether it was new or different."""
    entity, at, attr, dataset, kind, _, doc = row
    found = tx.row(
        "SELECT doc FROM history WHERE entity = :e AND at = :at AND attr = :a AND dataset = :d AND kind = :k",
        {"e": entity, "at": at, "a": attr, "d": dataset, "k": kind},
    )
    if found is not None and _bare(orjson.loads(found[0])) == _bare(orjson.loads(doc)):
        return False
    append(tx, [row])
    return True


def _bare(instance: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in instance.items() if key not in {"createdAt", "modifiedAt"}}


def window(
    tx: Tx, entity: int, span: Span, attrs: Collection[str] = (), *, most: int = TEMPORAL_INSTANCES
) -> dict[str, list[dict[str, Any]]]:
    """Attribute IRI -> instances in the order of time, as `span` wants them; `attrs` narrows, empty means all."""
    where, bindings = _conditions(span)
    bindings |= {"entity": entity, "limit": most + 1}
    if attrs:
        known = [
            number[0]
            for number in tx.rows(
                f"SELECT pk FROM name WHERE text IN {SQLITE.listed('names')}",
                {"names": orjson.dumps(list(attrs)).decode()},
            )
        ]
        where += f" AND attr IN {SQLITE.listed('attrs')}"
        bindings["attrs"] = orjson.dumps(known).decode()
    chosen = f"SELECT at, attr, dataset, kind, doc, modified_at FROM history WHERE entity = :entity AND {where}"
    if span.last is not None:
        chosen = (
            "SELECT at, attr, dataset, kind, doc, modified_at FROM ("
            "SELECT *, row_number() OVER (PARTITION BY attr, dataset ORDER BY at DESC) AS rank"
            f" FROM ({chosen})) WHERE rank <= :last"
        )
        bindings["last"] = span.last
    rows = tx.iterate(
        f"SELECT h.at, n.text, h.kind, h.doc FROM ({chosen}) h JOIN name n ON n.pk = h.attr ORDER BY h.at LIMIT :limit",
        bindings,
    )
    return _collect(rows, most)


def _collect(rows: Iterable[Any], most: int) -> dict[str, list[dict[str, Any]]]:
    series: dict[str, list[dict[str, Any]]] = {}
    for number, (at, attr, kind, text) in enumerate(rows):
        if number == most:
            raise TooMany(
                "the history asked for is too long: narrow the time or ask for lastN",
                field="timerel",
                rule=f"at most {TEMPORAL_INSTANCES} instances in one answer",
            )
        instance = orjson.loads(text)
        if kind == DELETED:
            instance["deletedAt"] = at
        series.setdefault(attr, []).append(instance)
    return series


def _conditions(span: Span) -> tuple[str, dict[str, Any]]:
    column = {
        "observedAt": "at",
        "deletedAt": "at",
        "modifiedAt": "modified_at",
        "createdAt": "json_extract(doc, '$.createdAt')",
    }[span.by]
    parts = ["kind = 1"] if span.by == "observedAt" else ["kind = 2"] if span.by == "deletedAt" else ["kind < 2"]
    bindings: dict[str, Any] = {}
    if span.start is not None:
        parts.append(f"{column} >= :start")
        bindings["start"] = span.start
    if span.end is not None:
        parts.append(f"{column} < :end")
        bindings["end"] = span.end
    return " AND ".join(parts), bindings


def points(tx: Tx, entity: int, attr: str, start: Instant, end: Instant, limit: int) -> list[tuple[Instant, Any]]:
    """(instant, value) of one attribute's observed default instances in [start, end), oldest first: for a chart.

    Of more than `limit` the newest: what is left out is the far past, never the present.
    """
    newest = tx.rows(
        "SELECT at, json_extract(doc, '$.value') FROM history"
        " WHERE entity = :entity AND at >= :start AND at < :end AND kind = 1"
        " AND attr = (SELECT pk FROM name WHERE text = :attr) AND dataset = 0 ORDER BY at DESC LIMIT :limit",
        {"entity": entity, "attr": attr, "start": start, "end": end, "limit": limit},
    )
    return [(int(at), value) for at, value in reversed(newest)]
