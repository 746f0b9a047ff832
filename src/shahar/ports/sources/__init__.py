"""Requests to context sources: each source behind its own fence.

For: services/federation, which knows what to ask whom. The socket itself is opened by the one guarded door
(ports/webhooks), given to us by assembly: private addresses are refused unless allowed, no redirect is followed,
nothing is decompressed, no cookie is kept.
Promises
- An answer or an error comes within the call's own time, waiting for a place included.
- A host is asked at most `AT_ONCE` times at once, whoever asks; one source cannot take another's places.
- Who fails again and again is left alone for a while (`fence`); what is asked meanwhile fails at once as Resting.
- An answer is at most FEDERATION_BYTES long. Nothing is ever sent twice.
Does not: know what an entity is; read a clock but the loop's (rests are lengths of time, not instants).
Rooms: `binding` (calls and replies as HTTP), `fence` (who is left alone).
Source: ETSI GS CIM 009 V1.9.1 clauses 4.3.6, 5.2.34, 6.3.17, 6.3.18.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlsplit

from shahar.ports.sources import binding
from shahar.ports.sources.fence import REMEMBERED, Fence
from shahar.services.federation.calls import Call, Reply, Resting
from shahar.values.bounds import FEDERATION_BYTES
from shahar.values.errors import PeerFault, PeerLooped, PeerSilent, ShaharError

__all__ = ["AT_ONCE", "Door", "Sources"]

AT_ONCE: Final = 32


class Door(Protocol):
    """The guarded door (ports/webhooks.Webhooks)."""

    async def ask(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes | None, max_bytes: int
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; PeerFailed."""
        ...


@dataclass(slots=True)
class Sources:
    """The port of services/federation: `send` for every request to a source."""

    door: Door
    fence: Fence = field(default_factory=Fence)
    _places: OrderedDict[str, asyncio.Semaphore] = field(default_factory=OrderedDict)

    async def send(self, call: Call) -> Reply:
        """The source's reply; Resting, PeerSilent, PeerFailed, or the fault that the source found."""
        clock = asyncio.get_running_loop().time
        if not self.fence.admits(call.key, clock()):
            raise Resting(f"registration {call.key[1]} failed before and is left alone for a while")
        try:
            answer = await self._asked(call)
        except PeerFault as problem:
            if isinstance(problem, PeerLooped):
                self.fence.worked(call.key)
            else:
                self.fence.failed(call.key, clock(), call.share.registration.management.cooldown_s)
            raise
        except ShaharError:  # the source is well: it has found the caller at fault
            self.fence.worked(call.key)
            raise
        except asyncio.CancelledError:
            self.fence.left(call.key)
            raise
        self.fence.worked(call.key)
        return answer

    async def _asked(self, call: Call) -> Reply:
        asked = binding.form(call)
        try:
            async with asyncio.timeout(call.timeout_s), self._place(asked.url):
                answer = await self.door.ask(asked.method, asked.url, asked.headers, asked.body, FEDERATION_BYTES)
        except TimeoutError:
            raise PeerSilent(f"registration {call.key[1]} did not answer within {call.timeout_s:g} s") from None
        return binding.reply(call, *answer)

    def _place(self, url: str) -> asyncio.Semaphore:
        host = urlsplit(url).netloc
        found = self._places.get(host)
        if found is None:
            found = self._places[host] = asyncio.Semaphore(AT_ONCE)
            if len(self._places) > REMEMBERED:
                self._places.popitem(last=False)
        return found
