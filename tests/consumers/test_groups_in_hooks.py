"""Durable groups that hooks and handlers join and leave at unusual moments, and their bounds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recovery_app import RecoveryManager, groups
from recovery_app._live import group_reader
from recovery_app._live.groups import MAX_GROUPS
from recovery_app.middleware import override_manager
from recovery_app.storages import DatabaseStorage, MemoryStorage
from tests.clock import FakeClock
from tests.consumers.test_durable_groups import ROOM, Room, page_of, publish

NOTICES = "notices"


@pytest.fixture
def manager(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> Iterator[RecoveryManager]:
    manager = make_manager(clock=clock, storage=MemoryStorage(clock=clock))
    with override_manager(manager):
        yield manager


class Announced(Room):
    """Each page is in one more group, from the moment that it is let in."""

    async def authorize_join(self, topic: str, params: dict[str, Any]) -> None:
        await self.join_group(NOTICES)
        await self.push("seen", {"number": 0})


class Unrestorable(Announced):
    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        await self.join_group("elsewhere")
        await self.push("seen", {"number": -1})
        raise RuntimeError("a hook that fails")


class Resynced(Room):
    async def chat_message(self, message: dict[str, Any]) -> None:
        if message.get("resyncs"):
            await self.leave_group(ROOM)
            await self.join_group(ROOM)
            self.seen = ["loaded"]
        await super().chat_message(message)


class Greedy(Room):
    async def mount(self, topic: str, params: dict[str, Any]) -> None:
        await super().mount(topic, params)
        joins = (self.join_group(f"room:{number}") for number in range(MAX_GROUPS + 1))
        found = await asyncio.gather(*joins, return_exceptions=True)
        self.seen = [str(each) for each in found if each is not None]


class Slow(MemoryStorage):
    async def anewest_position(self, group: str) -> str:
        await asyncio.sleep(0)
        return await super().anewest_position(group)


async def test_a_group_that_is_joined_before_the_recovery_is_one_more(
    manager: RecoveryManager,
) -> None:
    async with page_of(manager, Announced) as page:
        await page.join(_recv=None, group=ROOM)
        await publish(1)
        await page.hear(0, 1)
        await page.ask()
    await publish(2)
    await publish(3, group=NOTICES)
    async with page_of(manager, Announced) as again:
        await again.join(page.token, _recv=2)
        heard = [(await again.client.hear())["payload"]["number"] for _ in range(3)]
        assert sorted(heard) == [0, 2, 3]
        await publish(4)
        await again.hear(4)


@pytest.mark.parametrize("consumer", [Announced, Unrestorable])
async def test_a_recovery_that_fails_undoes_no_join_from_before_it(
    manager: RecoveryManager, clock: FakeClock, consumer: Any
) -> None:
    async with page_of(manager, Announced) as page:
        await page.join(_recv=None, group=ROOM)
    if consumer is Announced:
        clock.advance(seconds=1000)
    async with page_of(manager, consumer) as again:
        await again.join(page.token, _recv=None)
        await again.hear(0)
        await publish(1)
        await publish(2, group="elsewhere")
        await publish(3, group=NOTICES)
        await again.hear(3)
        assert (await again.ask())["seen"] == [3]


async def test_who_joins_anew_has_what_is_published_from_then_on(manager: RecoveryManager) -> None:
    async with page_of(manager, Resynced) as page:
        await page.join(group=ROOM)
    await publish(1)
    await publish(2, resyncs=True)
    await publish(3, 4)
    async with page_of(manager, Resynced) as again:
        await again.join(page.token)
        await again.hear(1, 2)
        await publish(5)
        await again.hear(5)
        assert (await again.ask())["seen"] == ["loaded", 2, 5]


async def test_no_more_groups_than_that_by_joining_them_at_once(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> None:
    manager = make_manager(clock=clock, storage=Slow(clock=clock))
    with override_manager(manager):
        async with page_of(manager, Greedy) as page:
            await page.join()
            assert len((await page.ask())["seen"]) == 1


async def test_a_page_with_much_to_catch_up_with_lets_others_have_their_turn(
    manager: RecoveryManager,
) -> None:
    turns = 0
    turn_of: list[int] = []
    all_handled = asyncio.Event()

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    class Counting(Room):
        async def chat_message(self, message: dict[str, Any]) -> None:
            turn_of.append(turns)
            if len(turn_of) == 320:
                all_handled.set()

    async with page_of(manager, Counting) as page:
        await page.join(group=ROOM)
    await publish(*range(320))
    async with page_of(manager, Counting) as again:
        counting = asyncio.create_task(count_turns())
        await again.join(page.token)
        await asyncio.wait_for(all_handled.wait(), 60)
        counting.cancel()
    assert max(map(turn_of.count, turn_of)) <= 32


def test_memory_knows_which_groups_have_changed(clock: FakeClock) -> None:
    storage = MemoryStorage(clock=clock)
    positions = {name: storage.newest_position(name) for name in ("quiet", "busy", "removed")}
    assert storage.changed_groups(positions) == []
    storage.append_message("busy", b"{}", lambda: None)
    storage.delete_group("removed")
    assert storage.changed_groups(positions) == ["busy", "removed"]


@pytest.mark.django_db(transaction=True, databases=["mariadb"])
async def test_names_are_compared_exactly(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> None:
    manager = make_manager(clock=clock, storage=DatabaseStorage(database="mariadb", clock=clock))
    with override_manager(manager):
        async with page_of(manager) as page:
            await page.join(group=ROOM)
            for number, name in enumerate((ROOM.upper(), f"{ROOM} ", ROOM.replace("o", "ö"))):
                await publish(number, group=name)
            await publish(7)
            await page.hear(7)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_a_forked_child_publishes_for_itself(manager: RecoveryManager) -> None:
    async with page_of(manager) as page:
        await page.join(group=ROOM)
        assert len(group_reader._readers) == 1
        storage = manager.storage
        assert isinstance(storage, MemoryStorage)
        with storage._messages._lock:
            child = os.fork()
            if not child:
                code = 1
                try:
                    # A thread of the parent holds the lock for ever, as the child sees it.
                    is_free = storage._messages._lock.acquire(timeout=5)
                    code = 0 if is_free and not group_reader._readers else 2
                finally:
                    os._exit(code)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        await groups.apublish(ROOM, {"type": "chat.message", "number": 1})
        await page.hear(1)
