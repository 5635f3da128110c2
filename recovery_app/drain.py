"""Own the end of a server process: its WebSockets go one by one, each when its state is safe."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import threading
from collections.abc import AsyncIterator
from types import FrameType
from typing import Any

from recovery_app._live.connection import SERVICE_RESTART, Connection, open_connections
from recovery_app.middleware import ASGIApp

logger = logging.getLogger("recovery_app")

_EVENT_LOOPS = ("asyncio.", "uvloop")


class RecoveryDrain:
    """Wrap an ASGI application: at SIGTERM its WebSockets are closed first, and not all at once.

    Each one's topics finish what has come and save it, and the client is told to come back
    (close code 1012), in random order and evenly spread over ``seconds``; what isn't done
    ``grace_seconds`` after that is left to the server. New WebSockets are refused meanwhile, by
    a 503 where the server can do that. Then the server's own handling of the signal goes on; a
    second SIGTERM goes to it at once.

    The signal is hooked with the first WebSocket, since every server has its handler by then.
    Where that can't be (the loop isn't on the main thread, or has the signal for itself), call
    `drain` yourself.
    """

    def __init__(
        self, application: ASGIApp, *, seconds: float = 10, grace_seconds: float = 5
    ) -> None:
        self.is_draining = False
        self._application = application
        self._seconds = seconds
        self._grace_seconds = grace_seconds
        self._hook: _Hook | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a scope, unless it is a WebSocket that comes too late."""
        if scope["type"] == "websocket":
            if self.is_draining:
                await _refuse(scope, receive, send)
                return
            if self._hook is None:
                self._hook = _Hook(self)
            send = _with_every_code(send)
        await self._application(scope, receive, send)

    async def drain(self, seconds: float | None = None) -> None:
        """Close the WebSockets of the running event loop, and refuse new ones from now on.

        ``seconds``: another time than the usual to spread them over.
        """
        self.is_draining = True
        seconds = self._seconds if seconds is None else seconds
        connections = _live()
        facts = {"connections": len(connections), "seconds": seconds}
        logger.info("The WebSockets are being closed.", extra={"event": "drain_begun", **facts})
        closing = [
            asyncio.create_task(connection.drain())
            async for connection in _staggered(connections, seconds)
        ]
        # Those that were still being accepted when it began.
        closing += [asyncio.create_task(late.drain()) for late in _live() - connections]
        if closing:
            _, undone = await asyncio.wait(closing, timeout=self._grace_seconds)
            for task in undone:
                task.cancel()
        logger.info("The WebSockets are closed.", extra={"event": "drained", "left": len(_live())})


class _Hook:
    """The place of a drain before whatever else the process does at SIGTERM."""

    def __init__(self, drain: RecoveryDrain) -> None:
        self._drain = drain
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._previous = _find_handler()
        if self._previous is None:
            logger.warning(
                "SIGTERM can't be hooked here: call drain() where the server is told to stop.",
                extra={"event": "drain_unhooked"},
            )
        else:
            signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._drain.is_draining or self._loop.is_closed():
            self._pass_on()
        else:
            self._drain.is_draining = True
            self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._drain.drain()
        except Exception:
            logger.exception("The drain failed.", extra={"event": "drain_failed"})
        if signal.getsignal(signal.SIGTERM) == self._handle:
            self._pass_on()

    def _pass_on(self) -> None:
        """Have the signal do what it does without the hook."""
        signal.signal(signal.SIGTERM, self._previous)
        signal.raise_signal(signal.SIGTERM)


def _find_handler() -> Any:
    """Give what hears SIGTERM now; ``None`` where nothing can take its place."""
    if threading.current_thread() is not threading.main_thread():
        return None
    handler = signal.getsignal(signal.SIGTERM)
    # A loop's add_signal_handler is told of a signal past the handler that is seen here.
    is_of_a_loop = str(getattr(handler, "__module__", "")).startswith(_EVENT_LOOPS)
    return None if is_of_a_loop or handler is signal.SIG_IGN else handler


def _live() -> set[Connection]:
    """Give the connections of the running event loop; others may come and go meanwhile."""
    loop = asyncio.get_running_loop()
    return {connection for connection in open_connections.copy() if connection.loop is loop}


async def _staggered(connections: set[Connection], seconds: float) -> AsyncIterator[Connection]:
    """Give each connection that is still there in its turn, in random order."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for place, connection in enumerate(random.sample([*connections], len(connections))):
        if connection in open_connections:
            await asyncio.sleep(start + seconds * place / len(connections) - loop.time())
            yield connection


async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if "websocket.http.response" in (scope.get("extensions") or ()):
        # A proxy can be told to try the next server after a 503; a 403 may be meant.
        await send({"type": "websocket.http.response.start", "status": 503, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})
    else:
        await send({"type": "websocket.close", "code": SERVICE_RESTART})


def _with_every_code(send: Any) -> Any:
    """Give a ``send`` that can close with 1012 under Daphne too.

    Its autobahn lets an application close with 1000 and from 3000 on, and raises else.
    """
    protocol: Any = next(iter(getattr(send, "args", ())), None)
    if not hasattr(protocol, "sendCloseFrame"):
        return send

    async def send_every_code(message: Any) -> None:
        is_open = protocol.state == protocol.STATE_OPEN
        if is_open and message["type"] == "websocket.close" and "code" in message:
            protocol.sendCloseFrame(message["code"])
        else:
            await send(message)

    return send_every_code
