"""The sections of a snapshot that precede the replies to events.

Earlier versions know only the replies. Each section starts with bytes that can't start a reply, so
that those versions drop the replies rather than read a section as some.
"""

from __future__ import annotations

import struct

PUSHES = b"\xfe\xff\xff\xff\xff"
GROUPS = b"\xfd\xff\xff\xff\xff"
_LENGTH = struct.Struct(">I")
_HEAD_BYTES = len(PUSHES) + _LENGTH.size


def pack_section(mark: bytes, body: bytes) -> bytes:
    """Return a section with its mark; nothing for one that is empty."""
    return b"".join((mark, _LENGTH.pack(len(body)), body)) if body else b""


def take_section(mark: bytes, stored: bytes) -> tuple[bytes, bytes]:
    """Return a section, if ``stored`` begins with it, and the rest."""
    if not stored.startswith(mark):
        return b"", stored
    if len(stored) < _HEAD_BYTES:
        return b"", b""
    end = _HEAD_BYTES + _LENGTH.unpack_from(stored, len(mark))[0]
    return stored[_HEAD_BYTES:end], stored[end:]
