"""Starts the demo of each of the 14 first-level units, one after the other, and says how long it took until each lives.

Called as `python -m scripts.units [COMMAND ...]`: what `shahar` is called by, such as that of an installed bundle
(`/usr/local/bin/shahar`); this Python's own when it is not said. `--offline` starts each where there is no network.
A demo lives when it is ready, its page names the town, and a device's message has come in since. Ends with 1 when one
did not within LIVES_S.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from shahar.demo import city
from tests import without_network

LIVES_S: Final = 60.0
LOOK: Final = r"""
import json, re, subprocess, sys, tempfile, time, urllib.request
data, *words = sys.argv[1:]
port = words[words.index("--port") + 1]
log = tempfile.TemporaryFile("w+")
started = time.monotonic()
city = subprocess.Popen(words, stdout=log, stderr=log, cwd=data)
def ask(path):
    secret = open(data + "/city/local.key").read().split()[1]
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"authorization": "Bearer " + secret})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode()
def messages():
    return sum(float(one) for one in re.findall(r"^shahar_device_messages_total\S* (\S+)$", ask("/metrics"), re.M))
told = {}
try:
    while time.monotonic() - started < 60:
        if city.poll() is not None:
            break
        try:
            if "ready_s" not in told:
                ask("/ready")
                told["ready_s"] = time.monotonic() - started
                told["page"] = ask("/")
                first = messages()
            elif messages() > first:
                told["lives_s"] = time.monotonic() - started
                break
        except OSError:
            pass
        time.sleep(0.1)
    log.seek(0)
    told["said"] = log.read()[-500:]
finally:
    city.terminate()
    city.wait(20)
print(json.dumps(told))
"""


def lives(soato: str, command: list[str], offline: bool) -> dict[str, Any]:
    """What was seen of one unit's demo."""
    with tempfile.TemporaryDirectory(prefix="shahar-unit-") as named:
        data = Path(named)
        data.chmod(0o777)  # an installed command becomes its own user
        words = [*command, "demo", "--region", soato, "--data", str(data / "city"), "--port", "18200"]
        asked = [sys.executable, "-c", LOOK, named, *words, "--mqtt-port", "18201"]
        done = subprocess.run(
            without_network.words(*asked) if offline else asked, capture_output=True, text=True, check=False
        )
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {"said": done.stderr[-500:]}


def main(arguments: list[str]) -> int:
    """Print a line for each unit; how the script ends."""
    offline = "--offline" in arguments
    command = [one for one in arguments if one != "--offline"] or [sys.executable, "-m", "shahar.main"]
    missed = 0
    for unit in city.units():
        seen = lives(unit.soato, command, offline)
        names = city.city_of(unit.soato).name
        fine = "lives_s" in seen and any(name in seen["page"] for name in names.values())
        missed += not fine
        told = f"ready after {seen['ready_s']:.1f} s, lives after {seen['lives_s']:.1f} s" if fine else seen.get("said")
        print(f"{unit.soato}  {names['en']:24} {told}", flush=True)
    print(f"{14 - missed} of 14 live within {LIVES_S:.0f} s" + (", without network" if offline else ""))
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
