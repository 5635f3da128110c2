"""Own the order in which one topic does its work: one thing after the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger("recovery_app")

Work = Callable[[], Awaitable[None]]
CAPACITY = 1_000


class Mailbox:
    """Do posted work in order, in a task of its own; what fails is logged and passed by."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Work | None] = asyncio.Queue(CAPACITY)
        self._closing = False
        self._task = asyncio.create_task(self._run())

    async def post(self, work: Work) -> None:
        """Add work; wait while the mailbox is full, which slows the sender down."""
        await self._queue.put(work)

    def try_post(self, work: Work) -> bool:
        """Add work unless the mailbox is full; say whether it was added."""
        try:
            self._queue.put_nowait(work)
        except asyncio.QueueFull:
            return False
        return True

    def close(self) -> None:
        """End once all that was posted is done; may be called by that work itself."""
        self._closing = True
        with contextlib.suppress(asyncio.QueueFull):
            self._queue.put_nowait(None)

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
        while not (self._closing and self._queue.empty()):
            work = await self._queue.get()
            if work is None:
                continue
            try:
                await work()
            except Exception:
                logger.exception("A topic's work failed.", extra={"event": "work_failed"})
