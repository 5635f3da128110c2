"""Translation of Django's database errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, OperationalError

from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.storages.causes import describe_database_error


@contextmanager
def translated_errors(storage: str, operation: str, alias: str) -> Iterator[None]:
    """Raise database errors as `StorageUnavailable` or `StorageError` of the named storage."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        unavailable = StorageUnavailable(storage, operation)
        raise unavailable.because(describe_database_error(error, alias)) from error
    except DatabaseError as error:
        failed = StorageError(f"{storage} failed (during {operation}).")
        raise failed.because(describe_database_error(error, alias)) from error
