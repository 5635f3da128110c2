"""The values that the manager returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(slots=True, kw_only=True)
class Takeover:
    """The state that a new connection continues with, and its new token.

    ``token`` replaces the one that the client sent. ``payload`` is the state as it is stored,
    or ``None`` if a serializer other than the manager's wrote it. ``replies`` are the stored
    replies to the last events. ``issued_us`` and ``shown_us`` are the timestamps of the new token
    and of the client's token in microseconds since 1970; ``saved_us`` is when the state was saved.
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
    saved_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotInfo:
    """The metadata of one snapshot; if it can't be read, ``problem`` says why."""

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
    person: str = ""
    """The digest of the person, 32 hexadecimal characters; ``""`` if no person is known."""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of snapshots, and the cursor of the next page (``None`` after the last).

    ``looked_at`` is the number of snapshots that a search read to find these; 0 without a search.
    """

    items: list[SnapshotInfo]
    next_cursor: str | None = None
    looked_at: int = 0


# For the admin.


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query for snapshots, with their order and the cursor to start after.

    ``order`` is a field of `SnapshotInfo`, with a leading minus for descending order; ``""`` is
    the storage's own order. ``persons`` are digests as in `SnapshotInfo`; ``()`` means everybody.
    """

    prefix: str = ""
    view: str | None = None
    persons: tuple[str, ...] = ()
    expired: bool = False
    order: str = ""
    cursor: str | None = None
    limit: int = 100

    @property
    def is_search(self) -> bool:
        """Return whether the query selects by prefix, view or person."""
        return bool(self.prefix or self.persons) or self.view is not None

    def admits(self, info: SnapshotInfo) -> bool:
        """Return whether a snapshot has the prefix, the view and a person of the query."""
        if self.persons and info.person not in self.persons:
            return False
        return info.socket_id.startswith(self.prefix) and self.view in (None, info.view)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Some live snapshots, and the total number, which is an estimate unless ``is_exact``.

    ``expired`` is the number of snapshots that wait for a clean-up, if the storage keeps them.
    """

    items: list[SnapshotInfo]
    total: int
    expired: int = 0
    is_exact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Everything that is stored for one socket.

    ``state`` is ``None`` for the marker of a revocation, or if ``info.problem`` says why it can't
    be read.
    """

    info: SnapshotInfo
    stored_bytes: int
    state: dict[str, Any] | None = field(default=None, repr=False)
    fence: int = 0
    floor: int = 0
    is_revoked: bool = False


# The journal of what was lost.


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One entry of the journal: an incident that cost a page its state or an event.

    ``kind`` is ``recovery`` (a state wasn't recovered), ``event`` (a handler failed), ``unsaved``
    (a connection ended before its last state was saved), ``fork`` (two pages continue from one
    state), ``revocation``, or ``journal`` (entries are missing). ``reason`` is one word; ``part``
    is the part of a rejected token that didn't match; ``cause`` has details, such as the type of
    an error. An incident never contains a token, a state or a binding.
    """

    uid: str
    """16 hexadecimal characters, different for each."""
    at_us: int
    """When it happened, in microseconds since 1970."""
    kind: str
    reason: str
    part: str = ""
    cause: str = ""
    handling: str = ""
    """The event or the handler that failed."""
    person: str = ""
    """The digest of the person, as in `SnapshotInfo`."""
    user: str = ""
    """The primary key of the user, only with ``recovery_log_user``."""
    view: str = ""
    topic: str = ""
    shown_hash: str = ""
    """The hash of the socket whose token the page sent, or whose state it continued."""
    socket_hash: str = ""
    """The hash of the socket that the page has now."""
    node: str = ""
    process: int = 0
    token_seconds: float | None = None
    """The age in seconds of the token that the page sent."""
    left_out: int = 0
    """How many similar incidents weren't recorded since the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentQuery:
    """A query for incidents, the newest first; empty fields match everything.

    ``since_us`` is inclusive, ``until_us`` is exclusive. An incident belongs to a person if it
    has one of the digests in ``persons``, or ``user`` as the primary key.
    """

    since_us: int = 0
    until_us: int | None = None
    persons: tuple[str, ...] = ()
    user: str = ""
    kind: str = ""
    reason: str = ""
    view: str = ""
    cursor: str | None = None
    limit: int = 100

    def admits(self, incident: Incident) -> bool:
        """Return whether the query matches an incident."""
        if not (self.since_us <= incident.at_us) or self.kind not in ("", incident.kind):
            return False
        if self.until_us is not None and incident.at_us >= self.until_us:
            return False
        if self.reason not in ("", incident.reason) or self.view not in ("", incident.view):
            return False
        if not self.persons and not self.user:
            return True
        return incident.person in self.persons or bool(self.user and self.user == incident.user)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentPage:
    """Some incidents, and the cursor of the next page (``None`` after the last)."""

    items: list[Incident]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLimits:
    """How many incidents a journal keeps, and for how long."""

    max_entries: int
    max_age_seconds: float
    oldest_us: int
    """The time before which an incident is too old."""


# Durable groups.


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupInfo:
    """What is known of a durable group; times are ``None`` if its log has no message."""

    name: str
    newest: str
    """The position of the newest message."""
    length: int = 0
    """The approximate number of messages in its log."""
    oldest_us: int | None = None
    newest_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPage:
    """A page of durable groups; pass ``next_cursor`` to get the following page."""

    items: list[GroupInfo]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """A message in the log of a durable group, as it is stored."""

    position: str
    data: bytes = field(repr=False)
    published_us: int


# Live pages.


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePage:
    """A page that is open: a topic that is joined, in microseconds since 1970 since when."""

    socket_hash: str
    """Empty as long as the page has no snapshot."""
    person: str
    """The digest of the person, as in `SnapshotInfo`."""
    user: str
    """The primary key of the user, only if the consumer has it logged."""
    view: str
    topic: str
    since_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReport:
    """What a process said last of its pages; times are in microseconds since 1970."""

    uid: str
    at_us: int
    started_us: int
    node: str
    process: int
    has_ended: bool = False
    """Whether the process has said that this is its last report."""
    connections: int = 0
    topics: int = 0
    pages: tuple[LivePage, ...] = ()
    """The pages, the newest first; there may be fewer of them than ``topics``."""
    joins: dict[int, dict[str, int]] = field(default_factory=dict)
    """How many joins had each outcome, by the minute since 1970, in the last hour."""
