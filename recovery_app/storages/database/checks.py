"""System check of the database that holds snapshots."""

from __future__ import annotations

import re

from django.conf import settings
from django.core.checks import CheckMessage

from recovery_app.storages.system_checks import as_mapping, info


def check_database(alias: str) -> list[CheckMessage]:
    """Return I001 for a database whose connections are closed after use, unless ``DEBUG`` is on."""
    database = settings.DATABASES[alias]
    is_file = re.search("sqlite|spatialite", database["ENGINE"])
    is_pooled = as_mapping(database.get("OPTIONS")).get("pool")
    if settings.DEBUG or is_file or is_pooled or database.get("CONN_MAX_AGE", 0) != 0:
        return []
    return [
        info(
            "I001",
            f"DATABASES[{alias!r}] closes each connection after use, so every asynchronous "
            "call of RECOVERY['STORAGE'] opens another.",
            hint='Set OPTIONS["pool"] on PostgreSQL, or give the storage an alias of its own with '
            "CONN_MAX_AGE.",
        )
    ]
