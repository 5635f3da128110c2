"""The numbered events of one socket: the next number, and the replies to the last ones.

A client that wants each event applied exactly once numbers them 1, 2, 3, … across all its
connections, and sends the number up to which it has the replies. Number and replies are stored
with the state, in one step: so an event that is received twice is applied once and answered
twice.

A page that comes back with older memory, or another tab, may reuse numbers of other events. So a
client may name the *line* that a number belongs to, with a random word of its own.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

MAX_NUMBER = 2**53 - 1
"""The largest whole number that JavaScript counts to."""
MAX_REPLIES = 64
MAX_REPLY_BYTES = 65_536
MAX_LINES = 16
"""For how many lines the first number is remembered."""
MAX_ERRORS = 64
"""For how many events with an error as the reply the number is remembered."""
_ERROR = "\n"
"""The mark of such an event among the stored lines; no client has it as its line."""
_HEAD = struct.Struct(">?I")
_LINE = struct.Struct(">QB")
_LINES_FOLLOW = b"\xff" * _HEAD.size
"""Before the lines: the head of no reply, so that earlier versions drop the replies."""
_EMPTY = b"{}"


class Reply(NamedTuple):
    """The reply to an event: its status, and the response as a JSON object."""

    is_ok: bool
    response: bytes


class ReplyCache:
    """The number of a socket's last event, and the replies that the client may still ask for.

    ``applied`` is the number of the last applied event, ``safe`` that of the last event whose
    state is stored. ``stored_replies`` is what `pack` returned; if it can't be read, it is dropped.
    """

    def __init__(self, applied: int = 0, stored_replies: bytes = b"") -> None:
        self.applied = applied
        self.safe = applied
        self._size = 0
        self._replies: list[Reply] = []
        """The replies to the last events, up to the one ``applied``."""
        stored_replies, _, stored_lines = stored_replies.partition(_LINES_FOLLOW)
        for reply in _unpack(stored_replies):
            self._append(reply)
        stored = _unpack_lines(stored_lines)
        self._lines = [each for each in stored if each[0] != _ERROR]
        """The lines of the events up to the one ``applied``, each with its first number."""
        self._errors = [number for line, number in stored if line == _ERROR]
        """The events in lines that had an error as the reply, which may be dropped by now."""

    @property
    def is_safe(self) -> bool:
        """Whether everything that was applied is stored."""
        return self.safe == self.applied

    @property
    def lines(self) -> list[tuple[str, int]]:
        """The lines of the events, each with its first number, the newest last."""
        return self._lines

    def add(self, reply: Reply, line: str = "") -> None:
        """Count the next event as applied, and keep its reply."""
        self.applied += 1
        self._append(reply)
        if line != (self._lines[-1][0] if self._lines else ""):
            self._lines = [*self._lines, (line, self.applied)][-MAX_LINES:]
        if self._lines and not reply.is_ok:
            self._errors = [*self._errors, self.applied][-MAX_ERRORS:]

    def is_taken(self, number: int, line: str) -> bool:
        """Return whether an event of another line is known to have this number."""
        found = (each for each, first in reversed(self._lines) if first <= number)
        # Of the numbers before all lines that are remembered, nobody knows whose they were.
        forgotten = "" if len(self._lines) >= MAX_LINES else line
        return bool(line) and next(found, forgotten) != line

    def describe(self) -> dict[str, object]:
        """Return the facts for a client about the events in a state that was copied."""
        return {"seq": self.applied, "lines": self._lines, "errors": self._errors}

    def find(self, number: int) -> Reply | None:
        """Return the reply to an applied event; ``None`` if it is no longer kept.

        For a reply that is too long, only the status is kept, with an empty response.
        """
        place = number - self.applied - 1
        return self._replies[place] if -len(self._replies) <= place < 0 else None

    def acknowledge(self, number: int) -> None:
        """Drop the replies up to this number, which the client has."""
        while self._replies and self.applied - len(self._replies) < number:
            self._drop()

    def pack(self) -> bytes:
        """Return the replies, and the lines, as bytes to store."""
        if not self._replies and not self._lines:
            return b""
        replies = b"".join(
            _HEAD.pack(is_ok, len(response)) + response for is_ok, response in self._replies
        )
        if not self._lines:
            return replies
        return replies + _pack_lines([*self._lines, *((_ERROR, each) for each in self._errors)])

    def _append(self, reply: Reply) -> None:
        self._replies.append(reply)
        self._size += len(reply.response)
        if len(self._replies) > MAX_REPLIES:
            self._drop()
        if self._size > MAX_REPLY_BYTES:
            self._shorten()

    def _shorten(self) -> None:
        """Empty the oldest replies, but keep their statuses."""
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


def _pack_lines(lines: list[tuple[str, int]]) -> bytes:
    words = [(first, line.encode()) for line, first in lines]
    return _LINES_FOLLOW + b"".join(_LINE.pack(first, len(word)) + word for first, word in words)


def _unpack_lines(stored: bytes) -> list[tuple[str, int]]:
    lines = []
    position = 0
    while position < len(stored):
        try:
            first, length = _LINE.unpack_from(stored, position)
            start = position + _LINE.size
            position = start + length
            lines.append((stored[start:position].decode(), first))
        except (struct.error, UnicodeDecodeError):
            return []
    return lines if position == len(stored) else []
