"""What a storage's error says of its cause: enough to act on, and nothing of a state.

The text of any error may quote values, so only those are shown that are known not to.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db import DatabaseError, InterfaceError, OperationalError, ProgrammingError

MAX_CHARACTERS = 200

_MISSING = ("no such table", "no such column", "has no column named")  # SQLite
_MISSING_STATES = ("42P01", "42703")  # PostgreSQL: undefined table, undefined column
_MISSING_CODES = (1146, 1054)  # MySQL: the same
# MySQL quotes values in some errors: these are about connections, rights and locks. Errors of
# the client library, from 2000 on, quote none either.
_HARMLESS_CODES = (1040, 1044, 1045, 1049, 1142, 1205, 1213, 1290, 1836, *_MISSING_CODES)
_FIRST_CLIENT_CODE = 2000


def describe_cause(error: BaseException) -> str:
    """Return the cause of an error in a few words, or the names of its classes."""
    for each in _chain(error):
        if isinstance(each, (DatabaseError, InterfaceError)):
            return describe_database_error(each)
        if isinstance(each, OSError) and each.strerror:
            return each.strerror
    return type(error).__name__


def describe_database_error(error: DatabaseError | InterfaceError, alias: str = "default") -> str:
    """Return what a database says; of a table that isn't there, also how it gets there."""
    code = error.args[0] if len(error.args) > 1 else None
    text = first_line(str(error.args[-1])) if error.args else ""
    if is_missing(error):
        option = "" if alias == "default" else f" --database {alias}"
        return f"{text}; run manage.py migrate{option}"
    if not isinstance(error, (OperationalError, InterfaceError)) or not text:
        return type(error).__name__
    if isinstance(code, int) and code < _FIRST_CLIENT_CODE and code not in _HARMLESS_CODES:
        return f"{type(error).__name__} {code}"
    return text


def is_missing(error: DatabaseError | InterfaceError) -> bool:
    """Return whether a table or a column isn't there, as before a migration."""
    if not isinstance(error, (OperationalError, ProgrammingError)):
        return False
    state = getattr(error.__cause__, "sqlstate", None)
    code = error.args[0] if len(error.args) > 1 else None
    return (
        state in _MISSING_STATES
        or code in _MISSING_CODES
        or any(text in str(error) for text in _MISSING)
    )


def first_line(text: str) -> str:
    """Return the first line of a text, not too long, without a full stop: details may follow."""
    lines = text.strip().splitlines()
    return lines[0][:MAX_CHARACTERS].rstrip(". ") if lines else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it, the error first."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__
