"""The cause of a storage's error in a few words: enough to act on, without values of a state.

The text of an error may quote values, so only texts that are known not to are shown.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator

from django.db import DatabaseError, InterfaceError, OperationalError, ProgrammingError

MAX_CHARACTERS = 200

SCRIPT_PREFIX = re.compile(r"(@user_script: ?\d+: )?-?")
"""What Redis 6.2 puts before a command's reply to a script."""

_CREDENTIALS = "the user or password is refused"
_PERMISSION = "the user lacks a permission (NOPERM): see its ACL"
_FULL = "its memory is full (OOM): see maxmemory"
_READ_ONLY = "it is a read-only replica (READONLY)"
_LOADING = "it is still loading its data (LOADING)"
_CLUSTER = "a part of the Cluster is down (CLUSTERDOWN)"
_MASTER = "it is a replica without its master (MASTERDOWN)"
_TIMEOUT = "no answer in time"
_OF_CODES = {
    "NOAUTH": "it asks for a password (NOAUTH)",
    "WRONGPASS": _CREDENTIALS,
    "NOPERM": _PERMISSION,
    "OOM": _FULL,
    "READONLY": _READ_ONLY,
    "LOADING": _LOADING,
    "CLUSTERDOWN": _CLUSTER,
    "MASTERDOWN": _MASTER,
    "BUSY": "a script or function blocks it (BUSY)",
    "MISCONF": "it can't write to its disk (MISCONF)",
    "NOREPLICAS": "it has too few replicas (NOREPLICAS)",
}
"""The first word of what Redis replies."""
_OF_CLASSES = {
    "AuthenticationError": _CREDENTIALS,
    "AuthenticationWrongNumberOfArgsError": _CREDENTIALS,
    "AuthorizationError": _CREDENTIALS,
    "NoPermissionError": _PERMISSION,
    "OutOfMemoryError": _FULL,
    "ReadOnlyError": _READ_ONLY,
    "BusyLoadingError": _LOADING,
    "ClusterDownError": _CLUSTER,
    "MasterDownError": _MASTER,
    "MaxConnectionsError": "all of its connections are in use",
    "NobodyHasSlot": "no node of the Cluster has the slot",
    "TooFewReplicas": "too few replicas have confirmed the write",
    "TimeoutError": _TIMEOUT,
}
"""The classes into which redis-py and valkey-py turn those replies, leaving out the word."""

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
        words = _words_of(each)
        if words:
            return words
    return type(error).__name__


def _words_of(error: BaseException) -> str:
    """Return the words for an error's class, number or first word; empty if there are none."""
    if isinstance(error, socket.gaierror):
        return "the name of its host can't be resolved"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or type(error).__name__})"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    code = SCRIPT_PREFIX.sub("", str(error), count=1).partition(" ")[0]
    # redis-py leaves out the word where it has a class, and has no class for this one.
    if code in _OF_CODES or str(error).startswith("Authentication required"):
        return _OF_CODES.get(code, _OF_CODES["NOAUTH"])
    names = (kind.__name__ for kind in type(error).__mro__)
    return next((_OF_CLASSES[name] for name in names if name in _OF_CLASSES), "")


def describe_database_error(error: DatabaseError | InterfaceError, alias: str = "default") -> str:
    """Return the cause of a database error; for a missing table, also how to create it."""
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
    """Return whether a table or a column is missing, as before a migration."""
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
    """Yield an error and the errors that caused it, the error first."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__
