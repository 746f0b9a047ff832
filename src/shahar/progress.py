"""How far long work is, for whoever waits at a terminal.

Promises: one line that is drawn over itself on a terminal; where there is none (a log, a pipe), one line when each
thing is begun, and one when it is done and there is something to say of it.
"""

from __future__ import annotations

from typing import Protocol, TextIO


class Draw(Protocol):
    """Told again and again: what is being done, the part of it that is done (0 to 1), and a word about it."""

    def __call__(self, what: str, part: float, note: str = "") -> None: ...


def bar(stream: TextIO, wide: int = 32) -> Draw:
    """A progress bar on this stream."""
    begun: set[str] = set()

    def draw(what: str, part: float, note: str = "") -> None:
        last = part >= 1
        if stream.isatty():
            filled = round(part * wide)
            line = f"\r{what:10} [{'#' * filled}{'.' * (wide - filled)}] {part:4.0%}" + (f"  {note}" if note else "")
            stream.write(line + ("\n" if last else ""))
        else:
            if what not in begun:
                begun.add(what)
                stream.write(f"{what} ...\n")
            if last and note:
                stream.write(f"{what}: {note}\n")
        stream.flush()

    return draw
