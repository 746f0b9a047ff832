"""Finding systems and envelopes: what is left out, why, and that the others stay."""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import copytree

import pytest

from shahar import plugins
from shahar.plugins import Found, discover, trespasses

SHIPPED = ("air", "buildings")
BUILDINGS = Path(plugins.__file__).parent / "systems" / "buildings"


def copy(home: Path, key: str = "cellars", type_: str = "CellarObserved") -> Path:
    """A system like `buildings` under another name."""
    folder = home / key
    copytree(BUILDINGS, folder)
    change(folder / "__init__.py", 'key="buildings"', f'key="{key}"')
    change(folder / "__init__.py", '"buildings.elsys', f'"{key}.elsys')
    change(folder / "__init__.py", '"buildings.json', f'"{key}.json')
    change(folder / "elsys.py", '"buildings.elsys', f'"{key}.elsys')
    for name in ("__init__.py", "models.py", "rules.toml", "panels.toml"):
        change(folder / name, "IndoorEnvironmentObserved", type_)
    return folder


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file.name} has no {old}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def keys(found: Found) -> tuple[str, ...]:
    return tuple(one.system.key for one in found.systems)


def test_what_is_in_the_tree_is_found_and_passes() -> None:
    found = discover(installed=False)
    assert (keys(found), found.failures) == (SHIPPED, ())
    assert [one.name for one in found.catalogue.envelopes] == ["chirpstack3", "chirpstack3-hex", "helium", "plain"]


def test_a_folder_elsewhere_is_found_as_well(tmp_path: Path) -> None:
    copy(tmp_path)
    (tmp_path / "_draft").mkdir()
    (tmp_path / "notes").mkdir()
    found = discover(tmp_path, installed=False)
    assert (keys(found), found.failures) == ((*SHIPPED, "cellars"), ())
    assert found.catalogue.decoder("cellars.elsys").decode(b"\x02\x53", 5) == {"humidity": 83}
    assert found.catalogue.word("cellars", "en", "rule.leak") == "Water is leaking"
    assert [rule.key for rule in found.catalogue.rules["cellars"]] == ["leak", "frost"]


def test_a_folder_that_is_not_there_is_no_fault(tmp_path: Path) -> None:
    assert keys(discover(tmp_path / "nowhere", installed=False)) == SHIPPED


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        ("__init__.py", "SYSTEM = System(", "1 / 0\nSYSTEM = System(", "ZeroDivisionError: division by zero"),
        ("__init__.py", "from .elsys import ELSYS", "from .elsys import NOTHING", "ImportError: cannot import name"),
        ("__init__.py", "SYSTEM = System(", "THING = System(", "it has no SYSTEM, a kit.System"),
        ("__init__.py", "HOUR_S = 3600", "raise SystemExit(3)", "SystemExit: 3"),
        ("__init__.py", "kit=1", "kit=2", "it was written for kit 2; this is kit 1"),
        ("__init__.py", 'key="cellars"', 'key="air"', "the system 'air' is there already"),
        ("__init__.py", 'envelope="helium"', 'envelope="pigeon"', "there is no envelope 'pigeon'"),
        ("__init__.py", '"battery": "batteryVoltage"', '"battery": "name"', "is a number in VLT, name has no unit"),
        ("__init__.py", '"co2": "59"', '"co2": "P1"', "percent cannot be told in part per million"),
        ("models.py", '"gas in air", "59"', '"gas in air", "P1"', "CellarObserved.co2: P1 cannot measure gas in air"),
        ("models.py", 'type="CellarObserved"', 'type="WeatherObserved"', "belongs to the system 'air'"),
        ("words/kaa.po", 'msgid "rule.leak"', 'msgid "rule.leek"', "words/kaa.po lacks rule.leak"),
        ("words/ru.po", 'msgstr "Обнаружена протечка"', 'msgstr ""', "words/ru.po lacks rule.leak"),
        ("words/uz.po", 'msgid "rule.leak"', '#, fuzzy\nmsgid "rule.leak"', "words/uz.po lacks rule.leak"),
        ("rules.toml", "for_s = 0", "for_s = 0\nfor_h = 1", "rules.toml: unknown key 'for_h'"),
        ("rules.toml", "[[rule]]", "[[rules]]", "rules.toml holds [[rule]] tables and nothing else"),
        ("rules.toml", "[[rule]]", "[[rule", "rules.toml: "),
        ("panels.toml", '"leaks"', '"lakes"', "panels: there is no indicator 'lakes'"),
    ],
)
def test_a_broken_system_is_left_out_with_its_reason_and_the_others_stay(
    tmp_path: Path, file: str, old: str, new: str, reason: str
) -> None:
    copy(tmp_path, "sound", "SoundObserved")
    change(copy(tmp_path) / file, old, new)
    found = discover(tmp_path, installed=False)
    assert keys(found) == (*SHIPPED, "sound")
    (failure,) = found.failures
    assert any(reason in one for one in failure.reasons), failure.reasons
    assert str(failure).startswith(f"{failure.name} ({tmp_path / 'cellars'}) is left out: ")


@pytest.mark.parametrize(("file", "reason"), [("README.md", "it has no README.md"), ("words/kaa.po", "words/kaa.po")])
def test_a_system_that_lacks_a_file_is_left_out(tmp_path: Path, file: str, reason: str) -> None:
    (copy(tmp_path) / file).unlink()
    (failure,) = discover(tmp_path, installed=False).failures
    assert any(reason in one for one in failure.reasons)


def test_a_mended_folder_is_found_the_next_time(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    change(folder / "__init__.py", "SYSTEM = System(", "1 / 0\nSYSTEM = System(")
    assert len(discover(tmp_path, installed=False).failures) == 1
    change(folder / "__init__.py", "1 / 0\nSYSTEM = System(", "SYSTEM = System(")
    assert keys(discover(tmp_path, installed=False)) == (*SHIPPED, "cellars")


def test_a_system_that_leans_on_one_that_is_left_out_is_left_out_too(tmp_path: Path) -> None:
    change(copy(tmp_path, "aaa", "AaaObserved") / "__init__.py", 'decoder="aaa.json"', 'decoder="zzz.json"')
    change(copy(tmp_path, "zzz", "ZzzObserved") / "__init__.py", 'envelope="helium"', 'envelope="pigeon"')
    found = discover(tmp_path, installed=False)
    assert keys(found) == SHIPPED
    assert [(one.name, one.reasons) for one in found.failures] == [
        ("zzz", ("there is no envelope 'pigeon'",)),
        ("aaa", ("there is no decoder 'zzz.json'",)),
    ]


def test_a_system_may_lean_on_a_decoder_of_one_that_comes_later(tmp_path: Path) -> None:
    change(copy(tmp_path, "aaa", "AaaObserved") / "__init__.py", 'decoder="aaa.json"', 'decoder="zzz.json"')
    copy(tmp_path, "zzz", "ZzzObserved")
    assert keys(discover(tmp_path, installed=False)) == (*SHIPPED, "aaa", "zzz")


def _install(home: Path, name: str, points: str) -> None:
    """What a package manager leaves behind of a package with entry points."""
    told = home / f"{name}-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (told / "entry_points.txt").write_text(points, encoding="utf-8")


def test_an_installed_package_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy(tmp_path, "startup_cellars", "StartupObserved")
    envelope = "from shahar.kit import Envelope, Uplink\n"
    envelope += "ENVELOPES = (Envelope(name='pigeon', parse=lambda body: Uplink(device='', payload=body)),)\n"
    (tmp_path / "startup_pigeon.py").write_text(envelope, encoding="utf-8")
    (tmp_path / "startup_thief.py").write_text(envelope.replace("pigeon", "plain"), encoding="utf-8")
    points = "[shahar.systems]\ncellars = startup_cellars:SYSTEM\ngone = startup_gone:SYSTEM\n"
    _install(tmp_path, "startup", points + "[shahar.envelopes]\npigeon = startup_pigeon\nthief = startup_thief\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = discover()
    assert "startup_cellars" in keys(found)
    assert found.catalogue.envelope("pigeon").parse(b"x").payload == b"x"
    assert [(one.name, one.reasons) for one in found.failures] == [
        ("thief", ("the envelope 'plain' is there already",)),
        ("gone", ("ModuleNotFoundError: No module named 'startup_gone'",)),
    ]
    for name in ("startup_cellars", "startup_pigeon", "startup_thief"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from shahar.kit import System\nimport json\nfrom .models import X\nfrom collections.abc import Mapping", []),
        ("import os", ["x.py:1 imports os"]),
        ("from pathlib import Path", ["x.py:1 imports pathlib"]),
        ("from shahar.services import broker", ["x.py:1 imports shahar.services"]),
        ("import shahar.kit\nimport shahar.store", ["x.py:2 imports shahar.store"]),
        ("from ..air import SYSTEM", ["x.py:1 reaches above its folder"]),
        ("def f():\n    import requests", ["x.py:2 imports requests"]),
        ("open('x')", ["x.py:1 calls open"]),
        ("eval('1')", ["x.py:1 calls eval"]),
    ],
)
def test_code_that_leaves_its_folder_is_seen(source: str, expected: list[str]) -> None:
    assert trespasses(source, "x.py") == expected
