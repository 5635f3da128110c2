"""The record of one connection: whether it was accepted and joined a topic, and if not, why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from recovery_app.signals import observers

Send: TypeAlias = Callable[[Any], Awaitable[None]]

CRASHED = "crashed"
"""The code of the application, or of a middleware, raised."""
REFUSED = "refused"
"""The handshake was denied, or a join was refused, on purpose."""
SILENT = "silent"
"""The client left, or never asked for a topic."""


class ConnectionRecord:
    """Notifies observers when a connection is open, when it has ended, and if it never joined."""

    __slots__ = ("cause", "has_joined", "is_accepted")

    def __init__(self) -> None:
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

    def end(self) -> None:
        """Announce the end of the connection."""
        if self.is_accepted:
            observers.connection_closed()
        if not self.has_joined:
            observers.connection_unjoined(self.cause)

    def _note_answer(self, kind: str) -> None:
        if kind == "websocket.accept":
            self.is_accepted = True
            observers.connection_opened()
        else:
            self.note_refused()
