"""Own time: seconds as they are passed in, microseconds as they are stored."""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]
"""Gives seconds since 1970; ``time.time`` unless a test passes one of its own."""

MICROSECONDS = 1_000_000


def to_us(seconds: float) -> int:
    """Turn seconds into whole microseconds."""
    return round(seconds * MICROSECONDS)
