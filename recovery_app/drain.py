"""Graceful shutdown: at SIGTERM, states are saved and WebSockets closed one by one."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import threading
import weakref
from collections.abc import AsyncIterator
from types import FrameType
from typing import Any

from recovery_app._core.reports import report_end
from recovery_app._live.connection import SERVICE_RESTART, Connection, open_connections
from recovery_app.middleware import ASGIApp
from recovery_app.signals import observers

logger = logging.getLogger("recovery_app")

_EVENT_LOOPS = ("asyncio.", "uvloop")


class RecoveryDrain:
    """ASGI middleware that closes the WebSockets before the server handles SIGTERM.

    They are closed in random order, spread evenly over ``seconds``. The topics of each finish
    the events received so far and save their states; then the client is sent close code 1012
    (service restart). Connections that take more than ``grace_seconds`` longer are left to the
    server. New WebSockets are refused meanwhile, with status 503 if the server supports it.
    Then the server's own handler gets the signal. A second SIGTERM goes to it at once.

    The signal handler is installed with the first WebSocket, because every server has installed
    its own by then. If that isn't possible (the event loop doesn't run on the main thread, or
    handles the signal itself), call `drain` yourself.
    """

    def __init__(
        self, application: ASGIApp, *, seconds: float = 10, grace_seconds: float = 5
    ) -> None:
        self.is_draining = False
        self._application = application
        self._seconds = seconds
        self._grace_seconds = grace_seconds
        self._hook: _Hook | None = None
        _drains.add(self)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the scope on, or refuse a WebSocket while draining."""
        if scope["type"] == "websocket":
            if self.is_draining:
                await _refuse(scope, receive, send)
                return
            if self._hook is None:
                self._hook = _Hook(self)
            send = _allow_any_close_code(send)
        await self._application(scope, receive, send)

    async def drain(self, seconds: float | None = None) -> None:
        """Close the WebSockets of the running event loop, and refuse new ones from now on.

        ``seconds`` overrides the time over which the closes are spread.
        """
        self.is_draining = True
        seconds = self._seconds if seconds is None else seconds
        connections = _open_here()
        facts = {"connections": len(connections), "seconds": seconds}
        logger.info("The WebSockets are being closed.", extra={"event": "drain_begun", **facts})
        observers.drain_begun()
        try:
            await self._close(connections, seconds)
        finally:
            observers.drain_ended()
        await asyncio.to_thread(report_end)
        left = len(_open_here())
        logger.info("The WebSockets are closed.", extra={"event": "drained", "left": left})

    async def _close(self, connections: set[Connection], seconds: float) -> None:
        closing = [
            asyncio.create_task(_drain(connection))
            async for connection in _staggered(connections, seconds)
        ]
        # Some may have been about to be accepted when the drain began.
        closing += [asyncio.create_task(_drain(late)) for late in _open_here() - connections]
        if closing:
            _, pending = await asyncio.wait(closing, timeout=self._grace_seconds)
            for task in pending:
                task.cancel()


_drains: weakref.WeakSet[RecoveryDrain] = weakref.WeakSet()


def is_draining() -> bool:
    """Return whether this process refuses WebSockets because it is shutting down."""
    return any(drain.is_draining for drain in _drains)


class _Hook:
    """The SIGTERM handler of a drain, which calls the previous handler afterwards."""

    def __init__(self, drain: RecoveryDrain) -> None:
        self._drain = drain
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._previous = _replaceable_handler()
        if self._previous is None:
            logger.warning(
                "SIGTERM can't be handled here: call drain() before the server is stopped.",
                extra={"event": "drain_unhooked"},
            )
        else:
            signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._drain.is_draining or self._loop.is_closed():
            self._call_previous()
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
            self._call_previous()

    def _call_previous(self) -> None:
        """Restore the previous handler and raise the signal again."""
        signal.signal(signal.SIGTERM, self._previous)
        signal.raise_signal(signal.SIGTERM)


def _replaceable_handler() -> Any:
    """Return the current handler of SIGTERM, or ``None`` if it can't be replaced."""
    if threading.current_thread() is not threading.main_thread():
        return None
    handler = signal.getsignal(signal.SIGTERM)
    # The callbacks of a loop's add_signal_handler() don't go through the handler seen here.
    is_event_loops = str(getattr(handler, "__module__", "")).startswith(_EVENT_LOOPS)
    return None if is_event_loops or handler is signal.SIG_IGN else handler


async def _drain(connection: Connection) -> None:
    await connection.drain()
    observers.connection_drained()


def _open_here() -> set[Connection]:
    """Return the open connections of the running event loop."""
    loop = asyncio.get_running_loop()
    # Copied, as other threads may open and close connections meanwhile.
    return {connection for connection in open_connections.copy() if connection.loop is loop}


async def _staggered(connections: set[Connection], seconds: float) -> AsyncIterator[Connection]:
    """Yield the connections in random order, spread over ``seconds``; skip those already closed."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for place, connection in enumerate(random.sample([*connections], len(connections))):
        if connection in open_connections:
            await asyncio.sleep(start + seconds * place / len(connections) - loop.time())
            yield connection


async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if "websocket.http.response" in (scope.get("extensions") or ()):
        # A proxy can be configured to try the next server after a 503, but not after a 403.
        await send({"type": "websocket.http.response.start", "status": 503, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})
        _finish_handshake(send)
    else:
        await send({"type": "websocket.close", "code": SERVICE_RESTART})


def _finish_handshake(send: Any) -> None:
    """Mark a refused handshake as complete for uvicorn, or it logs an error for each.

    Its implementation ``websockets-sansio`` doesn't notice (uvicorn pull request 3138).
    """
    protocol: Any = getattr(send, "__self__", None)
    if getattr(protocol, "handshake_complete", None) is False:
        protocol.handshake_complete = True


def _allow_any_close_code(send: Any) -> Any:
    """Return a ``send`` that can close with 1012 under Daphne too.

    Daphne's autobahn raises for any code but 1000 and those from 3000 on.
    """
    protocol: Any = next(iter(getattr(send, "args", ())), None)
    if not hasattr(protocol, "sendCloseFrame"):
        return send

    async def send_any_close_code(message: Any) -> None:
        is_open = protocol.state == protocol.STATE_OPEN
        if is_open and message["type"] == "websocket.close" and "code" in message:
            protocol.sendCloseFrame(message["code"])
        else:
            await send(message)

    send_any_close_code.__wrapped__ = send  # type: ignore[attr-defined]
    return send_any_close_code
