"""Building blocks of the storages' system checks."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Info, Warning  # noqa: A004 - Django's name
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from recovery_app.storages.base import Storage

REDIS_TIMEOUT_SECONDS = 5
"""The socket timeout of redis-py 8 and newer, unless another is set."""


def warning(number: str, message: str, *, hint: str) -> CheckMessage:
    """Return a warning with the id ``recovery_app.<number>``."""
    return Warning(message, hint=hint, id=f"recovery_app.{number}")


def info(number: str, message: str, *, hint: str) -> CheckMessage:
    """Return an informational message with the id ``recovery_app.<number>``."""
    return Info(message, hint=hint, id=f"recovery_app.{number}")


# What a storage's attributes tell.


def check_memory() -> list[CheckMessage]:
    """Return W001 for a storage in the memory of one process, unless ``DEBUG`` is on."""
    if settings.DEBUG:
        return []
    return [
        warning(
            "W001",
            "RECOVERY['STORAGE'] is the memory of one process: snapshots are lost when it "
            "ends, and no other worker sees them.",
            hint="Use recovery_app.storages.DatabaseStorage. If there is only one worker and a "
            "restart may lose everything, silence this check.",
        )
    ]


def check_atomic_fence(storage: Storage) -> list[CheckMessage]:
    """Return W002 for a storage whose fenced steps aren't atomic."""
    if storage.supports_atomic_fence:
        return []
    return [
        warning(
            "W002",
            f"RECOVERY['STORAGE']: {type(storage).__name__} checks a fence and writes in two "
            "steps. Between them an older connection may overwrite what a newer one saved.",
            hint="Use a storage whose supports_atomic_fence is true, such as DatabaseStorage.",
        )
    ]


def check_old_storage(old: Storage) -> list[CheckMessage]:
    """Return W016 for an old storage in the memory of this process."""
    if old.is_shared:
        return []
    return [
        warning(
            "W016",
            f"RECOVERY['STORAGE']: the old storage is {type(old).__name__}, in the memory of this "
            "process. The snapshots of earlier processes are gone and can't be moved.",
            hint="Use the new storage alone.",
        )
    ]


def check_blocking_timeout(cache: str | None, seconds: float | None) -> list[CheckMessage]:
    """Return W009 for connections of a django-redis cache that set no time-out."""
    if seconds is not None or default_socket_timeout() is not None:
        return []
    return [
        warning(
            "W009",
            f"CACHES[{cache!r}], whose connections RECOVERY['STORAGE'] "
            "uses, sets no timeout: an unresponsive Redis keeps blocking calls waiting forever.",
            hint='Set its OPTIONS["SOCKET_TIMEOUT"] and OPTIONS["SOCKET_CONNECT_TIMEOUT"] to a few '
            "seconds.",
        )
    ]


# The settings of other packages may hold anything; reporting that is left to their own checks.


def as_mapping(value: Any) -> Mapping[Any, Any]:
    """Return a mapping as it is, and an empty one in place of anything else."""
    return value if isinstance(value, Mapping) else {}


def class_paths(path: Any) -> list[str]:
    """Return the dotted paths of a class and its bases, or the path alone if it can't be imported.

    Return an empty list for what isn't a string.
    """
    if not isinstance(path, str):
        return []
    try:
        bases = inspect.getmro(import_string(path))
    except Exception:
        return [path]
    return [path, *(f"{base.__module__}.{base.__qualname__}" for base in bases)]


def seconds_in_url(address: Any) -> float | None:
    """Return the ``socket_timeout`` in a URL's query string, in seconds."""
    if not isinstance(address, str):
        return None
    try:
        return float(parse_qs(urlsplit(address).query)["socket_timeout"][0])
    except (KeyError, ValueError):
        return None


def default_socket_timeout() -> float | None:
    """Return the default timeout of the installed redis-py in seconds: none before version 8."""
    try:
        # Imported here, as it takes as long as the rest of the package.
        release: str = import_module("importlib.metadata").version("redis")
    except ImportError:
        return None
    major = int(release.split(".", maxsplit=1)[0])
    return REDIS_TIMEOUT_SECONDS if major >= 8 else None
