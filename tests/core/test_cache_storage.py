"""What is special about caches: they forget in silence, count in ticks, and share connections."""

from __future__ import annotations

import asyncio
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import transaction
from pymemcache.client.base import Client
from redis import from_url as connect

from recovery_app import checks, get_manager
from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.fencing import Verdict
from recovery_app.storages import CacheStorage
from recovery_app.storages.cache.entry import PREFIX
from recovery_app.testing.contract.base import claim_of, snapshot_bytes
from tests.clock import FakeClock
from tests.core.caches import CACHES, LISTING
from tests.core.support import run_script
from tests.support.caches import ON_REDIS
from tests.support.memcached import find_memcached, make_memcached
from tests.support.needs import require
from tests.support.processes import HOST, Process, wait_until

KEY = "0123456789abcdef"
TTL = 60
AT_ONCE = 32
MANY = 100


class Watched(LocMemCache):
    """A cache in memory to which a test can do something before each call."""

    before: Callable[[str, str], None] = staticmethod(lambda _call, _key: None)
    seen: list[tuple[str, Any]] = []

    def get_many(self, keys: Any, version: int | None = None) -> dict[str, Any]:
        type(self).before("get", keys[0])
        return super().get_many(keys, version)

    def set(self, key: str, value: Any, timeout: Any = None, version: int | None = None) -> None:
        type(self).before("set", key)
        type(self).seen.append((key, timeout))
        super().set(key, value, timeout, version)

    def touch(self, key: str, timeout: Any = None, version: int | None = None) -> bool:
        type(self).before("touch", key)
        return super().touch(key, timeout, version)

    def clear(self) -> None:
        raise AssertionError("Others have something in this cache too.")


class Forgetful(LocMemCache):
    """A cache that takes a write and drops it, as memcached may."""

    def set(self, *_arguments: Any, **_options: Any) -> None:
        """Do nothing."""

    def add(self, *_arguments: Any, **_options: Any) -> bool:
        """Return that it is done."""
        return True


class Untouchable(LocMemCache):
    """A backend that is older than ``touch``."""

    touch = BaseCache.touch


class Textual(LocMemCache):
    """A cache whose serializer takes text alone."""

    def set(self, key: str, value: Any, *arguments: Any, **options: Any) -> None:
        if isinstance(value, bytes):
            raise TypeError("Object of type bytes is not JSON serializable")
        super().set(key, value, *arguments, **options)


class Broken(LocMemCache):
    """A cache that fails as no backend should."""

    def get_many(self, keys: Any, version: int | None = None) -> dict[str, Any]:
        raise ZeroDivisionError


@pytest.fixture
def cache_of(settings: Any, clock: FakeClock, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return a function that makes a storage on a cache of a class of this module."""
    made: list[CacheStorage] = []

    def make(backend: type[BaseCache], **options: Any) -> CacheStorage:
        entry = {"BACKEND": f"{__name__}.{backend.__name__}", "LOCATION": request.node.name}
        settings.CACHES = {"default": {**entry, **options}}
        made.append(CacheStorage(clock=clock))
        return made[-1]

    yield make
    Watched.before = staticmethod(lambda _call, _key: None)
    Watched.seen.clear()
    for storage in made:
        storage.close()


# Keys and times.


@pytest.mark.parametrize(
    "key", ["", "with a space", "new\nline", "é", "\ud800", "x" * 999, "a/b", "#" * 65, "#touched"]
)
@pytest.mark.parametrize("any_storage", [CACHES[2]], indirect=True)
def test_odd_keys_are_good_keys(any_storage: CacheStorage, key: str) -> None:
    any_storage.save(key, b"data", TTL)
    any_storage.save(f"{key}#touched", b"other", TTL)
    assert any_storage.load(key) == b"data"
    assert any_storage.load(f"{key}#touched") == b"other"
    assert any_storage.delete(key)
    assert any_storage.load(key) is None


def test_names_in_the_cache_are_plain(cache_of: Any) -> None:
    storage = cache_of(Watched)
    for key in (KEY, "odd key", "x" * 999):
        storage.save(key, b"data", TTL)
    names = [name for name, _ in Watched.seen]
    assert names[0] == f"{PREFIX}{KEY}"
    assert all(re.fullmatch(r"golivekit:recovery:#?[0-9a-f]{16,64}", name) for name in names)


@pytest.mark.parametrize(
    ("ttl", "timeout"),
    [(0.2, 2), (1, 2), (59.5, 61), (40 * 86_400, 40 * 86_400 + 1), (100 * 365 * 86_400, None)],
)
def test_the_cache_holds_it_in_whole_seconds_and_longer(
    cache_of: Any, ttl: float, timeout: int | None
) -> None:
    storage = cache_of(Watched)
    storage.save(KEY, b"data", ttl)
    assert Watched.seen[-1] == (f"{PREFIX}{KEY}", timeout)


@pytest.mark.parametrize("ttl", [0.3, 40 * 86_400, 100 * 365 * 86_400])
@pytest.mark.parametrize("any_storage", CACHES, indirect=True)
def test_short_and_long_lives(any_storage: CacheStorage, clock: FakeClock, ttl: float) -> None:
    any_storage.save_fenced(KEY, snapshot_bytes(1), ttl)
    assert any_storage.touch_fenced(KEY, claim_of(1), ttl) is Verdict.DONE
    clock.advance(seconds=ttl - 0.1)
    assert any_storage.load(KEY) is not None
    clock.advance(seconds=0.1)
    assert any_storage.load(KEY) is None


def test_the_cache_drops_it_by_itself(cache_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = cache_of(Watched)
    storage.save(KEY, b"data", TTL)
    assert storage.expires_by_itself
    later = time.time() + math.ceil(TTL) + 2
    monkeypatch.setattr(time, "time", lambda: later)
    assert caches["default"].get(f"{PREFIX}{KEY}") is None


# Touching.


def test_a_touch_writes_no_data_again(cache_of: Any, clock: FakeClock) -> None:
    storage = cache_of(Watched)
    storage.save_fenced(KEY, snapshot_bytes(1), TTL)
    Watched.seen.clear()
    storage.touch_fenced(KEY, claim_of(1), TTL)
    assert [name for name, _ in Watched.seen] == [f"{PREFIX}{KEY}#touched"]


def test_a_late_touch_undoes_no_takeover(cache_of: Any) -> None:
    storage = cache_of(Watched)
    storage.save_fenced(KEY, snapshot_bytes(1), TTL)

    def take_over(call: str, _key: str) -> None:
        if call == "touch":
            Watched.before = staticmethod(lambda _call, _key: None)
            storage.take_over(KEY, claim_of(1), TTL, now_us=5, newest_version=None)

    Watched.before = staticmethod(take_over)
    assert storage.touch_fenced(KEY, claim_of(1), TTL) is Verdict.FENCED
    assert storage.load(KEY) == snapshot_bytes(5, floor=1)


def test_a_note_prolongs_only_the_write_that_it_was_made_for(
    cache_of: Any, clock: FakeClock
) -> None:
    storage = cache_of(Watched)
    storage.save_fenced(KEY, snapshot_bytes(1), TTL)
    storage.touch_fenced(KEY, claim_of(1), 10 * TTL)
    storage.save_fenced(KEY, snapshot_bytes(2), TTL)
    clock.advance(seconds=TTL)
    assert storage.load(KEY) is None


def test_a_backend_may_lack_touch(cache_of: Any, clock: FakeClock) -> None:
    storage = cache_of(Untouchable)
    storage.save_fenced(KEY, snapshot_bytes(1), TTL)
    clock.advance(seconds=TTL - 1)
    assert storage.touch_fenced(KEY, claim_of(1), TTL) is Verdict.DONE
    clock.advance(seconds=TTL - 1)
    assert storage.load(KEY) == snapshot_bytes(1)


def test_a_touch_that_does_not_last_is_told(cache_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = cache_of(Watched)
    storage.save_fenced(KEY, snapshot_bytes(1), TTL)
    monkeypatch.setattr(Watched, "touch", lambda *_: False)
    with pytest.raises(StorageUnavailable, match=r"'default' is unavailable \(during touch\)"):
        storage.touch_fenced(KEY, claim_of(1), TTL)


# Writing.


def test_a_write_that_is_dropped_is_told(cache_of: Any) -> None:
    storage = cache_of(Forgetful)
    with pytest.raises(StorageUnavailable, match="hasn't kept it"):
        storage.save(KEY, b"data", TTL)
    with pytest.raises(StorageUnavailable, match="hasn't kept it"):
        storage.save_fenced(KEY, snapshot_bytes(1), TTL)


def test_who_is_overwritten_meanwhile_finds_out(cache_of: Any, clock: FakeClock) -> None:
    storage, other = cache_of(Watched), CacheStorage(clock=clock)
    storage.save_fenced(KEY, snapshot_bytes(1), TTL)

    def take_over(call: str, _key: str) -> None:
        if call == "get" and Watched.seen:
            Watched.before = staticmethod(lambda _call, _key: None)
            other.take_over(KEY, claim_of(1), TTL, now_us=5, newest_version=None)

    Watched.seen.clear()
    Watched.before = staticmethod(take_over)
    assert storage.save_fenced(KEY, snapshot_bytes(2, b"late", floor=1), TTL) is Verdict.FENCED
    other.close()


def test_an_older_write_that_came_between_is_overwritten(cache_of: Any, clock: FakeClock) -> None:
    storage, other = cache_of(Watched), CacheStorage(clock=clock)

    def save_older(call: str, _key: str) -> None:
        if call == "get" and Watched.seen:
            Watched.seen.clear()
            Watched.before = staticmethod(lambda _call, _key: None)
            other.save(KEY, snapshot_bytes(1, b"older"), TTL)

    storage.save_fenced(KEY, snapshot_bytes(1), TTL)
    Watched.seen.clear()
    Watched.before = staticmethod(save_older)
    assert storage.save_fenced(KEY, snapshot_bytes(2, b"newer"), TTL) is Verdict.DONE
    assert storage.load(KEY) == snapshot_bytes(2, b"newer")
    other.close()


def test_a_race_without_end_is_an_outage(cache_of: Any, clock: FakeClock) -> None:
    storage, other = cache_of(Watched), CacheStorage(clock=clock)

    def overwrite(call: str, _key: str) -> None:
        if call == "get" and Watched.seen:
            Watched.before = staticmethod(lambda _call, _key: None)
            other.save(KEY, snapshot_bytes(1), TTL)
            Watched.seen.clear()
            Watched.before = staticmethod(overwrite)

    other.save(KEY, snapshot_bytes(1), TTL)
    Watched.seen.clear()
    Watched.before = staticmethod(overwrite)
    with pytest.raises(StorageUnavailable, match="race"):
        storage.save_fenced(KEY, snapshot_bytes(2), TTL)
    other.close()


def test_a_serializer_may_take_text_alone(cache_of: Any) -> None:
    storage = cache_of(Textual)
    storage.save(KEY, bytes(range(256)), TTL)
    assert isinstance(caches["default"].get(f"{PREFIX}{KEY}"), str)
    assert storage.load(KEY) == bytes(range(256))


@pytest.mark.parametrize("alien", [b"short", "no base64!", "c2hvcnQ=", 7, None])
def test_what_is_not_ours_cannot_be_read_and_stays(cache_of: Any, alien: object) -> None:
    storage = cache_of(Watched)
    caches["default"].set(f"{PREFIX}{KEY}", alien, TTL)
    assert storage.load(KEY) == b""
    assert storage.save_fenced(KEY, snapshot_bytes(1), TTL) is Verdict.UNREADABLE
    assert caches["default"].get(f"{PREFIX}{KEY}") == alien


@pytest.mark.parametrize("any_storage", LISTING, indirect=True)
def test_of_what_is_not_ours_the_cache_says_when_it_ends(any_storage: CacheStorage) -> None:
    any_storage.save("ours", b"data", TTL)
    caches[any_storage.cache].set(f"{PREFIX}alien", "alien", TTL // 2)
    caches[any_storage.cache].set(f"{PREFIX}lasting", "alien", None)
    entries = any_storage.list_entries().entries
    assert [entry.key for entry in entries] == ["alien", "lasting", "ours"]
    alien, lasting, ours = (entry.expires_in for entry in entries)
    assert TTL // 2 - 10 < alien <= TTL // 2
    assert lasting > TTL < ours + 1


@pytest.mark.parametrize("any_storage", CACHES, indirect=True)
def test_what_others_keep_in_the_cache_stays(any_storage: CacheStorage, clock: FakeClock) -> None:
    others = caches[any_storage.cache]
    others.set("theirs", "data", None)
    any_storage.save_fenced(KEY, snapshot_bytes(1), TTL)
    any_storage.take_over(KEY, claim_of(1), TTL, now_us=5, newest_version=None)
    any_storage.touch_fenced(KEY, claim_of(5), TTL)
    any_storage.revoke(KEY, claim_of(5), TTL, now_us=6)
    any_storage.delete(KEY)
    any_storage.save(KEY, b"data", TTL)
    clock.advance(seconds=2 * TTL)
    any_storage.cleanup_expired()
    any_storage.close()
    assert any_storage.load(KEY) is None
    assert others.get("theirs") == "data"
    others.close()


@pytest.mark.parametrize("name", ["gzip.GzipCompressor", "lzma.LzmaCompressor"])
@pytest.mark.parametrize("way", ["pickle", "msgpack"])
def test_each_compressor_gives_back_what_went_in(
    redis_caches: None, settings: Any, name: str, way: str
) -> None:
    entry = settings.CACHES[f"django_redis-{way}"]
    options = {**entry["OPTIONS"], "COMPRESSOR": f"django_redis.compressors.{name}"}
    settings.CACHES = {"default": {**entry, "OPTIONS": options}}
    storage = CacheStorage()
    data = bytes(range(256)) * 40
    for stored in (b"", b"short", data):
        storage.save(KEY, stored, TTL)
        assert storage.load(KEY) == stored
    with connect(entry["LOCATION"]) as connection:
        (full,) = connection.scan_iter(f"*{KEY}")
        assert connection.strlen(full) < len(data) / 4
    storage.close()


@pytest.mark.parametrize("prefix", ["", "site", "site:eu", "a:b:c", "golivekit:recovery:", "[x]*"])
def test_whatever_a_caches_prefix_is_its_snapshots_are_listed(
    redis_caches: None, settings: Any, prefix: str
) -> None:
    settings.CACHES = {
        "default": {**settings.CACHES["django_redis-pickle"], "KEY_PREFIX": prefix},
        "other": {**settings.CACHES["django_redis-pickle"], "KEY_PREFIX": f"{prefix}-other"},
    }
    storage, other = CacheStorage(), CacheStorage(cache="other")
    storage.save(KEY, snapshot_bytes(1), TTL)
    other.save("fedcba9876543210", snapshot_bytes(1), TTL)
    assert [entry.key for entry in storage.list_entries().entries] == [KEY]
    assert storage.count() == 1
    storage.close()
    other.close()


# Outages.


@pytest.mark.parametrize("any_storage", CACHES[2:3], indirect=True)
def test_memcached_may_be_away(
    any_storage: CacheStorage, calls: Callable[[Any], Any], memcached: Process
) -> None:
    _survives(any_storage, calls, memcached)


@pytest.mark.parametrize("any_storage", CACHES[-len(ON_REDIS) :], indirect=True)
def test_redis_may_be_away(
    any_storage: CacheStorage, calls: Callable[[Any], Any], redis_server: Process
) -> None:
    _survives(any_storage, calls, redis_server)


def _survives(storage: CacheStorage, calls: Callable[[Any], Any], server: Process) -> None:
    called = calls(storage)
    called.save(KEY, b"data", TTL)
    server.kill()
    try:
        for _ in range(4):
            with pytest.raises(StorageUnavailable, match=r"during load\)"):
                called.load(KEY)
        with pytest.raises(StorageUnavailable):
            called.save_fenced(KEY, snapshot_bytes(1), TTL)
        with pytest.raises(StorageUnavailable):
            called.touch_fenced(KEY, claim_of(1), TTL)
        with pytest.raises(StorageUnavailable):
            called.delete(KEY)
        if storage.supports_listing:
            with pytest.raises(StorageUnavailable):
                called.count()
    finally:
        server.start()
    # At once: no client holds the server for dead, and it has forgotten everything.
    assert called.load(KEY) is None
    assert called.save_fenced(KEY, snapshot_bytes(1), TTL) is Verdict.DONE
    assert called.load(KEY) == snapshot_bytes(1)


@pytest.mark.django_db
@pytest.mark.parametrize("backend", ["db.DatabaseCache", "filebased.FileBasedCache"])
def test_a_table_or_a_directory_may_be_away(
    settings: Any, calls: Callable[[Any], Any], backend: str
) -> None:
    path = "django.core.cache.backends." + backend
    settings.CACHES = {"default": {"BACKEND": path, "LOCATION": "/dev/null/nowhere"}}
    storage = CacheStorage()
    for call in (lambda: storage.load(KEY), lambda: storage.save(KEY, b"data", TTL)):
        with pytest.raises(StorageUnavailable), transaction.atomic():
            call()
    storage.close()


def test_other_failures_are_told_from_outages(cache_of: Any) -> None:
    with pytest.raises(StorageError, match=r"CacheStorage on 'default' failed") as caught:
        cache_of(Broken).load(KEY)
    assert not isinstance(caught.value, StorageUnavailable)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


# Threads.


async def test_asynchronous_calls_do_not_queue_behind_one_thread(cache_of: Any) -> None:
    storage = cache_of(Watched)
    storage.save(KEY, b"data", TTL)
    together = threading.Barrier(AT_ONCE, timeout=30)

    def wait(_call: str, _key: str) -> None:
        together.wait()

    Watched.before = staticmethod(wait)
    loaded = await asyncio.gather(*(storage.aload(KEY) for _ in range(AT_ONCE)))
    assert loaded == [b"data"] * AT_ONCE


@pytest.mark.parametrize("any_storage", CACHES[2:3], indirect=True)
async def test_threads_do_not_mix_up_answers(any_storage: CacheStorage) -> None:
    # A connection in the context would be shared by all threads that work for this task.
    caches["memcached"].get("anything")
    keys = [f"{number:016x}" for number in range(MANY)]
    await asyncio.gather(*(any_storage.asave(key, key.encode(), TTL) for key in keys))
    loaded = await asyncio.gather(*(any_storage.aload(key) for key in keys))
    assert loaded == [key.encode() for key in keys]
    caches["memcached"].close()


async def test_connections_end_with_the_storage(settings: Any, tmp_path: Path) -> None:
    require("memcached", find_memcached())
    # One of its own: the threads of an earlier test may still be closing theirs.
    with make_memcached(tmp_path) as server:
        entry = {**settings.CACHES["memcached"], "LOCATION": f"{HOST}:{server.port}"}
        settings.CACHES = {"default": entry}
        storage = CacheStorage()
        watching = Client((HOST, server.port))

        def connections() -> int:
            return int(watching.stats()[b"curr_connections"])

        before = connections()
        await asyncio.gather(*(storage.aload(KEY) for _ in range(MANY)))
        assert before < connections() <= before + storage.threads
        storage.close()
        # At first the one that found the server ready may have been counted too.
        wait_until(lambda: connections() <= before, 10, "Connections are left.")
        watching.close()


def test_a_storage_that_is_never_closed_is_silent_at_exit() -> None:
    run_script(
        """
import django
django.setup()
from recovery_app.storages.cache import storage as cache
# Whatever holds it, by then Python has taken the names of this module away.
cache.kept = cache.CacheStorage(cache="locmem")
cache.kept.load("key")
""",
        fresh=True,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("any_storage", CACHES[2:3], indirect=True)
def test_a_forked_child_has_a_connection_of_its_own(any_storage: CacheStorage) -> None:
    any_storage.save(KEY, b"parent", TTL)
    connection = any_storage._connections._local.connection
    any_storage._connections.after_fork()
    assert any_storage.load(KEY) == b"parent"
    assert any_storage._connections._local.connection is not connection


# The class itself.


def test_it_says_what_it_cannot_do(cache_of: Any) -> None:
    storage = cache_of(Watched)
    assert not storage.supports_atomic_fence
    assert not storage.supports_listing
    assert not storage.supports_native_async
    for call in (storage.list_entries, storage.count):
        with pytest.raises(StorageError, match="CacheStorage can't"):
            call()
    assert storage.cleanup_expired() == 0


@pytest.mark.parametrize("alias", ["nowhere", 5])
def test_the_alias_has_to_be_there(alias: Any) -> None:
    with pytest.raises(ValueError, match="CACHES has no alias"):
        CacheStorage(cache=alias)


def test_the_settings_name_it(settings: Any) -> None:
    settings.RECOVERY = {
        "STORAGE": {
            "BACKEND": "recovery_app.storages.CacheStorage",
            "OPTIONS": {"cache": "locmem"},
        }
    }
    manager = get_manager()
    token = manager.create_token("a socket")
    manager.save(token, {"count": 1})
    assert manager.recover(token) == {"count": 1}
    assert {message.id for message in checks.check_storage()} == {
        "recovery_app.W002",
        "recovery_app.W003",
        "recovery_app.W004",
    }
