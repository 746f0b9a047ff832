"""Which city is served: one as it is, or the demo, which has a clock and devices of its own.

For: main, which gives the real clock; assembly and serving, which take what is here as it comes.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shahar.config import Settings
from shahar.model.city import City, Pace
from shahar.model.system import LANGUAGES
from shahar.progress import bar
from shahar.values.errors import Invalid
from shahar.values.instants import Instant

if TYPE_CHECKING:
    from shahar.services.devices import Devices


@dataclass(slots=True)
class Scene:
    """A city and its clock; `play` is what goes on beside the server while it runs."""

    city: City
    now: Callable[[], Instant]
    pace: Callable[[], Pace]
    play: Callable[[Devices], AbstractAsyncContextManager[None]] | None = None


def plain(wall: Callable[[], Instant]) -> Scene:
    """A city as it is: its clock is the wall's."""
    return Scene(City(name=dict.fromkeys(LANGUAGES, "Shahar")), wall, lambda: Pace(at=wall(), wall=wall()))


def demo(settings: Settings, wall: Callable[[], Instant]) -> Scene:
    """The demo city: its clock begins a week back, its devices speak over the bundled MQTT server."""
    from shahar.demo import stage  # a city without a demo does not wait for it
    from shahar.demo.clock import Clock
    from shahar.demo.replay import Replay

    if settings.mqtt != "embedded":
        raise Invalid("the demo's devices speak over the embedded MQTT server", field="mqtt", rule="embedded")
    entered = stage.enter(settings.data, settings.region, wall())
    clock = Clock(wall, entered.at, settings.speed, entered.start)

    @asynccontextmanager
    async def play(devices: Devices) -> AsyncIterator[None]:
        draw = bar(sys.stderr)
        keys = await stage.prepare(
            entered, devices, lambda part, messages: draw("Loading 30 days", part, f"{messages} messages")
        )
        replay = Replay(entered, keys, clock, host=settings.mqtt_host, port=settings.mqtt_port)
        await replay.start()
        try:
            yield
        finally:
            await replay.stop()

    return Scene(entered.city, clock.now, clock.pace, play)
