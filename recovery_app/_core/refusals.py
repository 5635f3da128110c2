"""The errors that explain why a storage refused a step, or why a token is too old."""

from __future__ import annotations

from recovery_app._core.tokens import Grant
from recovery_app.clock import MICROSECONDS
from recovery_app.exceptions import (
    InvalidSignature,
    RecoveryError,
    SnapshotCorrupt,
    SnapshotNotFound,
    TokenError,
    TokenExpired,
    TokenSuperseded,
    VersionMismatch,
)
from recovery_app.fencing import Verdict
from recovery_app.snapshots import Header


def refusal(
    grant: Grant,
    verdict: Verdict,
    *,
    now: float,
    ttl: float,
    data: bytes | None,
    newest: int | None,
) -> RecoveryError:
    """Return the error for a verdict other than ``DONE``.

    ``data`` are the stored bytes if the storage returned them; ``newest`` is the newest version of
    the state that was asked for.
    """
    key = grant.key
    if verdict is Verdict.NOT_FOUND:
        # A token that has outlived every snapshot is told from one whose snapshot is gone.
        age = now - grant.issued_us / MICROSECONDS
        return expired(grant, now, ttl) if age > ttl else SnapshotNotFound(socket_hash=key)
    if verdict is Verdict.BINDING_MISMATCH:
        return InvalidSignature(socket_hash=key)
    if verdict is Verdict.VERSION_TOO_NEW and data is not None and newest is not None:
        stored = Header.read(data).version
        return VersionMismatch(stored=stored, supported=newest, socket_hash=key)
    if verdict is Verdict.UNREADABLE:
        return _unreadable(data, key)
    return TokenSuperseded(revoked=verdict is Verdict.REVOKED, socket_hash=key)


def expired(grant: Grant, now: float, limit: float) -> TokenExpired:
    """Return the error for a token that is older than ``limit`` seconds."""
    age = now - grant.issued_us / MICROSECONDS
    return TokenExpired(age_seconds=age, limit_seconds=limit, socket_hash=grant.key)


def check_date(grant: Grant, now: float, limit: float) -> None:
    """Raise the error of `misdated` unless a token may be used now."""
    if not grant.starts_at <= now <= grant.expires_at:
        raise misdated(grant, now, limit)


def misdated(grant: Grant, now: float, limit: float) -> TokenError:
    """Return the error for a token that is too old, or dated more than a day ahead."""
    if now > grant.expires_at:
        return expired(grant, now, limit)
    ahead = grant.issued_us / MICROSECONDS - now
    return TokenError(
        f"The token is dated {ahead:.0f} s ahead of this machine's clock, more than a day.",
        socket_hash=grant.key,
    )


def _unreadable(data: bytes | None, key: str) -> RecoveryError:
    try:
        if data is not None:
            Header.read(data)
    except RecoveryError as error:
        error.socket_hash = key
        return error
    return SnapshotCorrupt("its header can't be read here", socket_hash=key)
