"""The storage in a cache of Django's."""

from recovery_app.storages.cache.storage import CacheStorage

__all__ = ["CacheStorage"]
