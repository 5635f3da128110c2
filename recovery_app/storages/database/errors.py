"""Translation of Django's database errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, OperationalError

from recovery_app.exceptions import StorageError, StorageUnavailable


@contextmanager
def translated_errors(storage: str, operation: str) -> Iterator[None]:
    """Raise database errors as `StorageUnavailable` or `StorageError` of the named storage."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise StorageUnavailable(storage, operation) from error
    except DatabaseError as error:
        raise StorageError(f"{storage} failed (during {operation}).") from error
