"""The parsers of the keys of the setting ``RECOVERY``.

A parser returns the value to use, or raises a `ValueError`. Its text continues a sentence that
starts with the key's name, and never contains a secret. A `BadValue` also has a hint, if that
depends on what is wrong.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import ModuleType
from typing import Any, cast

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from recovery_app import serializers, storages
from recovery_app._core import encryption
from recovery_app._core.encryption import MIN_KEY_BYTES
from recovery_app._core.journal import MAX_ENTRIES
from recovery_app._core.metadata import MAX_SECONDS
from recovery_app._core.rates import parse_rate
from recovery_app._core.tokens import MIN_SECRET_BYTES
from recovery_app.conf.weak_secrets import has_few_distinct_bytes
from recovery_app.serializers import Serializer, serializer_name
from recovery_app.storages import Storage

_STORAGE_HINT = 'Write a dictionary like STORAGE itself: {"BACKEND": "…", "OPTIONS": {…}}.'


class BadValue(ValueError):
    """An unusable value, with a hint that fits what is wrong with it."""

    def __init__(self, problem: str, *, hint: str) -> None:
        super().__init__(problem)
        self.hint = hint


def _secret(value: Any) -> bytes:
    secret = _bytes(value)
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(
            f"has {len(secret)} bytes and needs at least {MIN_SECRET_BYTES}; "
            "leave it out to derive one from SECRET_KEY"
        )
    if has_few_distinct_bytes(secret):
        raise ValueError(
            f"has only {len(set(secret))} different bytes, so it can be guessed; "
            "leave it out to derive one from SECRET_KEY"
        )
    return secret


def _older_secret(value: Any) -> bytes:
    # A weak one is accepted, so that a site can rotate away from it; W011 reports it.
    secret = _bytes(value)
    if len(secret) < MIN_SECRET_BYTES:
        raise BadValue(
            f"has a secret of {len(secret)} bytes, but a SECRET has at least {MIN_SECRET_BYTES}",
            hint="Remove it: it can't have signed anything.",
        )
    return secret


def _bytes(value: Any) -> bytes:
    try:
        found = value.encode() if isinstance(value, str) else value
    except UnicodeEncodeError:
        raise ValueError("contains a lone surrogate") from None
    if not isinstance(found, bytes):
        raise ValueError(f"must be bytes or a string, not {type(value).__name__}")
    return found


def _secrets(value: Any) -> tuple[bytes, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"must be a list, not {type(value).__name__}")
    return tuple(map(_older_secret, value))


def _seconds(value: Any) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValueError(f"must be a number of seconds or a timedelta, not {type(value).__name__}")
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"is {seconds} seconds and must be above 0 and at most {MAX_SECONDS}")
    return seconds


def _seconds_or_none(value: Any) -> float | None:
    return None if value is None else _seconds(value)


def _storage(value: Any) -> Callable[[], Storage]:
    if isinstance(value, str) and re.fullmatch(r"[\w.]+", value):
        raise BadValue("must be a dictionary, not str", hint=f'Write {{"BACKEND": "{value}"}}.')
    if not isinstance(value, Mapping) or not {"BACKEND"} <= set(value) <= {"BACKEND", "OPTIONS"}:
        raise ValueError('must have the form {"BACKEND": "…", "OPTIONS": {…}}')
    backend = _imported(value["BACKEND"], storages)
    if not (isinstance(backend, type) and issubclass(backend, Storage)):
        raise ValueError("names a BACKEND that isn't a subclass of recovery_app.storages.Storage")
    options = value.get("OPTIONS", {})
    inner = _inner_storages(backend, options)

    def build() -> Storage:
        made = {name: make() for name, make in inner.items()}
        return backend(**({**options, **made} if made else options))

    try:
        build().close()
    except Exception as error:  # A custom storage may raise any exception.
        what = f"OPTIONS that {backend.__name__} doesn't accept" if options else "no OPTIONS"
        raise BadValue(
            f"has {what}: {_text(error)}",
            hint=f"{backend.__name__} has these OPTIONS: {_options_of(backend)}.",
        ) from error
    return build


def _inner_storages(backend: type[Storage], options: Any) -> dict[str, Callable[[], Storage]]:
    """Return functions that create the storages in a storage's options."""
    found: dict[str, Callable[[], Storage]] = {}
    for name in sorted(backend.storage_options):
        try:
            if isinstance(options, Mapping) and name in options:
                found[name] = _storage(options[name])
        except ValueError as error:
            text = f"has OPTIONS whose {name!r} {error}"
            raise BadValue(text, hint=getattr(error, "hint", _STORAGE_HINT)) from error
    entries = [options[name] for name in found]
    if any(entry in entries[:index] for index, entry in enumerate(entries)):
        raise BadValue("has the same storage twice", hint=f"Change one of {', '.join(found)}.")
    return found


def _options_of(backend: type) -> str:
    """Return the names of a storage's options."""
    names = [name for name in inspect.signature(backend).parameters if name != "clock"]
    return ", ".join(names) or "none"


def _serializer(value: Any) -> Serializer:
    found = _imported(value, serializers) if isinstance(value, str) else value
    try:
        serializer: Serializer = found() if isinstance(found, type) else found
    except Exception as error:  # So may a custom serializer.
        raise ValueError(
            f"names {found.__name__}, which can't be created: {_text(error)}"
        ) from error
    if not all(callable(getattr(serializer, name, None)) for name in ("dumps", "loads")):
        raise ValueError("needs the methods dumps(state) and loads(data)")
    return serializer


def _imported(path: Any, ours: ModuleType) -> Any:
    """Return the object at a dotted path; ``ours`` has the names that may have been meant."""
    if not isinstance(path, str):
        raise ValueError(f"needs a dotted path, not {type(path).__name__}")
    try:
        return import_string(path)
    except ImproperlyConfigured as error:  # It needs a package that isn't installed.
        text = _text(error)
        raise BadValue(
            f"can't import {path!r}: {text}", hint="Install that, and check again."
        ) from (error)
    except Exception as error:  # So may the import of a module.
        names = {name.lower(): name for name in ours.__all__}
        near = difflib.get_close_matches(path.rpartition(".")[2].lower(), names, n=1, cutoff=0.4)
        known = path.rpartition(".")[0] in ("", ours.__name__) and near
        hint = (
            f'Is it "{ours.__name__}.{names[near[0]]}"?'
            if known
            else "Correct the dotted path, or what the import of that module raises."
        )
        raise BadValue(f"can't import {path!r}: {_text(error)}", hint=hint) from error


def _text(error: Exception) -> str:
    """Return the text of an error, to end a sentence with."""
    return str(error).rstrip(".") or type(error).__name__


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("must be a whole number of bytes above 0")
    return value


def _number_of_entries(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_ENTRIES:
        raise ValueError(
            f"must be a whole number of entries, {MAX_ENTRIES} at most, or 0 for no journal"
        )
    return value


def parse_namespace(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", value):
        raise ValueError("must be a word of letters, digits and underscores")
    return value


def _encryption_keys(value: Any) -> tuple[bytes, ...] | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"must be a list, not {type(value).__name__}")
    if not value:
        raise ValueError("has no keys; use None for no encryption")
    if not encryption.IS_AVAILABLE:
        raise ValueError(encryption.MISSING)
    return tuple(map(_encryption_key, value))


def _encryption_key(value: Any) -> bytes:
    key = _bytes(value)
    if len(key) < MIN_KEY_BYTES or has_few_distinct_bytes(key):
        raise ValueError(
            f"has a key of {len(key)} bytes, {len(set(key))} of them different; a key needs "
            f"{MIN_KEY_BYTES} random ones"
        )
    return key


def _seal(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"must be True, False or None, not {type(value).__name__}")
    return value


def _serializers(value: Any) -> tuple[Serializer, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"must be a list, not {type(value).__name__}")
    found = tuple(map(_serializer, value))
    names = [serializer_name(serializer) for serializer in found]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise BadValue(
            f"has several serializers with the name {repeated[0]!r}",
            hint="Keep one of them, or give one a `name` of its own.",
        )
    return found


def _rate(value: Any) -> str | None:
    parse_rate(value)
    return cast("str | None", value)


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise ValueError("must be a list of strings")
    return tuple(value)


PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "SECRET": _secret,
    "SECRET_FALLBACKS": _secrets,
    "TTL": _seconds,
    "TOKEN_MAX_AGE": _seconds_or_none,
    "STORAGE": _storage,
    "SERIALIZER": _serializer,
    "CLEANUP_INTERVAL": _seconds_or_none,
    "MAX_STATE_BYTES": _size,
    "METRICS_NAMESPACE": parse_namespace,
    "ENCRYPTION_KEYS": _encryption_keys,
    "SEAL": _seal,
    "SERIALIZER_FALLBACKS": _serializers,
    "REDACT": _names,
    "MAX_FRAME_BYTES": _size,
    "JOIN_RATE": _rate,
    "JOURNAL_MAX_ENTRIES": _number_of_entries,
    "JOURNAL_MAX_AGE": _seconds,
}
