"""Own where snapshots are kept: one contract (`Storage`), one module for each backend."""

from recovery_app.storages.base import Entry, EntryPage, Storage
from recovery_app.storages.database import DatabaseStorage
from recovery_app.storages.memory import MemoryStorage

__all__ = ["DatabaseStorage", "Entry", "EntryPage", "MemoryStorage", "Storage"]
