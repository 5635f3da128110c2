"""Waiting for messages in Redis: by notifications, or by polling if the servers don't send them."""

from __future__ import annotations

import asyncio

from recovery_app.storages.messages import MessageLogs, MessageWatch
from recovery_app.storages.redis.loop_clients import LoopClients
from recovery_app.storages.redis.messages import StreamRequests
from recovery_app.storages.redis.tracking import Tracking

CHECK_SECONDS = 3.0
"""How long a silent connection is trusted."""
READ_SECONDS = 15.0
"""How often everything is read although no server reports a change."""


class StreamWatch(MessageWatch):
    """Waits for changes of groups that were read."""

    def __init__(self, logs: MessageLogs, clients: LoopClients, streams: StreamRequests) -> None:
        super().__init__(logs)
        self._clients = clients
        self._streams = streams
        self._tracking: Tracking | None = None
        self._read_again_at = 0.0

    def note_published(self, group: str) -> None:
        """Note a message of this process, unless the server will report it."""
        if self._is_polling:
            super().note_published(group)

    async def wait(self) -> list[str]:
        """Return groups that have changed, as soon as a server reports it."""
        if self._tracking is None:
            self._tracking = (await self._clients.current()).tracking
            self._tracking.listen(self._note_changed)
            self._read_again_at = asyncio.get_running_loop().time() + READ_SECONDS
        while not self._noted:
            if self._is_polling:
                return await super().wait()
            await self._listen(self._tracking)
        return self.take_noted()

    async def close(self) -> None:
        """Stop tracking what was read for this watch."""
        if self._tracking is not None:
            await self._tracking.leave(self._note_changed)

    @property
    def _is_polling(self) -> bool:
        return self._tracking is None or self._tracking.is_refused

    async def _listen(self, tracking: Tracking) -> None:
        await self.rest(CHECK_SECONDS)
        if self._noted:
            return
        await tracking.check()
        now = asyncio.get_running_loop().time()
        if now >= self._read_again_at:
            self._read_again_at = now + READ_SECONDS
            self._note_changed(None)

    def _note_changed(self, keys: list[bytes] | None) -> None:
        changed = self.groups if keys is None else map(self._streams.group_of, keys)
        for group in changed:
            if group in self.groups:
                self.note(group)
