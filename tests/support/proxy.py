"""Own a TCP proxy that can be cut: in front of one server, or in turn of several."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from itertools import cycle

from tests.support.processes import HOST

CHUNK = 65_536


class RoundRobin:
    """A proxy on a free port that gives each connection to the next server."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._next = cycle(ports)
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.given_to: list[int] = []
        """The port of each connection's node, the first first."""
        self.came_back = asyncio.Event()
        """Set by the first connection after a cut."""

    async def __aenter__(self) -> RoundRobin:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Give the address for HTTP, without a slash at the end."""
        assert self._server is not None
        return f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Break all connections off, as a node that dies does."""
        self.came_back.clear()
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = next(self._next)
        self.given_to.append(port)
        self.came_back.set()
        with contextlib.suppress(OSError):
            node_reader, node_writer = await asyncio.open_connection(HOST, port)
            await asyncio.gather(self._carry(reader, node_writer), self._carry(node_reader, writer))
        writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while data := await reader.read(CHUNK):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            self._open.discard(writer)
            writer.close()
