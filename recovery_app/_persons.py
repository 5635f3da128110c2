"""The names of persons: what tokens are bound to, and what owners are made from."""

from __future__ import annotations

import struct
from typing import Any

_LENGTH = struct.Struct(">I")


def combine(*parts: str | bytes) -> bytes:
    """Return bytes that no other list of parts gives."""
    whole = b""
    for part in parts:
        # A path may contain what isn't UTF-8.
        encoded = part.encode(errors="surrogatepass") if isinstance(part, str) else part
        whole += _LENGTH.pack(len(encoded)) + encoded
    return whole


NOBODY = combine("nobody")
USER = combine("user")
"""What the names of all users begin with."""


def name_user(user: Any) -> bytes:
    """Return the name of a user, whatever their password."""
    return combine("user", str(user.pk))


def name_visitor(visitor: str) -> bytes:
    """Return the name of whoever has the cookie of a visitor."""
    return combine("visitor", visitor)
