"""The queue of one topic's work, which is done one item at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from recovery_app._core.telemetry import log_failure
from recovery_app._live.interfaces import Work
from recovery_app._live.limits import Backlog

CAPACITY = 1_000


class Mailbox:
    """Does posted work in order, in a separate task; failures are logged and skipped.

    Lighter than an `asyncio.Queue`, because there is one for each topic of each connection. The
    bytes of the waiting frames are counted in ``backlog``, for all topics of the connection.
    """

    def __init__(self, backlog: Backlog | None = None) -> None:
        self._works: deque[tuple[Work, int]] = deque()
        self._backlog = backlog
        self._closing = False
        self._cancelled = False
        self._loop = asyncio.get_running_loop()
        self._arrival: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._task = self._loop.create_task(self._run())

    async def post(self, work: Work, size_bytes: int = 0) -> None:
        """Add work; wait while there is no room for it, which slows the sender down."""
        while not self.try_post(work, size_bytes):
            if len(self._works) < CAPACITY and self._backlog is not None:
                await self._backlog.wait()
                continue
            if self._room is None or self._room.done():
                self._room = self._loop.create_future()
            # Another sender may wait for the same.
            await asyncio.shield(self._room)

    def try_post(self, work: Work, size_bytes: int = 0) -> bool:
        """Add work if there is room for it; return whether it was added.

        ``size_bytes`` is the size of the frame that it came in, if any.
        """
        if len(self._works) >= CAPACITY:
            return False
        if self._task.done():
            # It ended while the sender waited.
            return True
        if size_bytes and self._backlog is not None and not self._backlog.try_add(size_bytes):
            return False
        self._works.append((work, size_bytes))
        _wake(self._arrival)
        return True

    async def perform(self, work: Work) -> None:
        """Do work in its turn, and return when it is done; raise what it raises."""
        done = self._loop.create_future()

        async def run() -> None:
            try:
                await work()
            except Exception as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        await self.post(run)
        await asyncio.wait([done, self._task], return_when=asyncio.FIRST_COMPLETED)
        if done.done():
            await done

    def close(self) -> None:
        """End once all posted work is done; that work itself may call this."""
        self._closing = True
        _wake(self._arrival)

    def cancel(self) -> None:
        """Stop at once, in the middle of the current work."""
        self._cancelled = True
        self._works.clear()
        self._task.cancel()

    async def ended(self) -> None:
        """Wait until all is done, or was stopped."""
        await asyncio.wait([self._task])

    def when_ended(self, call: Callable[[], object]) -> None:
        """Have ``call`` called once the mailbox has ended."""
        self._task.add_done_callback(lambda _task: call())

    async def _run(self) -> None:
        try:
            while self._works or not self._closing:
                if not self._works:
                    self._arrival = self._loop.create_future()
                    await self._arrival
                    continue
                work, size_bytes = self._works.popleft()
                _wake(self._room)
                try:
                    await work()
                except (Exception, asyncio.CancelledError) as error:
                    if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                        raise
                    log_failure(
                        "A task of a topic failed.", error, "", extra={"event": "work_failed"}
                    )
                finally:
                    if size_bytes and self._backlog is not None:
                        self._backlog.remove(size_bytes)
                # Waiting for the next, it would keep the frame of the last.
                del work
        except asyncio.CancelledError:
            # A task keeps the error that it ended with, and with it all that was running.
            if not self._cancelled:
                raise


def is_being_cancelled() -> bool:
    """Return whether the running task was cancelled, and not only what its code awaited.

    Before Python 3.11, nothing distinguishes the two.
    """
    count = getattr(asyncio.current_task(), "cancelling", None)
    return count is None or count() > 0


def _wake(awaited: asyncio.Future[None] | None) -> None:
    """Wake those that wait for this, if there are any."""
    if awaited is not None and not awaited.done():
        awaited.set_result(None)
