"""The rules of the house, held against the package as it stands."""

from __future__ import annotations

import json
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


def declared(*groups: str) -> set[str]:
    """Return the names of the distributions that pyproject.toml asks for: at run time, and in these groups besides."""
    project = tomllib.loads((reading.ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [*project["project"]["dependencies"]]
    wanted += [line for group in groups for line in project["dependency-groups"][group]]
    return {re.split(r"[\s<>=!~;\[]", line)[0].lower() for line in wanted}


def test_what_is_imported_is_declared() -> None:
    expect_none(found for each in reading.package_sources() for found in rules.check_declared(each, declared()))
    expect_none(found for each in reading.test_sources() for found in rules.check_declared(each, declared("dev")))


def declared_by_the_browser_part() -> set[str]:
    """Return what ui/package.json asks for, each as `npm NAME`."""
    package = json.loads((reading.ROOT / "ui" / "package.json").read_text("utf-8"))
    return {f"npm {name}" for part in ("dependencies", "devDependencies") for name in package.get(part, {})}


def test_every_dependency_has_its_why_and_every_why_its_dependency() -> None:
    page = (reading.ROOT / "docs" / "dependencies.md").read_text("utf-8")
    told = {name.lower() for name in re.findall(r"^- \*\*([^*]+)\*\*: \S.{20,}$", page, re.MULTILINE)}
    assert told == declared("dev", "build", "node", "bundle", "client") | declared_by_the_browser_part()
