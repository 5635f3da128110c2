"""A WebSocket of as little work as can be, so that what is measured is the server.

Frames of a client have to be masked; the mask may be nothing but zeros (RFC 6455, 5.3).
"""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from collections.abc import Callable
from typing import Any

from tests.support.processes import HOST

TEXT, PING, PONG = 0x81, 0x89, 0x8A
MASK = b"\0\0\0\0"
ENGINE_PING, ENGINE_PONG, ENGINE_EVENT = b"2", b"3", b"42"


def frame_of(data: bytes, kind: int = TEXT) -> bytes:
    """Return a client's frame."""
    if len(data) < 126:
        return bytes((kind, 0x80 | len(data))) + MASK + data
    return struct.pack(">BBH", kind, 0x80 | 126, len(data)) + MASK + data


def request_for(path: str) -> bytes:
    """Return the request that opens a WebSocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()


class Page(asyncio.Protocol):
    """One connection: it waits for single answers, or keeps one event under way (`repeat`)."""

    def __init__(self, path: str) -> None:
        self.answers = 0
        self._heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.lost = asyncio.Event()
        self._path = path
        self._data = b""
        self._is_open = False
        self._wanted = b""
        self._event: bytes | None = None
        self._transport: asyncio.WriteTransport
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Ask for a WebSocket."""
        self._transport = transport
        transport.write(request_for(self._path))

    def data_received(self, data: bytes) -> None:
        """Read the answer to the handshake, then frames."""
        if self._data:
            data = self._data + data
        if not self._is_open:
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                self._data = data
                return
            data = rest
            self._is_open = b" 101 " in head.partition(b"\r\n")[0]
            self._settle(head if self._is_open else None)
        while len(data) > 1 and (end_of_frame := _end_of_frame(data)) <= len(data):
            start = 4 if data[1] == 126 else 2
            self._take(data[0], data[start:end_of_frame])
            data = data[end_of_frame:]
        self._data = data

    def connection_lost(self, exc: Exception | None) -> None:
        """Return up what is waited for."""
        self._event = None
        self._settle(None)
        if not self._answer.cancelled():
            self._answer.exception()
        self.lost.set()

    async def answer(self) -> bytes:
        """Wait for what is to come next."""
        return await self._answer

    async def event(self) -> bytes:
        """Wait for the first event that Socket.IO's server sends by itself."""
        return await self._heard

    def expect(self, start: bytes = b"") -> None:
        """Let the next text that starts so be the `answer`."""
        self._wanted = start
        self._answer = asyncio.get_running_loop().create_future()

    def send(self, frame: bytes, start: bytes = b"") -> None:
        """Send a frame whose answer is to come next."""
        self.expect(start)
        self._transport.write(frame)

    def repeat(self, frame: bytes) -> None:
        """Send a frame, and again at each answer, until `rest`."""
        self._event = frame
        self._transport.write(frame)

    def rest(self) -> None:
        """Take the next answer for the last."""
        self._event = None
        self.expect()

    def close(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    def _take(self, kind: int, text: bytes) -> None:
        if kind == TEXT and text != ENGINE_PING:
            self.answers += 1
            if self._event is not None:
                self._transport.write(self._event)
                return
            if text.startswith(ENGINE_EVENT) and not self._heard.done():
                self._heard.set_result(text)
            if text.startswith(self._wanted):
                self._settle(text)
        elif kind == TEXT:
            self._transport.write(frame_of(ENGINE_PONG))
        elif kind == PING:
            self._transport.write(frame_of(text, PONG))

    def _settle(self, answer: bytes | None) -> None:
        if self._answer.done():
            return
        if answer is None:
            self._answer.set_exception(ConnectionError("the server closed the connection"))
        else:
            self._answer.set_result(answer)


def _end_of_frame(data: bytes) -> int:
    """Return where the first frame of the server ends; none is longer than 65,535 bytes."""
    if data[1] != 126:
        return 2 + data[1]
    return 4 + struct.unpack_from(">H", data.ljust(4, b"\xff"), 2)[0]


async def connect(port: int, make: Callable[[], Page], opening: bytes | None = None) -> Page:
    """Return a page that is open, and has been sent ``opening`` if the server sends it."""
    loop = asyncio.get_running_loop()
    _, page = await loop.create_connection(make, HOST, port)
    await page.answer()
    if opening is not None and not page.answers:
        page.expect(opening)
        await page.answer()
    return page
