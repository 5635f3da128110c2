"""A clock for tests, which stands still until a test advances it."""

from __future__ import annotations

import time


class ManualClock:
    """A clock that starts at the current whole second and moves only by `advance`.

    Pass it as ``clock`` to a storage or a manager; calling it returns seconds since 1970.
    """

    def __init__(self) -> None:
        self._now = float(int(time.time()))

    def __call__(self) -> float:
        return self._now

    def advance(self, *, seconds: float) -> None:
        """Move the clock forward, or back by a negative number of seconds."""
        self._now += seconds
