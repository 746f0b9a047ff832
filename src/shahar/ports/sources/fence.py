"""How each registration has been doing, and when it is left alone.

Promises: after `TRIES` failures in a row a registration rests for a while, doubled with every further failure up to
`LONGEST_REST_S`; one call then tries again, and a success ends the rest. One with a cooldown of its own (5.2.34) rests
after its first failure, for that long. What is remembered is bounded.
Does not: read a clock: `now_s` is any that only goes forwards.
Source: ETSI GS CIM 009 V1.9.1 clause 5.2.34; the pattern is known as a circuit breaker.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

import structlog

TRIES: Final = 5
FIRST_REST_S: Final = 1.0
LONGEST_REST_S: Final = 60.0
REMEMBERED: Final = 10_000

log = structlog.get_logger(__name__)

Key = tuple[str, str]


@dataclass(slots=True)
class _Health:
    failures: int = 0
    until_s: float = 0.0
    trying: bool = False


@dataclass(slots=True)
class Fence:
    """The health of every registration that was asked."""

    _known: OrderedDict[Key, _Health] = field(default_factory=OrderedDict)

    def admits(self, key: Key, now_s: float) -> bool:
        """Whether this registration may be asked now; whoever is let in tells `worked` or `failed` afterwards."""
        health = self._known.get(key)
        if health is None or not health.until_s:
            return True
        if health.trying or now_s < health.until_s:
            return False
        health.trying = True
        return True

    def worked(self, key: Key) -> None:
        """The registration answered."""
        health = self._known.pop(key, None)
        if health is not None and health.until_s:
            log.info("context source works again", registration=key[1])

    def failed(self, key: Key, now_s: float, cooldown_s: float = 0.0) -> None:
        """The registration did not answer, or said that it cannot."""
        health = self._known.setdefault(key, _Health())
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        health.failures += 1
        health.trying = False
        rest_s = cooldown_s
        if not rest_s and health.failures >= TRIES:
            rest_s = min(LONGEST_REST_S, FIRST_REST_S * 2.0 ** min(health.failures - TRIES, 10))
        if rest_s:
            if not health.until_s:
                log.warning("context source rests", registration=key[1], failures=health.failures)
            health.until_s = now_s + rest_s

    def left(self, key: Key) -> None:
        """Whoever was let in went away without an answer (the caller left): another may try."""
        health = self._known.get(key)
        if health is not None:
            health.trying = False
