"""Copying a state that a newer connection has taken over, for pages with an older token."""

from __future__ import annotations

from recovery_app._core.driver import Flow
from recovery_app._core.operations import Operations
from recovery_app._core.tokens import Grant
from recovery_app.exceptions import (
    InvalidSignature,
    RecoveryError,
    SnapshotNotFound,
    TokenSuperseded,
    VersionMismatch,
)
from recovery_app.fencing import check_fence_date
from recovery_app.snapshots import Snapshot
from recovery_app.values import Takeover


def copy_state(
    operations: Operations, grant: Grant, target: Grant, newest_version: int | None, socket_id: str
) -> Flow[tuple[Takeover, Grant, bytes]]:
    """Read the state of a superseded token, without changing anything.

    Return it with a token for ``socket_id``, bound as ``target``, and the digest of the person.
    The snapshot may be bound as either.
    """
    data: bytes | None = yield "load", "load", (grant.key,), {}
    if data is None:
        raise SnapshotNotFound(socket_hash=grant.key)
    try:
        snapshot = Snapshot.from_bytes(data)
        _check(snapshot, newest_version, operations.now_us())
        binding = _binding_of(snapshot, operations, (grant, target))
        state = operations.read_state(snapshot, grant.key, data, binding)
    except RecoveryError as error:
        error.socket_hash = grant.key
        raise
    following = operations.create(socket_id, target.binding)
    takeover = Takeover(
        state=state,
        socket_id=socket_id,
        token=following.token,
        applied_seq=snapshot.header.applied_seq,
        version=snapshot.header.version,
        view=snapshot.view,
        topic=snapshot.topic,
        issued_us=following.issued_us,
        shown_us=0,
        payload=snapshot.state if snapshot.serializer == operations.codec.name else None,
        replies=snapshot.replies,
    )
    return takeover, following, snapshot.person


def _binding_of(snapshot: Snapshot, operations: Operations, grants: tuple[Grant, ...]) -> bytes:
    for grant in grants:
        if operations.adopt_digest(grant, snapshot.header.binding):
            return grant.binding
    raise InvalidSignature


def _check(snapshot: Snapshot, newest_version: int | None, now_us: int) -> None:
    header = snapshot.header
    check_fence_date(header, now_us)
    if header.revoked:
        raise TokenSuperseded(revoked=True)
    if newest_version is not None and header.version > newest_version:
        raise VersionMismatch(stored=header.version, supported=newest_version)
