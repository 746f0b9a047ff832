"""A real Chromium for the tests of the pages, and axe-core to hold them to WCAG 2.2 AA.

The browser is the one that SHAHAR_TEST_CHROMIUM names (`make test` sets it), else an installed one. axe-core comes from
the browser part's own development dependencies, or is the file that SHAHAR_TEST_AXE names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from scripts import chromium

ARGUMENTS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--use-gl=angle",  # the map is drawn with WebGL, here without a graphics card
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
AXE = Path(__file__).resolve().parents[2] / "ui" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium that runs as root too; not longer than its module, for while it runs no other event loop can."""
    path = os.environ.get("SHAHAR_TEST_CHROMIUM") or chromium.installed()
    if path is None:
        pytest.skip("no Chromium: name one in SHAHAR_TEST_CHROMIUM, or use `make test`")
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The text of axe-core."""
    path = Path(os.environ.get("SHAHAR_TEST_AXE") or AXE)
    if not path.is_file():
        pytest.skip("no axe-core in ui/node_modules: `make test` installs it")
    return path.read_text("utf-8")
