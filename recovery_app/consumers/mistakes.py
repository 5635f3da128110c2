"""Errors and warnings about mistakes in a consumer class that would otherwise go unnoticed.

Mistakes in the class itself raise an error when the class is created. Mistakes that only show at
run time are logged as a warning, the first time only.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from channels.consumer import AsyncConsumer, SyncConsumer
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from recovery_app.consumers.hooks import HookTable
    from recovery_app.consumers.mixins import RecoveryMixin

logger = logging.getLogger("recovery_app")

_warned: WeakKeyDictionary[type, set[str]] = WeakKeyDictionary()
_IDENTIFYING = ("session", "user", "cookies")
_NUMBERS = ("recovery_version", "recovery_save_interval", "recovery_max_topics")
_OF_CHANNELS = ("scope", "channel_layer", "channel_name", "channel_receive", "base_send")


def check_class(kind: type[RecoveryMixin], mixin: type, *, is_sync: bool) -> None:
    """Raise `ImproperlyConfigured` for a class that can't work as it is written."""
    _check_bases(kind, mixin, is_sync=is_sync)
    for name in ("recovery_topics", "recovery_fields"):
        _check_strings(kind, name)
    for name in kind.recovery_fields:
        _check_field(kind, name)
    _check_numbers(kind)
    for pattern in kind.recovery_topics:
        if "*" in pattern[:-1]:
            raise ImproperlyConfigured(
                f"{kind.__name__}.recovery_topics: {pattern!r} has a * that isn't at its end."
            )


def _check_bases(kind: type, mixin: type, *, is_sync: bool) -> None:
    consumers = [base for base in kind.__mro__[1:] if issubclass(base, AsyncConsumer)]
    # Our own mixins are no consumers, but a base class of the application's may be both.
    channels = [base for base in consumers if base.__module__.startswith("channels.")]
    if not channels:
        return
    first = channels[0]
    if kind.__mro__.index(first) < kind.__mro__.index(mixin):
        raise ImproperlyConfigured(
            f"{kind.__name__}: {mixin.__name__} must stand before {first.__name__}, or no message "
            f"reaches it: class {kind.__name__}({mixin.__name__}, {first.__name__})."
        )
    if issubclass(first, SyncConsumer) != is_sync:
        other = "RecoveryConsumerMixin" if is_sync else "SyncRecoveryConsumerMixin"
        raise ImproperlyConfigured(
            f"{kind.__name__}: {mixin.__name__} doesn't work with {first.__name__}, which is "
            f"{'async' if is_sync else 'sync'}: use {other}."
        )


def _check_strings(kind: type[RecoveryMixin], name: str) -> None:
    value: object = getattr(kind, name)
    is_iterable = isinstance(value, Iterable) and not isinstance(value, str)
    if not is_iterable or not all(isinstance(each, str) for each in cast("Iterable[Any]", value)):
        # ("count") is no tuple, but a string.
        example = f", such as ({value!r},)" if isinstance(value, str) else ""
        raise ImproperlyConfigured(f"{kind.__name__}.{name} must be a tuple of strings{example}.")


def _check_field(kind: type[RecoveryMixin], name: str) -> None:
    """Raise an error for a name whose value isn't state, or can't be restored."""
    value = inspect.getattr_static(kind, name, None)
    if name in _OF_CHANNELS or name.startswith(("recovery_", "_recovery")):
        reason = "belongs to the connection and can't be stored"
    elif inspect.isroutine(value):
        reason = "is a method; list attributes that hold data"
    elif isinstance(value, property) and value.fset is None:
        reason = "is a property without a setter, so it can't be restored; list what it reads"
    else:
        return
    raise ImproperlyConfigured(f"{kind.__name__}.recovery_fields: {name!r} {reason}.")


def _check_numbers(kind: type[RecoveryMixin]) -> None:
    for name in _NUMBERS:
        value: object = inspect.getattr_static(kind, name)
        if not isinstance(value, (int, float, property)):
            raise ImproperlyConfigured(
                f"{kind.__name__}.{name} must be a number, not {type(value).__name__}."
            )
    seconds: object = kind.recovery_handler_timeout
    if seconds is not None and not (isinstance(seconds, (int, float)) and seconds > 0):
        raise ImproperlyConfigured(
            f"{kind.__name__}.recovery_handler_timeout must be a number of seconds, or None."
        )


class _PersonWarning:
    """A warning that visitors can't be told apart, once in each process."""

    def __init__(self) -> None:
        self.is_given = False

    def check(self, consumer: RecoveryMixin, hooks: HookTable) -> None:
        scope: Mapping[str, Any] = consumer.scope
        known = "get_recovery_binding" in hooks.own or any(name in scope for name in _IDENTIFYING)
        if self.is_given or known:
            return
        self.is_given = True
        logger.warning(
            "%s has neither a session nor a user in its scope, so anyone who has a token gets the "
            "state. Wrap the routes in RecoveryMiddlewareStack.",
            name_of(consumer),
            extra={"event": "no_session", "consumer": name_of(consumer)},
        )


person_warning = _PersonWarning()


def warn_without_state(consumer: RecoveryMixin, hooks: HookTable) -> None:
    """Warn if a joined topic has no state to keep, or wouldn't restore it."""
    if consumer.recovery_fields:
        return
    if "get_recoverable_state" in hooks.own:
        _warn_without_restoring(consumer, hooks)
    elif _is_new(consumer, "no_state"):
        logger.warning(
            "%s keeps no state: recovery_fields is empty. List the attributes to keep in it, or "
            "override get_recoverable_state().",
            name_of(consumer),
            extra={"event": "no_state", "consumer": name_of(consumer)},
        )


def _warn_without_restoring(consumer: RecoveryMixin, hooks: HookTable) -> None:
    if hooks.own.isdisjoint(("restore_state", "after_recover")) and _is_new(consumer, "no_restore"):
        logger.warning(
            "%s saves a state that nothing restores: it overrides get_recoverable_state() without "
            "restore_state(). Override that too, or list the attributes in recovery_fields.",
            name_of(consumer),
            extra={"event": "no_restore", "consumer": name_of(consumer)},
        )


def warn_without_handler(consumer: RecoveryMixin, hooks: HookTable) -> None:
    """Warn if an event reached a consumer without code for events.

    A consumer that passes on frames that it doesn't know has such code.
    """
    if "handle_event" not in hooks.own and _is_new(consumer, "no_handle_event"):
        logger.warning(
            "%s has no handle_event(), so its events do nothing and get an empty reply. Define "
            "handle_event(self, event, payload).",
            name_of(consumer),
            extra={"event": "no_handle_event", "consumer": name_of(consumer)},
        )


def warn_of_unset_fields(consumer: RecoveryMixin) -> None:
    """Warn of fields that nothing has set by the end of an event."""
    for name in consumer.recovery_fields:
        if not hasattr(consumer, name) and _is_new(consumer, name):
            logger.warning(
                "%s has no attribute %r after an event, so there is nothing to save. Set it on "
                "the class or in mount(), or correct recovery_fields.",
                name_of(consumer),
                name,
                extra={"event": "unset_field", "consumer": name_of(consumer)},
            )


def name_of(consumer: object) -> str:
    """Return the name of a consumer's class."""
    return type(consumer).__qualname__


def _is_new(consumer: object, mistake: str) -> bool:
    """Return whether a class hasn't been warned about this yet."""
    warned = _warned.setdefault(type(consumer), set())
    is_new = mistake not in warned
    warned.add(mistake)
    return is_new
