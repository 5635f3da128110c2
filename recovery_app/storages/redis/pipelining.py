"""Pipelining: what is sent to a server in one turn of an event loop travels together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from recovery_app.storages.redis.connections import Connection
from recovery_app.storages.redis.errors import BROKEN, FAILURES
from recovery_app.storages.redis.requests import Command, Pipeline, Request, WriteOptions

MAX_REQUESTS = 256
"""So many fenced steps take about a millisecond of the server's only thread."""
MAX_BYTES = 1_048_576


class Pipeliner:
    """Collects requests to one server and sends them on the first free connection.

    The first caller in a turn of the loop waits until the turn ends. If there is no other, it
    sends its request itself, which saves a task and two turns; otherwise a task sends them
    all, so that a caller that is cancelled doesn't take the others along. While all
    connections are busy the requests wait, so pipelines grow with the load.
    """

    def __init__(
        self,
        connections: list[Connection],
        options: WriteOptions,
        *,
        on_broken: Callable[[], None],
    ) -> None:
        self._connections = connections
        self._free = list(connections)
        self._options = options
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Request[Any]] = []
        self._turns: deque[asyncio.Future[Connection]] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_led = False

    def send(self, request: Request[Any]) -> Awaitable[Any]:
        """Return an awaitable of the reply, or of the exception that was raised.

        It has to be awaited at once.
        """
        future = request.future = self._loop.create_future()
        self._waiting.append(request)
        if self._is_led or not self._free:
            return future
        return self._lead(request)

    async def ask(self, commands: Sequence[Command], *, repeatable: bool = True) -> list[Any]:
        """Send commands on the next free connection, before requests that wait."""
        connection = self._free.pop() if self._free else await self._next_connection()
        task = self._start(connection, connection.ask(commands, repeatable=repeatable))
        try:
            return await asyncio.shield(task)
        except FAILURES as error:
            self._report(error)
            raise

    async def close(self) -> None:
        """Close the connections, those that are busy after their pipeline."""
        for connection in self._connections:
            await connection.retire()

    async def _lead(self, request: Request[Any]) -> Any:
        self._is_led = True
        try:
            await asyncio.sleep(0)
        except BaseException:
            request.future.cancel()
            self._flush()
            raise
        # If a timeout has answered this request, the one that waits is somebody else's.
        if len(self._waiting) > 1 or not self._free or request.future.done():
            self._flush()
            return await request.future
        self._is_led = False
        self._waiting.clear()
        connection = self._free.pop()
        try:
            await self._exchange(connection, [request])
        finally:
            self._release(connection)
        return request.result

    async def _exchange(self, connection: Connection, requests: list[Request[Any]]) -> None:
        """Send requests; then each has its result, a reply or an exception."""
        pipeline: Pipeline | None = Pipeline(requests, self._options)
        try:
            while pipeline is not None:
                replies = await connection.ask(pipeline.commands, repeatable=pipeline.is_repeatable)
                pipeline = pipeline.settle(replies)
        except Exception as error:
            # Of whatever kind: callers would otherwise wait for ever.
            self._report(error)
            # What was answered before a repetition failed stays answered.
            for request in pipeline.requests if pipeline is not None else requests:
                request.result = error

    def _flush(self) -> None:
        self._is_led = False
        while self._waiting and self._free:
            requests = self._take()
            if requests:
                connection = self._free.pop()
                self._start(connection, self._run(connection, requests))

    def _take(self) -> list[Request[Any]]:
        """Remove as many requests as may travel together, and return those still wanted."""
        taken: list[Request[Any]] = []
        count = size_bytes = 0
        for request in self._waiting:
            size_bytes += request.payload_bytes
            if taken and (size_bytes > MAX_BYTES or len(taken) == MAX_REQUESTS):
                break
            count += 1
            if not request.future.done():
                taken.append(request)
        del self._waiting[:count]
        return taken

    async def _run(self, connection: Connection, requests: list[Request[Any]]) -> None:
        try:
            await self._exchange(connection, requests)
        except asyncio.CancelledError:
            for request in requests:
                request.future.cancel()
            raise
        for request in requests:
            if not request.future.done():
                request.future.set_result(request.result)

    def _start(self, connection: Connection, work: Any) -> asyncio.Task[Any]:
        """Start a task that releases the connection when it ends."""
        task: asyncio.Task[Any] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._end, connection))
        return task

    def _end(self, connection: Connection, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._release(connection)

    async def _next_connection(self) -> Connection:
        turn: asyncio.Future[Connection] = self._loop.create_future()
        self._turns.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._release(turn.result())
            raise

    def _release(self, connection: Connection) -> None:
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        self._free.append(connection)
        if self._waiting and not self._is_led:
            self._flush()

    def _report(self, error: Exception) -> None:
        if isinstance(error, BROKEN):
            self._on_broken()
        if isinstance(error, TimeoutError):
            # Requests in the queue have waited as long as the server was silent.
            waiting, self._waiting = self._waiting, []
            for request in waiting:
                if not request.future.done():
                    request.future.set_result(error)
