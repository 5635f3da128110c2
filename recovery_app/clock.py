"""Time in seconds, as it is passed in, and in microseconds, as it is stored."""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]
"""A function that returns seconds since 1970: ``time.time``, or the clock of a test."""

MICROSECONDS = 1_000_000
MAX_AHEAD_US = 86_400 * MICROSECONDS
"""How far ahead of now a token or a fence may be dated: a day. Clocks differ by less."""


def to_us(seconds: float) -> int:
    """Return seconds as whole microseconds."""
    return round(seconds * MICROSECONDS)
