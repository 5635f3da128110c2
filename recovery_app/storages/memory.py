"""The storage of one process: a dictionary under a lock."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager

from django.core.checks import CheckMessage

from recovery_app._concurrency import register_after_fork
from recovery_app.clock import Clock
from recovery_app.fencing import Claim, Decision, Verdict, decide_save, decide_touch
from recovery_app.snapshots import is_marker, socket_id_in
from recovery_app.storages.base import Entry, EntryPage, Result, Storage, describe
from recovery_app.storages.browsing import SORTABLE, KeysetCursor, is_behind, value_of
from recovery_app.storages.system_checks import check_memory
from recovery_app.values import Page, Query, Sample

DEFAULT_MAX_ENTRIES = 10_000


class _Entry:
    """A stored value, and when it expires (seconds since 1970)."""

    __slots__ = ("data", "expires_at")

    def __init__(self, data: bytes, expires_at: float) -> None:
        self.data = data
        self.expires_at = expires_at


class MemoryStorage(Storage):
    """Snapshots in the memory of this process; over ``max_entries`` the least used go first.

    Nothing of it survives the process or is seen by another: with several workers a client
    must come back to the same one. `DatabaseStorage` is the next step up.
    """

    supports_atomic_fence = True
    supports_listing = True
    supports_native_async = True
    keeps_expired = True
    sortable_by = SORTABLE
    is_shared = False

    def __init__(self, *, max_entries: int = DEFAULT_MAX_ENTRIES, clock: Clock = time.time) -> None:
        if max_entries < 1:
            raise ValueError(f"max_entries is {max_entries} and must be at least 1.")
        self.max_entries = max_entries
        self.clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.RLock()
        register_after_fork(self)

    def save(self, key: str, data: bytes, ttl: float) -> None:
        with self._lock:
            self._put(key, bytes(data), self.clock() + ttl)

    def load(self, key: str) -> bytes | None:
        with self._lock:
            return self._get(key, self.clock())

    def delete(self, key: str) -> bool:
        with self._lock:
            existed = self._get(key, self.clock()) is not None
            self._entries.pop(key, None)
            return existed

    def save_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        with self._lock:
            now = self.clock()
            entry = self._entries.get(key)
            if entry is None or entry.expires_at <= now:
                self._put(key, data, now + ttl)
                return Verdict.DONE
            decision = decide_save(entry.data, data)
            if decision.verdict is Verdict.DONE and decision.data is not None:
                entry.data, entry.expires_at = decision.data, now + ttl
                self._entries.move_to_end(key)
            return decision.verdict

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        with self._lock:
            now = self.clock()
            verdict = decide_touch(self._get(key, now), claim).verdict
            if verdict is Verdict.DONE:
                self._entries[key].expires_at = now + ttl
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
        with self._lock:
            now = self.clock()
            expired = [key for key, entry in self._entries.items() if entry.expires_at <= now]
            for key in expired:
                del self._entries[key]
            return len(expired)

    def count_expired(self) -> int:
        with self._lock:
            now = self.clock()
            return sum(entry.expires_at <= now for entry in self._entries.values())

    def estimate_count(self) -> int:
        """Return all that is held, markers and what has just expired included."""
        return len(self._entries)

    def list_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        live = self._live()
        found = sorted(key for key in live if socket_id_in(live[key].data).startswith(prefix))
        start = 0 if cursor is None else bisect_right(found, cursor)
        page = found[start : start + limit]
        more = start + limit < len(found)
        return EntryPage(
            entries=[live[key] for key in page], next_cursor=page[-1] if more else None
        )

    def count(self) -> int:
        return len(self._live())

    def browse(self, query: Query) -> Page:
        """Return a page in any order; sorting what is in memory costs little."""
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
        """Return all there are: they are at hand."""
        items = [describe(entry) for entry, _ in self._found()]
        expired = sum(1 for _ in self._found(expired=True))
        return Sample(items=items, total=len(items), expired=expired)

    def look_up(self, key: str) -> Entry | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            return Entry(key=key, data=entry.data, expires_in=entry.expires_at - self.clock())

    def check(self) -> list[CheckMessage]:
        return check_memory()

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self._lock = threading.RLock()

    def _get(self, key: str, now: float) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None or entry.expires_at <= now:
            return None
        self._entries.move_to_end(key)
        return entry.data

    def _put(self, key: str, data: bytes, expires_at: float) -> None:
        self._entries[key] = _Entry(data, expires_at)
        self._entries.move_to_end(key)
        if len(self._entries) > self.max_entries:
            self._entries.popitem(last=False)

    def _live(self) -> dict[str, Entry]:
        return {entry.key: entry for entry, _ in self._found()}

    def _found(self, *, expired: bool = False) -> list[tuple[Entry, float]]:
        """Return all live snapshots, or all expired ones, with the time at which each expires."""
        with self._lock:
            now = self.clock()
            items = list(self._entries.items())
        return [
            (Entry(key=key, data=entry.data, expires_in=entry.expires_at - now), entry.expires_at)
            for key, entry in items
            if (entry.expires_at <= now) is expired and not is_marker(entry.data)
        ]
