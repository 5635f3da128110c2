"""Own a memory of what was seen last, for what can be found again where it is forgotten."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
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
