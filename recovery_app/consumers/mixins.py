"""The two mixins, with the hooks that an application can override."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from asgiref.sync import async_to_sync
from channels.exceptions import StopConsumer

from recovery_app._core.manager import RecoveryManager
from recovery_app._core.telemetry import release_frames, warn_throttled
from recovery_app._live.connection import Connection
from recovery_app._live.daphne import DaphneProtocol
from recovery_app._live.exchange import NOT_JOINED
from recovery_app._live.phoenix import PhoenixProtocol
from recovery_app._visitors import SCOPE_KEY, find_visitor
from recovery_app.consumers import db
from recovery_app.consumers.application import ConsumerApplication
from recovery_app.consumers.groups import receive_with_retry
from recovery_app.consumers.hooks import HookTable, SyncHookTable
from recovery_app.consumers.identity import bind_to_person
from recovery_app.consumers.mistakes import (
    check_class,
    person_warning,
    warn_without_handler,
)
from recovery_app.consumers.subprotocols import choose_subprotocol
from recovery_app.middleware import current_manager
from recovery_app.origins import foreign_origin_warning
from recovery_app.signals import observers
from recovery_app.values import Takeover

if TYPE_CHECKING:
    from channels.consumer import AsyncConsumer as Base

    from recovery_app._live.interfaces import TopicHandle
    from recovery_app._live.protocol import WireProtocol
else:
    Base = object

State: TypeAlias = dict[str, Any]
Reply: TypeAlias = "Mapping[str, Any] | None"
Message: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]


class _FromClient(dict[str, Any]):
    """A message from the WebSocket, as opposed to one from a channel layer."""


class RecoveryMixin(Base):
    """The common part of both mixins: the attributes, and the entry point for Channels.

    Each joined topic gets a ``self`` of its own: a shallow copy of the connected consumer, with
    its own ``channel_name``. It has what ``connect()`` set. What a topic sets belongs to the
    topic alone, and is discarded when the topic is left.
    """

    recovery_topics: ClassVar[tuple[str, ...]] = ("*",)
    """Topics that may be joined; ``*`` at the end stands for anything."""
    recovery_fields: ClassVar[tuple[str, ...]] = ()
    """Attributes that are saved and restored automatically."""
    recovery_version: ClassVar[int] = 0
    """The version of the state; increase it when the structure of the state changes."""
    recovery_save_interval: ClassVar[float] = 0
    """Seconds within which changes are combined into one save; 0 saves after each event."""
    recovery_handler_timeout: ClassVar[float | None] = 60
    """Seconds that a handler may take; a join's hooks have half of that. ``None``: no limit.

    A sync consumer has no limit either, because a thread can't be stopped.
    """
    recovery_max_topics: ClassVar[int] = 100
    """How many topics one connection may join."""
    recovery_log_user: ClassVar[bool] = False
    """Whether the log's line for each join contains the user's primary key."""
    recovery_keep_on_login: ClassVar[bool] = False
    """Whether a visitor who logs in keeps the state."""

    recovery_topic: str = ""
    """The topic that this copy of the consumer has joined."""

    _recovery_protocol: ClassVar[WireProtocol] = PhoenixProtocol()
    _recovery_mixin: ClassVar[type]
    _recovery_table_class: ClassVar[type[HookTable]] = HookTable
    _recovery_hooks: ClassVar[HookTable]
    _recovery_application: ConsumerApplication
    _recovery_connection: Connection
    _recovery_joined: TopicHandle | None = None
    _recovery_receive: Receive
    _recovery_person: bytes | None = None
    _recovery_default_used: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        mixin = getattr(cls, "_recovery_mixin", None)
        if mixin is not None:
            check_class(cls, mixin, is_sync=cls._recovery_table_class is SyncHookTable)

    def _find_channel_name(self) -> str:
        """Return the channel of this topic, which listens from the first time that it is read.

        The attribute that Channels sets on the connected consumer takes precedence.
        """
        name = self._recovery_joined and self._recovery_joined.listen()
        if not name:
            raise AttributeError("There is no channel layer.", name="channel_name", obj=self)
        return name

    # To a type checker it is what Channels' consumers have.
    if TYPE_CHECKING:
        channel_name: str
    else:
        channel_name = cached_property(_find_channel_name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        foreign_origin_warning.check(scope)
        observers.connecting(scope)
        self.scope = scope
        scope[SCOPE_KEY] = find_visitor(scope)
        given = scope.get("recovery")
        manager = given if isinstance(given, RecoveryManager) else current_manager()
        hooks = self._current_hooks()
        person_warning.check(self, hooks)
        daphne = DaphneProtocol.find(send, max_frame_bytes=manager.max_frame_bytes)
        if daphne is not None:
            send = daphne.send
        self._recovery_application = ConsumerApplication(self, hooks, manager)
        connection = Connection(
            self._recovery_application, send, manager=manager, protocol=self._recovery_protocol
        )
        self._recovery_connection = connection

        async def receive_from_client() -> Any:
            # For what it dispatches itself, Channels starts and cancels tasks each time.
            while (message := _FromClient(await receive()))["type"] == "websocket.receive":
                if daphne is not None:
                    daphne.set_busy(True)
                if hooks.has_own_dispatch:
                    await self.dispatch(message)
                else:
                    await connection.receive(message)
                if daphne is not None:
                    daphne.set_busy(False)
            return message

        try:
            watched = connection.record.watch(send)
            accepting = choose_subprotocol(scope, self._recovery_protocol.subprotocol, watched)
            await super().__call__(scope, receive_from_client, accepting)
        except Exception:
            connection.record.note_crashed()
            raise
        finally:
            connection.cancel()
            # They refer to each other: memory must not wait for the garbage collector.
            del self._recovery_application, self._recovery_connection

    @property
    def channel_receive(self) -> Receive:
        """The function that receives from the channel layer, and survives its outages."""
        return self._recovery_receive

    @channel_receive.setter
    def channel_receive(self, receive: Receive) -> None:
        self._recovery_receive = partial(receive_with_retry, receive)

    async def dispatch(self, message: Message) -> None:
        """Handle messages for topics; leave the rest to Channels."""
        if not isinstance(message, _FromClient):
            if self._recovery_hooks.find_handler(self, message) is not None:
                async with self._recovery_application.handler_lock:
                    await super().dispatch(message)
            else:
                warn_throttled(
                    "A group message has no handler.",
                    type(self).__qualname__,
                    extra={"event": "unhandled", "topic": "", "handling": str(message.get("type"))},
                )
        elif message["type"] == "websocket.receive":
            await self._recovery_connection.receive(message)
        else:
            if message["type"] == "websocket.disconnect":
                await self._recovery_connection.close()
            handler = self._recovery_hooks.find_bare_handler(self, message)
            try:
                if handler is None:
                    await super().dispatch(message)
                else:
                    if self._recovery_hooks.runs_own_code(message) and db.is_due():
                        await db.close_old_connections()
                    await handler(message)
            except Exception as error:
                db.note_error(error)
                if isinstance(error, StopConsumer):
                    release_frames(error)
                raise
            if message["type"] == "websocket.connect":
                self._recovery_connection.open()

    @classmethod
    def _current_hooks(cls) -> HookTable:
        """Return the class's table of hooks, built again if a test has patched the class."""
        table = vars(cls).get("_recovery_hooks")
        if table is None or not table.is_current():
            table = cls._recovery_hooks = cls._recovery_table_class(cls, cls._recovery_mixin)
        return table

    def _read_recovery_fields(self) -> State:
        return {name: getattr(self, name) for name in self.recovery_fields if hasattr(self, name)}

    def _write_recovery_fields(self, state: State) -> None:
        for name in self.recovery_fields:
            if name in state:
                setattr(self, name, state[name])

    def _joined_topic(self) -> TopicHandle:
        if self._recovery_joined is None:
            raise RuntimeError(NOT_JOINED)
        return self._recovery_joined


class RecoveryConsumerMixin(RecoveryMixin):
    """Recovery for the topics of an `AsyncJsonWebsocketConsumer` or `AsyncWebsocketConsumer`.

    Override the hooks that you need. They are ``async``, but plain functions work too.
    """

    async def mount(self, topic: str, params: State) -> Reply:
        """Create a fresh state; return additional keys for the join's reply.

        ``params`` is the payload of the join, without the token.
        """
        return None

    async def handle_event(self, event: str, payload: Any) -> Reply:
        """Handle an event; return the reply's response. ``payload`` is a dict, or bytes."""
        warn_without_handler(self, self._current_hooks())
        return None

    async def authorize_join(self, topic: str, params: State) -> None:
        """Raise `JoinRefused` to refuse a join. Runs at each join, before any recovery."""

    async def should_recover(self, topic: str, params: State) -> bool:
        """Return whether this join may recover a state; false mounts a fresh one."""
        return True

    async def get_recoverable_state(self) -> State:
        """Return the state to save; by default, the `recovery_fields`."""
        return self._read_recovery_fields()

    async def restore_state(self, state: State) -> None:
        """Restore a state; by default, the `recovery_fields`."""
        self._write_recovery_fields(state)

    async def after_recover(self, takeover: Takeover) -> Reply:
        """Prepare a restored page (join groups, render); return keys for the join's reply."""
        return None

    async def get_recovery_binding(self) -> bytes | str | None:
        """Return who owns the token: by default the user, visitor, session or nobody."""
        self._recovery_default_used = True
        return self._recovery_person or await bind_to_person(self.scope)

    async def get_recovery_view(self, topic: str) -> str:
        """Return the name of the view that a token belongs to; by default, the topic."""
        return topic

    async def migrate_state(self, state: State, version: int) -> State:
        """Return a state of an older ``version`` in the structure of `recovery_version`."""
        return state

    async def missed_messages(self, group: str) -> None:
        """Load again what ``group`` sent: its log has lost messages that this page lacks."""

    async def join_group(self, group: str) -> None:
        """Join a durable group: each later message is handled once, in order."""
        await self._joined_topic().join_group(group)

    async def leave_group(self, group: str) -> None:
        """Leave a durable group."""
        await self._joined_topic().leave_group(group)

    async def push(self, event: str, payload: Mapping[str, Any]) -> None:
        """Send an event to this topic's client."""
        await self._joined_topic().push(event, payload)

    async def save_recovery(self) -> None:
        """Save the state now, whatever `recovery_save_interval` is.

        In ``handle_event``, it is saved in one step with the event, when the handler returns.
        """
        await self._joined_topic().save()

    async def renew_recovery(self) -> None:
        """Bind the state to the user who is logged in now; the client gets a new token."""
        await self._joined_topic().renew()


class SyncRecoveryConsumerMixin(RecoveryMixin):
    """Recovery for the topics of a `JsonWebsocketConsumer` or `WebsocketConsumer`.

    The hooks are the same, without ``async``.
    """

    _recovery_table_class = SyncHookTable

    def mount(self, topic: str, params: State) -> Reply:
        """Create a fresh state; return additional keys for the join's reply.

        ``params`` is the payload of the join, without the token.
        """
        return None

    def handle_event(self, event: str, payload: Any) -> Reply:
        """Handle an event; return the reply's response. ``payload`` is a dict, or bytes."""
        warn_without_handler(self, self._current_hooks())
        return None

    def authorize_join(self, topic: str, params: State) -> None:
        """Raise `JoinRefused` to refuse a join. Runs at each join, before any recovery."""

    def should_recover(self, topic: str, params: State) -> bool:
        """Return whether this join may recover a state; false mounts a fresh one."""
        return True

    def get_recoverable_state(self) -> State:
        """Return the state to save; by default, the `recovery_fields`."""
        return self._read_recovery_fields()

    def restore_state(self, state: State) -> None:
        """Restore a state; by default, the `recovery_fields`."""
        self._write_recovery_fields(state)

    def after_recover(self, takeover: Takeover) -> Reply:
        """Prepare a restored page (join groups, render); return keys for the join's reply."""
        return None

    def get_recovery_binding(self) -> bytes | str | None:
        """Return who owns the token: by default the user, visitor, session or nobody."""
        self._recovery_default_used = True
        return self._recovery_person or async_to_sync(bind_to_person)(self.scope)

    def get_recovery_view(self, topic: str) -> str:
        """Return the name of the view that a token belongs to; by default, the topic."""
        return topic

    def migrate_state(self, state: State, version: int) -> State:
        """Return a state of an older ``version`` in the structure of `recovery_version`."""
        return state

    def missed_messages(self, group: str) -> None:
        """Load again what ``group`` sent: its log has lost messages that this page lacks."""

    def join_group(self, group: str) -> None:
        """Join a durable group: each later message is handled once, in order."""
        async_to_sync(self._joined_topic().join_group)(group)

    def leave_group(self, group: str) -> None:
        """Leave a durable group."""
        async_to_sync(self._joined_topic().leave_group)(group)

    def push(self, event: str, payload: Mapping[str, Any]) -> None:
        """Send an event to this topic's client."""
        async_to_sync(self._joined_topic().push)(event, payload)

    def save_recovery(self) -> None:
        """Save the state now, whatever `recovery_save_interval` is.

        In ``handle_event``, it is saved in one step with the event, when the handler returns.
        """
        async_to_sync(self._joined_topic().save)()

    def renew_recovery(self) -> None:
        """Bind the state to the user who is logged in now; the client gets a new token."""
        async_to_sync(self._joined_topic().renew)()


for _mixin in (RecoveryConsumerMixin, SyncRecoveryConsumerMixin):
    _mixin._recovery_mixin = _mixin
