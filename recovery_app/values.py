"""Own the values that the manager gives out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


# Not frozen, as it is made for each join: that would take four times as long.
@dataclass(slots=True, kw_only=True)
class Takeover:
    """What a new connection continues with.

    ``token`` takes the place of the one that was shown. ``payload`` is the state as it is
    stored, or ``None`` where another serializer than the manager's wrote it; ``replies`` are
    those to the last events, as they are stored; ``issued_us`` and ``shown_us`` are the
    timestamps of the new and the shown token.
    """

    state: dict[str, Any] = field(repr=False)
    socket_id: str
    token: str = field(repr=False)
    applied_seq: int | None
    version: int
    view: str
    topic: str
    issued_us: int
    shown_us: int
    payload: bytes | None = field(default=None, repr=False)
    replies: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotInfo:
    """What a listing tells of one snapshot; ``problem`` says why nothing more is known."""

    socket_hash: str
    expires_in_seconds: float
    size_bytes: int
    socket_id: str = ""
    view: str = ""
    topic: str = ""
    serializer: str = ""
    version: int = 0
    applied_seq: int | None = None
    created_at: datetime | None = None
    saved_at: datetime | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some snapshots, and the cursor of the next page (``None`` after the last).

    ``looked_at``: how many were read to find these, where what is wanted has to be searched.
    """

    items: list[SnapshotInfo]
    next_cursor: str | None = None
    looked_at: int = 0


# For people who look into a storage.


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which snapshots somebody wants to see, in which order, from which cursor on.

    ``order`` names a field of `SnapshotInfo`, with a minus for the greatest first; ``""`` is
    the storage's own order.
    """

    prefix: str = ""
    view: str | None = None
    expired: bool = False
    order: str = ""
    cursor: str | None = None
    limit: int = 100

    @property
    def is_search(self) -> bool:
        """Tell a query that leaves out some snapshots of its state from one for all."""
        return bool(self.prefix) or self.view is not None

    def admits(self, info: SnapshotInfo) -> bool:
        """Say whether a snapshot has the prefix and the view that are wanted."""
        return info.socket_id.startswith(self.prefix) and self.view in (None, info.view)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Some live snapshots, as they come, and how many there are; an estimate unless exact.

    ``expired``: how many wait for a clean-up, where the storage keeps them until then.
    """

    items: list[SnapshotInfo]
    total: int
    expired: int = 0
    is_exact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All that is known of one socket; ``state`` is ``None`` where ``info.problem`` says why,
    or where only the marker of a revocation is left.
    """

    info: SnapshotInfo
    stored_bytes: int
    state: dict[str, Any] | None = field(default=None, repr=False)
    fence: int = 0
    floor: int = 0
    is_revoked: bool = False
