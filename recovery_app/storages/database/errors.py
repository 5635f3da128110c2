"""Translation of Django's database errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, OperationalError, connections

from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.storages.causes import describe_database_error
from recovery_app.storages.system_checks import as_mapping

_READ_ONLY_STATE = "25006"
"""PostgreSQL's code for a write in a read-only transaction."""
_READ_ONLY_NUMBERS = (1290, 1792, 1836)
"""Those of MySQL and MariaDB: ``--read-only``, a read-only transaction, read-only mode."""


@contextmanager
def translated_errors(storage: str, operation: str, alias: str) -> Iterator[None]:
    """Raise database errors as `StorageUnavailable` or `StorageError` of the named storage."""
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        address = _address_of(alias)
        if _is_read_only(error):
            _leave_server(alias)
            cause = "the server is read-only"
            raise StorageUnavailable(storage, operation, cause=cause, address=address) from error
        cause = describe_database_error(error, alias)
        if isinstance(error, (OperationalError, InterfaceError)):
            raise StorageUnavailable(storage, operation, cause=cause, address=address) from error
        message = f"{storage} failed (during {operation})."
        raise StorageError(message, cause=cause, address=address) from error


def _is_read_only(error: Exception) -> bool:
    """Return whether a server refuses all writes, as a primary does after a failover."""
    cause = error.__cause__
    number = cause.args[0] if cause is not None and cause.args else None
    # The attribute of psycopg, and that of psycopg2.
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return state == _READ_ONLY_STATE or number in _READ_ONLY_NUMBERS


def _leave_server(alias: str) -> None:
    """Have the next call connect anew: by then the address may lead to the new primary.

    A connection that persists would stay with the old one for the whole of ``CONN_MAX_AGE``.
    """
    connection = connections[alias]
    if connection.in_atomic_block:
        return
    connection.close()
    if as_mapping(connection.settings_dict.get("OPTIONS")).get("pool"):
        connection.close_pool()  # type: ignore[attr-defined]


def _address_of(alias: str) -> str:
    settings = connections[alias].settings_dict
    name = str(settings["NAME"])
    if connections[alias].vendor == "sqlite":
        return name
    host, port = settings.get("HOST") or "localhost", settings.get("PORT")
    return f"{host}:{port}/{name}" if port else f"{host}/{name}"
