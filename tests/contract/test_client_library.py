"""A client library of others, PyPI's ngsildclient, drives a real server: create, query, update, temporal, subscribe.

It lives in an environment of its own (`.venv-client`, made by `make test`), for it holds httpx and h11 at versions far
behind ours; what it did and was told comes back as JSON. Its `temporal.query` asks with `options=count`, which is in no
version of the standard that we know, so the past is asked for by entity.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest

from tests.running import City, until

ROOT: Final = Path(__file__).resolve().parents[2]
PYTHON: Final = ROOT / ".venv-client" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
DRIVE: Final = """
import json, logging, sys
from ngsildclient import Client, Entity, SubscriptionBuilder
from requests.auth import AuthBase

logging.disable(logging.CRITICAL)
port, key, told_at = int(sys.argv[1]), sys.argv[2], sys.argv[3]


class Bearer(AuthBase):
    def __call__(self, request):
        request.headers["Authorization"] = "Bearer " + key
        return request


def station(number, pm25, at="2026-11-22T10:00:00Z"):
    entity = Entity("Station", f"Station:{number}")
    entity.prop("pm25", pm25, unitcode="GQ", observedat=at)
    entity.gprop("location", (41.31, 69.28))
    entity.rel("isIn", "District:1")
    return entity


done = {}
with Client(hostname="127.0.0.1", port=port, custom_auth=Bearer(), verbose=False) as client:
    subscription = SubscriptionBuilder(told_at).select_type("Station").watch(["pm25"]).build()
    done["subscribed"] = client.subscriptions.create(subscription)
    done["subscription"] = client.subscriptions.get(done["subscribed"])
    done["created"] = client.create(station(1, 12.5))
    done["batch"] = client.create([station(n, n * 10) for n in range(2, 6)]).ok
    done["again"] = vars(client.batch.create([station(5, 1), station(6, 60)]))
    done["there"] = [client.exists("urn:ngsi-ld:Station:1"), client.exists("urn:ngsi-ld:Station:99")]
    done["got"] = client.get("urn:ngsi-ld:Station:1").to_dict()
    done["polluted"] = [one.id for one in client.query(type="Station", q="pm25>25")]
    done["pages"] = [one.id for one in client.query(type="Station", limit=2)]
    done["count"] = client.count(type="Station")
    done["updated"] = client.update(station(1, 70.5, "2026-11-22T11:00:00Z"))
    done["upserted"] = client.upsert([station(1, 71.5, "2026-11-22T12:00:00Z")]).ok
    done["past"] = client.temporal.get("urn:ngsi-ld:Station:1", attrs=["pm25"])
    done["deleted"] = client.delete([station(n, 0) for n in (2, 3)]).ok
    done["left"] = client.count(type="Station")
    done["unsubscribed"] = client.subscriptions.purge()
    done["purged"] = client.drop("Station")
    done["nothing"] = client.count(type="Station")
print(json.dumps(done, default=str))
"""


class Endpoint:
    """Where notifications go: keeps what comes."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        got = self.got

        class Taking(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is printed."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
        self.address = f"http://127.0.0.1:{self.server.server_port}/told"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint that is open for one test."""
    one = Endpoint()
    yield one
    one.server.shutdown()
    one.server.server_close()


def test_a_client_library_of_others_works_against_us(tmp_path: Path, endpoint: Endpoint) -> None:
    if not PYTHON.exists():
        pytest.skip("no .venv-client here: make test makes it (python -m scripts.install client)")
    with City(tmp_path, options=("--outbound-allow", "127.0.0.0/8")) as city:
        command = [str(PYTHON), "-c", DRIVE, str(city.port), city.secret, endpoint.address]
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=kept, cwd=tmp_path)
        assert run.returncode == 0, run.stderr[-3000:]
        done = json.loads(run.stdout.splitlines()[-1])
        until(lambda: len(told(endpoint)) >= 6, 10, "nobody was told")
    assert done["subscription"]["watchedAttributes"] == ["pm25"]
    assert (done["created"], done["batch"], done["there"]) == (True, True, [True, False])
    assert done["again"]["success"] == ["urn:ngsi-ld:Station:6"]
    assert [one["entityId"] for one in done["again"]["errors"]] == ["urn:ngsi-ld:Station:5"]
    assert done["got"]["pm25"]["value"] == 12.5
    assert done["got"]["location"]["value"] == {"type": "Point", "coordinates": [69.28, 41.31]}
    assert done["got"]["isIn"]["object"] == "urn:ngsi-ld:District:1"
    assert sorted(done["polluted"]) == [f"urn:ngsi-ld:Station:{n}" for n in (3, 4, 5, 6)]
    assert (done["count"], len(done["pages"])) == (6, 6)
    assert (done["updated"], done["upserted"], done["deleted"], done["left"]) == (True, True, True, 4)
    assert [value for value, _ in done["past"]["pm25"]["values"]] == [12.5, 70.5, 71.5]
    assert (done["unsubscribed"], done["nothing"]) == (True, 0)


def told(endpoint: Endpoint) -> set[str]:
    """Whom the endpoint was told of."""
    return {one["id"] for note in endpoint.got for one in note["data"]}
