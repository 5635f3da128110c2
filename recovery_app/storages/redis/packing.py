"""Commands as the bytes that go to a server, in one piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from recovery_app.storages.redis.requests import Command

try:
    # From an event loop redis-py packs in Python, whether hiredis is installed or not.
    import hiredis
except ImportError:
    _pack: Callable[[Command], bytes] | None = None
else:
    # Before 2.1 it can only read.
    _pack = getattr(hiredis, "pack_command", None)


def pack(commands: Sequence[Command], connection: Any) -> bytes:
    """Return what to send; ``connection`` packs it where hiredis doesn't."""
    if _pack is not None:
        return b"".join(map(_pack, commands))
    return b"".join(b"".join(connection.pack_command(*each)) for each in commands)
