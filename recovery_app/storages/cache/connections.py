"""Connections to a cache: one for each thread, with their errors translated."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.db import Error as DatabaseFailure
from django.utils.module_loading import import_string

from recovery_app._concurrency import register_after_fork
from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.storages.causes import describe_cause

_FAILURES = (
    "redis.exceptions.RedisError",
    "valkey.exceptions.ValkeyError",
    "django_redis.exceptions.ConnectionInterrupted",
    "django_valkey.exceptions.ConnectionInterrupted",
    "pymemcache.exceptions.MemcacheError",
    "pylibmc.Error",
)


class CacheConnections:
    """The connections to one alias of ``CACHES``, a connection for each thread that uses it.

    The object that Django keeps for an alias belongs to a context, which several threads of a
    storage may share; a memcached client would then mix up their answers.
    """

    def __init__(self, alias: str, *, uses_client: bool) -> None:
        self.title = f"CacheStorage on {alias!r}"
        self._alias = alias
        # The client of django-redis doesn't apply the option IGNORE_EXCEPTIONS.
        self._uses_client = uses_client
        self._local = threading.local()
        register_after_fork(self)

    @contextmanager
    def use(self, operation: str) -> Iterator[Any]:
        """Yield this thread's cache; raise `StorageUnavailable` or `StorageError` if it fails."""
        try:
            yield self._cache()
        except Exception as error:
            # A memcached client treats a server that was away as dead for a minute.
            self.disconnect()
            cause, address = describe_cause(error), address_of(self._alias)
            if isinstance(error, _failures()):
                raise StorageUnavailable(
                    self.title, operation, cause=cause, address=address
                ) from error
            raise StorageError(
                f"{self.title} failed (during {operation}).", cause=cause, address=address
            ) from error

    def disconnect(self) -> None:
        """Close this thread's connection; the next use opens another."""
        self._local.__dict__.clear()

    def after_fork(self) -> None:
        """Forget the connections, which belong to the parent process."""
        self._local = threading.local()

    def _cache(self) -> Any:
        if not hasattr(self._local, "connection"):
            self._local.connection = _Connection(caches.create_connection(self._alias))
        backend: Any = self._local.connection.backend
        return backend.client if self._uses_client else backend


class _Connection:
    """A backend that is closed when the last reference goes, as when its thread ends."""

    def __init__(self, backend: BaseCache) -> None:
        self.backend = backend

    def __del__(self) -> None:
        # When the process exits, `suppress` may be gone already.
        try:  # noqa: SIM105
            self.backend.close()
        except Exception:  # noqa: S110
            pass


def address_of(alias: str) -> str:
    """Return the address of a cache, without anything that may be a password."""
    location = caches.settings[alias].get("LOCATION") or ""
    places = location if isinstance(location, (list, tuple)) else str(location).split(",")
    return ", ".join(filter(None, map(_without_credentials, map(str, places))))


def _without_credentials(place: str) -> str:
    if "://" not in place:
        return "" if "@" in place else place
    try:
        url = urlsplit(place)
        host, port = url.hostname, url.port
    except ValueError:
        return ""
    return f"{host}:{port}" if host and port else host or url.path


@cache
def _failures() -> tuple[type[Exception], ...]:
    """Return the errors that mean an outage, of the backends that are installed."""
    found: list[type[Exception]] = [OSError, DatabaseFailure]
    for path in _FAILURES:
        with suppress(ImportError):
            found.append(import_string(path))
    return tuple(found)
