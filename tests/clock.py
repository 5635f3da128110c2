"""The clock that tests advance."""

from __future__ import annotations

import time


class FakeClock:
    """Stand still at a time near now until a test moves it."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now

    def advance(self, *, seconds: float) -> None:
        self.now += seconds
