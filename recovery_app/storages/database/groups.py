"""The durable groups of a `DatabaseStorage`: a row for each, and one for each message."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from recovery_app.clock import Clock, to_us
from recovery_app.storages.database import group_listing
from recovery_app.storages.database.errors import ATTEMPTS, run_again, translated_errors
from recovery_app.storages.database.listening import ListeningWatch, can_listen
from recovery_app.storages.database.messages import DatabaseMessages
from recovery_app.storages.group_listing import GroupListing
from recovery_app.storages.messages import MessageLogs, Messages, MessageWatch
from recovery_app.values import GroupInfo, GroupPage, LoggedMessage


class DatabaseGroups(MessageLogs, GroupListing):
    """The calls for durable groups, in the database of a `DatabaseStorage`."""

    supports_groups = True
    supports_group_listing = True

    database: str
    clock: Clock
    _listen_on: str | None
    _messages: DatabaseMessages

    def append_message(self, group: str, data: bytes, published: Callable[[], None]) -> None:
        """Publish a message, in the caller's transaction if there is one."""
        with self._errors("publish"):
            attempts = 1 if self._messages.is_in_transaction else ATTEMPTS
            append = partial(self._messages.append, group, data, self._now_us(), published)
            run_again(append, attempts, self._name)

    def newest_position(self, group: str) -> str:
        with self._errors("group"):
            return self._messages.newest(group, self._now_us())

    def changed_groups(self, positions: dict[str, str]) -> list[str]:
        with self._errors("group"):
            return self._messages.changed(positions, self._now_us())

    async def achanged_groups(self, positions: dict[str, str]) -> list[str]:
        return await self.run(partial(self.changed_groups, positions))

    def watch_messages(self) -> MessageWatch:
        """Return a watch that waits for notifications if PostgreSQL sends them, and else polls."""
        alias = self._listen_on
        listens = alias is not None and can_listen(self.database) and can_listen(alias)
        return ListeningWatch(self, alias) if alias and listens else MessageWatch(self)

    def read_messages(self, group: str, after: str, limit: int) -> Messages:
        with self._errors("group"):
            return self._messages.read(group, after, limit)

    def list_groups(self, *, prefix: str, cursor: str | None, limit: int) -> GroupPage:
        """Return a page in the order of the names."""
        with self._errors("listing"):
            return group_listing.list_groups(
                *self._messages.tables, prefix=prefix, cursor=cursor, limit=limit
            )

    def describe_group(self, group: str) -> GroupInfo | None:
        with self._errors("listing"):
            return group_listing.describe(*self._messages.tables, group)

    def last_messages(self, group: str, limit: int) -> list[LoggedMessage]:
        with self._errors("listing"):
            return group_listing.last_messages(*self._messages.tables, group, limit)

    def count_behind(self, group: str, position: str) -> int | None:
        with self._errors("listing"):
            return group_listing.count_behind(*self._messages.tables, group, position)

    def delete_group(self, group: str) -> bool:
        with self._errors("group"):
            return group_listing.delete(*self._messages.tables, group)

    # What the calls of the storage share.

    def _now_us(self) -> int:
        return to_us(self.clock())

    def _errors(self, operation: str) -> AbstractContextManager[None]:
        return translated_errors(self._name, operation, self.database)

    @property
    def _name(self) -> str:
        return f"DatabaseStorage on {self.database!r}"
