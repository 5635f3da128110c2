"""The cache storages that the contract suite runs over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.core.cache import caches

from recovery_app.clock import Clock
from recovery_app.storages import CacheStorage
from tests.support.caches import ON_REDIS
from tests.support.databases import SERVERS


@dataclass(frozen=True, kw_only=True)
class CacheMaker:
    """What makes a `CacheStorage` on an emptied alias, once a fixture has set it up."""

    alias: str
    fixture: str | None = None

    def __call__(self, clock: Clock) -> CacheStorage:
        cache = caches.create_connection(self.alias)
        cache.clear()
        cache.close()
        return CacheStorage(cache=self.alias, clock=clock)


def on_cache(alias: str, *marks: pytest.MarkDecorator, fixture: str | None = None) -> Any:
    """Return the parameter of a test that runs on a cache."""
    maker = CacheMaker(alias=alias, fixture=fixture)
    return pytest.param(maker, id=f"cache-{alias}", marks=marks)


def _on_database(alias: str) -> Any:
    mark = pytest.mark.django_db(transaction=True, databases=[alias])
    return on_cache(f"database-{alias}", mark)


CACHES = [
    on_cache("locmem"),
    on_cache("file", fixture="cache_directory"),
    on_cache("memcached", fixture="memcached"),
    *(_on_database(alias) for alias in ("default", *SERVERS)),
    *(on_cache(alias, fixture="redis_caches") for alias in ON_REDIS),
]
"""A new kind of cache joins the contract suite by one line here."""
LISTING = CACHES[-3:]
"""Those that can list what they hold: the ones of django-redis."""
