"""What every envelope promises, and what each of the shipped ones makes of its server's messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shahar import plugins
from shahar.kit import Envelope, Invalid, Uplink

FOUND = plugins.discover()
SAMPLES = [
    (FOUND.catalogue.profile(one.profile).envelope, one.message)
    for loaded in FOUND.systems
    for one in plugins.samples(loaded.folder).values()
    if one.profile is not None
]
envelopes = pytest.mark.parametrize("envelope", FOUND.catalogue.envelopes, ids=lambda one: one.name)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def parse(name: str, message: object) -> Uplink:
    return FOUND.catalogue.envelope(name).parse(json.dumps(message).encode())


def _only_invalid(envelope: Envelope, body: bytes) -> None:
    try:
        uplink = envelope.parse(body)
    except Invalid:
        return
    assert isinstance(uplink, Uplink)
    assert uplink == envelope.parse(body)


@envelopes
def test_an_envelope_says_where_its_format_is_described_and_has_a_sample(envelope: Envelope) -> None:
    assert envelope.source
    assert envelope.name in {name for name, _ in SAMPLES}


@envelopes
@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=400))
def test_random_bytes_raise_only_invalid(envelope: Envelope, body: bytes) -> None:
    _only_invalid(envelope, body)


@envelopes
@settings(max_examples=200, deadline=None)
@given(which=st.integers(0, 1000), member=st.integers(0, 1000), value=json_values)
def test_a_message_with_a_wrong_member_raises_only_invalid(
    envelope: Envelope, which: int, member: int, value: Any
) -> None:
    bodies = [body for name, body in SAMPLES if name == envelope.name]
    message = json.loads(bodies[which % len(bodies)])
    message[sorted(message)[member % len(message)]] = value
    _only_invalid(envelope, json.dumps(message).encode())


@envelopes
@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'{"a":' * 9999, b'{"a":"' + b"x" * 70_000 + b'"}', b'{"a":"\\u0000"}', b"\0" * 100],
    ids=["empty", "null", "list", "deep", "large", "nul in text", "nuls"],
)
def test_what_is_no_message_is_refused(envelope: Envelope, body: bytes) -> None:
    with pytest.raises(Invalid):
        envelope.parse(body)


def test_an_envelope_imports_kit_alone() -> None:
    for file in sorted((Path(plugins.__file__).parent / "envelopes").glob("*.py")):
        assert plugins.trespasses(file.read_text(encoding="utf-8"), file.name) == []


def test_a_frame_that_helium_tells_again_has_the_same_frame_and_another_instant() -> None:
    samples = plugins.samples(next(one.folder for one in FOUND.systems if one.system.key == "buildings"))
    helium = FOUND.catalogue.envelope("helium")
    names = ("ems-frame-again-1.json", "ems-frame-again-2.json", "ems-hot.json")
    first, again, other = (helium.parse(samples[name].message) for name in names)
    assert first.frame == again.frame != other.frame
    assert first.at is not None
    assert again.at is not None
    assert 0 < again.at - first.at < 600 * 1_000_000


HELIUM = {"dev_eui": "A81758FFFE04B1C1", "payload": "AQBG", "port": 5, "fcnt": 1, "devaddr": "07000048"}


@pytest.mark.parametrize(
    "change",
    [
        {"dev_eui": "A81758"},
        {"dev_eui": None},
        {"payload": "AQB"},
        {"payload": 7},
        {"payload": "A" * 2000},
        {"port": 256},
        {"port": True},
        {"port": "5"},
        {"reported_at": -1},
        {"reported_at": 99999999999999},
        {"reported_at": "now"},
    ],
)
def test_a_helium_message_with_a_broken_member_is_refused(change: dict[str, object]) -> None:
    assert parse("helium", HELIUM).device == "a81758fffe04b1c1"
    with pytest.raises(Invalid):
        parse("helium", HELIUM | change)


def test_a_helium_message_is_read_without_what_may_be_absent() -> None:
    uplink = parse("helium", HELIUM)
    assert (uplink.payload, uplink.object, uplink.at, uplink.rssi) == (b"\x01\x00\x46", b"", None, None)
    hotspots = [{"rssi": -120, "snr": 1}, {"rssi": -90, "snr": -7.5}, {"rssi": "x"}, 3]
    loud = parse("helium", HELIUM | {"hotspots": hotspots})
    assert (loud.rssi, loud.snr) == (-90.0, -7.5)


CHIRPSTACK: dict[str, Any] = {"devEUI": "d1d1e80000000033", "data": "AQBG", "fPort": 3, "fCnt": 7}


def received(*times: str) -> list[dict[str, str]]:
    return [{"gatewayID": str(place), "time": time} for place, time in enumerate(times)]


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({}, None),
        ({"publishedAt": "2023-06-23T10:01:58Z", "_timestamp": 1687514517004}, 1687514518_000000),
        ({"_timestamp": 1687514517004}, 1687514517_004000),
        ({"rxInfo": received("2023-06-23T10:01:56Z")}, None),
        ({"rxInfo": received("2023-06-23T10:01:56Z", "2020-11-29T22:00:00Z")}, None),
        (
            {"rxInfo": received("2020-11-29T22:00:00Z", "2023-06-23T10:01:57Z", "2023-06-23T10:01:56Z")},
            1687514516_000000,
        ),
        ({"rxInfo": received("yesterday", "2023-06-23T10:01:57Z")}, None),
        ({"rxInfo": [*received("2023-06-23T10:01:56Z"), *received("2023-06-23T10:01:56Z")]}, None),
    ],
)
def test_the_clock_of_one_gateway_alone_is_not_believed(change: dict[str, object], at: int | None) -> None:
    assert parse("chirpstack3", CHIRPSTACK | change).at == at


def test_a_payload_is_base64_or_hexadecimal_as_the_envelope_says() -> None:
    assert parse("chirpstack3", CHIRPSTACK | {"data": "abcd"}).payload == b"\x69\xb7\x1d"
    assert parse("chirpstack3-hex", CHIRPSTACK | {"data": "abcd"}).payload == b"\xab\xcd"
    with pytest.raises(Invalid):
        parse("chirpstack3-hex", CHIRPSTACK)


def test_a_status_event_is_an_uplink_without_a_payload() -> None:
    status = {"devEUI": "d1d1e80000000033", "margin": -6, "batteryLevel": 0, "batteryLevelUnavailable": True}
    uplink = parse("chirpstack3", status | {"externalPowerSource": False})
    assert uplink.payload == b""
    assert json.loads(uplink.object) == {"margin": -6, "externalPowerSource": False}


@pytest.mark.parametrize(
    ("message", "at", "values"),
    [
        ({"pm25": 31}, None, {"pm25": 31}),
        ({"at": "2026-01-15T06:00:00+05:00", "pm25": 31}, 1768438800_000000, {"pm25": 31}),
        ({"observedAt": 1768438800, "values": {"pm25": 31}, "note": 1}, 1768438800_000000, {"pm25": 31}),
        ({"at": 1768438800.5, "pm25": 31}, 1768438800_500000, {"pm25": 31}),
        ({"at": 1768438800250, "pm25": 31}, 1768438800_250000, {"pm25": 31}),
        ({"values": 7}, None, {}),
        ({}, None, {}),
    ],
)
def test_a_plain_message_tells_its_instant_or_the_arrival_counts(
    message: dict[str, object], at: int | None, values: dict[str, object]
) -> None:
    uplink = parse("plain", message)
    assert (uplink.at, json.loads(uplink.object), uplink.payload) == (at, values, uplink.object)


@pytest.mark.parametrize("at", ["yesterday", "2026-01-15", "2026-01-15T06:00:00", -1, 5e15, True, [], {}])
def test_a_plain_message_with_an_absurd_instant_is_refused(at: object) -> None:
    with pytest.raises(Invalid):
        parse("plain", {"at": at, "pm25": 31})


@pytest.mark.parametrize("device", [7, "x" * 201, ["a"]])
def test_a_plain_message_with_an_absurd_device_is_refused(device: object) -> None:
    assert parse("plain", {"device": "ST-7", "pm25": 1}).device == "st-7"
    with pytest.raises(Invalid):
        parse("plain", {"device": device, "pm25": 31})
