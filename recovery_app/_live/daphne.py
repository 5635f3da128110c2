"""Close codes, message sizes and flow control under Daphne, which leaves them to the application.

Daphne sets no limits on sizes, reads as fast as a client sends, and keeps all replies that the
client doesn't read. Its protocol object, from autobahn, can do better.
"""

from __future__ import annotations

from typing import Any

CODES = range(1001, 3000)
"""The close codes for which autobahn has no public method."""


def _find_protocol(send: Any) -> Any:
    """Return the protocol object behind an ASGI ``send``, ``None`` under any other server."""
    while send is not None:
        for argument in getattr(send, "args", ()):
            if hasattr(argument, "sendCloseFrame"):
                return argument
        # What Channels' session middleware, and ours, put around it.
        around = getattr(send, "__self__", None)
        send = getattr(send, "__wrapped__", None) or getattr(around, "real_send", None)
    return None


class DaphneProtocol:
    """Sends to one WebSocket under Daphne, and reads no faster than messages are handled."""

    @classmethod
    def find(cls, send: Any, *, max_frame_bytes: int) -> DaphneProtocol | None:
        """Return the replacement for an ASGI ``send``, if Daphne is behind it."""
        protocol = _find_protocol(send)
        return None if protocol is None else cls(protocol, send, max_frame_bytes=max_frame_bytes)

    def __init__(self, protocol: Any, send: Any, *, max_frame_bytes: int) -> None:
        self._protocol = protocol
        self._send = send
        self._max_frame_bytes = protocol.maxMessagePayloadSize = max_frame_bytes
        # Say so with code 1009, instead of dropping the connection.
        protocol.failByDrop = False
        self._is_busy = self._is_behind = False
        protocol.transport.unregisterProducer()
        protocol.transport.registerProducer(self, True)

    async def send(self, message: Any) -> None:
        """Send an ASGI message; a close may have any code."""
        protocol = self._protocol
        code = message.get("code") if message["type"] == "websocket.close" else None
        if code in CODES and protocol.state == protocol.STATE_OPEN:
            protocol.sendCloseFrame(code)
            return
        # The limit is meant for what comes in.
        protocol.maxMessagePayloadSize = 0
        try:
            await self._send(message)
        finally:
            protocol.maxMessagePayloadSize = self._max_frame_bytes

    def set_busy(self, is_busy: bool) -> None:
        """Stop reading while a message is being received."""
        self._is_busy = is_busy
        self._set_reading()

    # What Twisted calls: a "push producer".

    def pauseProducing(self) -> None:  # noqa: N802
        """Stop reading while the client doesn't read its replies."""
        self._is_behind = True
        self._set_reading()

    def resumeProducing(self) -> None:  # noqa: N802
        """Read again."""
        self._is_behind = False
        self._set_reading()

    def stopProducing(self) -> None:  # noqa: N802
        """Do nothing: the connection is lost."""

    def _set_reading(self) -> None:
        transport = self._protocol.transport
        if transport is None:
            return
        if self._is_busy or self._is_behind:
            transport.pauseProducing()
        else:
            transport.resumeProducing()
