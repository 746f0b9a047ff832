"""One connection to a PostgreSQL server, used from one thread: asyncpg behind works that do not await.

For: the writer and each reader, which have a connection and an event loop of their own; a statement is run to its end.
Promises: whatever ends a connection is told as `Lost`; every other failure by whose fault it is; no password is shown.
Statements have `:named` parameters, as everywhere in the store.
Does not: begin or end transactions; decide when to try again.

Source: https://magicstack.github.io/asyncpg, https://www.postgresql.org/docs/current/errcodes-appendix.html.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import uvloop

from shahar.store.db import READ_TIMEOUT_S, Bindings, Lost
from shahar.values.errors import Invalid, OurFault, TooComplex, Unavailable

T = TypeVar("T")

CONNECT_S: Final = 5.0
STATEMENTS_KEPT: Final = 400
_SILENCE: Final = (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 15_000))
"""After how many seconds (the last: milliseconds) a server that says nothing any more is given up."""
_GONE: Final = ("08", "57P01", "57P02", "57P03", "25006", "25P03", "57P05")
"""States after which another connection is needed: cut, shut down, starting, standing by, left idle."""
_PASSES: Final = ("53", "55P03", "40", "58", "57014")
"""States that pass: no room, no lock, a conflict, the disk, cancelled."""
FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What asyncpg raises; InternalClientError too, when a connection is ended from there while we begin to ask."""
_PLACES: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|::|:([a-z_]\w*)", re.IGNORECASE)


@lru_cache(4096)
def numbered(sql: str) -> tuple[str, tuple[str, ...], bool]:
    """A statement with `:named` parameters as PostgreSQL wants it, their names in order, and whether it only reads."""
    names: list[str] = []

    def place(found: re.Match[str]) -> str:
        name = found.group(1)
        if name is None:
            return found.group()
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _PLACES.sub(place, sql), tuple(names), sql.lstrip().startswith(("SELECT", "WITH"))


def shown(address: str) -> str:
    """An address without its secrets."""
    parts = urlsplit(address)
    user = f"{parts.username}@" if parts.username else ""
    return f"{parts.scheme}://{user}{parts.netloc.rpartition('@')[2]}{parts.path}"


def key(name: str) -> int:
    """The number of a lock of this name."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


def read_number(text: str) -> int | float:
    """What is exact there is a whole number here or the nearest of the others."""
    return float(text) if set(text) & set(".eEN") else int(text)


def given_up(problem: BaseException) -> bool:
    """Whether it ends a connection."""
    if isinstance(problem, asyncpg.PostgresError):
        return str(problem.sqlstate or "").startswith(_GONE)
    return isinstance(problem, (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, EOFError))


def translated(problem: Exception) -> Exception:
    """Whose fault an engine's error is; what is not the engine's comes back as it is."""
    if isinstance(problem, asyncpg.DataError) and not problem.sqlstate:
        return OurFault(f"the store was given what it cannot hold: {problem}")
    if given_up(problem):
        return Lost(f"the store's server is away: {problem}", again=True)
    if not isinstance(problem, asyncpg.PostgresError):
        return problem
    state = str(problem.sqlstate or "")
    if state == "57014":
        rule = f"queries end within {READ_TIMEOUT_S:.0f} s"
        return TooComplex("the query did not end within its time", rule=rule)
    if state in {"22021", "22P05"}:
        return Invalid("a text holds the character NUL", rule="texts without U+0000")
    if state == "54000":
        return Invalid("a name is too long to be looked up", rule="2 700 bytes in UTF-8")
    if state.startswith(_PASSES):
        return Unavailable(f"the store cannot write now: {problem}")
    return OurFault(f"the store failed: {problem}")


async def connected(address: str, **settings: str) -> asyncpg.Connection:
    """A new connection to the server that takes changes. Lost when there is none."""
    given = dict(parse_qsl(urlsplit(address).query))
    attributes = {} if "target_session_attrs" in given else {"target_session_attrs": "primary"}
    try:
        connection = await asyncpg.connect(
            address,
            timeout=CONNECT_S,
            statement_cache_size=STATEMENTS_KEPT,
            max_cached_statement_lifetime=0,
            server_settings={"application_name": "shahar", "jit": "off", **settings},
            **attributes,
        )
    except (*FAILURES, ValueError) as problem:
        raise Lost(f"{shown(address)} cannot be reached: {str(problem) or type(problem).__name__}") from None
    _listen_for_silence(connection)
    await connection.set_type_codec("numeric", encoder=str, decoder=read_number, schema="pg_catalog", format="text")
    return connection


def _listen_for_silence(connection: asyncpg.Connection) -> None:
    line = connection._transport.get_extra_info("socket")  # asyncpg has no setting for it
    if line is None or line.family == socket.AF_UNIX:
        return
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _SILENCE:
        if hasattr(socket, name):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Line:
    """A connection that is made when it is first needed, and again when it was lost."""

    def __init__(self, address: str, **settings: str) -> None:
        self._address = address
        self._settings = settings
        self._loop = uvloop.new_event_loop()
        self._connection: asyncpg.Connection | None = None

    @property
    def up(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None and not self._connection.is_closed()

    def connect(self) -> None:
        """Make a new connection. Lost."""
        self.drop()
        self._connection = self._loop.run_until_complete(connected(self._address, **self._settings))

    def drop(self) -> None:
        """Let go of the connection, at once."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def close(self) -> None:
        """Let go of the connection and the loop."""
        if self._connection is not None and not self._connection.is_closed():
            try:
                self._loop.run_until_complete(self._connection.close(timeout=2))
            except FAILURES:
                self.drop()
        self._loop.close()

    def do(self, act: Awaitable[T]) -> T:
        """Wait for the engine; its errors as they are."""
        return self._loop.run_until_complete(act)

    @property
    def connection(self) -> asyncpg.Connection:
        """The connection. Lost when there is none."""
        if self._connection is None:
            raise Lost("the store's server is away", again=True)
        return self._connection

    def script(self, text: str) -> None:
        """Several statements without parameters, in one round trip."""
        self._loop.run_until_complete(self.connection.execute(text))

    def fetch(self, sql: str, bindings: Bindings) -> list[tuple[Any, ...]]:
        """Every row of the answer."""
        text, names, _ = numbered(sql)
        found = self._loop.run_until_complete(self.connection.fetch(text, *[bindings[name] for name in names]))
        return list(map(tuple, found))

    def execute(self, sql: str, bindings: Bindings) -> int:
        """Do a statement; the number of rows that it changed."""
        text, names, _ = numbered(sql)
        told = self._loop.run_until_complete(self.connection.execute(text, *[bindings[name] for name in names]))
        last = str(told).rpartition(" ")[2]
        return int(last) if last.isdigit() else 0

    def put(self, statement: str, columns: Sequence[Sequence[Any]]) -> None:
        """Do a statement whose parameters are whole columns."""
        self._loop.run_until_complete(self.connection.execute(statement, *columns))

    def copy(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Write rows that cannot be there already."""
        self._loop.run_until_complete(self.connection.copy_records_to_table(table, records=rows, columns=list(columns)))
