"""The storage of one process: a dictionary under a lock."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from django.core.checks import CheckMessage

from recovery_app._concurrency import register_after_fork
from recovery_app.clock import Clock, to_us
from recovery_app.exceptions import StateTooLarge
from recovery_app.fencing import (
    Claim,
    Decision,
    Verdict,
    decide_save,
    decide_touch,
)
from recovery_app.snapshots import MAX_US, is_marker, read_fencing, socket_id_in
from recovery_app.storages.base import Entry, EntryPage, Result, Storage, describe
from recovery_app.storages.browsing import SORTABLE, KeysetCursor, is_behind, value_of
from recovery_app.storages.memory_journal import MemoryJournal
from recovery_app.storages.memory_messages import MemoryMessages
from recovery_app.storages.memory_reports import MemoryReports
from recovery_app.storages.memory_table import EntryTable, Name, key_of, name_of
from recovery_app.storages.messages import Messages
from recovery_app.storages.system_checks import check_memory
from recovery_app.values import (
    GroupInfo,
    GroupPage,
    Incident,
    IncidentPage,
    IncidentQuery,
    JournalLimits,
    LoggedMessage,
    Page,
    Query,
    Sample,
)

DEFAULT_MAX_ENTRIES = 10_000
DEFAULT_MAX_BYTES = 256 * 1024 * 1024
"""26 KiB for each entry, and small enough for a server with 512 MiB."""


class MemoryStorage(Storage):
    """Snapshots in the memory of this process, at most ``max_entries`` and ``max_bytes`` of them.

    Over either limit, the holder with the most data loses its least recently used snapshot. A
    holder is identified by the digest of the person, or else of the binding. The storage remembers
    the greatest fence that it has evicted, and refuses saves under missing keys with tokens that
    aren't newer, so eviction undoes no takeover and no revocation. A single snapshot above
    ``max_bytes`` is refused.

    Nothing survives the process, and other processes see nothing of it: with several workers, a
    client must come back to the same one. `DatabaseStorage` is the next step up.
    """

    supports_atomic_fence = True
    supports_listing = True
    supports_groups = True
    supports_group_listing = True
    supports_native_async = True
    supports_journal = True
    supports_reports = True
    keeps_expired = True
    sortable_by = SORTABLE
    is_shared = False

    def __init__(
        self,
        *,
        max_entries: int = DEFAULT_MAX_ENTRIES,
        max_bytes: int = DEFAULT_MAX_BYTES,
        clock: Clock = time.time,
    ) -> None:
        for name, limit in (("max_entries", max_entries), ("max_bytes", max_bytes)):
            if limit < 1:
                raise ValueError(f"{name} is {limit} and must be at least 1.")
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.clock = clock
        self._table = EntryTable(max_entries, max_bytes)
        self._messages = MemoryMessages()
        self._journal = MemoryJournal()
        self._reports = MemoryReports()
        self._lock = threading.RLock()
        kind = type(self)
        # The fenced steps of a subclass go through its own ``save`` and ``load``.
        self._has_own_bytes = (kind.save, kind.load) != (MemoryStorage.save, MemoryStorage.load)
        register_after_fork(self)

    def save(self, key: str, data: bytes, ttl: float) -> None:
        with self._lock:
            self._put(name_of(key), bytes(data), self.clock(), ttl)

    def load(self, key: str) -> bytes | None:
        with self._lock:
            return self._table.use(name_of(key), self.clock())

    def delete(self, key: str) -> bool:
        with self._lock:
            name = name_of(key)
            found = self._table.find(name)
            self._table.remove(name)
            return found is not None and found[1] > self.clock()

    def append_message(self, group: str, data: bytes, published: Callable[[], None]) -> None:
        self._messages.append(group, data, self.clock(), published)

    def newest_position(self, group: str) -> str:
        return self._messages.newest(group)

    def read_messages(self, group: str, after: str, limit: int) -> Messages:
        return self._messages.read(group, after, limit)

    def changed_groups(self, positions: dict[str, str]) -> list[str]:
        return self._messages.changed(positions)

    def list_groups(self, *, prefix: str, cursor: str | None, limit: int) -> GroupPage:
        return self._messages.page(prefix, cursor, limit)

    def describe_group(self, group: str) -> GroupInfo | None:
        return self._messages.describe(group)

    def last_messages(self, group: str, limit: int) -> list[LoggedMessage]:
        return list(self._messages.last(group, limit))

    def count_behind(self, group: str, position: str) -> int | None:
        return self._messages.behind(group, position)

    def delete_group(self, group: str) -> bool:
        return self._messages.delete(group)

    def save_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        if self._has_own_bytes:
            return super().save_fenced(key, data, ttl)
        with self._lock:
            now = self.clock()
            name = name_of(key)
            found = self._table.find(name)
            if found is None or found[1] <= now:
                evicted = self._table.fenced_until(now)
                if evicted >= 0 and _fence_of(data) <= evicted:
                    return Verdict.FENCED
                self._put(name, data, now, ttl)
                return Verdict.DONE
            decision = decide_save(found[0], data, now_us=to_us(now))
            if decision.verdict is Verdict.DONE and decision.data is not None:
                self._put(name, decision.data, now, ttl)
            return decision.verdict

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        if self._has_own_bytes:
            return super().touch_fenced(key, claim, ttl)
        with self._lock:
            now = self.clock()
            name = name_of(key)
            stored = self._table.use(name, now)
            if stored is None and claim.issued_us <= self._table.fenced_until(now):
                return Verdict.FENCED
            verdict = decide_touch(stored, claim, now_us=to_us(now)).verdict
            if verdict is Verdict.DONE:
                self._table.prolong(name, now + ttl)
            return verdict

    # Nothing here waits for long, so the async variants make the call where they are.

    async def aload(self, key: str) -> bytes | None:
        return self.load(key)

    async def asave_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        return self.save_fenced(key, data, ttl)

    async def atake_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Decision:
        return self.take_over(key, claim, ttl, now_us=now_us, newest_version=newest_version)

    async def run(self, call: Callable[[], Result]) -> Result:
        return call()

    def exclusive(self) -> AbstractContextManager[object]:
        return self._lock

    def cleanup_expired(self) -> int:
        self._messages.cleanup(self.clock())
        with self._lock:
            expired = self._table.expired(self.clock())
            for name in expired:
                self._table.remove(name)
            return len(expired)

    def count_expired(self) -> int:
        with self._lock:
            return len(self._table.expired(self.clock()))

    def estimate_count(self) -> int:
        """Return the number of all entries, including markers and newly expired ones."""
        return len(self._table)

    def list_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        found = sorted(
            entry.key
            for entry, _ in self._found()
            if not prefix or socket_id_in(entry.data).startswith(prefix)
        )
        start = 0 if cursor is None else bisect_right(found, cursor)
        page = found[start : start + limit]
        more = start + limit < len(found)
        entries = [entry for entry in map(self.look_up, page) if entry is not None]
        return EntryPage(entries=entries, next_cursor=page[-1] if more else None)

    def count(self) -> int:
        with self._lock:
            return len(self._table.snapshots(self.clock(), expired=False))

    def browse(self, query: Query) -> Page:
        """Return a page in any order; sorting in memory is cheap."""
        place = KeysetCursor.read(query.cursor)
        found = []
        for entry, expires_at in self._found(expired=query.expired):
            info = describe(entry)
            behind = KeysetCursor(key=entry.key, value=value_of(info, query.order, expires_at))
            if query.admits(info) and is_behind(behind, place, query.order):
                found.append((behind.value, entry.key, info))
        found.sort(key=lambda each: each[:2], reverse=query.order.startswith("-"))
        page = found[: query.limit]
        more = len(found) > query.limit
        last = str(KeysetCursor(value=page[-1][0], key=page[-1][1])) if more else None
        return Page(items=[info for *_, info in page], next_cursor=last)

    def sample(self, limit: int = 1000) -> Sample:
        """Return all snapshots, which are at hand."""
        items = [describe(entry) for entry, _ in self._found()]
        with self._lock:
            expired = len(self._table.snapshots(self.clock(), expired=True))
        return Sample(items=items, total=len(items), expired=expired)

    def look_up(self, key: str) -> Entry | None:
        with self._lock:
            found = self._table.find(name_of(key))
            if found is None:
                return None
            data, expires_at = found
            return Entry(key=key, data=data, expires_in=expires_at - self.clock())

    def add_incidents(self, incidents: Sequence[Incident], limits: JournalLimits) -> None:
        self._journal.add(incidents, limits)

    def list_incidents(self, query: IncidentQuery) -> IncidentPage:
        return self._journal.page(query)

    def prune_incidents(self, limits: JournalLimits) -> int:
        return self._journal.prune(limits)

    def put_report(self, uid: str, data: bytes, ttl: float) -> None:
        self._reports.put(uid, data, ttl=ttl, clock=self.clock)

    def list_reports(self) -> list[bytes]:
        return self._reports.list(self.clock)

    def check(self) -> list[CheckMessage]:
        return check_memory()

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self._lock = threading.RLock()

    def _put(self, name: Name, data: bytes, now: float, ttl: float) -> None:
        if len(data) > self.max_bytes:
            raise StateTooLarge(size_bytes=len(data), limit_bytes=self.max_bytes)
        self._table.put(name, data, now, now + ttl)

    def _found(self, *, expired: bool = False) -> Iterator[tuple[Entry, float]]:
        """Yield each live snapshot, or each expired one, with the time at which it expires."""
        now = self.clock()
        with self._lock:
            names = self._table.snapshots(now, expired=expired)
        for name in names:
            with self._lock:
                found = self._table.find(name)
            # One at a time, so that a look at everything holds no second copy of it.
            if found is not None and not is_marker(found[0]):
                data, expires_at = found
                yield Entry(key=key_of(name), data=data, expires_in=expires_at - now), expires_at


def _fence_of(data: bytes) -> int:
    fencing = read_fencing(data)
    return MAX_US if fencing is None else fencing[0]
