"""Subscriptions at other brokers: real `shahar serve` processes that know of each other (ETSI GS CIM 009 5.8.1.4)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self

import pytest

from tests import engines
from tests.running import City, until

pytestmark = pytest.mark.timeout(90)

ROOT: Final = "/ngsi-ld/v1"
OPTIONS: Final = ("--outbound-allow", "127.0.0.0/8")
OPEN: Final = (*OPTIONS, "--access", "open")
QUIET_S: Final = 0.4
"""After which whatever was to come has come."""


class Endpoint:
    """A subscriber's endpoint: keeps what it is told."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        told, headers = self.got, self.headers

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.append(json.loads(body))
                headers.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/told"

    def values(self, name: str = "level") -> list[Any]:
        """What was told of an attribute, in the order of arrival."""
        return [one[name]["value"] for note in self.got for one in note["data"] if name in one]


def register(city: City, other: City, name: str, **members: Any) -> str:
    """Let a city know of another, which has meters."""
    body = {
        "id": f"urn:ngsi-ld:ContextSourceRegistration:{name}",
        "type": "ContextSourceRegistration",
        "information": [{"entities": [{"type": "Meter"}]}],
        "endpoint": other.base,
        **members,
    }
    made = city.call("POST", f"{ROOT}/csourceRegistrations", body)
    assert made.status == 201, made.body
    return str(body["id"])


def subscribe(city: City, uri: str, query: str = "", headers: dict[str, str] | None = None, **members: Any) -> str:
    """Subscribe to meters; the subscription's address below the root."""
    note = {"endpoint": {"uri": uri, "receiverInfo": [{"key": "X-Secret", "value": "of the subscriber"}]}}
    note |= members.pop("notification", {})
    body = {"type": "Subscription", "entities": [{"type": "Meter"}], "notification": note, **members}
    made = city.call("POST", f"{ROOT}/subscriptions{query}", body, headers=headers or {})
    assert made.status == 201, made.body
    return made.headers["location"]


def forwarded(city: City) -> list[dict[str, Any]]:
    """How it stands with a city's subscriptions at sources."""
    found: list[dict[str, Any]] = city.call("GET", "/api/forwarded").json()
    return found


def there(city: City) -> list[dict[str, Any]]:
    """The subscriptions that a city has."""
    found: list[dict[str, Any]] = city.call("GET", f"{ROOT}/subscriptions?limit=100").json()
    return found


def settled(city: City, count: int = 1) -> None:
    """Wait until so many are made."""
    until(lambda: [one["state"] for one in forwarded(city)] == ["made"] * count, 15.0, str(forwarded(city)))


def is_empty(city: City) -> bool:
    """Whether nothing of a city is at sources."""
    return not forwarded(city)


def tell(city: City, level: float, name: str = "1", kind: str = "Meter", **more: Any) -> None:
    """A meter's level, at one city alone."""
    body = [{"id": f"urn:ngsi-ld:{kind}:{name}", "type": kind, "level": {"type": "Property", "value": level}, **more}]
    assert city.call("POST", f"{ROOT}/entityOperations/upsert?local=true", body).status in (201, 204)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[dict[str, City]]:
    """Three cities for all of these tests."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("cities")
        options = {"a": OPTIONS, "b": OPEN, "c": OPEN}
        yield {name: stack.enter_context(City(folder / name, options=each)) for name, each in options.items()}


@pytest.fixture
def cities(running: dict[str, City]) -> Iterator[dict[str, City]]:
    """The three, knowing nothing of each other, with nothing in them."""
    yield running
    for city in running.values():
        for kind in ("subscriptions", "csourceRegistrations"):
            for one in city.call("GET", f"{ROOT}/{kind}?limit=100&{'type=Meter' if kind[0] == 'c' else ''}").json():
                city.call("DELETE", f"{ROOT}/{kind}/{one['id']}")
    for city in running.values():
        until(partial(is_empty, city), 20.0, f"left: {forwarded(city)}")
        city.call("DELETE", f"{ROOT}/entities?type=Meter&local=true")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint of a subscriber."""
    with Endpoint() as found:
        yield found


def test_a_change_elsewhere_is_told_once_and_under_our_name(cities: dict[str, City], endpoint: Endpoint) -> None:
    a, b = cities["a"], cities["b"]
    register(a, b, "b")
    location = subscribe(a, endpoint.uri)
    settled(a)
    tell(b, 1.0)
    until(lambda: bool(endpoint.got), 10.0)
    time.sleep(QUIET_S)
    assert endpoint.values() == [1.0]
    assert endpoint.got[0]["subscriptionId"] == location.rpartition("/")[2]
    assert endpoint.headers[0]["x-secret"] == "of the subscriber"


def test_the_source_is_told_nothing_of_the_subscriber(cities: dict[str, City], endpoint: Endpoint) -> None:
    a, b = cities["a"], cities["b"]
    register(a, b, "b")
    subscribe(a, endpoint.uri, description="private", subscriptionName="of Nodira")
    settled(a)
    [found] = there(b)
    text = json.dumps(found)
    assert endpoint.uri not in text
    assert all(word not in text for word in ("X-Secret", "of the subscriber", "private", "Nodira"))
    assert found["entities"] == [{"type": "Meter"}]
    assert found["notification"]["endpoint"]["uri"].startswith(f"{a.base}/ngsi-ld/notifications/")


def test_what_is_copied_is_narrowed_to_what_the_source_registered(cities: dict[str, City], endpoint: Endpoint) -> None:
    a, b = cities["a"], cities["b"]
    information = [{"entities": [{"id": "urn:ngsi-ld:Meter:1", "type": "Meter"}], "propertyNames": ["level"]}]
    register(a, b, "b", information=information)
    subscribe(a, endpoint.uri, entities=[{"type": "Meter"}, {"type": "Lamp"}], q="level>2")
    settled(a)
    [found] = there(b)
    assert found["entities"] == [{"id": "urn:ngsi-ld:Meter:1", "type": "Meter"}]
    assert found["watchedAttributes"] == ["level"]
    assert "q" not in found, "entities may be split: filters hold here"
    tell(b, 1.0)
    tell(b, 3.0, secret={"type": "Property", "value": "not registered"})
    tell(b, 4.0, name="2")
    until(lambda: bool(endpoint.got), 10.0)
    time.sleep(QUIET_S)
    assert endpoint.values() == [3.0]
    assert "secret" not in endpoint.got[0]["data"][0], "beyond the registration"


def test_filters_hold_at_the_source_where_entities_are_whole(cities: dict[str, City], endpoint: Endpoint) -> None:
    a, b = cities["a"], cities["b"]
    register(a, b, "b")
    subscribe(a, endpoint.uri, splitEntities=False, q="level>2", notification={"attributes": ["level"]})
    settled(a)
    [found] = there(b)
    assert (found["q"], found["notification"]["attributes"]) == ("level>2", ["level"])
    tell(b, 1.0)
    tell(b, 3.0)
    until(lambda: bool(endpoint.got), 10.0)
    assert endpoint.values() == [3.0]


def test_parts_of_an_entity_are_put_together_before_filters_hold(cities: dict[str, City], endpoint: Endpoint) -> None:
    a, b, c = (cities[name] for name in "abc")
    register(a, b, "b")
    register(a, c, "c", operations=["queryEntity"])
    body = [{"id": "urn:ngsi-ld:Meter:1", "type": "Meter", "place": {"type": "Property", "value": "north"}}]
    assert c.call("POST", f"{ROOT}/entityOperations/upsert?local=true", body).status == 201
    body = [{"id": "urn:ngsi-ld:Meter:1", "type": "Meter", "owner": {"type": "Property", "value": "city"}}]
    assert a.call("POST", f"{ROOT}/entityOperations/upsert?local=true", body).status == 201
    subscribe(a, endpoint.uri, q='place=="north";owner=="city"', watchedAttributes=["level"])
    settled(a)
    tell(b, 5.0)
    until(lambda: bool(endpoint.got), 10.0)
    [told] = endpoint.got[0]["data"]
    assert {name: told[name]["value"] for name in ("level", "place", "owner")} == {
        "level": 5.0, "place": "north", "owner": "city",
    }  # fmt: skip


def test_an_update_and_a_delete_reach_the_source(cities: dict[str, City], endpoint: Endpoint) -> None:
    a, b = cities["a"], cities["b"]
    register(a, b, "b")
    location = subscribe(a, endpoint.uri, watchedAttributes=["level"])
    settled(a)
    [before] = there(b)
    assert a.call("PATCH", location, {"watchedAttributes": ["flow"], "isActive": False}).status == 204
    until(lambda: there(b)[0].get("watchedAttributes") == ["flow"], 10.0)
    [after] = there(b)
    assert (after["id"], after["status"]) == (before["id"], "paused")
    assert a.call("PATCH", location, {"watchedAttributes": None, "isActive": None}).status == 204
    until(lambda: "watchedAttributes" not in there(b)[0], 10.0)
    assert there(b)[0]["status"] == "active"
    assert a.call("DELETE", location).status == 204
    until(lambda: not there(b), 10.0)
    until(lambda: not forwarded(a), 5.0)


def test_registrations_that_come_change_and_go_are_followed(cities: dict[str, City], endpoint: Endpoint) -> None:
    a, b, c = (cities[name] for name in "abc")
    subscribe(a, endpoint.uri)
    registered = register(a, b, "b")
    settled(a)
    tell(b, 1.0)
    until(lambda: endpoint.values() == [1.0], 10.0)
    address = f"{ROOT}/csourceRegistrations/{registered}"
    assert a.call("PATCH", address, {"information": [{"entities": [{"type": "Lamp"}]}]}).status == 204
    until(lambda: not there(b), 10.0)
    assert a.call("PATCH", address, {"information": [{"entities": [{"type": "Meter"}]}]}).status == 204
    until(lambda: len(there(b)) == 1, 10.0)
    assert a.call("PATCH", address, {"endpoint": c.base}).status == 204
    until(lambda: (len(there(b)), len(there(c))) == (0, 1), 10.0)
    assert a.call("DELETE", address).status == 204
    until(lambda: not there(c), 10.0)


def test_what_is_local_stays_here(cities: dict[str, City], endpoint: Endpoint) -> None:
    a, b = cities["a"], cities["b"]
    register(a, b, "b")
    subscribe(a, endpoint.uri, "?local=true")
    subscribe(a, endpoint.uri, localOnly=True)
    time.sleep(QUIET_S)
    assert (there(b), forwarded(a)) == ([], [])


def test_a_source_that_does_not_offer_it_is_not_subscribed_to(cities: dict[str, City], endpoint: Endpoint) -> None:
    a, b = cities["a"], cities["b"]
    register(a, b, "b", operations=["retrieveOps"])
    subscribe(a, endpoint.uri)
    time.sleep(QUIET_S)
    assert (there(b), forwarded(a)) == ([], [])


def test_circles_end_and_each_change_is_told_once(cities: dict[str, City], endpoint: Endpoint) -> None:
    a, b, c = (cities[name] for name in "abc")
    register(a, b, "b")
    register(b, c, "c")
    key = a.call("POST", "/api/keys", {"label": "a neighbour", "role": "operator", "days": 1}).json()["key"]
    register(c, a, "a", contextSourceInfo=[{"key": "Authorization", "value": f"Bearer {key}"}])
    subscribe(a, endpoint.uri)
    settled(a)
    settled(b)
    until(lambda: [one["state"] for one in forwarded(c)] == ["refused"], 10.0)
    for level, city in enumerate((a, b, c)):
        tell(city, float(level), name=str(level))
    until(lambda: len(endpoint.got) == 3, 10.0)
    time.sleep(QUIET_S)
    assert sorted(endpoint.values()) == [0.0, 1.0, 2.0]
    assert [len(there(city)) for city in (a, b, c)] == [1, 1, 1]
    alias = a.call("GET", f"{ROOT}/info/sourceIdentity").json()["contextSourceAlias"]
    body = {"type": "Subscription", "entities": [{"type": "Meter"}], "notification": {"endpoint": {"uri": "http://x/"}}}
    for query in ("", "?local=true"):
        passed = {"via": f"1.1 x, 1.1 {alias}"}
        assert a.call("POST", f"{ROOT}/subscriptions{query}", body, passed, secret=key).status == 508


def test_among_brokers_that_all_know_each_other_a_change_is_told_once(
    cities: dict[str, City], endpoint: Endpoint
) -> None:
    a, b, c = (cities[name] for name in "abc")
    for city, others in ((a, "bc"), (b, "c"), (c, "b")):
        for name in others:
            register(city, cities[name], name)
    subscribe(a, endpoint.uri)
    settled(a, 2)
    until(lambda: len(there(b)) == len(there(c)) == 2, 10.0)
    tell(b, 1.0)
    tell(c, 2.0, name="2")
    until(lambda: len(endpoint.got) >= 2, 10.0)
    time.sleep(2 * QUIET_S)
    assert sorted(endpoint.values()) == [1.0, 2.0]


def test_what_went_at_a_source_is_told_as_gone(cities: dict[str, City], endpoint: Endpoint) -> None:
    a, b = cities["a"], cities["b"]
    register(a, b, "b")
    subscribe(a, endpoint.uri, notificationTrigger=["attributeDeleted", "entityDeleted"],
              notification={"showChanges": True})  # fmt: skip
    settled(a)
    tell(b, 1.0)
    gone = f"{ROOT}/entities/urn:ngsi-ld:Meter:1"
    assert b.call("DELETE", f"{gone}/attrs/level?local=true").status == 204
    until(lambda: len(endpoint.got) == 1, 10.0)
    level = endpoint.got[0]["data"][0]["level"]
    assert (level["value"], level["previousValue"]) == ("urn:ngsi-ld:null", 1.0)
    assert b.call("DELETE", f"{gone}?local=true").status == 204
    until(lambda: len(endpoint.got) == 2, 10.0)
    assert "deletedAt" in endpoint.got[1]["data"][0]


def test_names_of_a_context_without_an_address_mean_the_same_there_and_here(
    cities: dict[str, City], endpoint: Endpoint
) -> None:
    a, b = cities["a"], cities["b"]
    words = {"Meter": "https://words.example/Meter", "level": "https://words.example/level"}
    linked = {"content-type": "application/ld+json"}
    source = {
        "@context": words, "type": "ContextSourceRegistration", "id": "urn:x:r", "endpoint": b.base,
        "information": [{"entities": [{"type": "Meter"}], "propertyNames": ["level"]}],
    }  # fmt: skip
    assert a.call("POST", f"{ROOT}/csourceRegistrations", source, linked).status == 201
    more: dict[str, Any] = {"@context": words, "q": "level>1", "splitEntities": False}
    subscribe(a, endpoint.uri, headers=linked, **more)
    settled(a)
    [found] = there(b)
    assert found["entities"] == [{"type": "https://words.example/Meter"}]
    assert found["watchedAttributes"] == ["https://words.example/level"]
    for level in (1, 2):
        body = {"@context": words, "id": "urn:x:m", "type": "Meter", "level": {"type": "Property", "value": level}}
        assert b.call("POST", f"{ROOT}/entityOperations/upsert", [body], linked).status in (201, 204)
    until(lambda: bool(endpoint.got), 10.0)
    time.sleep(QUIET_S)
    assert endpoint.values() == [2]
    assert b.call("DELETE", f"{ROOT}/entities/urn:x:m?local=true").status == 204
    assert a.call("DELETE", f"{ROOT}/csourceRegistrations/urn:x:r").status == 204


def test_periods_are_told_by_the_sources(cities: dict[str, City], endpoint: Endpoint) -> None:
    a, b = cities["a"], cities["b"]
    register(a, b, "b")
    tell(b, 7.0)
    subscribe(a, endpoint.uri, timeInterval=1)
    settled(a)
    until(lambda: len(endpoint.got) >= 2, 10.0)
    assert set(endpoint.values()) == {7.0}


def test_who_may_not_read_any_more_is_told_nothing_of_sources(cities: dict[str, City], endpoint: Endpoint) -> None:
    a, b = cities["a"], cities["b"]
    register(a, b, "b")
    key = a.call("POST", "/api/keys", {"label": "a program", "role": "operator", "days": 1}).json()
    location = subscribe(a, endpoint.uri, headers={"authorization": f"Bearer {key['key']}"})
    settled(a)
    assert a.call("DELETE", f"/api/keys/{key['id']}").status == 204
    until(lambda: a.call("GET", location).json()["status"] == "paused", 10.0)
    tell(b, 1.0)
    time.sleep(QUIET_S)
    assert not endpoint.got


def address_at(city: City) -> str:
    """The path to which a source tells us, read from the source."""
    [found] = there(city)
    uri: str = found["notification"]["endpoint"]["uri"]
    return "/" + uri.split("/", 3)[3]


def notice(**entity: Any) -> dict[str, Any]:
    """A notification of one entity."""
    data = {"id": "urn:ngsi-ld:Meter:1", "type": "Meter", "level": {"type": "Property", "value": 9.0}, **entity}
    return {"id": "urn:x:n1", "type": "Notification", "subscriptionId": "urn:x:s", "data": [data]}


def test_forged_notifications_are_refused(cities: dict[str, City], endpoint: Endpoint) -> None:
    a, b = cities["a"], cities["b"]
    register(a, b, "b")
    ids = ["urn:ngsi-ld:Meter:1", "urn:ngsi-ld:Meter:2"]
    subscribe(a, endpoint.uri, entities=[{"type": "Meter", "id": ids}])
    settled(a)
    path = address_at(b)
    for forged in (path[:-1], path[:-1] + "~", path.rpartition("/")[0] + "/", "/ngsi-ld/notifications/x/y"):
        assert a.call("POST", forged, notice(), secret="").status == 404
    for wrong, status in (({}, 400), ({"type": "Notification", "data": 1}, 400), (b"{", 400), (b"x" * 9_000_000, 413)):
        assert a.call("POST", path, wrong, secret="").status == status
    assert a.call("POST", path, notice(id="no address"), secret="").status == 400
    for beyond in ({"type": "Lamp"}, {"id": "urn:ngsi-ld:Meter:2", "type": ["Lamp"]}, {"id": "urn:ngsi-ld:Meter:3"}):
        assert a.call("POST", path, notice(**beyond) | {"id": f"urn:{beyond}"}, secret="").status == 200
    time.sleep(QUIET_S)
    assert not endpoint.got
    tenant = {"NGSILD-Tenant": "another"}
    assert [a.call("POST", path, notice(), tenant, secret="").status for _ in range(3)] == [200] * 3
    until(lambda: bool(endpoint.got), 10.0)
    time.sleep(QUIET_S)
    assert endpoint.values() == [9.0], "told twice is told once"


def test_a_tenant_is_never_told_and_that_of_the_registration_is_named(
    cities: dict[str, City], endpoint: Endpoint
) -> None:
    a, b = cities["a"], cities["b"]
    here, other = {"NGSILD-Tenant": "water"}, {"NGSILD-Tenant": "quarter"}
    made = a.call("POST", f"{ROOT}/csourceRegistrations", {
        "type": "ContextSourceRegistration", "information": [{"entities": [{"type": "Meter"}]}], "endpoint": b.base,
        "tenant": "quarter",
    }, here)  # fmt: skip
    assert made.status == 201
    location = subscribe(a, endpoint.uri, headers=here)
    until(lambda: b.call("GET", f"{ROOT}/subscriptions", headers=other).status == 200, 10.0)
    [found] = b.call("GET", f"{ROOT}/subscriptions", headers=other).json()
    assert "water" not in json.dumps(found)
    body = {"id": "urn:ngsi-ld:Meter:9", "type": "Meter", "level": {"type": "Property", "value": 2.0}}
    assert b.call("POST", f"{ROOT}/entities", body, other).status == 201
    until(lambda: endpoint.values() == [2.0], 10.0)
    assert endpoint.headers[0]["ngsild-tenant"] == "water"
    assert a.call("DELETE", location, headers=here).status == 204
    until(lambda: b.call("GET", f"{ROOT}/subscriptions", headers=other).json() == [], 10.0)
    a.call("DELETE", f"{ROOT}/csourceRegistrations/{made.headers['location'].rpartition('/')[2]}", headers=here)


def test_sources_that_are_away_delay_nobody_and_restarts_lose_nothing(tmp_path: Path, endpoint: Endpoint) -> None:
    with ExitStack() as stack:
        a, b = (City(tmp_path / name, options=OPEN) for name in "ab")
        for city in (a, b):
            stack.callback(city.close)
        a.start()
        register(a, b, "b")
        began = time.monotonic()
        location = subscribe(a, endpoint.uri)
        assert time.monotonic() - began < 1.0
        until(lambda: [one["state"] for one in forwarded(a)] == ["waiting"], 10.0)
        until(lambda: "problem" in forwarded(a)[0], 10.0)
        b.start()
        settled(a)
        tell(b, 1.0)
        until(lambda: endpoint.values() == [1.0], 10.0)
        a.kill()
        tell(b, 2.0)
        a.start()
        until(lambda: endpoint.values()[-1] == 2.0, 20.0)
        once = {note["id"]: note["data"][0]["level"]["value"] for note in endpoint.got}
        assert list(once.values()) == [1.0, 2.0], "what a kill repeats has the id that it had"
        assert len(there(b)) == 1, "it was known after the restart"
        b.stop()
        assert a.call("DELETE", location).status == 204
        until(lambda: [one["state"] for one in forwarded(a)] == ["leaving"], 10.0)
        a.stop()
        a.start()
        b.start()
        until(lambda: not there(b), 20.0)
        until(lambda: not forwarded(a), 5.0)


def test_after_a_restart_what_a_source_has_lost_is_made_again_and_a_new_address_is_told(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    with ExitStack() as stack:
        a, b = (stack.enter_context(City(tmp_path / name, options=OPEN)) for name in "ab")
        register(a, b, "b")
        subscribe(a, endpoint.uri)
        settled(a)
        assert b.call("DELETE", f"{ROOT}/subscriptions/{there(b)[0]['id']}").status == 204
        a.stop()
        a.start()
        until(lambda: len(there(b)) == 1, 10.0)
        assert address_at(b).startswith("/ngsi-ld/notifications/")
        a.stop()
        a.options = (*OPEN, "--public-url", f"http://localhost:{a.port}")
        a.start()
        address = f"http://localhost:{a.port}/"
        until(lambda: there(b)[0]["notification"]["endpoint"]["uri"].startswith(address), 10.0)
        tell(b, 1.0)
        until(lambda: endpoint.values() == [1.0], 10.0)
        kept = engines.rows(b.folder / "shahar.db", "SELECT count(*) FROM record WHERE kind = 'subscription'")
        assert kept == [(1,)], "nothing of A's stands there but the copy"


def test_without_an_address_for_sources_nothing_is_made_and_that_is_said_once(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    with City(tmp_path / "a", options=(*OPTIONS, "--host", "0.0.0.0")) as a:
        register(a, a, "itself")
        for _ in range(2):
            subscribe(a, endpoint.uri)
        until(lambda: "public address" in a.said(), 10.0)
        time.sleep(QUIET_S)
        assert forwarded(a) == []
        assert a.said().count("public address") == 1
