"""Several processes on one database: whoever is answered by one and asks another meets no older state; what one alone
does is done by one alone, and by another when that one is gone.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import engines
from tests.running import City, command, until

LD = "/ngsi-ld/v1"
refusing: list[int] = []
"""The status with which the endpoint refuses."""
HERE = ["--outbound-allow", "127.0.0.0/8"]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[City, City]]:
    """Two nodes, each with a folder of its own, on one database."""
    with ExitStack() as stack:
        place = {"SHAHAR_DATABASE": engines.database(tmp_path)}
        cities = [City(tmp_path / name, options=HERE, more=place) for name in ("one", "other")]
        for city in cities:
            stack.enter_context(city)
        yield cities[0], cities[1]
    engines.forget()


@pytest.fixture
def told() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An endpoint: its address, and the notifications that came."""
    came: list[dict[str, Any]] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if not refusing:
                came.append(body)
            self.send_response(refusing[0] if refusing else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", came
        server.shutdown()


def make(city: City, number: int, value: int = 0) -> None:
    """An entity of type T."""
    body = {"id": f"urn:e:{number}", "type": "T", "v": {"type": "Property", "value": value}}
    answer = city.call("POST", f"{LD}/entityOperations/upsert", [body])
    assert answer.status in (201, 204), answer.body


def subscribe(city: City, address: str) -> str:
    """A subscription to every T; its address."""
    body = {"type": "Subscription", "entities": [{"type": "T"}], "notification": {"endpoint": {"uri": address}}}
    answer = city.call("POST", f"{LD}/subscriptions", body)
    assert answer.status == 201, answer.body
    return answer.headers["location"]


def leader(*cities: City) -> tuple[City, City]:
    """The one that tells subscribers, and the other."""
    found = [city for city in cities if '"consequences"' in city.said()]
    assert len(found) == 1
    return found[0], next(city for city in cities if city is not found[0])


def test_what_one_answered_the_other_knows(two: tuple[City, City]) -> None:
    """Entities, registrations, contexts, keys and devices: written there, asked for here, at once and every time."""
    one, other = two
    for turn in range(10):
        make(one, turn, turn)
        assert other.call("GET", f"{LD}/entities/urn:e:{turn}?options=keyValues").json()["v"] == turn

        registration = {
            "type": "ContextSourceRegistration",
            "information": [{"entities": [{"type": f"R{turn}"}]}],
            "endpoint": "http://127.0.0.1:9",
        }
        made = one.call("POST", f"{LD}/csourceRegistrations", registration).headers["location"]
        found = other.call("GET", f"{LD}/csourceRegistrations?type=R{turn}").json()
        assert [each["id"] for each in found] == [made.rpartition("/")[2]]
        assert other.call("DELETE", made).status == 204
        assert one.call("GET", f"{LD}/csourceRegistrations?type=R{turn}").json() == []

        context = one.call("POST", f"{LD}/jsonldContexts", {"@context": {"a": "https://example.org/a"}})
        place = context.headers["location"]
        assert other.call("GET", place).json()["@context"] == {"a": "https://example.org/a"}
        assert other.call("DELETE", place).status == 204
        assert one.call("GET", place).status == 404


def test_a_key_that_ended_at_one_is_refused_at_the_other(two: tuple[City, City]) -> None:
    one, other = two
    for turn in range(5):
        answer = one.call("POST", "/api/keys", {"role": "operator", "label": f"k{turn}"})
        assert answer.status == 201, answer.body
        key = answer.json()
        for city in two:
            assert city.call("GET", f"{LD}/types", secret=key["key"]).status == 200
        assert one.call("DELETE", f"/api/keys/{key['id']}").status == 204
        assert other.call("GET", f"{LD}/types", secret=key["key"]).status == 401


def test_a_device_of_one_may_speak_to_the_other(two: tuple[City, City]) -> None:
    one, other = two
    key = one.add_device("st-1", "urn:ngsi-ld:AirQualityObserved:1")
    answer = other.call("POST", "/intake/st-1", {"pm25": 12.5}, secret=key)
    assert answer.status in (200, 204), answer.body
    assert one.call("GET", f"{LD}/entities/urn:ngsi-ld:AirQualityObserved:1").status == 200


def test_subscribers_are_told_by_one_of_what_all_do_and_by_another_when_that_one_is_killed(
    two: tuple[City, City], told: tuple[str, list[dict[str, Any]]]
) -> None:
    address, came = told
    telling, silent = leader(*two)
    subscribe(silent, address)
    for number in range(10):
        make(telling, number, 1)
        make(silent, 100 + number, 1)

    def seen() -> Counter[tuple[str, int]]:
        return Counter((each["id"], each["v"]["value"]) for one in list(came) for each in one["data"])

    expected = {(f"urn:e:{number}", 1) for number in [*range(10), *range(100, 110)]}
    until(lambda: set(seen()) == expected)
    assert set(seen().values()) == {1}, "told once, while nobody falls"

    telling.kill()
    for number in range(10):
        make(silent, number, 2)
    until(lambda: set(seen()) == expected | {(f"urn:e:{number}", 2) for number in range(10)})
    assert '"consequences"' in silent.said()


def test_how_a_subscription_stands_and_what_was_given_up_is_known_to_all(
    two: tuple[City, City], told: tuple[str, list[dict[str, Any]]]
) -> None:
    address, came = told
    telling, silent = leader(*two)

    def arrived(count: int) -> None:
        until(lambda: len(came) == count)

    place = subscribe(silent, address)
    for number in range(1, 6):
        make(silent, 1, number)
        arrived(number)
        until(lambda: telling.call("GET", place).json()["notification"].get("lastSuccess") is not None)
        assert silent.call("GET", place).json()["notification"] == telling.call("GET", place).json()["notification"]
        [listed] = silent.call("GET", f"{LD}/subscriptions").json()
        assert listed["notification"]["timesSent"] == number

    assert silent.call("DELETE", place).status == 204
    refusing.append(400)
    place = subscribe(silent, address)
    make(silent, 2, 1)
    until(lambda: silent.call("GET", "/api/dead-letters").json() != [])
    refusing.clear()
    [letter] = silent.call("GET", "/api/dead-letters").json()
    before = len(came)
    assert silent.call("POST", f"/api/dead-letters/{letter['id']}/send").status == 204
    assert len(came) == before + 1
    assert silent.call("GET", "/api/dead-letters").json() == []


def test_a_keeper_starts_a_dead_worker_again_and_takes_all_with_it_when_it_goes(tmp_path: Path) -> None:
    place = {"SHAHAR_DATABASE": engines.database(tmp_path)}
    with City(tmp_path, options=["--workers", "2"], more=place) as city:
        workers = children(city.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        until(lambda: len(set(children(city.pid)) - set(workers)) == 1)
        for number in range(20):
            make(city, number)
        assert "worker ended and is started again" in city.said()
        last = children(city.pid)
        city.kill()
        until(lambda: not any(map(alive, last)), what="the workers outlive their keeper")
    engines.forget()


def test_workers_stop_in_good_order(tmp_path: Path) -> None:
    place = {"SHAHAR_DATABASE": engines.database(tmp_path)}
    with City(tmp_path, options=["--workers", "2"], more=place) as city:
        last = children(city.pid)
        assert city.stop() < 8
        assert city.process is not None
        assert city.process.returncode == 0
        assert not any(map(alive, last))
        assert not (city.folder / "local.key").exists()
    engines.forget()


@pytest.mark.sqlite
def test_several_workers_on_one_file_are_refused(tmp_path: Path) -> None:
    done = command("serve", "--workers", "2", "--data", str(tmp_path / "data"), cwd=tmp_path)
    assert done.returncode == 1
    assert "cannot work on one SQLite file" in done.stderr


def children(pid: int) -> list[int]:
    """The living processes that a process started."""
    found = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for child in " ".join(found).split() if alive(int(child))]


def alive(pid: int) -> bool:
    """Whether a process works."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
