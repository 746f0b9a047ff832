"""Rows of history on their way into the lake: marked, spooled, switched over, and taken out of the store.

The order is what makes it safe to be killed anywhere:
1. `begin` writes the day's row in `sealed`: from now on what is taken out of the day leaves a mark.
2. `spooled` gives the day's rows, a bounded number at a time; store/lake writes them and the old file into a new one.
3. `switch` names the new file in the day's row and drops the marks that are in it already, in one transaction. The rows
   in history still override the same ones in the file: nobody sees a difference.
4. `settle` takes those rows out of history that were read back from the file, letter by letter the same; a row that was
   changed meanwhile stays and overrides.
Promises: a row leaves history only when the valid file gives it back; each work is short, so that no writer waits long.
Does not: decide which days (services/sealing).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from shahar.model.columns import KINDS, Columns, fold, text_of
from shahar.store import history
from shahar.store.db import Tx
from shahar.store.lake import File, Made, Sealed
from shahar.store.sealed import EVER, marks
from shahar.values.instants import DAY, Instant

__all__ = ["EVER", "START", "Line", "Place"]

ROWS: Final = 5_000
"""Rows that one work reads or takes out, about."""
ENTITIES: Final = 2_000
"""Entities that one work looks at."""
Place = tuple[str, Instant, int, int, int]
"""Up to where a day was read: entity, instant, attribute, dataset, kind."""
START: Final[Place] = ("", 0, 0, 0, 0)
Line = tuple[str, str, str, str, Instant, Columns]
"""An instance for the spool: entity, its types, attribute, dataset, instant, columns."""


def oldest(tx: Tx, tenant: int, since: Instant, before: Instant, after: str) -> tuple[Instant | None, str | None]:
    """The first instant in [since, before) of some entities' history, scopes left out, of the entities behind `after`
    in the order of ids; and up to which entity was looked, None: to the last."""
    first = (
        "SELECT at FROM history WHERE entity = e.pk AND at >= :since AND at < :before AND attr <> :scope"
        " ORDER BY at LIMIT 1"
    )
    rows = tx.rows(
        f"SELECT id, ({first}) FROM entity e WHERE tenant = :tenant AND id > :after ORDER BY id LIMIT :most",
        {"tenant": tenant, "since": since, "before": before, "after": after, "scope": _scope(tx), "most": ENTITIES},
    )
    found = min((int(at) for _, at in rows if at is not None), default=None)
    return found, str(rows[-1][0]) if len(rows) == ENTITIES else None


def begin(tx: Tx, tenant: int, day: int) -> int:
    """Mark the day as one that is being sealed; the number of the last mark that its new file will have taken in."""
    tx.run(
        "INSERT INTO sealed VALUES(:tenant, :day, '', 0, '', 0, 0, 0, 0, 0, '') ON CONFLICT(tenant, day) DO NOTHING",
        {"tenant": tenant, "day": day},
    )
    row = tx.row("SELECT coalesce(max(pk), 0) FROM void")
    return int(row[0]) if row else 0


def void(tx: Tx, tenant: int, day: int, mark: int) -> list[dict[str, Any]]:
    """What was taken out of a day up to a mark."""
    test = "pk <= :mark AND (at IS NULL OR (at >= :low AND at < :high))"
    return marks(tx, tenant, test, {"mark": mark, "low": day * DAY, "high": (day + 1) * DAY})


def spooled(tx: Tx, tenant: int, day: int, after: Place) -> tuple[list[Line], Place | None]:
    """Instances of a day behind a place, in the order of entities; and where to go on, None: it was the last."""
    entity, at, attr, dataset, kind = after
    of = tx.rows(
        "SELECT pk, id, doc FROM entity WHERE tenant = :tenant AND id >= :after ORDER BY id LIMIT :most",
        {"tenant": tenant, "after": entity, "most": ENTITIES},
    )
    low = max(day * DAY, at) if entity else day * DAY
    lines: list[Line] = []
    for pk, name, doc in of:
        given = {"e": pk, "low": low, "high": (day + 1) * DAY, "scope": _scope(tx), "most": ROWS}
        behind = ""
        if name == entity:
            behind = " AND (at, attr, dataset, kind) > (:at, :attr, :dataset, :kind)"
            given |= {"at": at, "attr": attr, "dataset": dataset, "kind": kind}
        else:
            given["low"] = day * DAY
        rows = tx.rows(
            "SELECT at, attr, dataset, kind, modified_at, doc FROM history WHERE entity = :e AND at >= :low"
            f" AND at < :high AND attr <> :scope{behind} ORDER BY at, attr, dataset, kind LIMIT :most",
            given,
        )
        types = " ".join(orjson.loads(doc)["type"]) if rows else ""
        lines += [
            (name, types, history.text(tx, a), history.text(tx, d) if d else "", t, fold(text, t, k, modified))
            for t, a, d, k, modified, text in rows
        ]
        if len(rows) == ROWS:
            return lines, (name, *rows[-1][:4])
        if len(lines) >= ROWS:
            return lines, (name, (day + 1) * DAY, 0, 0, 0)
    return lines, (of[-1][1], (day + 1) * DAY, 0, 0, 0) if len(of) == ENTITIES else None


def file_of(tx: Tx, tenant: int, day: int) -> File | None:
    """The valid file of a day."""
    row = tx.row(
        "SELECT file, bytes, sha256 FROM sealed WHERE tenant = :tenant AND day = :day AND file <> ''",
        {"tenant": tenant, "day": day},
    )
    return None if row is None else File(*row)


def switch(tx: Tx, tenant: int, day: int, made: Made | None, mark: int, thinned: str, at: Instant) -> None:
    """Make a new file the valid one of its day (None: nothing is left of it), and drop the marks that it has taken in.

    `thinned`: the rules by which it was thinned.
    """
    given: dict[str, Any] = {"tenant": tenant, "day": day}
    old = file_of(tx, tenant, day)
    if old is not None:
        tx.run("INSERT INTO outdated VALUES(:file, :at) ON CONFLICT(file) DO NOTHING", {"file": old.name, "at": at})
    if made is None:
        tx.run("DELETE FROM sealed WHERE tenant = :tenant AND day = :day", given)
    else:
        tx.run(
            "UPDATE sealed SET file = :file, bytes = :bytes, sha256 = :sha256, instances = :rows, modified_from = :m1,"
            " modified_to = :m2, created_from = :c1, created_to = :c2, thinned = :thinned"
            " WHERE tenant = :tenant AND day = :day",
            given
            | {"file": made.file.name, "bytes": made.file.bytes, "sha256": made.file.sha256, "rows": made.rows}
            | {"m1": made.modified[0], "m2": made.modified[1], "c1": made.created[0], "c2": made.created[1]}
            | {"thinned": thinned},
        )
    tx.run(
        "DELETE FROM void WHERE tenant = :tenant AND at >= :low AND at < :high AND pk <= :mark",
        {"tenant": tenant, "low": day * DAY, "high": (day + 1) * DAY, "mark": mark},
    )


def settle(tx: Tx, tenant: int, day: int, rows: Sequence[Sealed]) -> int:
    """Take out of history what was read back the same from the day's valid file; how many rows that were. Of an entity
    of which something was taken out meanwhile nothing is, until the next sealing.
    """
    gone = 0
    ids = {one.entity for one in rows}
    test = f"id IN {tx.dialect.texts('ids')} AND (at IS NULL OR (at >= :low AND at < :high))"
    given = {"ids": _json(list(ids)), "low": day * DAY, "high": (day + 1) * DAY}
    void = {one["entity"] for one in marks(tx, tenant, test, given)}
    pks: dict[str, int] = dict(
        tx.rows(
            f"SELECT id, pk FROM entity WHERE tenant = :tenant AND id IN {tx.dialect.texts('ids')}",
            {"tenant": tenant, "ids": _json(list(ids))},
        )
    )
    for one in rows:
        if one.entity not in pks or one.entity in void:
            continue
        gone += tx.run(
            "DELETE FROM history WHERE entity = :e AND at = :at AND attr = :attr AND dataset = :dataset"
            " AND kind = :kind AND modified_at = :modified AND doc = :doc",
            {
                "e": pks[one.entity],
                "at": one.at,
                "attr": history.name(tx, one.attribute),
                "dataset": history.name(tx, one.dataset) if one.dataset else 0,
                "kind": KINDS.index(one.columns.kind),
                "modified": one.columns.modified,
                "doc": text_of(one.columns, one.at),
            },
        )
    return gone


def days_with_marks(tx: Tx, tenant: int) -> list[int]:
    """The sealed days of which single instances were taken out."""
    rows = tx.rows("SELECT DISTINCT at FROM void WHERE tenant = :tenant AND at IS NOT NULL", {"tenant": tenant})
    return sorted({int(at) // DAY for (at,) in rows})


def wide_marks(tx: Tx, tenant: int) -> tuple[list[dict[str, Any]], int]:
    """What was taken out of all days at once, and the number of the last such mark."""
    found = marks(tx, tenant, "at IS NULL", {})
    row = tx.row("SELECT coalesce(max(pk), 0) FROM void WHERE tenant = :tenant AND at IS NULL", {"tenant": tenant})
    return found, int(row[0]) if row else 0


def drop_wide_marks(tx: Tx, tenant: int, mark: int) -> None:
    """Forget the marks over all days up to one: no file holds anything any more that they are about."""
    tx.run("DELETE FROM void WHERE tenant = :tenant AND at IS NULL AND pk <= :mark", {"tenant": tenant, "mark": mark})


def days(tx: Tx, tenant: int) -> list[tuple[int, File, str]]:
    """Every sealed day of a tenant: its number, its file, and by what it was thinned."""
    rows = tx.rows(
        "SELECT day, file, bytes, sha256, thinned FROM sealed WHERE tenant = :tenant AND file <> '' ORDER BY day",
        {"tenant": tenant},
    )
    return [(int(day), File(*file), thinned) for day, *file, thinned in rows]


def note_outdated(tx: Tx, names: Sequence[str], at: Instant) -> None:
    """Remember files that lie in the lake and are valid nowhere, as of an instant, unless they are remembered."""
    valid = {row[0] for row in tx.rows("SELECT file FROM sealed")}
    known = {row[0] for row in tx.rows("SELECT file FROM outdated")}
    for name in names:
        if name not in valid and name not in known:
            tx.run("INSERT INTO outdated VALUES(:file, :at)", {"file": name, "at": at})


def outdated(tx: Tx, until: Instant) -> list[str]:
    """Files that have been valid no more since an instant or longer."""
    return [row[0] for row in tx.rows("SELECT file FROM outdated WHERE at <= :until", {"until": until})]


def forget_outdated(tx: Tx, names: Sequence[str]) -> None:
    """Forget files that are gone."""
    for name in names:
        tx.run("DELETE FROM outdated WHERE file = :file", {"file": name})


def _scope(tx: Tx) -> int:
    return history.number(tx, history.SCOPE) or 0


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
