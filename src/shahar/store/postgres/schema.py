"""The schema on PostgreSQL: the steps of store/migrate, and what this engine needs beside them.

Promises: two processes that start at once are safe; a later schema is refused with the same sentence; each opening
either sees the whole schema or makes it, in one transaction.
"""

from __future__ import annotations

import re
from typing import Final

import asyncpg

from shahar.store.migrate import MOVING, STEPS, Step, too_new
from shahar.store.postgres.line import key
from shahar.values.errors import Unavailable

_WORDS: Final = (
    (r"\) STRICT(, WITHOUT ROWID)?;", ");"),
    (r"INSERT INTO tenant\(name, made_at\) VALUES\('', 0\)", "INSERT INTO tenant VALUES(1, '', 0)"),
    (r"\bINTEGER\b", "bigint"),
    (r"\bREAL\b", "float8"),
    (r"\bTEXT\b", 'text COLLATE "C"'),
    (r" REFERENCES tenant\b", ""),  # looked up for each new row, and the writer alone makes them
    (
        r"CREATE VIRTUAL TABLE place USING rtree\(pk, west, east, south, north\);",
        (
            "CREATE TABLE place(pk bigint PRIMARY KEY, west float8, east float8, south float8, north float8);"
            " CREATE INDEX place_box ON place USING gist(box(point(west, south), point(east, north)));"
        ),
    ),
)
_BESIDE: Final = """
CREATE TABLE IF NOT EXISTS schema_version(version bigint NOT NULL);
CREATE TABLE IF NOT EXISTS writer(
  process text PRIMARY KEY, generation bigint NOT NULL, seen timestamptz NOT NULL DEFAULT now());
CREATE OR REPLACE FUNCTION shahar_value(doc text, name text) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000 AS $$
DECLARE
  one jsonb := doc::jsonb #> ARRAY['attrs', name, '0'];
  found jsonb := coalesce(one -> 'value', one -> 'object', one -> 'vocab', one -> 'json', one -> 'languageMap',
    one -> 'valueList', one -> 'objectList');
BEGIN
  RETURN CASE jsonb_typeof(found) WHEN 'string' THEN to_jsonb(left(found #>> '{}', 200))
    WHEN 'array' THEN '{}' WHEN 'object' THEN '{}' ELSE found END;
END $$;
"""
"""How far the schema has come; who wrote last (see store/postgres); the value that an index on demand holds."""
_AFTER: Final = """
ALTER TABLE entity SET (fillfactor = 75, toast_tuple_target = 8160);
ALTER TABLE history SET (toast_tuple_target = 8160);
CREATE INDEX journal_record ON journal(seq) WHERE kind < 'entity.' OR kind >= 'entity/';
"""
"""A document of usual size stays in its row and is not compressed, and its next version finds room beside it. What was
told of records is found without the rows of entities between (services/fellows).
"""


def told(step: Step) -> str:
    """A step in PostgreSQL's words."""
    text = step.sql if step.postgres is None else step.postgres
    for pattern, word in _WORDS:
        text = re.sub(pattern, word, text)
    return text


async def bring_up(connection: asyncpg.Connection) -> str:
    """Bring the schema up to date; its name. Unavailable when it is from a later version, or cannot hold texts."""
    name = str(await connection.fetchval("SELECT current_schema()"))
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise Unavailable(f"the database is in {encoding}: make one with ENCODING 'UTF8'")
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({key(name + '/schema')})")
        if await connection.fetchval(f"SELECT to_regclass('{MOVING}') IS NOT NULL"):
            detail = "a city was begun to be moved into this database and is not whole"
            raise Unavailable(detail, rule="shahar move goes on with it")
        found = 0
        if await connection.fetchval("SELECT to_regclass('schema_version') IS NOT NULL"):
            found = int(await connection.fetchval("SELECT coalesce(max(version), 0) FROM schema_version"))
        if found > len(STEPS):
            raise too_new(found)
        if found < len(STEPS):
            if not found:
                await connection.execute(_BESIDE)
            for step in STEPS[found:]:
                await connection.execute(told(step))
            if not found:
                await connection.execute(_AFTER)
            await connection.execute(f"DELETE FROM schema_version; INSERT INTO schema_version VALUES({len(STEPS)})")
    return name
