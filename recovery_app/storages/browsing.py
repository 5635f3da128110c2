"""What people are shown of stored snapshots: their metadata, sorting and cursors."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from recovery_app.exceptions import SnapshotError
from recovery_app.snapshots import Head
from recovery_app.values import SnapshotInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SORTABLE = frozenset(
    ("socket_id", "view", "topic", "size_bytes", "saved_at", "expires_in_seconds", "version")
)
_ENDLESS = (math.inf, -math.inf)
"""What a cursor's number may come out as, and no database takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The last snapshot of a page: its key, and what it was sorted by (``None`` for nothing)."""

    key: str
    value: Any = None

    @classmethod
    def read(cls, cursor: str | None) -> Place | None:
        """Read a cursor; `ValueError` for one that was never given out."""
        if cursor is None:
            return None
        try:
            value, key = json.loads(cursor)
        except (TypeError, ValueError, RecursionError):
            value = key = None
        is_known = value is None or isinstance(value, (str, int, float))
        if not (is_known and isinstance(key, str)) or value in _ENDLESS:
            raise ValueError("The cursor isn't one of this storage.")
        return cls(value=value, key=key)

    def __str__(self) -> str:
        return json.dumps([self.value, self.key])


def field_of(order: str) -> str:
    """Give the field that an order names, `ValueError` for one that can't be sorted by."""
    field = order.removeprefix("-")
    if field and field not in SORTABLE:
        raise ValueError(f"{field!r} can't be sorted by.")
    return field


def value_of(info: SnapshotInfo, order: str, expires_at: float) -> Any:
    """Give what a snapshot is sorted by. What it expires *in* changes as one looks."""
    field = field_of(order)
    if not field:
        return None
    if field == "expires_in_seconds":
        return expires_at
    if field == "saved_at":
        return 0.0 if info.saved_at is None else info.saved_at.timestamp()
    return getattr(info, field)


def is_behind(place: Place, other: Place | None, order: str) -> bool:
    """Say whether a snapshot comes behind a place, if there is one; `ValueError`."""
    if other is None:
        return True
    one, two = (place.value, place.key), (other.value, other.key)
    if type(place.value) is not type(other.value):
        raise ValueError("The cursor isn't one of this order.")
    if place.value is None:
        return place.key > other.key
    return one < two if order.startswith("-") else one > two


def describe_prefix(key: str, head: bytes, total_bytes: int, expires_in: float) -> SnapshotInfo:
    """Tell what the first bytes of a stored value say, readable or not."""
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
    )


def moment(microseconds: int) -> datetime | None:
    """Give a time as it is stored; ``None`` for one beyond the calendar."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return None
