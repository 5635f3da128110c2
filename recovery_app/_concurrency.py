"""What threads and forks of one process share: fork-safe objects, timestamps and a cache."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from recovery_app.clock import Clock

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ForkAware(Protocol):
    """An object that can put itself in order in a forked child."""

    def after_fork(self) -> None:
        """Replace locks, and forget threads, that belonged to the parent."""


_forkables: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def register_after_fork(forkable: ForkAware) -> None:
    """Have ``forkable.after_fork()`` called in each forked child, as long as it lives."""
    _forkables.add(forkable)


def _after_fork() -> None:
    for forkable in list(_forkables):
        forkable.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class MonotonicTimestamps:
    """Give time stamps in microseconds, never the same twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        register_after_fork(self)

    def tick(self, now_us: int) -> int:
        """Give ``now_us``, or the next number after the last one given."""
        with self._lock:
            self._last = max(now_us, self._last + 1)
            return self._last

    def after_fork(self) -> None:
        """Replace the lock, which the parent may have held."""
        self._lock = threading.Lock()


_by_clock: weakref.WeakKeyDictionary[Clock, MonotonicTimestamps] = weakref.WeakKeyDictionary()


def timestamps_of(clock: Clock) -> MonotonicTimestamps:
    """Give the one ticker of all in this process who go by the same clock.

    Each clock has its own: one that is ahead would drag the others along.
    """
    try:
        return _by_clock.setdefault(clock, MonotonicTimestamps())
    except TypeError:
        # It can't be a key, so nobody else can ask for the same one.
        return MonotonicTimestamps()


class LRUCache(Generic[Key, Value]):
    """Remember the ``limit`` values used last, and at most twice as many.

    There are two generations: when the young one is full it becomes the old one, and what of
    that is asked for is young again. Looking something up is then one look into a dictionary,
    and needs no lock: where threads meet, something is forgotten at the worst.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._young: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}

    def get(self, key: Key) -> Value | None:
        """Give what was put under ``key``, if it is still known."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: Key, value: Value) -> None:
        """Remember ``value``."""
        young = self._young
        if len(young) >= self._limit and key not in young:
            self._old, self._young = young, {}
        self._young[key] = value
