"""The sealed part of the past: which files are valid, what of them still counts, and what a question finds in them.

A sealed day is a file in the lake, named by a row of `sealed`. What comes later stands in `history` as ever: a row
there overrides the sealed one of the same place, a mark in `void` takes a sealed one out. So a correction costs no
rewriting of a file; the next sealing of the day brings both together (services/sealing).
Promises: the instances of a `Part` and those of `history` together are the whole past of its entities in a window, each
once, and as they were told; a window that touches no sealed day costs one look at `sealed`. Scopes are never sealed.
Does not: write files (store/lake), move rows into them (store/moving).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from shahar.model.columns import KINDS, text_of, unfold
from shahar.model.temporal import Span
from shahar.store.db import Tx
from shahar.store.lake import KIND, READ, File, Lake, Sealed, not_void, sealed
from shahar.values.instants import DAY, Instant

_FILE: Final = "file, bytes, sha256"
_MOMENTS: Final = {
    "": ("observed_at", "p.kind <> 'deleted'"),
    "observedAt": ("observed_at", "p.kind = 'observed'"),
    "deletedAt": ("observed_at", "p.kind = 'deleted'"),
    "modifiedAt": ("modified_at", "p.kind <> 'deleted'"),
    "createdAt": ("coalesce(created_at, modified_at)", "p.kind <> 'deleted'"),
}
"""By time property: the column of an instance's instant in it, and which instances have one."""
_STATED: Final = {"modifiedAt": "modified", "createdAt": "created"}
EVER: Final = (1 << 62) - 1
"""Behind every instant."""


def files(tx: Tx, tenant: int, span: Span) -> list[File]:
    """The files of a tenant that may hold instances of a span, oldest day first."""
    given: dict[str, Any] = {"tenant": tenant}
    test, stated = "tenant = :tenant AND file <> ''", _STATED.get(span.by)
    if span.start is not None:
        test += f" AND {stated}_to >= :start" if stated else " AND day >= :start"
        given["start"] = span.start if stated else span.start // DAY
    if span.end is not None:
        test += f" AND {stated}_from < :end" if stated else " AND day <= :end"
        given["end"] = span.end if stated else (span.end - 1) // DAY
    rows = tx.rows(f"SELECT {_FILE} FROM sealed WHERE {test} ORDER BY day", given, apart=True)
    return [File(*row) for row in rows]


def every_file(tx: Tx) -> list[File]:
    """Every valid file of every tenant: with the store itself all that a backup needs."""
    return [File(*row) for row in tx.rows(f"SELECT {_FILE} FROM sealed WHERE file <> '' ORDER BY tenant, day")]


def part(
    tx: Tx,
    tenant: int,
    span: Span,
    pks: Collection[int],
    *,
    attrs: Collection[str] = (),
    without: Collection[str] = (),
    datasets: Collection[str] | None = None,
) -> Part | None:
    """What of these entities' past in a span may be sealed, of these series; None when nothing is.

    `attrs`: IRIs, empty: all. `datasets`: "@none" is the default one.
    """
    listed = files(tx, tenant, span) if tx.lake is not None and pks else []
    if tx.lake is None or not listed:
        return None
    of = _entities(tx, pks)
    found = Part(tx, tx.lake, listed, span, of, [], {})
    found.bound()
    found.narrow(attrs, without, datasets)
    found.override(tenant)
    return found if of else None


def _entities(tx: Tx, pks: Collection[int]) -> dict[str, int]:
    rows = tx.rows(f"SELECT id, pk FROM entity WHERE pk IN {tx.dialect.numbers('pks')}", {"pks": _json(list(pks))})
    return {str(entity): int(pk) for entity, pk in rows}


Row = tuple[int, Instant, Instant, int, int, int, Any]
"""An instance: entity's number, t, at, attribute's and dataset's number, kind, document."""
Floor = tuple[int, int, int, Instant, Instant, int]
"""The oldest of a series that is wanted: entity, attribute, dataset, t, at, kind."""


@dataclass(slots=True)
class Part:
    """What of some entities' past in a window is sealed. In a test `p` is the row of the file, `{t}` its instant."""

    tx: Tx
    lake: Lake
    files: list[File]
    span: Span
    pks: dict[str, int]
    tests: list[str]
    given: dict[str, Any]
    _numbers: dict[str, int] = field(default_factory=dict)

    def bound(self) -> None:
        """Leave out what lies outside the span."""
        moment, having = _MOMENTS[self.span.by]
        self.tests.append(having)
        for name, test, value in (("start", ">=", self.span.start), ("end", "<", self.span.end)):
            if value is not None:
                self.tests.append(f"{moment} {test} make_timestamptz(${name}::BIGINT)")
                self.given[name] = value

    def narrow(self, attrs: Collection[str], without: Collection[str], datasets: Collection[str] | None) -> None:
        """Leave out what is of no such series."""
        for name, test, texts in (
            ("attrs", "list_contains($attrs, p.attribute)", attrs),
            ("without", "NOT list_contains($without, p.attribute)", without),
            ("datasets", "list_contains($datasets, coalesce(p.dataset, '@none'))", datasets),
        ):
            if texts or (name == "datasets" and texts is not None):
                self.tests.append(test)
                self.given[name] = list(texts or ())

    def override(self, tenant: int) -> None:
        """Leave out what was told anew or taken out since its day was sealed."""
        among = self.tx.dialect.numbers("pks")
        given = {"pks": _json(list(self.pks.values())), "tenant": tenant}
        days = "SELECT min(day), max(day) FROM sealed WHERE tenant = :tenant AND file <> ''"
        first, last = self.tx.rows(days, given)[0]
        low, high = first * DAY, (last + 1) * DAY
        if self.span.by not in _STATED:
            low = max(low, self.span.start if self.span.start is not None else low)
            high = min(high, self.span.end if self.span.end is not None else high)
        told = self.tx.rows(
            "SELECT e.id, n.text, coalesce(d.text, ''), h.at, h.kind FROM history h JOIN entity e ON e.pk = h.entity"
            " JOIN name n ON n.pk = h.attr LEFT JOIN name d ON d.pk = h.dataset"
            f" WHERE h.entity IN {among} AND h.at >= :low AND h.at < :high",
            given | {"low": low, "high": high},
        )
        if told:
            self.tests.append(_NOT_TOLD)
            self.given["told"] = _json(
                [{"e": e, "a": a, "d": d, "t": at, "k": KINDS[kind]} for e, a, d, at, kind in told]
            )
        void = marks(self.tx, tenant, f"id IN (SELECT id FROM entity WHERE pk IN {among})", given)
        if void:
            self.tests.append(not_void("$void"))
            self.given["void"] = _json(void)

    def floor(self, floors: Iterable[Floor]) -> None:
        """Leave out what stands below these."""
        entities = {pk: entity for entity, pk in self.pks.items()}
        floors = list(floors)
        numbers = {number for one in floors for number in one[1:3]}
        rows = self.tx.rows(
            f"SELECT pk, text FROM name WHERE pk IN {self.tx.dialect.numbers('pks')}", {"pks": _json(list(numbers))}
        )
        names = {0: "", **dict(rows)}
        self.tests.append(_ABOVE.format(t=f"epoch_us({_MOMENTS[self.span.by][0]})"))
        self.given["floors"] = _json(
            [
                {"e": entities[pk], "a": names[attr], "d": names[dataset], "t": t, "s": at, "k": kind}
                for pk, attr, dataset, t, at, kind in floors
            ]
        )

    def of(self, *pks: int) -> Part:
        """The part of some of the entities."""
        return replace(self, pks={entity: pk for entity, pk in self.pks.items() if pk in pks})

    def few(self) -> Iterator[Part]:
        """The part in pieces of some days each, so that all of its documents need not be in memory at once."""
        for first in range(0, len(self.files), 16):
            yield replace(self, files=self.files[first : first + 16], tests=self.tests, given=self.given)

    # -- asked ----------------------------------------------------------------------------------------------------

    def present(self, test: str = "true", **given: Any) -> set[int]:
        """Which of the entities have an instance here that passes the test."""
        first = "DISTINCT p.entity" if len(self.pks) > 1 else "p.entity"
        rows = self.ask(f"SELECT {first} FROM {self.relation(test)} p LIMIT {len(self.pks)}", given)
        return {self.pks[row[0]] for row in rows}

    def moments(self, limit: int, test: str, **given: Any) -> list[tuple[int, Instant]]:
        """The first instants, or the last where the newest are wanted, in that order, as many as instances; with the
        entities."""
        order = "ASC" if self.span.last is None else "DESC"
        rows = self.ask(f"SELECT p.entity, t FROM {self.relation(test)} p ORDER BY t {order} LIMIT {limit}", given)
        return [(self.pks[entity], t) for entity, t in rows]

    def extent(self) -> dict[int, tuple[Instant, Instant]]:
        """The first and the last instant of each entity that has one."""
        rows = self.ask(f"SELECT p.entity, min(t), max(t) FROM {self.relation()} p GROUP BY p.entity", {})
        return {self.pks[entity]: (first, last) for entity, first, last in rows}

    def read(self, limit: int, test: str = "true", **given: Any) -> list[Row]:
        """Instances in no order, at most `limit` of them."""
        statement = f"SELECT {READ}, t FROM {self.relation(test)} p LIMIT {limit}"
        return [self._row(sealed(row[:-1]), row[-1]) for row in self.ask(statement, given)]

    def _row(self, one: Sealed, t: Instant) -> Row:
        doc = unfold(one.columns, one.at)
        kind = KINDS.index(one.columns.kind)
        return self.pks[one.entity], t, one.at, self.number(one.attribute), self.number(one.dataset), kind, doc

    def newest(self, last: int) -> list[Floor]:
        """The newest `last` of each series."""
        ranked = "row_number() OVER (PARTITION BY entity, attribute, dataset ORDER BY t DESC, observed_at DESC, k DESC)"
        rows = self.ask(
            f"SELECT entity, attribute, coalesce(dataset, ''), t, epoch_us(observed_at), {KIND} AS k"
            f" FROM {self.relation()} p QUALIFY {ranked} <= {last}",
            {},
        )
        return [
            (self.pks[entity], self.number(iri), self.number(dataset), t, at, kind)
            for entity, iri, dataset, t, at, kind in rows
        ]

    def reckon(self, columns: str, rest: str, beside: str = "", **given: Any) -> list[tuple[Any, ...]]:
        """What DuckDB makes of the rows (`p`, with `t`), put beside another relation; `rest` is what follows."""
        return self.ask(f"SELECT {columns} FROM {self.relation()} p {beside} {rest}", given)

    def number(self, text: str) -> int:
        """The number of an attribute's or dataset's name."""
        if not text:
            return 0
        found = self._numbers.get(text)
        if found is None:
            row = self.tx.row("SELECT pk FROM name WHERE text = :text", {"text": text}, apart=True)
            found = self._numbers[text] = int(row[0]) if row else -1
        return found

    def relation(self, test: str = "true") -> str:
        """The rows that count and pass the test, with `t`, as a table in SQL."""
        moment = _MOMENTS[self.span.by][0]
        among = "p.entity = $id" if len(self.pks) == 1 else "p.entity IN (SELECT unnest($ids))"
        tests = [*self.tests, among, f"({test.format(t=f'epoch_us({moment})')})"]
        return (
            f"(SELECT *, epoch_us({moment}) AS t FROM read_parquet($files, hive_partitioning=false) p"
            f" WHERE {' AND '.join(tests)})"
        )

    def ask(self, statement: str, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        ids = list(self.pks)
        return self.lake.ask(statement, {**self.given, "ids": ids, "id": ids[0], **given}, self.files, self.tx.until)


_NOT_TOLD: Final = (
    'NOT EXISTS (SELECT 1 FROM (SELECT unnest(from_json($told::JSON, \'[{"e":"VARCHAR","a":"VARCHAR",'
    '"d":"VARCHAR","t":"BIGINT","k":"VARCHAR"}]\'), recursive := true)) o WHERE o.e = p.entity'
    " AND o.t = epoch_us(p.observed_at) AND o.a = p.attribute AND o.d = coalesce(p.dataset, '') AND o.k = p.kind)"
)
_ABOVE: Final = (
    'EXISTS (SELECT 1 FROM (SELECT unnest(from_json($floors::JSON, \'[{{"e":"VARCHAR","a":"VARCHAR",'
    '"d":"VARCHAR","t":"BIGINT","s":"BIGINT","k":"BIGINT"}}]\'), recursive := true)) f'
    " WHERE f.e = p.entity AND f.a = p.attribute AND f.d = coalesce(p.dataset, '')"
    " AND ({t} > f.t OR ({t} = f.t AND (epoch_us(p.observed_at) > f.s"
    f" OR (epoch_us(p.observed_at) = f.s AND {KIND} >= f.k)))))"
)


# -- taken out --------------------------------------------------------------------------------------------------------


def marks(tx: Tx, tenant: int, test: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was taken out of sealed days, as the lake wants it (lake.not_void)."""
    rows = tx.rows(
        f"SELECT id, attr, dataset, at, kind, until FROM void WHERE tenant = :tenant AND {test}",
        {**given, "tenant": tenant},
    )
    return [
        {
            "entity": entity,
            "attribute": attr,
            "dataset": dataset,
            "t": at,
            "kind": None if kind is None else KINDS[kind],
            "until": until,
        }
        for entity, attr, dataset, at, kind, until in rows
    ]


def strike(
    tx: Tx,
    pk: int,
    until: Instant,
    attr: int | None = None,
    dataset: int | None = None,
    at: Instant | None = None,
    kind: int | None = None,
) -> None:
    """Mark an entity's sealed instances (of one attribute, one dataset, one place) that were entered until `until` as
    void. Does nothing where the tenant has no sealed day, or not that of `at`.
    """
    owner = tx.row("SELECT tenant, id FROM entity WHERE pk = :pk", {"pk": pk})
    if owner is None:
        return
    test, given = "tenant = :tenant", {"tenant": owner[0]}
    if at is not None:
        test, given["day"] = f"{test} AND day = :day", at // DAY
    if tx.row(f"SELECT 1 FROM sealed WHERE {test} LIMIT 1", given) is None:
        return
    names = {
        0: "",
        **dict(tx.rows("SELECT pk, text FROM name WHERE pk IN (:a, :d)", {"a": attr or 0, "d": dataset or 0})),
    }
    tx.run(
        "INSERT INTO void(pk, tenant, id, attr, dataset, at, kind, until)"
        " SELECT coalesce(max(pk), 0) + 1, :tenant, :id, :attr, :dataset, :at, :kind, :until FROM void",
        {
            "tenant": owner[0],
            "id": owner[1],
            "attr": None if attr is None else names[attr],
            "dataset": None if dataset is None else names[dataset],
            "at": at,
            "kind": kind,
            "until": until,
        },
    )


# -- one entity, for the writer ----------------------------------------------------------------------------------------


def of_entity(
    tx: Tx, pk: int, span: Span, attr: int | None = None, dataset: int | None = None, *, deleted: bool = False
) -> Part | None:
    """What of one entity's past in a span may be sealed, of one attribute, one dataset; None when nothing is.

    `deleted`: marks of deletion besides instances.
    """
    if tx.lake is None or tx.row("SELECT 1 FROM sealed LIMIT 1", apart=True) is None:
        return None
    owner = tx.row("SELECT tenant FROM entity WHERE pk = :pk", {"pk": pk})
    if owner is None:
        return None
    names = {
        0: "@none",
        **dict(tx.rows("SELECT pk, text FROM name WHERE pk IN (:a, :d)", {"a": attr or 0, "d": dataset or 0})),
    }
    attrs = () if attr is None else (names[attr],)
    found = part(tx, owner[0], span, [pk], attrs=attrs, datasets=None if dataset is None else (names[dataset],))
    if found is not None and deleted:
        found.tests.remove(_MOMENTS[span.by][1])
    return found


def told_at(tx: Tx, pk: int, instants: Collection[Instant]) -> dict[tuple[Instant, int, int, int], str]:
    """The sealed instances of an entity that stand at these instants: place -> text of the document."""
    found = of_entity(tx, pk, Span(min(instants), max(instants) + 1, by=""), deleted=True)
    if found is None:
        return {}
    statement = f"SELECT {READ} FROM {found.relation('list_contains($instants, {t})')} p"
    rows = [sealed(row) for row in found.ask(statement, {"instants": list(dict.fromkeys(instants))})]
    return {
        (one.at, found.number(one.attribute), found.number(one.dataset), KINDS.index(one.columns.kind)): text_of(
            one.columns, one.at
        )
        for one in rows
    }


def points(tx: Tx, pk: int, attr: int | None, start: Instant, end: Instant, limit: int) -> list[tuple[Instant, Any]]:
    """(instant, value) of the newest sealed observations of an attribute's default dataset in [start, end)."""
    found = of_entity(tx, pk, Span(start, end), attr, 0) if attr is not None else None
    if found is None:
        return []
    rows = found.ask(f"SELECT {READ} FROM {found.relation()} p ORDER BY observed_at DESC LIMIT {limit}", {})
    return [(one.at, unfold(one.columns, one.at).get("value")) for one in map(sealed, rows)]


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
