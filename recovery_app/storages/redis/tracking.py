"""Notifications of changed streams: `CLIENT TRACKING`.

It is made for caches. The server remembers which keys a connection has read, and reports once over
a second connection that one of them has changed, no matter how. So a process that reads a log to
its end is notified of the next message. Nothing is sent while nothing happens, more groups cost
nothing, and each node of a Cluster can do it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import ResponseError

from recovery_app.storages.redis.connections import Connection, Deadline, close_inner, connect_inner
from recovery_app.storages.redis.errors import FAILURES
from recovery_app.storages.redis.pipelining import Pipeliner
from recovery_app.storages.redis.requests import Command
from recovery_app.storages.redis.topology import Address

logger = logging.getLogger("recovery_app")

CHANNEL = "__redis__:invalidate"
Changed = Callable[["list[bytes] | None"], None]
"""Called with the names of keys that have changed; with ``None`` if it may be any."""


class Hearing:
    """The connection over which one server reports changes, until it is lost."""

    def __init__(
        self,
        make: Callable[[], Any],
        timeout: float,
        changed: Changed,
        lost: Callable[[], Awaitable[None]],
    ) -> None:
        self._make = make
        self._timeout = timeout
        self._changed = changed
        self._lost = lost
        self._inner: Any = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> Command:
        """Connect; return the command that tracks another connection's reads.

        Raise `ResponseError` if the server refuses it.
        """
        await self.close()
        self._inner = inner = self._make()
        await connect_inner(inner)
        client_id = await self._ask("CLIENT", "ID")
        await self._ask("SUBSCRIBE", CHANNEL)
        self._task = asyncio.ensure_future(self._listen(inner))
        return ("CLIENT", "TRACKING", "ON", "REDIRECT", client_id)

    async def close(self) -> None:
        """Close the connection, without calling the listener."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        inner, self._inner = self._inner, None
        await close_inner(inner)

    async def _ask(self, *command: Any) -> Any:
        await self._inner.send_command(*command, check_health=False)
        return await self._inner.read_response(disable_decoding=True)

    async def _listen(self, inner: Any) -> None:
        try:
            while True:
                reply = await self._hear(inner)
                if reply[0] == b"message":
                    self._changed(reply[2])
        except Exception:
            # Of whatever kind: nobody else would notice.
            self._inner = self._task = None
            await close_inner(inner)
            await self._lost()

    async def _hear(self, inner: Any) -> Any:
        """Return the server's next report; raise `TimeoutError` if it doesn't respond at all."""
        try:
            return await self._read(inner)
        except TimeoutError:
            await inner.send_command("PING", check_health=False)
            return await self._read(inner)

    async def _read(self, inner: Any) -> Any:
        with Deadline(self._timeout):
            return await inner.read_response(disable_decoding=True, disconnect_on_error=False)


class Tracker:
    """One server: ``pipeliner`` reads streams, and the server reports which of them change."""

    def __init__(
        self,
        hearing: Callable[[Changed, Callable[[], Awaitable[None]]], Hearing],
        reading: Callable[[Callable[[Connection], Awaitable[None]]], Pipeliner],
        tracking: Tracking,
    ) -> None:
        self._tracking = tracking
        self._hearing = hearing(tracking.changed, self._note_lost)
        self.pipeliner = reading(self._greet)
        self._has_read = False
        self.is_refused = False

    async def check(self) -> None:
        """Raise the error of a failure unless the server still tracks what was read."""
        await self.pipeliner.ask([("PING",)])

    async def close(self) -> None:
        """Close both connections."""
        await self._hearing.close()
        await self.pipeliner.close()

    async def _note_lost(self) -> None:
        # The server would go on remembering, and tell nobody.
        await self.pipeliner.close()
        self._has_read = False
        self._tracking.changed(None)

    async def _greet(self, connection: Connection) -> None:
        """Start a new connection for reads, without what the last one has read."""
        has_read, self._has_read = self._has_read, True
        try:
            await connection.exchange_one(await self._hearing.open())
        except ResponseError as error:
            await self._hearing.close()
            self.is_refused = True
            self._tracking.warn_refused(error)
        else:
            self.is_refused = False
        if has_read:
            self._tracking.changed(None)


class Tracking:
    """The servers whose streams one event loop follows, and the listeners."""

    def __init__(self, make: Callable[[Address, Tracking], Tracker]) -> None:
        self._make = make
        self._trackers: dict[Address, Tracker] = {}
        self._listeners: set[Changed] = set()
        self._has_warned = False

    @property
    def is_refused(self) -> bool:
        """Whether a server refuses it, for example a proxy, or because of its access rules."""
        return any(tracker.is_refused for tracker in self._trackers.values())

    @property
    def is_on(self) -> bool:
        """Whether there is a listener."""
        return bool(self._listeners)

    def listen(self, listener: Changed) -> None:
        """Call ``listener`` with keys that change after they were read."""
        self._listeners.add(listener)

    async def leave(self, listener: Changed) -> None:
        """Stop calling ``listener``; without any, no server is asked."""
        self._listeners.discard(listener)
        if not self._listeners:
            await self.close()

    def changed(self, keys: list[bytes] | None) -> None:
        """Call all listeners."""
        for listener in list(self._listeners):
            listener(keys)

    def warn_refused(self, error: Exception) -> None:
        """Log that a server refuses it, once."""
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "Messages are polled for: the server refuses CLIENT TRACKING, or to subscribe to "
                "%s (%s).",
                CHANNEL,
                error,
                extra={"event": "groups_polled"},
            )

    def pipeliner(self, address: Address) -> Pipeliner:
        """Return the pipeliner for reads of streams from a server."""
        tracker = self._trackers.get(address)
        if tracker is None:
            tracker = self._trackers[address] = self._make(address, self)
        return tracker.pipeliner

    async def check(self) -> None:
        """Have everything read again that a server may no longer track."""
        for address, tracker in list(self._trackers.items()):
            try:
                await tracker.check()
            except FAILURES:
                # Its streams may have moved to another server, which isn't to wait for this one.
                self._trackers.pop(address, None)
                await tracker.close()
                self.changed(None)

    async def close(self) -> None:
        """Close all connections; the next reads open others."""
        trackers, self._trackers = self._trackers, {}
        for tracker in trackers.values():
            await tracker.close()
        if trackers:
            self.changed(None)
