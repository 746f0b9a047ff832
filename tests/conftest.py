"""What all tests share: a skip that counts as a failure where everything is required, one event loop, and the measures
at the end.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import settings

# Tests need no network, no clock, no order: no deadlines, and the same examples at every run.
settings.register_profile("house", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("house")


def everything_required() -> bool:
    """Tell whether a skipped test is a failure: in continuous integration, and when SHAHAR_TEST_REQUIRE_ALL is set."""
    return os.environ.get("CI") == "true" or os.environ.get("SHAHAR_TEST_REQUIRE_ALL", "") not in ("", "0")


class Skips:
    """Remembers every skipped test and every skipped file with its reason."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Take in one report; an expected failure is not a skip."""
        if report.outcome == "skipped" and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.found.append(f"{report.nodeid}: {reason.removeprefix('Skipped: ')}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.note(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.found and everything_required() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.found and everything_required():
            terminalreporter.section("skipped, and nothing may be skipped here", red=True)
            for line in self.found:
                terminalreporter.line(line)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to remember skips."""
    config.pluginmanager.register(Skips(), "shahar-skips")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the measures of the house, when the house was tested."""
    tested = terminalreporter.stats.get("passed", [])
    if any("house/test_the_measures" in report.nodeid for report in tested):
        from tests.house import measures

        terminalreporter.section("measures of the house")
        for line in measures.told(measures.measured()):
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Asynchronous tests run on the loop that the platform runs on."""
    return "asyncio", {"use_uvloop": True}
