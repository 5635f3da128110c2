"""Own the values that the manager gives out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """What a new connection continues with.

    ``token`` takes the place of the one that was shown. ``payload`` is the state as it is
    stored, or ``None`` where another serializer than the manager's wrote it; ``issued_us``
    and ``shown_us`` are the timestamps of the new and the shown token.
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
    """Some snapshots, and the cursor of the next page (``None`` after the last)."""

    items: list[SnapshotInfo]
    next_cursor: str | None = None
