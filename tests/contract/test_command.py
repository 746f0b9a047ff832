"""The command `shahar`, as somebody types it: what it says, how it ends, and how it stops.

Whatever is wrong is told in one line on stderr with a status that is not 0, never in a traceback.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import pytest

from shahar import __version__
from shahar.main import main
from tests.running import MAIN, City, command, environment, free_ports

ENTITIES: Final = "/ngsi-ld/v1/entities"
STREAM: Final = "/ops/api/stream"
STOP_S: Final = 5.0

Typed = Callable[..., subprocess.CompletedProcess[str]]


def check_one_sentence(told: subprocess.CompletedProcess[str], *words: str) -> None:
    """It failed, and said why in one line with these words in it."""
    assert told.returncode not in {0, -9}, told
    lines = told.stderr.splitlines()
    assert len(lines) == 1, told.stderr
    assert lines[0].startswith("shahar: ")
    assert len(lines[0]) < 400
    for word in words:
        assert word in lines[0], lines[0]


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    """A server without MQTT."""
    with City(tmp_path) as one:
        yield one


# -- what it says -----------------------------------------------------------------------------------------------------


def test_the_version_is_told_and_nothing_is_made(tmp_path: Path) -> None:
    told = command("version", cwd=tmp_path)
    assert (told.returncode, told.stdout, told.stderr) == (0, f"shahar {__version__}\n", "")
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_setting_with_a_sentence(tmp_path: Path) -> None:
    told = command("serve", "--help", cwd=tmp_path)
    assert told.returncode == 0
    assert {"--port", "--data", "--mqtt", "--mqtt-port", "--access", "--contexts"} <= set(
        re.findall(r"--[a-z-]+", told.stdout)
    )


WRONG_SETTINGS: Final = (
    (["serve", "--prot", "1"], ["--prot", "nearest is port"]),
    (["serve", "--prot=1"], ["--prot", "nearest is port"]),
    (["serve", "--mqttport", "1"], ["--mqttport", "nearest is mqtt_port"]),
    (["serve", "--p", "1"], ["--p"]),
    (["serve", "somewhere"], ["somewhere"]),
    (["serve", "--port", "x"], ["port", "'x'"]),
    (["serve", "--port", "99999"], ["port", "65535"]),
    (["serve", "--port", "0"], ["port", "65535"]),
    (["serve", "--mqtt-port", "-1"], ["mqtt_port", "65535"]),
    (["serve", "--sync-interval", "soon"], ["sync_interval", "soon"]),
    (["serve", "--log-level", "loud"], ["log_level", "debug"]),
    (["serve", "--access", "everybody"], ["access", "public-read"]),
    (["serve", "--outbound-allow", "home"], ["home", "127.0.0.0/8"]),
    (["serve", "--config", "nowhere.toml"], ["nowhere.toml"]),
    (["serve", "--access", "open", "--host", "0.0.0.0"], ["open access", "127.0.0.1"]),
    (["serve", "--access", "open", "--host", "::"], ["open access", "127.0.0.1"]),
    (["serve", "--access", "open", "--host", "192.0.2.1"], ["open access", "127.0.0.1"]),
)
WRONG_VARIABLES: Final = (
    ("SHAHAR_PROT", "1", ["SHAHAR_PROT", "nearest is port"]),
    ("SHAHAR_PORT", "x", ["port", "'x'"]),
    ("SHAHAR_ACCESS", "everybody", ["access", "public-read"]),
)
WRONG_FILES: Final = (
    (b"prot = 1", ["prot", "shahar.toml", "nearest is port"]),
    (b"port = 'x'", ["port", "'x'"]),
    (b"port = ", ["shahar.toml", "TOML"]),
    (b"\xff\xfe", ["shahar.toml"]),
    (b"access = 'open'\nhost = '0.0.0.0'", ["open access"]),
)


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """The command in this process and an empty folder: for what is refused before anything is started."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SHAHAR_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        status = main(arguments)
        return subprocess.CompletedProcess(arguments, status, *capsys.readouterr())

    return run


@pytest.mark.parametrize(("arguments", "words"), WRONG_SETTINGS, ids=lambda one: " ".join(one)[:50])
def test_a_wrong_option_is_refused_in_one_sentence(typed: Typed, arguments: list[str], words: list[str]) -> None:
    check_one_sentence(typed(*arguments), *words)


@pytest.mark.parametrize(("name", "value", "words"), WRONG_VARIABLES)
def test_a_wrong_variable_of_the_environment_is_refused(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: list[str]
) -> None:
    monkeypatch.setenv(name, value)
    check_one_sentence(typed("serve"), *words)


@pytest.mark.parametrize(("text", "words"), WRONG_FILES, ids=repr)
def test_a_wrong_settings_file_is_refused(typed: Typed, text: bytes, words: list[str]) -> None:
    Path("shahar.toml").write_bytes(text)
    check_one_sentence(typed("serve"), *words)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "--prot", "1"], ["--prot", "nearest is port"]),
        (["serve", "--mqtt", "http://example.org"], ["mqtt://"]),
        (["serve", "--contexts", "nowhere.json"], ["nowhere.json"]),
        (["demo", "--mqtt", "off"], ["embedded"]),
        (["key", "--role", "king", "--data", "."], ["no city"]),
    ],
    ids=lambda one: " ".join(one)[:50],
)
def test_what_cannot_be_is_refused_in_one_sentence(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    [port] = free_ports(1)
    placed = ["--port", str(port)] if arguments[0] != "key" else []
    check_one_sentence(command(*arguments, *placed, cwd=tmp_path), *words)
    assert not (tmp_path / "data" / "local.key").exists()


# -- where it cannot start --------------------------------------------------------------------------------------------


def test_a_busy_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        check_one_sentence(command("serve", "--mqtt", "off", "--port", port, cwd=tmp_path), port, "SHAHAR_PORT")
    assert not (tmp_path / "data" / "local.key").exists()


def test_a_busy_mqtt_port_is_one_sentence_and_leaves_nothing_running(tmp_path: Path) -> None:
    [port] = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as holder:
        busy = str(holder.getsockname()[1])
        check_one_sentence(command("serve", "--port", str(port), "--mqtt-port", busy, cwd=tmp_path), busy)
    assert not (tmp_path / "data" / "local.key").exists()
    assert not (tmp_path / "data" / "nats" / "server.pid").exists()


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file" / "data", Path("/proc/shahar")):
        check_one_sentence(command("serve", "--data", str(folder), cwd=tmp_path), str(folder), "cannot be written")


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, *MAIN, "serve", "--mqtt", "off"],
        cwd=tmp_path,
        env=environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    check_one_sentence(told, "data", "cannot be written")


def test_a_second_process_on_the_same_folder_is_refused(city: City) -> None:
    [port] = free_ports(1)
    told = command("serve", "--mqtt", "off", "--data", str(city.folder), "--port", str(port), cwd=city.home)
    check_one_sentence(told, "in use by another shahar process")
    assert city.call("GET", "/ready").status == 200
    assert city.call("GET", "/api/keys").status == 200, "the second one has taken the first one's local key"


def test_it_starts_and_works_without_asking_anybody_outside(tmp_path: Path) -> None:
    city = City(tmp_path, mqtt=True)
    try:
        city.start(ready=False)
        foreign: set[str] = set()
        while not city._is_ready():
            foreign |= foreign_sockets(city.pid)
        body = {"id": "urn:ngsi-ld:T:1", "type": "T", "a": {"type": "Property", "value": 1}}
        assert city.call("POST", ENTITIES, body).status == 201
        for path in ("/", "/ops", "/docs", f"{ENTITIES}/urn:ngsi-ld:T:1"):
            assert city.call("GET", path).status == 200
            foreign |= foreign_sockets(city.pid)
        assert foreign == set()
    finally:
        city.close()


def foreign_sockets(pid: int) -> set[str]:
    """Far ends of a process's sockets that are not on this machine, in the kernel's own writing."""
    mine = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            mine.add(str(entry.readlink()))
        except OSError:
            continue  # closed meanwhile
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address = fields[2].partition(":")[0]
            near = address.endswith(("0100007F", "00000000000000000000000001000000")) or set(address) == {"0"}
            if f"socket:[{fields[9]}]" in mine and not near:
                found.add(fields[2])
    return found


# -- open, for this machine alone -------------------------------------------------------------------------------------


def test_open_access_on_this_machine_asks_for_no_credential(tmp_path: Path) -> None:
    with City(tmp_path, options=("--access", "open")) as city:
        body = {"id": "urn:ngsi-ld:T:1", "type": "T"}
        assert city.call("POST", ENTITIES, body, secret="").status == 201
        assert "Become the administrator" not in city.said()


def test_a_closed_city_asks_everybody_for_a_credential(city: City) -> None:
    assert city.call("GET", f"{ENTITIES}?type=T", secret="").status == 401
    assert city.call("GET", "/metrics", secret="").status == 401
    assert city.call("GET", "/health", secret="").status == 200
    assert city.said().count("Become the administrator") == 1


# -- stopping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sign", "mqtt"), [(signal.SIGTERM, True), (signal.SIGINT, False)], ids=["SIGTERM", "SIGINT"])
def test_it_stops_within_five_seconds_with_an_open_stream_and_a_half_sent_request(
    tmp_path: Path, sign: signal.Signals, mqtt: bool
) -> None:
    with City(tmp_path, mqtt=mqtt) as city:
        assert city.process is not None
        stream = HTTPConnection("127.0.0.1", city.port, timeout=10)
        stream.request("GET", STREAM, headers={"authorization": f"Bearer {city.secret}"})
        answer = stream.getresponse()
        assert (answer.status, answer.getheader("content-type", "").partition(";")[0]) == (200, "text/event-stream")
        idle = HTTPConnection("127.0.0.1", city.port, timeout=10)
        idle.request("GET", "/health")
        assert idle.getresponse().read()
        with socket.create_connection(("127.0.0.1", city.port)) as half:
            half.sendall(
                b"POST /ngsi-ld/v1/entities HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nauthorization: Bearer "
            )
            half.sendall(city.secret.encode() + b"\r\n\r\n{")
            time.sleep(0.1)
            started = time.monotonic()
            city.process.send_signal(sign)
            assert city.process.wait(10) == 0
            took_s = time.monotonic() - started
        stream.close()
        idle.close()
        assert took_s < STOP_S
        assert "Traceback" not in city.said()
        assert not (city.folder / "local.key").exists()
        assert not (city.folder / "nats" / "server.pid").exists()


def test_what_was_acknowledged_before_a_stop_is_there_after_it(city: City) -> None:
    for number in range(50):
        assert city.call("POST", ENTITIES, {"id": f"urn:ngsi-ld:T:{number}", "type": "T"}).status == 201
    assert city.stop() < STOP_S
    city.start()
    assert city.call("GET", f"{ENTITIES}?type=T&limit=0&count=true").headers["ngsild-results-count"] == "50"


# -- keys -------------------------------------------------------------------------------------------------------------


def make_key(city: City, *more: str) -> str:
    """What `shahar key` prints."""
    told = command("key", "--data", str(city.folder), *more, cwd=city.home)
    assert told.returncode == 0, told.stderr
    return told.stdout.strip()


def test_a_key_is_made_by_the_running_server_and_works_at_once(city: City) -> None:
    key = make_key(city, "--label", "bench")
    assert city.call("POST", ENTITIES, {"id": "urn:ngsi-ld:T:1", "type": "T"}, secret=key).status == 201
    listed = json.loads(city.call("GET", "/api/keys").body)["keys"]
    assert [one["label"] for one in listed] == ["bench"]


def test_a_key_is_made_in_the_store_of_a_stopped_or_killed_server(city: City) -> None:
    city.stop()
    first = make_key(city, "--role", "operator")
    city.start()
    city.kill()
    second = make_key(city)
    city.start()
    assert city.call("GET", f"{ENTITIES}?type=T", secret=first).status == 200
    assert city.call("POST", ENTITIES, {"id": "urn:ngsi-ld:T:1", "type": "T"}, secret=second).status == 201


def test_a_link_is_made_with_the_server_running_and_stopped(city: City) -> None:
    link = make_key(city, "--link", "--role", "operator")
    assert link.startswith(city.base + "/welcome?token=")
    assert city.call("GET", link.removeprefix(city.base), secret="").status == 200
    city.stop()
    assert make_key(city, "--link", "--role", "operator").startswith("/welcome?token=")


def test_a_wrong_wish_for_a_key_is_one_sentence_running_or_not(city: City) -> None:
    for _ in range(2):
        told = command("key", "--data", str(city.folder), "--role", "king", cwd=city.home)
        check_one_sentence(told, "king")
        if city.process is not None and city.process.poll() is None:
            city.stop()


def test_the_local_key_is_for_its_owner_alone_and_new_at_each_start(city: City) -> None:
    first = city.secret
    assert (city.folder / "local.key").stat().st_mode & 0o077 == 0
    city.stop()
    city.start()
    assert city.secret != first
    assert city.call("GET", "/api/keys", secret=first).status == 401
