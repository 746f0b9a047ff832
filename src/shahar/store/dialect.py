"""The whole difference between the engines, as one frozen record of few acts for each.

Refuses: flags that leak an `if` into callers; the engine's name anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson


class Sorted(Protocol):
    """SQL for one thing or another by what a member of a JSON text is."""

    def __call__(self, json: str, *path: str, number: str, boolean: str, array: str, text: str, other: str) -> str:
        """`other` stands for objects, null and what is not there."""


@dataclass(frozen=True, eq=False, slots=True)
class Dialect:
    """How an engine says what SQL leaves open. A `path` is the names that lead to a member of a JSON text.

    `joined`: the join that is done in the order in which it is written. `indexed(table, index)`: a table read by this
    index. `texts(name)`, `numbers(name)`: the set of values in the list parameter `name`, given as a JSON text;
    `table(name, columns)`: the table of them, each a list of whole numbers with these names, and `key` from 0.

    `part`: a member as JSON text. `text`: as text. `integer`: a whole number. `number`: a number, NULL when it is none.
    `sort`: by what a member is. For figures (store/aggregate), of a value `v` that is `text` or of kind c: `figure` is
    what is computed with, `real(x)` a figure to sum, `distinct` what tells values apart, `ordered` texts in byte order.

    `attribute(iri)`: the value of an attribute's first instance in column `doc`, as an index on demand holds it;
    `given(value)`: a value to compare it with, and `operand(parameter)` that as SQL; `compound`: tests that pass for
    lists and objects. `touching`: whether a place p touches a box of these four parameters.
    """

    joined: str
    indexed: Callable[[str, str], str]
    texts: Callable[[str], str]
    numbers: Callable[[str], str]
    table: Callable[[str, tuple[str, ...]], str]
    part: Callable[..., str]
    text: Callable[..., str]
    integer: Callable[..., str]
    number: Callable[..., str]
    sort: Sorted
    figure: str
    real: Callable[[str], str]
    distinct: str
    ordered: Callable[[str], str]
    attribute: Callable[[str], str]
    given: Callable[[Any], Any]
    operand: Callable[[str], str]
    compound: tuple[str, ...]
    touching: Callable[[str, str, str, str], str]


MEMBERS: Final = ("value", "object", "vocab", "json", "languageMap", "valueList", "objectList")
"""Where the value of an instance stands."""


def checked(iri: str) -> str:
    """A name that may stand in SQL."""
    if not set("\"'\\").isdisjoint(iri):
        raise ValueError(f"a quote in an attribute name: {iri!r}")
    return iri


# -- SQLite -----------------------------------------------------------------------------------------------------------


def _attribute(iri: str) -> str:
    start = f'$.attrs."{checked(iri)}"[0]'
    return "coalesce(" + ", ".join(f"json_extract(doc, '{start}.{member}')" for member in MEMBERS) + ")"


def _path(path: tuple[str, ...]) -> str:
    return "$" + "".join(f".{name}" if name.isalnum() else f'."{name}"' for name in path)


def _member(json: str, *path: str) -> str:
    return f"json_extract({json}, '{_path(path)}')"


def _number(json: str, *path: str) -> str:
    kind = f"json_type({json}, '{_path(path)}')"
    return f"CASE WHEN {kind} IN ('integer', 'real') THEN {_member(json, *path)} END"


def _sort(json: str, *path: str, number: str, boolean: str, array: str, text: str, other: str) -> str:
    return (
        f"CASE json_type({json}, '{_path(path)}') WHEN 'integer' THEN {number} WHEN 'real' THEN {number}"
        f" WHEN 'true' THEN {boolean} WHEN 'false' THEN {boolean} WHEN 'array' THEN {array} WHEN 'text' THEN {text}"
        f" ELSE {other} END"
    )


def _table(name: str, columns: tuple[str, ...]) -> str:
    listed = ", ".join(f"json_extract(value, '$[{place}]') AS {column}" for place, column in enumerate(columns))
    return f"(SELECT key, {listed} FROM json_each(:{name}))"


def _touching(west: str, south: str, east: str, north: str) -> str:
    return f"p.west <= {east} AND p.east >= {west} AND p.south <= {north} AND p.north >= {south}"


SQLITE: Final = Dialect(
    joined="CROSS JOIN",
    indexed=lambda table, index: f"{table} INDEXED BY {index}",
    texts=lambda name: f"(SELECT value FROM json_each(:{name}))",
    numbers=lambda name: f"(SELECT value FROM json_each(:{name}))",
    table=_table,
    part=lambda json, *path: f"({json} -> '{_path(path)}')",
    text=_member,
    integer=_member,
    number=_number,
    sort=_sort,
    figure="""CASE c WHEN 0 THEN v WHEN 1 THEN v WHEN 2 THEN json_array_length(v)
  WHEN 4 THEN CAST(substr(v, 1, 2) AS INTEGER) * 3600 + CAST(substr(v, 4, 2) AS INTEGER) * 60
    + CAST(substr(v, 7) AS REAL) END""",
    real=lambda x: f"(1.0 * {x})",
    distinct="v",
    ordered=lambda text: text,
    attribute=_attribute,
    given=lambda value: value,
    operand=lambda parameter: parameter,
    compound=("{v} >= '[' AND {v} < '\\'", "{v} >= '{{' AND {v} < '|'"),
    touching=_touching,
)


# -- PostgreSQL -------------------------------------------------------------------------------------------------------


def _at(path: tuple[str, ...]) -> str:
    return "'{" + ",".join(path) + "}'"


def _pg_text(json: str, *path: str) -> str:
    return f"({json}::json #>> {_at(path)})"


def _pg_kind(json: str, *path: str) -> str:
    return f"json_typeof({json}::json #> {_at(path)})"


def _pg_number(json: str, *path: str) -> str:
    return f"CASE {_pg_kind(json, *path)} WHEN 'number' THEN {_pg_text(json, *path)}::float8 END"


def _pg_sort(json: str, *path: str, number: str, boolean: str, array: str, text: str, other: str) -> str:
    return (
        f"CASE {_pg_kind(json, *path)} WHEN 'number' THEN {number} WHEN 'boolean' THEN {boolean}"
        f" WHEN 'array' THEN {array} WHEN 'string' THEN {text} ELSE {other} END"
    )


def _pg_table(name: str, columns: tuple[str, ...]) -> str:
    listed = ", ".join(f"(value ->> {place})::bigint AS {column}" for place, column in enumerate(columns))
    return f"(SELECT ordinality - 1 AS key, {listed} FROM json_array_elements(:{name}::json) WITH ORDINALITY)"


def _pg_given(value: Any) -> str:
    return orjson.dumps(value[:INDEXED_CHARS] if isinstance(value, str) else value).decode()


INDEXED_CHARS: Final = 200
"""Of a text, how much an index on demand holds there (store/postgres/schema)."""

POSTGRES: Final = Dialect(
    joined="JOIN",
    indexed=lambda table, _index: table,
    texts=lambda name: f"(SELECT json_array_elements_text(:{name}::json))",
    numbers=lambda name: f"(SELECT json_array_elements_text(:{name}::json)::bigint)",
    table=_pg_table,
    part=lambda json, *path: f"({json}::json #> {_at(path)})::text",
    text=_pg_text,
    integer=lambda json, *path: f"{_pg_text(json, *path)}::bigint",
    number=_pg_number,
    sort=_pg_sort,
    figure=r"""CASE c WHEN 0 THEN CASE WHEN v ~ '[.eE]' THEN v::numeric + 0.0 ELSE v::numeric END
  WHEN 1 THEN CASE v WHEN 'true' THEN 1 ELSE 0 END
  WHEN 2 THEN CASE WHEN json_typeof(v::json) = 'array' THEN json_array_length(v::json) WHEN v IS NOT NULL THEN 0 END
  WHEN 4 THEN coalesce(substring(v from '^(\d\d)')::numeric, 0) * 3600
    + coalesce(substring(v from '^...(\d\d)')::numeric, 0) * 60
    + coalesce(substring(v from '^......(\d+\.?\d*)')::numeric, 0) + 0.0 END""",
    real=lambda x: x,
    distinct="CASE WHEN c < 2 THEN trim_scale(x)::text ELSE '\"' || v END",
    ordered=lambda text: f'({text}) COLLATE "C"',
    attribute=lambda iri: f"shahar_value(doc, '{checked(iri)}')",
    given=_pg_given,
    operand=lambda parameter: f"{parameter}::jsonb",
    compound=("{v} = '{{}}'::jsonb",),
    touching=lambda west, south, east, north: (
        f"box(point(p.west, p.south), point(p.east, p.north)) && box(point({west}, {south}), point({east}, {north}))"
    ),
)
"""Figures are numeric there: whole numbers stay whole, and nothing overflows or is lost on the way."""
