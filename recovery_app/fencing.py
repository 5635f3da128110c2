"""The rules of fence and floor, as plain functions over stored bytes.

Each function takes the stored bytes (``None`` if there are none) and returns a decision. A
storage makes loading and writing atomic by a lock, a conditional ``UPDATE`` or a script. Every
storage has to decide as these functions do, which the contract tests check.

The fence is the lowest token timestamp that may save or touch; the floor is the lowest that
may take over. A takeover raises only the fence, so that a client that never received the new
token can use the old one again. The floor follows with the first save after the client has
shown that it has the new token (see ``docs/tokens.md``).

A fence or floor that is dated more than a day ahead was written with a wrong clock, or by
somebody else. Such a snapshot counts as unreadable, because its fence would never pass.
"""

from __future__ import annotations

import contextlib
import enum
import time
from dataclasses import dataclass, replace

from recovery_app.clock import MAX_AHEAD_US, to_us
from recovery_app.exceptions import SnapshotCorrupt, VersionMismatch
from recovery_app.snapshots import (
    Header,
    read_fencing,
    revoked_marker,
)


class Verdict(enum.Enum):
    """The outcome of an attempt to change what is stored."""

    DONE = "done"
    NOT_FOUND = "absent"
    FENCED = "fenced"
    REVOKED = "revoked"
    BINDING_MISMATCH = "foreign"
    """The stored snapshot is bound to another consumer, view or person."""
    VERSION_TOO_NEW = "newer"
    """A newer version of the application saved the state."""
    UNREADABLE = "unreadable"
    """The bytes can't be read by this version, so they are left as they are."""

    # The names in version 0.1, for storages written for it.
    ABSENT = "absent"
    FOREIGN = "foreign"
    NEWER = "newer"


@dataclass(slots=True)
class Claim:
    """The timestamp of a token in microseconds, and the digest of its binding (16 bytes)."""

    issued_us: int
    binding: bytes


@dataclass(slots=True)
class Decision:
    """A verdict, and the bytes that are stored from now on, if they are known."""

    verdict: Verdict
    data: bytes | None = None


def decide_save(stored: bytes | None, data: bytes, *, now_us: int | None = None) -> Decision:
    """Return whether a snapshot may be stored; its fence is the timestamp of its token.

    ``now_us`` is the time in microseconds since 1970, by default that of this machine.
    """
    if stored is None:
        return Decision(Verdict.DONE, data)
    new, old = read_fencing(data), read_fencing(stored)
    if new is None:
        Header.read(data)
    if new is None or old is None:
        return Decision(Verdict.UNREADABLE, stored)
    issued_us, floor, binding = new
    old_fence, old_floor, old_binding = old
    latest_us = latest_date(now_us)
    if old_fence > latest_us or old_floor > latest_us:
        return Decision(Verdict.UNREADABLE, stored)
    if binding != old_binding:
        return Decision(Verdict.BINDING_MISMATCH, stored)
    if issued_us < old_fence:
        verdict = Verdict.REVOKED if Header.read(stored).revoked else Verdict.FENCED
        return Decision(verdict, stored)
    # Floor and time of creation are kept; `recovery_app.snapshots` has their offsets.
    kept_floor = data[16:24] if floor >= old_floor else stored[16:24]
    merged = b"".join((data[:16], kept_floor, data[24:32], stored[32:40], data[40:]))
    return Decision(Verdict.DONE, merged)


def decide_touch(stored: bytes | None, claim: Claim, *, now_us: int | None = None) -> Decision:
    """Return whether the TTL of the snapshot may restart; ``now_us`` as in `decide_save`."""
    old = _read_allowed(stored, claim, now_us)
    if isinstance(old, Verdict):
        return Decision(verdict=old, data=stored)
    return Decision(verdict=Verdict.NOT_FOUND if old.revoked else Verdict.DONE, data=stored)


def decide_takeover(
    stored: bytes | None, claim: Claim, *, now_us: int, newest_version: int | None
) -> Decision:
    """Return whether a new connection may take over, and the bytes with the raised fence."""
    old = _read_allowed(stored, claim, now_us, by_floor=True)
    if isinstance(old, Verdict):
        return Decision(verdict=old, data=stored)
    if old.revoked:
        return Decision(verdict=Verdict.NOT_FOUND)
    if newest_version is not None and old.version > newest_version:
        return Decision(verdict=Verdict.VERSION_TOO_NEW, data=stored)
    raised = replace(old, fence=raise_fence(old, claim, now_us))
    return Decision(verdict=Verdict.DONE, data=raised.put_on(stored or b""))


def decide_renewal(stored: bytes | None, claim: Claim, *, now_us: int, binding: bytes) -> Decision:
    """Return whether a connection may get a newer token, and the bytes with the new binding."""
    old = _read_allowed(stored, claim, now_us)
    if isinstance(old, Verdict):
        return Decision(verdict=old, data=stored)
    if old.revoked:
        return Decision(verdict=Verdict.NOT_FOUND)
    raised = replace(old, fence=raise_fence(old, claim, now_us), binding=binding)
    return Decision(verdict=Verdict.DONE, data=raised.put_on(stored or b""))


def decide_revocation(stored: bytes | None, claim: Claim, *, now_us: int) -> Decision:
    """Return the marker that refuses every token issued so far, or the reason for refusing."""
    old = Header(fence=0, floor=0, binding=claim.binding)
    if stored is not None:
        # An unreadable snapshot may be revoked all the same.
        with contextlib.suppress(SnapshotCorrupt, VersionMismatch):
            old = _read_dated(stored, now_us)
    if old.binding != claim.binding:
        return Decision(verdict=Verdict.BINDING_MISMATCH)
    fence = raise_fence(old, claim, now_us)
    marker = replace(old, fence=fence, floor=fence, created_us=now_us, saved_us=now_us)
    return Decision(verdict=Verdict.DONE, data=revoked_marker(marker))


def raise_fence(old: Header, claim: Claim, now_us: int) -> int:
    """Return a fence above all earlier ones, even if the nodes' clocks differ.

    The part of a token's date that is more than a day ahead doesn't count.
    """
    return max(now_us, old.fence + 1, min(claim.issued_us, latest_date(now_us)) + 1)


def latest_date(now_us: int | None = None) -> int:
    """Return the latest date that a token or a fence may have, in microseconds."""
    return (to_us(time.time()) if now_us is None else now_us) + MAX_AHEAD_US


def check_fence_date(header: Header, now_us: int | None = None) -> None:
    """Raise `SnapshotCorrupt` for a fence or floor that is dated more than a day ahead."""
    if max(header.fence, header.floor) > latest_date(now_us):
        raise SnapshotCorrupt("it is dated more than a day ahead")


def refuse(header: Header, claim: Claim, *, by_floor: bool = False) -> Verdict | None:
    """Return why a stored header refuses a claim, or ``None`` if it doesn't."""
    if header.binding != claim.binding:
        return Verdict.BINDING_MISMATCH
    if claim.issued_us >= (header.floor if by_floor else header.fence):
        return None
    if header.revoked:
        return Verdict.NOT_FOUND if by_floor else Verdict.REVOKED
    return Verdict.FENCED


def _read_allowed(
    stored: bytes | None, claim: Claim, now_us: int | None, *, by_floor: bool = False
) -> Header | Verdict:
    if stored is None:
        return Verdict.NOT_FOUND
    try:
        header = _read_dated(stored, now_us)
    except (SnapshotCorrupt, VersionMismatch):
        return Verdict.UNREADABLE
    return refuse(header, claim, by_floor=by_floor) or header


def _read_dated(stored: bytes, now_us: int | None) -> Header:
    header = Header.read(stored)
    check_fence_date(header, now_us)
    return header
