"""The interfaces that the edge implements: an application, and a channel for each topic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from recovery_app._live.protocol import OtherFrame, Payload
from recovery_app.exceptions import RecoveryError
from recovery_app.values import Takeover

Params = dict[str, Any]
Extras = Mapping[str, Any]
"""The keys that the application adds to the reply to a join."""


class Admission(NamedTuple):
    """The terms on which a client joins."""

    view: str
    """The view that a token is for."""
    binding: bytes
    """The binding to consumer, view and person."""
    may_recover: bool
    """Whether the client's token may be used."""
    person: bytes
    """The person who joins, independent of the consumer and the view."""
    user: bytes | None = None
    """The name of the user, if the person is one."""
    fallback_bindings: Sequence[bytes] = ()
    """Earlier identities of the person: tokens bound to these are accepted and renewed."""
    refusal: RecoveryError | None = None
    """Why no token of this person can be used now."""
    fallback_names: Sequence[bytes | None] = ()
    """For each fallback, the owner that a client with such a token names for its events.

    ``None`` where these aren't the person's for that.
    """
    aliases: Sequence[bytes | None] = ()
    """Another name by which a client may know this person, with any token, or ``None``."""


Work = Callable[[], Awaitable[None]]


class Application(Protocol):
    """The application's code for one topic."""

    @property
    def source(self) -> str:
        """The name of the class whose code it is."""

    @property
    def version(self) -> int:
        """The version of the state that this code writes."""

    @property
    def save_interval(self) -> float:
        """Seconds for which saves are gathered; 0 for a save after each event."""

    async def admit(self, params: Params, *, shows_token: bool) -> Admission:
        """Return on which terms a client joins; raise `JoinRefused` to refuse it."""

    @property
    def user(self) -> bytes | None:
        """The name of the user who is logged in; ``None`` where nobody is."""

    @property
    def log_name(self) -> str:
        """Who joins, as the log may say; empty unless the application wants that."""

    async def identify(self) -> tuple[str, bytes, bytes]:
        """Return the view that a token is for, the binding to it and a person, and the person."""

    async def mount(self, params: Params) -> Extras:
        """Start afresh."""

    async def recover(self, takeover: Takeover) -> tuple[Takeover, Extras, bytes]:
        """Take a state back, migrated to `version`.

        Return the takeover with that state, and the state as `encode` does. Raise
        `JoinRefused` to refuse the join.
        """

    async def encode(self) -> bytes:
        """Return the serialized state; raise `SnapshotError` where it can't be stored."""

    async def roll_back(self, payload: bytes | None) -> None:
        """Go back to a serialized state, where there is one."""

    def reset(self) -> None:
        """Drop everything that a failed recovery left behind."""

    async def handle_event(self, event: str, payload: Payload) -> tuple[object, bytes]:
        """Handle an event; return the reply's response, and the state as `encode` does."""

    def find_handler(self, message: dict[str, Any]) -> str | None:
        """Return the name of the handler for a group message; ``None`` where there is none."""

    async def handle_message(self, handler: str, message: dict[str, Any]) -> bytes:
        """Handle a group message; return the state as `encode` does."""

    async def missed_messages(self, group: str) -> bytes:
        """Load afresh what a durable group has lost; return the state as `encode` does."""

    async def handle_frame(self, frame: OtherFrame) -> bytes:
        """Handle a frame that isn't of the protocol; return the state as `encode` does."""


class GroupChannel(Protocol):
    """The channel on which groups reach one topic."""

    async def open(self) -> None:
        """Take a channel name of its own."""

    def listen(self) -> str:
        """Return the name, and start to receive; may be called from any thread."""

    async def close(self) -> None:
        """Leave all groups and stop receiving."""

    def cancel(self) -> None:
        """Stop receiving."""


class TopicHandle(Protocol):
    """What the application may ask of its topic."""

    @property
    def name(self) -> str: ...
    def listen(self) -> str: ...
    async def push(self, event: str, payload: Mapping[str, Any]) -> None: ...
    async def renew(self) -> None: ...
    async def save(self) -> None: ...
    async def join_group(self, group: str) -> None: ...
    async def leave_group(self, group: str) -> None: ...
    async def post(self, work: Work) -> None: ...
    async def handle_message(self, message: dict[str, Any]) -> None: ...


class ConnectedConsumer(Protocol):
    """The application's code for the connection itself."""

    @property
    def source(self) -> str:
        """The name of the class whose code it is."""

    @property
    def max_topics(self) -> int:
        """How many topics one connection may join."""

    @property
    def person(self) -> object | None:
        """Whoever is known to be connected; ``None`` where nobody is."""

    def accepts(self, topic: str) -> bool:
        """Return whether a topic may be joined."""

    def make_topic(self, topic: TopicHandle) -> tuple[Application, GroupChannel]:
        """Return the application's code for a topic, and the channel that groups reach it on."""

    def takes(self, frame: OtherFrame) -> bool:
        """Return whether the application has code for a frame that isn't of the protocol."""

    async def handle_frame(self, frame: OtherFrame) -> None:
        """Handle a frame that isn't of the protocol."""
