"""The TCP proxies: one can be cut, in turn before several servers; one can be shut; one counts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from itertools import cycle
from typing import TypeVar

from tests.support.processes import HOST

CHUNK = 65_536
Proxy = TypeVar("Proxy", bound="RoundRobin")


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

    async def __aenter__(self: Proxy) -> Proxy:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Return the address for HTTP, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

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
            await asyncio.gather(
                self._carry(reader, node_writer, writer),
                self._carry(node_reader, writer, node_writer),
            )
        writer.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        self._open.add(writer)
        try:
            while data := await reader.read(CHUNK):
                await self._may_pass(data, writer, back)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _may_pass(
        self, data: bytes, writer: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        """Wait until ``data`` for ``writer`` may go on; ``back`` is where it came from."""


class Gate(RoundRobin):
    """A proxy in front of one server that can keep back what is on its way."""

    def __init__(self, port: int) -> None:
        super().__init__([port])
        self._port = port
        self._shut: dict[asyncio.StreamWriter, asyncio.Event] = {}

    def shut(self, *, for_replies: bool = False) -> None:
        """Keep back requests, or replies, on the connections of now; later ones are free."""
        for writer in self._open:
            if (writer.get_extra_info("peername")[1] != self._port) is for_replies:
                self._shut[writer] = asyncio.Event()

    def cut(self) -> None:
        """Break all connections off; what was kept back is lost."""
        super().cut()
        self.open()

    def open(self) -> None:
        """Let go on what was kept back."""
        for event in self._shut.values():
            event.set()
        self._shut.clear()

    async def _may_pass(
        self, data: bytes, writer: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        if writer in self._shut:
            await self._shut[writer].wait()


class Tripmeter(RoundRobin):
    """A proxy in front of one server that counts the round trips on all connections."""

    def __init__(self, port: int) -> None:
        super().__init__([port])
        self._port = port
        self._under_way: dict[asyncio.StreamWriter, bytearray] = {}
        self.trips: list[bytearray] = []
        """What was sent in each: all that came before the reply began."""

    async def _may_pass(
        self, data: bytes, writer: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        if writer.get_extra_info("peername")[1] != self._port:
            self._under_way.pop(back, None)
            return
        if writer not in self._under_way:
            self._under_way[writer] = bytearray()
            self.trips.append(self._under_way[writer])
        self._under_way[writer] += data
