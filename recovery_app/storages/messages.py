"""The logs of durable groups: messages in the order of their publication, kept for a while.

A position in a log is a text of the storage's own. A page's is stored with its state, so it may
be older than what the log still has.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, NamedTuple, TypeVar

Result = TypeVar("Result")
MAX_MESSAGES = 10_000
"""How many messages a group keeps, about: a storage may keep some more."""
MESSAGE_SECONDS = 24 * 60 * 60
"""How long a message is kept, about."""


class Messages(NamedTuple):
    """Some messages of a group, each with its position, in their order."""

    items: list[tuple[str, bytes]]
    is_complete: bool = True
    """Whether these are the next ones: false where the log has lost some before them."""


class MessageLogs:
    """What a storage needs for durable groups: three methods, each with an async variant.

    A message counts as published before it can be read, and is then read by everybody in the
    same order. Whoever has read up to a message reads what was published after it, without a
    gap; `read_messages` says where the log has been trimmed beyond that.
    """

    supports_groups: bool = False
    """Whether these methods work."""
    poll_seconds: ClassVar[float] = 0.2
    """How often a process looks whether another one has published anything."""

    def append_message(self, group: str, data: bytes, published: Callable[[], None]) -> None:
        """Publish a message; call ``published`` when it can be read."""
        raise self._no_groups()

    def newest_position(self, group: str) -> str:
        """Return the position of the newest message, even where there never was one."""
        raise self._no_groups()

    def read_messages(self, group: str, after: str, limit: int) -> Messages:
        """Return the first messages behind a position, ``limit`` at most."""
        raise self._no_groups()

    def changed_groups(self, positions: dict[str, str]) -> list[str]:
        """Return which groups may have messages behind these positions: by default, any."""
        return list(positions)

    async def run(self, call: Callable[[], Result]) -> Result:
        """Make a blocking call elsewhere; `Storage` has threads for that."""
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


def number_of(position: str) -> int:
    """Return a position that is a number; -1, which no log has, for one of another storage."""
    return int(position) if position.isascii() and position.isdigit() else -1
