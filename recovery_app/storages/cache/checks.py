"""System checks of the cache that holds snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage

from recovery_app.storages.system_checks import (
    as_mapping,
    class_paths,
    default_socket_timeout,
    seconds_in_url,
    warning,
)

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
DUMMY = "django.core.cache.backends.dummy.DummyCache"
PYMEMCACHE = "django.core.cache.backends.memcached.PyMemcacheCache"
DJANGOS_REDIS = "django.core.cache.backends.redis.RedisCache"
LIMITED_CACHES = {
    LOCMEM,
    "django.core.cache.backends.db.DatabaseCache",
    "django.core.cache.backends.filebased.FileBasedCache",
}
"""The backends that drop entries above their option ``MAX_ENTRIES``."""
DEFAULT_MAX_ENTRIES = 300


def check_cache(alias: str) -> list[CheckMessage]:
    """Return the problems of an alias of ``CACHES`` as a storage of snapshots."""
    cache = as_mapping(settings.CACHES.get(alias))
    names, options = class_paths(cache.get("BACKEND")), as_mapping(cache.get("OPTIONS"))
    title = f"CACHES[{alias!r}], where RECOVERY['STORAGE'] keeps snapshots,"
    return [
        *_check_locmem(title, names),
        *_check_max_entries(title, names, options),
        *_check_ignored_exceptions(title, names, options),
        *_check_dummy(title, names),
        *_check_timeout(title, names, options, cache.get("LOCATION")),
    ]


def _check_locmem(title: str, names: list[str]) -> list[CheckMessage]:
    if LOCMEM not in names or settings.DEBUG:
        return []
    return [
        warning(
            "W003",
            f"{title} is the memory of one process: they are lost when it ends, and no other "
            "worker sees them.",
            hint="Use a cache that all workers share, or another storage.",
        )
    ]


def _check_max_entries(
    title: str, names: list[str], options: Mapping[str, Any]
) -> list[CheckMessage]:
    limit = _max_entries(options)
    if LIMITED_CACHES.isdisjoint(names) or limit > DEFAULT_MAX_ENTRIES:
        return []
    return [
        warning(
            "W004",
            f"{title} holds {limit} entries. Above that, it drops some that are still needed.",
            hint='Set its OPTIONS["MAX_ENTRIES"] well above the number of pages open at once.',
        )
    ]


def _check_ignored_exceptions(
    title: str, names: list[str], options: Mapping[str, Any]
) -> list[CheckMessage]:
    for_all = getattr(settings, "DJANGO_REDIS_IGNORE_EXCEPTIONS", False)
    if not (_is_django_redis(names) and options.get("IGNORE_EXCEPTIONS", for_all)):
        return []
    return [
        warning(
            "W005",
            f"{title} ignores exceptions. That option isn't applied to snapshots, but everything "
            "else in the cache, such as sessions, seems to be gone while Redis is unavailable.",
            hint='Set its OPTIONS["IGNORE_EXCEPTIONS"] to False, or give snapshots a cache of '
            "their own.",
        )
    ]


def _check_dummy(title: str, names: list[str]) -> list[CheckMessage]:
    if DUMMY not in names:
        return []
    return [
        warning(
            "W006",
            f"{title} is a DummyCache: nothing is kept, and nothing can be recovered.",
            hint="Use another cache or another storage; in development, MemoryStorage.",
        )
    ]


def _check_timeout(
    title: str, names: list[str], options: Mapping[str, Any], location: Any
) -> list[CheckMessage]:
    if not _may_wait_for_ever(names, options, location):
        return []
    return [
        warning(
            "W010",
            f"{title} sets no timeout: an unresponsive server keeps each call, and its page, "
            "waiting forever.",
            hint="Set a few seconds in its OPTIONS: timeout and connect_timeout for pymemcache, "
            "socket_timeout and socket_connect_timeout for Redis, in capitals for django-redis.",
        )
    ]


def _may_wait_for_ever(names: list[str], options: Mapping[str, Any], location: Any) -> bool:
    if PYMEMCACHE in names:
        return not options.get("timeout")
    if _is_django_redis(names):
        of_pool = as_mapping(options.get("CONNECTION_POOL_KWARGS")).get("socket_timeout")
        timeout = options.get("SOCKET_TIMEOUT") or of_pool
    elif DJANGOS_REDIS in names:
        timeout = options.get("socket_timeout")
    else:
        return False
    urls = location if isinstance(location, (list, tuple)) else [location]
    return not (timeout or default_socket_timeout() or all(map(seconds_in_url, urls)))


def _max_entries(options: Mapping[str, Any]) -> int:
    try:
        return int(options.get("MAX_ENTRIES", DEFAULT_MAX_ENTRIES))
    except (TypeError, ValueError):
        return DEFAULT_MAX_ENTRIES  # As Django does.


def _is_django_redis(names: list[str]) -> bool:
    return any(name.startswith("django_redis.") for name in names)
