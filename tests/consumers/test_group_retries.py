"""A page that can't take the messages of its groups now takes them a moment later, unasked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from recovery_app import RecoveryManager
from recovery_app._live import groups as live_groups
from recovery_app._live.mailbox import Mailbox
from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.middleware import override_manager
from recovery_app.storages import MemoryStorage, memory_messages
from recovery_app.storages.messages import Messages
from tests.clock import FakeClock
from tests.consumers.test_durable_groups import ROOM, page_of, publish


class Failing(MemoryStorage):
    """A storage of which the next reads of logs fail."""

    failing_reads = 0
    failing_positions = 0

    async def aread_messages(self, group: str, after: str, limit: int) -> Messages:
        if self.failing_reads:
            self.failing_reads -= 1
            raise StorageUnavailable("Failing", "group")
        return await super().aread_messages(group, after, limit)

    async def anewest_position(self, group: str) -> str:
        if self.failing_positions:
            self.failing_positions -= 1
            raise StorageUnavailable("Failing", "group")
        return await super().anewest_position(group)


@pytest.fixture
def storage(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Failing:
    monkeypatch.setattr(live_groups, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(live_groups, "UNKNOWN_RETRY_SECONDS", 0.02)
    return Failing(clock=clock)


@pytest.fixture
def manager(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock, storage: Failing
) -> Iterator[RecoveryManager]:
    manager = make_manager(clock=clock, storage=storage)
    with override_manager(manager):
        yield manager


async def test_messages_that_could_not_be_read(manager: RecoveryManager, storage: Failing) -> None:
    async with page_of(manager) as page:
        await page.join(group=ROOM)
    await publish(1)
    # This one has the reader of the process at the end of the log, so that nothing wakes it.
    async with page_of(manager) as open_page, page_of(manager) as again:
        await open_page.join(group=ROOM)
        await publish(2)
        await open_page.hear(2)
        storage.failing_reads = 2
        await again.join(page.token)
        await again.hear(1, 2)
        assert not storage.failing_reads


async def test_an_end_that_could_not_be_found(
    manager: RecoveryManager, storage: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_messages, "MAX_MESSAGES", 10)
    async with page_of(manager) as page:
        await page.join(group=ROOM)
    await publish(*range(20))
    async with page_of(manager) as open_page, page_of(manager) as again:
        await open_page.join(group=ROOM)
        await publish(20)
        await open_page.hear(20)
        storage.failing_positions = 2
        await again.join(page.token)
        found = await again.ask()
        while not found["missed"]:
            found = await again.ask()
        assert (found["missed"], storage.failing_positions) == ([ROOM], 0)


@pytest.mark.parametrize("failures", [1, 3])
async def test_a_join_while_the_log_cannot_be_read(
    manager: RecoveryManager, storage: Failing, failures: int
) -> None:
    async with page_of(manager) as open_page, page_of(manager) as page:
        # So that the reader of the process needs no position itself.
        await open_page.join(group=ROOM)
        await publish(1)
        await open_page.hear(1)
        storage.failing_positions = failures
        await page.join(group=ROOM)
        found = await page.ask()
        while not found["missed"]:
            found = await page.ask()
        assert (found["missed"], storage.failing_positions) == ([ROOM], 0)
        await publish(2)
        await page.hear(2)
        assert await page.ask() == {"seen": [2], "missed": [ROOM]}


async def test_a_page_that_left_before_the_log_could_be_read(
    manager: RecoveryManager, storage: Failing
) -> None:
    storage.failing_positions = 1_000_000
    async with page_of(manager) as page:
        await page.join(group=ROOM)
    storage.failing_positions = 0
    async with page_of(manager) as again:
        await again.join(page.token)
        found = await again.ask()
        while not found["missed"]:
            found = await again.ask()
        assert found["missed"] == [ROOM]


async def test_a_join_that_fails_for_another_reason(
    manager: RecoveryManager, storage: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_group: str) -> str:
        raise StorageError("The table is missing.")

    monkeypatch.setattr(storage, "anewest_position", fail)
    async with page_of(manager) as page:
        with pytest.raises(AssertionError, match="join crashed"):
            await page.join(group=ROOM)


async def test_a_page_with_too_much_to_do(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = 0
    try_post = Mailbox.try_post

    def refuse(self: Mailbox, work: object, size_bytes: int = 0) -> bool:
        nonlocal refused
        name = getattr(getattr(work, "func", None), "__name__", "")
        if name == "_handle_group" and refused < 3:
            refused += 1
            return False
        return try_post(self, work, size_bytes)  # type: ignore[arg-type]

    async with page_of(manager) as page:
        await page.join(group=ROOM)
        await page.ask()
        monkeypatch.setattr(Mailbox, "try_post", refuse)
        await publish(1)
        await page.hear(1)
        assert refused == 3
