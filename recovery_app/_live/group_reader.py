"""The durable groups that pages of one process are in: each log is read once, for all of them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from itertools import islice
from weakref import WeakValueDictionary

from recovery_app._core.driver import Driver, Flow
from recovery_app._core.telemetry import wrap_unexpected_errors
from recovery_app.exceptions import RecoveryError
from recovery_app.storages.messages import Messages

logger = logging.getLogger("recovery_app")

BATCH = 256
RECENT = 1024
"""How many messages of a group are at hand for the pages of the process."""
RETRY_SECONDS = 1.0
_READING = wrap_unexpected_errors("group")


class _Tail:
    """The end of one group's log; ``newest`` is the position up to which it was read."""

    __slots__ = ("before", "items", "listeners", "newest")

    def __init__(self) -> None:
        self.newest: str | None = None
        self.before: str | None = None
        """The position before the first of the ``items``."""
        self.items: deque[tuple[str, bytes]] = deque()
        self.listeners: set[Callable[[], None]] = set()

    def begin(self, position: str) -> None:
        self.items.clear()
        self.before = self.newest = position

    def add(self, items: list[tuple[str, bytes]]) -> None:
        for item in items:
            self.items.append(item)
            self.newest = item[0]
        while len(self.items) > RECENT:
            self.before = self.items.popleft()[0]

    def find(self, after: str, limit: int) -> Messages | None:
        """Return the messages behind a position that is at hand."""
        if after == self.newest:
            return Messages([])
        behind = 0
        for position, _ in reversed(self.items):
            if position == after:
                break
            behind += 1
        else:
            if after != self.before:
                return None
        start = len(self.items) - behind
        return Messages(list(islice(self.items, start, start + limit)))


class GroupReader:
    """Follows the logs of groups on one event loop, and wakes those that listen."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._loop = asyncio.get_running_loop()
        self._tails: dict[str, _Tail] = {}
        self._task: asyncio.Task[None] | None = None
        self._published = asyncio.Event()

    def subscribe(self, group: str, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever a group may have something new, and soon in any case."""
        tail = self._tails.setdefault(group, _Tail())
        tail.listeners.add(listener)
        self._loop.call_soon(listener)
        if self._task is None:
            self._task = self._loop.create_task(self._follow())
        self._published.set()

    def unsubscribe(self, group: str, listener: Callable[[], None]) -> None:
        """Call ``listener`` no more; a log that nobody listens to isn't read any more."""
        tail = self._tails.get(group)
        if tail is None:
            return
        tail.listeners.discard(listener)
        if not tail.listeners:
            del self._tails[group]
        if not self._tails and self._task is not None:
            self._task.cancel()
            self._task = None

    def note_published(self) -> None:
        """Look for messages now: this process has published one. From any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._published.set)

    async def newest(self, group: str) -> str:
        """Return the position of the newest message."""
        return await self._driver.arun(_newest(group))

    async def read(self, group: str, after: str, limit: int) -> Messages:
        """Return the first messages behind a position."""
        tail = self._tails.get(group)
        found = None if tail is None else tail.find(after, limit)
        return await self._driver.arun(_read(group, after, limit)) if found is None else found

    async def _follow(self) -> None:
        while True:
            self._published.clear()
            changed = await self._find_changed()
            found = await asyncio.gather(
                *(self._advance(group, self._tails[group]) for group in changed)
            )
            if any(found):
                continue
            try:
                await asyncio.wait_for(self._published.wait(), self._driver.storage.poll_seconds)
            except asyncio.TimeoutError:
                continue

    async def _find_changed(self) -> list[str]:
        """Return the groups whose logs are to be read."""
        known = {group: tail.newest for group, tail in self._tails.items() if tail.newest}
        changed = [group for group in self._tails if group not in known]
        try:
            with _READING:
                changed += await self._driver.arun(_changed(known)) if known else []
        except RecoveryError:
            # The outage itself has a warning of its own.
            await asyncio.sleep(RETRY_SECONDS)
        return [group for group in changed if group in self._tails]

    async def _advance(self, group: str, tail: _Tail) -> bool:
        """Read on in one log; return whether there was anything new."""
        try:
            with _READING:
                if tail.newest is None:
                    tail.begin(await self.newest(group))
                    found = Messages([], is_complete=False)
                else:
                    found = await self._driver.arun(_read(group, tail.newest, BATCH))
                    if not found.is_complete and not found.items:
                        # Else pages at the old place would seem to be up to date.
                        tail.begin(await self.newest(group))
        except RecoveryError:
            # The outage itself has a warning of its own.
            await asyncio.sleep(RETRY_SECONDS)
            return False
        if found.is_complete:
            tail.add(found.items)
        elif found.items:
            # The log has lost some: each page finds that out for itself.
            tail.begin(found.items[-1][0])
        if found.items or not found.is_complete:
            for listener in list(tail.listeners):
                listener()
        return bool(found.items)


_readers: WeakValueDictionary[tuple[int, int], GroupReader] = WeakValueDictionary()
"""The readers by driver and event loop, both of which a reader keeps alive."""


def reader_of(driver: Driver) -> GroupReader:
    """Return the reader of a storage's groups on the running event loop."""
    place = id(driver), id(asyncio.get_running_loop())
    reader = _readers.get(place)
    if reader is None:
        reader = _readers[place] = GroupReader(driver)
    return reader


def wake_readers(driver: Driver) -> None:
    """Have all readers of a storage's groups in this process look now; from any thread."""
    for (driver_id, _), reader in list(_readers.items()):
        if driver_id == id(driver):
            reader.note_published()


def _newest(group: str) -> Flow[str]:
    position: str = yield "group", "newest_position", (group,), {}
    return position


def _changed(positions: dict[str, str]) -> Flow[list[str]]:
    found: list[str] = yield "group", "changed_groups", (positions,), {}
    return found


def _read(group: str, after: str, limit: int) -> Flow[Messages]:
    found: Messages = yield "group", "read_messages", (group, after, limit), {}
    return found


def publish(driver: Driver, group: str, data: bytes) -> Flow[None]:
    """Publish a message, and wake the readers of this process once it can be read."""
    yield "publish", "append_message", (group, data, lambda: wake_readers(driver)), {}
