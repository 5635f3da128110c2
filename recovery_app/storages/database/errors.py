"""Translation of Django's database errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, connections

from recovery_app.exceptions import StorageError, StorageUnavailable, TransactionConflict
from recovery_app.storages.causes import describe_database_error
from recovery_app.storages.system_checks import as_mapping

_READ_ONLY_STATE = "25006"
"""PostgreSQL's code for a write in a read-only transaction."""
_READ_ONLY_NUMBERS = (1290, 1792, 1836)
"""The codes of MySQL and MariaDB: ``--read-only``, a read-only transaction, read-only mode."""
_CONFLICT_STATES = ("40001", "40P01")
"""PostgreSQL's codes for a transaction that can't go on beside another: changed rows, deadlock."""
_CONFLICT_NUMBERS = (1213, 1020)
"""The codes of MySQL and MariaDB: a deadlock, a row that was changed."""
ATTEMPTS = 5
"""How often a step is tried that conflicts with another one."""


def run_again(publish: Callable[[], None], attempts: int, storage: str) -> None:
    """Publish, and retry after conflicts with other transactions; raise after the last try."""
    for attempts_left in reversed(range(attempts)):
        try:
            publish()
        except DatabaseError as error:
            if not _is_conflict(error):
                raise
            if not attempts_left:
                raise TransactionConflict(storage, cause=describe_database_error(error)) from error
        else:
            return


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


def _is_conflict(error: DatabaseError) -> bool:
    """Return whether a transaction failed only because of another one."""
    state, number = _codes_of(error)
    return state in _CONFLICT_STATES or number in _CONFLICT_NUMBERS


def _is_read_only(error: Exception) -> bool:
    """Return whether a server refuses all writes, as a primary does after a failover."""
    state, number = _codes_of(error)
    return state == _READ_ONLY_STATE or number in _READ_ONLY_NUMBERS


def _codes_of(error: Exception) -> tuple[str | None, Any]:
    """Return the code that PostgreSQL, and the number that MySQL, has for an error."""
    cause = error.__cause__
    number = cause.args[0] if cause is not None and cause.args else None
    # The attribute of psycopg, and that of psycopg2.
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None), number


def _leave_server(alias: str) -> None:
    """Have the next call open a new connection: by then the address may lead to the new primary.

    A persistent connection would stay with the old one for the whole of ``CONN_MAX_AGE``.
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
