"""Durable groups on real Redis servers: who wakes whom, and what outlives what."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app._live import group_reader
from recovery_app.exceptions import StorageUnavailable
from recovery_app.middleware import override_manager
from recovery_app.storages import RedisStorage, Storage
from recovery_app.storages.messages import MessageWatch
from recovery_app.storages.redis import watching
from recovery_app.testing.contract.groups import hear
from tests.consumers.pages import eventually
from tests.consumers.test_durable_groups import Page, page_of, publish
from tests.core.redis_storages import SERVERS, on_cluster, on_one, on_sentinels
from tests.support.processes import HOST, Process, wait_until
from tests.support.redis import (
    SERVICE,
    Cluster,
    SentinelTrio,
    ask,
    calls_of,
    client,
    make_redis,
)
from tests.support.redis_fixtures import TIMEOUT_SECONDS, Manage
from tests.test_redis_failovers import Move, has_switched, is_level

ROOM = "room:1"
NEVER = 1000.0
LIMIT = 60
PATIENT = {"wait_replicas": 1, "wait_timeout": 20, "timeout": 30}
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
def server(redis_directory: Path) -> Iterator[Process]:
    """Run a server of the test's own, to be broken."""
    with make_redis(redis_directory) as server:
        yield server


@pytest.fixture
def no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave it to the servers to say what has changed."""
    monkeypatch.setattr(watching, "CHECK_SECONDS", NEVER)
    monkeypatch.setattr(watching, "READ_SECONDS", NEVER)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_reader, "RETRY_SECONDS", 0.05)


def make_storage(options: dict[str, Any], name: str = "test") -> RedisStorage:
    return RedisStorage(**{"prefix": f"{name}:", "timeout": TIMEOUT_SECONDS, **options})


@asynccontextmanager
async def watched(storage: RedisStorage, *groups: str) -> AsyncIterator[MessageWatch]:
    """Follow groups, all of which were read to their ends."""
    watch = storage.watch_messages()
    for group in groups:
        watch.enter(group)
    await hear(storage, watch, *groups)
    try:
        yield watch
    finally:
        await watch.close()
        storage.close()


def stream_of(storage: Storage, group: str = ROOM) -> str:
    assert isinstance(storage, RedisStorage)
    return f"{storage.prefix}groups:{{{group}}}"


def add(port: int, stream: str, number: int = 0) -> None:
    """Publish as a process in another language does."""
    message = b'{"type": "chat.message", "number": %d}' % number
    ask(port, "XADD", stream, "MAXLEN", "~", 10_000, "*", "m", message)


@pytest.fixture(params=["redis_server", "redis_sentinels", "redis_cluster"])
def everywhere(request: pytest.FixtureRequest) -> tuple[RedisStorage, Callable[[str], int]]:
    """Return a storage on each kind of servers, and what finds the port for a stream."""
    request.getfixturevalue(request.param)
    servers = SERVERS[request.param]
    if request.param == "redis_cluster":
        first = servers.nodes[0].port
        storage = make_storage(on_cluster(servers), request.node.name)
        return storage, lambda key: servers.owner_of(ask(first, "CLUSTER", "KEYSLOT", key))
    options = on_one if request.param == "redis_server" else on_sentinels
    storage = make_storage(options(servers), request.node.name)
    return storage, lambda _: servers.port if options is on_one else servers.master_port


async def test_the_server_says_what_another_process_has_published(
    everywhere: tuple[RedisStorage, Callable[[str], int]], no_polls: None
) -> None:
    storage, port_of = everywhere
    rooms = [f"room:{number}" for number in range(6)]
    async with watched(storage, *rooms) as watch:
        for room in (*rooms, rooms[0], rooms[0]):
            stream = stream_of(storage, room)
            add(port_of(stream), stream)
            assert room in await hear(storage, watch, room)


async def test_nothing_is_asked_while_nothing_happens(
    server: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RedisStorage, "poll_seconds", 0.01)
    storage = make_storage(on_one(server))
    async with watched(storage, ROOM, "room:2") as watch:
        waiting = asyncio.ensure_future(watch.wait())
        # What was begun for the first reader is read once more.
        for group in await asyncio.wait_for(waiting, LIMIT):
            watch.follow(group, await storage.anewest_position(group))
        waiting = asyncio.ensure_future(watch.wait())
        before = calls_of(server.port)
        await asyncio.sleep(0.2)
        after = calls_of(server.port)
        reads = [after.get(name, 0) - before.get(name, 0) for name in ("xrange", "xrevrange")]
        assert (sum(reads), waiting.done()) == (0, False)
        add(server.port, stream_of(storage))
        assert await asyncio.wait_for(waiting, LIMIT) == [ROOM]


@pytest.mark.parametrize("lost", ["pubsub", "normal"])
async def test_either_connection_may_be_lost(
    server: Process, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    if lost == "pubsub":
        monkeypatch.setattr(watching, "CHECK_SECONDS", NEVER)
    else:
        monkeypatch.setattr(watching, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(watching, "READ_SECONDS", NEVER)
    storage = make_storage(on_one(server))
    async with watched(storage, ROOM) as watch:
        for _ in range(2):
            ask(server.port, "CLIENT", "KILL", "TYPE", lost)
            while ROOM not in await asyncio.wait_for(watch.wait(), LIMIT):
                pass
            watch.follow(ROOM, await storage.anewest_position(ROOM))
            add(server.port, stream_of(storage))
            await hear(storage, watch, ROOM)


async def test_a_server_that_stalls_is_noticed_and_heard_again(
    server: Process, no_polls: None
) -> None:
    storage = make_storage(on_one(server))
    async with watched(storage, ROOM) as watch:
        with server.stalled():
            while ROOM not in await asyncio.wait_for(watch.wait(), LIMIT):
                pass
            with pytest.raises(StorageUnavailable):
                await storage.anewest_position(ROOM)
        watch.note(ROOM)
        add(server.port, stream_of(storage))
        await hear(storage, watch, ROOM)
        add(server.port, stream_of(storage))
        await hear(storage, watch, ROOM)


async def test_a_server_that_refuses_is_polled(
    server: Process, caplog: pytest.LogCaptureFixture
) -> None:
    ask(server.port, "ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "resetchannels")
    storage = make_storage({"url": f"redis://app:secret@{HOST}:{server.port}/0"})
    with caplog.at_level(logging.WARNING, "recovery_app"):
        async with watched(storage, ROOM) as watch:
            for _ in range(3):
                add(server.port, stream_of(storage))
                await hear(storage, watch, ROOM)
            await storage.aappend_message(ROOM, b"{}", lambda: watch.note_published(ROOM))
            await hear(storage, watch, ROOM)
    events = [getattr(each, "event", None) for each in caplog.records]
    assert events == ["groups_polled"]
    assert "secret" not in caplog.text


async def test_who_leaves_holds_no_connection(server: Process) -> None:
    storage = make_storage(on_one(server))
    async with watched(storage, ROOM):
        with client(server.port) as connection:
            assert len(connection.client_list(_type="pubsub")) == 1
    with client(server.port) as connection:
        wait_until(lambda: not connection.client_list(_type="pubsub"), LIMIT, "It is still there.")


# What a log has lost.


async def test_a_stream_that_begins_anew_is_another_one(server: Process) -> None:
    storage = make_storage(on_one(server))
    stream = stream_of(storage)
    for number in (1, 2):
        ask(server.port, "XADD", stream, f"1-{number}", "m", f"before {number}")
    place = storage.newest_position(ROOM)
    assert storage.read_messages(ROOM, place, 10) == ([], True)
    ask(server.port, "DEL", stream)
    assert not storage.read_messages(ROOM, place, 10).is_complete
    for number in (1, 2, 3):
        ask(server.port, "XADD", stream, f"1-{number}", "m", f"after {number}")
    found = storage.read_messages(ROOM, place, 10)
    assert [data for _, data in found.items] == [b"after 2", b"after 3"]
    assert not found.is_complete
    storage.close()


async def test_a_stream_expires_after_a_week_without_messages(server: Process) -> None:
    storage = make_storage(on_one(server))
    await storage.anewest_position(ROOM)
    storage.newest_position("room:2")
    await storage.aappend_message("room:3", b"{}", lambda: None)
    storage.append_message("room:4", b"{}", lambda: None)
    for number in range(1, 5):
        stream = stream_of(storage, f"room:{number}")
        assert 604_000 < ask(server.port, "TTL", stream) <= 604_800
    before = calls_of(server.port)["expire"]
    storage.append_message("room:3", b"{}", lambda: None)
    await storage.aappend_message("room:4", b"{}", lambda: None)
    assert calls_of(server.port)["expire"] == before
    storage.close()


@asynccontextmanager
async def in_room(manager: RecoveryManager) -> AsyncIterator[Page]:
    """Join the room, whose messages are published by this manager."""
    with override_manager(manager):
        async with page_of(manager) as page:
            await page.join(group=ROOM)
            yield page


async def missed(page: Page) -> dict[str, Any]:
    """Return what a page says once it has been told that it lacks messages."""
    found = await page.ask()
    while not found["missed"]:
        found = await page.ask()
    return found


async def test_entries_without_a_message_are_passed_over(server: Process, manage: Manage) -> None:
    manager = manage(**on_one(server))
    stream = stream_of(manager.storage)
    async with in_room(manager) as page:
        with client(server.port) as connection, connection.pipeline() as pipeline:
            for _ in range(group_reader.BATCH + 10):
                pipeline.xadd(stream, {"something": "else"})
            pipeline.execute()
        add(server.port, stream, 1)
        await page.hear(1)
        assert await page.ask() == {"seen": [1], "missed": []}


async def test_a_restart_that_loses_messages_is_told(server: Process, manage: Manage) -> None:
    manager = manage(**on_one(server))
    async with in_room(manager) as page, in_room(manager) as other:
        await publish(1)
        await page.hear(1)
        await other.hear(1)
        ask(server.port, "SAVE")
        await publish(2, 3)
        await page.hear(2, 3)
        await other.hear(2, 3)
        server.kill()
        server.start()
        for each in (page, other):
            found = await asyncio.wait_for(missed(each), LIMIT)
            assert found == {"seen": [1, 2, 3], "missed": [ROOM]}
        await publish(4, 5)
        for each in (page, other):
            await each.hear(4, 5)
            assert await each.ask() == {"seen": [1, 2, 3, 4, 5], "missed": [ROOM]}


async def test_a_restart_that_loses_nothing_is_no_loss(
    redis_directory: Path, manage: Manage
) -> None:
    with make_redis(redis_directory, *DURABLE) as server:
        manager = manage(**on_one(server))
        async with in_room(manager) as page:
            await publish(1)
            await page.hear(1)
            server.kill()
            with pytest.raises(StorageUnavailable):
                await publish(2)
            server.start()
            await publish(3, 4)
            await page.hear(3, 4)
        with override_manager(manager):
            await publish(5)
        async with page_of(manager) as again:
            await again.join(page.token)
            await again.hear(5)
            assert await again.ask() == {"seen": [1, 3, 4, 5], "missed": []}


async def test_a_failover_by_sentinels(
    redis_sentinels: SentinelTrio, manage: Manage, no_polls: None
) -> None:
    trio = redis_sentinels
    trio.settle()
    manager = manage(**on_sentinels(trio), prefix="failover:", **PATIENT)
    async with in_room(manager) as page:
        await publish(1, 2)
        await page.hear(1, 2)
        old = trio.master
        replica = next(each for each in trio.servers if each is not old)
        ask(trio.sentinels[0].port, "SENTINEL", "FAILOVER", SERVICE)
        await eventually(lambda: has_switched(trio, replica))
        # What the Sentinels do to it as well, some seconds later.
        ask(old.port, "REPLICAOF", HOST, replica.port)
        for kind in ("normal", "pubsub"):
            ask(old.port, "CLIENT", "KILL", "TYPE", kind)
        add(replica.port, stream_of(manager.storage), 3)
        await page.hear(3)
        await eventually(lambda: is_level(replica, old))
        await publish(4, 5)
        await page.hear(4, 5)
        assert await page.ask() == {"seen": [1, 2, 3, 4, 5], "missed": []}


async def test_a_slot_on_the_move(redis_cluster: Cluster, manage: Manage, no_polls: None) -> None:
    manager = manage(**on_cluster(redis_cluster))
    stream = stream_of(manager.storage)
    async with in_room(manager) as page:
        await publish(1)
        await page.hear(1)
        move = Move(redis_cluster, stream)
        move.begin()
        await publish(2)
        await page.hear(2)
        move.take_along(stream)
        await publish(3)
        await page.hear(3)
        move.end()
        await publish(4, 5)
        await page.hear(4, 5)
        add(move.target, stream, 6)
        await page.hear(6)
        assert await page.ask() == {"seen": [1, 2, 3, 4, 5, 6], "missed": []}
