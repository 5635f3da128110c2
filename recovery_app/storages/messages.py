"""The logs of durable groups: messages in the order of publication, kept for a limited time.

A position in a log is a text in the storage's own format. A page's position is stored with its
state, so it may be older than the oldest message in the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ClassVar, NamedTuple, TypeVar

Result = TypeVar("Result")
MAX_MESSAGES = 10_000
"""How many messages a group keeps; a storage may keep some more."""
MESSAGE_SECONDS = 24 * 60 * 60
"""Roughly how long a message is kept."""


class Messages(NamedTuple):
    """Some messages of a group, in order, each with its position.

    An entry of a log that isn't a message has no bytes, and is skipped.
    """

    items: list[tuple[str, bytes]]
    is_complete: bool = True
    """Whether these are the next ones: false where the log has lost some before them."""


class MessageLogs:
    """The methods that a storage needs for durable groups, each with an async variant.

    A message counts as published before it can be read, and all readers then read it in the
    same order. A reader that continues from a position reads everything published after it,
    without a gap; `read_messages` reports if the log has been trimmed beyond that position.
    """

    supports_groups: bool = False
    """Whether these methods work."""
    poll_seconds: ClassVar[float] = 0.2
    """How often a process polls for messages of other processes."""

    def append_message(self, group: str, data: bytes, published: Callable[[], None]) -> None:
        """Publish a message; call ``published`` when it can be read."""
        raise self._no_groups()

    def newest_position(self, group: str) -> str:
        """Return the position of the newest message, even if there has never been one."""
        raise self._no_groups()

    def read_messages(self, group: str, after: str, limit: int) -> Messages:
        """Return the first messages after a position, at most ``limit``."""
        raise self._no_groups()

    def changed_groups(self, positions: dict[str, str]) -> list[str]:
        """Return which groups may have messages after these positions; by default, any."""
        return list(positions)

    def watch_messages(self) -> MessageWatch:
        """Return the watch for messages on the running event loop, which by default polls."""
        return MessageWatch(self)

    async def run(self, call: Callable[[], Result]) -> Result:
        """Make a blocking call on another thread; `Storage` has threads for that."""
        raise NotImplementedError

    async def aappend_message(self, group: str, data: bytes, published: Callable[[], None]) -> None:
        """Async variant of `append_message`."""
        return await self.run(partial(self.append_message, group, data, published))

    async def anewest_position(self, group: str) -> str:
        """Async variant of `newest_position`."""
        return await self.run(partial(self.newest_position, group))

    async def achanged_groups(self, positions: dict[str, str]) -> list[str]:
        """Async variant of `changed_groups`."""
        return self.changed_groups(positions)

    async def aread_messages(self, group: str, after: str, limit: int) -> Messages:
        """Async variant of `read_messages`."""
        return await self.run(partial(self.read_messages, group, after, limit))

    def _no_groups(self) -> Exception:
        return NotImplementedError(
            f"{type(self).__name__} keeps no durable groups: use RedisStorage, DatabaseStorage or "
            "MemoryStorage."
        )


class MessageWatch:
    """Waits for messages of groups, for all pages of one event loop.

    This one polls every `poll_seconds`. A storage whose service can send notifications overrides
    `wait` and `close`, and calls `note` for each notification. All methods are called on the
    event loop, and never in two tasks at once.
    """

    def __init__(self, logs: MessageLogs) -> None:
        self.groups: set[str] = set()
        """The groups to wait for."""
        self.positions: dict[str, str] = {}
        """The groups that were read, each with the position up to which it was."""
        self._logs = logs
        self._noted: dict[str, None] = {}
        self._woken: asyncio.Future[None] | None = None
        self._next_poll = 0.0

    def enter(self, group: str) -> None:
        """Have a group read for the first time, and wait for later messages."""
        self.groups.add(group)
        self.note(group)

    def follow(self, group: str, position: str) -> None:
        """Wait for messages after a position, including those already published."""
        self.positions[group] = position

    def leave(self, group: str) -> None:
        """Stop waiting for a group."""
        self.groups.discard(group)
        self.positions.pop(group, None)
        self._noted.pop(group, None)

    def note(self, group: str) -> None:
        """Have the next `wait` return a group."""
        self._noted[group] = None
        self.wake()

    def note_published(self, group: str) -> None:
        """Note a message of this process, if `wait` wouldn't notice it at once."""
        if group in self.groups:
            self.note(group)

    async def wait(self) -> list[str]:
        """Return groups that may have messages after their positions, as soon as there are any.

        A message must never stay unnoticed for long, whoever has published it. Raise
        `StorageError` if the service can't be reached; the next call starts from the positions.
        """
        while True:
            await self._poll()
            if self._noted:
                return self.take_noted()
            await self.rest(self._logs.poll_seconds)

    async def close(self) -> None:
        """Release the resources of `wait`."""

    def take_noted(self) -> list[str]:
        """Return the noted groups, and clear the note."""
        noted, self._noted = list(self._noted), {}
        return noted

    def wake(self) -> None:
        """End the `rest` of a `wait`, if there is one."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def rest(self, seconds: float) -> None:
        """Return at the next `wake`, or after some seconds."""
        loop = asyncio.get_running_loop()
        self._woken = loop.create_future()
        timer = loop.call_later(seconds, self.wake)
        try:
            await self._woken
        finally:
            timer.cancel()
            self._woken = None

    async def _poll(self) -> None:
        # Also while this process publishes all the time.
        now = asyncio.get_running_loop().time()
        if now >= self._next_poll and self.positions:
            self._next_poll = now + self._logs.poll_seconds
            for group in await self._logs.achanged_groups(dict(self.positions)):
                self.note(group)


def number_of(position: str) -> int:
    """Return a numeric position; -1, which no log has, for a position of another storage."""
    return int(position) if position.isascii() and position.isdigit() else -1
