"""One async client for each event loop, safe for threads and after a fork."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from recovery_app.storages.redis.async_client import AsyncClient
from recovery_app.storages.redis.requests import Request
from recovery_app.storages.redis.routing import Start

Result = TypeVar("Result")


class LoopClients:
    """The client of each event loop, closed when the loop shuts down."""

    def __init__(self, make: Callable[[], AsyncClient]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._clients: dict[asyncio.AbstractEventLoop, AsyncClient] = {}
        self._inherited: list[object] = []

    def send(self, request: Request[Result]) -> Coroutine[Any, Any, Result]:
        """Return the coroutine of a request, which any loop can run."""
        try:
            client = self._clients[asyncio.get_running_loop()]
        except (RuntimeError, KeyError):
            return self._send_first(request)
        return client.send(request)

    async def run(self, start: Start[Result], operation: str) -> Result:
        """Return the result of a flow over all servers; raise `StorageError`."""
        return await (await self.current()).run(start, operation)

    async def current(self) -> AsyncClient:
        """Return the client of the running loop."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._make()
            with self._lock:
                for closed in [other for other in self._clients if other.is_closed()]:
                    del self._clients[closed]
                self._clients[loop] = client
            await client.close_with_loop()
        return client

    def close(self) -> None:
        """Have each running loop close its connections; loops that have ended did so then."""
        with self._lock:
            found = list(self._clients.items())
        for loop, client in found:
            if loop.is_running():
                # A loop that ends at this moment closes its connections by itself.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(_start_closing, client)

    def after_fork(self) -> None:
        """Forget the parent's loops without touching what they still use.

        Closing a connection here would remove it from the parent's selector, so what was
        inherited is kept as long as the child lives.
        """
        self._inherited.append(self._clients)
        self._lock = threading.Lock()
        self._clients = {}

    async def _send_first(self, request: Request[Result]) -> Result:
        return await (await self.current()).send(request)


_closing: set[asyncio.Task[None]] = set()


def _start_closing(client: AsyncClient) -> None:
    task = asyncio.ensure_future(client.close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)
