"""Each rule of the house is shown a planted violation, which it must find, and an honest neighbour, which it must leave
alone.
"""

from __future__ import annotations

import pytest

from tests.house import rules
from tests.house.rules import Checker, Finding, Source

ROOMS = [
    "values",
    "values.instants",
    "model",
    "model.entity",
    "kit",
    "store",
    "store.db",
    "services.broker",
    "ports.mqtt",
]
ROOMS += ["ports.webhooks", "web.routes", "systems.air", "systems.water", "main", "config", "envelopes.plain"]


def check_floors(source: Source) -> list[Finding]:
    return rules.check_floors(source, ROOMS)


def check_system_names(source: Source) -> list[Finding]:
    return rules.check_system_names(source, ["air", "water"])


def check_declared(source: Source) -> list[Finding]:
    return rules.check_declared(source, ["PyLD", "prometheus-client"])


PLANTED: list[tuple[Checker, str, str]] = [
    (rules.check_sockets, "services.broker", "import httpx"),
    (rules.check_sockets, "services.broker", "from urllib import request"),
    (rules.check_sockets, "model.context", "from urllib.request import urlopen"),
    (rules.check_sockets, "store.entities", "import apsw"),
    (rules.check_sockets, "store.db", "import sqlite3"),
    (rules.check_sockets, "store.db", "import subprocess"),
    (rules.check_sockets, "systems.air", "import asyncio\nasync def f():\n    await asyncio.open_connection('h', 1)"),
    (rules.check_disks, "values.units", "from pathlib import Path"),
    (rules.check_disks, "model.entity", "import os"),
    (rules.check_disks, "model.entity", "open('x')"),
    (rules.check_clocks, "model.alarm", "import time\nat = time.time()"),
    (rules.check_clocks, "services.alarms", "import time as t\nat = t.time_ns()"),
    (rules.check_clocks, "services.alarms", "from time import time"),
    (rules.check_clocks, "store.history", "from datetime import datetime\nat = datetime.now()"),
    (rules.check_clocks, "web.session", "import datetime as dt\nat = dt.datetime.utcnow()"),
    (rules.check_clocks, "web.session", "from datetime import date\nat = date.today()"),
    (rules.check_clocks, "services.alarms", "import time\nat = time.monotonic()"),
    (rules.check_sql, "services.broker", "q = 'SELECT 1'"),
    (rules.check_sql, "services.broker", "q = 'select a from b where c'"),
    (rules.check_sql, "web.ngsild", "q = f'DELETE FROM {table}'"),
    (rules.check_sql, "web.ngsild", "q = '''\n   insert or ignore into t values (1)'''"),
    (rules.check_sql, "main", "q = 'PRAGMA journal_mode'"),
    (rules.check_sql, "main", "q = 'WITH RECURSIVE a(b) AS (SELECT 1)'"),
    (rules.check_sql, "main", "q = 'CREATE UNIQUE INDEX i ON t(a)'"),
    (rules.check_dialects, "store.entities", "if dialect.name == other: pass"),
    (rules.check_dialects, "store.entities", "if kind == 'postgresql': pass"),
    (rules.check_dialects, "store.entities", "if kind in ('sqlite', 'x'): pass"),
    (rules.check_dialects, "store.entities", "if dialect is SQLITE: pass"),
    (rules.check_dialects, "store.entities", "match kind:\n    case 'sqlite':\n        pass"),
    (rules.check_status_codes, "web.ngsild", "answer(404)"),
    (rules.check_status_codes, "web.ngsild", "Response(status_code=400)"),
    (rules.check_status_codes, "ports.mail", "ok = answer.status_code < 500"),
    (rules.check_status_codes, "services.broker", "from http import HTTPStatus\nx = HTTPStatus.NOT_FOUND"),
    (rules.check_status_codes, "values.errors", "status = 404"),
    (rules.check_names, "values.utils", "x = 1"),
    (rules.check_names, "model.entity", "class EntityManager: pass"),
    (rules.check_names, "model.entity", "class Data: pass"),
    (rules.check_suppressions, "main", "import x  # noqa: F401"),
    (rules.check_suppressions, "main", "import x  # noqa -- everything"),
    (rules.check_suppressions, "main", "x: int = 'a'  # type: ignore -- everything"),
    (rules.check_suppressions, "main", "x: int = 'a'  # type: ignore[assignment]"),
    (rules.check_fences, "main", "try:\n    f()\nexcept Exception:\n    pass"),
    (rules.check_fences, "main", "try:\n    f()\nexcept:\n    pass"),
    (rules.check_fences, "main", "try:\n    f()\nexcept (ValueError, BaseException):  # wide\n    pass"),
    (rules.check_fences, "main", "from contextlib import suppress\nwith suppress(Exception):\n    f()"),
    (rules.check_docstrings, "main", "x = 1"),
    (rules.check_annotations, "main", "def f():\n    pass"),
    (rules.check_annotations, "main", "def f(a) -> None:\n    pass"),
    (rules.check_annotations, "main", "class A:\n    async def f(self, *rest) -> None:\n        pass"),
    (rules.check_proper_names, "services.broker", "city = 'toshkent'"),
    (rules.check_proper_names, "web.intake", "def from_chirpstack(): pass"),
    (rules.check_proper_names, "model.place", "# as in Samarkand"),
    (check_system_names, "services.broker", "if name == 'water': pass"),
    (check_declared, "main", "import numpy.linalg"),
    (check_declared, "main", "def f() -> None:\n    from anyio import run"),
    (check_floors, "values.instants", "from shahar.model import entity"),
    (check_floors, "model.entity", "import shahar.store.db"),
    (check_floors, "systems.air", "from shahar.values import instants"),
    (check_floors, "systems.air", "from shahar.systems.water import SYSTEM"),
    (check_floors, "envelopes.other", "from shahar.envelopes import plain"),
    (check_floors, "ports.mqtt", "from shahar.ports.webhooks import send"),
    (check_floors, "ports.mqtt", "from shahar.web import routes"),
    (check_floors, "web.routes", "from shahar.store import db"),
    (check_floors, "services.broker", "from shahar.config import Settings"),
    (check_floors, "services.broker", "def f():\n    from shahar import main"),
    (check_floors, "store.db", "from ..services import broker"),
    (check_floors, "attic.box", "x = 1"),
]

HONEST: list[tuple[Checker, str, str]] = [
    (rules.check_sockets, "ports.webhooks", "import httpx"),
    (rules.check_sockets, "store.sqlite", "import apsw"),
    (rules.check_sockets, "values.names", "from urllib.parse import quote"),
    (rules.check_disks, "store.db", "from pathlib import Path"),
    (rules.check_clocks, "main", "import time\nat = time.time()"),
    (rules.check_clocks, "demo.replay", "import time\nat = time.time_ns()"),
    (rules.check_clocks, "services.runner", "import time\nat = time.monotonic()"),
    (rules.check_clocks, "values.instants", "from datetime import datetime\nat = datetime.fromisoformat('2024-01-01')"),
    (rules.check_clocks, "services.alarms", "def f(now: int) -> int:\n    return now"),
    (rules.check_sql, "store.entities", "q = 'SELECT 1'"),
    (rules.check_sql, "services.broker", "'''Select the entities from the store.'''\nmethod = 'DELETE'"),
    (rules.check_sql, "services.broker", "said = 'Create the tenant first'\nother = 'Update failed'"),
    (rules.check_dialects, "store.dialect", "if dialect.name == 'sqlite': pass"),
    (rules.check_dialects, "store.entities", "dialect.upsert('sqlite')"),
    (rules.check_status_codes, "web.problem", "STATUS = {NotFound: 404}"),
    (rules.check_status_codes, "web.ngsild", "page = rows[:500]\nResponse(status_code=201)"),
    (rules.check_status_codes, "systems.air", "SULPHUR_DIOXIDE_LIMIT = 410"),
    (rules.check_names, "model.entity", "class Information: pass"),
    (rules.check_suppressions, "main", "import x  # noqa: F401 -- the door of the room\n# a word about noqa"),
    (rules.check_suppressions, "main", "import x  # type: ignore[import-untyped]  # -- ships no types"),
    (rules.check_fences, "main", "try:\n    f()\nexcept Exception:  # fence: a system must not stop another\n    pass"),
    (rules.check_fences, "main", "try:\n    f()\nexcept BaseException:\n    g()\n    raise"),
    (rules.check_fences, "main", "try:\n    f()\nexcept ValueError:\n    pass"),
    (rules.check_docstrings, "main", "'''The command.'''"),
    (rules.check_docstrings, "systems", ""),
    (rules.check_annotations, "main", "class A:\n    def f(self, a: int) -> None:\n        pass"),
    (rules.check_proper_names, "envelopes.chirpstack", "NAME = 'ChirpStack'"),
    (rules.check_proper_names, "demo.places", "NAME = 'Tashkent'"),
    (rules.check_proper_names, "web.pages.resident", "NAME = 'Tashkent'"),
    (rules.check_proper_names, "model.place", "heliumlike = 1"),
    (check_system_names, "systems.water", "NAME = 'water'"),
    (check_declared, "main", "import json\nfrom pyld import jsonld\nimport prometheus_client\nfrom . import web"),
    (check_floors, "model.entity", "from shahar.values import instants\nimport json"),
    (check_floors, "model.entity", "from shahar.model import change"),
    (check_floors, "systems.air.rules", "from shahar.kit import System\nfrom . import words"),
    (check_floors, "main", "from shahar import __version__, config\nfrom shahar.web import routes"),
    (check_floors, "web.routes", "from shahar.web import ngsild\nfrom shahar import __version__"),
]


def name(case: Checker | str) -> str | None:
    return None if isinstance(case, str) else getattr(case, "__name__", "rule").removeprefix("check_")


@pytest.mark.parametrize(("rule", "room", "text"), PLANTED, ids=name)
def test_the_rule_finds_the_planted_violation(rule: Checker, room: str, text: str) -> None:
    assert rule(Source(room, text)), f"not found in {room}:\n{text}"


@pytest.mark.parametrize(("rule", "room", "text"), HONEST, ids=name)
def test_the_rule_leaves_an_honest_room_alone(rule: Checker, room: str, text: str) -> None:
    assert [str(each) for each in rule(Source(room, text))] == []


def test_every_rule_has_a_planted_violation() -> None:
    assert set(rules.CHECKERS) <= {rule for rule, _, _ in PLANTED}
    assert set(rules.CHECKERS) <= {rule for rule, _, _ in HONEST}


def test_a_circle_of_imports_is_found() -> None:
    known = [Source("values.a", "from shahar.values import b"), Source("values.b", "from shahar.values.c import x")]
    known += [
        Source("values.c", "def f() -> None:\n    from shahar.values import a"),
        Source("model.d", "import shahar.values.a"),
    ]
    assert rules.cycles(rules.import_graph(known)) == [["values.a", "values.b", "values.c"]]
    assert rules.cycles(rules.import_graph([*known[:2], Source("values.c", "x = 1")])) == []


def test_a_folder_that_gathers_its_rooms_is_no_circle() -> None:
    folder = Source("model.query", "from shahar.model.query.tree import Node", is_folder=True)
    assert rules.cycles(rules.import_graph([folder, Source("model.query.tree", "x = 1")])) == []
    assert (
        rules.cycles(rules.import_graph([folder, Source("model.query.tree", "from shahar.model.query import Node")]))
        != []
    )


@pytest.mark.parametrize(
    "text",
    [
        "see /" + "root/notes",
        "path = '/" + "home/ann/city'",
        "at /" + "tmp/w/x",
        "https://" + "registry.example.org/a",
        "--index" + "-url x",
    ],
)
def test_a_trace_of_one_machine_is_found(text: str) -> None:
    assert rules.machine_traces("README.md", text)


@pytest.mark.parametrize(
    "text", ["GET /api/{work}/orders", "https://example.org/{home}/ann/x", "a root/file", "the registry of bodies"]
)
def test_an_address_of_ours_is_no_trace_of_a_machine(text: str) -> None:
    told = text.format(work="work", home="home")  # written so that this file holds no such path itself
    assert rules.machine_traces("README.md", told) == []
