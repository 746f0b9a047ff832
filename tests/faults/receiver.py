"""A subscriber's endpoint in a process of its own: it answers a notification when what it says is on its disk.

Usage: receiver.py LIST. Prints the port on which it listens, then appends "update writer" for each entity of each
notification.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any


class Endpoint:
    """Notifications in, lines out, one fdatasync for all that arrived meanwhile."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._lines: list[bytes] = []
        self._written = asyncio.get_running_loop().create_future()
        self._work = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.partition(b":")[2])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                )
                await self._keep(json.loads(await reader.readexactly(length)))
                out.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await out.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            out.close()

    async def _keep(self, notification: dict[str, Any]) -> None:
        for entity in notification["data"]:
            self._lines.append(b"%d %s\n" % (entity["level"], entity["id"].rpartition(":")[2].encode()))
        self._work.set()
        await self._written

    async def write_forever(self) -> None:
        """Put what came on the disk, and let those go who wait for it."""
        while True:
            await self._work.wait()
            self._work.clear()
            lines, self._lines = self._lines, []
            waiting, self._written = self._written, asyncio.get_running_loop().create_future()
            await asyncio.to_thread(self._append, b"".join(lines))
            waiting.set_result(None)

    def _append(self, lines: bytes) -> None:
        os.write(self._file, lines)
        os.fdatasync(self._file)


async def main() -> None:
    """Listen until killed."""
    endpoint = Endpoint(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await endpoint.write_forever()


if __name__ == "__main__":
    asyncio.run(main())
