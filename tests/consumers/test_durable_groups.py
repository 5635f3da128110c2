"""Durable groups: each message is handled once and in order by each page that is in the group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
from django.db import connections, transaction
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recovery_app import RecoveryManager, groups
from recovery_app._live import group_reader
from recovery_app.consumers import RecoveryConsumerMixin, SyncRecoveryConsumerMixin
from recovery_app.exceptions import StorageUnavailable
from recovery_app.middleware import override_manager
from recovery_app.storages import (
    DatabaseStorage,
    MemoryStorage,
    MigratingStorage,
    RedisStorage,
    Storage,
    memory_messages,
)
from recovery_app.storages.database import messages as database_messages
from recovery_app.storages.messages import MESSAGE_SECONDS
from recovery_app.storages.redis import messages as redis_messages
from tests.clock import FakeClock
from tests.consumers.wire import TOPIC, Client, connected, recovery_of
from tests.support.processes import HOST
from tests.test_metrics import counting

ROOM = "room:1"
names = count(1)
calls: list[int] = []
"""The messages that handlers were called with, since the test has cleared it."""


class Room(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    recovery_fields = ("seen", "missed")

    async def mount(self, topic: str, params: dict[str, Any]) -> None:
        self.seen: list[Any] = []
        self.missed: list[str] = []
        if "group" in params:
            await self.join_group(params["group"])

    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"seen": list(self.seen)}

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        if event in ("join", "join and fail"):
            await self.join_group(payload["group"])
        if event == "leave":
            await self.leave_group(payload["group"])
        if event == "join and fail":
            raise RuntimeError("a handler that fails")
        return {"seen": list(self.seen), "missed": list(self.missed)}

    async def chat_message(self, message: dict[str, Any]) -> None:
        calls.append(message["number"])
        if not message.get("is_quiet"):
            self.seen.append(message["number"])
        await self.push("seen", {"number": message["number"]})
        if message.get("fails"):
            raise RuntimeError("a handler that fails")
        if message.get("leaves"):
            await self.leave_group(message["leaves"])
        if message.get("saves"):
            await self.save_recovery()
            raise RuntimeError("a handler that fails once it has saved")

    async def missed_messages(self, group: str) -> None:
        self.missed.append(group)


class SyncRoom(SyncRecoveryConsumerMixin, JsonWebsocketConsumer):
    recovery_fields = ("seen", "missed")

    def mount(self, topic: str, params: dict[str, Any]) -> None:
        self.seen: list[Any] = []
        self.missed: list[str] = []
        self.join_group(params["group"])

    def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"seen": list(self.seen)}

    def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        return {"seen": list(self.seen), "missed": list(self.missed)}

    def chat_message(self, message: dict[str, Any]) -> None:
        self.seen.append(message["number"])
        self.push("seen", {"number": message["number"]})

    def missed_messages(self, group: str) -> None:
        self.missed.append(group)


DATABASES = [
    pytest.param(alias, marks=pytest.mark.django_db(transaction=True, databases=[alias]))
    for alias in ("default", "postgresql", "mariadb")
]
EVERYWHERE = pytest.mark.parametrize("storage", ["memory", *DATABASES, "redis"], indirect=True)


@pytest.fixture(params=["memory", DATABASES[0], "redis"])
def storage(request: pytest.FixtureRequest, clock: FakeClock) -> Storage:
    if request.param == "memory":
        return MemoryStorage(clock=clock)
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        prefix = f"test:{next(names)}:"
        return RedisStorage(url=f"redis://{HOST}:{server.port}/0", prefix=prefix, clock=clock)
    return DatabaseStorage(database=request.param, clock=clock)


@pytest.fixture
def manager(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock, storage: Storage
) -> Iterator[RecoveryManager]:
    manager = make_manager(clock=clock, storage=storage)
    with override_manager(manager):
        yield manager


class Page:
    """A client in a room, with its pushes numbered."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.token: str | None = None
        self.seen: list[int] = []

    async def join(self, token: str | None = None, **params: Any) -> dict[str, Any]:
        reply = await self.client.join(TOPIC, token, **params)
        self.token = recovery_of(reply)["token"]
        response: dict[str, Any] = reply["response"]
        return response

    async def hear(self, *numbers: int) -> None:
        """Wait for pushes of these messages, in this order."""
        for number in numbers:
            frame = await self.client.hear()
            assert (frame["event"], frame["payload"]["number"]) == ("seen", number), frame
            self.seen.append(number)

    async def ask(self, event: str = "state", **payload: Any) -> dict[str, Any]:
        """Return the reply to an event."""
        await self.client.cast(event, payload)
        while (frame := await self.client.hear())["event"] != "phx_reply":
            assert frame["event"] == "seen"
            self.seen.append(frame["payload"]["number"])
        response: dict[str, Any] = frame["payload"]["response"]
        return response


@asynccontextmanager
async def page_of(manager: RecoveryManager, consumer: Any = Room) -> AsyncIterator[Page]:
    async with connected(consumer, manager) as client:
        yield Page(client)


async def publish(*numbers: int, group: str = ROOM, **more: Any) -> None:
    for number in numbers:
        await groups.apublish(group, {"type": "chat.message", "number": number, **more})


@EVERYWHERE
@pytest.mark.parametrize("consumer", [Room, SyncRoom])
async def test_what_was_missed_comes_once_and_in_order(
    manager: RecoveryManager, consumer: Any
) -> None:
    await publish(0)
    async with page_of(manager, consumer) as page:
        await page.join(group=ROOM)
        await publish(1, 2)
        await page.hear(1, 2)
        assert (await page.ask())["seen"] == [1, 2], "and nothing from before the join"
    await publish(3, 4)
    async with page_of(manager, consumer) as again:
        assert (await again.join(page.token))["seen"] == [1, 2]
        await publish(5)
        await again.hear(3, 4, 5)
        assert (await again.ask())["seen"] == [1, 2, 3, 4, 5]


async def test_a_catch_up_takes_as_many_turns_as_it_needs(manager: RecoveryManager) -> None:
    async with page_of(manager) as page:
        await page.join(group=ROOM)
    await publish(*range(100))
    async with page_of(manager) as again:
        await again.join(page.token)
        await again.hear(*range(100))


async def test_messages_are_counted_and_so_are_those_that_a_page_catches_up_with(
    manager: RecoveryManager,
) -> None:
    with counting("messages_") as changes:
        async with page_of(manager) as page, page_of(manager) as other:
            await page.join(group=ROOM)
            await other.join(group=ROOM)
            await publish(1, 2)
            await page.hear(1, 2)
            await other.hear(1, 2)
            await page.ask()
            await other.ask()
        await publish(*range(3, 73))
        async with page_of(manager) as again:
            await again.join(page.token)
            await again.hear(*range(3, 73))
            await again.ask()
            await publish(73)
            await again.hear(73)
            await again.ask()
    assert changes == {
        "messages_published_total": 73,
        "messages_handled_total": 2 + 2 + 70 + 1,
        "messages_replayed_total": 70,
    }


async def test_each_page_of_a_process_has_them_all(manager: RecoveryManager) -> None:
    async with page_of(manager) as one, page_of(manager) as other:
        await one.join(group=ROOM)
        await publish(1)
        await other.join(group=ROOM)
        await publish(2, 3)
        await one.hear(1, 2, 3)
        await other.hear(2, 3)


async def test_a_page_can_join_and_leave_in_a_handler(manager: RecoveryManager) -> None:
    async with page_of(manager) as page:
        await page.join()
        await page.ask("join", group=ROOM)
        await page.ask("join", group="room:2")
        await publish(1)
        await page.hear(1)
        await page.ask("leave", group=ROOM)
        await publish(2)
        await publish(3, group="room:2")
        await page.hear(3)
    async with page_of(manager) as again:
        await again.join(page.token)
        await publish(4)
        await publish(5, group="room:2", leaves="room:2")
        await publish(6, group="room:2")
        await again.hear(5)
        assert (await again.ask())["seen"] == [1, 3, 5]


async def test_a_handler_that_fails_joins_nothing(manager: RecoveryManager) -> None:
    async with page_of(manager) as page:
        await page.join()
        await page.ask("join and fail", group=ROOM)
        await publish(1)
        await page.ask("join", group=ROOM)
        await publish(2)
        await page.hear(2)


async def test_a_message_whose_handler_fails_counts_as_handled(manager: RecoveryManager) -> None:
    async with page_of(manager) as page:
        await page.join(group=ROOM, _recv=None)
        await publish(1)
        await publish(2, fails=True)
        await publish(3, saves=True)
        await groups.apublish(ROOM, {"type": "nobody.handles"})
        await publish(4)
        await page.hear(1, 4)
        assert (await page.ask())["seen"] == [1, 4]
    async with page_of(manager) as again:
        assert (await again.join(page.token))["seen"] == [1, 4]


async def test_the_last_message_that_fails_is_not_handled_again(manager: RecoveryManager) -> None:
    calls.clear()
    async with page_of(manager) as page:
        await page.join(group=ROOM)
        await publish(1, fails=True)
        await page.hear(1)
        await page.ask()
        await publish(2)
        await page.hear(2)
    async with page_of(manager) as again:
        assert (await again.join(page.token))["seen"] == [2]
        await publish(3)
        await again.hear(3)
    assert calls == [1, 2, 3]


async def test_a_message_that_changes_no_state_is_not_handled_again(
    manager: RecoveryManager,
) -> None:
    async with page_of(manager) as page:
        await page.join(group=ROOM)
        await publish(1, is_quiet=True)
        await page.hear(1)
        await page.ask()
    async with page_of(manager) as again:
        await again.join(page.token)
        await publish(2)
        await again.hear(2)


@EVERYWHERE
async def test_a_log_that_was_trimmed_is_told(
    manager: RecoveryManager, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (memory_messages, database_messages, redis_messages):
        monkeypatch.setattr(module, "MAX_MESSAGES", 10)
    monkeypatch.setattr(database_messages, "TRIM_EVERY", 8)
    # Redis drops a hundred at once.
    last = 400 if isinstance(storage, RedisStorage) else 40
    async with page_of(manager) as page:
        await page.join(group=ROOM)
        await publish(1)
        await page.hear(1)
    await publish(*range(2, last))
    async with page_of(manager) as again:
        await again.join(page.token)
        found = await again.ask()
        while not found["missed"]:
            found = await again.ask()
        assert found == {"seen": [1], "missed": [ROOM]}
        with counting("messages_") as changes:
            await publish(last)
            await again.hear(last)
            assert (await again.ask())["missed"] == [ROOM], "once"
        assert changes == {"messages_published_total": 1, "messages_handled_total": 1}


@pytest.mark.parametrize("storage", ["memory", DATABASES[0]], indirect=True)
async def test_messages_are_kept_for_a_day(
    manager: RecoveryManager, storage: Storage, clock: FakeClock
) -> None:
    place = await storage.anewest_position(ROOM)
    await publish(1, 2)
    clock.advance(seconds=MESSAGE_SECONDS + 1)
    await storage.acleanup_expired()
    await publish(3)
    found = await storage.aread_messages(ROOM, place, 10)
    assert (len(found.items), found.is_complete) == (1, False)
    later = await storage.aread_messages(ROOM, found.items[0][0], 10)
    assert later == ([], True)


async def test_two_nodes_with_one_storage(
    manager: RecoveryManager, make_manager: Callable[..., RecoveryManager], storage: Storage
) -> None:
    other = make_manager(storage=storage, clock=storage.clock)
    async with page_of(other) as page:
        await page.join(group=ROOM)
        await publish(1)
        await page.hear(1)


async def test_one_reader_reads_for_all(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    advance = group_reader._read

    def note(group: str, after: str, limit: int) -> Any:
        read.append(after)
        return advance(group, after, limit)

    async with page_of(manager) as one, page_of(manager) as other:
        await one.join(group=ROOM)
        await other.join(group=ROOM)
        await publish(0)
        await one.hear(0)
        await other.hear(0)
        monkeypatch.setattr(group_reader, "_read", note)
        for number in range(1, 6):
            await publish(number)
            await one.hear(number)
            await other.hear(number)
        reads = len(read)
        assert len(set(read)) <= 7, "each place is read by nobody but the reader"
        assert reads < 60


async def test_nothing_is_read_once_all_have_left(manager: RecoveryManager) -> None:
    async with page_of(manager) as page:
        await page.join(group=ROOM)
        reader = group_reader.reader_of(manager.driver)
        assert list(reader._tails) == [ROOM]
    assert (dict(reader._tails), reader._task) == ({}, None)


async def test_mistakes_are_refused(manager: RecoveryManager) -> None:
    mistakes: list[tuple[str, Any]] = [
        ("", {"type": "a"}),
        (ROOM, {}),
        (ROOM, {"type": ""}),
        (ROOM, None),
        (ROOM, [{"type": "a"}]),
        ("x" * 256, {"type": "a"}),
        (ROOM, {"type": "a", "b": "x" * 300_000}),
    ]
    for group, message in mistakes:
        with pytest.raises(ValueError, match=r"type|empty|255|MAX_FRAME_BYTES"):
            await groups.apublish(group, message)


async def test_a_page_that_moves_to_another_storage_loads_afresh(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> None:
    old, new = MemoryStorage(clock=clock), MemoryStorage(clock=clock)
    for _ in range(3):
        new.append_message(ROOM, b"{}", lambda: None)
    manager = make_manager(clock=clock, storage=old)
    with override_manager(manager):
        async with page_of(manager) as page:
            await page.join(group=ROOM)
            await publish(1)
            await page.hear(1)
    manager = make_manager(clock=clock, storage=MigratingStorage(new, old, clock=clock))
    with override_manager(manager):
        async with page_of(manager) as again:
            await again.join(page.token)
            found = await again.ask()
            while not found["missed"]:
                found = await again.ask()
            await publish(2)
            await again.hear(2)


# Transactions.


@pytest.mark.django_db(transaction=True)
async def test_a_publish_commits_with_the_transaction_or_not_at_all(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    manager = make_manager(storage=DatabaseStorage())

    def work(number: int, *, fails: bool) -> None:
        with override_manager(manager), transaction.atomic():
            groups.publish(ROOM, {"type": "chat.message", "number": number})
            if fails:
                raise RuntimeError("the transaction is rolled back")

    async with page_of(manager) as page:
        await page.join(group=ROOM)
        with pytest.raises(RuntimeError):
            await sync_to_async(work)(1, fails=True)
        await sync_to_async(work)(2, fails=False)
        await page.hear(2)
        assert (await page.ask())["seen"] == [2]
    await sync_to_async(connections.close_all)()


# Cut between any two steps.


class Shaky(MemoryStorage):
    """A storage whose next saves fail, or land without anybody's knowing."""

    fails = 0
    lands = False

    async def asave_fenced(self, *arguments: Any, **options: Any) -> Any:
        if self.fails > 0:
            self.fails -= 1
            if self.lands:
                await super().asave_fenced(*arguments, **options)
            raise StorageUnavailable("Shaky", "a save")
        return await super().asave_fenced(*arguments, **options)


VISIT = st.tuples(
    st.integers(0, 5), st.integers(0, 5), st.integers(0, 3), st.booleans(), st.booleans()
)


@hypothesis_settings(max_examples=40)
@given(visits=st.lists(VISIT, max_size=6))
def test_each_message_is_in_the_state_once(visits: Any) -> None:
    async def run() -> None:
        clock = FakeClock()
        storage = Shaky(clock=clock)
        numbers = count(1)
        with (
            RecoveryManager(secret=b"s" * 32, storage=storage, clock=clock) as manager,
            override_manager(manager),
        ):
            async with page_of(manager) as page:
                await page.join(group=ROOM)
            for away, there, fails, lands, hears in visits:
                await publish(*(next(numbers) for _ in range(away)))
                storage.fails, storage.lands = fails, lands
                async with page_of(manager) as next_page:
                    await next_page.join(page.token)
                    await publish(*(next(numbers) for _ in range(there)))
                    if hears:
                        await next_page.ask()
                storage.fails = 0
                page.token = next_page.token or page.token
            last = next(numbers)
            await publish(last)
            async with page_of(manager) as again:
                await again.join(page.token)
                found = await again.ask()
                while last not in found["seen"]:
                    found = await again.ask()
            assert found["seen"] == list(range(1, last + 1))
            assert found["missed"] == []

    asyncio.run(run())
