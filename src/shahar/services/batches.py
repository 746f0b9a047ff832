"""Batches that are read in a process beside ours, so that the next one is read while the last one is written.

For: web/ngsild/batch. Python runs one thread at a time: reading a thousand entities here would hold up the store's
writer and everybody else's answers for 30 ms.
Promises: whatever becomes of the other process, a batch is read: None says that the asker reads it itself, as it does
with a small one.
Does not: start the process (ports/beside); write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from shahar.model import bulk
from shahar.model.bulk import Pack, Tried
from shahar.model.change import Kind
from shahar.model.context import Context
from shahar.store import packing
from shahar.values.errors import ShaharError
from shahar.values.instants import Instant

T = TypeVar("T")

WORTH_BYTES: Final = 32_000
"""A shorter text is read before another process could answer."""


class Beside(Protocol):
    """A process that answers questions (model/bulk)."""

    async def ask(self, question: bytes, take: Callable[[memoryview], T]) -> T:
        """What `take` makes of its answer; Unavailable when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Batches:
    """Who reads batches: a process beside ours, where there is one. `packs`: the store takes in packs."""

    beside: Beside | None = None
    packs: bool = True

    async def read(
        self, kind: Kind, body: bytes, context: Context, at: Instant, *, packed: bool = False
    ) -> list[Tried] | Pack | None:
        """The members of a JSON array of whole entities, or a pack of them all where that is asked for and can be; None
        when the asker is to read it itself.
        """
        if self.beside is None or len(body) < WORTH_BYTES:
            return None
        try:
            return await self.beside.ask(
                bulk.question(kind, body, context, at, packed=packed and self.packs), bulk.wishes
            )
        except ShaharError:
            return None


def answer(asked: bytes) -> bytes:
    """In the other process: what came of a question."""
    return bulk.answer(asked, packing.pack)
