"""What every city system promises, asked of each that is discovered: a new folder is tested with no line added here.

`SHAHAR_TEST_SYSTEMS_DIR` names one more folder of systems to be tested, as a startup does with its own.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path
from shutil import copyfile, copytree, ignore_patterns

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shahar import kit, plugins
from shahar.kit import LANGUAGES, Decoder, Invalid, Profile, faults, profile_faults, words_of
from shahar.model.story import Sample, Story, run
from shahar.plugins import Loaded
from shahar.values import instants

ROOT = Path(__file__).parents[2]
EXTRA = os.environ.get("SHAHAR_TEST_SYSTEMS_DIR")
FOUND = plugins.discover(Path(EXTRA) if EXTRA else None)
CATALOGUE = FOUND.catalogue
SAMPLES = {loaded.system.key: plugins.samples(loaded.folder) for loaded in FOUND.systems}

systems = pytest.mark.parametrize("loaded", FOUND.systems, ids=lambda one: one.system.key)
decoders = pytest.mark.parametrize(
    "decoder", [one for loaded in FOUND.systems for one in loaded.system.decoders], ids=lambda one: one.name
)
profiles = pytest.mark.parametrize(
    "profile", [one for loaded in FOUND.systems for one in loaded.system.profiles], ids=lambda one: one.name
)
samples = pytest.mark.parametrize(
    "sample", [pytest.param(one, id=f"{key}/{one.name}") for key, told in SAMPLES.items() for one in told.values()]
)
messages = pytest.mark.parametrize(
    ("profile", "sample"),
    [
        pytest.param(CATALOGUE.profile(one.profile), one, id=f"{key}/{one.name}")
        for key, told in SAMPLES.items()
        for one in told.values()
        if one.profile is not None
    ],
)
stories = pytest.mark.parametrize(
    ("key", "story"),
    [
        pytest.param(loaded.system.key, story, id=f"{loaded.system.key}/{story.name}")
        for loaded in FOUND.systems
        for story in plugins.stories(loaded.folder)
    ],
)


def test_every_plugin_that_is_found_passes() -> None:
    assert [str(failure) for failure in FOUND.failures] == []
    assert {"air", "buildings"} <= {loaded.system.key for loaded in FOUND.systems}


@systems
def test_a_system_is_sound(loaded: Loaded) -> None:
    assert faults(loaded.system, loaded.rules, loaded.panels) == []


@systems
def test_a_system_tells_what_it_is_and_where_its_samples_come_from(loaded: Loaded) -> None:
    assert len((loaded.folder / "README.md").read_text(encoding="utf-8")) > 200
    assert (loaded.folder / "samples" / "SOURCE.md").is_file()
    assert any(key == loaded.system.key for key, told in SAMPLES.items() if told)


@systems
def test_a_system_imports_kit_and_its_own_folder_alone(loaded: Loaded) -> None:
    for file in sorted(loaded.folder.rglob("*.py")):
        assert plugins.trespasses(file.read_text(encoding="utf-8"), str(file.relative_to(loaded.folder))) == []


@systems
def test_every_word_of_a_system_is_in_every_language_and_no_other(loaded: Loaded) -> None:
    wanted = set(words_of(loaded.system, loaded.rules))
    assert {language: set(told) for language, told in loaded.words.items()} == dict.fromkeys(LANGUAGES, wanted)


@systems
def test_words_are_written_with_the_letters_of_their_language(loaded: Loaded) -> None:
    for key, word in (*loaded.words["uz"].items(), *loaded.words["kaa"].items()):
        assert not re.search("['`‘’]", word), f"{key}: oʻ and gʻ take U+02BB, the stop takes U+02BC: {word}"
    for language in ("uz-Cyrl", "ru"):
        assert any(re.search("[а-яА-Я]", word) for word in loaded.words[language].values())


@decoders
def test_every_decoder_has_a_sample(decoder: Decoder) -> None:
    used = {CATALOGUE.profile(one.profile).decoder if one.profile else one.decoder for one in _all_samples()}
    assert decoder.name in used


@profiles
def test_every_profile_has_a_sample_and_feeds_attributes_that_exist(profile: Profile) -> None:
    assert profile_faults(CATALOGUE, profile) == []
    assert profile.name in {one.profile for one in _all_samples()}


@samples
def test_a_sample_decodes_as_written(sample: Sample) -> None:
    decoder, uplink = _opened(sample)
    values = kit.decode(decoder, uplink)
    assert values == dict(sample.values)
    assert {_plain(name) for name in values} <= {_plain(name) for name in decoder.units}
    assert all(math.isfinite(value) for value in values.values() if isinstance(value, int | float))


@messages
def test_a_sample_yields_the_uplink_and_the_attributes_that_it_names(profile: Profile, sample: Sample) -> None:
    reading = kit.read(CATALOGUE, profile, sample.message)
    at = reading.uplink.at
    told = {
        "device": reading.uplink.device,
        "at": None if at is None else instants.text(at),
        "fport": reading.uplink.fport,
        "rssi": reading.uplink.rssi,
        "snr": reading.uplink.snr,
    }
    assert {name: told[name] for name in sample.uplink} == dict(sample.uplink)
    measured = {one.attribute.name: {"value": one.value, "unit": one.attribute.unit} for one in reading.measurements}
    assert measured == {name: dict(wanted) for name, wanted in sample.entity.items()}
    assert [one.name for one in reading.refused] == list(sample.refused)


@messages
def test_a_measurement_becomes_an_instance_with_its_instant_and_unit(profile: Profile, sample: Sample) -> None:
    for one in kit.read(CATALOGUE, profile, sample.message).measurements:
        instance = one.instance(1_700_000_000_000_000)
        assert instance["observedAt"] == 1_700_000_000_000_000
        assert instance["value"] == one.value
        assert instance.get("unitCode") == one.attribute.unit


@decoders
@settings(max_examples=200, deadline=None)
@given(payload=st.binary(max_size=300), fport=st.none() | st.integers(0, 255))
def test_random_bytes_raise_only_invalid(decoder: Decoder, payload: bytes, fport: int | None) -> None:
    try:
        values = decoder.decode(payload, fport)
    except Invalid:
        return
    assert all(isinstance(value, int | float | str) for value in values.values())
    assert values == decoder.decode(payload, fport)


@decoders
@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.integers(0, 300), of=st.integers(0, 1000))
def test_a_damaged_payload_raises_only_invalid(decoder: Decoder, place: int, byte: int, cut: int, of: int) -> None:
    whole = [uplink.read_by(told) for told, uplink in map(_opened, _all_samples()) if told.name == decoder.name]
    damaged = bytearray(whole[of % len(whole)][:cut])
    if damaged:
        damaged[place % len(damaged)] = byte
    try:
        decoder.decode(bytes(damaged), None)
    except Invalid:
        return


@stories
def test_a_story_holds(key: str, story: Story) -> None:
    assert run(story, CATALOGUE, SAMPLES[key]) == []


def test_every_name_of_the_kit_is_documented() -> None:
    page = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)", page, re.MULTILINE)) == set(kit.__all__)


def test_every_name_of_the_kit_is_there() -> None:
    assert [name for name in kit.__all__ if not hasattr(kit, name)] == []


def test_a_third_system_in_one_more_folder_is_found_beside_the_others(tmp_path: Path) -> None:
    write_third_system(tmp_path / "zz_probe")
    found = plugins.discover(tmp_path)
    assert found.failures == ()
    assert [loaded.system.key for loaded in found.systems] == [*(one.system.key for one in FOUND.systems), "zz_probe"]
    profile = found.catalogue.profile("zz_probe.meter")
    reading = kit.read(found.catalogue, profile, b'{"level": 250}')
    assert [(one.attribute.name, one.value) for one in reading.measurements] == [("fillingLevel", 2.5)]
    assert found.catalogue.word("zz_probe", "kaa", "zz.title") == "zz.title in kaa"


def test_a_third_system_as_one_folder_brings_its_contract_tests_with_no_other_file_touched(tmp_path: Path) -> None:
    left_out = ignore_patterns("__pycache__", "static", "demo", "node_modules")
    copytree(ROOT / "src" / "shahar", tmp_path / "src" / "shahar", ignore=left_out)
    (tmp_path / "tests" / "contract").mkdir(parents=True)
    copyfile(Path(__file__), tmp_path / "tests" / "contract" / Path(__file__).name)
    copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    before = _pytest(tmp_path, "--collect-only")
    write_third_system(tmp_path / "src" / "shahar" / "systems" / "zz_probe")
    after = _pytest(tmp_path, "--collect-only")
    new = set(after.splitlines()) - set(before.splitlines())
    assert "test_a_story_holds[zz_probe/full.story]" in " ".join(new)
    assert sum("zz_probe" in line for line in new) >= 12
    assert "zz_probe" not in before
    assert re.search(r"(\d+) passed", _pytest(tmp_path, "-k", "zz_probe"))


def _all_samples() -> list[Sample]:
    return [one for told in SAMPLES.values() for one in told.values()]


def _opened(sample: Sample) -> tuple[Decoder, kit.Uplink]:
    """The decoder of a sample and what it is given."""
    if sample.profile is not None:
        profile = CATALOGUE.profile(sample.profile)
        return CATALOGUE.decoder(profile.decoder), CATALOGUE.envelope(profile.envelope).parse(sample.message)
    assert sample.decoder is not None
    uplink = kit.Uplink(device="", payload=sample.message, object=sample.message, fport=sample.fport)
    return CATALOGUE.decoder(sample.decoder), uplink


def _plain(name: str) -> str:
    """A decoded name without the number that tells several of its kind apart."""
    return re.sub(r"_\d+$", "", name)


def _pytest(home: Path, *options: str) -> str:
    """What pytest says of the contract tests in a copy of the tree."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("SHAHAR_", "PYTEST_"))}
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contract/test_systems.py", *options],
        cwd=home,
        env=known | {"PYTHONPATH": str(home / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


THIRD_SYSTEM = '''"""A third system: how full a bin is. It exists in this test alone."""

from __future__ import annotations

from shahar.kit import Attribute, Decoder, Indicator, Model, Profile, System, numbers, own

SYSTEM = System(
    key="zz_probe",
    kit=1,
    title="zz.title",
    about="zz.about",
    icon="M4 7h16M6 7l1 14h10l1-14M9 4h6",
    models=(
        Model(
            type="ProbeBin",
            iri=own("ProbeBin"),
            title="zz.bin",
            attributes=(
                Attribute(
                    name="fillingLevel",
                    iri=own("fillingLevel"),
                    title="zz.level",
                    quantity="level of water",
                    unit="MTR",
                    low=0,
                    high=4,
                ),
            ),
        ),
    ),
    decoders=(
        Decoder(
            name="zz_probe.level",
            reads="object",
            decode=numbers({"level": "level"}),
            units={"level": "CMT"},
            source="this test",
        ),
    ),
    indicators=(
        Indicator(
            key="full",
            title="zz.full",
            type="ProbeBin",
            attribute="fillingLevel",
            statistic="max",
            unit="MTR",
            fresh_s=3600,
        ),
    ),
    profiles=(
        Profile(
            name="zz_probe.meter",
            envelope="plain",
            decoder="zz_probe.level",
            type="ProbeBin",
            attributes={"level": "fillingLevel"},
        ),
    ),
)
'''


def write_third_system(folder: Path) -> None:
    """A whole system in one folder."""
    for part in ("words", "samples", "stories"):
        (folder / part).mkdir(parents=True)
    (folder / "__init__.py").write_text(THIRD_SYSTEM, encoding="utf-8")
    (folder / "README.md").write_text("# A probe\n\n" + "It measures how full a bin is. " * 10, encoding="utf-8")
    (folder / "samples" / "SOURCE.md").write_text("- one: made for this test\n", encoding="utf-8")
    sample = '{"made": true, "profile": "zz_probe.meter", "message": {"level": 90}, "values": {"level": 90},'
    sample += ' "entity": {"fillingLevel": {"value": 0.9, "unit": "MTR"}}}'
    (folder / "samples" / "one.json").write_text(sample, encoding="utf-8")
    story = "story A bin fills up\ndevice bin zz_probe.meter\n08:00 uplink bin one.json\n"
    story += "08:10 expect bin fillingLevel = 90 CMT\n08:11 refuse bin {\n"
    (folder / "stories" / "full.story").write_text(story, encoding="utf-8")
    for language in LANGUAGES:
        script = "слово на" if language in ("uz-Cyrl", "ru") else "in"
        keys = ("title", "about", "bin", "level", "full")
        rows = [f'msgid "zz.{key}"\nmsgstr "zz.{key} {script} {language}"\n' for key in keys]
        header = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n\n'
        (folder / "words" / f"{language}.po").write_text(header + "\n".join(rows), encoding="utf-8")
