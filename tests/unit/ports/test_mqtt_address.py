"""A broker's address, and what may become a device's login."""

from __future__ import annotations

from urllib.parse import quote

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as some

from shahar.ports.mqtt import Address, address
from shahar.ports.nats import hash_key
from shahar.values.errors import Invalid


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker", Address("broker", 1883, False)),
        ("mqtts://broker/", Address("broker", 8883, True)),
        ("mqtt://[::1]:21883", Address("::1", 21883, False)),
        ("mqtt://a:b%40c@h:1", Address("h", 1, False, "a", "b@c")),
        ("mqtt://a@h", Address("h", 1883, False, "a", None)),
    ],
)
def test_an_address_names_the_broker(url: str, expected: Address) -> None:
    assert address(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "broker",
        "broker:1883",
        "http://broker",
        "mqtt://",
        "mqtt://h:port",
        "mqtt://h:99999",
        "mqtt://h/a",
        "mqtt://[::1",
    ],
)
def test_anything_else_is_refused_by_the_field_s_name(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        address(url)
    assert refused.value.field == "mqtt"


def test_a_refusal_and_a_shown_address_keep_the_password_to_themselves() -> None:
    with pytest.raises(Invalid) as refused:
        address("mqtt://user:hush@h:port")
    assert "hush" not in str(refused.value) + repr(address("mqtt://user:hush@h"))


@given(some.text(min_size=1), some.text())
def test_any_user_and_password_come_through(user: str, password: str) -> None:
    found = address(f"mqtt://{quote(user, safe='')}:{quote(password, safe='')}@h")
    assert (found.user, found.password) == (user, password)


def test_a_key_is_kept_as_a_salted_hash_that_the_server_reads() -> None:
    one, two = hash_key("a random key of 24 bytes"), hash_key("a random key of 24 bytes")
    assert one.startswith("$2a$04$")
    assert one != two
    assert bcrypt.checkpw(b"a random key of 24 bytes", two.encode())


@pytest.mark.parametrize("key", ["", "short", "x" * 73, "ў" * 37])
def test_a_key_that_is_short_or_would_be_cut_is_refused(key: str) -> None:
    with pytest.raises(Invalid):
        hash_key(key)
