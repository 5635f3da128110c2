"""Own a line that can be cut: a TCP proxy in front of a server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.support.processes import HOST

CHUNK_BYTES = 65_536


class Line:
    """Carry connections to a port, until they are cut without a word to either side."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self._target_port = target_port
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Give the address for HTTP, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    def cut(self) -> None:
        """Cut all that is connected now; new connections are carried again."""
        for writer in self._writers:
            writer.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection both ways."""
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(HOST, self._target_port)
            self._writers |= {writer, far_writer}
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
            self._writers -= {writer, far_writer}
        writer.close()


@contextlib.asynccontextmanager
async def line_to(port: int) -> AsyncIterator[Line]:
    """Give a line to a server's port."""
    line = Line(port)
    server = await asyncio.start_server(line.carry, HOST, 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        line.cut()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    writer.close()
