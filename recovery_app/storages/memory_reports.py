"""The reports of one process, in its memory."""

from __future__ import annotations

import threading

from recovery_app._concurrency import register_after_fork
from recovery_app.clock import Clock
from recovery_app.storages.reports import MAX_REPORTS


class MemoryReports:
    """Reports by their uid, each until it expires."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reports: dict[str, tuple[bytes, float]] = {}
        register_after_fork(self)

    def put(self, uid: str, data: bytes, *, ttl: float, clock: Clock) -> None:
        """Store a report, as the latest one."""
        with self._lock:
            self._reports.pop(uid, None)
            self._reports[uid] = data, clock() + ttl

    def list(self, clock: Clock) -> list[bytes]:
        """Return the latest reports that haven't expired, and forget the others."""
        now = clock()
        with self._lock:
            live = [(uid, kept) for uid, kept in self._reports.items() if kept[1] > now]
            self._reports = dict(live[-MAX_REPORTS:])
            return [data for data, _ in self._reports.values()]

    def after_fork(self) -> None:
        """Forget the parent's reports, which are those of another process."""
        self._lock = threading.Lock()
        self._reports = {}
