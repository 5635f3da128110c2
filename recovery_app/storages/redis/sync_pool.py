"""Connections for blocking calls: the storage's own to one server, or those of a given pool.

redis-py's pools count, name and lock for each command, which takes as long as the command itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, Queue, SimpleQueue
from typing import Any, Protocol

import redis
from redis.exceptions import ConnectionError as RedisConnectionError

from recovery_app.storages.redis.errors import BROKEN, FAILURES, not_connected

# Before 5.3 a pool requires the name of the command that the connection is for.
FOR = ("EVALSHA",) if tuple(map(int, redis.__version__.split(".")[:2])) < (5, 3) else ()


class SyncPool(Protocol):
    """Connections that threads take and return."""

    def take(self) -> Any:
        """Return a connection that is connected; raise one of `FAILURES`."""

    def release(self, connection: Any) -> None:
        """Return a connection to the pool, whether it is still connected or not."""

    def close_idle(self) -> None:
        """Close the connections that no call is using."""


class OwnPool:
    """Connections to one server; a thread waits up to ``timeout`` for one of ``size``."""

    def __init__(self, make: Callable[[], Any], size: int, timeout: float) -> None:
        self._make = make
        self._timeout = timeout
        self._idle: list[Any] = []
        # Both are filled and emptied in one step of the interpreter.
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(size):
            self._free.put(None)

    def take(self) -> Any:
        try:
            self._free.get(timeout=self._timeout)
        except Empty:
            raise RedisConnectionError("No connection available.") from None
        try:
            return self._open()
        except BaseException:
            self._free.put(None)
            raise

    def release(self, connection: Any) -> None:
        self._idle.append(connection)
        self._free.put(None)

    def close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().disconnect()

    def _open(self) -> Any:
        # The last one first, so that there are no more than are needed at a time.
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._make()
        else:
            if _is_ready(connection):
                return connection
            connection.disconnect()
        _connect(connection)
        return connection


class GivenPool:
    """A pool of redis-py that belongs to somebody else, who closes it."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def take(self) -> Any:
        try:
            return self._pool.get_connection(*FOR)
        except FAILURES:
            raise
        except Exception as error:
            raise not_connected(error) from error

    def release(self, connection: Any) -> None:
        self._pool.release(connection)

    def close_idle(self) -> None:
        try:
            self._pool.disconnect(inuse_connections=False)
        except TypeError:
            # Before redis-py 7 a blocking pool can only close all, under the feet of other threads.
            queue = self._pool.pool
            idle = list(_drain(queue))
            for connection in filter(None, idle):
                connection.disconnect()
            for each in idle:
                queue.put_nowait(each)


def _drain(queue: Queue[Any]) -> Iterator[Any]:
    with suppress(Empty):
        while True:
            yield queue.get_nowait()


def _is_ready(connection: Any) -> bool:
    """Return whether a connection can be used: open, and without a reply that nobody has read."""
    try:
        return not connection.can_read()
    except BROKEN:
        return False


def _connect(connection: Any) -> None:
    try:
        connection.connect()
    except FAILURES:
        raise
    except Exception as error:
        raise not_connected(error) from error
