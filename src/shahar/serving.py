"""A city on the wire: listens, serves until it is told to stop, and stops its parts in order.

Promises: one clear sentence when it cannot start (port taken, folder not writable); a clean stop within 5 s on SIGTERM
or SIGINT, whatever is under way.
Does not: put parts together (assembly.py); hold a clock (`wall` comes from main).
"""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
import uvicorn
from prometheus_client import CollectorRegistry

from shahar import __version__, assembly
from shahar.config import Settings
from shahar.scenes import Scene
from shahar.store import shapes
from shahar.values.instants import SECOND, Instant
from shahar.web import accounts, dead_letters, devices, docs, forwarded, openapi, operations, resident, retention
from shahar.web.application import Application, Table, pages
from shahar.web.connection import counting
from shahar.web.exchange import Parts
from shahar.web.rates import Rates
from shahar.workers import Place, listen, tell

if TYPE_CHECKING:
    from shahar.tls import Pair

STATIC: Final = Path(__file__).parent / "web" / "static"
FOLDERS: Final = {"/ops/static": STATIC / "ops", "/ops/map": STATIC / "map"}
TABLES: Final[tuple[Table, ...]] = (
    accounts.ROUTES,
    devices.ROUTES,
    dead_letters.ROUTES,
    forwarded.ROUTES,
    retention.ROUTES,
    operations.ROUTES,
    resident.ROUTES,
    docs.ROUTES,
    openapi.ROUTES,
)
STOP_S: Final = 3
SWEEP_S: Final = 3_600
CLOCK_S: Final = 2.0
STEP_S: Final = 30.0
"""From how many seconds on a step of the clock is said: less is an honest clock that is being put right."""

log = structlog.get_logger(__name__)

Clock = Callable[[], Instant]


async def run(settings: Settings, scene: Scene, wall: Clock, place: Place | None = None) -> None:
    """Serve until told to stop, alone or as one of several. `settings.data` is there and can be written."""
    _tend_memory()
    _allow_many_files()
    pair = _pair(settings)
    listening = place.listening if place else listen(settings)
    registry = CollectorRegistry()
    async with assembly.house(settings, scene, wall, registry, place.secret if place else None) as house:
        parts = house.parts
        application = Application(parts, pages(TABLES, FOLDERS, registry, house.ready), registry, Rates())
        server = _server(settings, application, parts.picture.close, pair)
        async with AsyncExitStack() as play:
            if scene.play is not None:
                await play.enter_async_context(scene.play(parts.devices))
            if place is None or place.number == 0:
                await _greet(settings, parts, wall)
            if place is not None:
                server.alone = False
                place.on_end(server.end)
            beside = [asyncio.create_task(_sweep(parts, wall)), asyncio.create_task(_watch_clock(wall))]
            if pair is not None:
                beside.append(asyncio.create_task(pair.watch()))
            await server.serve(sockets=[listening])
            for task in beside:
                task.cancel()


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handling: that one raises the signal again after serving, and our parts would
    not be stopped.
    """

    ending: Callable[[], None]
    """Told when the end is asked for, so that streams end by themselves."""
    alone = True
    """Whether this process is the service; else its keeper is (workers.py)."""
    again: Callable[[], None]
    """Told at SIGUSR1: look at the certificate again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ask for the end at the first signal, whatever is under way; a second one changes nothing."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)
        loop.add_signal_handler(signal.SIGUSR1, lambda: self.again())
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
                loop.add_signal_handler(number, lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and tell whoever started us."""
        await super().startup(sockets)
        if self.alone:
            tell("READY=1")

    def end(self) -> None:
        """Ask for the end."""
        if self.alone:
            tell("STOPPING=1")
        self.ending()
        self.should_exit = True


def _server(settings: Settings, application: Application, ending: Callable[[], None], pair: Pair | None) -> _Server:
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
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=list(settings.proxies),
            ssl_context_factory=None if pair is None else lambda _config, _default: pair.context,
        )
    )
    server.ending, server.again = ending, (lambda: None) if pair is None else pair.renew
    return server


def _pair(settings: Settings) -> Pair | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    from shahar.tls import Pair  # a city behind a proxy does not wait for it

    return Pair(settings.tls_certificate, settings.tls_key)


async def _sweep(parts: Parts, wall: Clock) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        await parts.accounts.sweep(wall())
        await parts.broker.db.write(shapes.prune)


async def _watch_clock(wall: Clock) -> None:
    """Say it when the clock was set while we run: instants of arrival stand in another order than things came in."""
    loop = asyncio.get_running_loop()
    before, since = wall(), loop.time()
    while True:
        await asyncio.sleep(CLOCK_S)
        now, at = wall(), loop.time()
        step_s = (now - before) / SECOND - (at - since)
        if abs(step_s) > STEP_S:
            log.warning("the clock was set, or the machine slept", by_s=round(step_s))
        before, since = now, at


async def _greet(settings: Settings, parts: Parts, wall: Clock) -> None:
    base = settings.local_base
    print(
        f"Shahar {__version__} is running: {base}/ for residents, {base}/ops for operators, {base}/docs for programs",
        flush=True,
    )
    if settings.mqtt == "embedded":
        print(f"Devices: mqtt://{settings.mqtt_host}:{settings.mqtt_port}, topic up/NAME", flush=True)
    token = await parts.accounts.first_link(wall()) if settings.access != "open" else None
    if token is not None:
        print(f"Become the administrator (once, within 24 h): {base}/welcome?token={token}", flush=True)


def _tend_memory() -> None:
    """Look for garbage less often: what was imported stays, and requests leave little that counting references does
    not free. Python's own rhythm costs a tenth of the processor time (docs/speed.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    gc.enable()


def _allow_many_files() -> None:
    """Raise the soft limit on open files to the hard one: each client, stream and delivery is a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
