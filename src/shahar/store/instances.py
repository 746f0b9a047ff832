"""Single instances of an attribute over time: their ids, and how one is found, corrected and taken out.

An id is made of the place of the instance's row, so that the hot path pays nothing for it. When a correction moves an
instance to another place, the row keeps its id in its document, and a record says where it is now; a newcomer in the
old place is told from it by a number behind its id.
Promises: an id names one instance for as long as the instance is there, whatever is corrected in it.
An instance in a sealed day is corrected by a row that overrides it, and taken out by a mark (store/sealed).
Does not: change the present state; decide who may.
Source: ETSI GS CIM 009 clauses 4.5.7, 5.6.13 to 5.6.16.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import orjson

from shahar.model.temporal import Span
from shahar.store import records, sealed
from shahar.store.db import Tx
from shahar.store.history import DELETED, SCOPE, text
from shahar.values.instants import Instant

PREFIX: Final = "urn:ngsi-ld:Instance:"
CHUNK: Final = 20_000
"""Rows that one work of the writer looks at when much is taken out."""
_ID: Final = re.compile(
    r"([0-9a-f]{1,16})-([0-9a-f]{16})-([0-9a-f]{1,16})-([0-9a-f]{1,16})-([012])(?:\.\d{1,6})?", re.ASCII
)
_KIND: Final = "instance"
_BITS: Final = 1 << 64


class Place(NamedTuple):
    """Where the row of an instance stands among those of its entity."""

    at: Instant
    attr: int
    dataset: int
    kind: int


class Names:
    """The ids of an entity's instances by their places."""

    def __init__(self, tx: Tx, tenant: int, pk: int) -> None:
        self._pk = pk
        low = f"{pk:x}-"
        rows = tx.rows(
            "SELECT key FROM record WHERE kind = :kind AND tenant = :tenant AND key > :low AND key < :high",
            {"kind": _KIND, "tenant": tenant, "low": low, "high": low + "g"},
        )
        self._taken = {row[0] for row in rows}

    def of(self, place: Place) -> str:
        """The id of the instance that stands there and was never moved."""
        bare = f"{self._pk:x}-{place.at % _BITS:016x}-{place.attr:x}-{place.dataset:x}-{place.kind}"
        name, number = bare, 0
        while name in self._taken:
            number += 1
            name = f"{bare}.{number}"
        return PREFIX + name


def find(tx: Tx, tenant: int, pk: int, attr: int, instance_id: str) -> tuple[Place, dict[str, Any]] | None:
    """The place and document of the instance of this id, None when there is none."""
    name = instance_id.removeprefix(PREFIX)
    parts = _ID.fullmatch(name)
    if name == instance_id or not parts:
        return None
    moved = records.get(tx, _KIND, tenant, name)
    if moved is not None:
        if "gone" in moved:
            return None
        place = Place(moved["at"], moved["attr"], moved["dataset"], moved["kind"])
    else:
        numbers = [int(part, 16) for part in parts.groups()]
        at = numbers[1] - _BITS if numbers[1] >= _BITS >> 1 else numbers[1]
        if numbers[0] != pk or numbers[2] != attr or numbers[3] >= _BITS >> 1:
            return None
        place = Place(at, numbers[2], numbers[3], numbers[4])
    doc = at_place(tx, pk, place)
    if doc is None or place.attr != attr:
        return None
    shown = doc.get("instanceId") or Names(tx, tenant, pk).of(place)
    return (place, doc) if shown == instance_id else None


def at_place(tx: Tx, pk: int, place: Place) -> dict[str, Any] | None:
    """The document of the instance that stands there."""
    row = tx.row(f"SELECT doc FROM history WHERE {_HERE}", _bound(pk, place))
    text = row[0] if row is not None else sealed.told_at(tx, pk, [place.at]).get(place)
    return None if text is None else orjson.loads(text)


_HERE: Final = "entity = :e AND at = :at AND attr = :attr AND dataset = :dataset AND kind = :kind"


def _bound(pk: int, place: Place) -> dict[str, Any]:
    return {"e": pk, **place._asdict()}


def put(
    tx: Tx, tenant: int, pk: int, old: Place, new: Place, instance_id: str, doc: dict[str, Any], at: Instant
) -> None:
    """Write a corrected instance, in its old place or a new one, where it takes the place of what stood there."""
    tx.run(f"DELETE FROM history WHERE {_HERE}", _bound(pk, old))
    if new != old:
        _strike(tx, pk, old)
    if new != old or "instanceId" in doc:
        doc = {**doc, "instanceId": instance_id}
        records.put(tx, _KIND, tenant, instance_id.removeprefix(PREFIX), new._asdict(), at, journaled=False)
    tx.run(
        "INSERT INTO history VALUES(:e, :at, :attr, :dataset, :kind, :modified, :doc)"
        " ON CONFLICT(entity, at, attr, dataset, kind)"
        " DO UPDATE SET modified_at = excluded.modified_at, doc = excluded.doc",
        _bound(pk, new) | {"modified": doc["modifiedAt"], "doc": orjson.dumps(doc).decode()},
    )


def drop(tx: Tx, tenant: int, pk: int, place: Place, instance_id: str, at: Instant) -> None:
    """Take one instance out. The id of one that was moved stays taken: what stands in its first place has another."""
    tx.run(f"DELETE FROM history WHERE {_HERE}", _bound(pk, place))
    _strike(tx, pk, place)
    name = instance_id.removeprefix(PREFIX)
    if records.get(tx, _KIND, tenant, name) is not None:
        records.put(tx, _KIND, tenant, name, {"gone": True}, at, journaled=False)


def _strike(tx: Tx, pk: int, place: Place) -> None:
    sealed.strike(tx, pk, sealed.EVER, place.attr, place.dataset, place.at, place.kind)


def newest(tx: Tx, pk: int, attr: int, dataset: int) -> tuple[Place, dict[str, Any]] | None:
    """The newest instance of a series that no deletion followed: what its present value is."""
    row = tx.row(
        "SELECT at, kind FROM history WHERE entity = :e AND attr = :attr AND dataset = :dataset"
        " ORDER BY at DESC, kind DESC LIMIT 1",
        {"e": pk, "attr": attr, "dataset": dataset},
    )
    places = [] if row is None else [Place(row[0], attr, dataset, row[1])]
    if text(tx, attr) != SCOPE:
        span = Span(row[0] if row else None, by="")
        part = sealed.of_entity(tx, pk, span, attr, dataset, deleted=True)
        places += [] if part is None else [Place(at, attr, dataset, kind) for *_, at, kind in part.newest(1)]
    if not places:
        return None
    place = max(places)
    doc = None if place.kind == DELETED else at_place(tx, pk, place)
    return None if doc is None else (place, doc)


def has(tx: Tx, pk: int, attr: int, dataset: int | None) -> bool:
    """Whether there is any row of an attribute (of one dataset of it, unless that is None)."""
    test = "" if dataset is None else " AND dataset = :dataset"
    given = {"e": pk, "attr": attr} | ({} if dataset is None else {"dataset": dataset})
    if tx.row(f"SELECT 1 FROM history WHERE entity = :e AND attr = :attr{test} LIMIT 1", given) is not None:
        return True
    part = sealed.of_entity(tx, pk, Span(by=""), attr, dataset, deleted=True)
    return part is not None and bool(part.present())


def clear(
    tx: Tx, pk: int, since: Instant | None, until: Instant, attr: int | None = None, dataset: int | None = None
) -> Instant | None:
    """Take out an entity's rows (of one attribute, one dataset) that were written until `until`, beginning at instant
    `since`; where to go on, None when it is done.
    """
    given: dict[str, Any] = {"e": pk, "until": until}
    begin = "entity = :e"
    if since is None:
        sealed.strike(tx, pk, until, attr, dataset)
    else:
        begin, given["since"] = "entity = :e AND at >= :since", since
    row = tx.row(f"SELECT at FROM history WHERE {begin} ORDER BY at LIMIT 1 OFFSET :skip", given | {"skip": CHUNK})
    test = f"{begin} AND modified_at <= :until"
    if row is not None:
        row = (max(row[0], (since if since is not None else row[0] - 1) + 1),)
        test, given["next"] = f"{test} AND at < :next", row[0]
    for name, value in (("attr", attr), ("dataset", dataset)):
        if value is not None:
            test, given[name] = f"{test} AND {name} = :{name}", value
    tx.run(f"DELETE FROM history WHERE {test}", given)
    return row[0] if row else None


def forget(tx: Tx, tenant: int, pk: int) -> None:
    """Drop what is known of an entity's moved instances."""
    tx.run(
        "DELETE FROM record WHERE kind = :kind AND tenant = :tenant AND key > :low AND key < :high",
        {"kind": _KIND, "tenant": tenant, "low": f"{pk:x}-", "high": f"{pk:x}-g"},
    )
