"""The command: `shahar serve | demo | key | backup | ... | version`; the only room that holds the clock.

Promises: one clear sentence and a non-zero exit when something cannot be done; a command waits for no part of the house
that it does not need.
Does not: put parts together (assembly.py) or serve (serving.py).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, TextIO, cast

from shahar import __version__, bundle, config, keeping, keys, workers
from shahar.config import Settings
from shahar.progress import bar
from shahar.values.errors import Invalid, ShaharError, Unavailable
from shahar.values.instants import Instant

DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "serve": {},
    "demo": {"access": "public-read", "data": Path(".shahar/demo")},
}


def wall() -> Instant:
    """The real clock, microseconds since 1970 UTC; handed down from here as an argument."""
    return time.time_ns() // 1_000


def parser() -> argparse.ArgumentParser:
    """The command line, made from the settings' table."""
    top = argparse.ArgumentParser(
        prog="shahar", description="An open ICT platform for smart cities.", allow_abbrev=False
    )
    commands = top.add_subparsers(dest="command", required=True)
    for name, text in (
        ("serve", "serve a city"),
        ("demo", "serve the demo city, which plays by itself"),
        ("key", "make an API key or a one-time link"),
        *keeping.COMMANDS.items(),
    ):
        command = commands.add_parser(name, help=text, allow_abbrev=False)
        text = f"settings file (default: ${config.FILE_NAMED}, else {config.FILE} here, when there is one)"
        command.add_argument("--config", type=Path, help=text)
        for setting in fields(Settings):
            if name not in DEFAULTS and setting.name != "data":
                continue
            command.add_argument(
                "--" + setting.name.replace("_", "-"),
                dest=setting.name,
                default=argparse.SUPPRESS,
                help=setting.metadata["help"],
            )
        if name in keeping.COMMANDS:
            keeping.arguments(name, command)
        if name == "key":
            keys.arguments(command)
    bundling = commands.add_parser("bundle", help="make one file that installs this version without internet")
    bundle.arguments(bundling)
    commands.add_parser("version", help="print the version")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    given, unknown = parser().parse_known_args(arguments)
    try:
        for option in unknown:
            if option.startswith("--"):
                config.check_name(option[2:].partition("=")[0].replace("-", "_"), option.partition("=")[0])
            raise Unavailable(f"{option} is not understood here; see shahar {given.command} --help")
        if given.command == "version":
            print(f"shahar {__version__}")
            return 0
        if given.command == "bundle":
            return _bundle(given)
        return _command(given)
    except ShaharError as problem:
        print(f"shahar: {problem.detail}" + (f" ({problem.rule})" if problem.rule else ""), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _command(given: argparse.Namespace) -> int:
    file = given.config or config.file(os.environ)
    options = {name: value for name, value in vars(given).items() if name in config.NAMES}
    settings = config.settings(options, os.environ, file, DEFAULTS.get(given.command, {}))
    _log(settings.log_level)
    if given.command in keeping.COMMANDS:
        return keeping.run(settings, given, wall())
    if given.command == "key":
        return _key(settings, given)
    return _serve(settings, demo=given.command == "demo")


def _bundle(given: argparse.Namespace) -> int:
    pythons = [one.strip() for one in given.pythons.split(",")]
    made = bundle.make(given.file.absolute(), pythons, given.machine, bar(sys.stderr), given.wheels)
    print(f"{given.file}: {made.bytes / 1e6:.1f} MB, {made.wheels} wheels, sha256 {made.sha256}")
    print(f"take it to the machine, and there: sudo sh {given.file.name}")
    return 0


def _key(settings: Settings, given: argparse.Namespace) -> int:
    print(asyncio.run(keys.make(settings, given, wall())))
    return 0


def _serve(settings: Settings, *, demo: bool) -> int:
    if settings.workers > 1 and workers.WORKER not in os.environ:
        if demo or not settings.database:
            raise Invalid(
                "several processes cannot work on one SQLite file, nor play one demo",
                field="workers",
                rule="1, or shahar serve with --database postgresql://...",
            )
        return workers.keep(settings, sys.argv[1:])
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until serving listens to it
    gc.disable()  # what is imported stays: looking for garbage meanwhile takes a tenth of a start (see serving)
    import uvloop

    from shahar import scenes, serving

    workers.prepare_folder(settings.data)
    scene = scenes.demo(settings, wall) if demo else scenes.plain(wall)
    uvloop.run(serving.run(settings, scene, wall, workers.place()))
    return 0


class _Stderr:
    """Where log lines go. One that cannot be written (the disk is full, nobody reads any more) is lost: a log line must
    not undo the act that it tells of.
    """

    def write(self, text: str) -> int:
        try:
            return sys.stderr.write(text)
        except (OSError, ValueError):
            return len(text)

    def flush(self) -> None:
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            return


def _log(level: str) -> None:
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Stderr())),
        cache_logger_on_first_use=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
