"""The record of one connection: whether it was accepted and joined a topic, and if not, why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from recovery_app._core.reports import CRASHED_JOIN, REFUSED_JOIN, Reporter
from recovery_app.signals import observers

Send: TypeAlias = Callable[[Any], Awaitable[None]]

CRASHED = "crashed"
"""The code of the application, or of a middleware, raised."""
REFUSED = "refused"
"""The handshake was denied, or a join was refused, on purpose."""
SILENT = "silent"
"""The client left, or never asked for a topic."""


class PendingJoin:
    """A handshake or a join that waits for its answer: announced as begun, and once as answered."""

    __slots__ = ("is_over",)

    def __init__(self) -> None:
        self.is_over = False
        observers.join_begun()

    def end(self) -> None:
        """Note that it has been answered, or won't be."""
        if not self.is_over:
            self.is_over = True
            observers.join_answered()


class ConnectionRecord:
    """Notifies observers when a connection is open, when it has ended, and if it never joined."""

    __slots__ = ("_handshake", "_reporter", "cause", "has_joined", "is_accepted")

    def __init__(self, reporter: Reporter) -> None:
        self._handshake = PendingJoin()
        self._reporter = reporter
        self.is_accepted = False
        self.has_joined = False
        self.cause = SILENT

    def watch(self, send: Send) -> Send:
        """Return ``send``, which notes whether the application accepts the connection."""

        async def watched(message: Any) -> None:
            if not self.is_accepted:
                self._note_answer(message["type"])
            await send(message)

        return watched

    def note_refused(self) -> None:
        """Note that a handshake or a join was refused."""
        if self.cause == SILENT:
            self.cause = REFUSED

    def note_crashed(self) -> None:
        """Note that a handshake or a join crashed."""
        self.cause = CRASHED

    def note_join_refused(self) -> None:
        """Note and count that a join was refused."""
        self.note_refused()
        self._reporter.joined(REFUSED_JOIN)

    def note_join_crashed(self) -> None:
        """Note and count that a join crashed."""
        self.note_crashed()
        self._reporter.joined(CRASHED_JOIN)

    def end(self) -> None:
        """Announce the end of the connection."""
        self._handshake.end()
        if self.is_accepted:
            observers.connection_closed()
            self._reporter.connected(-1)
        if not self.has_joined:
            observers.connection_unjoined(self.cause)

    def _note_answer(self, kind: str) -> None:
        self._handshake.end()
        if kind == "websocket.accept":
            self.is_accepted = True
            observers.connection_opened()
            self._reporter.connected(1)
        else:
            self.note_refused()
