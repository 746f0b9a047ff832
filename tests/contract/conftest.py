"""What contract tests share: no server that they start outlives them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def no_server_is_left(tmp_path: Path) -> Iterator[None]:
    """A bundled server outlives its process by design; here it must not outlive a test that fails."""
    yield
    for file in tmp_path.rglob("server.pid"):
        try:
            os.kill(int(file.read_text()), signal.SIGKILL)
        except (ProcessLookupError, ValueError):
            pass  # it is gone, as it should be
