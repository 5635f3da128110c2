"""Rate limits: token buckets, and the joins of a process."""

from __future__ import annotations

import re
from typing import NamedTuple

from recovery_app._concurrency import LRUCache
from recovery_app.clock import Clock

BURST_SECONDS = 5
REMEMBERED_PERSONS = 10_000
_SECONDS = {"s": 1, "m": 60}


class Rate(NamedTuple):
    """A rate, and the size of a burst that is allowed at once."""

    per_second: float
    burst: float


def parse_rate(text: object) -> Rate | None:
    """Return the rate of a text such as ``"20/s"`` or ``"90/m"``; ``None`` for no limit.

    Five times the number may come at once. Raises `ValueError` for anything else.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,8})/([sm])", text) if isinstance(text, str) else None
    if found is None:
        raise ValueError('must be a number "per second" or "per minute", such as "20/s" or "90/m"')
    number = int(found[1])
    return Rate(number / _SECONDS[found[2]], number * BURST_SECONDS)


class TokenBucket:
    """Allows a burst, and then a number per second."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._left = float(rate.burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Take one token; return whether there was one."""
        # A clock that was set back refills nothing, and goes on from there.
        refilled = self._left + max(0.0, now - self._at) * self._rate.per_second
        self._left = min(float(self._rate.burst), refilled)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Buckets:
    """A bucket for each of many keys; unused ones are forgotten after a while."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._buckets: LRUCache[object, TokenBucket] = LRUCache(REMEMBERED_PERSONS)

    def take(self, key: object) -> bool:
        """Take one token from the key's bucket; return whether there was one."""
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = TokenBucket(self._rate, now)
            self._buckets.put(key, bucket)
        return bucket.take(now)


class JoinLimiter:
    """Limits the joins of each connection, and of each person on this process."""

    def __init__(self, rate: Rate | None, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._persons = None if rate is None else Buckets(rate, clock)

    def new_bucket(self) -> TokenBucket | None:
        """Return the bucket of a new connection, ``None`` if there is no limit."""
        return None if self._rate is None else TokenBucket(self._rate, self._clock())

    def allows(self, connection: TokenBucket | None, person: object | None) -> bool:
        """Return whether one more join is allowed; ``person`` is ``None`` if unknown."""
        if self._persons is None or connection is None:
            return True
        if not connection.take(self._clock()):
            return False
        return person is None or self._persons.take(person)
