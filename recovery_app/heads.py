"""Own what is told of a snapshot without its state: to a listing, to whoever looks."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from recovery_app.exceptions import SnapshotError
from recovery_app.snapshots import Head
from recovery_app.values import SnapshotInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def describe_head(key: str, head: bytes, total_bytes: int, expires_in: float) -> SnapshotInfo:
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
