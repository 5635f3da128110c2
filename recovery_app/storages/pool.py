"""Own the threads on which blocking storages do asynchronous work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from asgiref.sync import sync_to_async

from recovery_app.forking import survive_fork

Result = TypeVar("Result")


class ThreadPool:
    """A bounded pool of threads, started with the first call and anew after a fork.

    Django's own ``a…`` calls share one thread for the whole process under Channels, so a
    hundred of them queue behind each other; these don't.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        survive_fork(self)

    async def run(self, call: Callable[[], Result]) -> Result:
        """Give the result of ``call``, made on one of the threads."""
        return await sync_to_async(call, thread_sensitive=False, executor=self._running())()

    def close(self) -> None:
        """Let the threads end; a later call starts new ones."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)

    def after_fork(self) -> None:
        """Forget the parent's threads."""
        self._lock = threading.Lock()
        self._executor = None

    def _running(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._threads, "recovery_app-storage")
            return self._executor
