"""What runs in the process beside ours: questions from shared memory, answers into it, until standard input closes.

For: ports/beside, which starts it. It imports what reading needs and no more, so that it is there in a tenth of a
second.
Does not: open, log or keep anything; read anything but its standard input and that memory.

Over standard input comes the number of a slot and the length of the question in it, 8 bytes each; over standard output
goes the length of the answer, 0 when it is too long for the slot. The first answer says that we are ready.
"""

from __future__ import annotations

import gc
import mmap
import sys
from typing import BinaryIO

from shahar.services import batches


def serve(memory: mmap.mmap, slot_bytes: int, answer_at: int, given: BinaryIO, out: BinaryIO) -> None:
    """Answer until the other end closes. `answer_at`: where in a slot the answer begins."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    _tell(out, 1)
    while len(asked := given.read(16)) == 16:
        start = int.from_bytes(asked[:8], "big") * slot_bytes
        answer = batches.answer(memory[start : start + int.from_bytes(asked[8:], "big")])
        fits = len(answer) <= slot_bytes - answer_at
        if fits:
            memory[start + answer_at : start + answer_at + len(answer)] = answer
        _tell(out, len(answer) if fits else 0)


def _tell(out: BinaryIO, length: int) -> None:
    out.write(length.to_bytes(8, "big"))
    out.flush()


if __name__ == "__main__":
    shared, memory_bytes, slot, answer = map(int, sys.argv[1:])
    serve(mmap.mmap(shared, memory_bytes), slot, answer, sys.stdin.buffer, sys.stdout.buffer)
