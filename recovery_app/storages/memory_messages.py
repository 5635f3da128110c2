"""The logs of durable groups in the memory of one process."""

from __future__ import annotations

import heapq
import itertools
import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence

from recovery_app._concurrency import register_after_fork
from recovery_app.clock import to_us
from recovery_app.storages.group_listing import MAX_BEHIND
from recovery_app.storages.messages import MAX_MESSAGES, MESSAGE_SECONDS, Messages, number_of
from recovery_app.values import GroupInfo, GroupPage, LoggedMessage

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
    """Logs of `MAX_MESSAGES` messages each, and of `MAX_LOG_BYTES` in total."""

    def __init__(self) -> None:
        self._logs: dict[str, _Log] = {}
        self._size_bytes = 0
        self._lock = threading.Lock()
        # No position in another log, or in that of another storage, is one in this.
        self._first = itertools.count(secrets.randbelow(2**60), 2**40)
        register_after_fork(self)

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
        """Return the first messages after a position."""
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

    def changed(self, positions: dict[str, str]) -> list[str]:
        """Return which groups have another newest message than these."""
        with self._lock:
            found = ((group, self._logs.get(group)) for group in positions)
            return [
                group for group, log in found if log is None or str(log.newest) != positions[group]
            ]

    def page(self, prefix: str, cursor: str | None, limit: int) -> GroupPage:
        """Return a page of groups in the order of their names."""
        with self._lock:
            wanted = (
                name
                for name in self._logs
                if name.startswith(prefix) and (cursor is None or name > cursor)
            )
            names = heapq.nsmallest(limit + 1, wanted)
            items = [_describe(name, self._logs[name]) for name in names[:limit]]
        more = len(names) > limit
        return GroupPage(items=items, next_cursor=names[limit - 1] if more else None)

    def describe(self, group: str) -> GroupInfo | None:
        """Return what is known of a group."""
        with self._lock:
            log = self._logs.get(group)
            return None if log is None else _describe(group, log)

    def last(self, group: str, limit: int) -> Sequence[LoggedMessage]:
        """Return the last messages of a group, the newest first."""
        with self._lock:
            log = self._logs.get(group)
            found = [] if log is None else list(itertools.islice(reversed(log.items), limit))
            numbers = itertools.count(log.newest if log else 0, -1)
        return [
            LoggedMessage(str(number), data, to_us(at))
            for number, (at, data) in zip(numbers, found, strict=False)
        ]

    def behind(self, group: str, position: str) -> int | None:
        """Return how many messages come after a position."""
        with self._lock:
            log, number = self._logs.get(group), number_of(position)
            if log is None or not log.newest - len(log.items) <= number <= log.newest:
                return None
            return min(log.newest - number, MAX_BEHIND)

    def delete(self, group: str) -> bool:
        """Remove a group's log."""
        with self._lock:
            log = self._logs.pop(group, None)
            self._size_bytes -= log.size_bytes if log else 0
            return log is not None

    def cleanup(self, now: float) -> None:
        """Drop messages that are too old, and empty logs if there are very many."""
        with self._lock:
            for log in self._logs.values():
                self._drop_while(log, now)
            if len(self._logs) > MAX_LOGS:
                self._logs = {name: log for name, log in self._logs.items() if log.items}

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self._lock = threading.Lock()

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


def _describe(name: str, log: _Log) -> GroupInfo:
    if not log.items:
        return GroupInfo(name=name, newest=str(log.newest))
    return GroupInfo(
        name=name,
        newest=str(log.newest),
        length=len(log.items),
        oldest_us=to_us(log.items[0][0]),
        newest_us=to_us(log.items[-1][0]),
    )
