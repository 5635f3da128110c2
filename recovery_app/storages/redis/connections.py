"""One connection of an event loop, opened when it is needed and closed when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, cast

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from recovery_app.storages.redis.errors import BROKEN, FAILURES, as_redirect, not_connected
from recovery_app.storages.redis.packing import pack
from recovery_app.storages.redis.requests import Command
from recovery_app.storages.redis.topology import ROLE, is_replica

CLOSE_SECONDS = 1


class Deadline:
    """A block that raises `TimeoutError` after some seconds.

    Instead of `asyncio.timeout`, which Python 3.10 lacks, and `asyncio.wait_for`, which starts
    a task before 3.12.
    """

    __slots__ = ("_is_over", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_over = False

    def __enter__(self) -> None:
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._stop)

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if not self._is_over or error_type is not asyncio.CancelledError:
            return
        # If somebody else has cancelled the task as well, that counts.
        if not getattr(self._task, "uncancel", int)():
            raise TimeoutError(f"No answer within {self._seconds} s.") from None

    def _stop(self) -> None:
        self._is_over = True
        self._task.cancel()


class Connection:
    """A connection that carries one pipeline at a time.

    ``orphans`` is shared by all connections to a server: the commands that end connections which
    were given up while a pipeline was on its way. Such a pipeline would undo later ones, so these
    commands are sent first. With ``to_master``, a replica is refused. ``greet`` is called with each
    new connection first.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        timeout: float,
        orphans: list[Command] | None = None,
        *,
        to_master: bool = False,
        greet: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> None:
        self._make = make
        self._greet = greet
        self._timeout = timeout
        self._kills_orphans = orphans is not None
        self._orphans = orphans if orphans is not None else []
        self._to_master = to_master
        self._inner: Any = None
        self._kill: Command | None = None
        self._is_busy = self._is_retired = False

    async def ask(self, commands: Sequence[Command], *, repeatable: bool) -> list[Any]:
        """Send commands and return their replies; an error among them as an exception.

        Raise one of `BROKEN` if the connection breaks, which closes it. One that the server
        has closed in the meantime is replaced, and the commands are sent again if
        ``repeatable``.
        """
        self._is_busy = True
        try:
            with Deadline(self._timeout):
                if self._inner is not None and not _is_stale(self._inner):
                    try:
                        return await self._exchange(commands)
                    except BROKEN:
                        if not repeatable:
                            raise
                        self._note_orphan()
                await self._open()
                return await self._exchange(commands)
        except BaseException:
            self._is_retired = True
            self._note_orphan()
            raise
        finally:
            self._is_busy = False
            if self._is_retired:
                await self.close()

    async def retire(self) -> None:
        """Close the connection, after its pipeline if one is on its way."""
        if self._is_busy:
            self._is_retired = True
        else:
            await self.close(gently=True)

    async def close(self, *, gently: bool = False) -> None:
        """Close the connection; the next pipeline opens another.

        ``gently``: wait until it is closed, which a loop that is about to end can't do.
        """
        self._is_retired, self._kill = False, None
        inner, self._inner = self._inner, None
        await close_inner(inner, gently=gently)

    async def exchange_one(self, command: Command) -> Any:
        """Return the reply to a command of a greeting; raise it if it is an error."""
        [reply] = await self._exchange([command])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def _open(self) -> None:
        await self.close()
        self._inner = self._make()
        await connect_inner(self._inner)
        if self._kills_orphans:
            info, *roles = await self._exchange([("CLIENT", "INFO"), *[ROLE] * self._to_master])
            if any(map(is_replica, roles)):
                raise RedisConnectionError("It is a replica now.")
            self._kill = _kill_command(info)
        if self._greet is not None:
            await self._greet(self)

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        inner = self._inner
        orphans = self._orphans
        if orphans:
            orphans = list(orphans)
            commands = [*orphans, *commands]
        await inner.send_packed_command(pack(commands, inner), check_health=False)
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(await inner.read_response(disable_decoding=True))
            except ResponseError as error:
                replies.append(as_redirect(error))
        if not orphans:
            return replies
        self._orphans[:] = [each for each in self._orphans if each not in orphans]
        return replies[len(orphans) :]

    def _note_orphan(self) -> None:
        if self._kill is not None:
            self._orphans.append(self._kill)


async def connect_inner(inner: Any) -> None:
    """Connect; raise one of `FAILURES`."""
    try:
        await inner.connect()
    except FAILURES:
        raise
    except Exception as error:
        raise not_connected(error) from error


async def close_inner(inner: Any, *, gently: bool = False) -> None:
    """Close what was opened, if anything was; ``gently`` as in `Connection.close`."""
    if inner is not None:
        with suppress(RedisError, OSError, asyncio.TimeoutError):
            if gently:
                await asyncio.wait_for(inner.disconnect(), CLOSE_SECONDS)
            else:
                await inner.disconnect(nowait=True)


def _kill_command(info: Any) -> Command | None:
    """Return the command that ends the connection with this ``CLIENT INFO``, if that is known."""
    if not isinstance(info, bytes):
        return None
    found = dict(part.partition(b"=")[::2] for part in info.split())
    # A restarted server uses the same ids again, but not for the same address.
    return ("CLIENT", "KILL", "ID", found[b"id"], "ADDR", found[b"addr"])


def _is_stale(inner: Any) -> bool:
    # redis-py's own check costs a turn of the loop and a timeout for each pipeline.
    reader = getattr(inner, "_reader", None)
    return reader is None or reader.at_eof()
