"""The application's code, as a page's connection calls it (`recovery_app._live.interfaces`)."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Coroutine, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from recovery_app._core.manager import RecoveryManager
from recovery_app._core.telemetry import log_failure
from recovery_app._live.interfaces import Admission, Extras, Params, TopicHandle
from recovery_app._live.protocol import OtherFrame, Payload
from recovery_app.consumers.admission import AdmissionCheck, is_topic_of
from recovery_app.consumers.groups import TopicChannel
from recovery_app.consumers.hooks import HookTable
from recovery_app.consumers.identity import bind_to_route, identify_client, user_of
from recovery_app.consumers.mistakes import warn_of_unset_fields, warn_without_state
from recovery_app.values import Takeover

if TYPE_CHECKING:
    from recovery_app.consumers.mixins import RecoveryMixin

_MUTABLE = (list, dict, set, bytearray)


class ConsumerApplication:
    """The connected consumer: what it accepts, and a copy of it for each topic."""

    def __init__(self, consumer: RecoveryMixin, hooks: HookTable, manager: RecoveryManager) -> None:
        self.handler_lock = asyncio.Lock()
        """Held by code of the connected consumer itself, which does one thing at a time."""
        self._consumer = consumer
        self._hooks = hooks
        self._manager = manager
        self._has_own_fields = False

    @property
    def source(self) -> str:
        """The name of the class whose code it is."""
        return type(self._consumer).__qualname__

    @property
    def max_topics(self) -> int:
        """How many topics one connection may join."""
        return self._consumer.recovery_max_topics

    @property
    def person(self) -> object | None:
        """The user, the visitor or the session; ``None`` if unknown."""
        return identify_client(self._consumer.scope)

    def accepts(self, topic: str) -> bool:
        """Return whether a topic may be joined."""
        return is_topic_of(self._consumer.recovery_topics, topic)

    def make_topic(self, topic: TopicHandle) -> tuple[TopicApplication, TopicChannel]:
        """Return the application's code for a topic, and the channel on which groups reach it."""
        warn_without_state(self._consumer, self._hooks)
        channel = TopicChannel(self._consumer, topic.post, topic.handle_message)
        application = TopicApplication(
            self._consumer, topic, channel, hooks=self._hooks, manager=self._manager
        )
        return application, channel

    def takes(self, frame: OtherFrame) -> bool:
        """Return whether the application handles frames that aren't part of the protocol."""
        return self._hooks.find_receiver(frame) is not None

    async def handle_frame(self, frame: OtherFrame) -> None:
        """Pass a frame that isn't part of the protocol to the connected consumer's own code."""
        async with self.handler_lock:
            if not self._has_own_fields:
                self._has_own_fields = True
                _copy_mutable_fields(self._consumer, self._consumer)
            try:
                await self._hooks.call_receiver(self._consumer, frame)
            except Exception as error:
                log_failure(
                    "A receiver failed.", error, self.source, extra={"event": "receiver_failed"}
                )


class TopicApplication:
    """The consumer of one topic: ``self`` in its hooks and handlers."""

    def __init__(
        self,
        origin: RecoveryMixin,
        topic: TopicHandle,
        channel: TopicChannel,
        *,
        hooks: HookTable,
        manager: RecoveryManager,
    ) -> None:
        self._origin = origin
        self._topic = topic
        self._channel = channel
        self._hooks = hooks
        self._codec = manager.codec
        self._route = bind_to_route(origin.scope)
        self.reset()

    @property
    def source(self) -> str:
        """The name of the class whose code it is."""
        return type(self._origin).__qualname__

    @property
    def version(self) -> int:
        """The version of the state that this code writes."""
        return self.consumer.recovery_version

    @property
    def save_interval(self) -> float:
        """Seconds within which changes are combined into one save; 0 saves after each event."""
        return self.consumer.recovery_save_interval

    @property
    def user(self) -> bytes | None:
        """The name of the logged-in user, or ``None``."""
        return user_of(self.consumer.scope)

    @property
    def log_name(self) -> str:
        """The primary key of the user, if the consumer wants it logged."""
        user = self.consumer.scope.get("user")
        if not self.consumer.recovery_log_user or user is None or not user.is_authenticated:
            return ""
        return str(user.pk)

    def reset(self) -> None:
        """Replace the copy of the consumer with a new one, without traces of a failed recovery."""
        self.consumer = copy.copy(self._origin)
        _copy_mutable_fields(self._origin, self.consumer)
        self.consumer.recovery_topic = self._topic.name
        self.consumer._recovery_joined = self._topic
        self._channel.attach(self.consumer)

    # Joining.

    def admit(self, params: Params, *, shows_token: bool) -> Coroutine[Any, Any, Admission]:
        """Return the terms on which a client joins; raise `JoinRefused` to refuse it."""
        return self._admission_check().admit(params, shows_token=shows_token)

    def identify(self) -> Coroutine[Any, Any, tuple[str, bytes, bytes]]:
        """Return the view and the binding of a token, and the person."""
        return self._admission_check().identify()

    def _admission_check(self) -> AdmissionCheck:
        return AdmissionCheck(self.consumer, self._hooks, topic=self._topic.name, route=self._route)

    async def mount(self, params: Params) -> Extras:
        """Mount a fresh state."""
        return _checked("mount", await self._call("mount", self._topic.name, params))

    async def recover(self, takeover: Takeover) -> tuple[Takeover, Extras, bytes]:
        """Restore a state, migrated to `version`.

        Return the takeover with that state, and the state as `encode` returns it.
        """
        if takeover.version < self.version:
            state = await self._call("migrate_state", takeover.state, takeover.version)
            takeover = replace(takeover, state=state)
        if "restore_state" in self._hooks.own:
            await self._call("restore_state", takeover.state)
        else:
            self.consumer._write_recovery_fields(takeover.state)
        extras: Extras = {}
        if "after_recover" in self._hooks.own:
            extras = _checked("after_recover", await self._call("after_recover", takeover))
        payload = takeover.payload
        is_whole = takeover.state.keys() == set(self.consumer.recovery_fields)
        if payload is None or not is_whole or self._hooks.has_own_restoring:
            payload = await self.encode()
        # Otherwise all that was stored came back, and no code of the application's ran since.
        return takeover, extras, payload

    # Living.

    async def handle_event(self, event: str, payload: Payload) -> tuple[object, bytes]:
        """Handle an event; return the reply's response, and the state as `encode` returns it."""
        response = await self._call("handle_event", event, payload)
        return response, self._encode_fields() or await self.encode()

    def find_handler(self, message: dict[str, Any]) -> str | None:
        """Return the name of the handler for a group message, or ``None``."""
        return self._hooks.find_handler(self.consumer, message)

    async def handle_message(self, handler: str, message: dict[str, Any]) -> bytes:
        """Handle a group message; return the state as `encode` returns it."""
        await self._call(handler, message)
        return self._encode_fields() or await self.encode()

    async def missed_messages(self, group: str) -> bytes:
        """Load what a durable group's log has lost; return the state as `encode` returns it."""
        await self._call("missed_messages", group)
        return self._encode_fields() or await self.encode()

    async def handle_frame(self, frame: OtherFrame) -> bytes:
        """Handle a frame outside the protocol; return the state as `encode` returns it."""
        await self._hooks.call_receiver(self.consumer, frame)
        return self._encode_fields() or await self.encode()

    async def encode(self) -> bytes:
        """Return the serialized state; raise `SnapshotError` if it can't be stored."""
        if "get_recoverable_state" in self._hooks.own:
            return self._codec.encode(await self._call("get_recoverable_state"))
        return self._codec.encode(self.consumer._read_recovery_fields())

    def _encode_fields(self) -> bytes | None:
        """Return the serialized fields if they are the state; ``None`` if a hook provides it."""
        if "get_recoverable_state" in self._hooks.own:
            return None
        state = self.consumer._read_recovery_fields()
        if len(state) < len(self.consumer.recovery_fields):
            warn_of_unset_fields(self.consumer)
        return self._codec.encode(state)

    async def roll_back(self, payload: bytes | None) -> None:
        """Restore a serialized state, if there is one."""
        if payload is None:
            return
        try:
            state = self._codec.decode(payload)
            if "get_recoverable_state" not in self._hooks.own:
                for name in set(self.consumer.recovery_fields) - state.keys():
                    vars(self.consumer).pop(name, None)
            if "restore_state" in self._hooks.own:
                await self._call("restore_state", state)
            else:
                self.consumer._write_recovery_fields(state)
        except Exception as error:
            log_failure(
                "A state couldn't be rolled back.",
                error,
                self.source,
                extra={"event": "rollback_failed", "topic": self._topic.name},
            )

    def _call(self, name: str, *arguments: object) -> Awaitable[Any]:
        return self._hooks.call(self.consumer, name, *arguments)


def _copy_mutable_fields(origin: RecoveryMixin, consumer: RecoveryMixin) -> None:
    """Copy mutable class defaults to a consumer, so that consumers don't share them."""
    for name in origin.recovery_fields:
        value = getattr(origin, name, None)
        if isinstance(value, _MUTABLE):
            setattr(consumer, name, copy.deepcopy(value))


def _checked(hook: str, extras: Any) -> Extras:
    if extras is None:
        return {}
    if isinstance(extras, Mapping):
        return extras
    raise TypeError(f"{hook} returned {type(extras).__name__}, not a dict or None.")
