"""The outcomes of joins."""

from __future__ import annotations

import enum

from recovery_app.exceptions import (
    RecoveryError,
    SnapshotCorrupt,
    SnapshotNotFound,
    StorageError,
    TokenError,
    TokenExpired,
    TokenSuperseded,
)


class Outcome(str, enum.Enum):
    """The outcome of a join, as it is sent to the client."""

    NEW = "new"
    RECOVERED = "recovered"
    COPIED = "copied"
    EXPIRED = "expired"
    NOT_FOUND = "not_found"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    VERSION = "version"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"

    @property
    def preserves_client_token(self) -> bool:
        """Whether the client's own token may still be valid after this outcome."""
        return self in (Outcome.VERSION, Outcome.FAILED, Outcome.UNAVAILABLE)


class RestoreFailed(SnapshotCorrupt):
    """The application's own code raised while it restored a state, which is kept.

    ``cause`` says what it raised.
    """

    def __init__(self, cause: str = "") -> None:
        super().__init__("the application couldn't restore it")
        self.cause = cause


def outcome_of(error: RecoveryError) -> Outcome:
    """Return the outcome that tells a client why its state wasn't recovered."""
    if isinstance(error, TokenSuperseded) and error.revoked:
        return Outcome.REJECTED
    for kind, outcome in _OUTCOMES:
        if isinstance(error, kind):
            return outcome
    return Outcome.VERSION


_OUTCOMES: tuple[tuple[type[RecoveryError], Outcome], ...] = (
    (TokenExpired, Outcome.EXPIRED),
    (TokenSuperseded, Outcome.SUPERSEDED),
    (TokenError, Outcome.REJECTED),
    (SnapshotNotFound, Outcome.NOT_FOUND),
    (StorageError, Outcome.UNAVAILABLE),
    (RestoreFailed, Outcome.FAILED),
)
