"""A subscription's life over HTTP in a closed house: who may see what of it, its dead letters, the end of its owner."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.running import City, until

STATION = "urn:ngsi-ld:Station:1"


class Endpoint(ThreadingHTTPServer):
    """Takes notifications with the status that it is told to."""

    daemon_threads = True
    status = 200

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/notify"


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        self.server.heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Tests are quiet."""


@contextmanager
def listening() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    thread = Thread(target=endpoint.serve_forever, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.shutdown()
        endpoint.server_close()


def key(city: City, role: str) -> tuple[str, str]:
    """A new key of a role: its id and its text."""
    answer = city.call("POST", "/api/keys", {"label": role, "role": role, "tenant": "", "days": 1})
    assert answer.status == 201, answer.body
    told = answer.json()
    return told["id"], told["key"]


def test_the_life_of_a_subscription_in_a_closed_house(tmp_path: Path) -> None:
    with listening() as endpoint, City(tmp_path, options=("--outbound-allow", "127.0.0.0/8")) as city:
        owner, operator = key(city, "operator")
        _, auditor = key(city, "auditor")
        body = {
            "type": "Subscription",
            "entities": [{"type": "Station"}],
            "notification": {
                "endpoint": {"uri": endpoint.uri, "receiverInfo": [{"key": "Authorization", "value": "Bearer x"}]}
            },
        }
        made = city.call("POST", "/ngsi-ld/v1/subscriptions", body, secret=operator)
        assert made.status == 201, made.body
        where = made.headers["location"]

        def shown(secret: str) -> dict[str, Any]:
            found: dict[str, Any] = city.call("GET", where, secret=secret).json()
            return found

        def tell(value: int) -> None:
            entity = {"id": STATION, "type": "Station", "pm25": {"type": "Property", "value": value}}
            assert city.call("POST", "/ngsi-ld/v1/entityOperations/upsert", [entity], secret=operator).status < 300

        assert shown(operator)["notification"]["endpoint"]["receiverInfo"][0]["value"] == "Bearer x"
        assert shown(auditor)["notification"]["endpoint"]["receiverInfo"][0]["value"] == "***"

        endpoint.status = 400
        tell(1)
        until(lambda: city.call("GET", "/api/dead-letters").json() != [])
        letters = city.call("GET", "/api/dead-letters").json()
        assert letters[0]["body"] == endpoint.heard[-1]
        assert [note["id"] for note in endpoint.heard] == [letters[0]["notification"]] * 3
        assert letters[0]["subscription"] == shown(operator)["id"]
        assert city.call("GET", "/api/dead-letters", secret=operator).status == 403
        assert city.call("GET", "/api/dead-letters?limit=0").status == 400
        again = f"/api/dead-letters/{letters[0]['id']}"
        assert city.call("POST", f"{again}/send", secret=auditor).status == 403
        assert city.call("POST", f"{again}/send").status >= 500, "the endpoint still refuses"
        endpoint.status = 200
        assert city.call("POST", f"{again}/send").status == 204
        assert endpoint.heard[-1] == letters[0]["body"]
        assert city.call("DELETE", again).status == 404
        assert city.call("GET", "/api/dead-letters").json() == []

        assert city.call("DELETE", f"/api/keys/{owner}").status == 204
        until(lambda: shown(auditor)["status"] == "paused")


def test_whoever_may_only_read_a_registration_subscription_learns_no_secret_of_it(tmp_path: Path) -> None:
    with City(tmp_path) as city:
        _, operator = key(city, "operator")
        _, auditor = key(city, "auditor")
        endpoint = {"uri": "https://example.org/told", "receiverInfo": [{"key": "Authorization", "value": "Bearer x"}]}
        body = {"type": "Subscription", "entities": [{"type": "Station"}], "notification": {"endpoint": endpoint}}
        made = city.call("POST", "/ngsi-ld/v1/csourceSubscriptions", body, secret=operator)
        assert made.status == 201, made.body
        for where in (made.headers["location"], "/ngsi-ld/v1/csourceSubscriptions"):
            assert b"Bearer x" in city.call("GET", where, secret=operator).body
            told = city.call("GET", where, secret=auditor)
            assert told.status == 200
            assert b'"***"' in told.body
            assert b"Bearer x" not in told.body
