"""The entries of a cache: their names, bytes and timeouts.

An entry consists of the time of expiry (8 bytes, microseconds since 1970), a random mark of
this one write (8 bytes) and the data. The value contains the expiry because caches count in
ticks: memcached in started seconds, the database cache in whole seconds. A touch stores a note
under a second name: a new expiry, and the mark of the write that it extends.
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
NOTE_SUFFIX = "#touched"
MARK_BYTES = 8
MAX_TIMEOUT_SECONDS = 10 * 365 * 86_400
"""Above this an entry gets no timeout: memcached's clock ends in 2038."""
# memcached accepts 250 characters, Django's KEY_PREFIX included.
_PLAIN_KEY = re.compile(r"[\w.:-]{1,100}|#[0-9a-f]{64}", re.ASCII)
_STAMP = struct.Struct(f">Q{MARK_BYTES}s")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """The value under one key, expired or not."""

    data: bytes = field(repr=False)
    expires_us: int
    mark: bytes

    def to_bytes(self) -> bytes:
        """Return the bytes to store."""
        return self.note() + self.data

    def note(self) -> bytes:
        """Return the bytes of a note with this expiry."""
        return _STAMP.pack(self.expires_us, self.mark)


def read_entry(value: object, note: object) -> CacheEntry:
    """Return the entry that a cached value and its note hold.

    A value that this storage didn't write has no data and never expires, so it is kept.
    """
    stamped, noted = _bytes_of(value), _bytes_of(note)
    if len(stamped) < _STAMP.size:
        return CacheEntry(data=b"", expires_us=MAX_US, mark=b"")
    expires_us, mark = _STAMP.unpack_from(stamped)
    if len(noted) == _STAMP.size and noted.endswith(mark):
        expires_us, _ = _STAMP.unpack(noted)
    return CacheEntry(data=stamped[_STAMP.size :], expires_us=expires_us, mark=mark)


def name_of(key: str) -> str:
    """Return the name of a key in the cache; keys that some caches refuse are hashed."""
    if not _PLAIN_KEY.fullmatch(key):
        key = f"#{hashlib.sha256(key.encode(errors='surrogatepass')).hexdigest()}"
    return PREFIX + key


def timeout_of(ttl: float) -> int | None:
    """Return the timeout in whole seconds, one more than the TTL, as a tick may be almost over."""
    seconds = math.ceil(ttl) + 1
    return None if seconds > MAX_TIMEOUT_SECONDS else seconds


def text_of(value: bytes) -> str:
    """Return bytes as text, for a cache whose serializer accepts no bytes."""
    return b64encode(value).decode()


def _bytes_of(value: object) -> bytes:
    if isinstance(value, str):
        with suppress(ValueError):
            return b64decode(value, validate=True)
    return value if isinstance(value, bytes) else b""
