"""The meaning of each failure of Redis."""

from __future__ import annotations

from redis import exceptions

from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.storages.causes import SCRIPT_PREFIX, describe_cause
from recovery_app.storages.redis.requests import TooFewReplicas

NAME = "RedisStorage"

FAILURES = (exceptions.RedisError, OSError, TimeoutError, TooFewReplicas)
"""Everything that communication with a server can raise."""

BROKEN = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, TimeoutError)
"""The connection, or the server behind it, can't be used any more."""

GONE = (exceptions.ConnectionError, ConnectionError)
"""Another server may have taken its place. Not for a timeout, which has used up the time."""

REDIRECTS = (exceptions.MovedError, exceptions.AskError)
_REDIRECT_CODES = {"MOVED": exceptions.MovedError, "ASK": exceptions.AskError}

_TEMPORARY = (
    *BROKEN,
    *REDIRECTS,
    TooFewReplicas,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.TryAgainError,
    exceptions.OutOfMemoryError,
)
# Codes without a class in redis-py, or without one inside the reply of a script.
_DEMOTED_CODES = ("READONLY ", "MASTERDOWN ")
_TEMPORARY_CODES = (
    *_DEMOTED_CODES,
    *("BUSY ", "CLUSTERDOWN ", "LOADING ", "MISCONF ", "NOREPLICAS ", "OOM ", "TRYAGAIN "),
)


class NobodyHasSlot(exceptions.ConnectionError):
    """No node has the slot of a key, as far as the node that was asked knows."""


def as_redirect(error: exceptions.ResponseError) -> exceptions.ResponseError:
    """Return a redirect as such: before redis-py 6, only its Cluster client parses them."""
    code, _, place = str(error).partition(" ")
    if type(error) is exceptions.ResponseError and code in _REDIRECT_CODES:
        return _REDIRECT_CODES[code](place)
    return error


def not_connected(error: Exception) -> exceptions.ConnectionError:
    """Return a connection error for one that isn't redis-py's, such as a credential provider's."""
    return exceptions.ConnectionError(f"Not connected: {type(error).__name__}.")


def is_demoted(error: object) -> bool:
    """Return whether the server is a replica now, or one that can't answer."""
    if isinstance(error, (exceptions.ReadOnlyError, exceptions.MasterDownError)):
        return True
    return isinstance(error, exceptions.ResponseError) and _text(error).startswith(_DEMOTED_CODES)


def translate_error(error: BaseException, operation: str, address: str) -> StorageError:
    """Return the package's error for one of Redis: `StorageUnavailable` if waiting may help."""
    cause = describe_cause(error)
    if isinstance(error, _TEMPORARY) or _text(error).startswith(_TEMPORARY_CODES):
        return StorageUnavailable(NAME, operation, cause=cause, address=address)
    return StorageError(f"{NAME} failed (during {operation}).", cause=cause, address=address)


def _text(error: BaseException) -> str:
    return SCRIPT_PREFIX.sub("", str(error), count=1)
