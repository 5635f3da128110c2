"""Listings of stored snapshots, for the admin: entries, sorting and cursors."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from recovery_app.exceptions import SnapshotError
from recovery_app.snapshots import ANYONE, NOBODY, Head
from recovery_app.values import SnapshotInfo

SORTABLE = frozenset(
    ("socket_id", "view", "topic", "size_bytes", "saved_at", "expires_in_seconds", "version")
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# JSON may contain these, and no database accepts them.
_INFINITE = (math.inf, -math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One stored value in a listing; ``expires_in`` is in seconds, negative once it has expired."""

    key: str
    data: bytes = field(repr=False)
    expires_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPage:
    """Some entries, and the cursor of the next page (``None`` after the last)."""

    entries: list[Entry]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysetCursor:
    """The position of a page's last snapshot: its key and the value that it was sorted by.

    The value is ``None`` if snapshots are sorted by key alone.
    """

    key: str
    value: Any = None

    @classmethod
    def read(cls, cursor: str | None) -> KeysetCursor | None:
        """Parse a cursor; raise `ValueError` for one that no storage returned."""
        if cursor is None:
            return None
        try:
            value, key = json.loads(cursor)
        except (TypeError, ValueError, RecursionError):
            value = key = None
        is_known = value is None or isinstance(value, (str, int, float))
        if not (is_known and isinstance(key, str)) or value in _INFINITE:
            raise ValueError("The cursor isn't one of this storage.")
        return cls(value=value, key=key)

    def __str__(self) -> str:
        return json.dumps([self.value, self.key])


def describe(entry: Entry) -> SnapshotInfo:
    """Return the metadata of a stored value, whether it is readable or not."""
    return describe_prefix(entry.key, entry.data, len(entry.data), entry.expires_in)


def describe_prefix(key: str, head: bytes, total_bytes: int, expires_in: float) -> SnapshotInfo:
    """Return the metadata in the first bytes of a stored value of ``total_bytes`` bytes.

    For a value that can't be read, ``problem`` says why.
    """
    try:
        found = Head.read(head, total_bytes)
    except SnapshotError as error:
        return SnapshotInfo(
            socket_hash=key,
            expires_in_seconds=expires_in,
            size_bytes=total_bytes,
            problem=str(error),
        )
    return SnapshotInfo(
        socket_hash=key,
        expires_in_seconds=expires_in,
        size_bytes=found.state_bytes,
        socket_id=found.socket_id,
        view=found.view,
        topic=found.topic,
        serializer=found.serializer,
        version=found.header.version,
        applied_seq=found.header.applied_seq,
        created_at=moment(found.header.created_us),
        saved_at=moment(found.header.saved_us),
        person=person_in(found.person),
    )


def person_in(digest: bytes) -> str:
    """Return the digest of a person as text, ``""`` if no person is known."""
    return "" if digest in (NOBODY, ANYONE) else digest.hex()


def field_of(order: str) -> str:
    """Return the field that an order names; raise `ValueError` if it isn't sortable."""
    name = order.removeprefix("-")
    if name and name not in SORTABLE:
        sortable = ", ".join(sorted(SORTABLE))
        raise ValueError(f"Snapshots can't be sorted by {name!r}, only by {sortable}.")
    return name


def value_of(info: SnapshotInfo, order: str, expires_at: float) -> Any:
    """Return the value that a snapshot is sorted by.

    That is the time of expiry in place of ``expires_in_seconds``, which changes between pages.
    """
    name = field_of(order)
    if not name:
        return None
    if name == "expires_in_seconds":
        return expires_at
    if name == "saved_at":
        return 0.0 if info.saved_at is None else info.saved_at.timestamp()
    return getattr(info, name)


def is_behind(cursor: KeysetCursor, other: KeysetCursor | None, order: str) -> bool:
    """Return whether a position comes after another, or that there is no other.

    Raise `ValueError` if the two aren't positions in the same order.
    """
    if other is None:
        return True
    one, two = (cursor.value, cursor.key), (other.value, other.key)
    if type(cursor.value) is not type(other.value):
        raise ValueError("The cursor isn't one of this order.")
    if cursor.value is None:
        return cursor.key > other.key
    return one < two if order.startswith("-") else one > two


def moment(microseconds: int) -> datetime | None:
    """Return microseconds since 1970 as a time, or ``None`` if it is beyond the calendar."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return None
