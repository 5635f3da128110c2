"""Notifications of messages on PostgreSQL: LISTEN, on a connection for each event loop.

A notification says only that there is something new somewhere; the query of the poll finds out
where. A process that publishes a lot doesn't notify each time, so a notified process checks again
a moment later. And because a notification may get lost with its connection, it also polls, though
less often.
"""

from __future__ import annotations

import asyncio
import logging
from inspect import signature
from typing import Any

from django.db import connections

from recovery_app.storages.messages import MessageLogs, MessageWatch

CHANNEL = "recovery_app_groups"
QUIET_SECONDS = 0.02
"""For how long a process publishes without notifying again."""
POLL_SECONDS = 2.0
"""How often a process that listens also polls."""
LOOK_AGAIN_SECONDS = (0.05, 0.3)
"""When to check again: after publishes without a notification, also on a busy server."""
CONNECT_SECONDS = 10
PING_SECONDS = 30.0
"""After how much silence the connection is tested."""
RETRY_SECONDS = 5.0
_NOT_OURS = ("context", "cursor_factory", "prepare_threshold")
"""Parameters by which Django adapts the connections that run queries."""

logger = logging.getLogger("recovery_app")


def can_listen(alias: str) -> bool:
    """Return whether a database and its driver can notify an event loop (psycopg 3.2)."""
    connection: Any = connections[alias]
    driver = getattr(connection.Database, "AsyncConnection", None)
    if connection.vendor != "postgresql" or driver is None:
        return False
    # psycopg 3.1 waits for notifications without an end.
    return "timeout" in signature(driver.notifies).parameters


class ListeningWatch(MessageWatch):
    """Waits for notifications by PostgreSQL; ``alias`` is the database that it listens on."""

    def __init__(self, logs: MessageLogs, alias: str) -> None:
        super().__init__(logs)
        self.is_listening = False
        self._alias = alias
        self._driver: Any = connections[alias].Database  # type: ignore[attr-defined]
        self._task: asyncio.Task[None] | None = None
        self._look_at: list[float] = []

    async def wait(self) -> list[str]:
        if self._task is None:
            self._task = asyncio.create_task(self._keep_listening())
        while True:
            await self._poll()
            if self._noted:
                return self.take_noted()
            await self.rest(max(0, self._next_poll - asyncio.get_running_loop().time()))

    async def close(self) -> None:
        """End the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _poll(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._next_poll:
            return
        seconds = POLL_SECONDS if self.is_listening else self._logs.poll_seconds
        self._next_poll = self._look_at.pop(0) if self._look_at else now + seconds
        if self.positions:
            for group in await self._logs.achanged_groups(dict(self.positions)):
                self.note(group)

    def _hear(self) -> None:
        """Check now, and again in a moment."""
        self._next_poll = now = asyncio.get_running_loop().time()
        self._look_at = [now + seconds for seconds in LOOK_AGAIN_SECONDS]
        self.wake()

    async def _keep_listening(self) -> None:
        """Listen as long as this is open; reconnect after an outage."""
        while True:
            try:
                if not await self._listen():
                    return
            except (self._driver.Error, OSError, asyncio.TimeoutError):
                # Of an outage the poll tells, which goes on meanwhile.
                pass
            finally:
                self.is_listening = False
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> bool:
        """Listen until that fails; return false if it isn't possible at all."""
        # Not in a task of its own, which would drop the connection if it was cancelled at its end.
        async with await self._connect() as connection:
            if not await self._is_direct(connection):
                logger.warning(
                    "A pooler between this process and PostgreSQL shares connections, which LISTEN "
                    "doesn't support: durable groups are polled.",
                    extra={"event": "groups_polled"},
                )
                return False
            await connection.execute(f"LISTEN {CHANNEL}")
            self.is_listening = True
            self._hear()
            while True:
                await self._hear_next(connection)

    async def _hear_next(self, connection: Any) -> None:
        heard = False
        async for _ in connection.notifies(timeout=PING_SECONDS, stop_after=1):
            heard = True
        if heard:
            self._hear()
        else:
            # A server that is gone without a word would be listened to for ever.
            await asyncio.wait_for(connection.execute("SELECT 1"), CONNECT_SECONDS)

    async def _connect(self) -> Any:
        parameters = connections[self._alias].get_connection_params()
        own = {name: value for name, value in parameters.items() if name not in _NOT_OURS}
        own.setdefault("connect_timeout", CONNECT_SECONDS)
        return await self._driver.AsyncConnection.connect(**own, autocommit=True)

    async def _is_direct(self, connection: Any) -> bool:
        """Return whether the server process is the one that the connection reported at first.

        Behind a pooler it isn't, and LISTEN on one of its connections is soon undone.
        """
        cursor = await connection.execute("SELECT pg_backend_pid()")
        found = await cursor.fetchone()
        return bool(found[0] == connection.info.backend_pid)
