"""The numbered events of one socket: which is next, and what was replied to the last ones.

A client that wants each event applied exactly once numbers them 1, 2, 3, … through all its
connections, and says up to which number it has the replies. Number and replies are stored
with the state, in one step: so an event that comes twice is applied once and answered twice.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

MAX_NUMBER = 2**53 - 1
"""The largest whole number that JavaScript counts to."""
MAX_REPLIES = 64
MAX_REPLY_BYTES = 65_536
_HEAD = struct.Struct(">?I")
_EMPTY = b"{}"


class Reply(NamedTuple):
    """The reply to an event: whether it went well, and the response as a JSON object."""

    is_ok: bool
    response: bytes


class ReplyCache:
    """The number of a socket's last event, and the replies that the client may still ask for.

    ``applied`` is the number of the last event applied, ``safe`` that of the last one whose
    state is stored. ``stored_replies``: what `pack` returned; what can't be read is dropped.
    """

    def __init__(self, applied: int = 0, stored_replies: bytes = b"") -> None:
        self.applied = applied
        self.safe = applied
        self._size = 0
        self._replies: list[Reply] = []
        """The replies to the last events, up to the one ``applied``."""
        for reply in _unpack(stored_replies):
            self._append(reply)

    @property
    def is_safe(self) -> bool:
        """Whether all that was applied is stored."""
        return self.safe == self.applied

    def add(self, reply: Reply) -> None:
        """Count the next event as applied, and keep its reply."""
        self.applied += 1
        self._append(reply)

    def find(self, number: int) -> Reply | None:
        """Return the reply to an event that was applied; ``None`` where it isn't kept any more.

        Of replies that are too long only the status is kept, with an empty response.
        """
        place = number - self.applied - 1
        return self._replies[place] if -len(self._replies) <= place < 0 else None

    def acknowledge(self, number: int) -> None:
        """Drop the replies up to this one, which the client has."""
        while self._replies and self.applied - len(self._replies) < number:
            self._drop()

    def pack(self) -> bytes:
        """Return the replies as bytes to store."""
        if not self._replies:
            return b""
        return b"".join(
            _HEAD.pack(is_ok, len(response)) + response for is_ok, response in self._replies
        )

    def _append(self, reply: Reply) -> None:
        self._replies.append(reply)
        self._size += len(reply.response)
        if len(self._replies) > MAX_REPLIES:
            self._drop()
        if self._size > MAX_REPLY_BYTES:
            self._shorten()

    def _shorten(self) -> None:
        """Empty the oldest replies; a client must still learn whether the event went well."""
        for place, reply in enumerate(list(self._replies)):
            if self._size <= MAX_REPLY_BYTES:
                break
            shorter = min(reply.response, _EMPTY, key=len)
            self._replies[place] = reply._replace(response=shorter)
            self._size -= len(reply.response) - len(shorter)

    def _drop(self) -> None:
        self._size -= len(self._replies.pop(0).response)


def _unpack(stored: bytes) -> list[Reply]:
    replies = []
    position = 0
    while position < len(stored):
        try:
            is_ok, length = _HEAD.unpack_from(stored, position)
        except struct.error:
            return []
        start = position + _HEAD.size
        position = start + length
        replies.append(Reply(is_ok, stored[start:position]))
    # One that is cut short would make the others replies to the wrong events.
    return replies if position == len(stored) else []
