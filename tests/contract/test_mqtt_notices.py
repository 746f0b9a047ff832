"""Notifications by MQTT with real parts: mosquitto as the subscriber's broker, paho as who listens there."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from shahar.ports import mqtt_notices as port
from shahar.ports.mqtt_notices import MqttNotices
from shahar.services.deliveries import Notice, Refused, Senders
from shahar.values.errors import PeerFailed
from shahar.values.outbound import Outbound

MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
USER, KEY = "city@hall", "a:key/of our own"
LOOPBACK = Outbound(("127.0.0.0/8",))


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        found: int = trial.getsockname()[1]
        return found


async def until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    for _ in range(round(within_s / 0.01)):
        if holds():
            return
        await asyncio.sleep(0.01)
    pytest.fail("what was waited for did not come")


def tell(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 30))


def answers(number: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", number)) == 0


class Broker:
    """A mosquitto that one user may use; `stop` and `start` let it die and come back."""

    def __init__(self, folder: Path, more: str = "") -> None:
        if not MOSQUITTO:
            pytest.skip("mosquitto, the subscriber's broker, is not installed (Debian: apt install mosquitto)")
        self.port, self.config, self.users = free_port(), folder / "mosquitto.conf", folder / "users"
        salt = b"0123456789ab"
        digest = hashlib.pbkdf2_hmac("sha512", KEY.encode(), salt, 101)
        self.users.write_text(f"{USER}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n")
        self.config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {self.users}\nuser root\n"
            f"log_dest none\n{more}\n"
        )
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(str(MOSQUITTO), "-c", str(self.config))
        await until(lambda: answers(self.port))

    async def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            await self.process.wait()
            self.process = None

    def uri(self, topic: str = "city/air") -> str:
        return f"mqtt://city%40hall:a%3Akey%2Fof%20our%20own@127.0.0.1:{self.port}/{topic}"


class Listener:
    """Who listens to a topic there: paho in a thread of its own; (qos, retained, message) of each."""

    def __init__(self, number: int, topic: str) -> None:
        self.heard: list[tuple[int, bool, Any]] = []
        self.granted = False
        self._paho = paho.Client(CallbackAPIVersion.VERSION2, f"listener-{os.getpid()}-{number}")
        self._paho.username_pw_set(USER, KEY)
        self._paho.on_connect = lambda client, *_: client.subscribe(topic, 2)
        self._paho.on_subscribe = self._subscribed
        self._paho.on_message = lambda _c, _u, one: self.heard.append((one.qos, one.retain, orjson.loads(one.payload)))
        self._paho.connect("127.0.0.1", number)
        self._paho.loop_start()

    def _subscribed(self, *_: Any) -> None:
        self.granted = True

    def stop(self) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()


@asynccontextmanager
async def listening(folder: Path, topic: str = "city/air") -> AsyncIterator[tuple[Broker, Listener, MqttNotices]]:
    broker, out = Broker(folder), MqttNotices(LOOPBACK)
    await broker.start()
    listener = Listener(broker.port, topic)
    try:
        await until(lambda: listener.granted)
        yield broker, listener, out
    finally:
        await out.close()
        listener.stop()
        await broker.stop()


def notice(uri: str, channel: dict[str, str] | None = None, timeout_s: float = 5.0, **members: Any) -> Notice:
    given = {"accept": "application/json", "tenant": "", "context": "http://x.example/c.jsonld", "info": ()}
    body = orjson.dumps({"id": "urn:n:1", "type": "Notification", "data": []})
    return Notice(uri, **{**given, **members}, timeout_s=timeout_s, body=body, channel=tuple((channel or {}).items()))


@pytest.mark.parametrize("version", ["", "mqtt3.1.1", "mqtt5.0"])
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_a_notification_is_published_as_its_subscription_says(tmp_path: Path, qos: str, version: str) -> None:
    async def story() -> None:
        async with listening(tmp_path) as (broker, listener, out):
            channel = {"MQTT-QoS": qos} | ({"MQTT-Version": version} if version else {})
            sent = notice(broker.uri(), channel, tenant="north", info=(("Hall", "B"),))
            await out.post(sent)
            await until(lambda: len(listener.heard) == 1)
            (told,) = listener.heard
            assert told[:2] == (int(qos), False)
            assert told[2]["metadata"] == {
                "Content-Type": "application/json",
                "Link": '<http://x.example/c.jsonld>; rel="http://www.w3.org/ns/json-ld#context"; '
                'type="application/ld+json"',
                "NGSILD-Tenant": "north",
                "Hall": "B",
            }
            assert told[2]["body"] == {"id": "urn:n:1", "type": "Notification", "data": []}

    tell(story)


def test_one_connection_serves_all_who_speak_with_a_broker_alike(tmp_path: Path) -> None:
    async def story() -> None:
        async with listening(tmp_path, "city/#") as (broker, listener, out):
            sent = [notice(broker.uri(f"city/{number % 7}"), {"MQTT-QoS": "1"}) for number in range(300)]
            await asyncio.gather(*(out.post(one) for one in sent))
            await until(lambda: len(listener.heard) == 300)
            assert len(out._links) == 1
            await out.post(notice(broker.uri("city/9"), {"MQTT-Version": "mqtt3.1.1"}))
            assert len(out._links) == 2

    tell(story)


def test_an_address_that_is_not_public_is_not_spoken_to(tmp_path: Path) -> None:
    async def story() -> None:
        broker = Broker(tmp_path)
        await broker.start()
        out = MqttNotices(Outbound())
        try:
            for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"):
                with pytest.raises(PeerFailed, match="not a public address"):
                    await out.post(notice(f"mqtt://{host}:{broker.port}/topic"))
            assert out._links == {}
        finally:
            await out.close()
            await broker.stop()

    tell(story)


def test_a_wrong_password_and_a_silent_broker_are_told_without_the_password(tmp_path: Path) -> None:
    async def story() -> None:
        async with listening(tmp_path) as (broker, _, out):
            with pytest.raises(PeerFailed) as told:
                await out.post(notice(f"mqtt://me:secret@127.0.0.1:{broker.port}/topic"))
            assert "secret" not in str(told.value)
            with socket.socket() as silent:
                silent.bind(("127.0.0.1", 0))
                silent.listen()
                deaf = f"mqtt://me:secret@127.0.0.1:{silent.getsockname()[1]}/topic"
                with pytest.raises(PeerFailed, match="did not answer"):
                    await out.post(notice(deaf, timeout_s=0.3))

    tell(story)


def test_a_broker_that_comes_back_is_spoken_to_again(tmp_path: Path) -> None:
    async def story() -> None:
        broker, out = Broker(tmp_path), MqttNotices(LOOPBACK)
        await broker.start()
        try:
            await out.post(notice(broker.uri(), {"MQTT-QoS": "1"}))
            await broker.stop()
            with pytest.raises(PeerFailed):
                await out.post(notice(broker.uri(), {"MQTT-QoS": "1"}, timeout_s=1.0))
            await broker.start()
            await out.post(notice(broker.uri(), {"MQTT-QoS": "1"}))
        finally:
            await out.close()
            await broker.stop()

    tell(story)


def test_a_message_that_the_broker_refuses_has_failed(tmp_path: Path) -> None:
    async def story() -> None:
        rights = tmp_path / "rights"
        rights.write_text(f"user {USER}\ntopic write city/#\n")
        broker, out = Broker(tmp_path, f"acl_file {rights}"), MqttNotices(LOOPBACK)
        await broker.start()
        try:
            await out.post(notice(broker.uri("city/air"), {"MQTT-QoS": "1"}))
            for qos in ("1", "2"):
                with pytest.raises(PeerFailed, match="0x87"):
                    await out.post(notice(broker.uri("elsewhere"), {"MQTT-QoS": qos}))
        finally:
            await out.close()
            await broker.stop()

    tell(story)


def test_connections_are_bounded_and_the_one_unused_for_longest_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "LINKS_MAX", 2)

    async def story() -> None:
        async with listening(tmp_path) as (broker, _, out):
            for version in ("mqtt3.1.1", "mqtt5.0", "mqtt3.1.1", ""):
                await out.post(notice(broker.uri(), {"MQTT-Version": version}))
            assert [target.version for target in out._links] == [4, 0]
            for link in out._links.values():
                link.waiting += 1
            with pytest.raises(PeerFailed, match="too many"):
                await out.post(notice(broker.uri(), {"MQTT-Version": "mqtt5.0"}))

    tell(story)


def test_a_connection_that_nobody_uses_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "IDLE_S", 0.05)

    async def story() -> None:
        async with listening(tmp_path) as (broker, _, out):
            await out.post(notice(broker.uri()))
            await until(lambda: not out._links)

    tell(story)


def authority(folder: Path, name: str) -> Path:
    """The certificate of an authority made now, beside a server's certificate for localhost that it signed."""
    openssl = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    own = folder / name
    own.mkdir()
    for arguments in (
        [*openssl, "-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem", "-subj", f"/CN=Authority {name}"],
        [*openssl, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost"],
        ["openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
         "-days", "2", "-extfile", "names", "-out", "server.pem"],
    ):  # fmt: skip
        (own / "names").write_text("subjectAltName=DNS:localhost")
        subprocess.run(arguments, cwd=own, check=True, capture_output=True)
    return own / "ca.pem"


@pytest.mark.parametrize("version", ["mqtt3.1.1", "mqtt5.0"])
def test_over_tls_a_broker_is_told_whose_certificate_is_trusted_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificates, is not installed")
    trusted, other = authority(tmp_path, "trusted"), authority(tmp_path, "other")
    own, number = trusted.parent, free_port()
    tls = f"listener {number} 127.0.0.1\ncertfile {own}/server.pem\nkeyfile {own}/server.key"

    async def story() -> None:
        broker, out = Broker(tmp_path, tls), MqttNotices(LOOPBACK)
        await broker.start()
        listener = Listener(broker.port, "city/air")
        uri = broker.uri().replace("mqtt://", "mqtts://").replace(f"127.0.0.1:{broker.port}", f"localhost:{number}")
        channel = {"MQTT-QoS": "1", "MQTT-Version": version}
        try:
            await until(lambda: listener.granted and answers(number))
            monkeypatch.setenv("SSL_CERT_FILE", str(other))
            with pytest.raises(PeerFailed, match="certificate") as refused:
                await out.post(notice(uri, channel))
            assert KEY not in str(refused.value)
            monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
            with pytest.raises(PeerFailed, match="certificate"):
                await out.post(notice(uri.replace("localhost", "127.0.0.1"), channel))
            with pytest.raises(PeerFailed):
                await out.post(notice(uri.replace(str(number), str(broker.port)), channel))
            assert not listener.heard
            await out.post(notice(uri, channel))
            await until(lambda: len(listener.heard) == 1)
            assert listener.heard[0][2]["body"]["id"] == "urn:n:1"
        finally:
            await out.close()
            listener.stop()
            await broker.stop()

    tell(story)


def test_each_address_has_the_port_of_its_scheme(tmp_path: Path) -> None:
    class Noted:
        def __init__(self) -> None:
            self.sent: list[str] = []

        async def post(self, one: Notice) -> None:
            self.sent.append(one.uri)

    async def story() -> None:
        web, mqtt = Noted(), Noted()
        senders = Senders({"http": web, "mqtt": mqtt})
        for uri in ("http://a.example/", "MQTT://b.example/t"):
            await senders.post(notice(uri))
        with pytest.raises(Refused):
            await senders.post(notice("ftp://c.example/"))
        assert (web.sent, mqtt.sent) == (["http://a.example/"], ["MQTT://b.example/t"])

    tell(story)
