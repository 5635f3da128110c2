"""The logs of durable groups in Redis Streams: one stream for each group.

A position is the id of an entry with a checksum of its contents. If the stream has the entry of a
position, it has lost none after it, so a group without messages starts with an entry that isn't
one. The checksum distinguishes the entry from one with the same id in a stream that was started
again, or that has lost its end in a failover: the clock of another server may be behind.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from recovery_app._concurrency import LRUCache
from recovery_app.clock import Clock
from recovery_app.storages.messages import MAX_MESSAGES, Messages
from recovery_app.storages.redis.requests import CommandSpec, Request

STREAM_SECONDS = 7 * 24 * 60 * 60
"""How long a stream outlives the last message of its group, give or take an hour."""
EXPIRE_SECONDS = 60 * 60
"""How often a process that publishes to a group extends the life of its stream."""
MAX_REMEMBERED = 10_000
_MESSAGE = b"m"
_BEGINNING = (b"begin", b"")
"""The fields of the entry that isn't a message, in a stream without messages."""
_NO_MESSAGE = b"null"
"""The bytes for an entry with other fields, which nothing handles."""
_MAX_NUMBER = 2**64


class StreamEntry(NamedTuple):
    """An entry of a stream: its position, and the message in it."""

    position: str
    data: bytes


def _read_entry(entry: Any) -> StreamEntry:
    name, fields = entry
    found = dict(zip(fields[::2], fields[1::2], strict=True))
    data = b"" if tuple(fields) == _BEGINNING else found.get(_MESSAGE, _NO_MESSAGE)
    return StreamEntry(_position(name, fields), data)


def _position(name: bytes, fields: Sequence[bytes]) -> str:
    checksum = zlib.crc32(b"\0".join(fields))
    return f"{name.decode()}~{checksum:08x}"


def _read_beginning(name: bytes) -> str:
    return _position(name, _BEGINNING)


def read_entries(reply: Any) -> list[StreamEntry]:
    return [_read_entry(each) for each in reply]


# Sent twice, there would be two messages.
APPEND = CommandSpec(name="XADD", operation="publish", repeatable=False)
BEGIN = CommandSpec(name="XADD", operation="group", repeatable=False, read=_read_beginning)
NEWEST = CommandSpec(
    name="XREVRANGE", operation="group", writes=False, is_tracked=True, read=read_entries
)
READ = CommandSpec(
    name="XRANGE", operation="group", writes=False, is_tracked=True, read=read_entries
)
EXPIRE = CommandSpec(name="EXPIRE", operation="group")
# Of operators, who follow no stream.
LENGTH = CommandSpec(name="XLEN", operation="listing", writes=False)
FIRST = CommandSpec(name="XRANGE", operation="listing", writes=False, read=read_entries)
LAST = CommandSpec(name="XREVRANGE", operation="listing", writes=False, read=read_entries)
DELETE = CommandSpec(name="DEL", operation="group")


class StreamRequests:
    """Builds the requests for the streams whose names begin with a prefix."""

    def __init__(self, prefix: str, clock: Clock = time.monotonic) -> None:
        self._start = f"{prefix}groups:{{"
        self._start_bytes = len(self._start.encode())
        self._clock = clock
        self._expire_due_at: LRUCache[str, float] = LRUCache(MAX_REMEMBERED)

    def append(self, group: str, data: bytes) -> Request[Any]:
        """Return the request to publish a message."""
        arguments = ("MAXLEN", "~", MAX_MESSAGES, "*", _MESSAGE, data)
        return Request(APPEND, self._encode(group), arguments, len(data))

    def begin(self, group: str) -> Request[str]:
        """Return the request to create a stream without a message."""
        return Request(BEGIN, self._encode(group), ("*", *_BEGINNING))

    def is_expire_due(self, group: str) -> bool:
        """Return whether this process hasn't sent `expire` recently."""
        due_at = self._expire_due_at.get(group)
        return due_at is None or self._clock() >= due_at

    def note_expire(self, group: str) -> None:
        """Note that `expire` was sent."""
        self._expire_due_at.put(group, self._clock() + EXPIRE_SECONDS)

    def expire(self, group: str) -> Request[Any]:
        """Return the request that lets an unused stream expire."""
        return Request(EXPIRE, self._encode(group), (STREAM_SECONDS,))

    def newest(self, group: str) -> Request[list[StreamEntry]]:
        """Return the request for the last entry."""
        return Request(NEWEST, self._encode(group), ("+", "-", "COUNT", 1))

    def read(self, group: str, after: str, limit: int) -> Request[list[StreamEntry]]:
        """Return the request for the entry at a position, and those after it."""
        return Request(READ, self._encode(group), (_id_in(after), "+", "COUNT", limit + 1))

    def length(self, group: str) -> Request[int]:
        """Return the request for the number of entries."""
        return Request(LENGTH, self._encode(group))

    def first(self, group: str, limit: int, after: str = "-") -> Request[list[StreamEntry]]:
        """Return the request for the first entries, or those from a position on."""
        return Request(FIRST, self._encode(group), (_id_in(after), "+", "COUNT", limit))

    def last(self, group: str, limit: int) -> Request[list[StreamEntry]]:
        """Return the request for the last entries, the newest first."""
        return Request(LAST, self._encode(group), ("+", "-", "COUNT", limit))

    def delete(self, group: str) -> Request[int]:
        """Return the request that removes a stream."""
        return Request(DELETE, self._encode(group))

    def group_of(self, key: bytes) -> str:
        """Return the group whose stream has this name on the server."""
        return key[self._start_bytes : -1].decode()

    def _encode(self, group: str) -> bytes:
        # No name of a snapshot begins so.
        return f"{self._start}{group}}}".encode()


def messages_of(entries: list[StreamEntry], after: str, limit: int) -> Messages:
    """Return what `StreamRequests.read` has found, whose first entry is that of the position."""
    is_complete = bool(entries) and entries[0].position == after
    return Messages([*entries[is_complete:][:limit]], is_complete)


def _id_in(position: str) -> str:
    """Return the id of a position; the lowest there is for one of another storage."""
    name = position.partition("~")[0]
    numbers = name.split("-")
    is_id = len(numbers) == 2 and all(
        each.isascii() and each.isdigit() and len(each) <= 20 and int(each) < _MAX_NUMBER
        for each in numbers
    )
    return name if is_id else "-"
