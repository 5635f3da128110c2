"""Own the storage in any alias of Django's cache framework.

A cache may drop a write without a word, so each is read back. A touch doesn't write the data
again, which might be older by then: it leaves a note beside it (see `entry`).
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from typing import Any

from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.cache.backends.base import BaseCache
from django.db import Error as DatabaseFailure
from django.db import close_old_connections, connections
from django.utils.module_loading import import_string

from recovery_app._concurrency import register_after_fork
from recovery_app.clock import MICROSECONDS, Clock, to_us
from recovery_app.exceptions import StorageError, StorageUnavailable
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
from recovery_app.storages.cache.entry import (
    MARK_BYTES,
    PREFIX,
    TOUCHED,
    Slot,
    name_of,
    read_slot,
    text_of,
    timeout_of,
)
from recovery_app.values import Page, Query, Sample, SnapshotInfo

ATTEMPTS = 5
_LIST_BATCH = 100
_SCAN_STEP = 1000
"""Keys that Redis looks at in one go; django-redis's own 10 take a hundred times as long."""
_FAILURES = (
    "redis.exceptions.RedisError",
    "valkey.exceptions.ValkeyError",
    "django_redis.exceptions.ConnectionInterrupted",
    "django_valkey.exceptions.ConnectionInterrupted",
    "pymemcache.exceptions.MemcacheError",
    "pylibmc.Error",
)


class _Line:
    """A thread's own way to the cache. It is closed when nobody holds it, as when a thread ends."""

    def __init__(self, backend: BaseCache) -> None:
        self.backend = backend

    def __del__(self) -> None:
        # When the process exits, `suppress` may be gone already.
        try:  # noqa: SIM105
            self.backend.close()
        except Exception:  # noqa: S110
            pass  # Whatever ails it, it is gone.


class CacheStorage(Storage):
    """Keep snapshots in the cache ``cache``, an alias of ``CACHES``.

    What a cache of that kind may lose, this storage loses, and its fenced steps look and
    then write. Where the backend can list its keys, as django-redis can, so can this.
    django-redis is asked past its option ``IGNORE_EXCEPTIONS``: an outage isn't a miss.
    """

    expires_by_itself = True
    threads = 32
    """Of which a slow cache needs more: it may be asked key by key."""

    def __init__(self, *, cache: str = DEFAULT_CACHE_ALIAS, clock: Clock = time.time) -> None:
        if cache not in caches.settings:
            raise ValueError(f"CACHES has no alias {cache!r}.")
        self.cache = cache
        self.clock = clock
        self.supports_listing = hasattr(
            import_string(caches.settings[cache]["BACKEND"]), "iter_keys"
        )
        self._as_text = False
        self._own = threading.local()
        register_after_fork(self)

    def save(self, key: str, data: bytes, ttl: float) -> None:
        self._keep(key, data, ttl)

    def load(self, key: str) -> bytes | None:
        slot = self._live(self._find(key))
        return None if slot is None else slot.data

    def delete(self, key: str) -> bool:
        there = self._live(self._find(key)) is not None
        with self._asking("delete") as cache:
            cache.delete(name_of(key))
            cache.delete(name_of(key) + TOUCHED)
        return there

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        for _ in range(ATTEMPTS):
            slot = self._live(self._find(key))
            verdict = decide_touch(None if slot is None else slot.data, claim).verdict
            if verdict is not Verdict.DONE or slot is None or self._prolong(key, slot, ttl):
                return verdict
        raise StorageUnavailable(self._title, "touch")

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
        """Give a page by key. All keys are asked for, and no more values than are looked at."""
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
        """Give the first by their keys, which are hashes, and the number of all keys."""
        if not self.supports_listing:
            return super().sample(limit)
        keys = self._keys()
        found = self._find_many(keys[:limit]).items()
        items = [describe(self._entry(key, slot)) for key, slot in found if self._is_shown(slot)]
        is_exact = len(keys) <= limit
        total = len(items) if is_exact else round(len(keys) * len(items) / limit)
        return Sample(items=items, total=total, is_exact=is_exact)

    def look_up(self, key: str) -> Entry | None:
        slot = self._live(self._find(key))
        return None if slot is None else self._entry(key, slot)

    def close(self) -> None:
        super().close()
        self._hang_up()

    def on_thread(self, call: Callable[[], Result]) -> Result:
        """Make the call with Django's care of old connections: the cache may be a database."""
        close_old_connections()
        try:
            return call()
        finally:
            close_old_connections()

    def leave_thread(self) -> None:
        """Close the connections of a thread of ours."""
        self._hang_up()
        connections.close_all()

    def after_fork(self) -> None:
        """Forget the parent's connections, which are still the parent's."""
        self._own = threading.local()

    # One key.

    def _step(self, key: str, ttl: float, decide: Callable[[bytes | None], Decision]) -> Decision:
        """Look and write, and begin again if somebody else wrote in between."""
        for _ in range(ATTEMPTS):
            found = self._find(key)
            live = self._live(found)
            decision = decide(None if live is None else live.data)
            if decision.verdict is not Verdict.DONE or decision.data is None:
                return decision
            if self._keep(key, decision.data, ttl, is_new=found is None):
                return decision
        raise StorageUnavailable(self._title, "save, in a race")

    def _find(self, key: str) -> Slot | None:
        return self._find_many([key]).get(key)

    def _find_many(self, keys: list[str]) -> dict[str, Slot]:
        names = {key: name_of(key) for key in keys}
        asked = [*names.values(), *(name + TOUCHED for name in names.values())]
        with self._asking("load") as cache:
            values = cache.get_many(asked)
        return {
            key: read_slot(values[name], values.get(name + TOUCHED))
            for key, name in names.items()
            if name in values
        }

    def _live(self, slot: Slot | None) -> Slot | None:
        return slot if slot is not None and slot.expires_us > self._now_us() else None

    def _keep(self, key: str, data: bytes, ttl: float, *, is_new: bool = False) -> bool:
        """Write and read back; say whether it is this write that stands now."""
        slot = Slot(data=data, expires_us=self._expiry(ttl), mark=os.urandom(MARK_BYTES))
        with self._asking("save") as cache:
            put = cache.add if is_new else cache.set
            self._put(put, name_of(key), slot.to_bytes(), ttl)
        found = self._find(key)
        if found is None:
            raise StorageUnavailable(self._title, "save: the cache hasn't kept it")
        return found.mark == slot.mark

    def _prolong(self, key: str, slot: Slot, ttl: float) -> bool:
        name, timeout = name_of(key), timeout_of(ttl)
        prolonged = replace(slot, expires_us=self._expiry(ttl))
        is_touched = None
        with self._asking("touch") as cache:
            self._put(cache.set, name + TOUCHED, prolonged.note(), ttl)
            # It is the one call that a backend may lack.
            with suppress(NotImplementedError):
                # Redis says no where there was no timeout before either.
                is_touched = cache.touch(name, timeout) or timeout is None
        if is_touched is None:
            return self._keep(key, slot.data, ttl)
        return bool(is_touched) and self._find(key) == prolonged

    def _put(self, put: Callable[..., object], name: str, value: bytes, ttl: float) -> None:
        """Give bytes to the cache, or text once its serializer, JSON say, has refused bytes."""
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
            for key, slot in found.items():
                if self._is_shown(slot):
                    yield self._entry(key, slot)

    def _is_shown(self, slot: Slot) -> bool:
        return self._live(slot) is not None and not is_marker(slot.data)

    def _entry(self, key: str, slot: Slot) -> Entry:
        seconds = (slot.expires_us - self._now_us()) / MICROSECONDS
        if not slot.mark and self.supports_listing:
            # What isn't ours doesn't say when it ends.
            with self._asking("list") as cache:
                left = cache.ttl(name_of(key))
            seconds = seconds if left is None else left
        return Entry(key=key, data=slot.data, expires_in=seconds)

    def _keys(self) -> list[str]:
        with self._asking("list") as cache:
            names = set(cache.iter_keys(f"{PREFIX}*", itersize=_SCAN_STEP))
        return sorted(name.removeprefix(PREFIX) for name in names if not name.endswith(TOUCHED))

    # The cache itself.

    @contextmanager
    def _asking(self, operation: str) -> Iterator[Any]:
        try:
            yield self._client()
        except Exception as error:
            # A memcached client takes a server that was away for dead for a minute.
            self._hang_up()
            if isinstance(error, _failures()):
                raise StorageUnavailable(self._title, operation) from error
            raise StorageError(f"{self._title} failed (during {operation}).") from error

    def _client(self) -> Any:
        # Django's own object goes with the context, which many threads of ours may share at
        # once, and a memcached client then mixes up their answers.
        if not hasattr(self._own, "line"):
            self._own.line = _Line(caches.create_connection(self.cache))
        backend: Any = self._own.line.backend
        return backend.client if self.supports_listing else backend

    def _hang_up(self) -> None:
        self._own.__dict__.clear()

    def _now_us(self) -> int:
        return to_us(self.clock())

    def _expiry(self, ttl: float) -> int:
        return to_us(self.clock() + ttl)

    @property
    def _title(self) -> str:
        return f"CacheStorage on {self.cache!r}"


@cache
def _failures() -> tuple[type[Exception], ...]:
    """Give what backends raise when they can't reach their server, as far as it is installed."""
    found: list[type[Exception]] = [OSError, DatabaseFailure]
    for path in _FAILURES:
        with suppress(ImportError):
            found.append(import_string(path))
    return tuple(found)
