"""The logs of durable groups in the memory of one process."""

from __future__ import annotations

import itertools
import secrets
import threading
from collections import deque
from collections.abc import Callable

from recovery_app.storages.messages import MAX_MESSAGES, MESSAGE_SECONDS, Messages, number_of

MAX_LOG_BYTES = 64 * 1024 * 1024
MAX_LOGS = 100_000


class _Log:
    """One group: messages with their times; ``newest`` is the number of the last one."""

    __slots__ = ("items", "newest", "size_bytes")

    def __init__(self, newest: int) -> None:
        self.newest = newest
        self.items: deque[tuple[float, bytes]] = deque()
        self.size_bytes = 0

    def append(self, now: float, data: bytes) -> None:
        self.newest += 1
        self.items.append((now, data))
        self.size_bytes += len(data)

    def drop_oldest(self) -> None:
        self.size_bytes -= len(self.items.popleft()[1])


class MemoryMessages:
    """Logs of `MAX_MESSAGES` messages each, and of `MAX_LOG_BYTES` in all."""

    def __init__(self) -> None:
        self._logs: dict[str, _Log] = {}
        self._size_bytes = 0
        self._lock = threading.Lock()
        # No position in another log, or in that of another storage, is one in this.
        self._first = itertools.count(secrets.randbelow(2**60), 2**40)

    def append(self, group: str, data: bytes, now: float, published: Callable[[], None]) -> None:
        """Publish a message."""
        with self._lock:
            log = self._log(group)
            log.append(now, data)
            self._size_bytes += len(data)
            self._trim(log, now)
        published()

    def newest(self, group: str) -> str:
        """Return the position of the newest message."""
        with self._lock:
            return str(self._log(group).newest)

    def read(self, group: str, after: str, limit: int) -> Messages:
        """Return the first messages behind a position."""
        with self._lock:
            log = self._log(group)
            trimmed = log.newest - len(log.items)
            position = number_of(after)
            is_complete = trimmed <= position <= log.newest
            start = position - trimmed if is_complete else 0
            found = itertools.islice(log.items, start, start + limit)
            numbers = itertools.count(trimmed + start + 1)
            items = [(str(number), data) for number, (_, data) in zip(numbers, found, strict=False)]
            return Messages(items, is_complete)

    def cleanup(self, now: float) -> None:
        """Drop what is too old, and empty logs where there are very many."""
        with self._lock:
            for log in self._logs.values():
                self._drop_while(log, now)
            if len(self._logs) > MAX_LOGS:
                self._logs = {name: log for name, log in self._logs.items() if log.items}

    def _log(self, group: str) -> _Log:
        log = self._logs.get(group)
        if log is None:
            log = self._logs[group] = _Log(next(self._first))
        return log

    def _trim(self, log: _Log, now: float) -> None:
        self._drop_while(log, now)
        while self._size_bytes > MAX_LOG_BYTES:
            largest = max(self._logs.values(), key=lambda each: each.size_bytes)
            self._drop(largest)

    def _drop_while(self, log: _Log, now: float) -> None:
        while log.items and (
            len(log.items) > MAX_MESSAGES or log.items[0][0] < now - MESSAGE_SECONDS
        ):
            self._drop(log)

    def _drop(self, log: _Log) -> None:
        self._size_bytes -= len(log.items[0][1])
        log.drop_oldest()
