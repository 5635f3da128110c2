"""Stall the server of a cache: the storage says so in the time that the alias allows."""

from __future__ import annotations

import time
from typing import Any

import pytest

from recovery_app.exceptions import StorageUnavailable
from recovery_app.storages import CacheStorage
from tests.support.processes import HOST, Process

KEY = "0123456789abcdef"
TIMEOUT = 0.5
PATIENCE_SECONDS = 30
BACKENDS = "django.core.cache.backends"


@pytest.mark.parametrize(
    ("backend", "fixture", "options"),
    [
        (f"{BACKENDS}.memcached.PyMemcacheCache", "memcached", {"timeout": TIMEOUT}),
        (f"{BACKENDS}.redis.RedisCache", "redis_server", {"socket_timeout": TIMEOUT}),
        ("django_redis.cache.RedisCache", "redis_server", {"SOCKET_TIMEOUT": TIMEOUT}),
    ],
)
def test_a_stall_lasts_no_longer_than_the_alias_says(
    request: pytest.FixtureRequest,
    settings: Any,
    backend: str,
    fixture: str,
    options: dict[str, Any],
) -> None:
    server: Process = request.getfixturevalue(fixture)
    place = f"{HOST}:{server.port}"
    if fixture == "redis_server":
        # A database of its own: django-redis keeps one pool for each address.
        place = f"redis://{place}/7"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": place, "OPTIONS": options}}
    storage = CacheStorage()
    storage.save(KEY, b"data", 60)
    with server.stalled():
        start = time.monotonic()
        with pytest.raises(StorageUnavailable):
            storage.load(KEY)
        with pytest.raises(StorageUnavailable):
            storage.save(KEY, b"other", 60)
        # Without the limit it would wait until the server goes on.
        assert time.monotonic() - start < PATIENCE_SECONDS
    assert storage.load(KEY) is not None
    storage.close()
