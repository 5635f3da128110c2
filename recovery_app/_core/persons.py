"""Persons: how they are named and distinguished, and the revocation of all their states.

A revoked person has a marker in the storage, like a revoked socket. Its fence is the time of the
revocation. Takeovers and touches read it; saves don't, because in a Redis Cluster it is on
another node than the snapshot.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from recovery_app._core.driver import Flow
from recovery_app.exceptions import RecoveryError, SnapshotError, TokenSuperseded
from recovery_app.snapshots import ANYONE, NOBODY, Header, revoked_marker

_LENGTH = struct.Struct(">I")
_NEVER = -1


class Person(NamedTuple):
    """The owner of a state. ``owner`` is the name for clients, ``digest`` the stored one.

    ``markers`` are the keys of the markers of a revocation: one for each secret.
    """

    owner: str = ""
    digest: bytes = NOBODY
    markers: Sequence[str] = ()


def combine(*parts: str | bytes) -> bytes:
    """Return an unambiguous encoding of a list of parts."""
    whole = b""
    for part in parts:
        # A path may contain what isn't UTF-8.
        encoded = part.encode(errors="surrogatepass") if isinstance(part, str) else part
        whole += _LENGTH.pack(len(encoded)) + encoded
    return whole


ANONYMOUS = combine("nobody")
"""The name of all people without a user, a visitor's cookie or a session."""


def name_user(pk: object) -> bytes:
    """Return the name of the user with this primary key."""
    return combine("user", str(pk))


def name_visitor(visitor: str) -> bytes:
    """Return the name of the visitor with this cookie."""
    return combine("visitor", visitor)


def marker_key(digest: bytes) -> str:
    """Return the key of the marker of a revoked person."""
    return f"person:{digest.hex()}"


def revoke_person(
    markers: Sequence[str], *, now_us: Callable[[], int], ttl_seconds: float
) -> Flow[None]:
    """Refuse every token that was issued to a person so far."""
    # Twice: a join that came while the first was being written found no marker, and its new
    # token is older than the second.
    for _ in range(2):
        date = now_us()
        marker = revoked_marker(Header(date, date, NOBODY, created_us=date, saved_us=date))
        for key in markers:
            yield "revocation", "save", (key, marker, ttl_seconds), {}


def markers_for(person: Person | None, digest: bytes, *, is_own: bool) -> set[str]:
    """Return the markers that forbid a takeover by ``person`` of a snapshot with this digest.

    ``is_own`` says that the token was issued to the person. A token that was somebody else's, or a
    visitor's, isn't affected by a later revocation of the person.
    """
    found: set[str] = set()
    if person is not None and (is_own or marker_key(digest) in person.markers):
        found.update(person.markers)
    if digest not in (NOBODY, ANYONE) and (person is None or digest != person.digest):
        found.add(marker_key(digest))
    return found


def check_person(markers: Iterable[str], since_us: int, socket_hash: str) -> Flow[None]:
    """Raise `TokenSuperseded` if the person of a socket was revoked at ``since_us`` or later."""
    for key in markers:
        try:
            data = yield "load", "load", (key,), {}
        except RecoveryError as error:
            # It isn't the person that a log should name.
            error.socket_hash = socket_hash
            raise
        if _revoked_us(data) >= since_us:
            raise TokenSuperseded(revoked=True, socket_hash=socket_hash)


def _revoked_us(data: bytes | None) -> int:
    try:
        return _NEVER if data is None else Header.read(data).fence
    except SnapshotError:
        return _NEVER
