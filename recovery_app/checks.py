"""System checks of the setting ``RECOVERY`` and of other settings that recovery depends on.

An id never changes its meaning. ``docs/settings.md`` lists all of them.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands
from django.utils.module_loading import import_string

from recovery_app.conf import (
    Problem,
    find_problems,
    find_weak_secrets,
    get_settings,
    get_storage_entry,
)
from recovery_app.exceptions import StorageError
from recovery_app.storages import Storage
from recovery_app.storages.system_checks import (
    as_mapping,
    check_atomic_fence,
    class_paths,
    default_socket_timeout,
    seconds_in_url,
    warning,
)

TAG = "recovery_app"

_WHOLE_SETTING = ("E001", 'Write a dictionary such as {"TTL": 300}, or leave RECOVERY out.')
_UNKNOWN_KEY = "E002"
_KEYS = {
    "SECRET": (
        "E003",
        "Set SECRET_KEY, or use at least 32 random bytes, such as secrets.token_urlsafe(32).",
    ),
    "SECRET_FALLBACKS": ("E004", "List the earlier values of SECRET."),
    "TTL": ("E005", "Use a number of seconds above 0, such as 300, or timedelta(minutes=5)."),
    "TOKEN_MAX_AGE": ("E006", "Use a number of seconds above 0, a timedelta, or None."),
    "STORAGE": (
        "E007",
        'Write, for instance, {"BACKEND": "recovery_app.storages.DatabaseStorage"}.',
    ),
    "SERIALIZER": ("E008", 'Write, for instance, "recovery_app.serializers.JSONSerializer".'),
    "CLEANUP_INTERVAL": ("E009", "Use a number of seconds above 0, a timedelta, or None."),
    "MAX_STATE_BYTES": ("E010", "Use a whole number above 0, such as 1048576."),
    "METRICS_NAMESPACE": ("E011", 'Use one word, such as "golivekit".'),
    "ENCRYPTION_KEYS": (
        "E012",
        "Use a list of keys, the newest first, each made by secrets.token_urlsafe(32); or None.",
    ),
    "SEAL": ("E017", "Use True, False, or None to seal on shared storages."),
    "SERIALIZER_FALLBACKS": (
        "E016",
        'List the earlier values of SERIALIZER, such as ["shop.Serializer"].',
    ),
    "REDACT": ("E013", 'Use a list of parts of names, such as ["password", "token"].'),
    "MAX_FRAME_BYTES": ("E014", "Use a whole number above 0, such as 262144."),
    "JOIN_RATE": ("E015", 'Use a rate such as "20/s" or "90/m", or None for no limit.'),
    "JOURNAL_MAX_ENTRIES": ("E018", "Use a whole number such as 10000, or 0 for no journal."),
    "JOURNAL_MAX_AGE": ("E019", "Use a number of seconds above 0, or timedelta(days=7)."),
}
_REDIS_LAYER = "channels_redis.core.RedisChannelLayer"
_LAYER_WAITS_SECONDS = 5
_MIDDLEWARE = "recovery_app.middleware.RecoveryMiddleware"
_WSGI_RUNSERVERS = ("django.core", "django.contrib.staticfiles")
_SIGNED_COOKIES = "django.contrib.sessions.backends.signed_cookies"


def check_setting(**_kwargs: Any) -> list[CheckMessage]:
    """Check each key of ``RECOVERY``."""
    return [_error(problem) for problem in find_problems()]


def check_stray_settings(**_kwargs: Any) -> list[CheckMessage]:
    """Check that no key of ``RECOVERY`` is a setting of its own, which nothing reads."""
    return [
        warning(
            "W017",
            f"The setting RECOVERY_{key} has no effect: {key} is a key of the dictionary RECOVERY.",
            hint=f'Write RECOVERY = {{"{key}": …}} instead.',
        )
        for key in _KEYS
        if hasattr(django_settings, f"RECOVERY_{key}")
    ]


def check_storage(**_kwargs: Any) -> list[CheckMessage]:
    """Check the configured storage, which adds its own messages."""
    try:
        storage = get_settings().storage()
    except ImproperlyConfigured:
        return _check_named_storage(get_storage_entry())
    try:
        # A custom storage may have a method of this name that means something else.
        own: Any = storage.check()
        messages = own if isinstance(own, list) else []
        return [*check_atomic_fence(storage), *messages]
    finally:
        storage.close()


def check_storage_server(**_kwargs: Any) -> list[CheckMessage]:
    """Check the server behind the storage, if it can be reached."""
    try:
        storage = get_settings().storage()
    except ImproperlyConfigured:
        return []
    try:
        return storage.check_server()
    except StorageError:
        # Checks also run where the server isn't, such as while an image is built.
        return []
    finally:
        storage.close()


def check_channel_layers(**_kwargs: Any) -> list[CheckMessage]:
    """Check that connections of a layer on Redis don't time out while nothing is sent."""
    layers = as_mapping(getattr(django_settings, "CHANNEL_LAYERS", {}))
    return [
        warning(
            "W007",
            f"CHANNEL_LAYERS[{alias!r}] waits 5 seconds for a message, but its connection to "
            "Redis times out after 5 seconds or less: while nothing is sent, consumers end with "
            "a TimeoutError.",
            hint='Give each of its "hosts" a longer socket_timeout, such as '
            '{"address": "redis://…", "socket_timeout": 30}.',
        )
        for alias, layer in layers.items()
        if _REDIS_LAYER in class_paths(as_mapping(layer).get("BACKEND"))
        and any(map(_gives_up, _hosts(layer)))
    ]


def check_times(**_kwargs: Any) -> list[CheckMessage]:
    """Check that a token lasts as long as its snapshot."""
    try:
        found = get_settings()
    except ImproperlyConfigured:
        return []
    limit = found.token_max_age
    # A live page's token is renewed at half that age, and then the page may go away.
    if limit is None or found.ttl <= limit / 2:
        return []
    return [
        warning(
            "W013",
            f"RECOVERY['TTL'] keeps snapshots for {found.ttl:.0f} seconds, but after "
            f"{limit / 2:.0f} the page's token may be too old (TOKEN_MAX_AGE).",
            hint=f"Set TOKEN_MAX_AGE to {2 * found.ttl:.0f} seconds or more, or TTL to at most "
            f"{limit / 2:.0f}.",
        )
    ]


def check_server(**_kwargs: Any) -> list[CheckMessage]:
    """Check that ``runserver`` serves WebSockets, if it is the running command."""
    if sys.argv[1:2] != ["runserver"] or get_commands()["runserver"] not in _WSGI_RUNSERVERS:
        return []
    return [
        warning(
            "W012",
            "This runserver doesn't serve WebSockets: each gets a 404, and no page can join.",
            hint='Install daphne and put "daphne" first in INSTALLED_APPS, with ASGI_APPLICATION '
            "set; or serve with uvicorn instead.",
        )
    ]


def check_sessions(**_kwargs: Any) -> list[CheckMessage]:
    """Check that a session keeps its key, if tokens are bound to it."""
    binds_to_visitors = _MIDDLEWARE in django_settings.MIDDLEWARE
    if django_settings.SESSION_ENGINE != _SIGNED_COOKIES or binds_to_visitors:
        return []
    return [
        warning(
            "W008",
            "With SESSION_ENGINE signed_cookies, each save changes the session's key: after that, "
            "tokens of people who aren't logged in are refused.",
            hint=f"Add {_MIDDLEWARE!r} to MIDDLEWARE, and "
            "{% recovery_script %} to the pages, so that tokens are bound to a separate "
            "cookie; or keep sessions in the database or in a cache.",
        )
    ]


def check_secrets(**_kwargs: Any) -> list[CheckMessage]:
    """Check, unless ``DEBUG`` is on, that the secrets behind tokens can't be guessed."""
    if django_settings.DEBUG:
        return []
    return [
        warning(
            "W011",
            f"{name} can be guessed, and anyone who guesses it can sign recovery tokens.",
            hint="Use a long random value, and keep a weak one among the fallbacks for no longer "
            "than TOKEN_MAX_AGE.",
        )
        for name in find_weak_secrets()
    ]


DEPLOY_CHECKS = (check_storage_server,)
"""Checks that connect to servers, for ``manage.py check --deploy``."""
CHECKS = (
    check_setting,
    check_stray_settings,
    check_secrets,
    check_storage,
    check_channel_layers,
    check_sessions,
    check_server,
    check_times,
)


def _error(problem: Problem) -> CheckMessage:
    if problem.key in _KEYS:
        number, hint = _KEYS[problem.key]
    elif problem.key:
        similar = difflib.get_close_matches(problem.key.upper(), _KEYS, n=1)
        number, hint = _UNKNOWN_KEY, f"Is it {similar[0]}?" if similar else "Take it out."
    else:
        number, hint = _WHOLE_SETTING
    return Error(problem.message, hint=problem.hint or hint, id=f"{TAG}.{number}")


def _check_named_storage(entry: Mapping[Any, Any]) -> list[CheckMessage]:
    """Check a storage that can't be built, because of its own setting or another one."""
    try:
        backend = import_string(entry.get("BACKEND", ""))
    except Exception:  # The import may run any code; E007 reports what it raises.
        return []
    if not (isinstance(backend, type) and issubclass(backend, Storage)):
        return []
    options = as_mapping(entry.get("OPTIONS"))
    messages = backend.check_options(options)
    for name in sorted(backend.storage_options):
        messages += _check_named_storage(as_mapping(options.get(name)))
    return messages


# The hosts of a channel layer, in each form that channels_redis accepts.


def _hosts(layer: Mapping[str, Any]) -> list[Any]:
    hosts = as_mapping(layer.get("CONFIG")).get("hosts")
    return list(hosts) if isinstance(hosts, (list, tuple)) and hosts else [hosts]


def _gives_up(host: Any) -> bool:
    options = host if isinstance(host, Mapping) else {"address": host}
    seconds = seconds_in_url(options.get("address"))
    if seconds is None:
        seconds = options.get("socket_timeout", default_socket_timeout())
    return isinstance(seconds, (int, float)) and seconds <= _LAYER_WAITS_SECONDS
