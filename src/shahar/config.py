"""One frozen record of settings, from three places with one name each: option `--mqtt-port`, `SHAHAR_MQTT_PORT`,
`mqtt_port` in shahar.toml (or the file that SHAHAR_CONFIG names).

Promises: an option wins over the environment, the environment over the file, the file over the default; an unknown
name is an error that names the nearest known one; a value of the wrong kind says which. `SHAHAR_TEST_*` belongs to
the tests and is passed over.
Refuses: settings that change while we run; secrets on the command line.
"""

from __future__ import annotations

import difflib
import ipaddress
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, get_type_hints
from urllib.parse import urlsplit

from shahar.values.errors import Invalid

PREFIX: Final = "SHAHAR_"
HOT_DAYS: Final = 36_525
TEST_PREFIX: Final = "SHAHAR_TEST_"
FILE: Final = "shahar.toml"
FILE_NAMED: Final = "SHAHAR_CONFIG"
STORE: Final = "shahar.db"
WORKERS_MAX: Final = 64


def _setting(default: Any, text: str, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set; each field's metadata holds its sentence of help."""

    host: str = _setting("127.0.0.1", "address to listen on for HTTP")
    port: int = _setting(8080, "port to listen on for HTTP")
    workers: int = _setting(1, "processes that serve together; several need a database that is shared")
    public_url: str = _setting("", "address under which programs reach us, such as https://city.example")
    tls_certificate: Path | None = _setting(None, "PEM file of the certificate and its chain: HTTP becomes HTTPS")
    tls_key: Path | None = _setting(None, "PEM file of its key")
    proxies: tuple[str, ...] = _setting(
        (), "addresses or networks (by comma) of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed"
    )
    data: Path = _setting(Path("data"), "folder of everything that is kept")
    database: str = _setting("", "postgresql://user@host/name that keeps the city, instead of a file in the folder")
    mqtt: str = _setting("embedded", "embedded, off, or the mqtt://user:password@host:port of a broker")
    mqtt_host: str = _setting("127.0.0.1", "address on which the embedded MQTT server listens")
    mqtt_port: int = _setting(1883, "port of the embedded MQTT server")
    sync_interval: float = _setting(1.0, "seconds of acknowledged MQTT messages that a power cut may cost")
    contexts: Path | None = _setting(None, "JSON file {address: path} of @context documents that are read from disk")
    access: Literal["closed", "public-read", "open"] = _setting(
        "closed",
        "who may without a credential: closed, public-read, open (loopback only)",
        ("closed", "public-read", "open"),
    )
    outbound_allow: tuple[str, ...] = _setting(
        (), "networks (CIDR, by comma) that we may send to although they are private"
    )
    hot_days: int = _setting(7, "whole days of history that stay in the store before they are sealed in the lake")
    systems: Path | None = _setting(None, "folder with more city systems")
    speed: float = _setting(60.0, "demo: how fast its clock goes until it meets the present")
    region: str = _setting("", "demo: SOATO code of the unit in which a simulated town is drawn")
    log_level: str = _setting("info", "debug, info, warning, error", ("debug", "info", "warning", "error"))

    def __post_init__(self) -> None:
        for setting in fields(self):
            choices = setting.metadata["choices"]
            if choices and getattr(self, setting.name) not in choices:
                raise Invalid(
                    f"{setting.name} is {getattr(self, setting.name)!r}", field=setting.name, rule=", ".join(choices)
                )
        for name in ("port", "mqtt_port"):
            if not 1 <= getattr(self, name) <= 65_535:
                raise Invalid(f"{name} is {getattr(self, name)}", field=name, rule="1 to 65535")
        if not 1 <= self.hot_days <= HOT_DAYS:
            raise Invalid(f"hot_days is {self.hot_days}", field="hot_days", rule=f"1 to {HOT_DAYS}")
        if not 1 <= self.workers <= WORKERS_MAX:
            raise Invalid(f"workers is {self.workers}", field="workers", rule=f"1 to {WORKERS_MAX}")
        if self.access == "open" and not is_loopback(self.host):
            raise Invalid(
                "open access is for this machine alone", field="access", rule="host 127.0.0.1, ::1 or localhost"
            )
        for name in ("outbound_allow", "proxies"):
            for network in getattr(self, name):
                _check_network(network, name)
        if (self.tls_certificate is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_certificate"
            raise Invalid("a certificate needs its key, and a key its certificate", field=missing, rule="both or none")

        if self.database and not self.database.startswith(("postgresql://", "postgres://")):
            raise Invalid("the database is not an address", field="database", rule="postgresql://user@host/name")

    @property
    def store(self) -> Path | str:
        """Where the city's state is: a file, or the address of a database."""
        return self.database or self.data / STORE

    @property
    def local_base(self) -> str:
        """The address under which this machine reaches us."""
        host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(self.host, self.host)
        scheme = "https" if self.tls_certificate else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def base(self) -> str:
        """The address under which programs reach us."""
        return self.public_url.rstrip("/") or self.local_base

    @property
    def address(self) -> str:
        """The address under which sources reach us; empty when we do not know one that others could use."""
        return self.base if self.public_url or is_loopback(self.host) else ""


def _check_network(network: str, field: str) -> None:
    try:
        ipaddress.ip_network(network)
    except ValueError:
        raise Invalid(f"{network!r} is not a network", field=field, rule="such as 127.0.0.0/8") from None


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


NAMES: Final = tuple(setting.name for setting in fields(Settings))


def file(environment: Mapping[str, str]) -> Path | None:
    """The settings file when no option names one: that of SHAHAR_CONFIG, else the one here, when there is one."""
    named = environment.get(FILE_NAMED)
    return Path(named) if named else Path(FILE) if Path(FILE).exists() else None


def settings(
    options: Mapping[str, Any], environment: Mapping[str, str], file: Path | None, defaults: Mapping[str, Any]
) -> Settings:
    """The settings from options (given ones only), environment and file, over a command's own `defaults`. Invalid."""
    found = dict(defaults)
    found |= _from_file(file) if file is not None else {}
    for name, value in environment.items():
        if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and name != FILE_NAMED:
            key = name[len(PREFIX) :].lower()
            check_name(key, name)
            found[key] = _convert(key, value)
    if urlsplit(str(options.get("database", ""))).password:
        rule = "SHAHAR_DATABASE, the settings file, or PGPASSFILE"
        raise Invalid("a password on the command line is seen by everybody", field="database", rule=rule)
    for key, value in options.items():
        check_name(key, "--" + key.replace("_", "-"))
        found[key] = _convert(key, value)
    return Settings(**found)


def _from_file(file: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise Invalid(f"{file} cannot be read: {problem.strerror}", field="config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise Invalid(f"{file} is not TOML: {problem}", field=str(file)) from None
    for key in table:
        check_name(key, f"{key} in {file}")
    return {key: _convert(key, value) for key, value in table.items()}


def check_name(key: str, shown: str) -> None:
    """Invalid, naming the nearest known setting, when there is none of this name."""
    if key in NAMES:
        return
    near = difflib.get_close_matches(key, NAMES, 1, 0.0)
    raise Invalid(f"there is no setting {shown}; the nearest is {near[0]}", field=key, rule="see shahar serve --help")


def _convert(key: str, value: Any) -> Any:
    wanted = get_type_hints(Settings)[key]
    try:
        if wanted is int:
            return int(value)
        if wanted is float:
            return float(value)
        if wanted in (Path, Path | None):
            return Path(value).expanduser()
        if wanted == tuple[str, ...]:
            return _list(value)
        return str(value)
    except (TypeError, ValueError):
        raise Invalid(
            f"{key} is {value!r}", field=key, rule=f"a value of kind {getattr(wanted, '__name__', wanted)}"
        ) from None


def _list(value: Any) -> tuple[str, ...]:
    parts: Sequence[Any] = value.split(",") if isinstance(value, str) else value
    return tuple(str(part).strip() for part in parts if str(part).strip())
