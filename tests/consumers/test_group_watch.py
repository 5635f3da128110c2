"""What waits for messages of durable groups, and how the reader of a process uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app._live import group_reader
from recovery_app._live.group_reader import reader_of, wake_readers
from recovery_app.exceptions import StorageUnavailable
from recovery_app.signals import Observer, observers
from recovery_app.storages import MemoryStorage
from recovery_app.storages.messages import MessageWatch
from tests.clock import FakeClock

ROOM, OTHER = "room:1", "room:2"
LIMIT = 30


class Told(MessageWatch):
    """A watch that hears of messages only from a test, and can fail."""

    def __init__(self, logs: Any) -> None:
        super().__init__(logs)
        self.failures: list[Exception] = []
        self.is_closed = False
        self.followed = asyncio.Event()

    def follow(self, group: str, position: str) -> None:
        super().follow(group, position)
        self.followed.set()

    async def wait(self) -> list[str]:
        if self.failures:
            raise self.failures.pop(0)
        while not self._noted:
            await self.rest(LIMIT)
        return self.take_noted()

    async def close(self) -> None:
        self.is_closed = True


class ToldStorage(MemoryStorage):
    """A storage whose watches hear only what they are told."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.watches: list[Told] = []
        self.failing_positions = 0
        self.asked = asyncio.Event()
        self.answering = asyncio.Event()
        self.answering.set()

    def watch_messages(self) -> Told:
        self.watches.append(Told(self))
        return self.watches[-1]

    async def anewest_position(self, group: str) -> str:
        self.asked.set()
        await self.answering.wait()
        if self.failing_positions:
            self.failing_positions -= 1
            raise StorageUnavailable("Told", "group")
        return await super().anewest_position(group)


class Listener:
    """Counts how often it is called."""

    def __init__(self) -> None:
        self.calls = 0
        self.called = asyncio.Event()

    def __call__(self) -> None:
        self.calls += 1
        self.called.set()

    async def hear(self) -> None:
        await asyncio.wait_for(self.called.wait(), LIMIT)
        self.called.clear()


class Seen(Observer):
    def __init__(self) -> None:
        self.calls: list[tuple[str, Exception | None]] = []

    def storage_called(self, operation: str, seconds: float, error: Exception | None) -> None:
        self.calls.append((operation, error))


@pytest.fixture
def seen() -> Iterator[Seen]:
    observer = Seen()
    observers.add(observer)
    yield observer
    observers.remove(observer)


@pytest.fixture
def storage(clock: FakeClock) -> ToldStorage:
    return ToldStorage(clock)


@pytest.fixture
def manager(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock, storage: ToldStorage
) -> RecoveryManager:
    return make_manager(clock=clock, storage=storage)


async def settled(storage: ToldStorage, *groups: str) -> None:
    """Wait until the reader has read the logs of groups to their ends."""
    watch = storage.watches[0]
    while not all(watch.positions.get(group) == storage.newest_position(group) for group in groups):
        watch.followed.clear()
        await asyncio.wait_for(watch.followed.wait(), LIMIT)


async def test_the_reader_rests_until_it_is_told(
    manager: RecoveryManager, storage: ToldStorage, seen: Seen
) -> None:
    reader = reader_of(manager.driver)
    listener = Listener()
    reader.subscribe(ROOM, listener)
    await settled(storage, ROOM)
    await listener.hear()
    reads = len(seen.calls)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(seen.calls) == reads, "nothing is asked while nothing happens"
    storage.append_message(ROOM, b"{}", lambda: None)
    storage.watches[0].note(ROOM)
    await listener.hear()
    assert len((await reader.read(ROOM, "", 10)).items) == 1
    reader.unsubscribe(ROOM, listener)
    await asyncio.sleep(0)
    assert storage.watches[0].is_closed


async def test_a_publish_wakes_the_readers_of_its_group(
    manager: RecoveryManager, storage: ToldStorage
) -> None:
    reader = reader_of(manager.driver)
    here, there = Listener(), Listener()
    reader.subscribe(ROOM, here)
    reader.subscribe(OTHER, there)
    await settled(storage, ROOM, OTHER)
    await asyncio.sleep(0)
    here.called.clear()
    there.calls = 0
    storage.append_message(ROOM, b"{}", lambda: wake_readers(manager.driver, ROOM))
    await here.hear()
    assert there.calls == 0
    reader.unsubscribe(ROOM, here)
    wake_readers(manager.driver, ROOM)
    await asyncio.sleep(0)
    assert not storage.watches[0].take_noted(), "what nobody listens to isn't read"
    reader.unsubscribe(OTHER, there)


async def test_a_watch_that_fails_is_asked_again(
    manager: RecoveryManager,
    storage: ToldStorage,
    seen: Seen,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(group_reader, "RETRY_SECONDS", 0.01)
    reader = reader_of(manager.driver)
    listener = Listener()
    reader.subscribe(ROOM, listener)
    watch = storage.watches[0]
    watch.failures = [StorageUnavailable("Told", "group"), RuntimeError("a broken storage")]
    await settled(storage, ROOM)
    assert [type(error) for _, error in seen.calls if error] == [StorageUnavailable, RuntimeError]
    assert [each.event for each in caplog.records] == ["storage_down", "storage_broken"]  # type: ignore[attr-defined]
    reader.unsubscribe(ROOM, listener)


async def test_a_log_that_could_not_be_read_is_read_again(
    manager: RecoveryManager, storage: ToldStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_reader, "RETRY_SECONDS", 0.01)
    storage.failing_positions = 2
    reader, listener = reader_of(manager.driver), Listener()
    reader.subscribe(ROOM, listener)
    await settled(storage, ROOM)
    reader.unsubscribe(ROOM, listener)


async def test_a_log_that_all_leave_while_it_is_read_is_not_waited_for(
    manager: RecoveryManager, storage: ToldStorage
) -> None:
    reader, listener = reader_of(manager.driver), Listener()
    reader.subscribe(OTHER, listener)
    await settled(storage, OTHER)
    storage.asked.clear()
    storage.answering.clear()
    reader.subscribe(ROOM, listener)
    await asyncio.wait_for(storage.asked.wait(), LIMIT)
    reader.unsubscribe(ROOM, listener)
    storage.answering.set()
    watch = storage.watches[0]
    watch.followed.clear()
    storage.append_message(OTHER, b"{}", lambda: wake_readers(manager.driver, OTHER))
    await settled(storage, OTHER)
    assert set(watch.positions) == {OTHER}
    reader.unsubscribe(OTHER, listener)


async def test_what_a_watch_waits_for_is_not_timed_as_a_call(
    manager: RecoveryManager, seen: Seen
) -> None:
    assert await manager.driver.wait("group", asyncio.sleep(0, [ROOM])) == [ROOM]
    assert seen.calls == []


class Asked(MemoryStorage):
    """A storage that counts how often it is asked what has changed."""

    poll_seconds = 0.01
    asked = 0

    async def achanged_groups(self, positions: dict[str, str]) -> list[str]:
        self.asked += 1
        return [group for group in positions if group == OTHER]


async def test_a_poll_goes_on_while_this_process_publishes_all_the_time() -> None:
    storage = Asked()
    watch = storage.watch_messages()
    for group in (ROOM, OTHER):
        watch.enter(group)
        watch.follow(group, "1")
    watch.take_noted()
    found: list[str] = []
    while OTHER not in found:
        watch.note_published(ROOM)
        found = await asyncio.wait_for(watch.wait(), LIMIT)
        assert ROOM in found
    watch.leave(OTHER)
    watch.note_published(OTHER)
    assert watch.take_noted() == []


async def test_no_group_costs_no_poll() -> None:
    storage = Asked()
    watch = storage.watch_messages()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(watch.wait(), 0.05)
    assert storage.asked == 0
