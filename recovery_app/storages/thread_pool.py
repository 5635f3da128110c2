"""The threads on which the async variants of blocking storages run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from asgiref.sync import sync_to_async

from recovery_app._concurrency import register_after_fork

END_SECONDS = 10
Result = TypeVar("Result")


class ThreadPool:
    """A bounded pool of threads, started with the first call and again after a fork.

    Under Channels, Django's own async methods share one thread for the whole process, so they
    queue behind each other; these don't. Each thread calls ``at_end`` before it ends, to close
    its connections.
    """

    def __init__(self, threads: int, *, at_end: Callable[[], None]) -> None:
        self._threads = threads
        self._at_end = at_end
        self._lock = threading.Lock()
        self._running: _Running | None = None
        register_after_fork(self)

    async def run(self, call: Callable[[], Result]) -> Result:
        """Return the result of ``call``, made on one of the threads."""
        running = self._started()
        make = sync_to_async(running.make, thread_sensitive=False, executor=running.executor)
        return await make(call)

    def close(self) -> None:
        """End the threads; a later call starts new ones."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.end()

    def after_fork(self) -> None:
        """Forget the threads of the parent process."""
        self._lock = threading.Lock()
        self._running = None

    def _started(self) -> _Running:
        with self._lock:
            if self._running is None:
                self._running = _Running(self._threads, self._at_end)
            return self._running


class _Running:
    """An executor whose threads have resources to release before they end."""

    def __init__(self, threads: int, at_end: Callable[[], None]) -> None:
        self._threads = threads
        self._at_end = at_end
        self._is_ending = False
        self._changed = threading.Condition()
        self._idents: set[int] = set()
        """The threads that have made a call; another one has nothing to close."""
        self._ended: set[int] = set()
        self.executor = ThreadPoolExecutor(threads, "recovery_app-storage")

    def make(self, call: Callable[[], Result]) -> Result:
        """Make a call on one of the threads."""
        with self._changed:
            self._idents.add(threading.get_ident())
        try:
            return call()
        finally:
            if self._is_ending:
                with suppress(Exception):
                    self._leave()

    def end(self) -> None:
        """Have each thread make the last call, now or after its current one, and end."""
        self._is_ending = True
        # When the process exits, Python has ended the threads already.
        with suppress(RuntimeError):
            # The executor may start further threads for these, as some of its own are busy.
            for _ in range(self._threads if self._idents else 0):
                self.executor.submit(self._end_one)
        self.executor.shutdown(wait=False)

    def _end_one(self) -> None:
        self._leave()
        # A thread that went on would make the last call of another one, which then made none.
        with self._changed:
            self._changed.wait_for(lambda: self._idents <= self._ended, END_SECONDS)

    def _leave(self) -> None:
        try:
            self._at_end()
        finally:
            with self._changed:
                self._ended.add(threading.get_ident())
                self._changed.notify_all()
