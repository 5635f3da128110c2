"""The durable groups of one topic, and the positions up to which it has handled their messages.

Positions are part of the state, and are stored with it in one step. So whichever connection
continues with the state handles each message, and handles it once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from recovery_app._core.metadata import check_group
from recovery_app._live.group_reader import GroupReader
from recovery_app._live.protocol import to_json
from recovery_app._live.sections import GROUPS, take_section
from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.storages.messages import Messages

BATCH = 32
"""How many messages are handled in one turn, with one save behind them."""
RETRY_SECONDS = 0.2
UNKNOWN_RETRY_SECONDS = 5.0
"""The same for a position that isn't known: all pages that join in an outage have to ask."""
MAX_GROUPS = 100
UNKNOWN = ""
"""The position of a page that joined while the storage was unavailable, which no log has."""


class TopicGroups:
    """Positions in the logs of groups; ``post`` schedules the handling of one group's messages."""

    def __init__(self, reader: GroupReader, post: Callable[[str], bool]) -> None:
        self._reader = reader
        self._post = post
        self._positions: dict[str, str] = {}
        self._committed: dict[str, str] = {}
        self._packed = self._stored = self._committed
        self._listeners: dict[str, Callable[[], None]] = {}
        self._waiting: set[str] = set()
        self._behind: set[str] = set()
        """The groups with which a page that came back has yet to catch up."""
        self._is_open = False
        self.is_replay = False
        """Whether what was read last is what a page has to catch up with, as it came back."""

    # A handler.

    async def join(self, group: str) -> None:
        """Join a group: messages published from now on are handled.

        An outage of the storage doesn't make it fail: the application reloads once it is over.
        """
        check_group(group)
        if group not in self._positions:
            self._check_room()
            try:
                position = await self._reader.newest(group)
            except StorageUnavailable:
                position = UNKNOWN
            # Others may have been joined meanwhile.
            self._check_room()
            self._positions.setdefault(group, position)

    async def leave(self, group: str) -> None:
        """Leave a group."""
        self._positions.pop(group, None)

    def commit(self) -> None:
        """Make what was joined, left and handled part of the state."""
        if self._positions != self._committed:
            self._committed = dict(self._positions)
            self._listen()

    def discard(self) -> None:
        """Undo what a failed handler has joined and left."""
        self._positions = dict(self._committed)

    def _check_room(self) -> None:
        if len(self._positions) >= MAX_GROUPS:
            raise ValueError(f"A topic can be in at most {MAX_GROUPS} durable groups.")

    # Messages.

    def open(self) -> None:
        """Start to listen, after the reply to the join."""
        self._is_open = True
        self._listen()

    def close(self) -> None:
        """Stop listening."""
        self._is_open = False
        self._listen()

    async def read(self, group: str) -> Messages | None:
        """Return the next messages of a group; ``None`` if it was left, or can't be read now."""
        self._waiting.discard(group)
        position = self._positions.get(group)
        if position is None or not self._is_open:
            return None
        if position == UNKNOWN:
            return Messages([], is_complete=False)
        try:
            found = await self._reader.read(group, position, BATCH)
        except StorageError:
            self._retry(group)
            return None
        self._note_caught_up(group, found)
        if len(found.items) >= BATCH:
            # In another turn of the loop: where nothing has to be awaited, thousands of messages
            # would hold up everybody else.
            asyncio.get_running_loop().call_soon(self._wake, group)
        return found

    def _note_caught_up(self, group: str, found: Messages) -> None:
        self.is_replay = group in self._behind
        if len(found.items) < BATCH or not found.is_complete:
            self._behind.discard(group)

    def find(self, group: str) -> str | None:
        """Return the position up to which a group's messages are handled, if it is joined."""
        return self._positions.get(group)

    def move(self, group: str, position: str) -> None:
        """Note that a group's messages are handled up to a position."""
        if group in self._positions:
            self._positions[group] = position

    async def newest(self, group: str) -> str | None:
        """Return the position of a group's newest message; ``None`` if it can't be read now."""
        try:
            return await self._reader.newest(group)
        except StorageError:
            self._retry(group)
            return None

    # The state.

    @property
    def joined(self) -> dict[str, str]:
        """A copy of the positions, including groups whose join isn't committed."""
        return dict(self._positions)

    def restore(self, stored: bytes) -> None:
        """Continue in the groups of a state that was taken over, and in those joined already."""
        self._committed = self._packed = self._stored = _unpack(stored)
        self._positions = {**self._positions, **self._committed}
        self._behind = set(self._committed)

    def reset(self, joined: dict[str, str]) -> None:
        """Be in these groups only, without those of a state that was taken over."""
        self._positions = joined
        self._committed = self._packed = self._stored = {}
        self._behind.clear()

    @property
    def is_safe(self) -> bool:
        """Whether the positions are stored."""
        return self._committed == self._stored

    def pack(self) -> bytes:
        """Return the positions as bytes to store."""
        self._packed = self._committed
        return to_json(self._committed) if self._committed else b""

    def note_saved(self) -> None:
        """Note that what was packed last is stored."""
        self._stored = self._packed

    def _listen(self) -> None:
        """Listen to exactly the groups that belong to the state."""
        wanted = self._committed if self._is_open else {}
        for group in [each for each in self._listeners if each not in wanted]:
            self._reader.unsubscribe(group, self._listeners.pop(group))
        for group in wanted:
            if group not in self._listeners:
                listener = self._listeners[group] = partial(self._wake, group)
                self._reader.subscribe(group, listener)

    def _wake(self, group: str) -> None:
        if group in self._waiting or group not in self._listeners:
            return
        if self._post(group):
            self._waiting.add(group)
        else:
            self._retry(group)

    def _retry(self, group: str) -> None:
        is_known = self._positions.get(group) != UNKNOWN
        seconds = RETRY_SECONDS if is_known else UNKNOWN_RETRY_SECONDS
        asyncio.get_running_loop().call_later(seconds, self._wake, group)


def decode_message(data: bytes) -> dict[str, Any] | None:
    """Return a message; ``None`` if the bytes aren't one."""
    try:
        message = orjson.loads(data)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def positions_in(replies: bytes) -> dict[str, str]:
    """Return the positions in groups that a snapshot stores before its replies."""
    return _unpack(take_section(GROUPS, replies)[0])


def _unpack(stored: bytes) -> dict[str, str]:
    found = decode_message(stored) if stored else None
    return {} if found is None else {name: str(each) for name, each in found.items()}
