"""Subscribers that hang, refuse, babble or vanish delay nobody but themselves."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest

from tests.running import City, free_ports, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

SICK: Final = 40
"""Endpoints of each illness: those who hang would alone take every place under way that there is."""
UPDATES: Final = 20
WITHIN_S: Final = 3.0
"""A healthy subscriber has everything so soon after the last update; a hanging one is given up after 10 s."""


class Healthy(ThreadingHTTPServer):
    """A subscriber that takes every notification at once and remembers when."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.got: dict[int, float] = {}


class _Taking(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take one notification."""
        assert isinstance(self.server, Healthy)
        for entity in json.loads(self.rfile.read(int(self.headers["content-length"])))["data"]:
            self.server.got.setdefault(entity["level"], time.monotonic())
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def healthy() -> Iterator[Healthy]:
    """A healthy subscriber."""
    with Healthy() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def ill(babble: bytes) -> Iterator[int]:
    """A subscriber that lets everybody in and never ends its answer: its port. With `babble` it goes on talking."""
    with socket.create_server(("127.0.0.1", 0), backlog=1_000) as door:
        held: list[socket.socket] = []
        over = threading.Event()

        def stand() -> None:
            door.settimeout(0.05)
            while not over.is_set():
                try:
                    one, _ = door.accept()
                    one.setblocking(False)
                    held.append(one)
                except TimeoutError:
                    pass
                for one in held if babble else ():
                    try:
                        one.send(babble)
                    except OSError:
                        pass  # full or gone: either is fine here

        thread = threading.Thread(target=stand, daemon=True)
        thread.start()
        try:
            yield door.getsockname()[1]
        finally:
            over.set()
            thread.join()
            for one in held:
                one.close()


def subscribe(city: City, port: int) -> None:
    """A subscription of the endpoint at a port."""
    endpoint = {"uri": f"http://127.0.0.1:{port}/", "accept": "application/json"}
    body = {
        "type": "Subscription",
        "entities": [{"type": "Probe"}],
        "notification": {"format": "simplified", "endpoint": endpoint},
    }
    assert city.call("POST", "/ngsi-ld/v1/subscriptions", body).status == 201


def test_sick_subscribers_delay_no_healthy_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [nobody] = free_ports(1)
    with (
        healthy() as first,
        healthy() as last,
        ill(b"") as hanging,
        ill(b"HTTP/1.1 200 OK\r\nx: y\r\n") as babbling,
        City(tmp_path, options=("--outbound-allow", "127.0.0.0/8")) as city,
    ):
        subscribe(city, first.server_address[1])
        for port in (hanging, babbling, nobody):
            for _ in range(SICK):
                subscribe(city, port)
        subscribe(city, last.server_address[1])
        sent: dict[int, float] = {}
        for level in range(UPDATES):
            entity = {
                "id": f"urn:ngsi-ld:Probe:{level}",
                "type": "Probe",
                "level": {"type": "Property", "value": level},
            }
            sent[level] = time.monotonic()
            assert city.call("POST", "/ngsi-ld/v1/entities", entity).status == 201
            time.sleep(0.02)
        until(lambda: len(first.got) == len(last.got) == UPDATES, 60)
        slowest = max(one.got[level] - sent[level] for one in (first, last) for level in sent)
        stopping_s = city.stop()
    with capsys.disabled():
        print(
            f"\nsick subscribers: {3 * SICK} of them; the slowest notification of the healthy ones after"
            f" {slowest:.2f} s; stopped in {stopping_s:.1f} s"
        )
    assert slowest < WITHIN_S
    assert stopping_s < 5
