"""What no device should be, send, or try, against a real server and its MQTT server: refused, counted, kept where
there is something to look at, and no harm to anybody else.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from tests.running import City, leave, until
from tests.wire import Wire, check_refused, connect, request_text

ENTITIES: Final = "/ngsi-ld/v1/entities"
TEMPORAL: Final = "/ngsi-ld/v1/temporal/entities"
STATION: Final = "urn:ngsi-ld:AirQualityObserved:"
BROKEN: Final = 'shahar_device_messages_total{outcome="broken"}'
VALUES: Final = 'shahar_device_messages_total{outcome="values"}'


@pytest.fixture(scope="module")
def mqtt_city(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[City]:
    """A server with its MQTT server; at the end it is ready and has failed at nothing."""
    with City(tmp_path_factory.mktemp("hostile-mqtt"), mqtt=True) as one:
        yield one
        assert one.call("GET", "/ready").status == 200
        assert ("request failed" in one.said(), "Traceback" in one.said(), "intake fell" in one.said()) == (
            False,
            False,
            False,
        )


BAD_DEVICES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    *(
        ("name", {"name": name})
        for name in ("a b", "a/b", "x" * 100, "\0", "ü", "+", "#", "~intake", "$SYS", "", 5, "line\n", None)
    ),
    *(("profile", {"profile": profile}) for profile in ("nope", "", 5, "\0", "../air")),
    *(("entity", {"entity": uri}) for uri in ("no uri", "urn:\0", "", 5, "urn:" + "x" * 5_000)),
    ("attributes", {"attributes": []}),
    ("location", {"attributes": {"location": {"type": "GeoProperty", "value": 5}}}),
    ("tenant", {"tenant": "a/b"}),
    ("tenant", {"tenant": "\0"}),
    ("tenant", {"tenant": 5}),
    ("identifier", {"identifier": "\0"}),
    ("identifier", {"identifier": "x" * 1_000}),
    ("through", {"through": "yes"}),
    ("colour", {"colour": 1}),
)


@pytest.mark.parametrize(("field", "more"), BAD_DEVICES, ids=lambda one: repr(one)[:50])
def test_a_bad_device_is_refused_and_not_kept(mqtt_city: City, field: str, more: dict[str, Any]) -> None:
    name = f"bad-{sum(map(ord, repr(more)))}"
    told = {"name": name, "profile": "air.station", "entity": f"{STATION}bad"} | more
    check_refused(mqtt_city.call("POST", "/api/devices", told), field, 400)
    assert name not in {one["name"] for one in mqtt_city.call("GET", "/api/devices").json()}
    assert mqtt_city.call("GET", f"{ENTITIES}/{STATION}bad").status == 404


GARBAGE: Final = (
    b"\0" * 100,
    b"{",
    b"\xff\xfe",
    b"[]",
    b"5",
    b'"x"',
    b"null",
    (b"[" * 1_000 + b"]" * 1_000),
    b'{"pm25":' + (b"[" * 1_000 + b"]" * 1_000) + b"}",
    b'{"at":"0000-01-01T00:00:00Z","pm25":1}',
    b'{"at":"2026-02-30T00:00:00Z","pm25":1}',
    b'{"at":1e300,"pm25":1}',
    b'{"at":"2026-01-01T00:00:00","pm25":1}',
    b'{"at":"2999-01-01T00:00:00Z","pm25":1}',
    b'{"at":"1950-01-01T00:00:00Z","pm25":1}',
    b'{"pm25":"\\ud800"}',
    b"x" * 70_000,
    b"x" * 200_000,
)


def test_garbage_from_a_device_is_counted_and_kept_to_be_looked_at_and_stops_nothing(mqtt_city: City) -> None:
    key = mqtt_city.add_device("noisy", f"{STATION}noisy")
    before = mqtt_city.figures().get(BROKEN, 0)
    device = mqtt_city.connect_device("noisy", key)
    for payload in GARBAGE:
        device.publish("up/noisy", payload, qos=1).wait_for_publish(10)
    device.publish("up/noisy/deeper/still", b"{", qos=1).wait_for_publish(10)
    device.publish("up/noisy", b'{"pm25": 12.5}', qos=1).wait_for_publish(10)
    until(lambda: mqtt_city.figures().get(BROKEN, 0) - before >= len(GARBAGE) + 1)
    until(lambda: b"pm25" in mqtt_city.call("GET", f"{ENTITIES}/{STATION}noisy").body)
    leave(device)
    told = mqtt_city.call("GET", "/api/devices/broken").json()
    kept = [one for one in told["messages"] if one["device"] == "noisy"]
    assert len(kept) == len(GARBAGE) + 1
    assert all(one["problem"] and len(one["body"]) <= 2_048 for one in kept)


def test_what_a_device_may_not_publish_is_counted_and_changes_nothing(mqtt_city: City) -> None:
    keys = {name: mqtt_city.add_device(name, f"{STATION}{name}") for name in ("thief", "victim")}
    before = mqtt_city.answered()
    for topic in (
        "up/victim",
        "up/victim/x",
        "other",
        "$SYS/x",
        "up",
        "up/thief/a b",
        "up/ü",
        "$JS/API",
        "up/" + "x" * 5_000,
    ):
        thief = mqtt_city.connect_device("thief", keys["thief"])
        try:
            thief.publish(topic, b'{"pm25": 666.125}', qos=1).wait_for_publish(0.3)
        except (RuntimeError, ValueError):
            pass  # the server has closed the connection, or the client will not even send it
        leave(thief)
    thief = mqtt_city.connect_device("thief", keys["thief"])
    thief.publish("up/thief", b"x" * 400_000, qos=1)
    until(lambda: not thief.is_connected(), 10, "a message beyond the bound did not end the connection")
    leave(thief)
    kinds = [f'shahar_mqtt_refused_total{{kind="{kind}"}}' for kind in ("topic", "topic name", "size")]
    until(lambda: all(mqtt_city.figures().get(kind, 0) > 0 for kind in kinds), 5, "a refusal was not counted")
    victim = mqtt_city.connect_device("victim", keys["victim"])
    victim.publish("up/victim", b'{"pm25": 1}', qos=1).wait_for_publish(10)
    until(lambda: b"pm25" in mqtt_city.call("GET", f"{ENTITIES}/{STATION}victim").body)
    leave(victim)
    assert b"666.125" not in mqtt_city.call("GET", f"{TEMPORAL}/{STATION}victim").body
    assert mqtt_city.answered() > before


def test_who_is_no_device_is_not_let_in(mqtt_city: City) -> None:
    key = mqtt_city.add_device("known", f"{STATION}known")
    for name, password in (
        ("known", "wrong"),
        ("unknown", key),
        ("", ""),
        ("~intake", "x"),
        ("known", ""),
        ("known", key[:-1]),
    ):
        one = mqtt_city.connect_device(name, password)
        time.sleep(0.1)
        assert not one.is_connected(), name
        leave(one)


NOT_MQTT: Final = (
    b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
    b"\0" * 1_000,
    b"\xff" * 1_000,
    b"\x10\xff\xff\xff\x7f",
    b"\x10\xff\xff\xff\xff\xff",
    b"\x10\x0c\x00\x04MQTT\x04\x02",
    b"\x30\x05\x00\x03a/b",
    b"\x10\x00",
    b"",
)


def test_what_is_no_mqtt_stops_nobody(mqtt_city: City) -> None:
    with ExitStack() as stack:
        for said in NOT_MQTT * 10:
            one = stack.enter_context(socket.create_connection(("127.0.0.1", mqtt_city.mqtt_port), timeout=5))
            one.sendall(said)
        key = mqtt_city.add_device("patient", f"{STATION}patient")
        device = mqtt_city.connect_device("patient", key)
        device.publish("up/patient", b'{"pm25": 3}', qos=1).wait_for_publish(10)
        until(lambda: b"pm25" in mqtt_city.call("GET", f"{ENTITIES}/{STATION}patient").body)
        leave(device)


def test_the_list_of_broken_messages_is_bounded(mqtt_city: City) -> None:
    mqtt_city.add_device("flood", f"{STATION}flood")
    wire = Wire(mqtt_city, connect(mqtt_city))
    with wire.socket:
        for number in range(1_100):
            wire.say(request_text(mqtt_city, "POST", "/intake/flood", b"broken %d" % number))
            check_refused(wire.hear(), None, 400)
    messages = mqtt_city.call("GET", "/api/devices/broken").json()["messages"]
    assert messages[0]["body"] == "broken 1099"
    assert len(messages) <= 1_000
    kept = mqtt_city.call("GET", "/api/devices/broken").json()
    assert kept["counts"]["broken"] >= 1_100
