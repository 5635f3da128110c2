"""Moving to another storage while pages are open."""

from recovery_app.storages.migrating.finding import Remaining
from recovery_app.storages.migrating.storage import Migrated, MigratingStorage

__all__ = ["Migrated", "MigratingStorage", "Remaining"]
