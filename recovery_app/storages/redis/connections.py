"""Own one connection of an event loop: made when it is needed, given up when it is broken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from recovery_app.storages.redis.errors import BROKEN, FAILURES, as_redirect, not_connected
from recovery_app.storages.redis.requests import Command
from recovery_app.storages.redis.topology import ROLE, is_replica

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
    """A connection that one packet at a time travels on.

    ``strays`` is shared by all lanes to a server: how to end the connections that were given
    up with a packet on its way, which would undo what came after it. So that goes first.
    ``to_master``: what isn't a master (any more) is taken for gone.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        timeout: float,
        strays: list[Command] | None = None,
        *,
        to_master: bool = False,
    ) -> None:
        self._make = make
        self._timeout = timeout
        self._knows_end = strays is not None
        self._strays = strays if strays is not None else []
        self._to_master = to_master
        self._connection: Any = None
        self._end: Command | None = None
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
            self._note_stray()
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
        self._is_retired, self._end = False, None
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
                self._note_stray()
        await self.close()
        self._connection = self._make()
        await _connect(self._connection)
        if self._knows_end:
            await self._get_to_know()
        return await self._converse(self._connection, commands)

    async def _get_to_know(self) -> None:
        asked: list[Command] = [("CLIENT", "INFO"), *([ROLE] if self._to_master else [])]
        info, *roles = await self._converse(self._connection, asked)
        if any(map(is_replica, roles)):
            raise RedisConnectionError("It is a replica now.")
        self._end = _end_of(info)

    def _note_stray(self) -> None:
        if self._end is not None:
            self._strays.append(self._end)

    async def _converse(self, connection: Any, commands: Sequence[Command]) -> list[Any]:
        strays = list(self._strays)
        sent = [*strays, *commands]
        if _pack is not None:
            packed = b"".join(map(_pack, sent))
        else:
            packed = b"".join(b"".join(connection.pack_command(*each)) for each in sent)
        await connection.send_packed_command(packed, check_health=False)
        replies = [await _read(connection) for _ in sent]
        if strays:
            self._strays[:] = [each for each in self._strays if each not in strays]
        return replies[len(strays) :]


async def _connect(connection: Any) -> None:
    try:
        await connection.connect()
    except FAILURES:
        raise
    except Exception as error:
        raise not_connected(error) from error


async def _read(connection: Any) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return as_redirect(error)


def _end_of(info: Any) -> Command | None:
    """Give the command that ends the connection of which ``CLIENT INFO`` says this."""
    if not isinstance(info, bytes):
        return None
    found = dict(part.partition(b"=")[::2] for part in info.split())
    # After a restart the server gives the same ids again, but not to the same address.
    return ("CLIENT", "KILL", "ID", found[b"id"], "ADDR", found[b"addr"])


def _is_stale(connection: Any) -> bool:
    # redis-py's own way to ask costs a turn of the loop with a time-out for each packet.
    reader = getattr(connection, "_reader", None)
    return reader is None or reader.at_eof()
