"""Durable groups while a site moves: their logs are in the new storage from the start."""

from __future__ import annotations

from collections.abc import Callable

from recovery_app.storages.base import Storage
from recovery_app.storages.group_listing import GroupListing
from recovery_app.storages.messages import MessageLogs, Messages, MessageWatch
from recovery_app.values import GroupInfo, GroupPage, LoggedMessage


class NewMessageLogs(MessageLogs, GroupListing):
    """The logs of the storage ``new``.

    It knows no position of the old one, so ``missed_messages`` is called for a page that moves.
    """

    new: Storage

    def append_message(self, group: str, data: bytes, published: Callable[[], None]) -> None:
        self.new.append_message(group, data, published)

    async def aappend_message(self, group: str, data: bytes, published: Callable[[], None]) -> None:
        await self.new.aappend_message(group, data, published)

    def newest_position(self, group: str) -> str:
        return self.new.newest_position(group)

    async def anewest_position(self, group: str) -> str:
        return await self.new.anewest_position(group)

    def read_messages(self, group: str, after: str, limit: int) -> Messages:
        return self.new.read_messages(group, after, limit)

    async def aread_messages(self, group: str, after: str, limit: int) -> Messages:
        return await self.new.aread_messages(group, after, limit)

    def changed_groups(self, positions: dict[str, str]) -> list[str]:
        return self.new.changed_groups(positions)

    async def achanged_groups(self, positions: dict[str, str]) -> list[str]:
        return await self.new.achanged_groups(positions)

    def watch_messages(self) -> MessageWatch:
        return self.new.watch_messages()

    def list_groups(self, *, prefix: str, cursor: str | None, limit: int) -> GroupPage:
        return self.new.list_groups(prefix=prefix, cursor=cursor, limit=limit)

    def describe_group(self, group: str) -> GroupInfo | None:
        return self.new.describe_group(group)

    def last_messages(self, group: str, limit: int) -> list[LoggedMessage]:
        return self.new.last_messages(group, limit)

    def count_behind(self, group: str, position: str) -> int | None:
        return self.new.count_behind(group, position)

    def delete_group(self, group: str) -> bool:
        return self.new.delete_group(group)
