"""A WebSocket that passes through the proxy, and the ways to break it."""

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

CHUNK_BYTES = 65_536
_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Stream:
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def reset(self) -> None:
        """Close the connection with a RST, which discards data in transit."""
        raw: socket.socket | None = self.writer.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.writer.transport.abort()


@dataclass(slots=True)
class RequestTracker:
    """The refs of a client's messages, by which replies are attributed."""

    joins: set[Ref] = field(default_factory=set)
    events: set[Ref] = field(default_factory=set)

    def add(self, text: str) -> bool:
        """Add a client's message; return whether it is a join."""
        frame = _parse(text)
        if frame is None or frame.kind in (Kind.HEARTBEAT, Kind.LEAVE):
            return False
        is_join = frame.kind is Kind.JOIN
        (self.joins if is_join else self.events).add(frame.ref)
        return is_join

    def reply_kind(self, text: str) -> str | None:
        """Return ``join`` or ``event`` if a server's message is a reply to one, or ``None``."""
        frame = _parse(text)
        if frame is None or frame.event != phoenix.REPLY:
            return None
        if frame.ref in self.joins:
            return "join"
        return "event" if frame.ref in self.events else None


class Link:
    """A WebSocket from a client to the node on ``port``; ``join`` is its last join, in bytes."""

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
        self._requests = RequestTracker()
        self._from_client = MessageReader()
        self._from_node = MessageReader()
        self._is_flowing = asyncio.Event()
        self._is_flowing.set()
        self._is_half_open = False
        self._is_cut = False

    @property
    def is_breakable(self) -> bool:
        """Return whether the connection has joined and isn't broken yet."""
        return bool(self.join) and not self._is_half_open and not self._is_cut

    async def forward(self) -> None:
        """Forward data in both directions until both ends are closed."""
        try:
            await asyncio.gather(
                self._forward(self._client, self._node, self._filter_client_data),
                self._forward(self._node, self._client, self._filter_node_data),
            )
        except BaseException:
            self.cut()
            raise

    def cut(self) -> None:
        """Reset both ends, as a router does when it has lost the connection's state."""
        self._is_cut = True
        self._client.reset()
        self._node.reset()

    def half_open(self) -> None:
        """Stop forwarding without closing, so that each end only sees silence.

        When the client gives up, the node is disconnected ``linger_seconds`` later.
        """
        self._is_half_open = True

    def delay(self, seconds: float) -> None:
        """Hold data in both directions for some seconds, then forward it in order."""
        self._is_flowing.clear()
        asyncio.get_running_loop().call_later(seconds, self._is_flowing.set)

    async def _forward(
        self, source: Stream, sink: Stream, filter_data: Callable[[bytes], Iterable[bytes]]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.reader.read(CHUNK_BYTES):
                pieces = [] if self._is_half_open else list(filter_data(data))
                await self._is_flowing.wait()
                if not self._is_half_open:
                    sink.writer.writelines(pieces)
                    await sink.writer.drain()
        if self._is_half_open and source is self._client:
            self._client.reset()
            await asyncio.sleep(self._linger_seconds)
            self._node.reset()
        elif not self._is_half_open:
            sink.writer.close()

    def _filter_client_data(self, data: bytes) -> Iterable[bytes]:
        for message in self._from_client.feed(data):
            if message.text and self._requests.add(message.text):
                self.join = message.raw
                self._on_join(self)
            yield message.raw

    def _filter_node_data(self, data: bytes) -> Iterable[bytes]:
        for message in self._from_node.feed(data):
            kind = self._requests.reply_kind(message.text) if message.text else None
            if kind is None or not self._on_reply(self, kind):
                yield message.raw


def _parse(text: str) -> Message | None:
    try:
        return phoenix.PhoenixProtocol().read(from_json(text))
    except ValueError:
        return None
