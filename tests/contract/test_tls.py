"""HTTPS by certificate files: what a client sees, what is refused with a sentence, what happens when a file changes;
and whom a proxy may speak for.

The pairs in tests/certificates were made for this alone: `openssl req -x509 -newkey ec ... -days 36500`.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from http.client import HTTPSConnection
from pathlib import Path
from typing import Final

import pytest

from shahar import tls
from shahar.services.doctor import Certificate, Facts, findings
from tests.contract.test_move import database
from tests.running import Answer, City, command, until

__all__ = ["database"]
PAIRS: Final = Path(__file__).parents[1] / "certificates"


def place(folder: Path, name: str) -> tuple[Path, Path]:
    """Put a pair into a folder as tls.pem and tls.key, as who renews it does: by renaming."""
    placed = []
    for suffix in ("pem", "key"):
        fresh = folder / f"fresh.{suffix}"
        shutil.copy(PAIRS / f"{name}.{suffix}", fresh)
        fresh.chmod(0o600)
        placed.append(fresh.rename(folder / f"tls.{suffix}"))
    return placed[0], placed[1]


def options(folder: Path) -> list[str]:
    """What makes HTTP HTTPS."""
    return ["--tls-certificate", str(folder / "tls.pem"), "--tls-key", str(folder / "tls.key")]


class SecureCity(City):
    """A city that speaks https, asked as a client does that trusts either pair of the tests."""

    def connection(self, trusted: str) -> HTTPSConnection:
        """A connection that trusts one pair alone."""
        context = ssl.create_default_context(cafile=str(PAIRS / f"{trusted}.pem"))
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return HTTPSConnection("127.0.0.1", self.port, timeout=10, context=context)

    def shown(self) -> str:
        """Which pair it shows now."""
        for name in ("first", "second"):
            try:
                connection = self.connection(name)
                connection.connect()
                connection.close()
            except ssl.SSLCertVerificationError:
                continue
            return name
        return ""

    def _is_ready(self) -> bool:
        try:
            return bool(self.shown())
        except (OSError, http.client.HTTPException):
            return False


@pytest.fixture
def city(tmp_path: Path) -> Iterator[SecureCity]:
    """One that shows the first pair."""
    place(tmp_path, "first")
    with SecureCity(tmp_path, options(tmp_path)) as one:
        yield one


def test_it_speaks_https_with_our_certificate_and_whoever_owns_the_folder_still_reaches_it(city: SecureCity) -> None:
    connection = city.connection("first")
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    connection.close()
    key = command("key", "--data", str(city.folder), cwd=city.home)
    assert (key.returncode, key.stdout[:4]) == (0, "shk_"), key.stderr
    told = command("doctor", "--quick", "--data", str(city.folder), cwd=city.home)
    assert "it runs and is ready" in told.stdout, "by the certificate that local.key names, without its settings"
    assert f"https://127.0.0.1:{city.port}/ops" in city.said()


def test_a_cookie_over_https_is_for_this_host_alone(city: SecureCity) -> None:
    link = command("key", "--link", "--data", str(city.folder), cwd=city.home).stdout.strip()
    connection = city.connection("first")
    token = link.partition("token=")[2]
    headers = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}
    connection.request("POST", "/welcome", f"token={token}&name=Nodira", headers)
    answer = connection.getresponse()
    cookie = answer.getheader("set-cookie") or ""
    connection.close()
    assert cookie.startswith("__Host-shahar_session=")
    assert "; Secure" in cookie


def test_a_renewed_pair_is_taken_up_and_a_broken_one_is_said_once_and_left(city: SecureCity) -> None:
    kept = city.connection("first")
    kept.request("GET", "/health")
    assert kept.getresponse().read()
    place(city.home, "second")
    os.kill(city.pid, signal.SIGUSR1)
    until(lambda: city.shown() == "second", 10)
    kept.request("GET", "/health")
    assert kept.getresponse().read(), "old connections go on"
    kept.close()
    (city.home / "tls.pem").write_text("no certificate")
    for _ in range(3):
        os.kill(city.pid, signal.SIGUSR1)
        assert city.shown() == "second"
    assert city.said().count("the new certificate cannot be used; the old one stays") == 1


def test_a_renewed_pair_is_taken_up_by_every_worker(tmp_path: Path, database: str) -> None:
    place(tmp_path, "first")
    more = {"SHAHAR_DATABASE": database}
    with SecureCity(tmp_path, [*options(tmp_path), "--workers", "2"], more=more) as city:
        until(lambda: city.said().count("worker ended") == 0 and city.shown() == "first", 20)
        time.sleep(2)  # both workers answer
        place(tmp_path, "second")
        os.kill(city.pid, signal.SIGUSR1)
        until(lambda: all(city.shown() == "second" for _ in range(20)), 20)
        told = command("doctor", "--quick", "--data", str(city.folder), cwd=city.home, more=more)
        assert "it runs and is ready" in told.stdout, told.stdout
        city.stop()
        assert "worker ended" not in city.said()


def broken(pem: Path, _key: Path) -> None:
    """No certificate at all."""
    pem.write_text("-----BEGIN CERTIFICATE-----")


def foreign(_pem: Path, key: Path) -> None:
    """The key of another certificate."""
    shutil.copy(PAIRS / "second.key", key)
    key.chmod(0o600)


def open_to_all(_pem: Path, key: Path) -> None:
    """Everybody on the machine may read the key."""
    key.chmod(0o644)


def gone(_pem: Path, key: Path) -> None:
    """There is no key."""
    key.unlink()


@pytest.mark.parametrize(
    ("harm", "word"),
    [(broken, "cannot be used together"), (foreign, "cannot be used"), (open_to_all, "chmod 640"), (gone, "No such")],
)
def test_a_pair_that_cannot_be_used_stops_the_start_and_the_doctor_names_it(
    tmp_path: Path, harm: Callable[[Path, Path], None], word: str
) -> None:
    pem, key = place(tmp_path, "first")
    assert tls.examine(pem, key).fault == ""
    harm(pem, key)
    told = command("serve", "--mqtt", "off", *options(tmp_path), cwd=tmp_path)
    assert told.returncode == 1
    assert word in told.stderr
    (tmp_path / "shahar.toml").write_text(f'tls_certificate = "{pem}"\ntls_key = "{key}"\n')
    asked = command("doctor", cwd=tmp_path)
    assert asked.returncode == 1
    assert "FAIL  certificate: " in asked.stdout


def test_a_certificate_without_its_key_is_a_wrong_setting(tmp_path: Path) -> None:
    told = command("serve", "--tls-certificate", "tls.pem", cwd=tmp_path)
    assert "a key its certificate (both or none)" in told.stderr


DAY: Final = 86_400_000_000
AT: Final = 1_767_312_000_000_000


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (Certificate("x.pem", AT + 31 * DAY), "ok"),
        (Certificate("x.pem", AT + 29 * DAY), "warn"),
        (Certificate("x.pem", AT - DAY), "fail"),
        (Certificate("x.pem", AT + 90 * DAY, AT + DAY), "fail"),
        (Certificate("x.pem", fault="no key"), "fail"),
    ],
)
def test_the_doctor_says_when_a_certificate_ends(seen: Certificate, state: str) -> None:
    facts = Facts(at=AT, free_bytes=50, disk_bytes=100, look=None, certificate=seen)
    (found,) = [one for one in findings(facts) if one.what == "certificate"]
    assert (found.state, bool(found.advice)) == (state, state != "ok")


def test_until_when_a_certificate_is_valid_is_read_from_it(tmp_path: Path) -> None:
    seen = tls.examine(*place(tmp_path, "first"))
    assert (seen.fault, (seen.ends_at - seen.begins_at) // DAY) == ("", 36_500)


# -- whom a proxy may speak for ---------------------------------------------------------------------------------------


def signed_in(city: City, **headers: str) -> Answer:
    """A browser's first sign-in, by a link."""
    link = command("key", "--link", "--data", str(city.folder), cwd=city.home).stdout.strip()
    fields = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin", **headers}
    token = link.partition("token=")[2]
    return city.call("POST", "/welcome", f"token={token}&name=Nodira".encode(), fields, secret="")


@pytest.mark.parametrize(("proxies", "believed"), [("", False), ("127.0.0.1", True), ("10.0.0.0/8", False)])
def test_what_is_said_of_a_client_is_believed_from_a_named_proxy_alone(
    tmp_path: Path, proxies: str, believed: bool
) -> None:
    with City(tmp_path, ["--proxies", proxies] if proxies else []) as city:
        answer = signed_in(city, **{"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.7"})
        assert answer.headers["set-cookie"].startswith("__Host-") == believed
        statuses = [
            city.call(
                "GET",
                "/api/keys",
                headers={"x-forwarded-for": f"203.0.113.{turn}", "x-api-key": "shk_wrong"},
                secret="",
            ).status
            for turn in range(40)
        ]
        assert (429 not in statuses) == believed, "wrong keys are counted by the address that is believed"
        local = city.call("GET", "/api/keys", headers={"x-forwarded-for": "127.0.0.1"})
        assert local.status in {401, 403, 429}, "the local key is not for what comes through a proxy"
