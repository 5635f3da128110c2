"""The time limit of hooks and handlers."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from weakref import WeakKeyDictionary


class TimeLimit:
    """A block that is ended with a `TimeoutError` if it takes too long.

    Like ``asyncio.timeout``, which Python 3.10 lacks, and which sets a timer for each block. Here
    one timer serves the earliest limit, because nearly all blocks end long before. ``name`` is the
    name of what runs in the block.
    """

    __slots__ = ("_is_over", "_name", "_running", "_seconds", "_task", "ends_at")

    def __init__(self, seconds: float, name: str) -> None:
        self._seconds = seconds
        self._name = name
        self._is_over = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(loop)
        self.ends_at = loop.time() + self._seconds
        running = _running.get(loop)
        if running is None:
            running = _running[loop] = _Running()
        self._running = running
        running.add(self, loop)

    def end(self) -> None:
        """End what the task awaits."""
        self._is_over = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running.limits.discard(self)
        if not self._is_over:
            return
        # Before Python 3.11 nothing counts who has cancelled a task.
        uncancel = getattr(self._task, "uncancel", None)
        is_ours = uncancel is None or uncancel() == 0
        if is_ours and isinstance(error, asyncio.CancelledError):
            raise TimeoutError(f"{self._name} took longer than {self._seconds:g} s.") from error


class _Running:
    """The limits of the blocks that run on one event loop, without a reference to it."""

    __slots__ = ("_next_at", "limits")

    def __init__(self) -> None:
        self.limits: set[TimeLimit] = set()
        self._next_at = math.inf

    def add(self, limit: TimeLimit, loop: asyncio.AbstractEventLoop) -> None:
        """Have a limit checked when it ends, or earlier."""
        self.limits.add(limit)
        if limit.ends_at < self._next_at:
            self._look_at(limit.ends_at, loop)

    def _look_at(self, when: float, loop: asyncio.AbstractEventLoop) -> None:
        self._next_at = when
        loop.call_at(when, self._look, when)

    def _look(self, when: float) -> None:
        if when != self._next_at:
            # Another timer was set since, for an earlier one.
            return
        loop = asyncio.get_running_loop()
        now = max(when, loop.time())
        for limit in [each for each in self.limits if each.ends_at <= now]:
            self.limits.discard(limit)
            limit.end()
        self._next_at = math.inf
        if self.limits:
            self._look_at(min(each.ends_at for each in self.limits), loop)


_running: WeakKeyDictionary[asyncio.AbstractEventLoop, _Running] = WeakKeyDictionary()
