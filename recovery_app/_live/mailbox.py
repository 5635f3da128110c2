"""The order in which one topic does its work: one thing after the other."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from recovery_app._live.interfaces import Work

logger = logging.getLogger("recovery_app")

CAPACITY = 1_000


class Mailbox:
    """Does posted work in order, in a task of its own; what fails is logged and passed over.

    Lighter than an `asyncio.Queue`: there is one for each topic of each connection.
    """

    def __init__(self) -> None:
        self._works: deque[Work] = deque()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._arrival: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._task = self._loop.create_task(self._run())

    async def post(self, work: Work) -> None:
        """Add work; wait while the mailbox is full, which slows the sender down."""
        while not self.try_post(work):
            if self._room is None or self._room.done():
                self._room = self._loop.create_future()
            # Another sender may wait for the same.
            await asyncio.shield(self._room)

    def try_post(self, work: Work) -> bool:
        """Add work unless the mailbox is full; return whether it was added."""
        if len(self._works) >= CAPACITY:
            return False
        self._works.append(work)
        _wake(self._arrival)
        return True

    def close(self) -> None:
        """End once all that was posted is done; that work itself may call this."""
        self._closing = True
        _wake(self._arrival)

    def cancel(self) -> None:
        """Stop at once, in the midst of what is being done."""
        self._task.cancel()

    async def ended(self) -> None:
        """Wait until all is done, or was stopped."""
        await asyncio.wait([self._task])

    def when_ended(self, call: Callable[[], object]) -> None:
        """Have ``call`` called once the mailbox has ended."""
        self._task.add_done_callback(lambda _task: call())

    async def _run(self) -> None:
        while self._works or not self._closing:
            if not self._works:
                self._arrival = self._loop.create_future()
                await self._arrival
                continue
            work = self._works.popleft()
            _wake(self._room)
            try:
                await work()
            except Exception:
                logger.exception("A topic's work failed.", extra={"event": "work_failed"})


def _wake(awaited: asyncio.Future[None] | None) -> None:
    """Let those go on who wait for this, if any do."""
    if awaited is not None and not awaited.done():
        awaited.set_result(None)
