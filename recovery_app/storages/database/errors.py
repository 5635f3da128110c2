"""Translation of Django's database errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, OperationalError, connections

from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.storages.causes import describe_database_error


@contextmanager
def translated_errors(storage: str, operation: str, alias: str) -> Iterator[None]:
    """Raise database errors as `StorageUnavailable` or `StorageError` of the named storage."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise StorageUnavailable(
            storage,
            operation,
            cause=describe_database_error(error, alias),
            address=_address_of(alias),
        ) from error
    except DatabaseError as error:
        raise StorageError(
            f"{storage} failed (during {operation}).",
            cause=describe_database_error(error, alias),
            address=_address_of(alias),
        ) from error


def _address_of(alias: str) -> str:
    settings = connections[alias].settings_dict
    name = str(settings["NAME"])
    if connections[alias].vendor == "sqlite":
        return name
    host, port = settings.get("HOST") or "localhost", settings.get("PORT")
    return f"{host}:{port}/{name}" if port else f"{host}/{name}"
