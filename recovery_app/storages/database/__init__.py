"""The storage in a database of Django's."""

from recovery_app.storages.database.storage import DatabaseStorage

__all__ = ["DatabaseStorage"]
