"""The command: `shahar serve | demo | key | version`. The only place where parts are put together, and the only one
that holds the clock.

Promises: one clear sentence and a non-zero exit when it cannot start (port taken, folder not writable, settings wrong);
a clean stop within 5 s on SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import resource
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO, cast

import structlog
import uvicorn
import uvloop
from prometheus_client import CollectorRegistry

from shahar import __version__, config, keeping, plugins
from shahar.config import Settings
from shahar.model.access import HOUSE
from shahar.model.city import City, Pace
from shahar.model.system import LANGUAGES
from shahar.ports.beside import Beside
from shahar.ports.mqtt import Consumer
from shahar.ports.mqtt_notices import MqttNotices
from shahar.ports.nats import Bounds, Login, NatsServer, hash_key
from shahar.ports.sources import Sources
from shahar.ports.webhooks import Webhooks
from shahar.services.accounts import NEVER, Accounts
from shahar.services.batches import Batches
from shahar.services.broker import Broker
from shahar.services.contexts import Contexts
from shahar.services.credentials import new_local_secret
from shahar.services.deliveries import Senders
from shahar.services.devices import Devices
from shahar.services.entity_maps import EntityMaps
from shahar.services.federation import Federation
from shahar.services.forwarded import Forwarding
from shahar.services.identity import Identity
from shahar.services.notified import Notified
from shahar.services.registration_subscriptions import RegistrationSubscriptions
from shahar.services.registrations import Registrations
from shahar.services.runner import Runner
from shahar.services.subscriptions import Subscriptions
from shahar.services.transience import Transience
from shahar.store import shapes
from shahar.store.db import Database
from shahar.store.lock import owned
from shahar.values.errors import Invalid, NotFound, ShaharError, Unavailable
from shahar.values.instants import SECOND, Instant
from shahar.values.outbound import Outbound
from shahar.web import accounts as account_pages
from shahar.web import dead_letters, docs, figures, forwarded, openapi, operations, resident
from shahar.web import devices as device_pages
from shahar.web.application import Application, Table, pages
from shahar.web.connection import counting
from shahar.web.exchange import Parts
from shahar.web.picture import Picture
from shahar.web.rates import Rates

STATIC: Final = Path(__file__).parent / "web" / "static"
TABLES: Final[tuple[Table, ...]] = (
    account_pages.ROUTES,
    device_pages.ROUTES,
    dead_letters.ROUTES,
    forwarded.ROUTES,
    operations.ROUTES,
    resident.ROUTES,
    docs.ROUTES,
    openapi.ROUTES,
)
STOP_S: Final = 3
SWEEP_S: Final = 3_600
DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "serve": {},
    "demo": {"access": "public-read", "data": Path(".shahar/demo")},
}


def wall() -> Instant:
    """The real clock, microseconds since 1970 UTC; handed down from here as an argument."""
    return time.time_ns() // 1_000


@dataclass(slots=True)
class Scene:
    """A city and its clock; `play` is what goes on beside the server while it runs."""

    city: City
    now: Callable[[], Instant]
    pace: Callable[[], Pace]
    play: Callable[[Devices], AbstractAsyncContextManager[None]] | None = None


def plain_scene() -> Scene:
    """A city as it is: its clock is the wall's."""
    return Scene(City(name=dict.fromkeys(LANGUAGES, "Shahar")), wall, lambda: Pace(at=wall(), wall=wall()))


def demo_scene(settings: Settings) -> Scene:
    """The demo city: its clock begins a week back, its devices speak over the bundled MQTT server."""
    from shahar.demo import stage as demo
    from shahar.demo.clock import Clock
    from shahar.demo.replay import Replay

    if settings.mqtt != "embedded":
        raise Invalid("the demo's devices speak over the embedded MQTT server", field="mqtt", rule="embedded")
    _prepare_folder(settings.data)
    entered = demo.enter(settings.data, settings.region, wall())
    clock = Clock(wall, entered.at, settings.speed, entered.start)

    @asynccontextmanager
    async def play(devices: Devices) -> AsyncIterator[None]:
        keys = await demo.prepare(entered, devices, demo.bar(sys.stderr))
        replay = Replay(entered, keys, clock, host=settings.mqtt_host, port=settings.mqtt_port)
        await replay.start()
        try:
            yield
        finally:
            await replay.stop()

    return Scene(entered.city, clock.now, clock.pace, play)


# -- putting the parts together
# -------------------------------------------------------------------------------------------


@asynccontextmanager
async def house(
    settings: Settings, scene: Scene, registry: CollectorRegistry
) -> AsyncIterator[tuple[Parts, Database, Consumer | None]]:
    """Every part, started in order and stopped in the opposite one."""
    async with AsyncExitStack() as stack:
        db = Database(settings.data / "shahar.db")
        await db.open()
        stack.push_async_callback(db.close)
        webhooks, notices = _doors(settings, stack)
        accounts = _accounts(settings, db, stack)
        contexts = Contexts(db, webhooks.fetch, table=_context_table(settings.contexts), base=_base(settings))
        await contexts.load(scene.now())
        identity = Identity(db)
        await identity.load(scene.now())
        catalogue = _discover(settings)
        broker = Broker(db)
        devices = Devices(db, broker, accounts, catalogue, hash_key)
        await devices.load()
        beside = Beside()
        stack.push_async_callback(beside.close)
        registrations = Registrations(db, scene.now)
        await registrations.start()
        stack.push_async_callback(registrations.stop)
        federation = Federation(registrations, Sources(webhooks), contexts.get, identity.alias)
        entity_maps = EntityMaps(scene.now)
        await entity_maps.start()
        stack.push_async_callback(entity_maps.stop)
        send = Senders({"http": webhooks, "https": webhooks, "mqtt": notices, "mqtts": notices})
        rights = partial(_rights, accounts)
        forwarding = Forwarding(db, federation, contexts.get, scene.now, _address(settings))
        subscriptions = Subscriptions(db, broker, send, contexts.get, scene.now, contexts.imply, rights, forwarding)
        followers = RegistrationSubscriptions(
            db, broker, send, contexts.get, scene.now, partial(_rights, accounts, resource="registrations")
        )
        subscriptions.dead_letters.join(followers.dead_letters)
        runner = Runner(db, scene.now, [subscriptions, followers])
        transience = Transience(broker, scene.now)
        await subscriptions.start()
        await followers.start()
        await runner.start()
        await transience.start()
        stack.push_async_callback(runner.stop)
        stack.push_async_callback(followers.stop)
        stack.push_async_callback(subscriptions.stop)
        stack.push_async_callback(transience.stop)
        told = Notified(db, federation, contexts.get, subscriptions.lanes())
        stack.push_async_callback(told.stop)
        consumer, counts = await _mqtt(settings, devices, scene.now, stack)
        shown = {**scene.city.settings, "mqtt_port": settings.mqtt_port}
        picture = Picture(replace(scene.city, settings=shown), catalogue, broker, runner, scene.pace)
        parts = Parts(
            scene.now,
            wall,
            broker,
            contexts,
            identity,
            accounts,
            subscriptions,
            registrations,
            followers,
            devices,
            runner,
            picture,
            Batches(beside),
            federation,
            entity_maps,
            forwarding,
            told,
        )
        figures.register(registry, db, devices, runner, subscriptions, counts)
        yield parts, db, consumer


def _doors(settings: Settings, stack: AsyncExitStack) -> tuple[Webhooks, MqttNotices]:
    """The ways out to whom strangers name, both behind the same judgement."""
    outbound = Outbound(allow=settings.outbound_allow)
    webhooks, notices = Webhooks(outbound), MqttNotices(outbound)
    stack.push_async_callback(webhooks.close)
    stack.push_async_callback(notices.close)
    return webhooks, notices


def _accounts(settings: Settings, db: Database, stack: AsyncExitStack) -> Accounts:
    """The accounts, and the file by which whoever owns the data folder is an administrator while we run."""
    secret, file = new_local_secret(), settings.data / "local.key"
    accounts = Accounts(db, access=_access(settings), local_secret=secret)
    stack.push_async_callback(accounts.settle)
    _write_private(file, f"http://{_reachable(settings.host)}:{settings.port}\n{secret}\n")
    stack.callback(file.unlink, missing_ok=True)
    return accounts


def _base(settings: Settings) -> str:
    """The address under which programs reach us."""
    return settings.public_url.rstrip("/") or f"http://{_reachable(settings.host)}:{settings.port}"


def _address(settings: Settings) -> str:
    """The address under which sources reach us; empty when we do not know one that others could use."""
    return _base(settings) if settings.public_url or config.is_loopback(settings.host) else ""


async def _rights(
    accounts: Accounts, owner: str, tenant: str, resource: str = "entities"
) -> tuple[frozenset[str] | None, float | None]:
    """What an owner of subscriptions may read (services/owners.Rights), by the wall's clock."""
    types, ends_at = await accounts.reads(owner, tenant, wall(), resource)
    return None if types is None else frozenset(types), None if ends_at >= NEVER else (ends_at - wall()) / SECOND


def _access(settings: Settings) -> Any:
    return settings.access


def _discover(settings: Settings) -> Any:
    found = plugins.discover(settings.systems)
    for failure in found.failures:
        structlog.get_logger("shahar").warning("plugin left out", plugin=failure.name, why=str(failure))
    return found.catalogue


def _context_table(file: Path | None) -> dict[str, Path]:
    if file is None:
        return {}
    try:
        table = json.loads(file.read_text())
        return {str(address): file.parent / path for address, path in table.items()}
    except (OSError, ValueError, AttributeError) as problem:
        raise Unavailable(f"{file} cannot be read as a table of contexts: {problem}") from None


async def _mqtt(
    settings: Settings, devices: Devices, now: Callable[[], Instant], stack: AsyncExitStack
) -> tuple[Consumer | None, dict[str, Counter[str]]]:
    """The MQTT server unless a broker is named or it is off, and our consumer of it; devices are let in when it
    listens.
    """
    if settings.mqtt == "off":
        return None, {}
    nats = None
    if settings.mqtt == "embedded":
        nats = NatsServer(
            settings.data / "nats",
            host=settings.mqtt_host,
            port=settings.mqtt_port,
            bounds=Bounds(sync_interval_s=settings.sync_interval),
        )
        await nats.start()
        stack.push_async_callback(nats.stop)
    url, client = (nats.url, nats.client_id) if nats else (settings.mqtt, "shahar-intake")

    async def receive(device: str, _topic: str, payload: bytes, at: Instant) -> None:
        await devices.take(device, payload, at)

    consumer = Consumer(url, receive, now, client_id=client)
    await consumer.start()
    stack.push_async_callback(consumer.stop)
    if nats is not None:
        await consumer.subscribed()
        server = nats

        async def admit(logins: list[tuple[str, str]]) -> None:
            await server.admit(Login(name, key_hash) for name, key_hash in logins)

        devices.admit = admit
        await admit(devices.logins())
    return consumer, {"messages": consumer.counts} | ({"refused": nats.refusals} if nats else {})


async def run(settings: Settings, scene: Scene) -> None:
    """Serve until told to stop."""
    _prepare_folder(settings.data)
    _allow_many_files()
    listening = _listen(settings)
    registry = CollectorRegistry()
    async with house(settings, scene, registry) as (parts, db, consumer):

        def ready() -> Mapping[str, bool]:
            return {"store": db.running()} | ({"mqtt": consumer.running()} if consumer else {})

        folders = {"/ops/static": STATIC / "ops", "/ops/map": STATIC / "map"}
        application = Application(parts, pages(TABLES, folders, registry, ready), registry, Rates())
        server = _server(application, parts.picture.close)
        async with AsyncExitStack() as play:
            if scene.play is not None:
                await play.enter_async_context(scene.play(parts.devices))
            await _greet(settings, parts)
            sweeping = asyncio.create_task(_sweep(parts))
            await server.serve(sockets=[listening])
            sweeping.cancel()


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handling: that one raises the signal again after serving, and our parts would
    not be stopped.
    """

    ending: Callable[[], None]
    """Told when the end is asked for, so that streams end by themselves."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ask for the end at the first signal, whatever is under way; a second one changes nothing."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, lambda: None)

    def _end(self) -> None:
        self.ending()
        self.should_exit = True


def _server(application: Application, ending: Callable[[], None]) -> uvicorn.Server:
    server = _Server(
        uvicorn.Config(
            application,
            http=counting(application.refused),
            ws="none",
            loop="uvloop",
            lifespan="off",
            access_log=False,
            log_level="error",
            timeout_graceful_shutdown=STOP_S,
            timeout_keep_alive=30,
            server_header=False,
        )
    )
    server.ending = ending
    return server


async def _sweep(parts: Parts) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        await parts.accounts.sweep(wall())
        await parts.broker.db.write(shapes.prune)


async def _greet(settings: Settings, parts: Parts) -> None:
    base = f"http://{_reachable(settings.host)}:{settings.port}"
    print(
        f"Shahar {__version__} is running: {base}/ for residents, {base}/ops for operators, {base}/docs for programs",
        flush=True,
    )
    if settings.mqtt == "embedded":
        print(f"Devices: mqtt://{settings.mqtt_host}:{settings.mqtt_port}, topic up/NAME", flush=True)
    token = await parts.accounts.first_link(wall()) if settings.access != "open" else None
    if token is not None:
        print(f"Become the administrator (once, within 24 h): {base}/welcome?token={token}", flush=True)


def _allow_many_files() -> None:
    """Raise the soft limit on open files to the hard one: each client, stream and delivery is a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _prepare_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as problem:
        raise Unavailable(f"the data folder {folder} cannot be written: {problem.strerror or problem}") from None


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(2048)
    except OSError as problem:
        listening.close()
        raise Unavailable(
            f"cannot listen on {settings.host}:{settings.port}: {problem.strerror};"
            " choose another with SHAHAR_PORT or --port"
        ) from None
    return listening


def _reachable(host: str) -> str:
    if host in {"0.0.0.0", "::"}:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _write_private(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)


# -- keys
# -------------------------------------------------------------------------------------------------------------------


async def make_key(settings: Settings, wish: argparse.Namespace) -> str:
    """A key or a one-time link, made by the running server or, when none runs on this folder, in its store."""
    body = {"label": wish.label, "role": wish.role, "tenant": wish.tenant}
    local = settings.data / "local.key"
    if local.exists() and owned(settings.data / "shahar.db"):
        base, secret = local.read_text().split()
        try:
            return await asyncio.to_thread(_ask, base, secret, wish.link, body, wish.days)
        except urllib.error.URLError as problem:
            if isinstance(problem, urllib.error.HTTPError):
                raise Unavailable(f"the server refused: {json.loads(problem.read())['detail']}") from None
    if not (settings.data / "shahar.db").exists():
        raise NotFound(f"there is no city in {settings.data}; name its folder with --data")
    db = Database(settings.data / "shahar.db")
    await db.open()
    try:
        accounts = Accounts(db, access=_access(settings))
        if wish.link:
            token = await accounts.make_link(wish.role, wish.tenant, wish.label, wall(), by=HOUSE)
            return f"/welcome?token={token}"
        return (await accounts.make_key(wish.label, wish.role, wish.tenant, ("*",), wish.days, wall(), by=HOUSE))[1]
    finally:
        await db.close()


def _ask(base: str, secret: str, link: bool, body: dict[str, Any], days: int) -> str:
    """Ask the running server for a key or a link."""
    request = urllib.request.Request(
        base + ("/api/links" if link else "/api/keys"),
        data=json.dumps(body if link else body | {"days": days}).encode(),
        headers={"authorization": f"Bearer {secret}", "content-type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        told = json.loads(answer.read())
    return str(told.get("link") or told.get("url") or told.get("key") or told.get("secret") or told)


# -- the command
# ----------------------------------------------------------------------------------------------------------------


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
        command.add_argument(
            "--config", type=Path, help=f"settings file (default: {config.FILE} here, when there is one)"
        )
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
            command.add_argument(
                "--role", default="administrator", help="resident, operator, body-head, auditor, administrator"
            )
            command.add_argument("--label", default="made on the command line", help="whose key it is")
            command.add_argument("--tenant", default="", help="the tenant it is for")
            command.add_argument("--days", type=int, default=90, help="days until it ends")
            command.add_argument("--link", action="store_true", help="a one-time link for a browser instead of a key")
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
        return _command(given)
    except ShaharError as problem:
        print(f"shahar: {problem.detail}" + (f" ({problem.rule})" if problem.rule else ""), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _command(given: argparse.Namespace) -> int:
    file = given.config or (Path(config.FILE) if Path(config.FILE).exists() else None)
    options = {name: value for name, value in vars(given).items() if name in config.NAMES}
    settings = config.settings(options, os.environ, file, DEFAULTS.get(given.command, {}))
    _log(settings.log_level)
    if given.command in keeping.COMMANDS:
        return keeping.run(settings.data, given, wall())
    if given.command == "key":
        print(uvloop.run(make_key(settings, given)))
        return 0
    _tend_memory()
    uvloop.run(run(settings, demo_scene(settings) if given.command == "demo" else plain_scene()))
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


def _tend_memory() -> None:
    """Look for garbage less often: what was imported stays, and requests leave little that counting references does
    not free. Python's own rhythm costs a tenth of the processor time (docs/speed.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def _log(level: str) -> None:
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
