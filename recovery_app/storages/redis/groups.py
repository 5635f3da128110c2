"""The durable groups of a `RedisStorage`: a stream for each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from recovery_app.exceptions import StorageError
from recovery_app.storages.group_listing import MAX_BEHIND, GroupListing
from recovery_app.storages.messages import MessageLogs, Messages
from recovery_app.storages.redis import group_listing
from recovery_app.storages.redis.loop_clients import LoopClients
from recovery_app.storages.redis.messages import StreamEntry, StreamRequests, messages_of
from recovery_app.storages.redis.scanning import Cursor
from recovery_app.storages.redis.sync_client import SyncClient
from recovery_app.storages.redis.watching import StreamWatch
from recovery_app.values import GroupInfo, GroupPage, LoggedMessage


class RedisGroups(MessageLogs, GroupListing):
    """The calls for durable groups, on the clients of a `RedisStorage`."""

    supports_groups = True
    supports_group_listing = True

    prefix: str
    _async: LoopClients
    _streams: StreamRequests
    if TYPE_CHECKING:

        @property
        def _sync(self) -> SyncClient: ...

    def append_message(self, group: str, data: bytes, published: Callable[[], None]) -> None:
        self._sync.send(self._streams.append(group, data))
        if self._streams.is_expire_due(group):
            self._keep_stream(group)
        published()

    async def aappend_message(self, group: str, data: bytes, published: Callable[[], None]) -> None:
        await self._async.send(self._streams.append(group, data))
        if self._streams.is_expire_due(group):
            await self._akeep_stream(group)
        published()

    def newest_position(self, group: str) -> str:
        found = self._sync.send(self._streams.newest(group))
        if found:
            return found[0].position
        position = self._sync.send(self._streams.begin(group))
        self._keep_stream(group)
        return position

    async def anewest_position(self, group: str) -> str:
        found = await self._async.send(self._streams.newest(group))
        if found:
            return found[0].position
        position = await self._async.send(self._streams.begin(group))
        await self._akeep_stream(group)
        return position

    def _keep_stream(self, group: str) -> None:
        # What is there isn't published again because this has failed.
        with suppress(StorageError):
            self._sync.send(self._streams.expire(group))
            self._streams.note_expire(group)

    async def _akeep_stream(self, group: str) -> None:
        with suppress(StorageError):
            await self._async.send(self._streams.expire(group))
            self._streams.note_expire(group)

    def read_messages(self, group: str, after: str, limit: int) -> Messages:
        found = self._sync.send(self._streams.read(group, after, limit))
        return messages_of(found, after, limit)

    async def aread_messages(self, group: str, after: str, limit: int) -> Messages:
        found = await self._async.send(self._streams.read(group, after, limit))
        return messages_of(found, after, limit)

    def watch_messages(self) -> StreamWatch:
        return StreamWatch(self, self._async, self._streams)

    # For operators.

    def list_groups(self, *, prefix: str, cursor: str | None, limit: int) -> GroupPage:
        """Return a page in the order of SCAN; it may be short and still not the last."""
        keys, start = group_listing.stream_keys(self.prefix), Cursor.parse(cursor)
        flow = partial(
            group_listing.list_groups, keys=keys, prefix=prefix, start=start, limit=limit
        )
        return self._sync.run(flow, "listing")

    def describe_group(self, group: str) -> GroupInfo | None:
        length = self._sync.send(self._streams.length(group))
        first = self._sync.send(self._streams.first(group, 2))
        last = self._sync.send(self._streams.last(group, 1))
        return group_listing.describe(group, length, first, last)

    def last_messages(self, group: str, limit: int) -> list[LoggedMessage]:
        found: list[StreamEntry] = self._sync.send(self._streams.last(group, limit))
        return group_listing.logged(found)

    def count_behind(self, group: str, position: str) -> int | None:
        entries: list[StreamEntry] = self._sync.send(
            self._streams.first(group, MAX_BEHIND + 1, position)
        )
        found = messages_of(entries, position, MAX_BEHIND)
        return sum(bool(data) for _, data in found.items) if found.is_complete else None

    def delete_group(self, group: str) -> bool:
        return self._sync.send(self._streams.delete(group)) > 0
