"""Reading the logs of durable groups: each once, for all pages of one process."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from types import TracebackType
from weakref import WeakValueDictionary

from recovery_app._core.driver import Driver, Flow
from recovery_app._core.telemetry import wrap_unexpected_errors
from recovery_app.exceptions import RecoveryError
from recovery_app.signals import observers
from recovery_app.storages.messages import Messages, MessageWatch

logger = logging.getLogger("recovery_app")

BATCH = 256
RECENT = 1024
"""How many messages of a group are at hand for the pages of the process."""
RECENT_BYTES = 1024 * 1024
RETRY_SECONDS = 1.0
_READING = wrap_unexpected_errors("group")


class _Reading:
    """One read of a log, for all who ask for the same meanwhile; none of them can end it."""

    __slots__ = ("_task", "_traceback")

    def __init__(self, task: asyncio.Task[Messages], done: Callable[[_Reading], None]) -> None:
        self._task = task
        self._traceback: TracebackType | None = None
        task.add_done_callback(partial(self._note_done, done))

    async def wait(self) -> Messages:
        """Return what is found, or raise what the read has raised."""
        await asyncio.wait((self._task,))
        if not self._task.cancelled() and (error := self._task.exception()):
            # Without what it has gone through where others have raised it.
            raise error.with_traceback(self._traceback)
        return self._task.result()

    def _note_done(self, done: Callable[[_Reading], None], _: object) -> None:
        # All may have left: then nobody else asks for the error.
        if not self._task.cancelled() and (error := self._task.exception()):
            self._traceback = error.__traceback__
        done(self)


class _Tail:
    """The end of one group's log; ``newest`` is the position up to which it was read."""

    __slots__ = ("_size_bytes", "before", "items", "listeners", "newest", "reads")

    def __init__(self) -> None:
        self.newest: str | None = None
        self.before: str | None = None
        """The position before the first of the ``items``."""
        self.items: deque[tuple[str, bytes]] = deque()
        self._size_bytes = 0
        # In the order of their subscription, so that a run of the model can be repeated.
        self.listeners: dict[Callable[[], None], None] = {}
        self.reads: dict[tuple[str, int], _Reading] = {}
        """What is being read for pages further behind, by position and limit."""

    def wake(self) -> None:
        """Call the listeners; what they read then is read from now on, not a moment ago."""
        self.reads.clear()
        for listener in list(self.listeners):
            listener()

    def begin(self, position: str) -> None:
        self.items.clear()
        self._size_bytes = 0
        self.before = self.newest = position

    def add(self, items: list[tuple[str, bytes]]) -> None:
        for item in items:
            self.items.append(item)
            self.newest = item[0]
            self._size_bytes += len(item[1])
        while len(self.items) > RECENT or self._size_bytes > RECENT_BYTES:
            self.before, data = self.items.popleft()
            self._size_bytes -= len(data)

    def find(self, after: str, limit: int) -> Messages | None:
        """Return the messages after a position, if they are cached."""
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
        # From the end, where nearly every page is: a deque has no quick way to its middle.
        found = list(islice(reversed(self.items), behind))
        return Messages(found[: -limit - 1 : -1])


class GroupReader:
    """Follows the logs of groups on one event loop, and notifies listeners."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._loop = asyncio.get_running_loop()
        self._tails: dict[str, _Tail] = {}
        self._watch: MessageWatch | None = None
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, group: str, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever a group may have new messages, and soon in any case."""
        if self._watch is None:
            self._watch = self._driver.storage.watch_messages()
            self._task = self._loop.create_task(self._follow(self._watch))
        if group not in self._tails:
            self._tails[group] = _Tail()
            self._watch.enter(group)
        self._tails[group].listeners[listener] = None
        self._loop.call_soon(listener)

    def unsubscribe(self, group: str, listener: Callable[[], None]) -> None:
        """Stop calling ``listener``; a log without listeners isn't read any more."""
        tail = self._tails.get(group)
        if tail is None or self._watch is None:
            return
        tail.listeners.pop(listener, None)
        if not tail.listeners:
            del self._tails[group]
            self._watch.leave(group)
        if not self._tails and self._task is not None:
            self._task.cancel()
            self._task = self._watch = None

    def note_published(self, group: str) -> None:
        """Check for messages now, because this process has published one. From any thread."""
        # A loop that ends at this moment has no pages any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._note_published, group)

    async def newest(self, group: str) -> str:
        """Return the position of the newest message."""
        return await self._driver.arun(_newest(group))

    async def read(self, group: str, after: str, limit: int) -> Messages:
        """Return the first messages after a position.

        Pages that come back together are at the same position: those that ask while it is being
        read get the same result. They share the list, so it must not be changed.
        """
        tail = self._tails.get(group)
        if tail is None:
            return await self._driver.arun(_read(group, after, limit))
        found = tail.find(after, limit)
        if found is not None:
            return found
        reading = tail.reads.get((after, limit))
        if reading is None:
            reading = self._start_read(tail, group, after, limit)
        return await reading.wait()

    def _start_read(self, tail: _Tail, group: str, after: str, limit: int) -> _Reading:
        place = after, limit

        def forget(reading: _Reading) -> None:
            if tail.reads.get(place) is reading:
                del tail.reads[place]

        task = self._loop.create_task(self._driver.arun(_read(group, after, limit)))
        tail.reads[place] = reading = _Reading(task, forget)
        return reading

    def _note_published(self, group: str) -> None:
        if self._watch is not None:
            self._watch.note_published(group)

    async def _follow(self, watch: MessageWatch) -> None:
        try:
            while True:
                groups = await self._find_changed(watch)
                if len(groups) == 1:
                    await self._advance(watch, groups[0])
                else:
                    await asyncio.gather(*(self._advance(watch, group) for group in groups))
        finally:
            await watch.close()

    async def _find_changed(self, watch: MessageWatch) -> list[str]:
        """Return groups whose logs have to be read, as soon as there are any."""
        while True:
            try:
                with _READING:
                    return await self._driver.wait("group", watch.wait())
            except RecoveryError:
                # The outage itself has a warning of its own.
                await asyncio.sleep(RETRY_SECONDS)

    async def _advance(self, watch: MessageWatch, group: str) -> None:
        """Read one log further, and wait for more messages."""
        tail = self._tails.get(group)
        if tail is None:
            return
        try:
            with _READING:
                has_more = await self._read_on(group, tail)
        except RecoveryError:
            self._loop.call_later(RETRY_SECONDS, self._retry, watch, group)
            return
        if self._tails.get(group) is not tail:
            # All have left it meanwhile, and perhaps others have joined.
            return
        if has_more:
            watch.note(group)
        elif tail.newest is not None:
            watch.follow(group, tail.newest)

    async def _read_on(self, group: str, tail: _Tail) -> bool:
        """Add the next messages; return whether there may be more."""
        if tail.newest is None:
            found = Messages([], is_complete=False)
        else:
            found = await self._driver.arun(_read(group, tail.newest, BATCH))
        if found.is_complete:
            tail.add(found.items)
        else:
            # The log has lost some: each page finds that out for itself.
            tail.begin(await self.newest(group))
        if found.items or not found.is_complete:
            tail.wake()
        return len(found.items) >= BATCH

    def _retry(self, watch: MessageWatch, group: str) -> None:
        if group in self._tails:
            watch.note(group)


_readers: WeakValueDictionary[tuple[int, int], GroupReader] = WeakValueDictionary()
"""The readers by driver and event loop, both of which a reader keeps alive."""

if hasattr(os, "register_at_fork"):
    # They would be told of all that a child publishes, on loops that run in the parent only.
    os.register_at_fork(after_in_child=_readers.clear)


def reader_of(driver: Driver) -> GroupReader:
    """Return the reader of a storage's groups on the running event loop."""
    place = id(driver), id(asyncio.get_running_loop())
    reader = _readers.get(place)
    if reader is None:
        reader = _readers[place] = GroupReader(driver)
    return reader


def wake_readers(driver: Driver, group: str) -> None:
    """Have all readers of a storage's groups in this process check now; from any thread."""
    for (driver_id, _), reader in list(_readers.items()) if _readers else ():
        if driver_id == id(driver):
            reader.note_published(group)


def _newest(group: str) -> Flow[str]:
    position: str = yield "group", "newest_position", (group,), {}
    return position


def _read(group: str, after: str, limit: int) -> Flow[Messages]:
    found: Messages = yield "group", "read_messages", (group, after, limit), {}
    return found


def publish(driver: Driver, group: str, data: bytes) -> Flow[None]:
    """Publish a message, and wake the readers of this process once it can be read."""
    published = partial(_note_published, driver, group)
    yield "publish", "append_message", (group, data, published), {}


def _note_published(driver: Driver, group: str) -> None:
    observers.message_published()
    wake_readers(driver, group)
