"""Own the proxy: each new connection goes to the next node, and each one can be broken."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from itertools import cycle, islice
from typing import Any, TypeVar

from recovery_app.chaos.frames import HEAD_END, is_upgrade, without_extensions
from recovery_app.chaos.links import CHUNK, Link, Stream
from recovery_app.chaos.processes import HOST

LINGER_SECONDS = 5.0
TRIES, TRY_SECONDS = 100, 0.2
"""How often a duplicate looks for a node that is up."""
_ACCEPTED = b"HTTP/1.1 101"

Self = TypeVar("Self", bound="Proxy")


class Proxy:
    """A TCP proxy in front of nodes on this machine.

    Faults break WebSockets; what else comes (a page, a script) is carried as it is.
    """

    def __init__(
        self, ports: Sequence[int], *, port: int = 0, linger_seconds: float = LINGER_SECONDS
    ) -> None:
        self.links: list[Link] = []
        """The open WebSockets, the oldest first."""
        self.counts: Counter[str] = Counter()
        """What was done so far: connections by node, replies swallowed, duplicates made."""
        self._next = cycle(ports)
        self._asked_port = port
        self._linger_seconds = linger_seconds
        self._swallows: dict[str, deque[bool]] = {"join": deque(), "event": deque()}
        self._at_joins: list[tuple[int | None, Callable[[Link], None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self: Self) -> Self:
        self._server: asyncio.Server = await asyncio.start_server(
            self._serve, HOST, self._asked_port
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        """Give the port that it listens on."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Give the address for HTTP, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Give the address for WebSockets, without a slash at the end."""
        return f"ws://{HOST}:{self.port}"

    def pick(self, whom: float) -> Link | None:
        """Give one of the WebSockets that have joined; ``whom`` is a number from 0 to 1."""
        whole = [link for link in self.links if link.is_whole]
        return whole[int(whom * len(whole))] if whole else None

    def swallow(self, kind: str, *, then_cut: bool = False) -> None:
        """Drop the next reply to a ``join``, or to an ``event``, whoever is to get it."""
        self._swallows[kind].append(then_cut)

    def duplicate(self, link: Link, seconds: float) -> asyncio.Event:
        """Replay the handshake and the join of a connection on another one.

        Nobody reads there, and it ends after so many seconds: so does a retry by a box in
        the middle. The event is set as soon as the join is sent.
        """
        is_made = asyncio.Event()
        self._spawn(self._replay(link.head, link.join, seconds, is_made))
        return is_made

    def at_next_join(self, act: Callable[[Link], None], *, port: int | None = None) -> None:
        """Do something before a join is carried to its node: any, or the one on ``port``."""
        self._at_joins.append((port, act))

    def waits_for(self, kind: str) -> bool:
        """Say whether there is something yet to be done to the next ``join`` or ``event``."""
        return bool(self._swallows[kind] or (kind == "join" and self._at_joins))

    def calm(self) -> None:
        """Forget what was to be done to the next join or reply."""
        for waiting in self._swallows.values():
            waiting.clear()
        self._at_joins.clear()

    # One connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # As a task of our own: asyncio would log each one that ends by an error.
        self._spawn(self._connect(Stream(reader, writer)))

    async def _connect(self, client: Stream) -> None:
        node: Stream | None = None
        try:
            head = await client.reader.readuntil(HEAD_END)
            port = next(self._next)
            node = await _open(port)
            if is_upgrade(head):
                await self._carry_link(client, node, without_extensions(head), port)
            else:
                node.writer.write(head)
                await _carry_plain(client, node)
        except BaseException as error:
            for stream in filter(None, (client, node)):
                stream.reset()
            if not isinstance(error, (OSError, EOFError, asyncio.LimitOverrunError)):
                raise
            # The node is down, or one of both went before there was anything to carry.
            self.counts["refused"] += 1

    async def _carry_link(self, client: Stream, node: Stream, head: bytes, port: int) -> None:
        answer = await _ask(node, head)
        client.writer.write(answer)
        if not answer.startswith(_ACCEPTED):
            await _carry_plain(client, node)
            return
        link = Link(
            client,
            node,
            head,
            port=port,
            on_join=self._joins,
            on_reply=self._replies,
            linger_seconds=self._linger_seconds,
        )
        self.counts[f"connections to {port}"] += 1
        self.links.append(link)
        try:
            await link.carry()
        finally:
            self.links.remove(link)

    def _joins(self, link: Link) -> None:
        for waiting in self._at_joins:
            port, act = waiting
            if port in (None, link.port):
                self._at_joins.remove(waiting)
                act(link)
                return

    def _replies(self, link: Link, kind: str) -> bool:
        """Say whether to drop this reply."""
        waiting = self._swallows[kind]
        if not waiting:
            return False
        self.counts[f"lost-{'join' if kind == 'join' else 'reply'}"] += 1
        if waiting.popleft():
            link.cut()
        return True

    async def _replay(
        self, head: bytes, join: bytes, seconds: float, is_made: asyncio.Event
    ) -> None:
        for port in islice(self._next, TRIES):
            with contextlib.suppress(OSError, EOFError):
                node = await _open(port)
                try:
                    await _ask(node, head)
                    node.writer.write(join)
                    self.counts["duplicate"] += 1
                    is_made.set()
                    await asyncio.sleep(seconds)
                    return
                finally:
                    node.reset()
            await asyncio.sleep(TRY_SECONDS)
        is_made.set()  # In vain: no node came up.

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _open(port: int) -> Stream:
    return Stream(*await asyncio.open_connection(HOST, port))


async def _ask(node: Stream, head: bytes) -> bytes:
    """Send a request and give the head of the answer."""
    node.writer.write(head)
    return await node.reader.readuntil(HEAD_END)


async def _carry_plain(client: Stream, node: Stream) -> None:
    await asyncio.gather(
        _pipe(client.reader, node.writer),
        _pipe(node.reader, client.writer),
    )


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
