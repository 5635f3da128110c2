"""Own the system checks: bad settings, and traps that settings show.

An id keeps its meaning for ever. ``docs/settings.md`` has all of them in a table.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeGuard
from urllib.parse import parse_qs, urlsplit

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004 - Django's name
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from recovery_app.conf import Problem, find_problems, get_settings, get_storage_entry
from recovery_app.storages import DatabaseStorage, MemoryStorage, Storage

TAG = "recovery_app"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trap:
    """What is said of a trap; in braces, what differs from case to case."""

    message: str
    hint: str


_WHOLE_SETTING = ("E001", 'Write a dictionary such as {"TTL": 300}, or leave RECOVERY out.')
_UNKNOWN_KEY = "E002"
_KEYS = {
    "SECRET": ("E003", "Set SECRET_KEY, or give a secret of 32 random bytes or more."),
    "SECRET_FALLBACKS": ("E004", "Give a list of the secrets that SECRET was before."),
    "TTL": ("E005", "Give a number of seconds above 0, or a timedelta."),
    "TOKEN_MAX_AGE": ("E006", "Give a number of seconds above 0, a timedelta, or None."),
    "STORAGE": (
        "E007",
        'Write, for instance, {"BACKEND": "recovery_app.storages.DatabaseStorage"}.',
    ),
    "SERIALIZER": ("E008", 'Write, for instance, "recovery_app.serializers.JSONSerializer".'),
    "CLEANUP_INTERVAL": ("E009", "Give a number of seconds above 0, a timedelta, or None."),
    "MAX_STATE_BYTES": ("E010", "Give a whole number above 0, such as 1048576."),
    "METRICS_NAMESPACE": ("E011", 'Give one word, such as "golivekit".'),
    "ENCRYPTION_KEYS": ("E012", "Leave it out, or give None."),
    "REDACT": ("E013", 'Give a list of parts of names, such as ["password", "token"].'),
}
_TRAPS = {
    "W001": _Trap(
        message="RECOVERY['STORAGE'] is the memory of one process: snapshots are lost when it "
        "ends, and no other worker sees them.",
        hint="Use recovery_app.storages.DatabaseStorage. If there is one worker, and a restart "
        "may lose all, silence this check.",
    ),
    "W002": _Trap(
        message="RECOVERY['STORAGE']: {storage} checks a fence and writes in two steps. Between "
        "them an older connection may overwrite what a newer one saved.",
        hint="Use a storage whose supports_atomic_fence is true, such as DatabaseStorage.",
    ),
    "W003": _Trap(
        message="{cache} is the memory of one process: they are lost when it ends, and no other "
        "worker sees them.",
        hint="Use a cache that all workers share, or another storage.",
    ),
    "W004": _Trap(
        message="{cache} holds {limit} entries. Over that it drops some that are still wanted.",
        hint='Set its OPTIONS["MAX_ENTRIES"] well above the number of pages open at once.',
    ),
    "W005": _Trap(
        message="{cache} ignores exceptions. Snapshots are asked for past that option, but all "
        "else in it, sessions above all, counts as gone while Redis is away.",
        hint='Set its OPTIONS["IGNORE_EXCEPTIONS"] to False, or give snapshots a cache of their '
        "own.",
    ),
    "W006": _Trap(
        message="{cache} is a DummyCache: nothing is kept, and nothing can be recovered.",
        hint="Use another cache or another storage; in development, MemoryStorage.",
    ),
    "W007": _Trap(
        message="CHANNEL_LAYERS[{alias!r}] waits 5 seconds for a message, and its connection to "
        "Redis gives up no later than that: while nothing is sent, consumers end in a "
        "TimeoutError.",
        hint='Give each of its "hosts" a longer socket_timeout, such as '
        '{"address": "redis://…", "socket_timeout": 30}.',
    ),
    "W008": _Trap(
        message="SESSION_ENGINE is signed_cookies, where each save changes the session's key: "
        "from then on the tokens of people who aren't logged in are refused.",
        hint="Keep sessions in the database or in a cache, or bind tokens to something else in "
        "get_recovery_binding().",
    ),
    "W009": _Trap(
        message="CACHES[{alias!r}], whose connections RECOVERY['STORAGE'] uses, sets no time-out: "
        "a Redis that is silent keeps blocking calls waiting for ever.",
        hint='Set its OPTIONS["SOCKET_TIMEOUT"] and OPTIONS["SOCKET_CONNECT_TIMEOUT"] to a few '
        "seconds.",
    ),
    "W010": _Trap(
        message="{cache} sets no time-out: a server that is silent keeps each call, and the page "
        "behind it, waiting for ever.",
        hint="Set a few seconds in its OPTIONS: timeout and connect_timeout for pymemcache, "
        "socket_timeout and socket_connect_timeout for Redis, in capitals for django-redis.",
    ),
    "I001": _Trap(
        message="DATABASES[{alias!r}] closes each connection after use, so every asynchronous "
        "call of RECOVERY['STORAGE'] opens another.",
        hint='Set OPTIONS["pool"] on PostgreSQL, or give the storage an alias of its own with '
        "CONN_MAX_AGE.",
    ),
}

_CACHE_STORAGE = re.compile(r"recovery_app\.storages\.(\w+\.)?CacheStorage")
_LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
_DUMMY = "django.core.cache.backends.dummy.DummyCache"
_CULLED_CACHES = {
    _LOCMEM,
    "django.core.cache.backends.db.DatabaseCache",
    "django.core.cache.backends.filebased.FileBasedCache",
}
_DEFAULT_MAX_ENTRIES = 300
_PYMEMCACHE = "django.core.cache.backends.memcached.PyMemcacheCache"
_DJANGOS_REDIS = "django.core.cache.backends.redis.RedisCache"
_REDIS_LAYER = "channels_redis.core.RedisChannelLayer"
_LAYER_WAITS_SECONDS = 5
_REDIS_TIMEOUT_SECONDS = 5
_SIGNED_COOKIES = "django.contrib.sessions.backends.signed_cookies"


def check_setting(**_kwargs: Any) -> list[CheckMessage]:
    """Check each key of ``RECOVERY``."""
    return [_error(problem) for problem in find_problems()]


def check_storage(**_kwargs: Any) -> list[CheckMessage]:
    """Check what the storage can't do."""
    try:
        storage = get_settings().storage()
    except ImproperlyConfigured:
        return []
    found = []
    if isinstance(storage, MemoryStorage) and not django_settings.DEBUG:
        found.append(_trap("W001"))
    if not storage.supports_atomic_fence:
        found.append(_trap("W002", storage=type(storage).__name__))
    if _may_wait_for_ever(storage):
        found.append(_trap("W009", alias=getattr(storage, "cache", "")))
    if _opens_connections(storage) and not django_settings.DEBUG:
        found.append(_trap("I001", alias=storage.database))
    storage.close()
    return found


def check_cache(**_kwargs: Any) -> list[CheckMessage]:
    """Check the cache in which a `CacheStorage` keeps snapshots."""
    storage = get_storage_entry()
    if not any(map(_CACHE_STORAGE.fullmatch, _lineage(storage.get("BACKEND")))):
        return []
    alias = str(_mapping(storage.get("OPTIONS")).get("cache", "default"))
    cache = _mapping(django_settings.CACHES.get(alias))
    names, options = _lineage(cache.get("BACKEND")), _mapping(cache.get("OPTIONS"))
    where = f"CACHES[{alias!r}], where RECOVERY['STORAGE'] keeps snapshots,"
    limit = _max_entries(options)
    found = {
        "W003": _LOCMEM in names and not django_settings.DEBUG,
        "W004": not _CULLED_CACHES.isdisjoint(names) and limit <= _DEFAULT_MAX_ENTRIES,
        "W005": _is_django_redis(names) and _ignores_exceptions(options),
        "W006": _DUMMY in names,
        "W010": _may_stall(names, options, cache.get("LOCATION")),
    }
    return [_trap(number, cache=where, limit=limit) for number, is_so in found.items() if is_so]


def check_channel_layers(**_kwargs: Any) -> list[CheckMessage]:
    """Check that no layer on Redis gives up a connection on which nothing happens."""
    layers = _mapping(getattr(django_settings, "CHANNEL_LAYERS", {}))
    return [
        _trap("W007", alias=alias)
        for alias, layer in layers.items()
        if _REDIS_LAYER in _lineage(_mapping(layer).get("BACKEND"))
        and any(map(_gives_up, _hosts(layer)))
    ]


def check_sessions(**_kwargs: Any) -> list[CheckMessage]:
    """Check that a session can be known again."""
    return [_trap("W008")] if django_settings.SESSION_ENGINE == _SIGNED_COOKIES else []


CHECKS = (check_setting, check_storage, check_cache, check_channel_layers, check_sessions)


# Messages.


def _error(problem: Problem) -> CheckMessage:
    if problem.key in _KEYS:
        number, hint = _KEYS[problem.key]
    elif problem.key:
        similar = difflib.get_close_matches(problem.key.upper(), _KEYS, n=1)
        number, hint = _UNKNOWN_KEY, f"Is it {similar[0]}?" if similar else "Take it out."
    else:
        number, hint = _WHOLE_SETTING
    return Error(problem.message, hint=hint, id=f"{TAG}.{number}")


def _trap(number: str, **facts: object) -> CheckMessage:
    trap = _TRAPS[number]
    kind = Info if number.startswith("I") else Warning
    return kind(trap.message.format(**facts), hint=trap.hint, id=f"{TAG}.{number}")


# Databases and caches.


def _may_wait_for_ever(storage: Storage) -> bool:
    # `RedisStorage` isn't imported here: redis-py is an extra.
    waits = getattr(storage, "blocking_timeout", _REDIS_TIMEOUT_SECONDS)
    return waits is None and _default_socket_timeout() is None


def _may_stall(names: list[str], options: Mapping[str, Any], location: Any) -> bool:
    if _PYMEMCACHE in names:
        return not options.get("timeout")
    if _is_django_redis(names):
        in_pool = _mapping(options.get("CONNECTION_POOL_KWARGS")).get("socket_timeout")
        said = options.get("SOCKET_TIMEOUT") or in_pool
    elif _DJANGOS_REDIS in names:
        said = options.get("socket_timeout")
    else:
        return False
    urls = location if isinstance(location, (list, tuple)) else [location]
    return not (said or _default_socket_timeout() or all(map(_seconds_in_url, urls)))


def _opens_connections(storage: Storage) -> TypeGuard[DatabaseStorage]:
    if not isinstance(storage, DatabaseStorage):
        return False
    database = django_settings.DATABASES[storage.database]
    in_a_file = re.search("sqlite|spatialite", database["ENGINE"])
    is_kept = database.get("CONN_MAX_AGE", 0) != 0 or _mapping(database.get("OPTIONS")).get("pool")
    return not (in_a_file or is_kept)


def _max_entries(options: Mapping[str, Any]) -> int:
    try:
        return int(options.get("MAX_ENTRIES", _DEFAULT_MAX_ENTRIES))
    except (TypeError, ValueError):
        return _DEFAULT_MAX_ENTRIES  # So does Django.


def _is_django_redis(names: list[str]) -> bool:
    return any(name.startswith("django_redis.") for name in names)


def _ignores_exceptions(options: Mapping[str, Any]) -> bool:
    for_all = getattr(django_settings, "DJANGO_REDIS_IGNORE_EXCEPTIONS", False)
    return bool(options.get("IGNORE_EXCEPTIONS", for_all))


# The hosts of a channel layer, in each shape that channels_redis takes.


def _hosts(layer: Mapping[str, Any]) -> list[Any]:
    hosts = _mapping(layer.get("CONFIG")).get("hosts")
    return list(hosts) if isinstance(hosts, (list, tuple)) and hosts else [hosts]


def _gives_up(host: Any) -> bool:
    options = host if isinstance(host, Mapping) else {"address": host}
    seconds = _seconds_in_url(options.get("address"))
    if seconds is None:
        seconds = options.get("socket_timeout", _default_socket_timeout())
    return isinstance(seconds, (int, float)) and seconds <= _LAYER_WAITS_SECONDS


def _seconds_in_url(address: Any) -> float | None:
    if not isinstance(address, str):
        return None
    try:
        return float(parse_qs(urlsplit(address).query)["socket_timeout"][0])
    except (KeyError, ValueError):
        return None


def _default_socket_timeout() -> float | None:
    """Give the timeout that redis-py has by itself: none before version 8."""
    try:
        major = int(version("redis").split(".")[0])
    except PackageNotFoundError:
        return None
    return _REDIS_TIMEOUT_SECONDS if major >= 8 else None


# What others' settings hold may be anything: to say so is not ours.


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _lineage(path: Any) -> list[str]:
    """Give the dotted paths of a class and its bases; its own only, if it can't be imported."""
    if not isinstance(path, str):
        return []
    try:
        bases = inspect.getmro(import_string(path))
    except Exception:
        return [path]
    return [path, *(f"{base.__module__}.{base.__qualname__}" for base in bases)]
