"""A limit to how long code of the application may take."""

from __future__ import annotations

import asyncio
from types import TracebackType


class TimeLimit:
    """Ends what the current task awaits in the block after so long, with a `TimeoutError`.

    As ``asyncio.timeout``, which Python 3.10 doesn't have.
    """

    __slots__ = ("_is_over", "_message", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float, message: str) -> None:
        self._seconds = seconds
        self._message = message
        self._is_over = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(loop)
        self._timer = loop.call_later(self._seconds, self._end)

    def _end(self) -> None:
        self._is_over = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if not self._is_over:
            return
        # Before Python 3.11 nothing counts who has cancelled a task.
        uncancel = getattr(self._task, "uncancel", None)
        is_ours = uncancel is None or uncancel() == 0
        if is_ours and isinstance(error, asyncio.CancelledError):
            raise TimeoutError(self._message) from error
