"""The hooks and handlers that a consumer class defines, looked up once for each class.

Hooks that aren't overridden aren't called: the mixin's own do nothing, and looking at a class
for each of a thousand simultaneous joins is noticeable.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from channels.consumer import AsyncConsumer, get_handler_name
from channels.db import database_sync_to_async

from recovery_app._live.mailbox import is_being_cancelled
from recovery_app._live.protocol import OtherFrame
from recovery_app.consumers import db
from recovery_app.consumers.time_limit import TimeLimit

HOOKS = (
    "mount",
    "handle_event",
    "authorize_join",
    "should_recover",
    "get_recoverable_state",
    "restore_state",
    "after_recover",
    "get_recovery_binding",
    "get_recovery_view",
    "migrate_state",
    "missed_messages",
)
_RESTORING = ("migrate_state", "restore_state", "after_recover", "get_recoverable_state")
_OF_JOINS = frozenset(HOOKS) - {"handle_event", "get_recoverable_state", "missed_messages"}
_RECEIVING = ("websocket_receive", "receive", "decode_json", "receive_json")
_LOOKED_AT = (*HOOKS, *_RECEIVING, "dispatch", "accept", "send", "close")


class HookTable:
    """Which hooks a consumer class overrides, and how they are called."""

    def __init__(self, kind: type, mixin: type) -> None:
        self._kind = kind
        self._mixin = mixin
        self._methods = self._look()
        changed = {name for name in (*HOOKS, "dispatch") if _differs(kind, mixin, name)}
        self.own = frozenset(changed - {"dispatch"})
        self.has_own_restoring = not self.own.isdisjoint(_RESTORING)
        """Whether the application's code takes part in restoring a state."""
        self._own_receivers = frozenset(name for name in _RECEIVING if _is_own(kind, name))
        self.has_own_dispatch = "dispatch" in changed
        """Whether the application overrides ``dispatch``, so that messages pass through it."""
        self._channels_dispatches = _next_dispatch(kind, mixin) is AsyncConsumer.dispatch

    def is_current(self) -> bool:
        """Return whether the class still has the same methods; a test may have patched one."""
        return self._look() == self._methods

    def find_receiver(self, frame: OtherFrame) -> str | None:
        """Return the method for frames that aren't part of the protocol, or ``None``.

        It is Channels' ``websocket_receive``, which calls ``receive`` with text or bytes, or
        ``receive_json`` if the application handles only JSON.
        """
        own = self._own_receivers
        if own & {"websocket_receive", "receive"} or (frame.is_text and "decode_json" in own):
            return "websocket_receive"
        return "receive_json" if frame.is_json and "receive_json" in own else None

    def find_handler(self, consumer: object, message: dict[str, Any]) -> str | None:
        """Return the method that a channel layer's message may call, or ``None``.

        Messages can't call hooks, or methods that come from a mixin or from Channels.
        """
        try:
            name: str = get_handler_name(message)
        except (ValueError, AttributeError):
            return None
        bases = [base for base in self._kind.__mro__ if base.__module__.startswith("channels.")]
        reserved = any(hasattr(base, name) for base in (self._mixin, *bases))
        return name if not reserved and callable(getattr(consumer, name, None)) else None

    def find_bare_handler(self, consumer: object, message: dict[str, Any]) -> Any:
        """Return the handler for a message that only Channels dispatches, or ``None``."""
        if not self._channels_dispatches:
            return None
        return getattr(consumer, get_handler_name(message), None)

    def runs_own_code(self, message: dict[str, Any]) -> bool:
        """Return whether the handler of a message, or what it calls, belongs to the application."""
        name: str = get_handler_name(message)
        called = name, name.removeprefix("websocket_"), "accept", "send", "close"
        return any(_is_own(self._kind, each) for each in called)

    async def call(self, consumer: object, name: str, *arguments: object) -> Any:
        """Call a hook or a handler, a coroutine or a plain function, and return its result."""
        if db.is_due():
            await db.close_old_connections()
        try:
            result = getattr(consumer, name)(*arguments)
            if not hasattr(result, "__await__"):
                return result
            seconds = limit_of(consumer, name)
            if seconds is None:
                return await result
            with TimeLimit(seconds, name):
                return await result
        except asyncio.CancelledError as error:
            if is_being_cancelled():
                raise
            # It awaited something that was cancelled: its own failure, not our end.
            raise RuntimeError(f"{name} raised a CancelledError.") from error
        except Exception as error:
            db.note_error(error)
            raise

    async def call_receiver(self, consumer: object, frame: OtherFrame) -> None:
        """Call the method that `find_receiver` returns, if there is one."""
        name = self.find_receiver(frame)
        if name is not None:
            await self.call(
                consumer, name, frame.content if name == "receive_json" else frame.message
            )

    def _look(self) -> tuple[Any, ...]:
        return tuple(getattr(self._kind, name, None) for name in _LOOKED_AT)


class SyncHookTable(HookTable):
    """The hook table of a sync consumer, whose hooks run on the thread that Channels provides."""

    async def call(self, consumer: object, name: str, *arguments: object) -> Any:
        """Call a hook or a handler by name, on the thread unless it is the mixin's own."""
        method = getattr(consumer, name)
        if name in HOOKS and name not in self.own:
            return method(*arguments)
        if inspect.iscoroutinefunction(method):
            raise TypeError(
                f"{type(consumer).__name__}.{name} is async, and SyncRecoveryConsumerMixin "
                "calls plain functions: use RecoveryConsumerMixin."
            )
        return await database_sync_to_async(method)(*arguments)


def limit_of(consumer: Any, name: str) -> float | None:
    """Return the time limit of a hook or a handler in seconds; ``None`` for no limit.

    Hooks of a join have half of the time, because a page waits for its state for a minute at most.
    """
    seconds: float | None = consumer.recovery_handler_timeout
    return seconds / 2 if seconds is not None and name in _OF_JOINS else seconds


def _differs(kind: type, mixin: type, name: str) -> bool:
    return getattr(kind, name) is not getattr(mixin, name)


def _next_dispatch(kind: type, mixin: type) -> object:
    """Return the ``dispatch`` that comes after the mixins' in the order of a class."""
    bases = kind.__mro__[kind.__mro__.index(mixin.__mro__[1]) + 1 :]
    return next((vars(base)["dispatch"] for base in bases if "dispatch" in vars(base)), None)


def _is_own(kind: type, name: str) -> bool:
    method = getattr(kind, name, None)
    return method is not None and not str(method.__module__).startswith("channels.")
