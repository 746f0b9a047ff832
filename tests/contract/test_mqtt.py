"""The intake over MQTT with real parts: nats-server, mosquitto as a second broker, our consumer, paho as devices."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from structlog.testing import capture_logs

from shahar.ports.mqtt import Consumer
from shahar.ports.nats import Bounds, Login, NatsServer, hash_key
from shahar.values.errors import Invalid, PeerFailed, Unavailable

pytestmark = pytest.mark.usefixtures("no_server_is_left")

KEY = "a-key-of-at-least-16-bytes"
BRISK = Bounds(ack_wait_s=0.7)
MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def logins(*names: str) -> list[Login]:
    return [Login(name, hash_key(KEY)) for name in names]


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


def tell(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 30))


async def until(holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
    for _ in range(round(timeout_s / 0.01)):
        if holds():
            return
        await asyncio.sleep(0.01)
    pytest.fail("what was waited for did not come")


class Device:
    """A device with a radio: paho in a thread of its own."""

    def __init__(self, port: int, name: str, key: str = KEY, client_id: str = "", will: str = "") -> None:
        self.name, self.refused, self.lost, self.acknowledged = name, "", 0, 0
        self.granted: list[int] = []
        self.heard: list[str] = []
        self._connected = False
        self._paho = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id or f"{name}-{os.getpid()}",
            clean_session=True,
            protocol=paho.MQTTv311,
            reconnect_on_failure=False,
        )
        self._paho.max_inflight_messages_set(200)
        self._paho.username_pw_set(name, key)
        if will:
            self._paho.will_set(will, b"last words", 1)
        self._paho.on_connect = self._on_connect
        self._paho.on_disconnect = self._on_disconnect
        self._paho.on_publish = self._on_publish
        self._paho.on_subscribe = self._on_subscribe
        self._paho.on_message = lambda _client, _userdata, message: self.heard.append(message.topic)
        self._paho.connect("127.0.0.1", port)
        self._paho.loop_start()

    def _on_connect(self, _client: Any, _userdata: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self._connected, self.refused = not code.is_failure, str(code) if code.is_failure else ""

    def _on_disconnect(self, _client: Any, _userdata: Any, _flags: Any, _code: Any, _properties: Any) -> None:
        self._connected, self.lost = False, self.lost + 1

    def _on_publish(self, _client: Any, _userdata: Any, _mid: int, _code: Any, _properties: Any) -> None:
        self.acknowledged += 1

    def _on_subscribe(self, _client: Any, _userdata: Any, _mid: int, codes: list[Any], _properties: Any) -> None:
        self.granted += [code.value for code in codes]

    async def connected(self) -> Device:
        await until(lambda: self._connected or bool(self.refused))
        return self

    async def publish(self, topic: str, payloads: list[bytes], qos: int = 1, retain: bool = False) -> None:
        """Publish, and wait for the acknowledgements (or the loss of the connection)."""
        goal = self.acknowledged + len(payloads)
        for payload in payloads:
            self._paho.publish(topic, payload, qos, retain)
        await until(lambda: self.acknowledged >= goal or bool(self.lost), 20)

    async def subscribe(self, topic: str) -> int:
        before = len(self.granted)
        self._paho.subscribe(topic, 1)
        await until(lambda: len(self.granted) > before)
        return self.granted[-1]

    def vanish(self) -> None:
        """Be gone without a DISCONNECT, so that the will is told."""
        wire: Any = self._paho.socket()
        wire.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()


@asynccontextmanager
async def device(port: int, name: str, **options: str) -> AsyncIterator[Device]:
    one = Device(port, name, **options)
    try:
        yield await one.connected()
    finally:
        await asyncio.to_thread(one.leave)


@asynccontextmanager
async def nats(home: Path, *, port: int = 0, bounds: Bounds = BRISK) -> AsyncIterator[NatsServer]:
    server = NatsServer(home, port=port or free_port(), bounds=bounds)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


class Inbox:
    """What the consumer was given; `act` runs before a message is noted."""

    def __init__(self, act: Callable[[str, bytes], Coroutine[Any, Any, None]] | None = None) -> None:
        self.messages: list[tuple[str, str, bytes, int]] = []
        self._act = act

    async def receive(self, device: str, topic: str, payload: bytes, arrived_at: int) -> None:
        if self._act:
            await self._act(topic, payload)
        self.messages.append((device, topic, payload, arrived_at))

    def payloads(self) -> list[bytes]:
        return [payload for _, _, payload, _ in self.messages]


@asynccontextmanager
async def consumer(
    url: str, inbox: Inbox, client_id: str = "shahar-intake", in_flight: int = 512, queue: int = 4096
) -> AsyncIterator[Consumer]:
    clock, options = itertools.count(1).__next__, {"in_flight": in_flight, "queue": queue}
    one = Consumer(url, inbox.receive, clock, client_id=client_id, **options, calm_s=1.0)
    await one.start()
    try:
        await one.subscribed()
        yield one
    finally:
        await one.stop()


# Both brokers behind one face: (our url, our client id), with the devices d1 and d2 allowed


@asynccontextmanager
async def nats_broker(folder: Path) -> AsyncIterator[tuple[str, str]]:
    async with nats(folder / "nats") as server:
        await server.admit(logins("d1", "d2"))
        yield server.url, server.client_id


def mosquitto_password(user: str, password: str) -> str:
    """A line of a password file of mosquitto 2: PBKDF2 with SHA-512, 101 rounds."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"{user}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


@asynccontextmanager
async def mosquitto_broker(folder: Path) -> AsyncIterator[tuple[str, str]]:
    if not MOSQUITTO:
        pytest.skip("mosquitto, the second broker, is not installed (Debian: apt install mosquitto)")
    port, users, config = free_port(), folder / "users", folder / "mosquitto.conf"
    users.write_text("".join(mosquitto_password(user, KEY) for user in ("intake", "d1", "d2")))
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {users}\nuser root\nlog_dest none\n"
    )
    process = await asyncio.create_subprocess_exec(MOSQUITTO, "-c", config)
    try:
        await until(lambda: answers(port))
        yield f"mqtt://intake:{KEY}@127.0.0.1:{port}", "shahar-intake"
    finally:
        process.terminate()
        await process.wait()


def answers(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


BROKERS = {"nats-server": nats_broker, "mosquitto": mosquitto_broker}
both_brokers = pytest.mark.parametrize("broker", BROKERS.values(), ids=BROKERS)


class Wire:
    """A wire between the consumer and its broker that notes acknowledgements and can be cut."""

    def __init__(self, port: int) -> None:
        self._port, self.port = port, 0
        self.acknowledged = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def lay(self) -> Wire:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        away, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, back]
        self._tasks |= {
            asyncio.create_task(self._carry(reader, back, True)),
            asyncio.create_task(self._carry(away, writer, False)),
        }

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ours: bool) -> None:
        try:
            while chunk := await reader.read(65_536):
                self.acknowledged += chunk.count(b"\x40\x02") if ours else 0  # PUBACK, MQTT 3.1.1 clause 3.4
                writer.write(chunk)
        except OSError:
            pass  # cut
        writer.close()

    async def cut(self) -> None:
        """Close everything and listen no more."""
        assert self._server
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*self._tasks)
        self._writers.clear()


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[tuple[Wire, str]]:
    one = await Wire(port_of(url)).lay()
    try:
        yield one, f"{url.rsplit(':', 1)[0]}:{one.port}"
    finally:
        await one.cut()


# Our process, to be killed: it appends each payload to a file, or holds it for ever


def victim() -> None:
    """What that process runs: given a home and a port (or a broker's url and 0), a file, and keep or hold."""
    where, port, file, how = sys.argv[1:]
    out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def receive(_device: str, _topic: str, payload: bytes, _arrived_at: int) -> None:
        os.write(out, payload + b"\n")
        if how == "hold":
            await asyncio.Event().wait()

    async def live() -> None:
        url, client_id, server = where, "shahar-intake", None
        if port != "0":
            server = NatsServer(Path(where), port=int(port), bounds=BRISK)
            await server.start()
            url, client_id = server.url, server.client_id
        one = Consumer(url, receive, itertools.count(1).__next__, client_id=client_id)
        await one.start()
        await one.subscribed()
        if server:
            await server.admit(logins("d1", "d2"))
        print("ready", flush=True)
        await asyncio.Event().wait()

    asyncio.run(live())


@contextmanager
def living(where: str, port: int, file: Path, how: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, __file__, where, str(port), str(file), how]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=paths) as process:
        try:
            assert process.stdout
            assert b"ready\n" in iter(process.stdout.readline, b"")
            yield process
        finally:
            process.kill()


# The bundled server


def test_the_server_answers_within_a_second_and_is_gone_within_two(tmp_path: Path) -> None:
    async def story() -> None:
        began = time.monotonic()
        async with nats(tmp_path / "маълумот ʻ folder") as server:
            assert time.monotonic() - began < 1
            assert server.running()
            assert not server.adopted
            began = time.monotonic()
        assert time.monotonic() - began < 2
        assert not server.running()
        assert not answers(port_of(server.url))
        private = [path.name for path in (tmp_path / "маълумот ʻ folder").glob("*.*") if path.stat().st_mode & 0o077]
        assert set(private) <= {"server.log", "server.err"}
        assert (tmp_path / "маълумот ʻ folder").stat().st_mode & 0o077 == 0

    tell(story)


def test_a_device_signs_in_with_its_own_key_and_with_nothing_else(tmp_path: Path) -> None:
    async def story() -> None:
        async with nats(tmp_path) as server:
            port = port_of(server.url)
            async with device(port, "d1") as before:
                assert before.refused == "Not authorized"  # nobody is let in before `admit`
            await server.admit(logins("d1"))
            async with device(port, "d1") as right, device(port, "d1", key=KEY + "x", client_id="w") as wrong:
                assert (right.refused, wrong.refused) == ("", "Not authorized")
            async with device(port, "d2") as unknown, device(port, "~intake", client_id="x") as pretender:
                assert (unknown.refused, pretender.refused) == ("Not authorized", "Not authorized")
            await until(lambda: server.refusals["sign-in"] == 4)

    tell(story)


def test_a_device_publishes_under_its_own_topic_and_nowhere_else(tmp_path: Path) -> None:
    async def story() -> None:
        inbox = Inbox()
        async with nats(tmp_path) as server, consumer(server.url, inbox, server.client_id):
            await server.admit(logins("d1", "d2", "d11"))
            port = port_of(server.url)
            async with device(port, "d1") as one, device(port, "d2", will="up/d1/will") as two:
                for topic in ("up/d2", "up/d2/a", "up/d11", "up", "down/d1", "$MQTT/sub/x", "up/d1x/a"):
                    await one.publish(topic, [b"not mine"])
                    await one.publish(topic, [b"not mine, kept"], retain=True)
                two.vanish()
                await one.publish("up/d2", [b"not mine, exactly once"], qos=2)
                for topic in ("up/d1", "up/d1/a/b", "up/d1/a.b", "up/d1/"):
                    await one.publish(topic, [topic.encode()], qos=2 if topic == "up/d1/" else 1)
                await until(lambda: len(inbox.messages) == 4)
                await asyncio.sleep(0.2)
                assert [(name, topic, payload.decode()) for name, topic, payload, _ in inbox.messages] == [
                    ("d1", topic, topic) for topic in ("up/d1", "up/d1/a/b", "up/d1/a.b", "up/d1/")
                ]
                assert one.lost == 0
                await until(lambda: server.refusals["topic"] == 16)

    tell(story)


def test_a_device_cannot_listen(tmp_path: Path) -> None:
    async def story() -> None:
        async with nats(tmp_path) as server:
            await server.admit(logins("d1", "d2"))
            async with device(port_of(server.url), "d1") as one, device(port_of(server.url), "d2") as two:
                for topic in ("up/d2", "up/#", "#", "up/d1", "$MQTT/#", "$SYS/#"):
                    assert await two.subscribe(topic) == 0x80
                await one.publish("up/d1", [b"secret"])
                await one.publish("up/d2", [b"secret"])
                await asyncio.sleep(0.2)
                assert two.heard == []
            await until(lambda: server.refusals["subscription"] >= 5)

    tell(story)


@pytest.mark.parametrize(
    ("topic", "payload", "kind"),
    [("up/d1/a b", b"1", "topic name"), ("up/d1\ta", b"1", "topic name"), ("up/d1", bytes(257 << 10), "size")],
)
def test_a_topic_with_a_space_or_a_message_too_large_ends_the_connection_and_is_counted(
    tmp_path: Path, topic: str, payload: bytes, kind: str
) -> None:
    async def story() -> None:
        inbox = Inbox()
        async with nats(tmp_path) as server, consumer(server.url, inbox, server.client_id):
            await server.admit(logins("d1"))
            async with device(port_of(server.url), "d1") as clumsy:
                await clumsy.publish("up/d1", [bytes(256 << 10)])
                await clumsy.publish(topic, [payload])
                assert (clumsy.lost, clumsy.acknowledged) == (1, 1)
            await until(lambda: server.refusals[kind] == 1)
            assert [len(payload) for payload in inbox.payloads()] == [256 << 10]

    tell(story)


def test_a_changed_list_of_devices_drops_only_those_who_left(tmp_path: Path) -> None:
    async def story() -> None:
        inbox = Inbox()
        async with nats(tmp_path) as server, consumer(server.url, inbox, server.client_id) as intake:
            port = port_of(server.url)
            await server.admit(logins("stays", "leaves"))
            async with device(port, "stays") as stays, device(port, "leaves") as leaves:
                await server.admit([*logins("stays", "comes")])
                async with device(port, "comes") as comes:
                    await comes.publish("up/comes", [b"1"])
                    await stays.publish("up/stays", [b"2"])
                await until(lambda: leaves.lost == 1)
                assert stays.lost == 0
                assert intake.running()
            async with device(port, "leaves") as again:
                assert again.refused
            await until(lambda: sorted(inbox.payloads()) == [b"1", b"2"])

    tell(story)


def test_ten_thousand_devices_are_admitted_within_three_seconds(tmp_path: Path) -> None:
    async def story() -> None:
        async with nats(tmp_path) as server:
            hashed = hash_key(KEY)
            began = time.monotonic()
            await server.admit([Login(f"device-{number}", hashed) for number in range(10_000)])
            assert time.monotonic() - began < 3
            async with device(port_of(server.url), "device-9999") as last:
                assert last.refused == ""

    tell(story)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a.b", "a*", ">", 'a"', "ў", "x" * 65, "a\n"])
def test_a_name_that_could_mean_something_to_the_server_is_refused(tmp_path: Path, name: str) -> None:
    async def story() -> None:
        server = NatsServer(tmp_path, port=free_port())
        with pytest.raises(Invalid):
            await server.admit([Login(name, hash_key(KEY))])
        with pytest.raises(Invalid):
            await server.admit([Login("d1", "plain")])

    tell(story)


def test_a_busy_port_is_said_in_one_sentence(tmp_path: Path) -> None:
    async def story() -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(
                Unavailable, match=rf"^The MQTT port {port} of 127\.0\.0\.1 cannot be used \(address already"
            ):
                await NatsServer(tmp_path, port=port).start()

    tell(story)


def test_a_folder_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(Unavailable, match=r"folder .*file/nats cannot be used"):
            await NatsServer(tmp_path / "file" / "nats", port=free_port()).start()

    tell(story)


def test_a_server_that_dies_is_started_again_and_told_of_once(tmp_path: Path) -> None:
    async def story() -> None:
        inbox = Inbox()
        with capture_logs() as logs:
            async with nats(tmp_path) as server, consumer(server.url, inbox, server.client_id) as intake:
                await server.admit(logins("d1"))
                async with device(port_of(server.url), "d1") as before:
                    await before.publish("up/d1", [b"before"])
                os.kill(int((tmp_path / "server.pid").read_text()), signal.SIGKILL)
                await until(lambda: not server.running())
                await until(lambda: server.running() and intake.running())
                async with device(port_of(server.url), "d1") as after:
                    await after.publish("up/d1", [b"after"])
                await until(lambda: {b"before", b"after"} <= set(inbox.payloads()))
        told = Counter(entry["event"] for entry in logs)
        assert (told["nats-server fell"], told["nats-server rose"]) == (1, 1)
        assert (told["mqtt intake fell"], told["mqtt intake rose"]) == (1, 2)

    tell(story)


@pytest.mark.parametrize("sync_interval_s", [0.0, 1.0])
def test_a_restart_of_everything_keeps_what_was_acknowledged(tmp_path: Path, sync_interval_s: float) -> None:
    async def story() -> None:
        port, sent = free_port(), [b"%d" % number for number in range(100)]
        async with nats(tmp_path, port=port, bounds=Bounds(sync_interval_s)) as server:
            await server.admit(logins("d1"))
            async with consumer(server.url, Inbox(), server.client_id):
                pass
            async with device(port, "d1") as one:
                await one.publish("up/d1", sent)
                assert one.acknowledged == 100
        inbox = Inbox()
        async with nats(tmp_path, port=port) as server, consumer(server.url, inbox, server.client_id):
            assert not server.adopted
            await until(lambda: len(inbox.messages) >= 100)
        assert inbox.payloads() == sent

    tell(story)


def test_a_thousand_messages_sent_while_we_are_dead_all_arrive_once_at_the_adopted_server(tmp_path: Path) -> None:
    async def story() -> None:
        home, port, file = tmp_path / "nats", free_port(), tmp_path / "received"
        sent = [b"%d" % number for number in range(1000)]
        with living(str(home), port, file, "keep") as process:
            async with device(port, "d1") as one:
                await one.publish("up/d1", [b"alive"])
                await until(lambda: file.read_bytes() == b"alive\n")
                process.kill()
                process.wait()
                await one.publish("up/d1", sent)
                assert (one.acknowledged, one.lost) == (1001, 0)
                inbox = Inbox()
                async with nats(home, port=port) as server, consumer(server.url, inbox, server.client_id):
                    assert server.adopted
                    await until(lambda: len(inbox.messages) >= 1000)
                    await asyncio.sleep(1)  # longer than ack_wait_s: nothing comes a second time
                    assert [payload for payload in inbox.payloads() if payload != b"alive"] == sent
                    await server.admit(logins("d2"))  # an adopted server obeys like a child
                    await until(lambda: one.lost == 1)
        assert not answers(port)

    tell(story)


def test_new_settings_replace_a_server_that_outlived_us(tmp_path: Path) -> None:
    async def story() -> None:
        home, port, other = tmp_path / "nats", free_port(), free_port()
        with living(str(home), port, tmp_path / "received", "keep") as process:
            process.kill()
        pid = (home / "server.pid").read_text()
        async with nats(home, port=other) as server:
            assert not server.adopted
            assert not answers(port)
            assert (home / "server.pid").read_text() != pid
            async with device(other, "d1") as one:
                assert one.refused == ""  # who may sign in is remembered

    tell(story)


def test_a_full_disk_share_refuses_new_messages_and_lets_us_empty_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with nats(tmp_path, bounds=Bounds(disk_bytes=1 << 20, ack_wait_s=1.0)) as server:
            port, inbox = port_of(server.url), Inbox()
            async with consumer(server.url, Inbox(), server.client_id):
                await server.admit(logins("d1"))
            async with device(port, "d1") as one:
                for number in range(20):
                    await one.publish("up/d1", [b"%d" % number + bytes(100_000)])
                assert one.lost == 1
                assert 5 < one.acknowledged < 12
            async with consumer(server.url, inbox, server.client_id):
                await until(lambda: len(inbox.messages) == one.acknowledged)
                async with device(port, "d1") as again:
                    await again.publish("up/d1", [b"again"])
                    await until(lambda: inbox.payloads()[-1] == b"again")

    tell(story)


def test_a_device_that_takes_the_usual_client_id_does_not_end_our_session(tmp_path: Path) -> None:
    async def story() -> None:
        inbox = Inbox()
        async with nats(tmp_path) as server, consumer(server.url, inbox, server.client_id) as intake:
            await server.admit(logins("d1"))
            async with device(port_of(server.url), "d1", client_id="shahar-intake") as one:
                await one.publish("up/d1", [b"1"])
                await until(lambda: inbox.payloads() == [b"1"])
            assert intake.running()

    tell(story)


# The consumer, at both brokers


@both_brokers
def test_a_message_is_acknowledged_only_after_it_was_received(tmp_path: Path, broker: Any) -> None:
    async def story() -> None:
        durable = asyncio.Event()

        async def commit(_topic: str, _payload: bytes) -> None:
            await durable.wait()

        inbox = Inbox(commit)
        async with (
            broker(tmp_path) as (url, client_id),
            wire(url) as (between, way),
            consumer(way, inbox, client_id) as intake,
        ):
            async with device(port_of(url), "d1") as one, device(port_of(url), "d2") as two:
                await one.publish("up/d1/x", [b"1"])
                await two.publish("up/d2", [b"2"])
            await asyncio.sleep(0.3)
            assert (between.acknowledged, inbox.messages) == (0, [])
            durable.set()
            await until(lambda: between.acknowledged == 2)
            assert sorted(inbox.messages) == [("d1", "up/d1/x", b"1", 1), ("d2", "up/d2", b"2", 2)]
            assert intake.counts == {"received": 2, "again": 0}

    tell(story)


@both_brokers
def test_stop_finishes_and_acknowledges_what_is_under_way(tmp_path: Path, broker: Any) -> None:
    async def story() -> None:
        begun = asyncio.Event()

        async def commit(_topic: str, _payload: bytes) -> None:
            begun.set()
            await asyncio.sleep(0.2)

        inbox = Inbox(commit)
        async with broker(tmp_path) as (url, client_id), wire(url) as (between, way), device(port_of(url), "d1") as one:
            async with consumer(way, inbox, client_id) as intake:
                await one.publish("up/d1", [b"begun", b"waiting"])
                await begun.wait()
                began = time.monotonic()
            assert time.monotonic() - began < 2
            assert (inbox.payloads(), between.acknowledged, intake.running()) == ([b"begun"], 1, False)
            async with consumer(way, inbox, client_id):
                await until(lambda: inbox.payloads() == [b"begun", b"waiting"])

    tell(story)


@both_brokers
def test_what_a_killed_process_had_not_acknowledged_comes_again(tmp_path: Path, broker: Any) -> None:
    async def story() -> None:
        file, sent = tmp_path / "received", [b"%d" % number for number in range(10)]
        async with broker(tmp_path) as (url, _), device(port_of(url), "d1") as one, device(port_of(url), "d2") as two:
            with living(url, 0, file, "hold") as process:
                await one.publish("up/d1", sent)
                await two.publish("up/d2", [b"other"])
                await until(lambda: file.exists() and sorted(file.read_bytes().split()) == [b"0", b"other"])
                process.kill()
            inbox = Inbox()
            async with consumer(url, inbox) as intake:
                await until(lambda: len(inbox.messages) >= 11)
                assert sorted(inbox.payloads()) == sorted([*sent, b"other"])
                assert intake.counts["again"] >= 2

    tell(story)


@both_brokers
def test_a_message_that_we_failed_to_receive_comes_again_and_the_failure_is_told_once(
    tmp_path: Path, broker: Any
) -> None:
    async def story() -> None:
        failures = itertools.count()

        async def disk(_topic: str, payload: bytes) -> None:
            if payload == b"3" and next(failures) < 2:
                raise Unavailable("the disk is full")

        inbox = Inbox(disk)
        with capture_logs() as logs:
            async with broker(tmp_path) as (url, client_id), consumer(url, inbox, client_id) as intake:
                async with device(port_of(url), "d1") as one:
                    await one.publish("up/d1", [b"%d" % number for number in range(6)])
                await until(lambda: set(inbox.payloads()) == {b"%d" % number for number in range(6)}, 15)
                assert intake.counts["failed"] == 2
                await until(lambda: logs[-1]["event"] == "mqtt intake rose")
                assert inbox.payloads().count(b"3") == 1
        told = [entry for entry in logs if entry["event"].startswith("mqtt intake")]
        assert [entry["event"] for entry in told] == ["mqtt intake rose", "mqtt intake fell", "mqtt intake rose"]
        assert "the disk is full" in told[1]["reason"]

    tell(story)


@both_brokers
def test_a_broken_message_is_acknowledged_and_stops_nothing(tmp_path: Path, broker: Any) -> None:
    async def story() -> None:
        async def decode(_topic: str, payload: bytes) -> None:
            if payload.startswith(b"broken"):
                raise Invalid("not JSON")

        inbox = Inbox(decode)
        async with (
            broker(tmp_path) as (url, client_id),
            wire(url) as (between, way),
            consumer(way, inbox, client_id) as intake,
        ):
            async with device(port_of(url), "d1") as one:
                await one.publish("up/d1", [b"1", b"broken", b"2", b"broken too", b"3"])
            await until(lambda: between.acknowledged == 5)
            assert inbox.payloads() == [b"1", b"2", b"3"]
            assert intake.counts == {"received": 3, "broken": 2, "again": 0}

    tell(story)


@both_brokers
def test_an_error_that_nobody_foresaw_loses_no_message(tmp_path: Path, broker: Any) -> None:
    async def story() -> None:
        first = itertools.count()

        async def stumble(_topic: str, _payload: bytes) -> None:
            if next(first) == 0:
                raise KeyError("a fault in our own code")

        inbox = Inbox(stumble)
        with capture_logs() as logs:
            async with (
                broker(tmp_path) as (url, client_id),
                consumer(url, inbox, client_id),
                device(port_of(url), "d1") as one,
            ):
                await one.publish("up/d1", [b"1"])
                await until(lambda: inbox.payloads() == [b"1"])
        assert [entry for entry in logs if isinstance(entry.get("exc_info"), KeyError)]

    tell(story)


@both_brokers
def test_messages_of_one_device_keep_their_order_and_others_do_not_wait(tmp_path: Path, broker: Any) -> None:
    async def story() -> None:
        under_way: Counter[str] = Counter()
        most: Counter[str] = Counter()

        async def commit(topic: str, payload: bytes) -> None:
            for name in (topic, "all"):
                under_way[name] += 1
                most[name] = max(most[name], under_way[name])
            await asyncio.sleep(0.001 if payload[0] % 2 else 0.004)
            under_way.subtract((topic, "all"))

        inbox = Inbox(commit)
        sent = [b"%d" % number for number in range(30)]
        async with (
            broker(tmp_path) as (url, client_id),
            consumer(url, inbox, client_id),
            device(port_of(url), "d1") as one,
            device(port_of(url), "d2") as two,
        ):
            await asyncio.gather(one.publish("up/d1/a", sent), two.publish("up/d2/a", sent))
            await until(lambda: len(inbox.messages) == 60)
        assert most == {"up/d1/a": 1, "up/d2/a": 1, "all": 2}
        for name in ("d1", "d2"):
            assert [payload for who, _, payload, _ in inbox.messages if who == name] == sent

    tell(story)


def test_no_more_messages_are_under_way_than_allowed(tmp_path: Path) -> None:
    async def story() -> None:
        under_way = most = 0

        async def commit(_topic: str, _payload: bytes) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.005)
            under_way -= 1

        inbox = Inbox(commit)
        async with nats(tmp_path) as server, consumer(server.url, inbox, server.client_id, in_flight=3):
            names = [f"d{number}" for number in range(8)]
            await server.admit(logins(*names))
            devices = [await Device(port_of(server.url), name).connected() for name in names]
            await asyncio.gather(*(one.publish(f"up/{one.name}", [b"x"] * 10) for one in devices))
            await until(lambda: len(inbox.messages) == 80)
            for one in devices:
                one.leave()
        assert most == 3

    tell(story)


@both_brokers
def test_a_flood_is_bounded_and_loses_only_what_was_sent_unsure(tmp_path: Path, broker: Any) -> None:
    async def story() -> None:
        durable = asyncio.Event()

        async def commit(_topic: str, _payload: bytes) -> None:
            await durable.wait()

        inbox = Inbox(commit)
        async with (
            broker(tmp_path) as (url, client_id),
            consumer(url, inbox, client_id, queue=15) as intake,
            device(port_of(url), "d1") as one,
        ):
            await one.publish("up/d1", [b"unsure"] * 50, qos=0)
            await until(lambda: intake.counts["dropped"] == 35)
            await one.publish("up/d1", [b"sure %d" % number for number in range(50)])
            await until(lambda: not intake.running())
            durable.set()
            await until(lambda: len(set(inbox.payloads())) == 51, 20)
            assert inbox.payloads().count(b"unsure") == 1

    tell(story)


@both_brokers
def test_a_lost_broker_is_told_of_once_and_found_again(tmp_path: Path, broker: Any) -> None:
    async def story() -> None:
        inbox = Inbox()
        with capture_logs() as logs:
            async with (
                broker(tmp_path) as (url, client_id),
                wire(url) as (between, way),
                consumer(way, inbox, client_id) as intake,
            ):
                await between.cut()
                await until(lambda: not intake.running())
                async with device(port_of(url), "d1") as one:
                    await one.publish("up/d1", [b"%d" % number for number in range(50)])
                await asyncio.sleep(0.4)
                await between.lay()
                await until(lambda: len(inbox.messages) == 50 and intake.running())
        told = [entry["event"] for entry in logs if entry["event"].startswith("mqtt intake")]
        assert told == ["mqtt intake rose", "mqtt intake fell", "mqtt intake rose"]

    tell(story)


@both_brokers
def test_a_retained_message_is_not_taken_for_a_new_one(tmp_path: Path, broker: Any) -> None:
    async def story() -> None:
        async with broker(tmp_path) as (url, client_id):
            inbox = Inbox()
            async with consumer(url, inbox, client_id), device(port_of(url), "d1") as one:
                await one.publish("up/d1", [b"live"], retain=True)
                await until(lambda: inbox.payloads() == [b"live"])
            async with consumer(url, inbox, client_id) as intake:
                await until(lambda: intake.counts["retained"] == 1)
            assert inbox.payloads() == [b"live"]

    tell(story)


@both_brokers
def test_a_wrong_password_is_said_and_not_hammered(tmp_path: Path, broker: Any) -> None:
    async def story() -> None:
        async with broker(tmp_path) as (url, client_id):
            wrong = Consumer(
                f"mqtt://intake:wrong@127.0.0.1:{port_of(url)}", Inbox().receive, lambda: 0, client_id=client_id
            )
            await wrong.start()
            with pytest.raises(PeerFailed, match=r"127\.0\.0\.1:\d+ cannot be used: .*not authorised"):
                await wrong.subscribed(0.4)
            await wrong.stop()

    tell(story)


def test_a_broker_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        port, inbox = free_port(), Inbox()
        early = Consumer(f"mqtt://127.0.0.1:{port}", inbox.receive, lambda: 0)
        await early.start()
        with pytest.raises(PeerFailed, match="cannot be used"):
            await early.subscribed(0.2)
        assert not early.running()
        await early.stop()

    tell(story)


if __name__ == "__main__":
    victim()
