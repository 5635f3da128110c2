"""Own time: seconds as they are passed in, microseconds as they are stored."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

from recovery_app.forking import survive_fork

Clock = Callable[[], float]
"""Gives seconds since 1970; ``time.time`` unless a test passes one of its own."""

MICROSECONDS = 1_000_000


def to_us(seconds: float) -> int:
    """Turn seconds into whole microseconds."""
    return round(seconds * MICROSECONDS)


class Ticker:
    """Give time stamps in microseconds, never the same twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        survive_fork(self)

    def tick(self, now_us: int) -> int:
        """Give ``now_us``, or the next number after the last one given."""
        with self._lock:
            self._last = max(now_us, self._last + 1)
            return self._last

    def after_fork(self) -> None:
        """Replace the lock, which the parent may have held."""
        self._lock = threading.Lock()


_tickers: weakref.WeakKeyDictionary[Clock, Ticker] = weakref.WeakKeyDictionary()


def ticker_of(clock: Clock) -> Ticker:
    """Give the one ticker of all in this process who go by the same clock.

    Each clock has its own: one that is ahead would drag the others along.
    """
    try:
        return _tickers.setdefault(clock, Ticker())
    except TypeError:
        # It can't be a key, so nobody else can ask for the same one.
        return Ticker()
