"""The rules of the house, held against the package as it stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable

import pytest

from tests.house import reading, rules
from tests.house.rules import Finding


def expect_none(found: Iterable[Finding]) -> None:
    listed = sorted({str(each) for each in found})
    assert not listed, f"{len(listed)} places break this rule:\n" + "\n".join(listed)


@pytest.mark.parametrize("rule", rules.CHECKERS, ids=lambda rule: rule.__name__.removeprefix("check_"))
def test_the_package_keeps_the_rule(rule: rules.Checker) -> None:
    expect_none(found for source in reading.package_sources() for found in rule(source))


@pytest.mark.parametrize(
    "rule",
    [rules.check_suppressions, rules.check_fences, rules.check_docstrings, rules.check_annotations],
    ids=lambda rule: rule.__name__.removeprefix("check_"),
)
def test_tests_and_scripts_keep_the_rule(rule: rules.Checker) -> None:
    expect_none(found for source in reading.test_sources() for found in rule(source))


def test_doors_open_downwards_only() -> None:
    rooms = [source.room for source in reading.package_sources()]
    expect_none(found for source in reading.package_sources() for found in rules.check_floors(source, rooms))


def test_no_rooms_import_each_other_in_a_circle() -> None:
    assert rules.cycles(rules.import_graph(reading.package_sources())) == []


def test_core_rooms_name_no_system() -> None:
    systems = reading.systems()
    expect_none(found for source in reading.package_sources() for found in rules.check_system_names(source, systems))


def test_texts_of_core_rooms_name_no_city_and_no_vendor() -> None:
    found: list[Finding] = []
    for path in reading.committed_files():
        if path.is_relative_to(reading.PACKAGE_FOLDER) and path.suffix in {
            ".toml",
            ".sql",
            ".json",
            ".html",
            ".css",
            ".js",
        }:
            inner = path.relative_to(reading.PACKAGE_FOLDER).with_suffix("")
            if inner.parts[:2] != ("web", "static"):  # the map's names of places are its contents
                found += rules.proper_names(".".join(inner.parts), reading.text_of(path))
    expect_none(found)


def test_committed_files_name_no_machine_and_no_registry() -> None:
    files = reading.committed_files()
    expect_none(
        found
        for path in files
        for found in rules.machine_traces(str(path.relative_to(reading.ROOT)), reading.text_of(path))
    )


def test_every_dependency_has_its_why_and_every_why_its_dependency() -> None:
    project = tomllib.loads((reading.ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    wanted += [line for group in project["dependency-groups"].values() for line in group]
    declared = {re.split(r"[\s<>=!~;\[]", line)[0].lower() for line in wanted}
    told = re.findall(
        r"^- \*\*([^*]+)\*\*: \S.{20,}$", (reading.ROOT / "docs" / "dependencies.md").read_text("utf-8"), re.MULTILINE
    )
    browser = reading.ROOT / "ui" / "package.json"
    if browser.is_file():
        declared |= {
            f"npm {name}" for name in re.findall(r'"([^"]+)": "[\^~]?\d', declared_part(reading.text_of(browser)))
        }
    assert {name.lower() for name in told} == declared


def declared_part(package: str) -> str:
    """Return the part of a package.json that lists dependencies."""
    return "".join(re.findall(r'"(?:devD|d)ependencies": \{[^}]*\}', package))
