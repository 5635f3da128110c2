"""Own the counting of what happens often, on whichever thread."""

from __future__ import annotations

import itertools
import threading

from recovery_app._concurrency import register_after_fork


class Count:
    """How often something has happened in this process since the last time it was taken.

    To count is one step of the interpreter, so it needs no lock and costs next to nothing.
    """

    def __init__(self) -> None:
        self._ticks = itertools.count()
        self.bump = self._ticks.__next__
        """Count one more."""
        self._lock = threading.Lock()
        self._taken = 0
        register_after_fork(self)

    def take(self) -> int:
        """Give how often it was, and begin anew."""
        with self._lock:
            ticks = next(self._ticks)
            taken, self._taken = self._taken, ticks + 1
            return ticks - taken

    def after_fork(self) -> None:
        """Leave to the parent what it has counted, and the lock that it may have held."""
        self._lock = threading.Lock()
        self.take()
