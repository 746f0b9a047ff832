"""Two workers on one PostgreSQL server under writers: kill -9 of a worker, a crash of the server. What was acknowledged
is there once, in history, state and journal, and its subscriber was told; what was not acknowledged is there once or
not at all; the city goes on by itself.

Each writer has an entity and sends each update once; 503 and a broken connection mean that it does not know.
Rounds: SHAHAR_TEST_FAULT_ROUNDS, 3 unless told.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from scripts.postgres import Server
from tests.contract.test_workers import children
from tests.running import City, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

ROUNDS: Final = int(os.environ.get("SHAHAR_TEST_FAULT_ROUNDS", "3"))
WRITERS: Final = 16
BACK_S: Final = 20.0
LD: Final = "/ngsi-ld/v1"

Update = tuple[int, int]
"""Writer and number."""


@dataclass
class Writers:
    """Threads that write until they are told to stop; what they know of each update."""

    port: int
    secret: str
    acknowledged: set[Update] = field(default_factory=set)
    unknown: set[Update] = field(default_factory=set)
    refused: list[tuple[int, bytes]] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    ending: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin."""
        self.threads = [threading.Thread(target=self._write, args=(writer,)) for writer in range(WRITERS)]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """End."""
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def _write(self, writer: int) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        number = 0
        while not self.ending.is_set():
            number += 1
            status = self._send(connection, writer, number)
            self.statuses[status] += 1
            if status == 204:
                self.acknowledged.add((writer, number))
            else:
                self.unknown.add((writer, number))
                time.sleep(0.05)
        connection.close()

    def _send(self, connection: HTTPConnection, writer: int, number: int) -> int:
        body = json.dumps({"level": {"type": "Property", "value": number}})
        headers = {"authorization": f"Bearer {self.secret}", "content-type": "application/json"}
        try:
            connection.request("PATCH", f"{LD}/entities/urn:w:{writer}/attrs", body, headers)
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, HTTPException):
            connection.close()
            return 0
        if answer.status not in (204, 503):
            self.refused.append((answer.status, said))
        return answer.status


@pytest.fixture
def told() -> Iterator[tuple[str, set[Update]]]:
    """An endpoint: its address, and the updates that it was told of."""
    came: set[Update] = set()

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            for each in json.loads(self.rfile.read(int(self.headers["content-length"])))["data"]:
                came.add((int(each["id"].rpartition(":")[2]), each["level"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", came
        server.shutdown()


def prepare(city: City, address: str) -> None:
    """The writers' entities, and a subscription to each update of them."""
    level = {"type": "Property", "value": 0}
    made = [{"id": f"urn:w:{writer}", "type": "W", "level": level} for writer in range(WRITERS)]
    assert city.call("POST", f"{LD}/entityOperations/create", made).status == 201
    notification = {"format": "keyValues", "endpoint": {"uri": address, "accept": "application/json"}}
    subscription = {"type": "Subscription", "entities": [{"type": "W"}], "notification": notification}
    assert city.call("POST", f"{LD}/subscriptions", subscription).status == 201


def kept(address: str) -> tuple[Counter[Update], Counter[Update], dict[int, int], list[int]]:
    """How often each update stands in history and in the journal, each entity's present number, and the numbers of the
    journal's rows.
    """

    async def look() -> Any:
        connection = await asyncpg.connect(address)
        history = await connection.fetch("SELECT e.id, h.doc FROM history h JOIN entity e ON e.pk = h.entity")
        journal = await connection.fetch("SELECT seq, kind, key, what FROM journal ORDER BY seq")
        present = await connection.fetch("SELECT id, doc FROM entity")
        await connection.close()
        return history, journal, present

    history, journal, present = asyncio.run(look())

    def update(entity_id: str, doc: dict[str, Any]) -> Update:
        return int(entity_id.rpartition(":")[2]), doc["value"]

    told = Counter(update(entity_id, json.loads(doc)) for entity_id, doc in history)
    changed = Counter(
        update(key, one)
        for _, kind, key, what in journal
        if kind.startswith("entity.")
        for each in json.loads(what)["set"].values()
        for one in each
    )
    states = dict(update(entity_id, next(iter(json.loads(doc)["attrs"].values()))[0]) for entity_id, doc in present)
    return told, changed, states, [row[0] for row in journal]


def test_two_workers_lose_and_double_nothing_when_one_or_the_server_is_killed(
    tmp_path: Path, told: tuple[str, set[Update]]
) -> None:
    address, came = told
    with Server() as postgres:
        place = {"SHAHAR_DATABASE": postgres.url}
        options = ["--workers", "2", "--outbound-allow", "127.0.0.0/8"]
        with City(tmp_path, options=options, more=place) as city:
            prepare(city, address)
            writers = Writers(city.port, city.secret)
            writers.start()
            try:
                for _ in range(ROUNDS):
                    go_on(writers)
                    os.kill(random.choice(children(city.pid)), signal.SIGKILL)
                    go_on(writers)
                    postgres.crash()
                    time.sleep(random.uniform(0.0, 1.0))
                    postgres.start()
                go_on(writers)
            finally:
                writers.stop()
            expected = set(writers.acknowledged)
            until(lambda: expected <= came, 60, "a subscriber was not told of what was acknowledged")
            history, journal, states, numbers = kept(postgres.url)
            log = city.said()
    print(f"{len(expected)} acknowledged, {len(writers.unknown)} unknown, {ROUNDS} rounds; {dict(writers.statuses)}")
    assert not writers.refused
    assert expected <= history.keys(), "acknowledged and not in history"
    assert expected <= journal.keys(), "acknowledged and not in the journal"
    assert {update for update, times in journal.items() if times > 1} == set(), "done twice"
    assert history.keys() == journal.keys()
    assert numbers == list(range(1, len(numbers) + 1)), "the journal has gaps"
    for writer, number in states.items():
        assert number == max(each for one, each in journal if one == writer), "the present is not the newest"
    assert log.count("the store's server fell") <= 2 * (ROUNDS + ROUNDS), "a fault is said once by each process"
    assert log.count("worker ended and is started again") >= ROUNDS


def go_on(writers: Writers) -> None:
    """Return when every writer that lives has been answered well some times."""
    before = len(writers.acknowledged)
    until(lambda: len(writers.acknowledged) >= before + 5 * WRITERS, BACK_S, "the city does not go on")
