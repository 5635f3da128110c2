"""The storage in a cache, through Django's cache framework."""

from recovery_app.storages.cache.storage import CacheStorage

__all__ = ["CacheStorage"]
