"""The bundle installs, starts, upgrades and is removed where there is no network, and nothing runs as root.

It is made once for all tests here; its wheels are kept in .cache from one run to the next.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from shahar import __version__, bundle
from shahar.store import keep
from tests import without_network
from tests.contract.test_upgrade import earlier
from tests.house.reading import ROOT
from tests.running import command, free_ports

PYTHON: Final = "{}.{}".format(*sys.version_info[:2])
USER: Final = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
LOOK: Final = """
import json, subprocess, sys, tempfile, time, urllib.request
wrapper, port = sys.argv[1:]
log = tempfile.TemporaryFile("w+")
started = time.monotonic()
city = subprocess.Popen([wrapper, "serve"], stdout=log, stderr=log)
def ask(path, tries):
    for _ in range(tries):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except OSError as problem:
            why = problem
            time.sleep(0.1)
    log.seek(0)
    raise SystemExit(f"{path}: {why}: {log.read()}")
told = {"ready": ask("/ready", 300)[0], "after_s": time.monotonic() - started}
told["pages"] = {path: len(ask(path, 1)[1]) for path in ("/", "/docs", "/signin", "/ops/static/index.html")}
asked = subprocess.run([wrapper, "doctor"], capture_output=True, text=True)
told["doctor"], told["said"] = asked.returncode, asked.stdout
status = open(f"/proc/{city.pid}/status").read()
told["uid"] = int(status.split("Uid:")[1].split()[0])
told["link"] = subprocess.run([wrapper, "key", "--link"], capture_output=True, text=True).stdout
city.terminate()
told["end"] = city.wait(10)
print(json.dumps(told))
"""


@dataclass
class Installed:
    """A bundle below a folder of its own."""

    file: Path
    prefix: Path

    def install(self, *more: str) -> subprocess.CompletedProcess[str]:
        """Run the bundle without network."""
        user = ["--user", USER] if os.geteuid() == 0 else []
        words = ["sh", str(self.file), "--prefix", str(self.prefix), *user, *more]
        return self.offline(*words)

    def offline(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command without network."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SHAHAR_", "PYTHON", "PIP_"))}
        return subprocess.run(
            without_network.words(*words),
            env=kept | more, cwd="/", capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip

    @property
    def wrapper(self) -> Path:
        """The command on this machine."""
        return self.prefix / "usr" / "local" / "bin" / "shahar"

    @property
    def current(self) -> Path:
        """Which version is in use."""
        return self.prefix / "opt" / "shahar" / "current"

    @property
    def data(self) -> Path:
        """Where the city is."""
        return self.prefix / "var" / "lib" / "shahar"


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    """The bundle, made for this Python alone and installed once."""
    if why := without_network.missing():
        pytest.skip(why)
    if not any(bundle.BUILT.glob("*")):
        pytest.skip("the browser part is not built (make wheel)")
    home = Path(tempfile.mkdtemp(prefix="shahar-bundle-"))
    home.chmod(0o755)  # whom it runs as is somebody else
    try:
        wheels = ROOT / ".cache" / "bundle"
        words = ["bundle", str(home / "b.sh"), "--pythons", PYTHON, "--wheels", str(wheels)]
        told = command(*words, cwd=home, timeout_s=110)
        assert told.returncode == 0, told.stderr
        found = Installed(home / "b.sh", home / "prefix")
        done = found.install()
        assert done.returncode == 0, done.stderr
        yield found
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_it_starts_without_network_as_its_user_and_answers(installed: Installed) -> None:
    port, mqtt = (str(one) for one in free_ports(2))
    words = [sys.executable, "-c", LOOK, str(installed.wrapper), port]
    told = installed.offline(*words, SHAHAR_PORT=port, SHAHAR_MQTT_PORT=mqtt)
    assert told.returncode == 0, told.stderr
    seen = json.loads(told.stdout)
    assert (seen["ready"], seen["end"], seen["doctor"]) == (200, 0, 0)
    assert min(seen["pages"].values()) > 400
    assert seen["uid"] == pwd.getpwnam(USER).pw_uid != 0
    assert "it runs and is ready" in seen["said"]
    assert "/welcome?token=sht_" in seen["link"]
    print(f"ready {seen['after_s']:.1f} s after the start, from an installed bundle")


def test_a_second_time_changes_nothing_and_its_parts_have_their_rights(installed: Installed) -> None:
    config = installed.prefix / "etc" / "shahar" / "shahar.toml"
    config.write_text(config.read_text() + "# mine\n")
    again = installed.install()
    assert "is installed already" in again.stdout
    assert config.read_text().endswith("# mine\n")
    assert config.stat().st_mode & 0o007 == 0
    assert installed.data.stat().st_mode & 0o007 == 0
    parts = (one for one in installed.current.resolve().rglob("*") if not one.is_symlink())
    writable = [one for one in parts if one.lstat().st_mode & 0o022]
    assert writable == [], "whoever serves cannot change the program"


def test_an_upgrade_tries_backs_up_and_keeps_the_city_and_the_version_before(installed: Installed) -> None:
    current = installed.current.readlink()
    versions = installed.prefix / "opt" / "shahar" / "versions"
    (versions / "0.0.9-0ld").mkdir()
    installed.current.unlink()
    installed.current.symlink_to("versions/0.0.9-0ld")
    shutil.rmtree(installed.data)
    earlier(installed.data, 1)
    if os.geteuid() == 0:
        for one in (installed.data, *installed.data.iterdir()):
            shutil.chown(one, USER)
    with keep.owning(installed.data):
        shutil.chown(installed.data / "shahar.lock", USER)
        refused = installed.install()
    assert refused.returncode == 1
    assert "stop it first" in refused.stderr
    assert installed.current.readlink() == Path("versions/0.0.9-0ld")
    assert keep.look(installed.data / keep.NAME).schema == 1
    done = installed.install()
    assert done.returncode == 0, done.stderr
    assert "tried on a copy" in done.stdout
    assert installed.current.readlink() == current
    assert keep.look(installed.data / keep.NAME).counts["entity"] == 50
    backups = sorted((installed.prefix / "var" / "backups" / "shahar").iterdir())
    assert all(re.fullmatch(rf"before-{__version__}-\d{{8}}T\d{{6}}Z\.tar", one.name) for one in backups)
    assert backups
    assert sorted(one.name for one in versions.iterdir()) == sorted(["0.0.9-0ld", current.name])


def test_the_unit_of_systemd_is_sound_and_locked_down(installed: Installed) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    unit = installed.prefix / "etc" / "systemd" / "system" / "shahar.service"
    checked = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    said = [line for line in checked.stderr.splitlines() if "shahar.service" in line and "nobody" not in line]
    assert (checked.returncode, said) == (0, [])
    judged = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(unit)], capture_output=True, text=True, check=False
    )
    exposed = float(re.findall(r"exposure level for \S+: ([\d.]+)", judged.stdout)[0])
    assert exposed <= 2.5, judged.stdout
    print(f"exposure level {exposed} of 10")


def test_a_bundle_that_was_cut_installs_nothing(installed: Installed, tmp_path: Path) -> None:
    cut = tmp_path / "cut.sh"
    cut.write_bytes(installed.file.read_bytes()[:-4_096])
    for more in ([], ["--check"], ["--extract", str(tmp_path / "x")]):
        told = subprocess.run(
            ["sh", str(cut), *more, "--prefix", str(tmp_path / "p")], capture_output=True, text=True, check=False
        )
        assert (told.returncode, "is not whole" in told.stderr) == (1, True)
    assert [one.name for one in tmp_path.iterdir()] == ["cut.sh"]
    whole = subprocess.run(["sh", str(installed.file), "--check"], capture_output=True, text=True, check=False)
    assert whole.returncode == 0
    assert __version__ in whole.stdout


def test_the_scripts_are_plain_shell() -> None:
    for name in ("install.sh", "head.sh", "command.sh"):
        told = subprocess.run(["sh", "-n", str(bundle.DEPLOY / name)], capture_output=True, text=True, check=False)
        assert (told.returncode, told.stderr) == (0, "")


def test_what_is_removed_leaves_the_city(installed: Installed) -> None:
    told = installed.install("--uninstall")
    assert told.returncode == 0
    left = {str(one.relative_to(installed.prefix)) for one in installed.prefix.rglob("*") if one.is_file()}
    assert {"var/lib/shahar/shahar.db", "etc/shahar/shahar.toml"} <= left
    assert not [one for one in left if one.startswith(("opt/", "usr/", "etc/systemd"))]


@pytest.mark.parametrize(
    ("more", "word"),
    [(["--pythons", "3.9"], "3.11 or later"), (["--machine", "m68k"], "x86_64, aarch64"), ([], "is there already")],
)
def test_a_bundle_that_cannot_be_made_is_one_sentence(tmp_path: Path, more: list[str], word: str) -> None:
    (tmp_path / "b.sh").touch()
    if not any(bundle.BUILT.glob("*")):
        pytest.skip("the browser part is not built (make wheel)")
    told = command("bundle", "b.sh", *more, cwd=tmp_path)
    assert (told.returncode, len(told.stderr.splitlines())) == (1, 1)
    assert word in told.stderr
