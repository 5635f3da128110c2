"""The setting ``RECOVERY``, which only this package reads, and the manager built from it."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.crypto import salted_hmac

from recovery_app._concurrency import register_after_fork
from recovery_app._core import defaults
from recovery_app._core.manager import RecoveryManager
from recovery_app.conf.parsers import PARSERS, parse_namespace
from recovery_app.conf.weak_secrets import has_few_distinct_bytes, is_weak_secret_key
from recovery_app.serializers import JSONSerializer, Serializer
from recovery_app.storages import MemoryStorage, Storage

SETTING = "RECOVERY"
DEFAULT_METRICS_NAMESPACE = "golivekit"
DEFAULT_REDACT = (
    "password", "passwd", "token", "secret", "api_key", "auth", "card", "cvv", "pin", "ssn",
    "cookie",
)  # fmt: skip
_SALT = "recovery_app.tokens"
_REBUILT_BY = {SETTING, "SECRET_KEY", "SECRET_KEY_FALLBACKS", "CACHES", "DATABASES"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The validated setting, with a field for each key in lower case; times are in seconds."""

    secret: bytes = field(repr=False)
    secret_fallbacks: tuple[bytes, ...] = field(repr=False)
    ttl: float = defaults.TTL
    token_max_age: float | None = defaults.TOKEN_MAX_AGE
    storage: Callable[[], Storage] = MemoryStorage
    serializer: Serializer = field(default_factory=JSONSerializer)
    cleanup_interval: float | None = defaults.CLEANUP_INTERVAL
    max_state_bytes: int = defaults.MAX_STATE_BYTES
    max_frame_bytes: int = defaults.MAX_FRAME_BYTES
    join_rate: str | None = defaults.JOIN_RATE
    metrics_namespace: str = DEFAULT_METRICS_NAMESPACE
    encryption_keys: tuple[bytes, ...] | None = field(default=None, repr=False)
    seal: bool | None = None
    serializer_fallbacks: tuple[Serializer, ...] = ()
    redact: tuple[str, ...] = DEFAULT_REDACT
    journal_max_entries: int = defaults.JOURNAL_MAX_ENTRIES
    journal_max_age: float = defaults.JOURNAL_MAX_AGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem of one key, or of the whole setting if ``key`` is ``""``.

    ``hint`` says what to do, if that depends on more than the key.
    """

    key: str
    message: str
    hint: str = ""


def find_problems() -> list[Problem]:
    """Return the problems of the setting, an empty list if it is valid."""
    return _read()[1]


def get_settings() -> Settings:
    """Return the setting; raise `ImproperlyConfigured` with all of its problems."""
    values, problems = _read()
    if problems:
        raise ImproperlyConfigured(" ".join(problem.message for problem in problems))
    return Settings(**values)


def find_weak_secrets() -> list[str]:
    """Return the settings that sign or verify tokens and whose secrets can be guessed.

    ``SECRET`` isn't among them: if it is weak, that is a problem of the setting.
    """
    try:
        raw = _raw()
        older = PARSERS["SECRET_FALLBACKS"](raw.get("SECRET_FALLBACKS", ()))
        keys: dict[str, str | bytes] = {}
        if "SECRET" not in raw:
            keys["SECRET_KEY"] = django_settings.SECRET_KEY
    except (ValueError, ImproperlyConfigured):
        return []
    if "SECRET_FALLBACKS" not in raw:
        for index, key in enumerate(django_settings.SECRET_KEY_FALLBACKS):
            keys[f"SECRET_KEY_FALLBACKS[{index}]"] = key
    weak = [name for name, key in keys.items() if is_weak_secret_key(key)]
    return weak + [
        f"{SETTING}['SECRET_FALLBACKS'][{index}]"
        for index, secret in enumerate(older)
        if has_few_distinct_bytes(secret)
    ]


def get_metrics_namespace() -> str:
    """Return the first word of the metrics' names, the default if the setting is invalid."""
    try:
        return parse_namespace(_raw()["METRICS_NAMESPACE"])
    except (KeyError, ValueError):
        return DEFAULT_METRICS_NAMESPACE


def get_redacted_names() -> tuple[str, ...]:
    """Return the value of ``REDACT``, the default if the setting is invalid."""
    try:
        return cast("tuple[str, ...]", PARSERS["REDACT"](_raw()["REDACT"]))
    except (KeyError, ValueError):
        return DEFAULT_REDACT


def get_storage_entry() -> Mapping[str, Any]:
    """Return the value of ``STORAGE``, valid or not, or ``{}`` if it isn't a dictionary."""
    try:
        entry = _raw()["STORAGE"]
    except (KeyError, ValueError):
        return {}
    return entry if isinstance(entry, Mapping) else {}


def build_manager(found: Settings, **changes: Any) -> RecoveryManager:
    """Return a manager with these settings, except for some arguments."""
    arguments: dict[str, Any] = {
        "secret": found.secret,
        "secret_fallbacks": found.secret_fallbacks,
        "ttl": found.ttl,
        "token_max_age": found.token_max_age,
        "serializer": found.serializer,
        "serializer_fallbacks": found.serializer_fallbacks,
        "cleanup_interval": found.cleanup_interval,
        "max_state_bytes": found.max_state_bytes,
        "max_frame_bytes": found.max_frame_bytes,
        "join_rate": found.join_rate,
        "seal": found.seal,
        "encryption_keys": found.encryption_keys,
        "journal_max_entries": found.journal_max_entries,
        "journal_max_age": found.journal_max_age,
        **changes,
    }
    if "storage" not in arguments:
        arguments["storage"] = found.storage()
    return RecoveryManager(**arguments)


class _Singleton:
    """The manager of this process, built at first use."""

    def __init__(self) -> None:
        self._manager: RecoveryManager | None = None
        self.stand_in: RecoveryManager | None = None
        """A test's replacement, which isn't affected by changed settings."""
        self._lock = threading.RLock()
        register_after_fork(self)

    def get(self) -> RecoveryManager:
        # Read again under the lock, which nobody has to wait for once there is a manager.
        manager = self.stand_in or self._manager
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
    """Return the manager of this process, built from the settings at first use.

    It is closed when the process exits, and built again after a test has changed the settings.
    Raise `ImproperlyConfigured` if the setting is invalid.
    """
    return _singleton.get()


@contextmanager
def replace_manager(manager: RecoveryManager) -> Iterator[RecoveryManager]:
    """Have `get_manager` return this manager in the whole process, in all threads and tasks."""
    before, _singleton.stand_in = _singleton.stand_in, manager
    try:
        yield manager
    finally:
        _singleton.stand_in = before


def close_manager() -> None:
    """Close the manager of this process; the next use builds another."""
    _singleton.close()


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
        message = f"{SETTING}['SECRET'] is missing and can't be derived from SECRET_KEY. {error}"
        problems.append(Problem(key="SECRET", message=message))
    for key, value in raw.items():
        parse = PARSERS.get(key)
        if parse is None:
            message = f"{SETTING} has no key {key!r}, only {', '.join(PARSERS)}."
            problems.append(Problem(key=str(key), message=message))
            continue
        try:
            values[key.lower()] = parse(value)
        except ValueError as error:
            message = f"{SETTING}[{key!r}] {error}."
            problems.append(Problem(key=key, message=message, hint=getattr(error, "hint", "")))
    return values, problems


def _derive_secrets(raw: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the secrets to derive; raise `ImproperlyConfigured` without SECRET_KEY."""
    derived: dict[str, Any] = {}
    if "SECRET" not in raw:
        derived["secret"] = _derive(django_settings.SECRET_KEY)
    if "SECRET_FALLBACKS" not in raw:
        derived["secret_fallbacks"] = tuple(map(_derive, django_settings.SECRET_KEY_FALLBACKS))
    return derived


def _derive(secret_key: str | bytes) -> bytes:
    return salted_hmac(_SALT, b"", secret=secret_key, algorithm="sha256").digest()
