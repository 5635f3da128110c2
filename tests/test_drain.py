"""A server that is told to stop: its WebSockets go one by one, and nobody loses anything."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.protocol import State

from tests.support.asgi import AsgiServer
from tests.support.draining import BEGAN
from tests.support.processes import HOST, Process, wait_until
from tests.support.proxies import make_nginx
from tests.test_many_nodes import join_with

APPLICATION = "tests.support.draining:application"
UNDRAINED = "tests.support.draining:undrained"
SERVERS = ("uvicorn", "daphne")
CLIENTS = 30
SECONDS = 3.0
END_SECONDS = 120
STATUSES = {"uvicorn": -signal.SIGTERM, "daphne": 0}

both = pytest.mark.parametrize("server_name", SERVERS)


@dataclass
class Page:
    """A page that counts, and notes when and how its connection was closed."""

    wire: ClientConnection
    count: int = 0
    token: str | None = None
    code: int = 0
    closed_at: float = 0
    _refs: int = field(default=0, repr=False)

    async def ask(self, event: str, **payload: Any) -> dict[str, Any]:
        """Send a frame and give the response to it."""
        await self.cast(event, **payload)
        return await self.hear()

    async def cast(self, event: str, **payload: Any) -> None:
        """Send a frame without waiting."""
        self._refs += 1
        await self.wire.send(json.dumps(["1", str(self._refs), "lv:count", event, payload]))

    async def hear(self) -> dict[str, Any]:
        """Return the response of the next reply."""
        payload: dict[str, Any] = json.loads(await self.wire.recv())[4]
        assert payload["status"] == "ok", payload
        response: dict[str, Any] = payload["response"]
        return response

    async def join(self, token: str | None = None) -> dict[str, Any]:
        """Join and keep the token."""
        response = await self.ask("phx_join", **({"_recovery": token} if token else {}))
        self.token = response["_recovery"]["token"]
        return response

    async def add(self) -> None:
        """Have it count."""
        self.count = (await self.ask("add"))["count"]

    async def closed(self) -> None:
        """Wait for the end of the connection; all replies have come before."""
        try:
            while True:
                self.count = (await self.hear())["count"]
        except ConnectionClosed as closed:
            self.code = closed.rcvd.code if closed.rcvd else 0
        self.closed_at = time.monotonic()


@asynccontextmanager
async def opened(server: AsgiServer, route: str = "gathering") -> AsyncIterator[Page]:
    async with connect(f"{server.ws_url}/{route}", ping_interval=None) as wire:
        yield Page(wire)


@asynccontextmanager
async def crowd(
    server: AsgiServer, size: int, route: str = "gathering"
) -> AsyncIterator[list[Page]]:
    """Open pages that have joined and counted."""
    async with AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(opened(server, route)) for _ in range(size)]
        for page in pages:
            await page.join()
            for _ in range(random.randint(1, 4)):
                await page.add()
        yield pages


async def all_closed(pages: list[Page]) -> None:
    """Wait for the end of all connections."""
    await asyncio.wait_for(asyncio.gather(*(page.closed() for page in pages)), END_SECONDS)


def tell_to_stop(server: AsgiServer) -> float:
    """Send SIGTERM and return the time just before, however long this process waits afterwards."""
    told_at = time.monotonic()
    os.kill(server.pid, signal.SIGTERM)
    return told_at


async def ends(server: AsgiServer) -> int:
    """Wait for the end of the process, and give its status."""
    return await asyncio.to_thread(server.ended, END_SECONDS)


async def handlers_began(server: AsgiServer, count: int) -> None:
    """Wait until so many handlers are at work on an event that takes its time."""
    await asyncio.to_thread(
        wait_until, lambda: server.output().count(BEGAN) >= count, END_SECONDS, "no handler began"
    )


async def one_closed(pages: list[Page]) -> None:
    """Wait until the first connection has been closed."""
    waits = [asyncio.create_task(page.wire.wait_closed()) for page in pages]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=END_SECONDS)


async def have_come_back(server: AsgiServer, pages: list[Page], route: str = "gathering") -> None:
    """Have each page come again, and find what it had."""
    for page in pages:
        async with opened(server, route) as again:
            response = await again.join(page.token)
            assert response["_recovery"]["outcome"] == "recovered"
            assert response["count"] == page.count > 0


def start_again(server: AsgiServer) -> None:
    server.kill()
    server.start()


@pytest.fixture
def start(asgi_server: Callable[..., AsgiServer]) -> Callable[..., AsgiServer]:
    """Return a function that starts a server of the drain's application."""

    def start(server_name: str = "uvicorn", **options: Any) -> AsgiServer:
        return asgi_server(server_name, **{"application": APPLICATION, **options})

    return start


@pytest.mark.parametrize(
    ("server_name", "route"),
    [("uvicorn", "gathering"), ("uvicorn", "sync"), ("daphne", "gathering")],
)
async def test_all_are_closed_one_by_one_and_saved(
    start: Callable[..., AsgiServer], server_name: str, route: str
) -> None:
    server = start(server_name)
    async with crowd(server, CLIENTS, route) as pages:
        told_at = tell_to_stop(server)
        await all_closed(pages)
        assert await ends(server) == STATUSES[server_name]
    assert [page.code for page in pages] == [1012] * CLIENTS
    # None before its turn, and half of them well before the last.
    after = sorted(page.closed_at - told_at for page in pages)
    turns = [SECONDS * place / CLIENTS for place in range(CLIENTS)]
    assert all(each >= turn for each, turn in zip(after, turns, strict=True)), after
    assert after[CLIENTS // 2] < after[-1] * 0.9, after
    # In no order that could be told: neither that of coming nor its reverse.
    order = sorted(range(CLIENTS), key=lambda number: pages[number].closed_at)
    assert order not in (sorted(order), sorted(order, reverse=True))
    start_again(server)
    await have_come_back(server, pages, route)


@pytest.mark.parametrize(
    ("server_name", "number", "is_saved"),
    [
        ("uvicorn", signal.SIGTERM, True),
        ("daphne", signal.SIGTERM, False),
        ("uvicorn", signal.SIGKILL, False),
    ],
)
async def test_without_it_what_is_held_back_is_saved_where_the_server_tells(
    start: Callable[..., AsgiServer], server_name: str, number: signal.Signals, is_saved: bool
) -> None:
    server = start(server_name, application=UNDRAINED)
    async with crowd(server, 5) as pages:
        os.kill(server.pid, number)
        await all_closed(pages)
        status = await ends(server)
    if number is signal.SIGTERM:
        # With a drain it is the same.
        assert status == STATUSES[server_name]
    start_again(server)
    for page in pages:
        async with opened(server) as again:
            response = await again.join(page.token)
            assert response["_recovery"]["outcome"] == "recovered"
            assert response["count"] == (page.count if is_saved else 0)


@both
async def test_what_has_come_is_answered_first(
    start: Callable[..., AsgiServer], server_name: str
) -> None:
    server = start(server_name, env={"DRAIN_SECONDS": "0"})
    async with crowd(server, 5) as pages:
        counts = [page.count + 2 for page in pages]
        for page in pages:
            # The second is in the mailbox when the signal comes.
            await page.cast("add", seconds=1)
            await page.cast("add")
        await handlers_began(server, len(pages))
        tell_to_stop(server)
        await all_closed(pages)
    assert [(page.code, page.count) for page in pages] == [(1012, count) for count in counts]
    await ends(server)
    start_again(server)
    await have_come_back(server, pages)


@both
async def test_nobody_new_gets_in_meanwhile(
    start: Callable[..., AsgiServer], server_name: str
) -> None:
    server = start(server_name)
    async with crowd(server, 10) as pages:
        tell_to_stop(server)
        await one_closed(pages)
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{server.ws_url}/gathering")
        # Those who wait for their turn go on as ever.
        waiting = [page for page in pages if page.wire.state is State.OPEN]
        await waiting[0].add()
        await all_closed(pages)
    # Daphne has no other answer than this.
    assert refused.value.response.status_code == {"uvicorn": 503, "daphne": 403}[server_name]
    await ends(server)
    # A refusal is no error, and there may be thousands in one deploy.
    assert not re.search("^ERROR", server.output(), re.MULTILINE)


@both
async def test_a_second_signal_goes_to_the_server_at_once(
    start: Callable[..., AsgiServer], server_name: str
) -> None:
    server = start(server_name, env={"DRAIN_SECONDS": "600"})
    async with crowd(server, 5) as pages:
        tell_to_stop(server)
        await one_closed(pages)
        tell_to_stop(server)
        status = await ends(server)
    assert status == STATUSES[server_name]


@both
async def test_what_takes_too_long_is_left_to_the_server(
    start: Callable[..., AsgiServer], server_name: str
) -> None:
    server = start(server_name, env={"DRAIN_SECONDS": "0", "DRAIN_GRACE_SECONDS": "0.5"})
    async with crowd(server, 2) as pages:
        await pages[0].cast("add", seconds=600)
        await handlers_began(server, 1)
        tell_to_stop(server)
        assert await ends(server) == STATUSES[server_name]
        await all_closed(pages[1:])
    assert pages[1].code == 1012


@both
async def test_a_server_without_websockets_ends_at_once(
    start: Callable[..., AsgiServer], server_name: str
) -> None:
    server = start(server_name, env={"DRAIN_SECONDS": "600"})
    async with crowd(server, 1):
        pass
    tell_to_stop(server)
    assert await ends(server) == STATUSES[server_name]


async def test_each_worker_of_uvicorn_drains_its_own(start: Callable[..., AsgiServer]) -> None:
    server = start(arguments=["--workers", "2"])
    async with crowd(server, 20) as pages:
        told_at = tell_to_stop(server)
        await all_closed(pages)
        await ends(server)
    assert [page.code for page in pages] == [1012] * 20
    assert max(page.closed_at for page in pages) - told_at > SECONDS / 2
    start_again(server)
    await have_come_back(server, pages)


async def test_the_proxy_finds_a_node_that_isn_t_about_to_stop(
    asgi_server: Callable[..., AsgiServer], redis_server: Process, tmp_path: Path
) -> None:
    env = {"REDIS_URL": f"redis://{HOST}:{redis_server.port}/0"}
    stopping, other = (asgi_server(env=env) for _ in range(2))
    with make_nginx(tmp_path / "nginx", [stopping, other]) as proxy:
        token = (await join_with(None, stopping.port, ""))["token"]
        url = f"{stopping.ws_url}/ws/websocket"
        async with connect(url) as one, connect(url) as two:
            tell_to_stop(stopping)
            # The first has gone, and the second has seconds until its turn.
            waits = [asyncio.create_task(page.wait_closed()) for page in (one, two)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for _ in range(4):
                recovery = await join_with(token, proxy.port, "")
                assert recovery["outcome"] == "recovered"
                token = recovery["token"]
            assert sum(wait.done() for wait in waits) == 1
    assert '"WebSocket /ws/websocket" 503' in stopping.output()
