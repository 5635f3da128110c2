"""The logs of durable groups in Redis Streams: one stream for each group.

A position is the id of an entry. The stream that has the entry of a position has lost none behind
it, so a group that has no message yet begins with an entry that is none.
"""

from __future__ import annotations

from typing import Any

from recovery_app.storages.messages import MAX_MESSAGES, Messages
from recovery_app.storages.redis.requests import CommandSpec, Request

STREAM_SECONDS = 7 * 24 * 60 * 60
"""How long a stream outlives the last message of its group."""
_FIELD = b"m"


def _read_id(reply: Any) -> str:
    return str(reply, "ascii")


def _read_entries(reply: Any) -> list[tuple[str, bytes | None]]:
    return [(str(each, "ascii"), _message_in(fields)) for each, fields in reply]


def _message_in(fields: list[bytes]) -> bytes | None:
    found = dict(zip(fields[::2], fields[1::2], strict=True))
    return found.get(_FIELD)


# Sent twice, there would be two messages.
APPEND = CommandSpec(name="XADD", operation="publish", repeatable=False, read=_read_id)
NEWEST = CommandSpec(name="XREVRANGE", operation="group", writes=False, read=_read_entries)
READ = CommandSpec(name="XRANGE", operation="group", writes=False, read=_read_entries)
EXPIRE = CommandSpec(name="EXPIRE", operation="group")


class StreamRequests:
    """Builds the requests for the streams whose names begin with a prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def append(self, group: str, data: bytes) -> Request[str]:
        """Return the request to publish a message, or to begin the stream without one."""
        arguments = ("MAXLEN", "~", MAX_MESSAGES, "*", _FIELD, data)
        return Request(APPEND, self._encode(group), arguments, len(data))

    def begin(self, group: str) -> Request[str]:
        """Return the request for the entry that is no message."""
        return Request(APPEND, self._encode(group), ("*", b"begin", b""))

    def expire(self, group: str) -> Request[Any]:
        """Return the request that has an unused stream go away."""
        return Request(EXPIRE, self._encode(group), (STREAM_SECONDS,))

    def newest(self, group: str) -> Request[Any]:
        """Return the request for the last entry."""
        return Request(NEWEST, self._encode(group), ("+", "-", "COUNT", 1))

    def read(self, group: str, after: str, limit: int) -> Request[Any]:
        """Return the request for the entry at a position, and those behind it."""
        return Request(READ, self._encode(group), (after, "+", "COUNT", limit + 1))

    def _encode(self, group: str) -> bytes:
        # No name of a snapshot begins so.
        return f"{self._prefix}groups:{{{group}}}".encode()


def messages_of(entries: list[tuple[str, bytes | None]], after: str) -> Messages:
    """Return what `StreamRequests.read` has found, whose first entry is that of the position."""
    is_complete = bool(entries) and entries[0][0] == after
    behind = entries[1:] if is_complete else entries
    return Messages([(place, data) for place, data in behind if data is not None], is_complete)
