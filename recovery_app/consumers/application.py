"""Own one topic's copy of the consumer, and every call into the application."""

from __future__ import annotations

import copy
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recovery_app._core.manager import RecoveryManager
from recovery_app.consumers.groups import TopicChannel
from recovery_app.consumers.hooks import Hooks
from recovery_app.consumers.identity import bind_to_person, bind_to_view, combine

if TYPE_CHECKING:
    from recovery_app._live.topic import Topic
    from recovery_app.consumers.mixins import RecoveryMixin

logger = logging.getLogger("recovery_app")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a topic needs of its connection."""

    consumer: RecoveryMixin
    hooks: Hooks
    manager: RecoveryManager
    send: Callable[[str], Awaitable[None]]
    forget: Callable[[Topic], None]


class TopicApplication:
    """The consumer of one topic: ``self`` in its hooks and handlers."""

    def __init__(self, link: Link, topic: Topic, channel: TopicChannel) -> None:
        self._link = link
        self._topic = topic
        self._channel = channel
        self.consumer = self._copy()

    def start_afresh(self) -> None:
        """Take a new copy, with nothing that a failed restore left behind."""
        self.consumer = self._copy()

    def call(self, name: str, *args: object) -> Awaitable[Any]:
        """Call a hook or handler and give what it gives."""
        return self._link.hooks.call(self.consumer, name, *args)

    def take_care(self, *names: str) -> Awaitable[None]:
        """Prepare for calls of these, where any is the application's own."""
        return self._link.hooks.take_care(self.consumer, *names)

    def has_own(self, *names: str) -> bool:
        """Say whether any of these is the application's own."""
        return self._link.hooks.has_own(type(self.consumer), names)

    def find_handler(self, message: dict[str, Any]) -> str | None:
        """Give the method that a group message may call, or ``None``."""
        return self._link.hooks.find_handler(self.consumer, message)

    async def encode(self) -> bytes:
        """Give the serialized state; `SnapshotError` where it can't be stored."""
        return self._link.manager.codec.encode(await self.call("get_recoverable_state"))

    async def roll_back(self, payload: bytes | None) -> None:
        """Go back to a serialized state, where there is one."""
        if payload is None:
            return
        try:
            state = self._link.manager.codec.decode(payload)
            self._forget_new_fields(state)
            await self.restore(state)
        except Exception:
            logger.exception(
                "A state couldn't be rolled back.",
                extra={"event": "rollback_failed", "topic": self._topic.frame.topic},
            )

    async def restore(self, state: dict[str, Any]) -> None:
        """Have the consumer take a state back."""
        if self.has_own("restore_state"):
            await self.call("restore_state", state)
        else:
            self.consumer._write_recovery_fields(state)

    async def view(self) -> str:
        """Give the view that a token of this topic is good for."""
        topic = self._topic.frame.topic
        if self.has_own("get_recovery_view"):
            return str(await self.call("get_recovery_view", topic))
        return topic

    async def binding(self, view: str) -> bytes:
        """Give the bytes that tie a token to this consumer, the view and the person."""
        if self.has_own("get_recovery_binding"):
            person = combine("own", await self.call("get_recovery_binding") or b"")
        else:
            person = await bind_to_person(self.consumer.scope)
        kind: type = type(self.consumer)
        return bind_to_view(kind, view) + combine(person)

    def _forget_new_fields(self, state: dict[str, Any]) -> None:
        if not self._link.hooks.overrides(self.consumer, "get_recoverable_state"):
            for name in set(self.consumer.recovery_fields) - state.keys():
                vars(self.consumer).pop(name, None)

    def _copy(self) -> RecoveryMixin:
        consumer = copy.copy(self._link.consumer)
        consumer.recovery_topic = self._topic.frame.topic
        consumer._recovery_life = self._topic
        self._channel.equip(consumer)
        return consumer
