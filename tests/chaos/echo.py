"""A server that replies to each message like Phoenix, and a client, for tests of the proxy.

``python -m tests.chaos.echo PORT`` runs the server.
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

TIMEOUT_SECONDS = 60
FRAGMENT = 7


@dataclass(eq=False)
class Peer:
    """A connection of the server."""

    socket: ServerConnection
    received: list[Any] = field(default_factory=list)
    close_code: int | None = None


class EchoServer:
    """The server. On ``/pieces`` replies are fragmented; ``/page`` and ``/forbidden`` are HTTP."""

    def __init__(self, server: Server, peers: list[Peer]) -> None:
        self.peers = peers
        self.port: int = next(iter(server.sockets)).getsockname()[1]

    async def peer(self, number: int) -> Peer:
        """Wait for the connection with this number."""
        await eventually(lambda: len(self.peers) > number)
        return self.peers[number]


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def reply_to(frame: Any) -> str:
    """Return an "ok" reply in the format of the frame."""
    payload = {"status": "ok", "response": {}}
    if isinstance(frame, dict):
        return json.dumps({**frame, "event": "phx_reply", "payload": payload})
    return json.dumps([*frame[:3], "phx_reply", payload])


@asynccontextmanager
async def run_server(port: int = 0) -> AsyncIterator[EchoServer]:
    """Run a server."""
    peers: list[Peer] = []

    async def handle(socket: ServerConnection) -> None:
        peer = Peer(socket)
        peers.append(peer)
        try:
            async for text in socket:
                frame = json.loads(text)
                peer.received.append(frame)
                reply = reply_to(frame)
                pieces = [reply[n : n + FRAGMENT] for n in range(0, len(reply), FRAGMENT)]
                in_pieces = bool(socket.request and socket.request.path == "/pieces")
                await socket.send(pieces if in_pieces else reply)
        except ConnectionClosed:
            pass
        peer.close_code = socket.close_code

    def respond(socket: ServerConnection, request: Request) -> Response | None:
        if request.path == "/page":
            return socket.respond(HTTPStatus.OK, "a page\n")
        if request.path == "/forbidden":
            return socket.respond(HTTPStatus.FORBIDDEN, "not you\n")
        return None

    async with serve(handle, HOST, port, process_request=respond) as server:
        yield EchoServer(server, peers)


class EchoClient:
    """A client."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(
        self, ref: str, event: str = "add", payload: Any = None, topic: str = "ledger"
    ) -> None:
        """Send a frame in version 2 of the protocol."""
        await self.socket.send(json.dumps(["1", ref, topic, event, payload or {}]))

    async def receive(self) -> str:
        """Return the ref of the next reply."""
        ref: str = json.loads(await asyncio.wait_for(self.socket.recv(), TIMEOUT_SECONDS))[1]
        return ref

    async def join(self) -> None:
        """Join, and wait for the reply."""
        await self.send("1", "phx_join")
        assert await self.receive() == "1"


@asynccontextmanager
async def connect_client(proxy: Proxy, path: str = "/") -> AsyncIterator[EchoClient]:
    """Connect through a proxy, offering compression as browsers do."""
    async with connect(proxy.ws_url + path, proxy=None, close_timeout=0.1) as socket:
        yield EchoClient(socket)


async def _run(port: int) -> None:
    async with run_server(port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1])))
