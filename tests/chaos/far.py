"""Own the far end of a proxy in its tests: a real server that answers as Phoenix does.

``python -m tests.chaos.far PORT`` runs it by itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from recovery_app.chaos.processes import HOST
from recovery_app.chaos.proxy import Proxy

PATIENCE_SECONDS = 5
FRAGMENT = 7


@dataclass(eq=False)
class Guest:
    """One connection, as the server sees it."""

    socket: ServerConnection
    heard: list[Any] = field(default_factory=list)
    close_code: int | None = None


class Far:
    """The server. On ``/pieces`` answers are fragmented; ``/page`` and ``/forbidden`` are none."""

    def __init__(self, server: Server, guests: list[Guest]) -> None:
        self.guests = guests
        self.port: int = next(iter(server.sockets)).getsockname()[1]

    async def guest(self, number: int) -> Guest:
        """Wait for a connection, by its number."""
        await eventually(lambda: len(self.guests) > number)
        return self.guests[number]


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what happens soon."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def reply_to(frame: Any) -> str:
    """Write an ok, in the shape of the frame."""
    payload = {"status": "ok", "response": {}}
    if isinstance(frame, dict):
        return json.dumps({**frame, "event": "phx_reply", "payload": payload})
    return json.dumps([*frame[:3], "phx_reply", payload])


@asynccontextmanager
async def far_end(port: int = 0) -> AsyncIterator[Far]:
    """Run a server."""
    guests: list[Guest] = []

    async def talk(socket: ServerConnection) -> None:
        guest = Guest(socket)
        guests.append(guest)
        try:
            async for text in socket:
                frame = json.loads(text)
                guest.heard.append(frame)
                answer = reply_to(frame)
                pieces = [answer[n : n + FRAGMENT] for n in range(0, len(answer), FRAGMENT)]
                in_pieces = bool(socket.request and socket.request.path == "/pieces")
                await socket.send(pieces if in_pieces else answer)
        except ConnectionClosed:
            pass
        guest.close_code = socket.close_code

    def answer(socket: ServerConnection, request: Request) -> Response | None:
        if request.path == "/page":
            return socket.respond(HTTPStatus.OK, "a page\n")
        if request.path == "/forbidden":
            return socket.respond(HTTPStatus.FORBIDDEN, "not you\n")
        return None

    async with serve(talk, HOST, port, process_request=answer) as server:
        yield Far(server, guests)


class Near:
    """The client's end."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(
        self, ref: str, event: str = "add", payload: Any = None, topic: str = "ledger"
    ) -> None:
        """Send a frame of version 2."""
        await self.socket.send(json.dumps(["1", ref, topic, event, payload or {}]))

    async def hear(self) -> str:
        """Give the ref that the next reply is to."""
        ref: str = json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE_SECONDS))[1]
        return ref

    async def join(self) -> None:
        """Join, and hear it."""
        await self.send("1", "phx_join")
        assert await self.hear() == "1"


@asynccontextmanager
async def near_end(proxy: Proxy, path: str = "/") -> AsyncIterator[Near]:
    """Connect through a proxy; the offer to compress is made as browsers make it."""
    async with connect(proxy.ws_url + path, proxy=None, close_timeout=0.1) as socket:
        yield Near(socket)


async def _run(port: int) -> None:
    async with far_end(port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1])))
