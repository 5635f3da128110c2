"""Own the storage of one process: a dictionary under a lock."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from recovery_app._concurrency import register_after_fork
from recovery_app.clock import Clock
from recovery_app.snapshots import is_marker, socket_id_in
from recovery_app.storages.base import Entry, EntryPage, Result, Storage, describe
from recovery_app.storages.browsing import SORTABLE, Place, is_behind, value_of
from recovery_app.values import Page, Query, Sample

DEFAULT_MAX_ENTRIES = 10_000


class _Slot(NamedTuple):
    data: bytes
    expires_at: float


class MemoryStorage(Storage):
    """Keep snapshots in this process; of more than ``max_entries`` the least used go first.

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
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._lock = threading.RLock()
        register_after_fork(self)

    def save(self, key: str, data: bytes, ttl: float) -> None:
        with self._lock:
            self._slots[key] = _Slot(bytes(data), self.clock() + ttl)
            self._slots.move_to_end(key)
            if len(self._slots) > self.max_entries:
                self._slots.popitem(last=False)

    def load(self, key: str) -> bytes | None:
        with self._lock:
            slot = self._slots.get(key)
            if slot is None or slot.expires_at <= self.clock():
                return None
            self._slots.move_to_end(key)
            return slot.data

    def delete(self, key: str) -> bool:
        with self._lock:
            there = self.load(key) is not None
            self._slots.pop(key, None)
            return there

    def exclusive(self) -> AbstractContextManager[object]:
        return self._lock

    def cleanup_expired(self) -> int:
        with self._lock:
            now = self.clock()
            expired = [key for key, slot in self._slots.items() if slot.expires_at <= now]
            for key in expired:
                del self._slots[key]
            return len(expired)

    def count_expired(self) -> int:
        with self._lock:
            now = self.clock()
            return sum(slot.expires_at <= now for slot in self._slots.values())

    def estimate_count(self) -> int:
        """Give all that is held, markers and what has just expired included."""
        return len(self._slots)

    def list_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        live = self._live_entries()
        found = sorted(key for key in live if socket_id_in(live[key].data).startswith(prefix))
        start = 0 if cursor is None else bisect_right(found, cursor)
        page = found[start : start + limit]
        more = start + limit < len(found)
        return EntryPage(
            entries=[live[key] for key in page], next_cursor=page[-1] if more else None
        )

    def count(self) -> int:
        return len(self._live_entries())

    def browse(self, query: Query) -> Page:
        """Give a page in any order; sorting what is in memory costs little."""
        place = Place.read(query.cursor)
        found = []
        for entry, expires_at in self._entries(expired=query.expired):
            info = describe(entry)
            behind = Place(key=entry.key, value=value_of(info, query.order, expires_at))
            if query.admits(info) and is_behind(behind, place, query.order):
                found.append((behind.value, entry.key, info))
        found.sort(key=lambda each: each[:2], reverse=query.order.startswith("-"))
        page = found[: query.limit]
        more = len(found) > query.limit
        last = str(Place(value=page[-1][0], key=page[-1][1])) if more else None
        return Page(items=[info for *_, info in page], next_cursor=last)

    def sample(self, limit: int = 1000) -> Sample:
        """Give all there are: they are at hand."""
        items = [describe(entry) for entry, _ in self._entries()]
        expired = sum(1 for _ in self._entries(expired=True))
        return Sample(items=items, total=len(items), expired=expired)

    def look_up(self, key: str) -> Entry | None:
        with self._lock:
            slot = self._slots.get(key)
            if slot is None:
                return None
            return Entry(key=key, data=slot.data, expires_in=slot.expires_at - self.clock())

    async def run(self, call: Callable[[], Result]) -> Result:
        """Make the call here: nothing in this storage waits for long."""
        return call()

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self._lock = threading.RLock()

    def _live_entries(self) -> dict[str, Entry]:
        return {entry.key: entry for entry, _ in self._entries()}

    def _entries(self, *, expired: bool = False) -> list[tuple[Entry, float]]:
        """Give all live snapshots, or all expired ones, with the time at which each expires."""
        with self._lock:
            now = self.clock()
            slots = list(self._slots.items())
        return [
            (Entry(key=key, data=slot.data, expires_in=slot.expires_at - now), slot.expires_at)
            for key, slot in slots
            if (slot.expires_at <= now) is expired and not is_marker(slot.data)
        ]
