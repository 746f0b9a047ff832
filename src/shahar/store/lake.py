"""The lake: sealed days of history as Parquet files, written and asked by DuckDB.

    lake/tenant=NAME/day=2026-11-22/part-000001.parquet        (the default tenant: __HIVE_DEFAULT_PARTITION__)

A file holds the instances of one tenant and day (UTC), sorted by entity, attribute, dataset and instant, compressed by
zstd, in columns that a stranger understands (docs/history.md). A file is never changed: a day that changes gets
another, and which one is valid is said by the store's table `sealed` alone.
Promises: a file has its name only when it is whole and on the disk; a file that is torn is left out, named once in the
log, and costs nothing but itself; memory and threads are bounded; DuckDB is imported when there is something to seal or
to read, sees this folder alone and loads nothing from a network.
Does not: know which files are valid (store/sealed), or when to write one (services/sealing).
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
import structlog

from shahar.model.columns import Columns
from shahar.values.bounds import QUERY_S
from shahar.values.errors import OurFault, TooComplex, Unavailable
from shahar.values.instants import DAY, Instant, text

if TYPE_CHECKING:
    import duckdb

LAKE: Final = "lake"
"""The folder's name in a city's data folder."""
MEMORY: Final = "192MB"
THREADS: Final = 2
ROWS_OF_A_GROUP: Final = 61_440
"""Rows whose least and greatest entity are remembered together: what a question about one series has to unpack."""
READ_BACK: Final = 20_000
"""Rows read back at once."""
LIST: Final = 1_000
"""Rows taken out of history in one work."""
FORM: Final = (
    "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 9, PARQUET_VERSION V1, DICTIONARY_SIZE_LIMIT 1000,"
    f" ROW_GROUP_SIZE {ROWS_OF_A_GROUP}"
)
"""How a file is written. Long dictionaries are refused: numbers into them are no whole bytes, and zstd then does not
see that the attributes of one message have the same instants, which is half of a file.
"""
NOBODY: Final = "__HIVE_DEFAULT_PARTITION__"
_WORK: Final = ".work"
_CHUNK: Final = 1 << 20
_PARAMETER: Final = re.compile(r"\$(\w+)")

log = structlog.get_logger(__name__)


class File(NamedTuple):
    """A sealed file as the store knows it: its place in the lake, its size and checksum."""

    name: str
    bytes: int
    sha256: str


class Sealed(NamedTuple):
    """An instance in a file: whose it is, where it stands, and its columns (model/columns)."""

    entity: str
    attribute: str
    dataset: str
    at: Instant
    columns: Columns


class Made(NamedTuple):
    """A new file and what is in it: rows, and from when to when they were entered last and first."""

    file: File
    rows: int
    modified: tuple[Instant, Instant]
    created: tuple[Instant, Instant]


@dataclass(frozen=True, slots=True)
class Thinning:
    """What is to be left of instances of a type (an IRI; empty: of every one that no other rule names): one a period of
    `every` microseconds, made by `method`; none at all where `every` is 0, all where it is below.
    """

    type: str
    every: int
    method: str


COLUMNS: Final = (
    "entity, type, attribute, dataset, observed_at, kind, class, value, whole, text, unit, modified_at, created_at,"
    " document"
)
_SPOOLED: Final = (
    "{entity:'VARCHAR',type:'VARCHAR',attribute:'VARCHAR',dataset:'VARCHAR',t:'BIGINT',kind:'VARCHAR',class:'VARCHAR',"
    "value:'DOUBLE',whole:'BOOLEAN',text:'VARCHAR',unit:'VARCHAR',modified:'BIGINT',created:'BIGINT',"
    "document:'VARCHAR'}"
)
_NEW: Final = (
    "SELECT entity, type, attribute, dataset, make_timestamptz(t) AS observed_at, kind, class, value, whole, text,"
    " unit, make_timestamptz(modified) AS modified_at, make_timestamptz(created) AS created_at, document"
)
KIND: Final = "CASE kind WHEN 'entered' THEN 0 WHEN 'observed' THEN 1 ELSE 2 END"
ORDER: Final = "entity, attribute, dataset NULLS FIRST, observed_at, kind"
READ: Final = (
    "entity, attribute, coalesce(dataset, ''), epoch_us(observed_at), kind, class, value, whole, text, unit,"
    " epoch_us(modified_at), epoch_us(created_at), document"
)
"""The columns of which `sealed` makes an instance."""


def sealed(row: Sequence[Any]) -> Sealed:
    """The instance in a row of `READ`."""
    entity, attribute, dataset, at, *columns = row
    return Sealed(entity, attribute, dataset, at, Columns(*columns))


class Lake:
    """One folder of sealed days. Its methods wait for the disk: for threads, never for the event loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._torn: dict[str, tuple[int, int]] = {}

    # -- asking ---------------------------------------------------------------------------------------------------

    def ask(
        self, statement: str, bindings: Mapping[str, Any], files: Sequence[File], until: float | None = None
    ) -> list[tuple[Any, ...]]:
        """The rows of a statement over `read_parquet($files)`; what no file holds any more is left out. TooComplex when
        it does not end in time (`until`, of the monotonic clock) or needs too much memory.
        """
        until = monotonic() + QUERY_S if until is None else until
        while sound := [file for file in files if not self.fault(file)]:
            given = {**bindings, "files": [str(self.folder / file.name) for file in sound]}
            try:
                return self._run(statement, given, until - monotonic())
            except OurFault:
                if not self._blame(sound):
                    raise
        return []

    def _run(self, statement: str, given: Mapping[str, Any], seconds: float) -> list[tuple[Any, ...]]:
        import duckdb

        named = set(_PARAMETER.findall(statement))
        cursor = self._connected().cursor()
        watch = threading.Timer(max(0.05, seconds), cursor.interrupt)
        watch.daemon = True
        watch.start()
        try:
            return cursor.execute(statement, {name: given[name] for name in named} or None).fetchall()
        except (duckdb.InterruptException, duckdb.OutOfMemoryException):
            rule = f"queries end within {QUERY_S} s and {MEMORY}"
            raise TooComplex("the question to the sealed past did not end within its time", rule=rule) from None
        except duckdb.Error as problem:
            raise OurFault(f"the lake failed: {problem}") from problem
        finally:
            watch.cancel()
            cursor.close()

    def _connected(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._connection is None:
                import duckdb

                work = self.folder / _WORK
                work.mkdir(parents=True, exist_ok=True)
                config: dict[str, Any] = {
                    "memory_limit": MEMORY,
                    "threads": THREADS,
                    "temp_directory": str(work),
                    "autoinstall_known_extensions": False,
                    "autoload_known_extensions": False,
                }
                self._connection = duckdb.connect(":memory:", config=config)
                self._connection.execute(f"SET allowed_directories=[{_quoted(str(self.folder))}]")
                for setting in ("enable_external_access=false", "TimeZone='UTC'", "parquet_metadata_cache=true"):
                    self._connection.execute(f"SET {setting}")
                self._connection.execute("SET lock_configuration=true")
            return self._connection

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    # -- torn files -----------------------------------------------------------------------------------------------

    def fault(self, file: File) -> str:
        """What is wrong with a file, as far as its size tells; empty when nothing is. A torn one is named once."""
        seen, problem = look(self.folder, file)
        if problem:
            return self._name(file, seen, problem)
        if self._torn.get(file.name) == seen:
            return "its content is another"
        self._torn.pop(file.name, None)
        return ""

    def examine(self, file: File) -> str:
        """What is wrong with a file, all of it read; empty when nothing is."""
        seen, problem = look(self.folder, file, whole=True)
        return self._name(file, seen, problem) if problem else ""

    def _name(self, file: File, seen: tuple[int, int], why: str) -> str:
        if self._torn.get(file.name) != seen:
            self._torn[file.name] = seen
            log.error("a sealed day is torn and left out", file=file.name, why=why, advice="restore it from a backup")
        return why

    def _blame(self, files: Iterable[File]) -> bool:
        """Whether a fault is that of a file, which is then remembered."""
        return any(list(map(self.examine, files)))

    # -- writing --------------------------------------------------------------------------------------------------

    def spool(self, name: str) -> Spool:
        """A file to which instances are written before they are made one of the lake's."""
        work = self.folder / _WORK
        work.mkdir(parents=True, exist_ok=True)
        return Spool(work / f"{re.sub(r'[^0-9A-Za-z-]', '_', name)}.ndjson")

    def write(
        self,
        tenant: str,
        day: int,
        old: File | None,
        spool: Spool | None,
        void: Sequence[Mapping[str, Any]] = (),
        thinning: Sequence[Thinning] = (),
    ) -> Made | None:
        """The day's new file: the rows of the old one that are neither void nor told anew in the spool, and the
        spool's; thinned. None when nothing is left. Unavailable when the disk does not take it.
        """
        parts = [spool.relation()] if spool is not None and spool.rows else []
        if old is not None:
            parts.append(self._kept(old, spool, void))
        if not parts:
            return None
        rows = " UNION ALL ".join(f"SELECT {COLUMNS} FROM ({part})" for part in parts)
        for rule in (each for each in thinning if each.every >= 0):
            rows = _thinned(rows, rule, [each.type for each in thinning if each.type])
        work = self.folder / _WORK / "new.parquet"
        statement = f"COPY (SELECT {COLUMNS} FROM ({rows}) ORDER BY {ORDER}) TO {_quoted(str(work))} ({FORM})"
        try:
            work.unlink(missing_ok=True)
            self._run(statement, {"void": orjson.dumps(list(void)).decode()}, 86_400)
            return self._named(tenant, day, work)
        except OSError as problem:
            raise Unavailable(f"the lake cannot be written: {problem.strerror or problem}") from None

    def _kept(self, old: File, spool: Spool | None, void: Sequence[Any]) -> str:
        problem = self.examine(old)
        if problem:
            raise Unavailable(f"the sealed file {old.name} is torn: {problem}", rule="restore it from a backup")
        kept = f"SELECT * FROM read_parquet({_quoted(str(self.folder / old.name))}, hive_partitioning=false) p"
        tests = []
        if spool is not None and spool.rows:
            tests.append(f"NOT EXISTS (SELECT 1 FROM ({spool.relation()}) n WHERE {_SAME})")
        if void:
            tests.append(not_void("$void"))
        return f"{kept} WHERE {' AND '.join(tests)}" if tests else kept

    def _named(self, tenant: str, day: int, work: Path) -> Made | None:
        stated = "epoch_us(min({0})), epoch_us(max({0}))"
        created = stated.format("coalesce(created_at, modified_at)")
        found = self._run(
            f"SELECT count(*), {stated.format('modified_at')}, {created} FROM read_parquet({_quoted(str(work))})",
            {},
            600,
        )[0]
        if not found[0]:
            work.unlink()
            return None
        folder = self.folder / f"tenant={tenant or NOBODY}" / f"day={text(day * DAY)[:10]}"
        folder.mkdir(parents=True, exist_ok=True)
        last = max((int(one.stem[5:]) for one in folder.glob("part-*.parquet") if one.stem[5:].isdigit()), default=0)
        path = folder / f"part-{last + 1:06d}.parquet"
        digest, size = checksum(work), work.stat().st_size
        with work.open("rb") as written:
            os.fsync(written.fileno())
        work.chmod(0o600)
        work.replace(path)
        for each in (folder, folder.parent, self.folder, self.folder.parent):
            _settle(each)
        file = File(str(path.relative_to(self.folder)), size, digest)
        return Made(file, found[0], (found[1], found[2]), (found[3], found[4]))

    def read_back(self, file: File, spool: Spool | None = None) -> Iterator[list[Sealed]]:
        """The instances of a file (those alone that were in the spool), in lists of a bounded length."""
        table = f"read_parquet({_quoted(str(self.folder / file.name))}, hive_partitioning=false, file_row_number=true)"
        rows = self._run(f"SELECT count(*) FROM {table}", {}, 600)[0][0]
        told = "" if spool is None else f" AND EXISTS (SELECT 1 FROM ({spool.relation()}) n WHERE {_SAME})"
        for first in range(0, rows, READ_BACK):
            within = f"file_row_number >= {first} AND file_row_number < {first + READ_BACK}"
            found = self._run(f"SELECT {READ} FROM {table} p WHERE {within}{told}", {}, 600)
            for start in range(0, len(found), LIST):
                yield [sealed(row) for row in found[start : start + LIST]]

    def holds(self, file: File, void: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a file holds something that the marks are about."""
        statement = (
            f"SELECT 1 FROM read_parquet($files, hive_partitioning=false) p WHERE NOT {not_void('$void')} LIMIT 1"
        )
        return bool(self.ask(statement, {"void": orjson.dumps(list(void)).decode()}, [file], monotonic() + 600))

    def names(self) -> list[str]:
        """Every file of a day that lies in the folder, valid or not."""
        return sorted(str(one.relative_to(self.folder)) for one in self.folder.glob("tenant=*/day=*/part-*.parquet"))

    def remove(self, name: str) -> None:
        """Take a file away that is valid no more."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        for folder in (path.parent, path.parent.parent):
            try:
                folder.rmdir()
            except OSError:
                return  # others are in it

    def tidy(self) -> None:
        """Take away what an interrupted sealing left."""
        for one in [*(self.folder / _WORK).glob("*.ndjson"), self.folder / _WORK / "new.parquet"]:
            one.unlink(missing_ok=True)


_SAME: Final = (
    "n.entity = p.entity AND n.observed_at = p.observed_at AND n.attribute = p.attribute"
    " AND n.dataset IS NOT DISTINCT FROM p.dataset AND n.kind = p.kind"
)


def not_void(given: str) -> str:
    """The test that no mark in the JSON list parameter is about the row: {"entity", "attribute", "dataset", "t",
    "kind", "until"}, of which null says any."""
    form = (
        '[{"entity":"VARCHAR","attribute":"VARCHAR","dataset":"VARCHAR","t":"BIGINT","kind":"VARCHAR",'
        '"until":"BIGINT"}]'
    )
    marks = f"SELECT unnest(from_json({given}::JSON, '{form}'), recursive := true)"
    return (
        f"NOT EXISTS (SELECT 1 FROM ({marks}) v WHERE v.entity = p.entity"
        " AND coalesce(v.attribute, p.attribute) = p.attribute"
        " AND coalesce(v.dataset, p.dataset, '') = coalesce(p.dataset, '')"
        " AND coalesce(v.t, epoch_us(p.observed_at)) = epoch_us(p.observed_at)"
        " AND coalesce(v.kind, p.kind) = p.kind AND epoch_us(p.modified_at) <= v.until)"
    )


_METHODS: Final = {
    "mean": "avg(value)",
    "min": "min(value)",
    "max": "max(value)",
    "last": "arg_max(value, observed_at)",
}
METHODS: Final = tuple(_METHODS)
"""How the instances of a period are made one: a figure of the numbers; what is no number keeps the last."""


def _thinned(rows: str, rule: Thinning, named: Sequence[str]) -> str:
    """The rows with those of a rule thinned: figures of numbers, the last of anything else."""
    if rule.type:
        concerned = f"list_contains(string_split(type, ' '), {_quoted(rule.type)})"
    else:
        others = ", ".join(_quoted(each) for each in named)
        concerned = f"NOT list_has_any(string_split(type, ' '), [{others}]::VARCHAR[])"
    rest = f"SELECT * FROM ({rows}) WHERE NOT ({concerned}) OR kind = 'deleted'"
    if not rule.every:
        return rest.removesuffix(" OR kind = 'deleted'")
    figure = (
        "kind = 'observed' AND class = 'number' AND json_type(document, '$.value') = 'NULL'"
        " AND json_type(document, '$.observedAt') = 'NULL'"
    )
    period = f"make_timestamptz(epoch_us(observed_at) // {rule.every} * {rule.every})"
    value = _METHODS[rule.method]
    figures = (
        f"SELECT entity, any_value(type) AS type, attribute, dataset, {period} AS observed_at, kind, class,"
        f" {value} AS value, bool_and(whole) AND {value} = floor({value}) AS whole, NULL AS text,"
        " arg_max(unit, observed_at) AS unit, max(modified_at) AS modified_at, NULL AS created_at,"
        f" arg_max(document, observed_at) AS document FROM ({rows}) WHERE {concerned} AND {figure}"
        f" GROUP BY entity, attribute, dataset, {period}, kind, class"
    )
    last = (
        f"SELECT * FROM ({rows}) WHERE {concerned} AND NOT ({figure}) AND kind <> 'deleted' QUALIFY row_number() OVER"
        f" (PARTITION BY entity, attribute, dataset, kind, {period} ORDER BY observed_at DESC) = 1"
    )
    return " UNION ALL ".join(f"SELECT {COLUMNS} FROM ({part})" for part in (rest, figures, last))


class Spool:
    """Instances on their way into a file, on the disk, so that a day of any size costs no memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._out = path.open("wb")

    def take(self, given: Iterable[tuple[str, str, str, str, Instant, Columns]]) -> None:
        """Write instances: (entity, its types, attribute, dataset, instant, columns)."""
        for entity, types, attribute, dataset, at, columns in given:
            line = {
                "entity": entity,
                "type": types,
                "attribute": attribute,
                "dataset": dataset or None,
                "t": at,
                "kind": columns.kind,
                "class": columns.sort,
                "value": columns.value,
                "whole": columns.whole,
                "text": columns.text,
                "unit": columns.unit,
                "modified": columns.modified,
                "created": columns.created,
                "document": columns.document,
            }
            self._out.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
            self.rows += 1

    def close(self) -> None:
        """Nothing more comes."""
        self._out.close()

    def remove(self) -> None:
        """Take the file away."""
        self.close()
        self.path.unlink(missing_ok=True)

    def relation(self) -> str:
        """The rows as a statement."""
        source = f"read_json({_quoted(str(self.path))}, format='newline_delimited', columns={_SPOOLED})"
        return f"{_NEW} FROM {source}"


def look(folder: Path, file: File, *, whole: bool = False) -> tuple[tuple[int, int], str]:
    """By what a file in the lake at `folder` is known again (size and time of change), and what is wrong with it;
    `whole`: all of it is read.
    """
    path = folder / file.name
    try:
        found = path.stat()
        seen = (found.st_size, found.st_mtime_ns)
        if found.st_size != file.bytes:
            return seen, f"it has {found.st_size} bytes and should have {file.bytes}"
        return seen, "its checksum is another" if whole and checksum(path) != file.sha256 else ""
    except OSError as problem:
        return (0, 0), f"it cannot be read: {problem.strerror}"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    total = hashlib.sha256()
    with path.open("rb") as given:
        while chunk := given.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def _settle(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
