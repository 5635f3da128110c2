"""Own what each failure of Redis means here."""

from __future__ import annotations

import re

from redis import exceptions

from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.storages.redis.requests import TooFewReplicas

NAME = "RedisStorage"

FAILURES = (exceptions.RedisError, OSError, TimeoutError, TooFewReplicas)
"""All that can come of talking to a server."""

BROKEN = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, TimeoutError)
"""After these the connection, or the server behind it, isn't to be used further."""

GONE = (exceptions.ConnectionError, ConnectionError)
"""After these something else may be in the server's place; a time-out has cost its time."""

REDIRECTS = (exceptions.MovedError, exceptions.AskError)
_REDIRECT_WORDS = {"MOVED": exceptions.MovedError, "ASK": exceptions.AskError}

_PASSING = (
    *BROKEN,
    *REDIRECTS,
    TooFewReplicas,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.TryAgainError,
    exceptions.OutOfMemoryError,
)
_PLACE = re.compile(r"(@user_script: ?\d+: )?-?")
# What redis-py has no class for, or not inside of a script's reply.
_DEMOTED_WORDS = ("READONLY ", "MASTERDOWN ")
_PASSING_WORDS = (
    *_DEMOTED_WORDS,
    *("BUSY ", "CLUSTERDOWN ", "LOADING ", "MISCONF ", "NOREPLICAS ", "OOM ", "TRYAGAIN "),
)


def as_redirect(error: exceptions.ResponseError) -> exceptions.ResponseError:
    """Give a redirection as one: before redis-py 6 only a Cluster's own client knows them."""
    word, _, place = str(error).partition(" ")
    if type(error) is exceptions.ResponseError and word in _REDIRECT_WORDS:
        return _REDIRECT_WORDS[word](place)
    return error


def not_connected(error: Exception) -> exceptions.ConnectionError:
    """Give what an error means that isn't redis-py's: a provider of credentials may raise any."""
    return exceptions.ConnectionError(f"Not connected: {type(error).__name__}.")


def is_demoted(error: object) -> bool:
    """Say whether the server has become a replica, or is no use as one: look for another."""
    if isinstance(error, (exceptions.ReadOnlyError, exceptions.MasterDownError)):
        return True
    return isinstance(error, exceptions.ResponseError) and _text(error).startswith(_DEMOTED_WORDS)


def translated(error: BaseException, operation: str) -> StorageError:
    """Give the error of ours: unavailable for what passes, a failure for what doesn't."""
    if isinstance(error, _PASSING) or _text(error).startswith(_PASSING_WORDS):
        return StorageUnavailable(NAME, operation)
    return StorageError(f"{NAME} failed (during {operation}): {type(error).__name__}.")


def _text(error: BaseException) -> str:
    # Redis 6.2 puts the place in front of what a command says to a script.
    return _PLACE.sub("", str(error), count=1)
