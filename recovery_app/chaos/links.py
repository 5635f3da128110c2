"""Own one WebSocket that goes through the proxy, and each way of breaking it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from recovery_app._live import phoenix
from recovery_app._live.protocol import Kind, Message, Ref, from_json
from recovery_app.chaos.frames import MessageReader

CHUNK = 65_536
_LINGER_SECONDS = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Stream:
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def reset(self) -> None:
        """End it with a RST: what is on its way is lost."""
        raw: socket.socket | None = self.writer.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_SECONDS)
        self.writer.transport.abort()


@dataclass(slots=True)
class Questions:
    """What a client has asked, so that the answers can be told apart."""

    joins: set[Ref] = field(default_factory=set)
    events: set[Ref] = field(default_factory=set)

    def ask(self, text: str) -> bool:
        """Take note of a client's message, and say whether it is a join."""
        frame = _parse(text)
        if frame is None or frame.kind in (Kind.HEARTBEAT, Kind.LEAVE):
            return False
        is_join = frame.kind is Kind.JOIN
        (self.joins if is_join else self.events).add(frame.ref)
        return is_join

    def kind_of(self, text: str) -> str | None:
        """Say whether a server's message replies to a ``join`` or an ``event``, or to none."""
        frame = _parse(text)
        if frame is None or frame.event != phoenix.REPLY:
            return None
        if frame.ref in self.joins:
            return "join"
        return "event" if frame.ref in self.events else None


class Link:
    """A WebSocket from a client to the node on ``port``; ``join`` is its last join, as sent."""

    def __init__(
        self,
        client: Stream,
        node: Stream,
        head: bytes,
        *,
        port: int,
        on_join: Callable[[Link], None],
        on_reply: Callable[[Link, str], bool],
        linger_seconds: float,
    ) -> None:
        self.head = head
        self.join = b""
        self.port = port
        self._client = client
        self._node = node
        self._on_join = on_join
        self._on_reply = on_reply
        self._linger_seconds = linger_seconds
        self._questions = Questions()
        self._from_client = MessageReader()
        self._from_node = MessageReader()
        self._is_free = asyncio.Event()
        self._is_free.set()
        self._is_half_open = False
        self._is_cut = False

    @property
    def is_whole(self) -> bool:
        """Say whether it has carried a join and is still to be broken."""
        return bool(self.join) and not self._is_half_open and not self._is_cut

    async def carry(self) -> None:
        """Carry both ways until both ends are gone."""
        try:
            await asyncio.gather(
                self._carry(self._client, self._node, self._asked),
                self._carry(self._node, self._client, self._answered),
            )
        except BaseException:
            self.cut()
            raise

    def cut(self) -> None:
        """Break both ends off, as a router does that has forgotten the connection."""
        self._is_cut = True
        self._client.reset()
        self._node.reset()

    def half_open(self) -> None:
        """Carry nothing any more, and close nothing: each end learns it from silence alone.

        When the client has given up, the node isn't told for ``linger_seconds``.
        """
        self._is_half_open = True

    def delay(self, seconds: float) -> None:
        """Keep back all that is on its way, both ways; later it goes on in order."""
        self._is_free.clear()
        asyncio.get_running_loop().call_later(seconds, self._is_free.set)

    async def _carry(
        self, source: Stream, sink: Stream, take: Callable[[bytes], Iterable[bytes]]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.reader.read(CHUNK):
                pieces = [] if self._is_half_open else list(take(data))
                await self._is_free.wait()
                if not self._is_half_open:
                    sink.writer.writelines(pieces)
                    await sink.writer.drain()
        if self._is_half_open and source is self._client:
            self._client.reset()
            await asyncio.sleep(self._linger_seconds)
            self._node.reset()
        elif not self._is_half_open:
            sink.writer.close()

    def _asked(self, data: bytes) -> Iterable[bytes]:
        for message in self._from_client.feed(data):
            if message.text and self._questions.ask(message.text):
                self.join = message.raw
                self._on_join(self)
            yield message.raw

    def _answered(self, data: bytes) -> Iterable[bytes]:
        for message in self._from_node.feed(data):
            kind = self._questions.kind_of(message.text) if message.text else None
            if kind is None or not self._on_reply(self, kind):
                yield message.raw


def _parse(text: str) -> Message | None:
    try:
        return phoenix.PhoenixProtocol().read(from_json(text))
    except ValueError:
        return None
