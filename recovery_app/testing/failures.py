"""A storage for tests, which fails when a test says so."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from recovery_app.clock import Clock
from recovery_app.exceptions import StorageUnavailable
from recovery_app.storages import MemoryStorage
from recovery_app.storages.base import Entry
from recovery_app.storages.messages import Messages
from recovery_app.values import Incident, IncidentPage, IncidentQuery, JournalLimits


class FailingStorage(MemoryStorage):
    """A `MemoryStorage` that can be made unavailable, as a server that is down is.

    What it held before is there again afterwards.
    """

    def __init__(self, *, clock: Clock = time.time) -> None:
        self.is_down = False
        """Whether each call raises `StorageUnavailable`."""
        self._running_clock = clock
        # Nearly each call asks for the time.
        super().__init__(clock=self._read_clock)

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Be down inside the block."""
        self.is_down = True
        try:
            yield
        finally:
            self.is_down = False

    # These change or return something without asking, or before they do.

    def delete(self, key: str) -> bool:
        self._read_clock()
        return super().delete(key)

    def look_up(self, key: str) -> Entry | None:
        self._read_clock()
        return super().look_up(key)

    def estimate_count(self) -> int:
        self._read_clock()
        return super().estimate_count()

    def add_incidents(self, incidents: Sequence[Incident], limits: JournalLimits) -> None:
        self._read_clock()
        super().add_incidents(incidents, limits)

    def list_incidents(self, query: IncidentQuery) -> IncidentPage:
        self._read_clock()
        return super().list_incidents(query)

    def prune_incidents(self, limits: JournalLimits) -> int:
        self._read_clock()
        return super().prune_incidents(limits)

    def put_report(self, uid: str, data: bytes, ttl: float) -> None:
        self._read_clock()
        super().put_report(uid, data, ttl)

    def newest_position(self, group: str) -> str:
        self._read_clock()
        return super().newest_position(group)

    def read_messages(self, group: str, after: str, limit: int) -> Messages:
        self._read_clock()
        return super().read_messages(group, after, limit)

    def _read_clock(self) -> float:
        if self.is_down:
            raise StorageUnavailable("FailingStorage", "a test", cause="a test has it fail")
        return self._running_clock()
