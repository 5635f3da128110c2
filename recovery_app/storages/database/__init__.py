"""The storage in a database, through Django."""

from recovery_app.storages.database.storage import DatabaseStorage

__all__ = ["DatabaseStorage"]
