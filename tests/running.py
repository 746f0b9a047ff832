"""A real `shahar serve` as a process of its own, for the tests that kill it, starve it, besiege it, or look at it in a
browser.

Promises: free ports, a data folder of the test's own, output in a file beside it; `start` returns when /ready says so;
everything that was started is gone after `close`, the MQTT server that outlives a killed process too. Processes are
ended by their number, never by a name.
Does not: share a server between tests (a fixture may).
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

import shahar
from tests import engines

SOURCE: Final = Path(shahar.__file__).parents[1]
MAIN: Final = ("-m", "shahar.main")
START_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (small letters) and body of an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nobody listens now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of ours that happen to be in it, and with the package under test
    first.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SHAHAR_") or name.startswith("SHAHAR_TEST_")
    }
    kept["PYTHONPATH"] = os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return kept | dict(more or {})


def command(
    *arguments: str, cwd: Path, more: Mapping[str, str] | None = None, timeout_s: float = 30.0
) -> subprocess.CompletedProcess[str]:
    """What `shahar ARGUMENTS` says and how it ends, run in `cwd`."""
    return subprocess.run(
        [sys.executable, *MAIN, *arguments],
        cwd=cwd,
        env=environment(_database(arguments) | dict(more or {})),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def _database(arguments: Sequence[str]) -> dict[str, str]:
    """Where the store is for whom a data folder is named, on the engine of this test."""
    if "--data" not in arguments:
        return {}
    place = engines.where(Path(arguments[arguments.index("--data") + 1]) / "shahar.db")
    return {"SHAHAR_DATABASE": place} if isinstance(place, str) else {}


def leave(client: Client) -> None:
    """Disconnect a device and end its thread."""
    client.disconnect()
    client.loop_stop()


def until(true: Callable[[], bool], within_s: float = 30.0, what: str = "it did not come true in time") -> float:
    """Seconds until something became true; AssertionError when it does not within `within_s`."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < within_s, what
        time.sleep(0.05)
    return time.monotonic() - started


@dataclass(slots=True)
class City:
    """One `shahar serve` (or what `launcher` and `verb` say) on `home`/data; `mqtt`: with the bundled MQTT server."""

    home: Path
    options: Sequence[str] = ()
    mqtt: bool = False
    launcher: Sequence[str] = MAIN
    verb: str = "serve"
    more: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    mqtt_port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.port, self.mqtt_port = free_ports(2)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- its life -----------------------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.home / "data"

    @property
    def base(self) -> str:
        """The address of its pages."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The number of the running process."""
        assert self.process is not None, "it was not started"
        return self.process.pid

    def arguments(self) -> list[str]:
        """The whole command line."""
        placed = ["--data", str(self.folder), "--port", str(self.port)]
        mqtt = ["--mqtt-port", str(self.mqtt_port)] if self.mqtt else ["--mqtt", "off"]
        return [sys.executable, *self.launcher, self.verb, *placed, *mqtt, *self.options]

    def _database(self) -> dict[str, str]:
        return _database(self.arguments())

    def start(self, *, ready: bool = True) -> None:
        """Start it, and return when it is ready; AssertionError with its last words when it does not become so."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments(),
                cwd=self.home,
                env=environment(self._database() | dict(self.more)),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        if ready:
            self.wait_ready()

    def wait_ready(self, within_s: float = START_S) -> None:
        """Return when every part works."""
        until = time.monotonic() + within_s
        while not self._is_ready():
            assert self.process is not None
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.said()[-2000:]}"
            assert time.monotonic() < until, f"it was not ready after {within_s:.0f} s: {self.said()[-2000:]}"
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        try:
            return self.call("GET", "/ready", secret="").status == 200
        except (OSError, HTTPException):
            return False

    def stop(self, within_s: float = 10.0) -> float:
        """Ask it to stop; how many seconds that took."""
        assert self.process is not None
        started = time.monotonic()
        self.process.terminate()
        self.process.wait(within_s)
        return time.monotonic() - started

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End whatever is left of it."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()
        self._end_mqtt_server()

    def _end_mqtt_server(self) -> None:
        """The MQTT server outlives a kill -9; end the one that runs on our folder."""
        try:
            pid = int((self.folder / "nats" / "server.pid").read_text())
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return
        if os.fsencode(self.folder) in line:
            os.kill(pid, signal.SIGKILL)

    # -- talking to it ------------------------------------------------------------------------------------------------

    @property
    def secret(self) -> str:
        """The local administrator's key of this start."""
        return (self.folder / "local.key").read_text().split()[1]

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        secret: str | None = None,
        timeout_s: float = 20.0,
    ) -> Answer:
        """One request on a connection of its own; a body that is not bytes goes as JSON; `secret` "" sends no
        credential.
        """
        signed = self.secret if secret is None else secret
        fields = {"authorization": f"Bearer {signed}"} if signed else {}
        if body is not None:
            fields["content-type"] = "application/json"
        fields |= {name.lower(): value for name, value in (headers or {}).items()}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, content, fields)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def add_device(self, name: str, entity: str, profile: str = "air.station") -> str:
        """Register a device that sends plain JSON (unless its profile says otherwise); its key."""
        answer = self.call("POST", "/api/devices", {"name": name, "profile": profile, "entity": entity})
        assert answer.status == 201, answer.body
        key: str = answer.json()["key"]
        return key

    def connect_device(self, name: str, key: str) -> Client:
        """A device on MQTT that has asked to be let in, with its own thread; the caller disconnects it (`leave`)."""
        client = Client(CallbackAPIVersion.VERSION2, client_id=f"client-{name}", reconnect_on_failure=False)
        client.username_pw_set(name, key)
        client.max_inflight_messages_set(100)
        client.connect("127.0.0.1", self.mqtt_port)
        client.loop_start()
        return client

    def figures(self) -> dict[str, float]:
        """What /metrics tells: name with labels, as it is written there -> value."""
        lines = self.call("GET", "/metrics").body.decode().splitlines()
        return {
            name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        }

    def answered(self, *statuses: int) -> int:
        """How many requests were counted with these statuses; all of them when none is named."""
        figures = self.figures()
        wanted = [f'shahar_http_requests_total{{status="{status}"}}' for status in statuses]
        names = wanted or [name for name in figures if name.startswith("shahar_http_requests_total")]
        return round(sum(figures.get(name, 0) for name in names))

    # -- looking at it ------------------------------------------------------------------------------------------------

    def said(self) -> str:
        """Everything that it has printed and logged, of every start."""
        return (self.home / "server.log").read_text(errors="replace")

    def rss_bytes(self) -> int:
        """Its memory now."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    def processor_s(self) -> float:
        """Processor time that it has used."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
