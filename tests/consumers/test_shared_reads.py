"""Pages that come back together, at one place in a log: it is read once for all of them."""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import pytest

from recovery_app import RecoveryManager
from recovery_app._live.group_reader import GroupReader, reader_of
from recovery_app.exceptions import StorageUnavailable
from recovery_app.middleware import override_manager
from recovery_app.storages import MemoryStorage
from recovery_app.storages.messages import Messages
from tests.clock import FakeClock
from tests.consumers.test_durable_groups import ROOM, page_of, publish

PAGES = 30
LIMIT_SECONDS = 30
Ask = Callable[[int], "list[asyncio.Task[Messages]]"]


class Slow(MemoryStorage):
    """A storage whose reads of logs are counted, and held up until ``gate`` is set."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.reads: list[str] = []
        self.gate = asyncio.Event()
        self.fails = False

    async def aread_messages(self, group: str, after: str, limit: int) -> Messages:
        found = self.read_messages(group, after, limit)
        self.reads.append(after)
        await asyncio.wait_for(self.gate.wait(), LIMIT_SECONDS)
        if self.fails:
            raise StorageUnavailable("Slow", "group")
        return found


@pytest.fixture
async def storage(clock: FakeClock) -> Slow:
    return Slow(clock)


@pytest.fixture
def manager(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock, storage: Slow
) -> Iterator[RecoveryManager]:
    manager = make_manager(clock=clock, storage=storage)
    with override_manager(manager):
        yield manager


@pytest.fixture
async def place(storage: Slow) -> str:
    """Return the place behind which there are some messages."""
    found = await storage.anewest_position(ROOM)
    await publish_to(storage, 3)
    return found


@pytest.fixture
async def reader(manager: RecoveryManager, place: str) -> AsyncIterator[GroupReader]:
    """Return the reader of a group that some page is in; the log isn't at hand."""
    reader, woken = reader_of(manager.driver), asyncio.Event()
    reader.subscribe(ROOM, woken.set)
    await until(lambda: reader._tails[ROOM].newest is not None)
    yield reader
    reader.unsubscribe(ROOM, woken.set)


@pytest.fixture
def ask(reader: GroupReader, place: str) -> Ask:
    """Have so many pages ask for what is behind the place."""
    return lambda number: [asyncio.create_task(reader.read(ROOM, place, 10)) for _ in range(number)]


async def publish_to(storage: MemoryStorage, number: int) -> None:
    for _ in range(number):
        await storage.aappend_message(ROOM, b"{}", lambda: None)


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(LIMIT_SECONDS * 1000):
        if is_so():
            return
        await asyncio.sleep(0.001)
    pytest.fail("It never is.")


async def test_pages_that_ask_at_once_get_one_read(
    storage: Slow, ask: Ask, place: str, reader: GroupReader
) -> None:
    asked = ask(PAGES)
    await until(lambda: bool(storage.reads))
    asked += ask(PAGES)
    await asyncio.sleep(0)
    storage.gate.set()
    found = await asyncio.gather(*asked)
    assert {len(each.items) for each in found} == {3}
    assert storage.reads == [place]
    # Nothing of it is kept, and another limit is another read.
    await asyncio.gather(*ask(2), reader.read(ROOM, place, 2))
    assert storage.reads == [place] * 3


async def test_who_leaves_takes_it_from_nobody(storage: Slow, ask: Ask, place: str) -> None:
    first, *others = ask(PAGES)
    await until(lambda: bool(storage.reads))
    for each in (first, others.pop()):
        each.cancel()
        with pytest.raises(asyncio.CancelledError):
            await each
    storage.gate.set()
    assert {len(each.items) for each in await asyncio.gather(*others)} == {3}
    assert storage.reads == [place]


async def test_all_hear_of_an_error_and_read_anew(storage: Slow, ask: Ask, place: str) -> None:
    storage.fails = True
    asked = ask(PAGES)
    await until(lambda: bool(storage.reads))
    asked.pop().cancel()
    storage.gate.set()
    depths = set()
    for each in asked:
        with pytest.raises(StorageUnavailable) as caught:
            await each
        depths.add(len(traceback.extract_tb(caught.value.__traceback__)))
    # In Python 3.10 the first has a line less.
    assert max(depths) - min(depths) <= 1, "the traceback doesn't grow, however many raise it"
    storage.fails = False
    assert {len(each.items) for each in await asyncio.gather(*ask(PAGES))} == {3}
    assert storage.reads == [place] * 2


async def test_an_error_that_nobody_waits_for_is_no_news(
    storage: Slow, ask: Ask, reader: GroupReader, caplog: pytest.LogCaptureFixture
) -> None:
    storage.fails = True
    (only,) = ask(1)
    await until(lambda: bool(storage.reads))
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    with caplog.at_level(logging.ERROR, "asyncio"):
        storage.gate.set()
        await until(lambda: not reader._tails[ROOM].reads)
        gc.collect()
    assert not caplog.records


async def test_who_is_woken_reads_what_is_new(
    storage: Slow, ask: Ask, reader: GroupReader, place: str
) -> None:
    early = ask(PAGES)
    await until(lambda: bool(storage.reads))
    await publish_to(storage, 1)
    first_gate, storage.gate = storage.gate, asyncio.Event()
    # As the reader of the group does once it has the new message.
    reader._tails[ROOM].wake()
    late = ask(PAGES)
    await until(lambda: storage.reads.count(place) == 2)
    first_gate.set()
    assert {len(each.items) for each in await asyncio.gather(*early)} == {3}
    # The end of the first read doesn't end the sharing of the second.
    late += ask(PAGES)
    await asyncio.sleep(0)
    storage.gate.set()
    assert {len(each.items) for each in await asyncio.gather(*late)} == {4}
    assert storage.reads.count(place) == 2


async def test_pages_that_come_back_after_a_cut(
    manager: RecoveryManager, storage: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    read = GroupReader.read

    async def note(self: GroupReader, group: str, after: str, limit: int) -> Messages:
        asked.append(after)
        return await read(self, group, after, limit)

    storage.gate.set()
    async with AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(page_of(manager)) for _ in range(PAGES)]
        for page in pages:
            await page.join(group=ROOM)
        tokens = [page.token for page in pages]
    place = await storage.anewest_position(ROOM)
    await publish(1, 2, 3)
    storage.gate.clear()
    storage.reads.clear()
    monkeypatch.setattr(GroupReader, "read", note)
    async with AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(page_of(manager)) for _ in range(PAGES)]
        for page, token in zip(pages, tokens, strict=True):
            await page.join(token)
        await until(lambda: asked.count(place) >= PAGES)
        storage.gate.set()
        for page in pages:
            await page.hear(1, 2, 3)
    # One before the reader of the group is at the end of the log, and one behind that.
    assert 1 <= storage.reads.count(place) <= 2
