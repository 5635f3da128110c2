"""Durable groups: messages to pages, each handled once and in order by every page in a group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recovery_app._core.metadata import check_name
from recovery_app._live.group_reader import publish as publishing
from recovery_app._live.protocol import to_json
from recovery_app.middleware import current_manager

__all__ = ["apublish", "publish"]


def publish(group: str, message: Mapping[str, Any]) -> None:
    """Publish a message to a durable group.

    ``message["type"]`` names the handler, as Channels' routing has it: ``"chat.message"`` calls
    ``chat_message``. The values are what JSON holds. With a `DatabaseStorage`, inside
    `transaction.atomic()` on its database, it is published when that commits. Raise
    `StorageUnavailable` if it may not have been published.
    """
    manager = current_manager()
    manager.driver.run(publishing(manager.driver, group, _encode(group, message)))


async def apublish(group: str, message: Mapping[str, Any]) -> None:
    """Async variant of `publish`, which is part of no transaction."""
    manager = current_manager()
    await manager.driver.arun(publishing(manager.driver, group, _encode(group, message)))


def _encode(group: str, message: Mapping[str, Any]) -> bytes:
    check_name("group", group)
    if not isinstance(message.get("type"), str):
        raise ValueError('A message has a "type", the name of its handler.')
    data = to_json(message)
    limit = current_manager().max_frame_bytes
    if len(data) > limit:
        raise ValueError(f"A message of {len(data)} bytes is over MAX_FRAME_BYTES, {limit}.")
    return data
