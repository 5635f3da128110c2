"""The storages of snapshots: the contract `Storage`, and a module for each backend."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from recovery_app.fencing import Claim, Decision, Verdict
from recovery_app.storages.base import Entry, EntryPage, Storage, describe
from recovery_app.storages.memory import MemoryStorage

if TYPE_CHECKING:
    from recovery_app.storages.cache import CacheStorage
    from recovery_app.storages.database import DatabaseStorage
    from recovery_app.storages.migrating import MigratingStorage
    from recovery_app.storages.redis import RedisStorage

__all__ = [
    "CacheStorage",
    "Claim",
    "DatabaseStorage",
    "Decision",
    "Entry",
    "EntryPage",
    "MemoryStorage",
    "MigratingStorage",
    "RedisStorage",
    "Storage",
    "Verdict",
    "describe",
]


_IMPORTED_WHEN_USED = {
    "CacheStorage": "recovery_app.storages.cache",
    "DatabaseStorage": "recovery_app.storages.database",
    "MigratingStorage": "recovery_app.storages.migrating",
    "RedisStorage": "recovery_app.storages.redis",
}
"""A process needs one of these at the most, and redis-py is an extra."""


def __getattr__(name: str) -> Any:
    """Import a storage when it is used."""
    if name not in _IMPORTED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_IMPORTED_WHEN_USED[name]), name)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == "redis":
            raise ImproperlyConfigured(
                "RedisStorage needs redis-py: pip install 'django-recovery-app[redis]'."
            ) from error
        raise
