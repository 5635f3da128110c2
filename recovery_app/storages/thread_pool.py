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
        executor = self._started().executor
        return await sync_to_async(call, thread_sensitive=False, executor=executor)()

    def close(self) -> None:
        """End the threads; a later call starts new ones."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.end(self._at_end)

    def after_fork(self) -> None:
        """Forget the threads of the parent process."""
        self._lock = threading.Lock()
        self._running = None

    def _started(self) -> _Running:
        with self._lock:
            if self._running is None:
                self._running = _Running(self._threads)
            return self._running


class _Running:
    """An executor that knows its threads."""

    def __init__(self, threads: int) -> None:
        self._idents: set[int] = set()
        self.executor = ThreadPoolExecutor(
            threads, "recovery_app-storage", initializer=_enroll, initargs=(self._idents,)
        )

    def end(self, at_end: Callable[[], None]) -> None:
        count = len(self._idents)
        together = threading.Barrier(count or 1)

        def end_one() -> None:
            # Each call waits for all others, so that no thread makes two of them.
            with suppress(threading.BrokenBarrierError):
                together.wait(END_SECONDS)
            at_end()

        # When the process exits, Python has ended the threads already.
        with suppress(RuntimeError):
            for _ in range(count):
                self.executor.submit(end_one)
        self.executor.shutdown(wait=False)


def _enroll(idents: set[int]) -> None:
    idents.add(threading.get_ident())
