"""The storages of snapshots: the contract `Storage`, and a module for each backend."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from recovery_app.fencing import Claim, Decision, Verdict
from recovery_app.storages.base import Entry, EntryPage, Storage, describe
from recovery_app.storages.cache.storage import CacheStorage
from recovery_app.storages.database.storage import DatabaseStorage
from recovery_app.storages.memory import MemoryStorage

if TYPE_CHECKING:
    from recovery_app.storages.redis import RedisStorage

__all__ = [
    "CacheStorage",
    "Claim",
    "DatabaseStorage",
    "Decision",
    "Entry",
    "EntryPage",
    "MemoryStorage",
    "RedisStorage",
    "Storage",
    "Verdict",
    "describe",
]


def __getattr__(name: str) -> Any:
    """Import `RedisStorage` only when it is used: redis-py is an extra."""
    if name != "RedisStorage":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_module("recovery_app.storages.redis").RedisStorage
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == "redis":
            raise ImproperlyConfigured(
                "RedisStorage needs redis-py: pip install 'django-recovery-app[redis]'."
            ) from error
        raise
