"""Prints the path of a Chromium for the browser tests.

In this order: the one that SHAHAR_TEST_CHROMIUM names; an installed one; Debian's package when we are root; the binary
of npm's `@sparticuz/chromium` (Linux on x86-64), which carries its own libraries and is unpacked into `.cache/`. The
archive is checked against the digest written here before anything of it is used.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from scripts import ui
from scripts.steps import CACHE, install_debian, is_done, mark_done, run, say, stop

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGE = "@sparticuz/chromium"
VERSION = "153.0.0"
SHA512 = "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
FOLDER = CACHE / "chromium"
# Brotli is not in Python's standard library, but it is in Node's.
UNPACK = """
const fs = require('fs'), zlib = require('zlib'), { pipeline } = require('stream/promises');
const [from, to] = process.argv.slice(1);
pipeline(fs.createReadStream(from), zlib.createBrotliDecompress(), fs.createWriteStream(to))
  .catch((error) => { console.error(error.message); process.exit(1); });
"""
# This build has no zygote process; the map needs WebGL, which its own SwiftShader draws without a graphics card.
START = """#!/bin/sh
here=$(dirname "$0")
export LD_LIBRARY_PATH="$here/lib:$here" FONTCONFIG_FILE="$here/fonts.conf"
exec "$here/chromium" --no-zygote --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader "$@"
"""
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/fonts</dir><dir>/usr/share/fonts</dir><cachedir>{folder}/fonts-cache</cachedir></fontconfig>
"""


def works(path: str) -> bool:
    """Tell whether this program starts at all: some distributions ship a stand-in that only asks to install another."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def installed() -> str | None:
    """Return an installed Chromium that starts."""
    found = (shutil.which(name) for name in NAMES)
    return next((path for path in found if path and works(path)), None)


def fetch_archive(node: Path) -> Path:
    """Return the npm package's archive, checked against its digest."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    archive = FOLDER / f"sparticuz-chromium-{VERSION}.tgz"
    command = [str(node / "npm"), "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", str(FOLDER)]
    run(command, f"npm could not fetch {PACKAGE} {VERSION}, see above.", FOLDER, ui.environment(node))
    if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != SHA512:
        archive.unlink()
        stop(f"the archive of {PACKAGE} {VERSION} is not the one we know (its digest differs).")
    return archive


def unpack(archive: Path, node: Path) -> None:
    """Unpack the browser and its libraries beside the archive."""
    shutil.unpack_archive(archive, FOLDER, "gztar")
    for part in (FOLDER / "package" / "bin").glob("*.br"):
        plain = FOLDER / part.stem
        run(
            [str(node / "node"), "-e", UNPACK, "--", str(part), str(plain)],
            f"{part.name} could not be unpacked, see above.",
        )
        if plain.suffix == ".tar":
            shutil.unpack_archive(plain, FOLDER, "tar")
            plain.unlink()
    shutil.rmtree(FOLDER / "package")


def carried() -> str:
    """Return the start script of the carried Chromium, fetching and unpacking it at the first call."""
    start, stamp = FOLDER / "start", FOLDER / ".stamp"
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        stop("no Chromium found: install Chromium or Google Chrome, or name one in SHAHAR_TEST_CHROMIUM.")
    if not (is_done(stamp, VERSION) and start.is_file()):
        say(f"fetching a Chromium for the tests (npm's {PACKAGE} {VERSION})")
        shutil.rmtree(FOLDER, ignore_errors=True)
        node = ui.node_folder()
        unpack(fetch_archive(node), node)
        (FOLDER / "chromium").chmod(0o755)
        (FOLDER / "fonts.conf").write_text(FONTS.format(folder=FOLDER), "utf-8")
        start.write_text(START, "utf-8")
        start.chmod(0o755)
        mark_done(stamp, VERSION)
    return str(start)


def find() -> str:
    """Return the path of a Chromium that starts, by the first way that leads to one."""
    named = os.environ.get("SHAHAR_TEST_CHROMIUM")
    if named:
        return named if works(named) else stop(f"SHAHAR_TEST_CHROMIUM names {named!r}, which does not start.")
    path = installed()
    if path is None and shutil.which("apt-get") is not None and os.geteuid() == 0:
        say("installing Debian's Chromium for the tests")
        path = installed() if install_debian(["chromium"]) else None
    path = path or carried()
    return (
        path if works(path) else stop(f"the Chromium at {path} does not start: name another in SHAHAR_TEST_CHROMIUM.")
    )


if __name__ == "__main__":
    print(find())
