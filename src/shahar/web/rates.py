"""How often somebody may ask: a token bucket for each actor, and for each address of those who are nobody.

For: the outer layer calls `take` for each request and `take_attempt` for each credential that was wrong.
Promises: a bucket holds `burst` requests and refills at `rate` a second; an empty one raises TooFast, which says after
how many whole seconds the next request will pass. Memory is bounded: beyond `RATES` meters the one unused for longest
is forgotten, so that a flood of addresses costs no more than that (and whoever it forgets starts with a full bucket).
An IPv6 address counts as its /64, since one household has 2**64 of them. Open access is not counted unless a rate for
it is given.
Does not: read a clock (`at` is given; one that steps back refills nothing), sum over several processes.
Source: the bucket is the generic cell rate algorithm's equal, ITU-T I.371 annex A.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from math import ceil
from typing import Final

from shahar.model.access import Actor, Kind
from shahar.values import bounds
from shahar.values.errors import TooFast
from shahar.values.instants import SECOND, Instant


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_s` requests a second on the long run, `burst` at once."""

    per_s: float
    burst: float


_ACTOR: Final = Rate(bounds.RATE_ACTOR, bounds.BURST_ACTOR)
SHIPPED: Final[Mapping[Kind, Rate]] = {
    "anonymous": Rate(bounds.RATE_ADDRESS, bounds.BURST_ADDRESS),
    "person": _ACTOR,
    "key": _ACTOR,
    "device": Rate(bounds.RATE_DEVICE, bounds.BURST_DEVICE),
}
"""The rates of docs/bounds.md; a kind that is missing is not counted."""
NOTIFIED: Final = Rate(bounds.RATE_NOTIFIED, bounds.BURST_NOTIFIED)
ATTEMPTS: Final = Rate(bounds.RATE_ATTEMPTS / 60, bounds.BURST_ATTEMPTS)


@dataclass(slots=True)
class _Meter:
    tokens: float
    at: Instant


class Rates:
    """The meters of one process. `rates`: by kind of actor; `memory`: how many meters are kept."""

    def __init__(self, rates: Mapping[Kind, Rate] = SHIPPED, *, memory: int = bounds.RATES) -> None:
        self._rates = dict(rates)
        self._memory = memory
        self._meters: dict[str, _Meter] = {}
        self.refused = 0
        """Requests that were refused since the start; read by /metrics."""

    def take(self, actor: Actor, peer: str | None, at: Instant, cost: float = 1.0) -> None:
        """Count a request of the actor (nobody: of the address `peer`); TooFast when it is one too many."""
        rate = self._rates.get(actor.kind)
        if rate is not None:
            name = actor.id if actor.kind != "anonymous" else f"from {place_of(peer)}"
            self._take(name, rate, at, cost)

    def take_attempt(self, peer: str | None, at: Instant) -> None:
        """Count a wrong credential of an address; TooFast when there were too many."""
        self._take(f"tries of {place_of(peer)}", ATTEMPTS, at, 1.0)

    def take_source(self, forwarded_id: str, at: Instant) -> None:
        """Count a notification of a source by the subscription that it is about; TooFast when it is one too many."""
        self._take(f"told of {forwarded_id}", NOTIFIED, at, 1.0)

    def __len__(self) -> int:
        return len(self._meters)

    def _take(self, name: str, rate: Rate, at: Instant, cost: float) -> None:
        meter = self._meters.pop(name, None) or _Meter(rate.burst, at)
        if at > meter.at:
            meter.tokens = min(rate.burst, meter.tokens + (at - meter.at) / SECOND * rate.per_s)
        meter.at = at  # also when the clock was set back, or the meter would stand still until it is that late again
        if len(self._meters) >= self._memory:
            self._meters.pop(next(iter(self._meters)))
        self._meters[name] = meter  # the end of the dict: the front is what was unused for longest
        cost = min(cost, rate.burst)  # a request dearer than the whole bucket passes when the bucket is full
        if meter.tokens < cost:
            self.refused += 1
            raise TooFast("too many requests", retry_after_s=max(1, ceil((cost - meter.tokens) / rate.per_s)))
        meter.tokens -= cost


def place_of(peer: str | None) -> str:
    """The name under which an address is counted: IPv4 itself, IPv6 its /64."""
    if peer is None or ":" not in peer:
        return peer or "somewhere"
    try:
        address = IPv6Address(peer.partition("%")[0])
    except ValueError:
        return peer
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{int(address) >> 64:016x}/64"
