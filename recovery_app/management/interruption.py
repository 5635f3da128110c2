"""Ctrl-C and SIGTERM, which let a management command end with its report."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """The first Ctrl-C or SIGTERM. It raises `KeyboardInterrupt`, now or after the current step."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._is_deferred = False

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self._number is not None

    @property
    def exit_status(self) -> int:
        """The status that shells expect of a process ended by the signal."""
        return 128 + (signal.SIGINT if self._number is None else self._number)

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle both signals in the block."""
        # Only the main thread can set a handler. Shells ignore SIGINT for background processes.
        is_main_thread = threading.current_thread() is threading.main_thread()
        previous = {number: signal.getsignal(number) for number in SIGNALS if is_main_thread}
        ours = [number for number, it in previous.items() if it not in (signal.SIG_IGN, None)]
        for number in ours:
            signal.signal(number, self._handle)
        try:
            yield
        finally:
            for number in ours:
                signal.signal(number, previous[number])

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only set `requested` at the first signal in the block; a second one doesn't wait."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        waits = self._is_deferred and not self.requested
        self._number = number
        if not waits:
            raise KeyboardInterrupt
