"""Which engine the store of a test has, and where it is.

SHAHAR_TEST_ENGINES: `sqlite`, `postgres`, or both with a comma, for every test that has a store; without it the tests
of the store's own promises (`BOTH`) run on both, all others on SQLite.
SHAHAR_TEST_POSTGRES: the address of a server that is preferred; its user may make schemas in its database. Else one is
started (scripts/postgres).
Promises: each store of each test is a schema of its own, gone afterwards; the same path is the same store.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sqlite3
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import asyncpg

from scripts.postgres import Server
from shahar.store.db import Database
from shahar.store.engines import connect

BOTH: Final = ("test_store", "test_history", "test_store_questions", "test_two_engines")
CHOSEN: Final = tuple(filter(None, os.environ.get("SHAHAR_TEST_ENGINES", "").split(",")))


class Engine:
    """The engine of the test that runs now; what a test starts gets it from the environment."""

    name = os.environ.get("SHAHAR_TEST_ENGINE", "sqlite")
    schemas: Final[set[str]] = set()


def engines_of(module: str, bound: bool) -> tuple[str, ...]:
    """The engines on which the tests of a module run; those that are `bound` to files on SQLite alone."""
    if bound:
        return ("sqlite",)
    return CHOSEN or (("sqlite", "postgres") if module.rpartition(".")[2] in BOTH else ("sqlite",))


@cache
def server() -> str:
    """The address of the server for tests."""
    named = os.environ.get("SHAHAR_TEST_POSTGRES")
    if named:
        return named
    started = Server()
    started.start()
    atexit.register(started.close)
    return started.url


def where(path: Path) -> Path | str:
    """The address of the store that a test has at `path`."""
    return path if Engine.name == "sqlite" else database(path)


def database(path: Path) -> str:
    """The address of a schema of PostgreSQL that a test has for `path`."""
    schema = "t_" + blake2b(str(path).encode(), digest_size=8).hexdigest()
    if schema not in Engine.schemas:
        Engine.schemas.add(schema)
        apart(_run(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
    return f"{server()}{'&' if urlsplit(server()).query else '?'}{urlencode({'search_path': schema})}"


def store_at(path: Path) -> Database:
    """The store that a test has at `path`, on the engine of this test."""
    return connect(where(path))


def rows(path: Path, question: str) -> list[tuple[Any, ...]]:
    """What stands in the store that a test has at `path`, in use or not."""
    place = where(path)
    if isinstance(place, str):
        return [tuple(row) for row in apart(_ask(place, question))]
    with sqlite3.connect(place) as store:
        return store.execute(question).fetchall()


def use(name: str) -> None:
    """Let stores have this engine from now on, here and in what is started."""
    Engine.name = os.environ["SHAHAR_TEST_ENGINE"] = name
    if name == "postgres":
        os.environ["SHAHAR_TEST_POSTGRES"] = server()


def forget() -> None:
    """Drop what a test has left."""
    if Engine.schemas:
        apart(_run(*(f"DROP SCHEMA {schema} CASCADE" for schema in Engine.schemas)))
        Engine.schemas.clear()


def apart(act: Coroutine[Any, Any, Any]) -> Any:
    """Wait for it, whether or not a loop runs here."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, act).result()


async def _ask(address: str, question: str) -> list[Any]:
    connection = await asyncpg.connect(address)
    try:
        return list(await connection.fetch(question))
    finally:
        await connection.close()


async def _run(*statements: str) -> None:
    connection = await asyncpg.connect(server())
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
