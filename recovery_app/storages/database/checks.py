"""System checks of the database that holds snapshots."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage

from recovery_app.storages.system_checks import as_mapping, info, warning

_LIMITS = {
    "postg": {"connect_timeout": 3, "tcp_user_timeout": 10_000},
    "mysql": {"connect_timeout": 3, "read_timeout": 10, "write_timeout": 10},
}
"""By a part of the engine's name: the driver's time limits, and the values to suggest."""
_OWN_FILES = ("service", "read_default_file", "read_default_group")
"""Options that name a file of the driver's own, which may set anything."""


def check_database(alias: str, *, threads: int) -> list[CheckMessage]:
    """Return the problems of an alias of ``DATABASES``, unless ``DEBUG`` is on."""
    if settings.DEBUG:
        return []
    database = settings.DATABASES[alias]
    options = as_mapping(database.get("OPTIONS"))
    return [
        *_check_time_limits(alias, database, options, threads),
        *_check_persistence(alias, database, options),
    ]


def _check_time_limits(
    alias: str, database: Mapping[str, Any], options: Mapping[str, Any], threads: int
) -> list[CheckMessage]:
    """Return W015 for a server whose silence only its driver's defaults would end."""
    missing = _missing_limits(database, options)
    if not missing:
        return []
    line = ", ".join(f'"{name}": {value}' for name, value in missing.items())
    return [
        warning(
            "W015",
            f"DATABASES[{alias!r}] sets no {' and no '.join(missing)}: if its server goes silent, "
            "the threads that wait for it hang for minutes, hours or for good, even when it is "
            f"back, and once all {threads} of RECOVERY['STORAGE'] hang, nothing is saved.",
            hint=f"Add to its OPTIONS: {line}.",
        )
    ]


def _missing_limits(database: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, int]:
    limits = next((of for name, of in _LIMITS.items() if name in database["ENGINE"]), {})
    if _is_local(database, options) or any(name in options for name in _OWN_FILES):
        return {}
    given = {**_of_environment(database["ENGINE"]), **options}
    return {name: value for name, value in limits.items() if not _is_limit(given.get(name))}


def _of_environment(engine: str) -> dict[str, str]:
    """Return the one time limit that libpq reads from the environment."""
    seconds = os.environ.get("PGCONNECT_TIMEOUT")
    return {"connect_timeout": seconds} if seconds and "postg" in engine else {}


def _is_local(database: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Return whether the server is reached through a Unix socket."""
    host = database.get("HOST") or options.get("host") or options.get("hostaddr") or ""
    return "unix_socket" in options or not host or str(host).startswith(("/", "@"))


def _is_limit(seconds: Any) -> bool:
    try:
        return float(seconds) > 0
    except (TypeError, ValueError):
        return False


def _check_persistence(
    alias: str, database: Mapping[str, Any], options: Mapping[str, Any]
) -> list[CheckMessage]:
    """Return I001 for a database whose connections are closed after use."""
    is_file = re.search("sqlite|spatialite", database["ENGINE"])
    if is_file or options.get("pool") or database.get("CONN_MAX_AGE", 0) != 0:
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
