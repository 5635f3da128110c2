"""Failures of Redis under a page: it goes on, its token is good, and no older save wins."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from recovery_app import RecoveryManager
from tests.consumers.apps import COUNTERS
from tests.consumers.pages import PATIENCE_SECONDS, comes_back, crowded, eventually, opened
from tests.consumers.wire import recovery_of
from tests.core.redis_storages import on_one
from tests.support.asgi import AsgiServer
from tests.support.processes import HOST, Process
from tests.support.proxy import Gate
from tests.support.redis import ask, calls_of, client, connections_of, make_redis
from tests.support.redis_fixtures import Manage

ROUNDS = 5
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")

both = pytest.mark.parametrize("counter", COUNTERS)


@pytest.fixture
def server(redis_directory: Path) -> Iterator[Process]:
    """Run a server that keeps each write over a crash."""
    with make_redis(redis_directory, *DURABLE) as server:
        yield server


@pytest.fixture
def manager(server: Process, manage: Manage) -> RecoveryManager:
    return manage(**on_one(server))


# A server that crashes and comes back.


@both
async def test_a_crash_before_a_join(
    manager: RecoveryManager, server: Process, counter: Any
) -> None:
    async with opened(manager, counter) as page:
        assert await page.join() == "new"
        await page.add()
    token = page.token
    server.kill()
    async with opened(manager, counter) as page:
        assert await page.join(token) == "unavailable"
        for _ in range(2):
            await page.add()
        assert page.token == token
        server.start()
        assert await comes_back(manager, token, counter) == ("recovered", 1)
        await page.add()
        assert await comes_back(manager, page.token, counter) == ("recovered", 3)
    assert await comes_back(manager, token, counter) == ("recovered", 1)


@both
async def test_a_crash_between_two_events(
    manager: RecoveryManager, server: Process, counter: Any
) -> None:
    async with opened(manager, counter) as zombie, opened(manager, counter) as page:
        await zombie.join()
        await zombie.add()
        assert await page.join(zombie.token) == "recovered"
        await page.add()
        token = page.token
        server.kill()
        for _ in range(2):
            await page.add()
            await zombie.add()
        assert await comes_back(manager, token, counter) == ("unavailable", 0)
        server.start()
        await zombie.add()
        await page.add()
        # The older connection goes on as well, with a copy that is its own.
        assert await comes_back(manager, token, counter) == ("recovered", 5)
        assert await comes_back(manager, zombie.token, counter) == ("recovered", 4)
        assert page.token == token != zombie.token


@both
async def test_a_crash_during_a_save(server: Process, manage: Manage, counter: Any) -> None:
    manager = manage(**on_one(server), timeout=PATIENCE_SECONDS)
    async with opened(manager, counter) as page:
        await page.join()
        await page.add()
        token = page.token
        ask(server.port, "CLIENT", "PAUSE", PATIENCE_SECONDS * 1000, "WRITE")
        await page.client.cast("add")
        await eventually(lambda: blocked_at(server) == 1)
        server.kill()
        await page.is_answered()
        server.start()
        await page.add()
        assert await comes_back(manager, token, counter) == ("recovered", 3)
        assert page.token == token


async def test_a_crash_after_a_save_whose_reply_is_lost(server: Process, manage: Manage) -> None:
    async with Gate(server.port) as gate:
        manager = manage(url=f"redis://{HOST}:{gate.port}")
        async with opened(manager) as page:
            await page.join()
            token = page.token
            gate.shut(for_replies=True)
            steps = calls_of(server.port)["evalsha"]
            await page.client.cast("add")
            await eventually(lambda: calls_of(server.port)["evalsha"] > steps)
            server.kill()
            gate.cut()
            await page.is_answered()
            server.start()
            assert await comes_back(manager, token) == ("recovered", 1)
            await page.add()
            assert await comes_back(manager, page.token) == ("recovered", 2)


async def test_a_server_that_comes_back_with_nothing(redis_directory: Path, manage: Manage) -> None:
    with make_redis(redis_directory) as server:
        manager = manage(**on_one(server))
        async with opened(manager) as page:
            await page.join()
            await page.add()
            server.restart()
            await page.add()
            assert await comes_back(manager, page.token) == ("recovered", 2)


async def test_crashes_under_load(manager: RecoveryManager, server: Process) -> None:
    async with crowded(manager) as crowd:
        for _ in range(3):
            await crowd.has_gone_on(200)
            server.kill()
            await asyncio.to_thread(server.start)
        await crowd.is_safe(manager)


def blocked_at(server: Process) -> int:
    with client(server.port) as connection:
        return int(connection.info("clients")["blocked_clients"])


# Connections that run out.


async def test_a_server_that_takes_no_more_connections(
    manager: RecoveryManager, server: Process
) -> None:
    async with opened(manager) as page:
        await page.join()
        await page.add()
        token = page.token
        with ExitStack() as stack:
            crowd = [stack.enter_context(client(server.port)) for _ in range(3)]
            crowd[0].config_set("maxclients", len(crowd))
            crowd[0].client_kill_filter(_type="normal", skipme=True)
            for each in crowd:
                each.ping()
            for _ in range(2):
                await page.add()
            assert await comes_back(manager, token) == ("unavailable", 0)
            crowd[0].config_set("maxclients", 1000)
        await page.add()
        assert await comes_back(manager, token) == ("recovered", 4)
        assert page.token == token


async def test_the_only_connection_is_stuck(server: Process, manage: Manage) -> None:
    async with Gate(server.port) as gate:
        manager = manage(url=f"redis://{HOST}:{gate.port}", lanes=1)
        async with opened(manager) as first, opened(manager) as second:
            await first.join()
            await second.join()
            tokens = first.token, second.token
            gate.shut()
            outcomes = await asyncio.gather(
                first.add(), second.add(), comes_back(manager, first.token)
            )
            assert outcomes[-1] == ("unavailable", 0)
            await asyncio.gather(first.add(), second.add())
            for page in (first, second):
                assert await comes_back(manager, page.token) == ("recovered", 2)
            assert (first.token, second.token) == tokens


async def test_many_pages_share_one_connection(server: Process, manage: Manage) -> None:
    manager = manage(**on_one(server), lanes=1, timeout=5)
    async with AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(opened(manager)) for _ in range(100)]
        assert await asyncio.gather(*(page.join() for page in pages)) == ["new"] * 100
        await asyncio.gather(*(page.add() for page in pages))
        assert connections_of(server.port) == 1
        server.restart()
        await asyncio.gather(*(page.add() for page in pages))
        back = await asyncio.gather(*(comes_back(manager, page.token) for page in pages))
        assert back == [("recovered", 2)] * 100
        assert connections_of(server.port) == 1


# A page of the example, on a real server.


async def test_a_page_of_the_example_outlives_its_redis(
    asgi_server: Callable[..., AsgiServer], server: Process
) -> None:
    node = asgi_server(env={"REDIS_URL": f"redis://{HOST}:{server.port}/0"})
    url = f"{node.ws_url}/ws/websocket"
    async with connect(url) as socket:
        token = recovery_of(await tell(socket, "phx_join", {}))["token"]
        await tell(socket, "add_item", {"id": "before"})
        server.kill()
        await tell(socket, "add_item", {"id": "during"})
        async with connect(url) as other:
            part = recovery_of(await tell(other, "phx_join", {"_recovery": token}))
            assert (part["outcome"], part["token"]) == ("unavailable", None)
            await tell(other, "add_item", {"id": "others"})
        server.start()
        reply = await tell(socket, "add_item", {"id": "after0"})
        assert item_ids(reply)[-3:] == ["before", "during", "after0"]
        async with connect(url) as other:
            back = await tell(other, "phx_join", {"_recovery": token})
            assert recovery_of(back)["outcome"] == "recovered"
            assert item_ids(back) == item_ids(reply)


async def tell(socket: ClientConnection, event: str, payload: Any) -> Any:
    """Send an event and return the payload of the reply."""
    await socket.send(json.dumps(["1", "1", "quote", event, payload]))
    frame = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_SECONDS))
    assert frame[3] == "phx_reply"
    assert frame[4]["status"] == "ok"
    return frame[4]


def item_ids(reply: Any) -> list[str]:
    return [item["id"] for item in reply["response"]["quote"]["items"]]


# A server that stalls.


async def test_a_stall_of_the_server(manager: RecoveryManager, server: Process) -> None:
    async with opened(manager) as gone:
        await gone.join()
        await gone.add()
    async with opened(manager) as page:
        await page.join()
        token = page.token
        with server.stalled():
            for _ in range(ROUNDS):
                # Each is answered after the time-out, long before the server goes on.
                answers = await asyncio.gather(page.add(), comes_back(manager, gone.token))
                assert answers[-1] == ("unavailable", 0)
            going_on = asyncio.create_task(page.add())
            await asyncio.sleep(0)
        await going_on
        await page.add()
        # Redis now also does what it was asked in vain: none of it may undo the last save.
        assert await comes_back(manager, page.token) == ("recovered", page.count)
        assert await comes_back(manager, gone.token) == ("recovered", 1)
        assert page.token == token


async def test_stalls_under_load(manager: RecoveryManager, server: Process) -> None:
    async with crowded(manager) as crowd:
        for _ in range(3):
            await crowd.has_gone_on(200)
            os.kill(server.pid, signal.SIGSTOP)
            # Each page goes on in it, and is told so after a time-out.
            await crowd.has_gone_on(2 * len(crowd.pages))
            os.kill(server.pid, signal.SIGCONT)
        await crowd.is_safe(manager)


async def test_a_save_that_comes_late_changes_nothing(server: Process, manage: Manage) -> None:
    async with Gate(server.port) as gate:
        manager = manage(url=f"redis://{HOST}:{gate.port}")
        async with opened(manager) as page:
            await page.join()
            token = page.token
            gate.shut()
            await page.add()
            await page.add()
            gate.open()
            await eventually(lambda: connections_of(server.port) == 1)
            assert await comes_back(manager, token) == ("recovered", 2)
            assert page.token == token
