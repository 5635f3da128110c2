"""Removal of expired rows in short steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from django.db import connections
from django.db.models import QuerySet

if TYPE_CHECKING:
    from recovery_app.models import StoredSnapshot

    Rows = QuerySet[StoredSnapshot]

DELETE_BATCH = 2000
MAX_KEYS = 500
"""How many keys one statement names."""
TURN_SECONDS = 0.1


def remove_expired(
    rows: Rows, size: int, now_us: int, errors: Callable[[], AbstractContextManager[None]]
) -> Iterator[int]:
    """Remove the rows that expired by ``now_us``, oldest first, yielding the number of each step.

    Each step is one statement. It covers a range of the index that starts where the last one
    ended: removed rows may stay in the index for long, on PostgreSQL until a vacuum.
    """
    start_us: int | None = 0
    turns = _WriterTurns(is_needed=connections[rows.db].vendor == "sqlite")
    while start_us is not None:
        turns.yield_lock()
        with errors():
            expired = rows.filter(expires_us__gte=start_us, expires_us__lte=now_us)
            start_us = _expiry_at(expired, index=size)
            removed = _remove_before(start_us, expired, size)
        yield removed


def in_turns(
    steps: Iterator[int], database: str, errors: Callable[[], AbstractContextManager[None]]
) -> Iterator[int]:
    """Take further steps of a clean-up with the same pauses, without counting them."""
    turns = _WriterTurns(is_needed=connections[database].vendor == "sqlite")
    is_over = False
    while not is_over:
        turns.yield_lock()
        with errors():
            is_over = next(steps, None) is None
        yield 0


class _WriterTurns:
    """Pauses in which other writers get SQLite's only lock.

    A waiting writer polls every tenth of a second. Without pauses of that length, it may find the
    lock taken until its timeout, however short each step is.
    """

    def __init__(self, *, is_needed: bool) -> None:
        self._is_needed = is_needed
        self._since = time.monotonic()

    def yield_lock(self) -> None:
        """Wait, if the last wait was long enough ago."""
        if self._is_needed and time.monotonic() - self._since >= TURN_SECONDS:
            time.sleep(TURN_SECONDS)
            self._since = time.monotonic()


def _expiry_at(rows: Rows, *, index: int) -> int | None:
    """Return the expiry of the row at an index, in the order of expiry, if there is one."""
    times = rows.order_by("expires_us").values_list("expires_us", flat=True)
    return next(iter(times[index : index + 1]), None)


def _remove_before(end_us: int | None, rows: Rows, size: int) -> int:
    """Remove the rows up to a time, or some of exactly that time if there are none before it."""
    if end_us is None:
        return rows._raw_delete(rows.db)
    removed = rows.filter(expires_us__lt=end_us)._raw_delete(rows.db)
    if not removed:
        same_time = rows.filter(expires_us=end_us)
        keys = list(same_time.values_list("key", flat=True)[: min(size, MAX_KEYS)])
        removed = same_time.filter(key__in=keys)._raw_delete(rows.db)
    return removed
