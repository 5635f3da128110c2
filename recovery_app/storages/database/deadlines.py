"""The time limit of asynchronous calls, and the threads that hang beyond it.

A database that goes silent neither answers nor ends a connection, and nothing can end the thread
that waits for it. A write of such a thread may still take effect when the database is back: so
nothing newer is written under the same key until that thread has ended.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, Generic, TypeVar

from recovery_app._concurrency import register_after_fork
from recovery_app.exceptions import StorageUnavailable

Result = TypeVar("Result")


class Deadlines:
    """Limits the time of one storage's calls. ``threads`` is the number of its threads."""

    def __init__(self, storage: str, *, seconds: float, threads: int) -> None:
        self._storage = storage
        self._seconds = seconds
        self._threads = threads
        self._hanging: dict[ThreadCall[Any], str | None] = {}
        register_after_fork(self)

    def after_fork(self) -> None:
        """Forget the threads of the parent process."""
        self._hanging = {}

    async def run(
        self,
        call: Callable[[], Result],
        on_thread: Callable[[Callable[[], Result]], Awaitable[Result]],
        key: str | None = None,
    ) -> Result:
        """Return the result of ``call`` on a thread; raise `StorageUnavailable` after the limit.

        With a ``key``, it is refused while an earlier call with that key hangs.
        """
        hanging = list(self._hanging.values())
        if len(hanging) >= self._threads:
            raise self._error("all threads wait for an answer")
        if key is not None and key in hanging:
            raise self._error("an earlier save is still unanswered")
        bounded = ThreadCall(call, self._hanging)
        try:
            return await asyncio.wait_for(on_thread(bounded), self._seconds)
        except asyncio.TimeoutError:
            bounded.give_up(key)
            raise self._error(f"no answer within {self._seconds:g} s") from None
        except asyncio.CancelledError:
            # Whoever waited has given up, and the call may still take effect.
            bounded.give_up(key)
            raise

    def _error(self, why: str) -> StorageUnavailable:
        return StorageUnavailable(self._storage, f"a call: {why}")


class _State(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"


class ThreadCall(Generic[Result]):
    """A call on a thread. If it is given up before it starts, it isn't made at all."""

    __slots__ = ("_call", "_hanging", "_lock", "_state")

    def __init__(
        self, call: Callable[[], Result], hanging: dict[ThreadCall[Any], str | None]
    ) -> None:
        self._call = call
        self._hanging = hanging
        self._lock = threading.Lock()
        self._state = _State.WAITING

    def __call__(self) -> Result:
        with self._lock:
            if self._state is _State.ENDED:
                raise asyncio.CancelledError
            self._state = _State.RUNNING
        try:
            return self._call()
        finally:
            with self._lock:
                self._state = _State.ENDED
                self._hanging.pop(self, None)

    def give_up(self, key: str | None) -> None:
        """Note that nobody waits any more: the call hangs, or must not be made."""
        with self._lock:
            if self._state is _State.RUNNING:
                self._hanging[self] = key
            else:
                self._state = _State.ENDED
