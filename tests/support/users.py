"""Snapshots of users, as a page of theirs saves them."""

from __future__ import annotations

from typing import Any

from recovery_app import RecoveryManager
from recovery_app._core.metadata import SnapshotMetadata
from recovery_app._core.persons import name_user


def save_for(
    manager: RecoveryManager,
    user: Any,
    socket_id: str,
    *,
    view: str = "",
    topic: str = "",
    state: bytes = b"{}",
) -> str:
    """Save a snapshot of a user or of a session (``bytes``), and return its token."""
    name = user if isinstance(user, bytes) else name_user(user.pk)
    person = manager.operations.person(name, None if isinstance(user, bytes) else name)
    grant = manager.operations.create(socket_id, b"")
    metadata = SnapshotMetadata(view=view, topic=topic, person=person.digest)
    flow = manager.operations.save_payload(grant, state, socket_id=socket_id, metadata=metadata)
    manager.driver.run(flow)
    return grant.token
