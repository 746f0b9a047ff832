"""The schema as numbered steps; each is applied once and never edited after it has landed.

Promises: a store of any earlier version is brought up to this one at opening, all steps in one transaction: whenever
the power goes, it is of the old version or the new one; a store of a later version is refused with a sentence. The
rows, in words:
- one entity is one document row (`entity`), its types (`entity_type`), its places in an R*Tree (`place`, `place_of`);
- each attribute instance over time is one `history` row, clustered by entity and instant, so that the ten readings of
  one update lie
  on one page; `name` interns attribute names and dataset ids;
- each entity of which something ends has an `expiry` row with the next end (store/expiries.py);
- each shape of entities, types and kinds of attributes, is one `shape` row with their number (store/shapes.py);
- each day that is sealed, or just being sealed (no file yet), is one `sealed` row that names its file in the lake;
  `void` marks what was taken out of a sealed day since, `outdated` names files that are valid no more (store/sealed);
- each change is one `journal` row in its own transaction; `consumer` remembers how far each reader of it has come;
- everything else (subscriptions, devices, accounts ...) is a `record`: kind, key, document, and a folded text for
  search.
A deleted entity keeps its row with `gone` set, so that its history can still be asked for and a new one of the same id
continues it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import apsw

from shahar.values.errors import Unavailable

MOVING: Final = "moving"
"""The table of a store that is being filled from another, and is not whole (store/transfer)."""


class Step(NamedTuple):
    """One step: what it brings, for whoever is asked whether it may be done, and how. `postgres`: what PostgreSQL is
    told instead, where its words alone do not do (store/postgres/schema translates these).
    """

    what: str
    sql: str
    postgres: str | None = None


STEPS: Final = (
    Step(
        "entities, their history, the journal, records",
        """
    CREATE TABLE tenant(pk INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, made_at INTEGER NOT NULL) STRICT;
    INSERT INTO tenant(name, made_at) VALUES('', 0);
    CREATE TABLE name(pk INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE entity(
      pk INTEGER PRIMARY KEY, tenant INTEGER NOT NULL REFERENCES tenant, id TEXT NOT NULL,
      gone INTEGER, multi INTEGER NOT NULL DEFAULT 0, doc TEXT NOT NULL, UNIQUE(tenant, id)) STRICT;
    CREATE INDEX entity_tenant ON entity(tenant);
    CREATE INDEX entity_multi ON entity(tenant, pk) WHERE multi = 1;
    CREATE TABLE entity_type(tenant INTEGER NOT NULL, type INTEGER NOT NULL, entity INTEGER NOT NULL,
      PRIMARY KEY(tenant, type, entity)) STRICT, WITHOUT ROWID;
    CREATE TABLE place_of(
      pk INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, entity INTEGER NOT NULL, attr INTEGER NOT NULL) STRICT;
    CREATE INDEX place_of_entity ON place_of(entity);
    CREATE VIRTUAL TABLE place USING rtree(pk, west, east, south, north);
    CREATE TABLE history(
      entity INTEGER NOT NULL, at INTEGER NOT NULL, attr INTEGER NOT NULL, dataset INTEGER NOT NULL,
      kind INTEGER NOT NULL, modified_at INTEGER NOT NULL, doc TEXT NOT NULL,
      PRIMARY KEY(entity, at, attr, dataset, kind)) STRICT, WITHOUT ROWID;
    CREATE TABLE journal(
      seq INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
      what TEXT NOT NULL) STRICT;
    CREATE INDEX journal_at ON journal(at);
    CREATE TABLE consumer(name TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE record(
      kind TEXT NOT NULL, tenant INTEGER NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, doc TEXT NOT NULL,
      PRIMARY KEY(kind, tenant, key)) STRICT, WITHOUT ROWID;
    CREATE TABLE attribute_index(attr TEXT PRIMARY KEY, made_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    """,
    ),
    Step(
        "types and attributes are tallied",
        """
    CREATE TABLE shape(
      tenant INTEGER NOT NULL, shape TEXT NOT NULL, entities INTEGER NOT NULL,
      PRIMARY KEY(tenant, shape)) STRICT, WITHOUT ROWID;
    INSERT INTO shape(tenant, shape, entities)
      SELECT tenant, json_object(
        'attrs', json((SELECT json_group_object(a.key, json((
            SELECT json_group_array(json_extract(i.value, '$.type')) FROM json_each(a.value) i)))
          FROM (SELECT key, value FROM json_each(e.doc, '$.attrs') ORDER BY key) a)),
        'types', json((SELECT json_group_array(t.value)
          FROM (SELECT value FROM json_each(e.doc, '$.type') ORDER BY value) t))) AS text, count(*)
      FROM entity e WHERE gone IS NULL GROUP BY tenant, text;
    """,
        # shapes may be longer than an index takes; the first schema there has this step, so there is nothing to tally
        """
    CREATE TABLE shape(tenant INTEGER NOT NULL, shape TEXT NOT NULL, entities INTEGER NOT NULL) STRICT;
    CREATE UNIQUE INDEX shape_once ON shape(tenant, md5(shape));
    """,
    ),
    Step(
        "what ends by itself is listed",
        """
    CREATE TABLE expiry(entity INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT;
    CREATE INDEX expiry_at ON expiry(at);
    """,
    ),
    Step(
        "old days may be sealed",
        """
    CREATE TABLE sealed(
      tenant INTEGER NOT NULL, day INTEGER NOT NULL, file TEXT NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
      instances INTEGER NOT NULL, modified_from INTEGER NOT NULL, modified_to INTEGER NOT NULL,
      created_from INTEGER NOT NULL, created_to INTEGER NOT NULL, thinned TEXT NOT NULL,
      PRIMARY KEY(tenant, day)) STRICT, WITHOUT ROWID;
    CREATE TABLE void(
      pk INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, id TEXT NOT NULL, attr TEXT, dataset TEXT, at INTEGER,
      kind INTEGER, until INTEGER NOT NULL) STRICT;
    CREATE INDEX void_of ON void(tenant, id);
    CREATE TABLE outdated(file TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    """,
    ),
)


def migrate(connection: apsw.Connection) -> None:
    """Bring the schema up to date in one transaction; Unavailable when the file is from a later version."""
    missing = pending(connection)
    if not missing:
        return
    connection.execute("BEGIN IMMEDIATE")
    for step in missing:
        connection.execute(step.sql)
    connection.execute(f"PRAGMA user_version={len(STEPS)}")
    connection.execute("COMMIT")


def pending(connection: apsw.Connection) -> tuple[Step, ...]:
    """The steps that a store has not seen; Unavailable when the file is from a later version."""
    row = connection.execute("PRAGMA user_version").fetchone()
    found = int(row[0]) if row else 0
    if found > len(STEPS):
        raise too_new(found)
    return STEPS[found:]


def too_new(found: int) -> Unavailable:
    """What is said of a store from a later version."""
    return Unavailable(f"the data are of schema {found}; this program knows up to {len(STEPS)}: use the newer program")
