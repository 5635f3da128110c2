"""A proxy that distributes connections over nodes and can break them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from itertools import cycle, islice
from typing import Any, TypeVar

from recovery_app.chaos.frames import HEAD_END, is_upgrade, without_extensions
from recovery_app.chaos.links import CHUNK_BYTES, Link, Stream
from recovery_app.chaos.processes import HOST

LINGER_SECONDS = 5.0
DUPLICATE_TRIES, RETRY_SECONDS = 100, 0.2
_ACCEPTED = b"HTTP/1.1 101"

Self = TypeVar("Self", bound="Proxy")


class Proxy:
    """A TCP proxy for nodes on this machine, used in turn.

    Only WebSockets can be broken. Other requests are forwarded unchanged.
    """

    def __init__(
        self, ports: Sequence[int], *, port: int = 0, linger_seconds: float = LINGER_SECONDS
    ) -> None:
        self.links: list[Link] = []
        """The open WebSockets, oldest first."""
        self.counts: Counter[str] = Counter()
        """Connections to each node, swallowed replies, and duplicates so far."""
        self._next_port = cycle(ports)
        self._requested_port = port
        self._linger_seconds = linger_seconds
        self._swallow_queues: dict[str, deque[bool]] = {"join": deque(), "event": deque()}
        self._join_actions: list[tuple[int | None, Callable[[Link], None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self: Self) -> Self:
        self._server: asyncio.Server = await asyncio.start_server(
            self._serve, HOST, self._requested_port
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        """Return the port of the proxy."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Return the base URL for HTTP, without a trailing slash."""
        return f"http://{HOST}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Return the base URL for WebSockets, without a trailing slash."""
        return f"ws://{HOST}:{self.port}"

    def pick(self, target: float) -> Link | None:
        """Return one of the joined WebSockets, selected by a number from 0 to 1."""
        links = [link for link in self.links if link.is_breakable]
        return links[int(target * len(links))] if links else None

    def swallow(self, kind: str, *, then_cut: bool = False) -> None:
        """Drop the next reply to a ``join`` or an ``event``, on any connection."""
        self._swallow_queues[kind].append(then_cut)

    def duplicate(self, link: Link, seconds: float) -> asyncio.Event:
        """Replay the handshake and the join of a connection on another one.

        It is never read and closes after some seconds, like a retry by a middlebox. The event that
        is returned is set once the join is sent.
        """
        is_sent = asyncio.Event()
        self._spawn(self._replay(link.head, link.join, seconds, is_sent))
        return is_sent

    def before_next_join(self, action: Callable[[Link], None], *, port: int | None = None) -> None:
        """Call ``action`` before the next join is forwarded, to any node or to ``port``."""
        self._join_actions.append((port, action))

    def has_pending(self, kind: str) -> bool:
        """Return whether a fault is waiting for the next ``join`` or ``event``."""
        return bool(self._swallow_queues[kind] or (kind == "join" and self._join_actions))

    def clear_pending(self) -> None:
        """Cancel the faults that are waiting for the next join or event."""
        for queue in self._swallow_queues.values():
            queue.clear()
        self._join_actions.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # In a separate task, because asyncio logs the errors of this one.
        self._spawn(self._connect(Stream(reader, writer)))

    async def _connect(self, client: Stream) -> None:
        node: Stream | None = None
        try:
            head = await client.reader.readuntil(HEAD_END)
            port = next(self._next_port)
            node = await _open(port)
            if is_upgrade(head):
                await self._forward_link(client, node, without_extensions(head), port)
            else:
                node.writer.write(head)
                await _forward_plain(client, node)
        except BaseException as error:
            for stream in filter(None, (client, node)):
                stream.reset()
            if not isinstance(error, (OSError, EOFError, asyncio.LimitOverrunError)):
                raise
            # The node is down, or one end closed the connection before the handshake.
            self.counts["refused"] += 1

    async def _forward_link(self, client: Stream, node: Stream, head: bytes, port: int) -> None:
        response = await _request(node, head)
        client.writer.write(response)
        if not response.startswith(_ACCEPTED):
            await _forward_plain(client, node)
            return
        link = Link(
            client,
            node,
            head,
            port=port,
            on_join=self._handle_join,
            on_reply=self._handle_reply,
            linger_seconds=self._linger_seconds,
        )
        self.counts[f"connections to {port}"] += 1
        self.links.append(link)
        try:
            await link.forward()
        finally:
            self.links.remove(link)

    def _handle_join(self, link: Link) -> None:
        for pending in self._join_actions:
            port, action = pending
            if port in (None, link.port):
                self._join_actions.remove(pending)
                action(link)
                return

    def _handle_reply(self, link: Link, kind: str) -> bool:
        """Return whether to drop the reply."""
        queue = self._swallow_queues[kind]
        if not queue:
            return False
        self.counts[f"lost-{'join' if kind == 'join' else 'reply'}"] += 1
        if queue.popleft():
            link.cut()
        return True

    async def _replay(
        self, head: bytes, join: bytes, seconds: float, is_sent: asyncio.Event
    ) -> None:
        for port in islice(self._next_port, DUPLICATE_TRIES):
            with contextlib.suppress(OSError, EOFError):
                node = await _open(port)
                try:
                    await _request(node, head)
                    node.writer.write(join)
                    self.counts["duplicate"] += 1
                    is_sent.set()
                    await asyncio.sleep(seconds)
                    return
                finally:
                    node.reset()
            await asyncio.sleep(RETRY_SECONDS)
        is_sent.set()  # No node is up; don't block the caller.

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _open(port: int) -> Stream:
    return Stream(*await asyncio.open_connection(HOST, port))


async def _request(node: Stream, head: bytes) -> bytes:
    """Send a request and return the head of the response."""
    node.writer.write(head)
    return await node.reader.readuntil(HEAD_END)


async def _forward_plain(client: Stream, node: Stream) -> None:
    await asyncio.gather(
        _pipe(client.reader, node.writer),
        _pipe(node.reader, client.writer),
    )


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    writer.close()
