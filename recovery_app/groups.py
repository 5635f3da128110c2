"""Durable groups: messages to pages, each handled once and in order by every page in a group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation

from recovery_app._core.driver import Flow
from recovery_app._core.manager import RecoveryManager
from recovery_app._core.metadata import check_group
from recovery_app._core.telemetry import wrap_unexpected_errors
from recovery_app._live.group_reader import publish as publishing
from recovery_app._live.protocol import to_json
from recovery_app.exceptions import StorageError
from recovery_app.middleware import current_manager

__all__ = ["apositions", "apublish", "positions", "publish"]

_POSITIONS = wrap_unexpected_errors("group", expected=SynchronousOnlyOperation)


def publish(group: str, message: Mapping[str, Any]) -> None:
    """Publish a message to a durable group.

    ``message["type"]`` names the handler, as in Channels: ``"chat.message"`` calls
    ``chat_message``. The values must be JSON. With a `DatabaseStorage`, inside
    `transaction.atomic()` on its database, the message is published when the transaction commits.
    Raise `StorageUnavailable` if it may not have been published, and `TransactionConflict` if
    the transaction has to be run again.
    """
    manager = current_manager()
    manager.driver.run(publishing(manager.driver, group, _encode(manager, group, message)))


async def apublish(group: str, message: Mapping[str, Any]) -> None:
    """Async variant of `publish`, which takes part in no transaction."""
    manager = current_manager()
    await manager.driver.arun(publishing(manager.driver, group, _encode(manager, group, message)))


def positions(*groups: str) -> dict[str, str] | None:
    """Return the current ends of the groups' logs, for ``start_state(…, groups=…)``.

    Call it before you load the state. Return ``None`` if the storage can't be reached:
    ``start_state`` then stores nothing, and the page mounts.
    """
    manager = current_manager()
    try:
        with _POSITIONS:
            return manager.driver.run(_newest(groups))
    except StorageError:
        # The outage itself has a warning of its own.
        return None


async def apositions(*groups: str) -> dict[str, str] | None:
    """Async variant of `positions`."""
    manager = current_manager()
    try:
        with _POSITIONS:
            return await manager.driver.arun(_newest(groups))
    except StorageError:
        return None


def _newest(groups: tuple[str, ...]) -> Flow[dict[str, str]]:
    found: dict[str, str] = {}
    for group in groups:
        check_group(group)
        found[group] = yield "group", "newest_position", (group,), {}
    return found


def _encode(manager: RecoveryManager, group: str, message: Mapping[str, Any]) -> bytes:
    check_group(group)
    named = message.get("type") if isinstance(message, Mapping) else None
    if not named or not isinstance(named, str):
        raise ValueError('A message must be a dict with a "type", which names its handler.')
    data = to_json(message)
    if len(data) > manager.max_frame_bytes:
        raise ValueError(
            f"The message has {len(data)} bytes, over MAX_FRAME_BYTES ({manager.max_frame_bytes})."
        )
    return manager.operations.messages.seal(group, data)
