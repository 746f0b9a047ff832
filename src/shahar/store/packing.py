"""Plain entities as the rows of a small SQLite database in memory, which the writer takes in (store/packs).

For: the process that reads batches (services/batches.answer); it imports next to nothing.
Promises: `unpacked(pack(...))` are the wishes that model/told reads.
Does not: know numbers of entities, names or journal rows; read (model/plainly).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import apsw
import orjson

from shahar.model import plainly
from shahar.model.bulk import Pack
from shahar.model.change import Kind
from shahar.model.context import Context
from shahar.model.plainly import Rows
from shahar.model.told import Line, Whole
from shahar.values.instants import Instant

_SETTINGS: Final = ("page_size=65536", "journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE")
_TABLES: Final = """
CREATE TABLE one(i INTEGER PRIMARY KEY, id TEXT, head TEXT, attrs BLOB, kinds INTEGER);
CREATE TABLE line(one INTEGER, attr INTEGER, at INTEGER, kind INTEGER, start INTEGER, length INTEGER);
CREATE TABLE kinds(i INTEGER PRIMARY KEY, text TEXT);
CREATE TABLE place(i INTEGER PRIMARY KEY, pk INTEGER, created INTEGER, fresh INTEGER);
CREATE TABLE attr(i INTEGER PRIMARY KEY, pk INTEGER);
CREATE TABLE type(kinds INTEGER, pk INTEGER);
"""
"""`one` and `line` as in model/plainly, where `kind` is that of store/history. `kinds`: types as JSON. The rest is the
writer's.
"""
_TOGETHER: Final = (64, 8, 1)


def pack(kind: Kind, bodies: Sequence[Any], context: Context, at: Instant) -> Pack | None:
    """The entities that are told as a pack; None when they are not all plain ones of different ids."""
    rows = plainly.read(bodies, context, at)
    if rows is None:
        return None
    return Pack(kind, at, rows.ids, rows.kinds, rows.shapes, rows.shaped, rows.attrs, _image(rows))


def _image(rows: Rows) -> bytes:
    made = apsw.Connection(":memory:")
    for setting in _SETTINGS:
        made.execute(f"PRAGMA {setting}").fetchall()
    made.execute("BEGIN")
    made.execute(_TABLES)
    _put(made, "one", 5, rows.ones)
    _put(made, "line", 6, rows.lines)
    kinds = ((number, orjson.dumps(types).decode()) for number, types in enumerate(rows.kinds))
    _put(made, "kinds", 2, list(chain.from_iterable(kinds)))
    made.execute("COMMIT")
    image = made.serialize("main")
    made.close(True)
    return image


def _put(into: apsw.Connection, table: str, columns: int, values: Sequence[Any]) -> None:
    """Rows of a table, their values one behind the other."""
    rows, done = len(values) // columns, 0
    one = f"({', '.join('?' * columns)})"
    for size in _TOGETHER:
        statement = f"INSERT INTO {table} VALUES {', '.join([one] * size)}"
        while rows - done >= size:
            into.execute(statement, values[done * columns : (done + size) * columns])
            done += size


def unpacked(given: Pack) -> list[Whole]:
    """The wishes of a pack."""
    opened = apsw.Connection(":memory:")
    opened.deserialize("main", given.image)
    found: list[Whole] = []
    lines: dict[int, list[Any]] = {}
    for one, *line in opened.execute("SELECT one, attr, at, kind, start, length FROM line ORDER BY rowid"):
        lines.setdefault(one, []).append(line)
    for number, entity_id, head, attrs, kinds in opened.execute("SELECT i, id, head, attrs, kinds FROM one ORDER BY i"):
        shell = {"id": entity_id, "type": given.kinds[kinds], "createdAt": given.at, "modifiedAt": given.at}
        text = f"{head}{given.at}{rest(given.at)}{attrs.decode()}}}"
        each = [_line(given, attrs, *line) for line in lines.get(number, ())]
        shape = given.shapes[given.shaped[number]]
        found.append(Whole(given.kind, entity_id, shell, each, False, text, shape, True, given.at))
    opened.close(True)
    return found


def rest(at: int) -> str:
    """What stands in a document between the instant of its creation and its attributes."""
    return f',"modifiedAt":{at},"attrs":'


def _line(given: Pack, attrs: bytes, attr: int, at: int, kind: int, start: int, length: int) -> Line:
    return given.attrs[attr], None, at if kind else None, attrs[start - 1 : start - 1 + length].decode()
