"""Signals, and observers, which the core notifies of what happens.

`state_recovered` is sent with ``socket_id``, ``state``, ``version`` and ``applied_seq``;
`recovery_failed` with ``socket_id`` (``None`` if the token was forged) and ``error``. If no
snapshot is found, the socket id isn't known, and its hash is sent instead. Errors of receivers
are logged by Django and otherwise ignored.

Observers are for metrics and the like. They are notified of more events than there are signals,
immediately and on the same thread or event loop, so they must not block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.dispatch import Signal

from recovery_app.exceptions import RecoveryError

state_recovered = Signal()
recovery_failed = Signal()


class Observer:
    """A base class for observers, with a method for each event that does nothing."""

    def token_created(self) -> None:
        """Called when a token has been created, taken over or renewed."""

    def state_saved(self, size_bytes: int) -> None:
        """Called when a state has been stored; ``size_bytes`` is its serialized size."""

    def recovered(self) -> None:
        """Called when a state has been recovered."""

    def failed(self, error: RecoveryError) -> None:
        """Called when a state could not be recovered."""

    def joined(self, outcome: str) -> None:
        """Called when a topic has been joined; ``outcome`` is the outcome sent to the client."""

    def join_limited(self) -> None:
        """Called when a join was refused because there were too many."""

    def event_repeated(self) -> None:
        """Called when an event was received again and wasn't applied again."""

    def connection_fenced(self) -> None:
        """Called when a connection was taken over and continues with a copy of its state."""

    def message_published(self) -> None:
        """Called when a message to a durable group has become readable."""

    def messages_handled(self, count: int, *, is_replay: bool) -> None:
        """Called when a page has handled messages of a durable group.

        ``is_replay`` is true if the page had missed them and is catching up.
        """

    def messages_missed(self) -> None:
        """Called when a page comes back to a durable group whose log has lost what it missed."""

    def pushes_sent(self, first: int, again: int) -> None:
        """Called when numbered pushes were sent for the first time, or again."""

    def pushes_dropped(self, count: int) -> None:
        """Called when numbered pushes that a page lacks were dropped."""

    def connecting(self, scope: Mapping[str, Any]) -> None:
        """Called when a WebSocket reaches a consumer with recovery; gets its ASGI scope.

        It runs in the task of the connection, so the context variables that it sets are visible in
        all later calls for this connection.
        """

    def join_begun(self) -> None:
        """Called when a handshake or a join begins, each of which needs an answer."""

    def join_answered(self) -> None:
        """Called when such a handshake or join has been answered, or has ended without that."""

    def connection_opened(self) -> None:
        """Called when the WebSocket of a consumer with recovery has been accepted."""

    def connection_closed(self) -> None:
        """Called when such a WebSocket has ended."""

    def connection_unjoined(self, cause: str) -> None:
        """Called when a connection has ended without a joined topic, or was never accepted.

        ``cause`` is ``crashed`` if code raised, ``refused`` if the connection was refused on
        purpose, and otherwise ``silent``.
        """

    def topic_opened(self, consumer: str, version: int) -> None:
        """Called when a topic has been joined, with its consumer class and version."""

    def topic_closed(self) -> None:
        """Called when a joined topic has ended."""

    def was_away(self, seconds: float) -> None:
        """Called when a join recovered a state that was saved ``seconds`` ago."""

    def state_unsafe(self) -> None:
        """Called when the state of an open topic couldn't be saved."""

    def state_safe(self) -> None:
        """Called when such a state has been saved, or its topic has ended."""

    def application_failed(self, event: str) -> None:
        """Called when the application's code raised; ``event`` is the event name in the log."""

    def drain_begun(self) -> None:
        """Called when a drain begins."""

    def connection_drained(self) -> None:
        """Called when a drain has closed a connection."""

    def drain_ended(self) -> None:
        """Called when a drain is done."""

    def storage_down(self) -> None:
        """Called when calls of a storage have started to fail."""

    def storage_back(self) -> None:
        """Called when such a storage works again, or is no longer used."""

    def storage_called(self, operation: str, seconds: float, error: Exception | None) -> None:
        """Called after each call of the storage; ``error`` is what it raised, if anything."""

    def counted(self, snapshots: int, *, shared: bool) -> None:
        """Called with the approximate number of live snapshots.

        ``shared`` is true if all processes share the storage, false for the memory of this process.
        """


class Observers(Observer):
    """A composite of observers: each call is passed on to those that override the method."""

    def __init__(self) -> None:
        self._observers: tuple[Observer, ...] = ()
        self._started: dict[str, Observer] = {}
        self._sort()

    def add(self, observer: Observer) -> None:
        """Add ``observer``, unless it has been added before."""
        if observer not in self._observers:
            self._observers = (*self._observers, observer)
            self._sort()

    def start(self, name: str, make: Callable[[], Observer]) -> None:
        """Add the observer called ``name``, which is created once per process."""
        if name not in self._started:
            self._started[name] = make()
        self.add(self._started[name])

    def remove(self, observer: Observer) -> None:
        """Remove ``observer``, if it has been added."""
        self._observers = tuple(each for each in self._observers if each is not observer)
        self._sort()

    def token_created(self) -> None:
        for call in self._token_created:
            call()

    def state_saved(self, size_bytes: int) -> None:
        for call in self._state_saved:
            call(size_bytes)

    def recovered(self) -> None:
        for call in self._recovered:
            call()

    def failed(self, error: RecoveryError) -> None:
        for observer in self._observers:
            observer.failed(error)

    def joined(self, outcome: str) -> None:
        for observer in self._observers:
            observer.joined(outcome)

    def join_limited(self) -> None:
        for observer in self._observers:
            observer.join_limited()

    def event_repeated(self) -> None:
        for observer in self._observers:
            observer.event_repeated()

    def connection_fenced(self) -> None:
        for observer in self._observers:
            observer.connection_fenced()

    def message_published(self) -> None:
        for observer in self._observers:
            observer.message_published()

    def messages_handled(self, count: int, *, is_replay: bool) -> None:
        for call in self._messages_handled:
            call(count, is_replay=is_replay)

    def messages_missed(self) -> None:
        for observer in self._observers:
            observer.messages_missed()

    def pushes_sent(self, first: int, again: int) -> None:
        for call in self._pushes_sent:
            call(first, again)

    def pushes_dropped(self, count: int) -> None:
        for observer in self._observers:
            observer.pushes_dropped(count)

    def connecting(self, scope: Mapping[str, Any]) -> None:
        for observer in self._observers:
            observer.connecting(scope)

    def join_begun(self) -> None:
        for observer in self._observers:
            observer.join_begun()

    def join_answered(self) -> None:
        for observer in self._observers:
            observer.join_answered()

    def connection_opened(self) -> None:
        for observer in self._observers:
            observer.connection_opened()

    def connection_closed(self) -> None:
        for observer in self._observers:
            observer.connection_closed()

    def connection_unjoined(self, cause: str) -> None:
        for observer in self._observers:
            observer.connection_unjoined(cause)

    def topic_opened(self, consumer: str, version: int) -> None:
        for observer in self._observers:
            observer.topic_opened(consumer, version)

    def topic_closed(self) -> None:
        for observer in self._observers:
            observer.topic_closed()

    def was_away(self, seconds: float) -> None:
        for observer in self._observers:
            observer.was_away(seconds)

    def state_unsafe(self) -> None:
        for observer in self._observers:
            observer.state_unsafe()

    def state_safe(self) -> None:
        for observer in self._observers:
            observer.state_safe()

    def application_failed(self, event: str) -> None:
        for observer in self._observers:
            observer.application_failed(event)

    def drain_begun(self) -> None:
        for observer in self._observers:
            observer.drain_begun()

    def connection_drained(self) -> None:
        for observer in self._observers:
            observer.connection_drained()

    def drain_ended(self) -> None:
        for observer in self._observers:
            observer.drain_ended()

    def storage_down(self) -> None:
        for observer in self._observers:
            observer.storage_down()

    def storage_back(self) -> None:
        for observer in self._observers:
            observer.storage_back()

    def storage_called(self, operation: str, seconds: float, error: Exception | None) -> None:
        for call in self._storage_called:
            call(operation, seconds, error)

    def counted(self, snapshots: int, *, shared: bool) -> None:
        for observer in self._observers:
            observer.counted(snapshots, shared=shared)

    def _sort(self) -> None:
        # Of what is announced with each event, only those are called that listen.
        self._token_created = [each.token_created for each in self._listening("token_created")]
        self._state_saved = [each.state_saved for each in self._listening("state_saved")]
        self._recovered = [each.recovered for each in self._listening("recovered")]
        self._messages_handled = [
            each.messages_handled for each in self._listening("messages_handled")
        ]
        self._pushes_sent = [each.pushes_sent for each in self._listening("pushes_sent")]
        self._storage_called = [each.storage_called for each in self._listening("storage_called")]

    def _listening(self, method: str) -> list[Observer]:
        bare = getattr(Observer, method)
        return [
            each
            for each in self._observers
            if getattr(getattr(each, method), "__func__", None) is not bare
        ]


observers = Observers()
