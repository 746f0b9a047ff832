"""How far long work is: drawn over itself on a terminal, a line for each thing elsewhere."""

from __future__ import annotations

import io

from shahar.progress import bar


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def told(stream: io.StringIO) -> str:
    """What is said of two things, one with a note."""
    draw = bar(stream, wide=4)
    for part in (0.5, 1.0):
        draw("copying", part)
    for part in (0.25, 1.0):
        draw("loading", part, f"{part * 400:.0f} messages")
    return stream.getvalue()


def test_a_terminal_sees_one_line_for_each_thing_drawn_over_itself() -> None:
    assert told(Terminal()) == (
        "\rcopying    [##..]  50%\rcopying    [####] 100%\n"
        "\rloading    [#...]  25%  100 messages\rloading    [####] 100%  400 messages\n"
    )


def test_a_log_gets_a_line_when_a_thing_begins_and_one_for_its_note() -> None:
    assert told(io.StringIO()) == "copying ...\nloading ...\nloading: 400 messages\n"
