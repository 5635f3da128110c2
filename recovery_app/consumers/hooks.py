"""Own how the application's hooks are called, from asynchronous and from sync consumers."""

from __future__ import annotations

import asyncio
import inspect
from functools import lru_cache
from typing import Any

from channels.consumer import AsyncConsumer, get_handler_name
from channels.db import database_sync_to_async

from recovery_app.consumers.db import close_old_connections


class Hooks:
    """Call the hooks of an asynchronous consumer; a hook may be a plain function too."""

    def __init__(self, mixin: type) -> None:
        self._mixin = mixin

    def overrides(self, consumer: object, name: str) -> bool:
        """Say whether a method is the application's own."""
        return getattr(type(consumer), name, None) is not getattr(self._mixin, name, None)

    def has_own(self, kind: type, names: tuple[str, ...]) -> bool:
        """Say whether a class has any of these methods as its own; it is asked at each join."""
        return _has_own(self._mixin, kind, names)

    def find_handler(self, consumer: object, message: dict[str, Any]) -> str | None:
        """Give the method that a channel layer's message may call, or ``None``.

        Hooks, and whatever else a mixin or Channels brings along, are no message's to call.
        """
        try:
            name: str = get_handler_name(message)
        except (ValueError, AttributeError):
            return None
        reserved = any(hasattr(base, name) for base in (self._mixin, *_channels_bases(consumer)))
        return name if not reserved and callable(getattr(consumer, name, None)) else None

    def find_bare_handler(self, consumer: object, message: dict[str, Any]) -> Any:
        """Give the handler of a message that Channels alone would dispatch, or ``None``."""
        kind: type = type(consumer)
        if _next_dispatch(kind, self._mixin) is not AsyncConsumer.dispatch:
            return None
        return getattr(consumer, get_handler_name(message), None)

    def runs_own_code(self, consumer: object, message: dict[str, Any]) -> bool:
        """Say whether the handler of a message, or what it calls, is the application's own."""
        name: str = get_handler_name(message)
        calls = name, name.removeprefix("websocket_"), "accept", "send", "close"
        return any(_is_own(type(consumer), each) for each in calls)

    def has_own_receiver(self, consumer: object) -> bool:
        """Say whether the application does anything with frames that aren't ours."""
        return _is_own(type(consumer), "receive_json")

    async def take_care(self, consumer: object, *names: str) -> None:
        """Close old database connections, as Channels does, before code that may use them."""
        if self.has_own(type(consumer), names):
            await close_old_connections()

    async def call(self, consumer: object, name: str, *args: object) -> Any:
        """Call a hook or a handler by name and give what it gives."""
        try:
            result = getattr(consumer, name)(*args)
            return await result if inspect.isawaitable(result) else result
        except asyncio.CancelledError as error:
            if _is_being_cancelled():
                raise
            # It awaited something that was cancelled: its own failure, not our end.
            raise RuntimeError(f"{name} let a CancelledError out.") from error


class SyncHooks(Hooks):
    """Call the hooks of a sync consumer on the thread that Channels keeps for those."""

    async def take_care(self, consumer: object, *names: str) -> None:
        """Do nothing: each call on the thread takes care of itself."""

    async def call(self, consumer: object, name: str, *args: object) -> Any:
        """Call a hook or a handler by name, on the thread unless it is the mixin's own."""
        method = getattr(consumer, name)
        if not self.overrides(consumer, name):
            return method(*args)
        if inspect.iscoroutinefunction(method):
            raise TypeError(
                f"{type(consumer).__name__}.{name} is async, and SyncRecoveryConsumerMixin "
                "calls plain functions: use RecoveryConsumerMixin."
            )
        return await database_sync_to_async(method)(*args)


@lru_cache(maxsize=1_000)
def _has_own(mixin: type, kind: type, names: tuple[str, ...]) -> bool:
    return any(getattr(kind, name, None) is not getattr(mixin, name, None) for name in names)


@lru_cache(maxsize=1_000)
def _next_dispatch(kind: type, mixin: type) -> object:
    """Give the ``dispatch`` that comes after the mixins' in the order of a class."""
    bases = kind.__mro__[kind.__mro__.index(mixin.__mro__[1]) + 1 :]
    return next((vars(base)["dispatch"] for base in bases if "dispatch" in vars(base)), None)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    # Python 3.10 can't tell.
    cancelling = getattr(task, "cancelling", None)
    return cancelling is None or cancelling() > 0


def _is_own(kind: type, name: str) -> bool:
    method = getattr(kind, name, None)
    return method is not None and not str(method.__module__).startswith("channels.")


def _channels_bases(consumer: object) -> list[type]:
    return [base for base in type(consumer).__mro__ if base.__module__.startswith("channels.")]
