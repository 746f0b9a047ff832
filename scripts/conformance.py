"""Runs the official NGSI-LD cases group by group and writes their table into docs/conformance.md. Called by `make
conformance`.

The cases and the program that runs them are not part of this project: they are given as a command (`--runner`), to
which `--broker ADDRESS --match PART_OF_A_PATH` is added, and `--brokers A B C D E` for cases between brokers. It is
expected to print `PASSED of RUN  GROUP` for each group and `FAIL FILE: CASE | MESSAGE` for each case that failed.
`--files` is the list of the cases' files, one path a line; their folders, three levels deep, are the groups.

Promises: each group meets servers of its own on empty stores; a case that fails in its group is run again alone, and
named in any case, with what docs/conformance.toml says of it. The page is written when every group was run; with
`--match` the table is only printed. With `--workers N` our servers are N processes each on PostgreSQL
(scripts/postgres), and the section about that is written. Exit status 0 when every case passed in one of the two ways,
1 otherwise.
Does not: start an MQTT broker or anything else that cases need besides us; that is the runner's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg

from scripts.postgres import Server
from scripts.steps import ROOT, say, stop

PAGE = ROOT / "docs" / "conformance.md"
WHYS = ROOT / "docs" / "conformance.toml"
HEADING = "## Official cases"
SHARED = "## The same on PostgreSQL"
LEVELS = 3
START_S = 30.0
BROKERS = 5
"""Cases between brokers name up to so many."""
SERVE = ("-m", "shahar.main", "serve", "--access", "open", "--mqtt", "off", "--outbound-allow", "127.0.0.0/8")
_GROUP = re.compile(r"\s*(\d+) of\s+(\d+)  \S")
_FAIL = re.compile(r"FAIL (\S+?): (.*?) \| ?(.*)")


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that failed: its file's name, its own, and the first line of what it said."""

    file: str
    case: str
    said: str


@dataclass(slots=True)
class Result:
    """What came of a group; `alone` are those failures that pass on an empty store of their own."""

    group: str
    passed: int = 0
    run: int = 0
    failures: list[Failure] = field(default_factory=list)
    alone: list[Failure] = field(default_factory=list)


def group_of(path: str) -> str:
    """The group of a case's file: its folders below the first NGSI-LD, three at most."""
    parts = path.split("/")
    below = parts[parts.index("NGSI-LD") + 1 : -1] if "NGSI-LD" in parts else parts[:-1]
    return "/".join(below[:LEVELS])


def matches_of(files: Sequence[str]) -> dict[str, str]:
    """For each group the part of a path that names its files and no others."""
    found: dict[str, str] = {}
    for path in files:
        group = group_of(path)
        found.setdefault(group, path[: path.index(group) + len(group)] + "/")
    return found


def read(group: str, printed: str) -> Result:
    """What a runner's output says of a group; it may print the group in parts."""
    result = Result(group)
    for line in printed.splitlines():
        if counted := _GROUP.match(line):
            result.passed += int(counted[1])
            result.run += int(counted[2])
        elif failed := _FAIL.match(line):
            result.failures.append(Failure(failed[1], failed[2], failed[3]))
    return result


# -- running ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL server, and how many processes of ours work on a schema of it."""

    address: str
    workers: int

    def schema(self) -> str:
        """The address of a new one."""
        name = f"conformance_{uuid4().hex}"

        async def make() -> None:
            connection = await asyncpg.connect(self.address)
            await connection.execute(f"CREATE SCHEMA {name}")
            await connection.close()

        asyncio.run(make())
        return f"{self.address}?search_path={name}"


@contextmanager
def server(port: int, log: Path, database: Database | None = None) -> Iterator[str]:
    """A server of ours on an empty store; its address."""
    with tempfile.TemporaryDirectory() as folder, log.open("ab") as said:
        command = [sys.executable, *SERVE, "--data", folder, "--port", str(port)]
        ours = {name: value for name, value in os.environ.items() if not name.startswith("SHAHAR_")}
        ours["PYTHONPATH"] = str(ROOT / "src")  # this checkout, whatever is installed
        if database is not None:
            command += ["--workers", str(database.workers)]
            ours["SHAHAR_DATABASE"] = database.schema()
        process = subprocess.Popen(command, cwd=folder, env=ours, stdout=said, stderr=said, stdin=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(process, address, log)
            yield address
        finally:
            process.terminate()
            process.wait()


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    stop(f"the server did not start; {log} says why")


@dataclass(frozen=True, slots=True)
class Runner:
    """The command, the first of the ports of our servers, and where they log."""

    command: str
    port: int
    log: Path
    database: Database | None = None

    def run(self, group: str, match: str, *, brokers: int) -> Result:
        """The cases whose path contains `match`, against that many servers on empty stores."""
        with ExitStack() as stack:
            ports = range(self.port, self.port + brokers)
            addresses = [stack.enter_context(server(port, self.log, self.database)) for port in ports]
            command = [*shlex.split(self.command), "--broker", addresses[0], "--match", match]
            if brokers > 1:
                command += ["--brokers", *addresses]
            done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        result = read(group, done.stdout)
        if not result.run:
            stop(f"the runner ran no case of {match}: {(done.stderr or done.stdout).strip()[-500:]}")
        return result

    def group(self, group: str, match: str, files: Sequence[str]) -> Result:
        """A group, and each of its failing files once more alone."""
        brokers = BROKERS if match.startswith("IOP_") else 1
        result = self.run(group, match, brokers=brokers)
        for name in dict.fromkeys(failure.file for failure in result.failures):
            path = next((path for path in files if path.startswith(match) and path.endswith("/" + name)), name)
            again = {failure.case for failure in self.run(group, path, brokers=brokers).failures}
            result.alone += [one for one in result.failures if one.file == name and one.case not in again]
        result.failures = [one for one in result.failures if one not in result.alone]
        return result


# -- the page ---------------------------------------------------------------------------------------------------------


def told(results: Sequence[Result], whys: dict[str, dict[str, str]], day: str, workers: int = 0) -> str:
    """The section of the page: the table, and every case that did not pass in its group. `workers`: processes of each
    server on PostgreSQL.
    """
    passed, run = sum(one.passed for one in results), sum(one.run for one in results)
    made = f"Made by `make conformance` on {day}: each group against servers of its own on empty stores."
    if workers:
        lines = [SHARED, "", f"{made} Each server is {workers} processes on one database: {passed} of {run} passed."]
    else:
        lines = [HEADING, "", made, "", "| group | passed | of |", "|---|---|---|"]
        lines += [f"| {one.group} | {one.passed} | {one.run} |" for one in results]
        lines.append(f"| **all** | **{passed}** | **{run}** |")
    failed = [one for result in results for one in result.failures]
    if failed:
        lines += ["", "| not passed | clause | why |", "|---|---|---|", *(_row(one, whys) for one in failed)]
    alone = [one for result in results for one in result.alone]
    if alone:
        lines += ["", "Not passed in their group, but on an empty store of their own:", ""]
        lines += [f"- {_name(one)}: {_why(one, whys)['why']}" for one in alone]
    return "\n".join(lines) + "\n"


def _name(one: Failure) -> str:
    return f"{one.file.removesuffix('.robot')} {_cell(one.case)}"


def _row(one: Failure, whys: dict[str, dict[str, str]]) -> str:
    why = _why(one, whys)
    return f"| {_name(one)} | {why['clause']} | {why['why']} |"


def _why(one: Failure, whys: dict[str, dict[str, str]]) -> dict[str, str]:
    """What docs/conformance.toml says of the case, else what the case said itself."""
    empty = {"clause": "", "why": f"not looked into yet: {_cell(one.said)}"}
    return empty | whys.get(one.file.removesuffix(".robot"), {})


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def written(page: str, section: str) -> str:
    """The page with its section of cases replaced."""
    heading = section.partition("\n")[0]
    if f"{heading}\n" not in page:
        return f"{page.rstrip()}\n\n{section}"
    start = page.index(f"{heading}\n")
    end = page.find("\n## ", start)
    return page[:start] + section + (page[end:] if end >= 0 else "")


def read_whys() -> dict[str, dict[str, str]]:
    """Clause and reason of each case of docs/conformance.toml."""
    found: dict[str, dict[str, str]] = tomllib.loads(WHYS.read_text("utf-8"))["case"]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and write; the exit status."""
    parser = argparse.ArgumentParser(description="the official NGSI-LD cases, group by group")
    parser.add_argument("--runner", required=True, help="the command that runs cases")
    parser.add_argument("--files", required=True, type=Path, help="the list of the cases' files")
    parser.add_argument("--match", default="", help="only groups whose path contains this; the page is not written")
    parser.add_argument("--port", type=int, default=9090, help="of our first server; the others take the next ones")
    parser.add_argument("--log", type=Path, default=Path(tempfile.gettempdir(), "shahar-conformance.log"))
    parser.add_argument("--workers", type=int, default=0, help="processes of each server, on PostgreSQL")
    asked = parser.parse_args(arguments)
    files = asked.files.read_text("utf-8").split()
    results = []
    with ExitStack() as stack:
        shared = Database(stack.enter_context(Server()).url, asked.workers) if asked.workers else None
        runner = Runner(asked.runner, asked.port, asked.log, shared)
        for group, match in matches_of(files).items():
            if asked.match in match:
                results.append(runner.group(group, match, files))
                say(f"{results[-1].passed} of {results[-1].run}  {group}")
    section = told(results, read_whys(), datetime.now(UTC).date().isoformat(), asked.workers)
    if asked.match:
        print(section)
    else:
        PAGE.write_text(written(PAGE.read_text("utf-8"), section), "utf-8")
    return 1 if any(one.failures for one in results) else 0


if __name__ == "__main__":
    sys.exit(main())
