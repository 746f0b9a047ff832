"""The rules of the house as pure functions: the text of a source file in, the places that break the rule out.

A checker takes a `Source` and gives `Finding`s; it opens no file and imports nothing of ours, so each is itself tested
on a planted violation (`test_the_rules_can_fail.py`) before it is trusted with the house (`test_the_house.py`). What a
room may do stands here as tables, for the tables are what a reader comes for.

A room is named by its dotted path below the package: `values.instants`, `store.db`, `systems.water.rules`, `main`.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

PACKAGE: Final = "shahar"


@dataclass(frozen=True)
class Finding:
    """One place that breaks one rule."""

    room: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.room}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Source:
    """One source file: the room's name, its text, and whether it is a folder's `__init__.py`."""

    room: str
    text: str
    is_folder: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)

    @cached_property
    def comments(self) -> list[tuple[int, str]]:
        """Every comment with its line."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]

    @cached_property
    def docstrings(self) -> set[int]:
        """The identities of the constants that are docstrings: prose, not text that the program uses."""
        owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = set()
        for node in ast.walk(self.tree):
            if isinstance(node, owners) and node.body and isinstance(node.body[0], ast.Expr):
                found.add(id(node.body[0].value))
        return found

    @property
    def floor(self) -> str:
        """The first part of the room's name: `values`, `store`, `main`; empty for the package itself."""
        return self.room.split(".")[0]

    def finding(self, node: ast.AST | int, text: str) -> Finding:
        """Return a finding at a node or line of this source."""
        return Finding(self.room or PACKAGE, node if isinstance(node, int) else getattr(node, "lineno", 1), text)


Checker = Callable[[Source], list[Finding]]


# --- what is imported -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Import:
    """One imported name: the module, and what is taken out of it (empty for a plain `import`)."""

    line: int
    module: str
    name: str = ""

    @property
    def path(self) -> str:
        """The dotted path of what is imported."""
        return f"{self.module}.{self.name}" if self.name else self.module


def imports(source: Source) -> Iterator[Import]:
    """Give every import of a source, wherever it stands, relative ones made absolute."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = absolute(source, node.level, node.module or "") if node.level else node.module or ""
            for alias in node.names:
                yield Import(node.lineno, module, alias.name)


def absolute(source: Source, level: int, module: str) -> str:
    """Return the absolute name that a relative import of this source means."""
    folder = [PACKAGE, *source.room.split(".")] if source.room else [PACKAGE]
    up = level - 1 if source.is_folder else level
    kept = folder[: len(folder) - up] if up else folder
    return ".".join([*kept, *([module] if module else [])])


def rooms_imported(source: Source, rooms: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Give line and room for every import of one of our rooms; `from shahar.values import instants` means
    `values.instants`.
    """
    known = set(rooms)
    for each in imports(source):
        if each.module != PACKAGE and not each.module.startswith(PACKAGE + "."):
            continue
        room, longer = each.module[len(PACKAGE) + 1 :], each.path[len(PACKAGE) + 1 :]
        if longer in known or (not room and longer in {*FLOORS, *TOP}):
            yield each.line, longer
        elif room:
            yield each.line, room


def names(source: Source) -> dict[str, str]:
    """Return what each imported local name stands for: `{"dt": "datetime", "now": "datetime.datetime.now"}`."""
    found = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def dotted(node: ast.AST, local: dict[str, str]) -> str:
    """Return the dotted origin of `a.b.c`, with `a` replaced by what it was imported as; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([local.get(node.id, node.id), *reversed(parts)])


# What a distribution is called where it is not called as it is imported.
DISTRIBUTIONS: Final = {"paho": "paho-mqtt", "prometheus_client": "prometheus-client"}


def check_declared(source: Source, declared: Iterable[str] = ()) -> list[Finding]:
    """What is imported is declared: a package that came along with another may stay away tomorrow."""
    known = {name.lower() for name in declared}
    own = {PACKAGE, "tests", "scripts", "bench", "__future__", *sys.stdlib_module_names}
    found = []
    for each in imports(source):
        top = each.module.split(".")[0]
        if top not in own and DISTRIBUTIONS.get(top, top).lower() not in known:
            found.append(source.finding(each.line, f"{top} is not declared in pyproject.toml"))
    return found


# --- floors -----------------------------------------------------------------------------------------------------------

# The floors that each floor may import; its own is added unless the floor is one of rooms that do not know each other.
FLOORS: Final[dict[str, frozenset[str]]] = {
    "values": frozenset(),
    "model": frozenset({"values"}),
    "kit": frozenset({"values", "model"}),
    "systems": frozenset({"kit"}),
    "envelopes": frozenset({"kit"}),
    "connectors": frozenset({"kit"}),
    "store": frozenset({"values", "model"}),
    "services": frozenset({"values", "model", "store", "kit"}),
    "ports": frozenset({"values", "model", "services"}),
    "web": frozenset({"values", "model", "services"}),
    "demo": frozenset({"values", "model", "kit", "services", "ports"}),
}
# The top rooms put things together. Each may import every floor, and of the top rooms those that stand before it.
TOP: Final = (
    *"plugins config progress local workers tls scenes assembly serving".split(),
    *"keys bundle keeping main __main__".split(),
)
STRANGERS: Final = frozenset({"systems", "envelopes", "connectors", "ports"})  # whose rooms do not know each other


def may_import(importer: str, imported: str) -> bool:
    """Tell whether the room `importer` may import the room `imported`."""
    above, below = importer.split("."), imported.split(".")
    if above[0] == below[0]:
        return above[0] not in STRANGERS or len(above) == 1 or above[1:2] == below[1:2]
    if above[0] in TOP:
        return below[0] not in TOP or TOP.index(below[0]) < TOP.index(above[0])
    return below[0] in FLOORS.get(above[0], frozenset())


def check_floors(source: Source, rooms: Iterable[str] = ()) -> list[Finding]:
    """Doors open downwards only, and every room stands on a known floor."""
    if not source.room:
        return [
            source.finding(line, f"the package itself imports {room}") for line, room in rooms_imported(source, rooms)
        ]
    if source.floor not in {*FLOORS, *TOP}:
        return [source.finding(1, f"no floor is called {source.floor!r}")]
    found = []
    for line, room in rooms_imported(source, rooms):
        if not may_import(source.room, room):
            found.append(source.finding(line, f"{source.room} may not import {room}"))
    return found


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of rooms that import each other in a circle (strongly connected components, Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(room: str) -> None:
        number[room] = lowest[room] = len(number)
        path.append(room)
        for other in sorted(graph.get(room, ())):
            if other not in number:
                visit(other)
                lowest[room] = min(lowest[room], lowest[other])
            elif other in path:
                lowest[room] = min(lowest[room], number[other])
        if lowest[room] == number[room]:
            group = path[path.index(room) :]
            del path[path.index(room) :]
            if len(group) > 1 or room in graph.get(room, ()):
                found.append(sorted(group))

    for room in sorted(graph):
        if room not in number:
            visit(room)
    return found


def import_graph(sources: Iterable[Source]) -> dict[str, set[str]]:
    """Return which room imports which, for `cycles`."""
    known = {source.room: source for source in sources}
    graph: dict[str, set[str]] = {room: set() for room in known}
    for source in known.values():
        for _, room in rooms_imported(source, known):
            if room in known and not (source.is_folder and room == source.room):
                graph[source.room].add(room)
    return graph


# --- sockets, disks, clocks -------------------------------------------------------------------------------------------

OUTSIDE: Final = frozenset({"ports", "web", "demo", *TOP})
SPEAKS_OUT: Final = tuple(
    """
    socket socketserver ssl select selectors subprocess multiprocessing urllib.request http.client http.server
    smtplib imaplib poplib ftplib telnetlib xmlrpc httpx requests aiohttp urllib3
    gmqtt paho uvicorn starlette websockets asyncssh paramiko
    """.split()
)
DATABASES: Final = ("apsw", "sqlite3", "asyncpg", "psycopg", "duckdb", "pyarrow", "sqlalchemy")
CONNECTIONS: Final = ("store.sqlite", "store.keep", "store.packing", "store.migrate", "store.transfer", "store.ends")
DATABASE_ROOMS: Final[dict[str, tuple[str, ...]]] = {
    "apsw": CONNECTIONS,
    "asyncpg": ("store.postgres", "store.migrate"),
    "duckdb": ("store.lake",),
    "pyarrow": ("store.lake",),
}
SOCKET_CALLS: Final = re.compile(
    r"(^|\.)asyncio\.(open_connection|start_server|open_unix_connection|create_subprocess_\w+)$"
)
DISKS: Final = ("os", "pathlib", "shutil", "tempfile", "glob", "fcntl", "mmap", "importlib.resources")


def is_module(path: str, module: str) -> bool:
    """Tell whether a dotted path is this module or something in it."""
    return path == module or path.startswith(module + ".")


def check_sockets(source: Source) -> list[Finding]:
    """Below ports and web nobody opens a socket or starts a process; a database is opened in its own room."""
    local, found = names(source), []
    for each in imports(source):
        out = next((module for module in SPEAKS_OUT if is_module(each.path, module)), None)
        if out and source.floor not in OUTSIDE and not (out == "socket" and is_module(source.room, "store.postgres")):
            found.append(source.finding(each.line, f"{out} is for ports and web"))
        database = next((module for module in DATABASES if is_module(each.path, module)), None)
        owners = DATABASE_ROOMS.get(database or "", ())
        if database and not any(is_module(source.room, room) for room in owners):
            found.append(source.finding(each.line, f"{database} is for {' and '.join(owners) or 'nobody here'}"))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and source.floor not in OUTSIDE and SOCKET_CALLS.search(dotted(node.func, local)):
            found.append(source.finding(node, f"{dotted(node.func, local)} is for ports and web"))
    return found


def check_disks(source: Source) -> list[Finding]:
    """Values and model touch no disk and read no environment."""
    if source.floor not in {"values", "model"}:
        return []
    found = []
    for each in imports(source):
        if any(is_module(each.path, module) for module in DISKS):
            found.append(source.finding(each.line, f"{each.path} has no place on a floor without disk and environment"))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            found.append(source.finding(node, "open() has no place on a floor without disk"))
    return found


WALL_CLOCKS: Final = re.compile(
    r"^(time\.(time|time_ns|gmtime|localtime|ctime|asctime)|(datetime\.)?(datetime|date)\.(now|utcnow|today))$"
)
STOPWATCHES: Final = re.compile(r"^time\.(monotonic|perf_counter|process_time|thread_time)(_ns)?$")
CLOCK_ROOMS: Final = ("main", "demo")
STOPWATCH_ROOMS: Final = ("main", "demo", "ports", "web", "store", "plugins", "services.runner")


def check_clocks(source: Source) -> list[Finding]:
    """Main (and the demo's own clock) alone reads the time; a stopwatch is for ports, web, store and runner."""
    local, found = names(source), []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom):
            read = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            read = [dotted(node, local)]
        else:
            continue
        for name in read:
            if WALL_CLOCKS.match(name) and not any(is_module(source.room, room) for room in CLOCK_ROOMS):
                found.append(source.finding(node, f"{name} reads the clock: take `now` as an argument"))
            if STOPWATCHES.match(name) and not any(is_module(source.room, room) for room in STOPWATCH_ROOMS):
                found.append(source.finding(node, f"{name} has no place here: take `now` as an argument"))
    return found


# --- SQL and its dialects ---------------------------------------------------------------------------------------------

SQL: Final = re.compile(
    r"""^\s*(
        SELECT\s.+                                      # upper case: `Select the ...` is a sentence
      | (?i:select)\s.+\s(?i:from)\s
      | (?i:insert)\s+(?i:or\s+\w+\s+)?(?i:into)\s
      | (?i:replace\s+into)\s
      | (?i:update)\s+\S+\s+(?i:set)\s
      | (?i:delete\s+from)\s
      | (?i:create|drop|alter)\s+(?i:or\s+replace\s+|temp\s+|temporary\s+|unique\s+|virtual\s+)*
            (?i:table|index|view|trigger|schema|sequence|extension|function|database)\s
      | PRAGMA\s+\w | (?i:pragma)\s+\w+\s*=
      | (?i:with)\s+(?i:recursive\s+)?\w+(\s*\([^)]*\))?\s+(?i:as)\s+((?i:not\s+)?(?i:materialized)\s+)?\(
      | (?i:begin)\s+(?i:immediate|deferred|exclusive|transaction)
      | (?i:vacuum|analyze|reindex)\s*(\w+\s*)?$ | SAVEPOINT\s | ROLLBACK\s*(TO\s.*)?$ | COMMIT\s*$
    )""",
    re.VERBOSE | re.DOTALL,
)


def check_sql(source: Source) -> list[Finding]:
    """SQL is spoken in the store alone."""
    if source.floor == "store":
        return []
    found = []
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in source.docstrings:
            continue
        if SQL.match(node.value):
            found.append(source.finding(node, f"SQL outside the store: {node.value.strip()[:40]!r}"))
    return found


DIALECTS: Final = frozenset({"sqlite", "sqlite3", "postgresql", "postgres"})


def check_dialects(source: Source) -> list[Finding]:
    """The dialect's name is compared in no file but dialect.py: a difference is an act of the dialect, not an `if` of
    its caller.
    """
    if source.room == "store.dialect":
        return []
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.match_case):
            asked = [each.value for each in ast.walk(node.pattern) if isinstance(each, ast.MatchValue)]
        else:
            continue
        if any(names_dialect(part) for each in asked for part in ast.walk(each)):
            found.append(source.finding(asked[0], "the dialect is asked who it is"))
    return found


def names_dialect(node: ast.AST) -> bool:
    """Tell whether an expression is a dialect's name: a text, a constant such as `SQLITE`, or `dialect.name`."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and node.value.lower() in DIALECTS
    if isinstance(node, ast.Name):
        return node.id.isupper() and node.id.lower() in DIALECTS
    return isinstance(node, ast.Attribute) and (
        (node.attr == "name" and dotted(node.value, {}).split(".")[-1] == "dialect")
        or (node.attr.isupper() and node.attr.lower() in DIALECTS)
    )


# --- status codes -----------------------------------------------------------------------------------------------------

STATUS: Final = frozenset({*range(400, 419), *range(421, 427), 428, 429, 431, 451, *range(500, 509), 510, 511})
ROUND: Final = frozenset({400, 500})  # also honest quantities: they count only where a status is spoken of
STATUS_WORD: Final = re.compile(r"status|http_?code|response_?code", re.IGNORECASE)
STATUS_ROOMS: Final[dict[str, str]] = {
    "web.problem": "the one place where an error becomes an answer",
    "ports.sources.binding": "reads what a context source answered: whose fault it says it is",
    "ports.webhooks": "reads what a subscriber answered: which refusals are final and which are worth another try",
}


def spoken_of(node: ast.AST) -> str:
    """Return the names that a node itself bears: what it assigns to, compares, calls or passes."""
    said = []
    for each in ast.walk(node):
        said += [text for field in ("id", "attr", "arg") if isinstance(text := getattr(each, field, None), str)]
    return " ".join(said)


def status_contexts(tree: ast.AST) -> set[int]:
    """Return the identities of the constants that stand where a status is named, compared, assigned or passed."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword):
            named, parts = node.arg or "", [node.value]
        elif isinstance(node, ast.Compare):
            named, parts = spoken_of(node), [node.left, *node.comparators]
        elif isinstance(node, ast.Assign):
            named, parts = " ".join(spoken_of(target) for target in node.targets), [node.value]
        elif isinstance(node, ast.AnnAssign) and node.value:
            named, parts = spoken_of(node.target), [node.value]
        elif isinstance(node, ast.Call):
            named, parts = spoken_of(node.func), list(node.args)
        else:
            continue
        if STATUS_WORD.search(named):
            found |= {id(each) for part in parts for each in ast.walk(part) if isinstance(each, ast.Constant)}
    return found


def check_status_codes(source: Source) -> list[Finding]:
    """Only web/problem.py knows which status an error has."""
    if source.room in STATUS_ROOMS:
        return []
    spoken, local, found = status_contexts(source.tree), names(source), []
    strict = source.floor in {"web", "ports", "services"}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in STATUS:
            if id(node) in spoken or (strict and node.value not in ROUND):
                found.append(
                    source.finding(node, f"the status code {node.value}: raise an error of shahar.values.errors")
                )
        elif isinstance(node, ast.Attribute) and is_module(dotted(node, local), "http.HTTPStatus"):
            found.append(source.finding(node, "http.HTTPStatus: raise an error of shahar.values.errors"))
    return found


# --- names, comments, annotations -------------------------------------------------------------------------------------

BANNED: Final = frozenset(
    {"util", "utils", "helper", "helpers", "common", "core", "base", "misc", "manager", "handler", "data", "info"}
)
BANNED_ENDINGS: Final = ("Util", "Utils", "Helper", "Helpers", "Manager", "Handler", "Misc", "Common")


def check_names(source: Source) -> list[Finding]:
    """A room is one plain noun that says what it holds; so is a class."""
    found = [source.finding(1, f"a room called {part!r}") for part in source.room.split(".") if part.lower() in BANNED]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef) and (node.name.lower() in BANNED or node.name.endswith(BANNED_ENDINGS)):
            found.append(source.finding(node, f"a class called {node.name}"))
    return found


SUPPRESSION: Final = re.compile(
    r"#\s*(type:\s*ignore|noqa|ruff:|mypy:|pragma:|nosec|pylint:|fmt:\s*off)", re.IGNORECASE
)
BARE: Final = re.compile(r"#\s*(type:\s*ignore(?!\[)|noqa(?!\s*:))", re.IGNORECASE)


def check_suppressions(source: Source) -> list[Finding]:
    """A suppression names what it suppresses and says why, behind ` -- `."""
    found = []
    for line, comment in source.comments:
        if not SUPPRESSION.search(comment):
            continue
        if BARE.search(comment):
            found.append(source.finding(line, f"a suppression of everything: {comment}"))
        if not re.search(r"\s--\s+\S.{3,}", comment):
            found.append(source.finding(line, f"a suppression without its reason (` -- why`): {comment}"))
    return found


def check_fences(source: Source) -> list[Finding]:
    """A broad `except` stands only at a fence (`except Exception:  # fence: why`), or clears up and raises again."""
    fenced = {line for line, comment in source.comments if re.search(r"#\s*fence:\s*\S.{3,}", comment)}
    local, found = names(source), []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler):
            caught = [node.type] if not isinstance(node.type, ast.Tuple) else list(node.type.elts)
        elif isinstance(node, ast.Call) and dotted(node.func, local) == "contextlib.suppress":
            caught = list(node.args)
        else:
            continue
        broad = any(each is None or dotted(each, local) in {"Exception", "BaseException"} for each in caught)
        raised_again = isinstance(node, ast.ExceptHandler) and ast.unparse(node.body[-1]) == "raise"
        if broad and not raised_again and node.lineno not in fenced:
            found.append(source.finding(node, "a broad except without `# fence: why`"))
    return found


def check_docstrings(source: Source) -> list[Finding]:
    """Each room opens with what it is for; an empty `__init__.py` has nothing to say."""
    if not source.tree.body or source.room.split(".")[-1].startswith("_") or ast.get_docstring(source.tree):
        return []
    return [source.finding(1, "no docstring says what this room is for")]


def check_annotations(source: Source) -> list[Finding]:
    """Every function says what it returns, and what it takes."""
    found = []
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.returns is None:
            found.append(source.finding(node, f"{node.name} does not say what it returns"))
        taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        for each in taken:
            if each is not None and each.annotation is None and each.arg not in {"self", "cls"}:
                found.append(source.finding(node, f"{node.name} does not say what {each.arg} is"))
    return found


# --- nobody's name in the core ----------------------------------------------------------------------------------------

CORE: Final = frozenset({"values", "model", "kit", "store", "services", "ports", "web", "plugins", "config"})
# Places, in the spellings of the pages' languages; then makers of devices and of network servers.
PROPER_NAMES: Final = (
    *"Tashkent Toshkent Ташкент Тошкент Samarkand Samarqand Самарканд Самарқанд Bukhara Buxoro Бухара".split(),
    *"Andijan Andijon Fergana Namangan Nukus Khorezm Navoiy Jizzakh Termez Uzbekistan Grenoble".split(),
    *"ChirpStack Elsys Helium Milesight Dragino Adeunis Kerlink Loriot Actility Kamstrup Diehl".split(),
    *"Decentlab TheThings CampusIoT Huawei Siemens Bosch".split(),
    "The Things Stack",
    "The Things Network",
)
PROPER: Final = re.compile(r"(?<![^\W_])(" + "|".join(map(re.escape, PROPER_NAMES)) + r")(?![^\W\d_])", re.IGNORECASE)
FREE_ROOMS: Final = ("web.pages",)


def proper_names(room: str, text: str) -> list[Finding]:
    """Return where the text of a core room names a city or a vendor, in code, in text or in a comment."""
    if room.split(".")[0] not in CORE or any(is_module(room, free) for free in FREE_ROOMS):
        return []
    lines = enumerate(text.splitlines(), 1)
    return [
        Finding(room, at, f"a core room names {hit.group(1)}") for at, line in lines for hit in PROPER.finditer(line)
    ]


def check_proper_names(source: Source) -> list[Finding]:
    """Core rooms name no city and no vendor."""
    return proper_names(source.room, source.text)


def check_system_names(source: Source, systems: Iterable[str] = ()) -> list[Finding]:
    """Core rooms name no system: removing its folder leaves a green house."""
    if source.floor not in CORE:
        return []
    known, found = set(systems), []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and node.value in known:
            found.append(source.finding(node, f"a core room names the system {node.value!r}"))
    return found


# --- what is committed ------------------------------------------------------------------------------------------------

# A path of somebody's machine, or the address of a package registry: both are true for one machine only.
MACHINE_PATH: Final = re.compile(r"(?<![\w./:$}-])/(?:work|root|home/\w+|Users/\w+|tmp/\w+)/[\w.-]+")
# By their shape, so that this file itself names no such host: hosts called "registry" or "files", an index of simple
# names, modules of Go.
REGISTRY: Final = re.compile(
    r"//(?:[\w-]+\.)*(?:registry\.[\w.-]+|py[a-z]*\.org/simple|test\.py[a-z]+\.org|python[a-z]{4,}\.org|proxy\.go[a-z]+\.org)"
    r"|^\s*(?:--(?:extra-)?index-url|--find-links|--trusted-host)\b",
    re.MULTILINE,
)


def machine_traces(name: str, text: str) -> list[Finding]:
    """Return where a committed file names a path of one machine, or a package registry's address."""
    found = []
    for pattern, said in ((MACHINE_PATH, "a path of one machine"), (REGISTRY, "the address of a package registry")):
        for hit in pattern.finditer(text):
            found.append(Finding(name, text.count("\n", 0, hit.start()) + 1, f"{said}: {hit.group(0).strip()}"))
    return found


CHECKERS: Final[tuple[Checker, ...]] = (
    check_sockets,
    check_disks,
    check_clocks,
    check_sql,
    check_dialects,
    check_status_codes,
    check_names,
    check_suppressions,
    check_fences,
    check_docstrings,
    check_annotations,
    check_proper_names,
)
