"""Three cells that know of each other: one falls ill, the others answer in time, say what is missing, and recover."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal

import pytest

from tests.running import City, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

TIME_S: Final = 1.0
"""For which the cells wait for each other."""
WITHIN_S: Final = TIME_S + 1.0
SLOW_S: Final = 2.0
RECOVERED_S: Final = 20.0
SENT: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n[{"

State = Literal["open", "slow", "half-closed"]


class Road:
    """The way to a cell, which can be slow, or break off in the middle of an answer without closing."""

    def __init__(self, port: int) -> None:
        self.state: State = "open"
        self._to = port
        self._door = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._stand, daemon=True).start()

    def close(self) -> None:
        """Let nobody in any more."""
        self._door.close()

    def _stand(self) -> None:
        while True:
            try:
                one, _ = self._door.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(one,), daemon=True).start()

    def _pass(self, one: socket.socket) -> None:
        """Hand on one request and its answer; the connection serves no other."""
        with suppress(OSError), one:
            asked = one.recv(65_536)
            if not asked:
                return
            if self.state == "half-closed":
                one.sendall(SENT)
                one.shutdown(socket.SHUT_WR)
                time.sleep(5)
                return
            if self.state == "slow":
                time.sleep(SLOW_S)
            with socket.create_connection(("127.0.0.1", self._to)) as other:
                other.sendall(asked.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                while piece := other.recv(65_536):
                    one.sendall(piece)


@pytest.fixture
def cells(tmp_path: Path) -> Iterator[tuple[dict[str, City], Road]]:
    """Three running cells, each with an entity of its own, registered with each other; and the road to `b`."""
    with ExitStack() as stack:
        found = {
            name: stack.enter_context(City(tmp_path / name, options=("--outbound-allow", "127.0.0.0/8")))
            for name in "abc"
        }
        road = Road(found["b"].port)
        stack.callback(road.close)
        keys = {name: key_of(city) for name, city in found.items()}
        for name, city in found.items():
            made = city.call("POST", "/ngsi-ld/v1/entities", {"id": f"urn:ngsi-ld:Lamp:{name}", "type": "Lamp"})
            assert made.status == 201, made.body
            for other in sorted(set(found) - {name}):
                register(city, other, road.port if other == "b" else found[other].port, keys[other])
        yield found, road


def key_of(city: City) -> str:
    """A key for its neighbours."""
    made = city.call("POST", "/api/keys", {"label": "a neighbour", "role": "operator", "days": 1})
    assert made.status == 201, made.body
    key: str = made.json()["key"]
    return key


def register(city: City, other: str, port: int, key: str) -> None:
    """Let a cell know of another."""
    body = {
        "id": f"urn:ngsi-ld:ContextSourceRegistration:{other}",
        "type": "ContextSourceRegistration",
        "information": [{"entities": [{"type": "Lamp"}]}],
        "endpoint": f"http://127.0.0.1:{port}",
        "management": {"timeout": int(TIME_S * 1_000), "localOnly": True},
        "contextSourceInfo": [{"key": "Authorization", "value": f"Bearer {key}"}],
    }
    made = city.call("POST", "/ngsi-ld/v1/csourceRegistrations", body)
    assert made.status == 201, made.body


def seen(city: City) -> tuple[set[str], str]:
    """The lamps that a cell knows of, and what it says is missing; AssertionError when that took too long."""
    began = time.monotonic()
    answer = city.call("GET", "/ngsi-ld/v1/entities?type=Lamp")
    assert time.monotonic() - began < WITHIN_S
    assert answer.status == 200, answer.body
    return {one["id"][-1] for one in answer.json()}, answer.headers.get("ngsild-warning", "")


def without_b(cells: dict[str, City]) -> None:
    """The others answer in time, again and again, with what there is, and say who is missing."""
    for _ in range(8):
        for name in "ac":
            found, missing = seen(cells[name])
            assert found == {"a", "c"}
            assert "urn:ngsi-ld:ContextSourceRegistration:b" in missing


def is_whole(city: City) -> bool:
    """Whether the cell knows of every lamp and misses nobody."""
    return seen(city) == ({"a", "b", "c"}, "")


def whole_again(cells: dict[str, City]) -> None:
    """The others find it again by themselves."""
    for name in "ac":
        until(partial(is_whole, cells[name]), RECOVERED_S, "it did not recover")


def test_a_cell_that_is_stopped_is_missing_until_it_goes_on(cells: tuple[dict[str, City], Road]) -> None:
    cities, _ = cells
    whole_again(cities)
    os.kill(cities["b"].pid, signal.SIGSTOP)
    try:
        without_b(cities)
    finally:
        os.kill(cities["b"].pid, signal.SIGCONT)
    whole_again(cities)


@pytest.mark.parametrize("state", ["slow", "half-closed"])
def test_a_cell_behind_a_bad_road_is_missing_until_the_road_is_good(
    cells: tuple[dict[str, City], Road], state: State
) -> None:
    cities, road = cells
    whole_again(cities)
    road.state = state
    without_b(cities)
    road.state = "open"
    whole_again(cities)


def test_a_cell_that_died_is_missing_until_it_lives_again(cells: tuple[dict[str, City], Road]) -> None:
    cities, road = cells
    cities["b"].kill()
    without_b(cities)
    cities["b"].start()
    assert road.state == "open"
    whole_again(cities)


def test_a_write_that_one_cell_misses_says_so(cells: tuple[dict[str, City], Road]) -> None:
    cities, _ = cells
    body = {"id": "urn:ngsi-ld:Lamp:x", "type": "Lamp"}
    change = {"operations": ["redirectionOps"]}
    for other in "bc":
        path = f"/ngsi-ld/v1/csourceRegistrations/urn:ngsi-ld:ContextSourceRegistration:{other}"
        assert cities["a"].call("PATCH", path, change).status == 204
    os.kill(cities["b"].pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = cities["a"].call("POST", "/ngsi-ld/v1/entities", body)
        assert time.monotonic() - began < WITHIN_S
    finally:
        os.kill(cities["b"].pid, signal.SIGCONT)
    assert answer.status == 207
    assert [one["registrationId"][-1] for one in answer.json()["errors"]] == ["b"]
    assert cities["c"].call("GET", "/ngsi-ld/v1/entities/urn:ngsi-ld:Lamp:x?local=true").status == 200
