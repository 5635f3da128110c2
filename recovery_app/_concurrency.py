"""Objects that threads share and that survive a fork: timestamps, a cache, hooks; and a thread."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from recovery_app.clock import MAX_AHEAD_US, Clock

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ForkAware(Protocol):
    """An object that has to be adjusted in a forked child."""

    def after_fork(self) -> None:
        """Replace the locks, and forget the threads, of the parent process."""


_forkables: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def register_after_fork(forkable: ForkAware) -> None:
    """Call ``forkable.after_fork()`` in each forked child, as long as the object exists."""
    _forkables.add(forkable)


def _after_fork() -> None:
    for forkable in list(_forkables):
        forkable.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Worker(threading.Thread):
    """A daemon thread that can be woken, and told to end; ``run_with`` is called with it."""

    def __init__(self, name: str, run_with: Callable[[Worker], None]) -> None:
        super().__init__(target=lambda: run_with(self), name=f"recovery_app-{name}", daemon=True)
        self.wake = threading.Event()
        self.is_ending = False

    def end(self) -> None:
        """Have it end soon; takes no lock but that of an event."""
        self.is_ending = True
        self.wake.set()


class MonotonicTimestamps:
    """A source of strictly increasing timestamps, in microseconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        register_after_fork(self)

    def tick(self, now_us: int) -> int:
        """Return ``now_us``, or one more than the last timestamp if that is higher.

        A clock that was set back by more than a day starts anew: nobody accepts what is
        dated further ahead.
        """
        with self._lock:
            following = self._last + 1
            is_old = now_us >= following or following - now_us > MAX_AHEAD_US
            self._last = now_us if is_old else following
            return self._last

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self._lock = threading.Lock()


_by_clock: weakref.WeakKeyDictionary[Clock, MonotonicTimestamps] = weakref.WeakKeyDictionary()


def timestamps_of(clock: Clock) -> MonotonicTimestamps:
    """Return the timestamps that everything with the same clock in this process shares.

    Clocks don't share them, because one that is ahead would advance the others.
    """
    try:
        return _by_clock.setdefault(clock, MonotonicTimestamps())
    except TypeError:
        # A clock that can't be a key of a dictionary isn't shared.
        return MonotonicTimestamps()


class LRUCache(Generic[Key, Value]):
    """A cache of the ``limit`` most recently used values, and of at most twice as many.

    There are two generations. A full young generation becomes the old one, and a value used from
    the old one moves to the young one. A lookup is one access to a dictionary and needs no lock:
    the worst result of a race is that a value is forgotten.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._young: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}

    def get(self, key: Key) -> Value | None:
        """Return the value stored under ``key``, or ``None`` if it is unknown or forgotten."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: Key, value: Value) -> None:
        """Store ``value`` under ``key``."""
        young = self._young
        if len(young) >= self._limit and key not in young:
            self._old, self._young = young, {}
        self._young[key] = value
