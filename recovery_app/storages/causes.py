"""Why a server can't be used, in words, from the errors of its client library.

Only words of ours: the text of an error may quote a key, a value or a credential.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator

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
_ERRNO = re.compile(r"\[Errno (\d+)\]")
_MAX_CHAIN = 8


def cause_of(error: BaseException) -> str:
    """Return the first cause that is known among an error and those that led to it."""
    for each in _chain(error):
        words = _words_of(each)
        if words:
            return words
    return type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = error
    for _ in range(_MAX_CHAIN):
        if following is None:
            return
        yield following
        following = following.__cause__ or following.__context__


def _words_of(error: BaseException) -> str:
    if isinstance(error, OSError):
        return _of_system(error)
    code = SCRIPT_PREFIX.sub("", str(error), count=1).partition(" ")[0]
    # Without credentials redis-py raises the reply's class, but leaves its first word.
    if code in _OF_CODES or str(error).startswith("Authentication required"):
        return _OF_CODES.get(code, _OF_CODES["NOAUTH"])
    names = (kind.__name__ for kind in type(error).__mro__)
    return next((_OF_CLASSES[name] for name in names if name in _OF_CLASSES), "")


def _of_system(error: OSError) -> str:
    """Return the system's own words for an error, in lower case as within a sentence."""
    if isinstance(error, socket.gaierror):
        return "the name of its host can't be resolved"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or type(error).__name__})"
    number = error.errno
    if number is None:
        # asyncio makes one error of those of all addresses of a name.
        found = _ERRNO.search(str(error))
        number = int(found[1]) if found else None
    if number is not None:
        words = os.strerror(number)
        return words[:1].lower() + words[1:]
    return _TIMEOUT if isinstance(error, TimeoutError) else ""
