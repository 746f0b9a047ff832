"""What runs in the process beside ours: questions from standard input, answers to standard output, until that closes.

For: ports/beside, which starts it. It imports what reading needs and no more, so that it is there in a tenth of a
second.
Does not: open, log or keep anything; read anything but its standard input.

A frame is its length in 8 bytes and its bytes; the first answer, empty, says that it is ready.
"""

from __future__ import annotations

import gc
import sys
from typing import BinaryIO

from shahar.model import bulk


def serve(given: BinaryIO, out: BinaryIO) -> None:
    """Answer until the other end closes."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    _tell(out, b"")
    while len(head := given.read(8)) == 8:
        _tell(out, bulk.answer(given.read(int.from_bytes(head, "big"))))


def _tell(out: BinaryIO, frame: bytes) -> None:
    out.write(len(frame).to_bytes(8, "big"))
    out.write(frame)
    out.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
