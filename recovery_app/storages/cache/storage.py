"""The storage in an alias of Django's cache framework.

A cache may drop a write without an error, so each write is read back. A touch stores a note
beside the data instead of writing the data again, which might be older by then (see `entry`).
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.checks import CheckMessage
from django.db import close_old_connections, connections
from django.utils.module_loading import import_string

from recovery_app.clock import MICROSECONDS, Clock, to_us
from recovery_app.exceptions import StorageUnavailable
from recovery_app.fencing import Claim, Decision, Verdict, decide_touch
from recovery_app.snapshots import is_marker, socket_id_in
from recovery_app.storages.base import (
    MAX_LOOKED_AT,
    Entry,
    EntryPage,
    Result,
    Storage,
    describe,
)
from recovery_app.storages.cache.checks import check_cache
from recovery_app.storages.cache.connections import CacheConnections
from recovery_app.storages.cache.entry import (
    MARK_BYTES,
    NOTE_SUFFIX,
    PREFIX,
    CacheEntry,
    name_of,
    read_entry,
    text_of,
    timeout_of,
)
from recovery_app.values import Page, Query, Sample, SnapshotInfo

ATTEMPTS = 5
_LIST_BATCH = 100
_SCAN_STEP = 1000
"""Keys that Redis reads in one step; the 10 of django-redis take a hundred times as long."""


class CacheStorage(Storage):
    """The storage in ``cache``, an alias of ``CACHES``.

    It may lose what a cache of that kind may lose, and its fenced steps aren't atomic. It can
    list snapshots if the backend can list its keys, as django-redis can. The option
    ``IGNORE_EXCEPTIONS`` of django-redis isn't applied, so that an outage doesn't look like a
    miss.
    """

    expires_by_itself = True
    threads = 32
    """More than the default: a slow cache may need one call for each key."""

    def __init__(self, *, cache: str = DEFAULT_CACHE_ALIAS, clock: Clock = time.time) -> None:
        if cache not in caches.settings:
            raise ValueError(f"CACHES has no alias {cache!r}.")
        self.cache = cache
        self.clock = clock
        backend = import_string(caches.settings[cache]["BACKEND"])
        self.supports_listing = hasattr(backend, "iter_keys")
        self.is_shared = not issubclass(backend, LocMemCache)
        self._as_text = False
        self._connections = CacheConnections(cache, uses_client=self.supports_listing)

    def save(self, key: str, data: bytes, ttl: float) -> None:
        self._write(key, data, ttl)

    def load(self, key: str) -> bytes | None:
        cached = self._live(self._find(key))
        return None if cached is None else cached.data

    def delete(self, key: str) -> bool:
        there = self._live(self._find(key)) is not None
        with self._connections.use("delete") as cache:
            cache.delete(name_of(key))
            cache.delete(name_of(key) + NOTE_SUFFIX)
        return there

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        for _ in range(ATTEMPTS):
            cached = self._live(self._find(key))
            data = None if cached is None else cached.data
            verdict = decide_touch(data, claim, now_us=self._now_us()).verdict
            if verdict is not Verdict.DONE or cached is None or self._prolong(key, cached, ttl):
                return verdict
        raise StorageUnavailable(self._connections.title, "touch")

    def list_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        if not self.supports_listing:
            return super().list_entries(prefix=prefix, cursor=cursor, limit=limit)
        entries: list[Entry] = []
        for entry in self._entries(after=cursor):
            if socket_id_in(entry.data).startswith(prefix):
                entries.append(entry)
            if len(entries) > limit:
                return EntryPage(entries=entries[:limit], next_cursor=entries[limit - 1].key)
        return EntryPage(entries=entries)

    def count(self) -> int:
        if not self.supports_listing:
            return super().count()
        return sum(1 for _ in self._entries())

    def browse(self, query: Query) -> Page:
        """Return a page in the order of keys, having read all keys and the page's values."""
        if not self.supports_listing:
            return super().browse(query)
        items: list[SnapshotInfo] = []
        looked_at, key = 0, query.cursor
        for entry in self._entries(after=query.cursor):
            if len(items) == query.limit or looked_at == MAX_LOOKED_AT:
                return Page(items=items, next_cursor=key, looked_at=looked_at)
            info, key = describe(entry), entry.key
            looked_at += 1
            if query.admits(info):
                items.append(info)
        return Page(items=items, looked_at=looked_at)

    def sample(self, limit: int = 1000) -> Sample:
        """Return the first snapshots by key, which is a hash, and an estimate from all keys."""
        if not self.supports_listing:
            return super().sample(limit)
        keys = self._keys()
        found = self._find_many(keys[:limit]).items()
        items = [
            describe(self._entry(key, cached)) for key, cached in found if self._is_listed(cached)
        ]
        is_exact = len(keys) <= limit
        total = len(items) if is_exact else round(len(keys) * len(items) / limit)
        return Sample(items=items, total=total, is_exact=is_exact)

    def look_up(self, key: str) -> Entry | None:
        cached = self._live(self._find(key))
        return None if cached is None else self._entry(key, cached)

    def close(self) -> None:
        super().close()
        self._connections.disconnect()

    def check(self) -> list[CheckMessage]:
        return check_cache(self.cache)

    @classmethod
    def check_options(cls, options: Mapping[Any, Any]) -> list[CheckMessage]:
        return check_cache(str(options.get("cache", DEFAULT_CACHE_ALIAS)))

    def on_thread(self, call: Callable[[], Result]) -> Result:
        """Make the call like a separate request, because the cache may be a database."""
        close_old_connections()
        try:
            return call()
        finally:
            close_old_connections()

    def leave_thread(self) -> None:
        """Close the connections of this thread."""
        self._connections.disconnect()
        connections.close_all()

    # One key.

    def _step(self, key: str, ttl: float, decide: Callable[[bytes | None], Decision]) -> Decision:
        """Load, decide and save, again if something else was written in between."""
        for _ in range(ATTEMPTS):
            found = self._find(key)
            live = self._live(found)
            decision = decide(None if live is None else live.data)
            if decision.verdict is not Verdict.DONE or decision.data is None:
                return decision
            if self._write(key, decision.data, ttl, is_new=found is None):
                return decision
        raise StorageUnavailable(self._connections.title, "save, in a race")

    def _find(self, key: str) -> CacheEntry | None:
        return self._find_many([key]).get(key)

    def _find_many(self, keys: list[str]) -> dict[str, CacheEntry]:
        names = {key: name_of(key) for key in keys}
        asked = [*names.values(), *(name + NOTE_SUFFIX for name in names.values())]
        with self._connections.use("load") as cache:
            values = cache.get_many(asked)
        return {
            key: read_entry(values[name], values.get(name + NOTE_SUFFIX))
            for key, name in names.items()
            if name in values
        }

    def _live(self, cached: CacheEntry | None) -> CacheEntry | None:
        return cached if cached is not None and cached.expires_us > self._now_us() else None

    def _write(self, key: str, data: bytes, ttl: float, *, is_new: bool = False) -> bool:
        """Write, read back, and return whether this write is the last one."""
        cached = CacheEntry(data=data, expires_us=self._expiry(ttl), mark=os.urandom(MARK_BYTES))
        with self._connections.use("save") as cache:
            put = cache.add if is_new else cache.set
            self._put(put, name_of(key), cached.to_bytes(), ttl)
        found = self._find(key)
        if found is None:
            raise StorageUnavailable(self._connections.title, "save: the cache hasn't kept it")
        return found.mark == cached.mark

    def _prolong(self, key: str, cached: CacheEntry, ttl: float) -> bool:
        name, timeout = name_of(key), timeout_of(ttl)
        prolonged = replace(cached, expires_us=self._expiry(ttl))
        is_touched = None
        with self._connections.use("touch") as cache:
            self._put(cache.set, name + NOTE_SUFFIX, prolonged.note(), ttl)
            # A backend may lack this one call.
            with suppress(NotImplementedError):
                # Redis returns false if there was no timeout before either.
                is_touched = cache.touch(name, timeout) or timeout is None
        if is_touched is None:
            return self._write(key, cached.data, ttl)
        return bool(is_touched) and self._find(key) == prolonged

    def _put(self, put: Callable[..., object], name: str, value: bytes, ttl: float) -> None:
        """Store bytes, or text once the cache's serializer, such as JSON, has refused bytes."""
        if not self._as_text:
            try:
                put(name, value, timeout_of(ttl))
            except TypeError:
                self._as_text = True
        if self._as_text:
            put(name, text_of(value), timeout_of(ttl))

    # All keys.

    def _entries(self, *, after: str | None = None) -> Iterator[Entry]:
        keys = self._keys()
        start = 0 if after is None else bisect_right(keys, after)
        for first in range(start, len(keys), _LIST_BATCH):
            found = self._find_many(keys[first : first + _LIST_BATCH])
            for key, cached in found.items():
                if self._is_listed(cached):
                    yield self._entry(key, cached)

    def _is_listed(self, cached: CacheEntry) -> bool:
        return self._live(cached) is not None and not is_marker(cached.data)

    def _entry(self, key: str, cached: CacheEntry) -> Entry:
        seconds = (cached.expires_us - self._now_us()) / MICROSECONDS
        if not cached.mark and self.supports_listing:
            # A value that this storage didn't write doesn't hold its expiry.
            with self._connections.use("list") as cache:
                left = cache.ttl(name_of(key))
            seconds = seconds if left is None else left
        return Entry(key=key, data=cached.data, expires_in=seconds)

    def _keys(self) -> list[str]:
        with self._connections.use("list") as cache:
            names = set(cache.iter_keys(f"{PREFIX}*", itersize=_SCAN_STEP))
        # A colon in the cache's KEY_PREFIX leaves a part of that in front of ours.
        keys = (name.rpartition(PREFIX)[2] for name in names if not name.endswith(NOTE_SUFFIX))
        return sorted(keys)

    def _now_us(self) -> int:
        return to_us(self.clock())

    def _expiry(self, ttl: float) -> int:
        return to_us(self.clock() + ttl)
