"""Settings: one name in three places, the nearest named when unknown, kinds checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shahar import config
from shahar.config import Settings, settings
from shahar.values.errors import Invalid


def found(
    options: dict[str, Any] | None = None, environment: dict[str, str] | None = None, file: Path | None = None
) -> Settings:
    """The settings of these sources."""
    return settings(options or {}, environment or {}, file, {})


def test_an_option_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "shahar.toml"
    file.write_text('port = 1000\nhost = "localhost"\nmqtt_port = 1001\n')
    made = found({"port": "3000"}, {"SHAHAR_PORT": "2000", "SHAHAR_MQTT_PORT": "2001"}, file)
    assert (made.port, made.mqtt_port, made.host) == (3000, 2001, "localhost")


@pytest.mark.parametrize("wrong", [{"environment": {"SHAHAR_PROT": "1"}}, {"options": {"prot": "1"}}])
def test_an_unknown_name_is_told_the_nearest(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="the nearest is port"):
        found(**wrong)


def test_the_environment_names_the_file_else_it_is_the_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.file({}) is None
    Path(config.FILE).touch()
    assert config.file({}) == Path(config.FILE)
    assert config.file({"SHAHAR_CONFIG": "/etc/x.toml"}) == Path("/etc/x.toml")
    assert found(environment={"SHAHAR_CONFIG": "/etc/x.toml"}) == Settings(), "it is no setting itself"


def test_an_unknown_name_in_the_file_is_told_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "shahar.toml").write_text("acess = 'open'")
    with pytest.raises(Invalid, match="the nearest is access"):
        found(file=tmp_path / "shahar.toml")


def test_the_tests_own_names_are_passed_over() -> None:
    assert found(environment={"SHAHAR_TEST_FAULT_ROUNDS": "3"}) == Settings()


@pytest.mark.parametrize(
    "options",
    [
        {"port": "x"},
        {"port": "0"},
        {"port": "70000"},
        {"access": "everybody"},
        {"access": "open", "host": "0.0.0.0"},
        {"outbound_allow": "here"},
        {"speed": "fast"},
    ],
)
def test_a_wrong_value_is_refused_by_name(options: dict[str, str]) -> None:
    with pytest.raises(Invalid) as refusal:
        found(options)
    assert refusal.value.field in options and refusal.value.rule


def test_a_list_is_told_by_commas() -> None:
    assert found({"outbound_allow": "127.0.0.0/8, 10.0.0.0/8"}).outbound_allow == ("127.0.0.0/8", "10.0.0.0/8")
