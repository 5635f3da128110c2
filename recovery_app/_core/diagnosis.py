"""The reason why a token was rejected, for the log only: the client isn't told."""

from __future__ import annotations

from recovery_app._core.driver import Flow
from recovery_app._core.persons import Person, marker_key
from recovery_app._core.tokens import key_of
from recovery_app.exceptions import RecoveryError, TokenError
from recovery_app.snapshots import UNSEALED, Head, Snapshot, digest_binding

UNKNOWN = "unknown"


def failed_part(token: object, *, binding: bytes, view: str, person: Person) -> Flow[str]:
    """Return which part of a rejected token didn't match: a word of ``docs/monitoring.md``.

    The snapshot that the token names is compared with the page that sent the token. This proves
    nothing, because the signature is wrong.
    """
    try:
        key = key_of(token)  # type: ignore[arg-type]
    except TokenError:
        return "token"
    del token
    data: bytes | None = yield "load", "load", (key,), {}
    try:
        # Without a snapshot it may be anything.
        return "token" if data is None else _part_of(data, binding, view, person)
    except RecoveryError:
        return UNKNOWN


def _part_of(data: bytes, binding: bytes, view: str, person: Person) -> str:
    head = Head.read(data, len(data))
    if head.header.revoked:
        return "revoked"
    if head.header.binding == digest_binding(binding):
        return "secret"
    if head.view != view:
        return "view"
    if head.person != person.digest and marker_key(head.person) not in person.markers:
        # Digests of persons depend on the secret. With a seal, so does that of the binding.
        is_sealed = Snapshot.from_bytes(data).seal != UNSEALED
        return "person or secret" if is_sealed else "person"
    return "address"
