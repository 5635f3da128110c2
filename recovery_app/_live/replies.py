"""Own the numbered events of one socket: which is next, and what was replied to the last ones.

A client that wants each event applied exactly once numbers them 1, 2, 3, … through all its
connections, and says up to which number it has the replies. Number and replies are stored
with the state, in one step: so an event that comes twice is applied once and answered twice.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import NamedTuple

MAX_NUMBER = 2**53 - 1
"""The largest whole number that JavaScript counts to."""
MAX_REPLIES = 64
MAX_REPLY_BYTES = 65_536
_HEAD = struct.Struct(">?I")
_EMPTY = b"{}"


class Answer(NamedTuple):
    """What an event was answered: whether it went well, and the response as a JSON object."""

    is_ok: bool
    response: bytes


class ReplyCache:
    """Count a socket's events, and keep the replies that the client may still ask for.

    ``applied`` is the number of the last event applied; ``safe`` that of the last one whose
    state is stored. ``stored_replies``: what `pack` gave; what can't be read is forgotten.
    """

    def __init__(self, applied: int = 0, stored_replies: bytes = b"") -> None:
        self.applied = applied
        self.safe = applied
        self._size = 0
        self._answers: deque[Answer] = deque()
        """Those to the last events, up to the one ``applied``."""
        for answer in _unpack(stored_replies):
            self._add(answer)

    @property
    def is_safe(self) -> bool:
        """Say whether all that was applied is stored."""
        return self.safe == self.applied

    def answered(self, answer: Answer) -> None:
        """Count the next event as applied, and keep its answer."""
        self.applied += 1
        self._add(answer)

    def find(self, number: int) -> Answer | None:
        """Give the answer to an event that was applied; ``None`` where it isn't kept any more.

        Of too long ones only whether it went well is kept, with an empty response.
        """
        place = number - self.applied - 1
        return self._answers[place] if -len(self._answers) <= place < 0 else None

    def acknowledge(self, number: int) -> None:
        """Forget the answers up to this one, which the client has."""
        while self._answers and self.applied - len(self._answers) < number:
            self._drop()

    def pack(self) -> bytes:
        """Give the answers as bytes to store."""
        return b"".join(
            _HEAD.pack(is_ok, len(response)) + response for is_ok, response in self._answers
        )

    def _add(self, answer: Answer) -> None:
        self._answers.append(answer)
        self._size += len(answer.response)
        if len(self._answers) > MAX_REPLIES:
            self._drop()
        if self._size > MAX_REPLY_BYTES:
            self._shorten()

    def _shorten(self) -> None:
        """Empty the oldest answers; a client must still hear whether the event went well."""
        for place, answer in enumerate(list(self._answers)):
            if self._size <= MAX_REPLY_BYTES:
                break
            shorter = min(answer.response, _EMPTY, key=len)
            self._answers[place] = answer._replace(response=shorter)
            self._size -= len(answer.response) - len(shorter)

    def _drop(self) -> None:
        self._size -= len(self._answers.popleft().response)


def _unpack(stored: bytes) -> list[Answer]:
    answers = []
    position = 0
    while position < len(stored):
        try:
            is_ok, length = _HEAD.unpack_from(stored, position)
        except struct.error:
            return []
        start = position + _HEAD.size
        position = start + length
        answers.append(Answer(is_ok, stored[start:position]))
    # One that is cut short would make the others answers to the wrong events.
    return answers if position == len(stored) else []
