"""Own what is cached for a key: its name, its bytes, and how long the cache is to hold it.

8 bytes of expiry (microseconds since 1970), 8 random bytes that mark this one write, then
the data. The expiry stands in the value because caches count in ticks: memcached in seconds
that have begun, the database cache in whole ones. The note that a touch leaves under a
second name has the same 16 bytes, with the mark of the write that it prolongs.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import dataclass, field

from recovery_app.snapshots import MAX_US

PREFIX = "golivekit:recovery:"
TOUCHED = "#touched"
MARK_BYTES = 8
MAX_TIMEOUT_SECONDS = 10 * 365 * 86_400
"""What lives longer gets no timeout, as memcached's clock ends in 2038."""
# memcached takes 250 characters, of which Django's KEY_PREFIX may want some.
_PLAIN_KEY = re.compile(r"[\w.:-]{1,100}|#[0-9a-f]{64}", re.ASCII)
_STAMP = struct.Struct(f">Q{MARK_BYTES}s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What is cached under one key, expired or not."""

    data: bytes = field(repr=False)
    expires_us: int
    mark: bytes

    def to_bytes(self) -> bytes:
        """Give the bytes to cache."""
        return self.note() + self.data

    def note(self) -> bytes:
        """Give the bytes that say anew when this write expires."""
        return _STAMP.pack(self.expires_us, self.mark)


def read_slot(value: object, note: object) -> Slot:
    """Read what is cached. What isn't ours has no data that anybody can read, and stays."""
    stamped, noted = _bytes_of(value), _bytes_of(note)
    if len(stamped) < _STAMP.size:
        return Slot(data=b"", expires_us=MAX_US, mark=b"")
    expires_us, mark = _STAMP.unpack_from(stamped)
    if len(noted) == _STAMP.size and noted.endswith(mark):
        expires_us, _ = _STAMP.unpack(noted)
    return Slot(data=stamped[_STAMP.size :], expires_us=expires_us, mark=mark)


def name_of(key: str) -> str:
    """Give a name that each cache takes: odd keys are hashed."""
    if not _PLAIN_KEY.fullmatch(key):
        key = f"#{hashlib.sha256(key.encode(errors='surrogatepass')).hexdigest()}"
    return PREFIX + key


def timeout_of(ttl: float) -> int | None:
    """Give whole seconds in which no cache drops it early; a tick may be almost over."""
    seconds = math.ceil(ttl) + 1
    return None if seconds > MAX_TIMEOUT_SECONDS else seconds


def text_of(value: bytes) -> str:
    """Give the bytes as a serializer takes them that knows text alone."""
    return b64encode(value).decode()


def _bytes_of(value: object) -> bytes:
    if isinstance(value, str):
        with suppress(ValueError):
            return b64decode(value, validate=True)
    return value if isinstance(value, bytes) else b""
