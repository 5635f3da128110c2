"""The automatic clean-up: a daemon thread for each manager that needs one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from recovery_app._concurrency import register_after_fork
from recovery_app.signals import observers
from recovery_app.storages import Storage

JOIN_SECONDS = 5

logger = logging.getLogger("recovery_app")


class CleanupThread:
    """A thread that removes expired values from a storage, every ``interval`` seconds.

    It refers to the storage and not the manager, so that an unused manager can be collected, which
    stops the thread.
    """

    def __init__(self, storage: Storage, interval: float) -> None:
        self._storage = storage
        self._interval = interval
        self._stopped = False
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        register_after_fork(self)

    def start(self) -> None:
        """Start the thread, unless it is running or was stopped."""
        if self._thread is not None or self._stopped:
            return
        with self._lock:
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(
                    target=_clean,
                    args=(self._storage, self._interval, self._stopping),
                    name="recovery_app-cleaner",
                    daemon=True,
                )
                self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait until it has ended, unless a clean-up takes too long."""
        self.abandon()
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(JOIN_SECONDS)

    def abandon(self) -> None:
        """Have the thread end by itself.

        Takes no lock and waits for nothing: the garbage collector may call this on any thread
        at any time, even within a clean-up.
        """
        self._stopped = True
        self._stopping.set()

    def after_fork(self) -> None:
        """Forget the parent's thread; the child starts its own when it needs one."""
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = None


def _clean(storage: Storage, interval: float, stopping: threading.Event) -> None:
    is_well = True
    while not stopping.wait(interval):
        # Whatever fails, the next round may go better; without the thread none would.
        is_well = _clean_up(storage, was_well=is_well)
    storage.leave_thread()


def _clean_up(storage: Storage, *, was_well: bool) -> bool:
    """Remove expired values, and count the rest; return whether that succeeded."""
    try:
        with _reported("cleanup"):
            removed = storage.on_thread(storage.cleanup_expired)
        with _reported("count"):
            live = storage.on_thread(storage.estimate_count)
    except Exception:
        # An outage lasts for many rounds, and is one line.
        if was_well:
            logger.warning(
                "The clean-up failed. It will be tried again at each interval.",
                exc_info=True,
                extra={"event": "cleanup_failed"},
            )
        return False
    if live is not None:
        observers.counted(live, shared=storage.is_shared)
    logger.debug(
        "Removed %d expired snapshots.",
        removed,
        extra={"event": "cleaned_up", "removed": removed},
    )
    return True


@contextmanager
def _reported(operation: str) -> Iterator[None]:
    """Report to observers how long a call took, and the error that it raised, if any."""
    start = time.perf_counter()
    try:
        yield
    except Exception as error:
        observers.storage_called(operation, time.perf_counter() - start, error)
        raise
    observers.storage_called(operation, time.perf_counter() - start, None)
