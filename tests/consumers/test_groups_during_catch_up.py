"""What happens to a group while a page catches up with it, on each kind of storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app._live import groups as live_groups
from recovery_app.middleware import override_manager
from recovery_app.storages import Storage
from tests.clock import FakeClock
from tests.consumers.test_durable_groups import ROOM, Room, page_of, publish
from tests.consumers.test_durable_groups import storage as storage  # noqa: PLC0414 - a fixture

GROUPS = 50


@pytest.fixture
def manager(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock, storage: Storage
) -> Iterator[RecoveryManager]:
    manager = make_manager(clock=clock, storage=storage)
    with override_manager(manager):
        yield manager


class ManyRooms(Room):
    """A page in many groups."""

    async def mount(self, topic: str, params: dict[str, Any]) -> None:
        await super().mount(topic, {})
        for number in range(GROUPS):
            await self.join_group(f"room:{number}")


async def test_a_log_that_is_deleted_is_told_in_the_middle_of_it(
    manager: RecoveryManager, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with page_of(manager) as page:
        await page.join(group=ROOM)
    await publish(*range(100))
    read = live_groups.TopicGroups.read
    reads = 0

    async def delete_before_the_second(self: Any, group: str) -> Any:
        nonlocal reads
        reads += 1
        if reads == 2:
            await storage.run(lambda: storage.delete_group(group))
        return await read(self, group)

    monkeypatch.setattr(live_groups.TopicGroups, "read", delete_before_the_second)
    async with page_of(manager) as again:
        await again.join(page.token)
        await again.hear(*range(live_groups.BATCH))
        while not (state := await again.ask())["missed"]:
            pass
        await publish(200)
        while 200 not in (state := await again.ask())["seen"]:
            pass
    assert state["seen"] == [*range(live_groups.BATCH), 200]
    assert state["missed"] == [ROOM]


async def test_a_page_catches_up_with_many_groups(manager: RecoveryManager) -> None:
    async with page_of(manager, ManyRooms) as page:
        await page.join()
    for number in range(GROUPS):
        await publish(number, 1000 + number, group=f"room:{number}")
    async with page_of(manager, ManyRooms) as again:
        await again.join(page.token)
        while len((state := await again.ask())["seen"]) < 2 * GROUPS:
            pass
    assert sorted(state["seen"]) == [*range(GROUPS), *range(1000, 1000 + GROUPS)]
    assert all(
        state["seen"].index(number) < state["seen"].index(1000 + number) for number in range(GROUPS)
    )
    assert state["missed"] == []
