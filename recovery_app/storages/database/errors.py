"""Translation of Django's database errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, Error, InterfaceError, OperationalError, connections

from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.storages.causes import cause_of

_MIGRATE = "its table is missing or too old, run manage.py migrate"
_CREDENTIALS = "the user or password is refused"
_PERMISSION = "the user lacks a permission"
_CAUSES: tuple[tuple[tuple[str | int, ...], tuple[str, ...], str], ...] = (
    (
        ("42P01", "42703", 1146, 1054),
        ("no such table", "no such column", "has no column"),
        _MIGRATE,
    ),
    (("28P01", "28000", 1045, 1698), ("password authentication failed", 'role "'), _CREDENTIALS),
    (("42501", 1044, 1142, 1143), ("permission denied",), _PERMISSION),
    (("3D000", 1049), ("unknown database", "does not exist"), "there is no such database"),
    (
        ("25006", 1290, 1836, 1792),
        ("readonly database", "read-only"),
        "it is read-only",
    ),
    (("53100", 1021, 1114), ("database or disk is full", "disk full"), "its disk is full"),
    (("53300", 1040, 1203), ("too many clients",), "it has too many connections"),
    (("57P01", "57P02", "57P03", 1053), ("shutting down", "starting up"), "it stops or starts"),
    ((), ("database is locked", "table is locked"), "it is locked by another connection"),
    (("57014", "55P03", 1205, 3024), ("timeout expired", "timed out"), "no answer in time"),
    (("40001", "40P01", 1213), (), "a deadlock"),
    ((), ("unable to open database file",), "the file can't be opened"),
    ((), ("connection refused",), "connection refused"),
    (("08006", "08003", 2006, 2013), ("server closed the connection",), "the connection was lost"),
)
"""SQLSTATEs of PostgreSQL and numbers of MySQL and MariaDB; words of SQLite and of connections."""


@contextmanager
def translated_errors(storage: str, operation: str, alias: str) -> Iterator[None]:
    """Raise database errors as `StorageUnavailable` or `StorageError` of the named storage."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise StorageUnavailable(
            storage, operation, cause=_cause_of(error), address=_address_of(alias)
        ) from error
    except DatabaseError as error:
        raise StorageError(
            f"{storage} failed (during {operation}).",
            cause=_cause_of(error),
            address=_address_of(alias),
        ) from error


def _cause_of(error: Error) -> str:
    """Return what an error means, but none of its text, which may quote values."""
    driver = error.__cause__ or error
    codes = {getattr(driver, "sqlstate", None), getattr(driver, "pgcode", None), *error.args[:1]}
    text = str(error).lower()
    for known, parts, words in _CAUSES:
        if not codes.isdisjoint(known) or any(part in text for part in parts):
            return words
    return cause_of(error)


def _address_of(alias: str) -> str:
    settings = connections[alias].settings_dict
    name = str(settings["NAME"])
    if connections[alias].vendor == "sqlite":
        return name
    host, port = settings.get("HOST") or "localhost", settings.get("PORT")
    return f"{host}:{port}/{name}" if port else f"{host}/{name}"
