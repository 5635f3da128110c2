"""The limits of one connection: the bytes of its waiting frames, and of repeated replies."""

from __future__ import annotations

import asyncio

from recovery_app._live.replies import Reply

FRAMES_WAITING = 4
"""How many frames of the largest size may wait for their turn."""
FREE_REPEAT_BYTES = 1_048_576
"""Bytes of repeated replies that cost a client nothing: more than a reconnect asks for."""


def is_longer(text: str, limit_bytes: int) -> bool:
    """Return whether a text has more bytes in UTF-8 than a limit, as cheaply as possible."""
    if text.isascii() or len(text) > limit_bytes:
        return len(text) > limit_bytes
    return len(text) * 4 > limit_bytes and len(text.encode(errors="surrogatepass")) > limit_bytes


class Backlog:
    """The bytes of a connection's frames that wait to be handled, for all topics."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._waiting_bytes = 0
        self._room: asyncio.Future[None] | None = None

    def try_add(self, size_bytes: int) -> bool:
        """Add a frame unless there is no room; a frame alone always has room."""
        if self._waiting_bytes and self._waiting_bytes + size_bytes > self._most_bytes:
            return False
        self._waiting_bytes += size_bytes
        return True

    def remove(self, size_bytes: int) -> None:
        """Remove a frame that was handled."""
        self._waiting_bytes -= size_bytes
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def wait(self) -> None:
        """Wait until a frame was handled."""
        if self._room is None or self._room.done():
            self._room = asyncio.get_running_loop().create_future()
        # Another sender may wait for the same.
        await asyncio.shield(self._room)


class RepeatBudget:
    """The bytes of repeated replies that a client may have for what it sent."""

    def __init__(self) -> None:
        self._left_bytes = FREE_REPEAT_BYTES

    def repeat(self, reply: Reply | None, *, sent_bytes: int) -> Reply:
        """Return the reply to a repeated event of this size, which may have been emptied."""
        reply = reply or Reply(is_ok=True, response=b"{}")
        left_bytes = self._left_bytes + sent_bytes - len(reply.response)
        if left_bytes < 0:
            return reply._replace(response=b"{}")
        self._left_bytes = min(left_bytes, FREE_REPEAT_BYTES)
        return reply
