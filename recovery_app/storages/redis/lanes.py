"""Own one connection of an event loop: made when it is needed, given up when it is broken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

from redis.exceptions import RedisError, ResponseError

from recovery_app.storages.redis.errors import BROKEN, as_redirect
from recovery_app.storages.redis.wire import Command

try:
    # redis-py's own way from an event loop packs in Python, whether hiredis is there or not.
    import hiredis
except ImportError:
    _pack: Callable[[Command], bytes] | None = None
else:
    # Before 2.1 it can only read.
    _pack = getattr(hiredis, "pack_command", None)

CLOSE_SECONDS = 1
Result = TypeVar("Result")


async def within(seconds: float, work: Awaitable[Result]) -> Result:
    """Await ``work``, for so many seconds at most; `TimeoutError`.

    Costs less than `asyncio.wait_for`, which makes a task before Python 3.12, where
    `asyncio.timeout` isn't there either (3.10).
    """
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    late = False

    def stop() -> None:
        nonlocal late
        late = True
        task.cancel()

    alarm = asyncio.get_running_loop().call_later(seconds, stop)
    try:
        return await work
    except asyncio.CancelledError:
        # Both at once: then whoever else has cancelled the task comes first.
        if not late or getattr(task, "uncancel", int)():
            raise
        raise TimeoutError(f"No answer within {seconds} s.") from None
    finally:
        alarm.cancel()


class Lane:
    """A connection that one packet at a time travels on."""

    def __init__(self, make: Callable[[], Any], timeout: float) -> None:
        self._make = make
        self._timeout = timeout
        self._connection: Any = None
        self._is_busy = self._is_retired = False

    async def ask(self, commands: Sequence[Command], *, repeatable: bool) -> list[Any]:
        """Send the commands and give their replies; an error among them as an exception.

        Raises what `BROKEN` names, and is without a connection then. One that the server
        has closed in the meantime is replaced, and the commands are sent again if that
        does no harm.
        """
        self._is_busy = True
        try:
            return await within(self._timeout, self._ask(commands, repeatable=repeatable))
        except BaseException:
            self._is_retired = True
            raise
        finally:
            self._is_busy = False
            if self._is_retired:
                await self.close()

    async def retire(self) -> None:
        """Let go of the connection, if it is on its way when it is back."""
        if self._is_busy:
            self._is_retired = True
        else:
            await self.close(gently=True)

    async def close(self, *, gently: bool = False) -> None:
        """Let go of the connection; the next packet makes another.

        ``gently``: see its end, as a loop that is about to close never would otherwise.
        """
        self._is_retired = False
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(RedisError, OSError, asyncio.TimeoutError):
                if gently:
                    await asyncio.wait_for(connection.disconnect(), CLOSE_SECONDS)
                else:
                    await connection.disconnect(nowait=True)

    async def _ask(self, commands: Sequence[Command], *, repeatable: bool) -> list[Any]:
        if self._connection is not None and not _is_stale(self._connection):
            try:
                return await self._converse(self._connection, commands)
            except BROKEN:
                if not repeatable:
                    raise
        await self.close()
        self._connection = self._make()
        await self._connection.connect()
        return await self._converse(self._connection, commands)

    async def _converse(self, connection: Any, commands: Sequence[Command]) -> list[Any]:
        if _pack is not None:
            packed = b"".join(map(_pack, commands))
        else:
            packed = b"".join(b"".join(connection.pack_command(*each)) for each in commands)
        await connection.send_packed_command(packed, check_health=False)
        return [await _read(connection) for _ in commands]


async def _read(connection: Any) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return as_redirect(error)


def _is_stale(connection: Any) -> bool:
    # redis-py's own way to ask costs a turn of the loop with a time-out for each packet.
    reader = getattr(connection, "_reader", None)
    return reader is None or reader.at_eof()
