"""What contract tests share: the engines of their stores (tests/engines.py); no server that they start outlives
them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import engines


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on each engine."""
    bound = metafunc.definition.get_closest_marker("sqlite") is not None
    listed = engines.engines_of(metafunc.module.__name__, bound)
    if len(listed) > 1 or engines.CHOSEN:
        metafunc.parametrize("engine", listed, indirect=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The engine of the stores of these tests; what they left on a server is dropped."""
    name: str = getattr(request, "param", "sqlite")
    engines.use(name)
    yield name
    engines.forget()
    engines.use("sqlite")


@pytest.fixture
def no_server_is_left(tmp_path: Path) -> Iterator[None]:
    """A bundled server outlives its process by design; here it must not outlive a test that fails."""
    yield
    for file in tmp_path.rglob("server.pid"):
        try:
            os.kill(int(file.read_text()), signal.SIGKILL)
        except (ProcessLookupError, ValueError):
            pass  # it is gone, as it should be
