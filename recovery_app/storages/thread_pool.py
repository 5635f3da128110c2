"""Own the threads on which blocking storages do asynchronous work."""

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
    """A bounded pool of threads, started with the first call and anew after a fork.

    Django's own ``a…`` calls share one thread for the whole process under Channels, so a
    hundred of them queue behind each other; these don't. Each thread makes the call
    ``at_end`` before it ends, so that it can close what is its own.
    """

    def __init__(self, threads: int, *, at_end: Callable[[], None]) -> None:
        self._threads = threads
        self._at_end = at_end
        self._lock = threading.Lock()
        self._running: _Running | None = None
        register_after_fork(self)

    async def run(self, call: Callable[[], Result]) -> Result:
        """Give the result of ``call``, made on one of the threads."""
        executor = self._started().executor
        return await sync_to_async(call, thread_sensitive=False, executor=executor)()

    def close(self) -> None:
        """Let the threads end; a later call starts new ones."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.end(self._at_end)

    def after_fork(self) -> None:
        """Forget the parent's threads."""
        self._lock = threading.Lock()
        self._running = None

    def _started(self) -> _Running:
        with self._lock:
            if self._running is None:
                self._running = _Running(self._threads)
            return self._running


class _Running:
    """An executor that knows the threads that it has started."""

    def __init__(self, threads: int) -> None:
        self._idents: set[int] = set()
        self.executor = ThreadPoolExecutor(
            threads, "recovery_app-storage", initializer=_enroll, initargs=(self._idents,)
        )

    def end(self, at_end: Callable[[], None]) -> None:
        count = len(self._idents)
        together = threading.Barrier(count or 1)

        def end_one() -> None:
            # Each waits for all others, so that no thread takes two of these calls.
            with suppress(threading.BrokenBarrierError):
                together.wait(END_SECONDS)
            at_end()

        # At the exit of the process Python has ended the threads already.
        with suppress(RuntimeError):
            for _ in range(count):
                self.executor.submit(end_one)
        self.executor.shutdown(wait=False)


def _enroll(idents: set[int]) -> None:
    idents.add(threading.get_ident())
