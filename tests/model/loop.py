"""An event loop whose time stands still: it runs until nothing is left to do, and stops."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _Selector(selectors.DefaultSelector):
    """Never wait: where the loop would, it has nothing more to do, and ends its run."""

    loop: StillLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout > 0:
            self.loop.stop()
        return []


class StillLoop(asyncio.SelectorEventLoop):
    """Run callbacks and tasks, no I/O and no threads; timers when `advance` reaches them."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.now

    def settle(self) -> None:
        """Run until everything waits."""
        self.run_forever()

    def advance(self, seconds: float) -> None:
        """Let time pass, and do what was due by then."""
        self.now += seconds
        self.settle()
