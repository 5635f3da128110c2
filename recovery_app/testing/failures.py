"""A storage for tests, which fails when a test says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from recovery_app.clock import Clock
from recovery_app.exceptions import StorageUnavailable
from recovery_app.storages import MemoryStorage


class FailingStorage(MemoryStorage):
    """A `MemoryStorage` that can be made unavailable, as a server that is down is.

    What it held before is there again afterwards.
    """

    def __init__(self, *, clock: Clock = time.time) -> None:
        self.is_down = False
        """Whether each call raises `StorageUnavailable`."""
        self._running_clock = clock
        # Each call asks for the time.
        super().__init__(clock=self._read_clock)

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Be down inside the block."""
        self.is_down = True
        try:
            yield
        finally:
            self.is_down = False

    def _read_clock(self) -> float:
        if self.is_down:
            raise StorageUnavailable("FailingStorage", "a test", cause="a test has it fail")
        return self._running_clock()
