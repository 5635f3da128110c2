"""Tombstones, which replace moved snapshots in the old storage.

A tombstone is a snapshot that every release can read, with a state version that no application
has. So a process that knows only the old storage refuses the saves and touches of tokens that
it issued before (`FENCED`), and answers a join with the outcome ``version``: the client keeps
its token, and tries again until it reaches a process that knows both storages.

While a snapshot is being moved, its tombstone contains it.
"""

from __future__ import annotations

from dataclasses import dataclass

from recovery_app.clock import MAX_AHEAD_US, MICROSECONDS
from recovery_app.exceptions import SnapshotError
from recovery_app.snapshots import FIRST_FORMAT, MAX_VERSION, Header, Snapshot

MOVED_VERSION = MAX_VERSION
"""The state version of a tombstone."""
_SERIALIZER = "recovery_app.moved"
_HOUR_US = 3600 * MICROSECONDS
_AHEAD_US = MAX_AHEAD_US - _HOUR_US
"""An hour less than what counts as sound, as the clocks of nodes differ."""


@dataclass(frozen=True, slots=True)
class Held:
    """The contents of one storage for a key: data, a tombstone, both, or nothing.

    ``data`` are the bytes of a snapshot or of a marker, taken out of the tombstone if there is
    one.
    """

    data: bytes | None = None
    is_moved: bool = False


NOTHING = Held()


def tombstone(fence: int, binding: bytes, data: bytes = b"") -> bytes:
    """Return a tombstone for a socket; ``data`` is its snapshot while that is being moved."""
    header = Header(fence, 0, binding, version=MOVED_VERSION, format=FIRST_FORMAT)
    return Snapshot(header, "", "", "", _SERIALIZER, data).to_bytes()


def tombstone_for_all(now_us: int, binding: bytes) -> bytes:
    """Return a tombstone that also refuses tokens issued later in the new storage."""
    return tombstone(now_us + _AHEAD_US, binding)


def claim_on_tombstones(now_us: int) -> int:
    """Return a timestamp that no such tombstone refuses."""
    return now_us + _AHEAD_US + _HOUR_US // 2


def read_held(stored: bytes | None) -> Held:
    """Return what stored bytes contain."""
    if stored is None:
        return NOTHING
    try:
        header = Header.read(stored)
        is_candidate = header.version == MOVED_VERSION and header.format == FIRST_FORMAT
        snapshot = Snapshot.from_bytes(stored) if is_candidate else None
    except SnapshotError:
        return Held(stored)
    if snapshot is None or snapshot.serializer != _SERIALIZER:
        return Held(stored)
    return Held(snapshot.state or None, is_moved=True)


def fence_of(data: bytes) -> int | None:
    """Return the fence of a snapshot or marker, or ``None`` if it can't be read."""
    try:
        return Header.read(data).fence
    except SnapshotError:
        return None
