"""How long a connection to SQLite waits for the lock of another writer."""

from __future__ import annotations

from django.db import connections

from recovery_app.storages.system_checks import as_mapping

DEFAULT_SECONDS = 5.0
"""What Python's module waits, unless ``OPTIONS["timeout"]`` is set."""


def limit_lock_wait(alias: str, seconds: float | None) -> None:
    """Have this thread's connection wait at most ``seconds``; ``None`` for the configured time.

    A thread that waits longer than its caller would keep the others of the pool waiting, for an
    answer that nobody wants any more. Other databases are left as they are.
    """
    connection = connections[alias]
    if connection.vendor != "sqlite":
        return
    options = as_mapping(connection.settings_dict.get("OPTIONS"))
    own = float(options.get("timeout", DEFAULT_SECONDS))
    wait_ms = round(1000 * (own if seconds is None else min(own, seconds)))
    connection.ensure_connection()
    with connection.wrap_database_errors:
        connection.connection.execute(f"PRAGMA busy_timeout = {wait_ms}").close()
