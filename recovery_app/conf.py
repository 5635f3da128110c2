"""Own the setting ``RECOVERY``: the only reader of it, and the manager built from it."""

from __future__ import annotations

import atexit
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string

from recovery_app.forking import survive_fork
from recovery_app.manager import (
    DEFAULT_CLEANUP_INTERVAL,
    DEFAULT_MAX_STATE_BYTES,
    DEFAULT_TOKEN_MAX_AGE,
    DEFAULT_TTL,
    MAX_SECONDS,
    RecoveryManager,
)
from recovery_app.serializers import JSONSerializer, Serializer
from recovery_app.storages import MemoryStorage, Storage
from recovery_app.tokens import MIN_SECRET_BYTES

SETTING = "RECOVERY"
DEFAULT_METRICS_NAMESPACE = "golivekit"
_SALT = "recovery_app.tokens"
_REBUILT_BY = {SETTING, "SECRET_KEY", "SECRET_KEY_FALLBACKS", "CACHES", "DATABASES"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The setting, read and found good; one field for each key, in lower case.

    ``secret`` and ``secret_fallbacks`` are never shown; times are in seconds.
    """

    secret: bytes = field(repr=False)
    secret_fallbacks: tuple[bytes, ...] = field(repr=False)
    ttl: float = DEFAULT_TTL
    token_max_age: float | None = DEFAULT_TOKEN_MAX_AGE
    storage: Callable[[], Storage] = MemoryStorage
    serializer: Serializer = field(default_factory=JSONSerializer)
    cleanup_interval: float | None = DEFAULT_CLEANUP_INTERVAL
    max_state_bytes: int = DEFAULT_MAX_STATE_BYTES
    metrics_namespace: str = DEFAULT_METRICS_NAMESPACE
    encryption_keys: None = None
    redact: tuple[str, ...] = ("password", "token", "secret", "card", "ssn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with the setting: at which key (``""``: all of it), and what to do."""

    key: str
    message: str


def find_problems() -> list[Problem]:
    """Say what is wrong with the setting; nothing when all is well."""
    return _read()[1]


def get_settings() -> Settings:
    """Give the setting; `ImproperlyConfigured` says all that is wrong with it."""
    values, problems = _read()
    if problems:
        raise ImproperlyConfigured(" ".join(problem.message for problem in problems))
    return Settings(**values)


def get_metrics_namespace() -> str:
    """Give the first word of the metrics' names; the default where the setting is bad."""
    try:
        return _namespace(_raw()["METRICS_NAMESPACE"])
    except (KeyError, ValueError):
        return DEFAULT_METRICS_NAMESPACE


def get_storage_entry() -> Mapping[str, Any]:
    """Give the key ``STORAGE`` as it is written, good or bad; nothing if it isn't a dictionary."""
    try:
        entry = _raw()["STORAGE"]
    except (KeyError, ValueError):
        return {}
    return entry if isinstance(entry, Mapping) else {}


def build_manager(found: Settings) -> RecoveryManager:
    """Build a manager that does what the settings say."""
    return RecoveryManager(
        secret=found.secret,
        secret_fallbacks=found.secret_fallbacks,
        ttl=found.ttl,
        token_max_age=found.token_max_age,
        storage=found.storage(),
        serializer=found.serializer,
        cleanup_interval=found.cleanup_interval,
        max_state_bytes=found.max_state_bytes,
    )


class _Singleton:
    """The manager of this process, built when it is first asked for."""

    def __init__(self) -> None:
        self._manager: RecoveryManager | None = None
        self._lock = threading.RLock()
        survive_fork(self)

    def get(self) -> RecoveryManager:
        # A second look under the lock, so that nobody waits for it once there is one.
        manager = self._manager
        if manager is None:
            with self._lock:
                manager = self._manager
                if manager is None:
                    manager = self._manager = build_manager(get_settings())
        return manager

    def close(self) -> None:
        with self._lock:
            manager, self._manager = self._manager, None
        if manager is not None:
            manager.close()

    def after_fork(self) -> None:
        self._lock = threading.RLock()


_singleton = _Singleton()
atexit.register(_singleton.close)


def get_manager() -> RecoveryManager:
    """Give this process's manager, built from the settings the first time.

    It is closed when the process exits, and built anew after a change of the settings in a
    test. Raises `ImproperlyConfigured`.
    """
    return _singleton.get()


def _forget_manager(*, setting: str, **_kwargs: object) -> None:
    if setting in _REBUILT_BY:
        _singleton.close()


setting_changed.connect(_forget_manager, dispatch_uid="recovery_app.conf")


def _raw() -> Mapping[Any, Any]:
    raw = getattr(django_settings, SETTING, {})
    if not isinstance(raw, Mapping):
        raise ValueError(f"{SETTING} must be a dictionary, not {type(raw).__name__}.")
    return raw


def _read() -> tuple[dict[str, Any], list[Problem]]:
    try:
        raw = _raw()
    except ValueError as error:
        return {}, [Problem(key="", message=str(error))]
    values: dict[str, Any] = {}
    problems = []
    try:
        values |= _derive_secrets(raw)
    except ImproperlyConfigured as error:
        message = f"{SETTING}['SECRET'] isn't there and can't be derived. {error}"
        problems.append(Problem(key="SECRET", message=message))
    for key, value in raw.items():
        parse = _PARSERS.get(key)
        if parse is None:
            message = f"{SETTING} knows no key {key!r}, only {', '.join(_PARSERS)}."
            problems.append(Problem(key=str(key), message=message))
            continue
        try:
            values[key.lower()] = parse(value)
        except ValueError as error:
            problems.append(Problem(key=key, message=f"{SETTING}[{key!r}] {error}."))
    return values, problems


def _derive_secrets(raw: Mapping[Any, Any]) -> dict[str, Any]:
    """Give the secrets that the setting leaves out; `ImproperlyConfigured` without SECRET_KEY."""
    derived: dict[str, Any] = {}
    if "SECRET" not in raw:
        derived["secret"] = _derive(django_settings.SECRET_KEY)
    if "SECRET_FALLBACKS" not in raw:
        derived["secret_fallbacks"] = tuple(map(_derive, django_settings.SECRET_KEY_FALLBACKS))
    return derived


def _derive(secret_key: str | bytes) -> bytes:
    return salted_hmac(_SALT, b"", secret=secret_key, algorithm="sha256").digest()


# Each parser gives the value to use, or raises a ValueError that goes on from the key's name.


def _secret(value: Any) -> bytes:
    try:
        secret = value.encode() if isinstance(value, str) else value
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate") from None
    if not isinstance(secret, bytes):
        raise ValueError(f"must be bytes or a string, not {type(value).__name__}")
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(
            f"has {len(secret)} bytes and needs at least {MIN_SECRET_BYTES}; "
            "leave it out to derive one from SECRET_KEY"
        )
    return secret


def _secrets(value: Any) -> tuple[bytes, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"must be a list, not {type(value).__name__}")
    return tuple(map(_secret, value))


def _seconds(value: Any) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValueError(f"must be seconds or a timedelta, not {type(value).__name__}")
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"is {seconds} seconds and must be above 0 and at most {MAX_SECONDS}")
    return seconds


def _seconds_or_none(value: Any) -> float | None:
    return None if value is None else _seconds(value)


def _storage(value: Any) -> Callable[[], Storage]:
    if not isinstance(value, Mapping) or not {"BACKEND"} <= set(value) <= {"BACKEND", "OPTIONS"}:
        raise ValueError('must be shaped like {"BACKEND": "…", "OPTIONS": {…}}')
    backend = _imported(value["BACKEND"])
    if not (isinstance(backend, type) and issubclass(backend, Storage)):
        raise ValueError("names a BACKEND that isn't a recovery_app.storages.Storage")
    options = value.get("OPTIONS", {})

    def build() -> Storage:
        return backend(**options)

    try:
        build().close()
    except Exception as error:  # A storage of the application's own may raise anything.
        raise ValueError(f"has OPTIONS that {backend.__name__} doesn't take ({error})") from error
    return build


def _serializer(value: Any) -> Serializer:
    found = _imported(value) if isinstance(value, str) else value
    try:
        serializer: Serializer = found() if isinstance(found, type) else found
    except Exception as error:  # So may a serializer.
        raise ValueError(f"names {found.__name__}, which can't be made ({error})") from error
    if not all(callable(getattr(serializer, name, None)) for name in ("dumps", "loads")):
        raise ValueError("needs dumps(state) and loads(data)")
    return serializer


def _imported(path: Any) -> Any:
    if not isinstance(path, str):
        raise ValueError(f"needs a dotted path, not {type(path).__name__}")
    try:
        return import_string(path)
    except Exception as error:  # And so may the import of its module.
        raise ValueError(f"can't import {path!r} ({error})") from error


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("must be a whole number of bytes above 0")
    return value


def _namespace(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", value):
        raise ValueError("must be a word of letters, digits and underscores")
    return value


def _encryption_keys(value: Any) -> None:
    if value is not None:
        raise ValueError("isn't supported by this version yet: leave it out")


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise ValueError("must be a list of strings")
    return tuple(value)


_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "SECRET": _secret,
    "SECRET_FALLBACKS": _secrets,
    "TTL": _seconds,
    "TOKEN_MAX_AGE": _seconds_or_none,
    "STORAGE": _storage,
    "SERIALIZER": _serializer,
    "CLEANUP_INTERVAL": _seconds_or_none,
    "MAX_STATE_BYTES": _size,
    "METRICS_NAMESPACE": _namespace,
    "ENCRYPTION_KEYS": _encryption_keys,
    "REDACT": _names,
}
