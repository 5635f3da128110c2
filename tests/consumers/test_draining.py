"""A drain from inside: what it waits for, whom it leaves alone, and whose signal it is."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from channels.testing import WebsocketCommunicator

from recovery_app import RecoveryManager
from recovery_app._live.connection import open_connections
from recovery_app.drain import RecoveryDrain
from tests.consumers.apps import Counter
from tests.consumers.pages import eventually
from tests.consumers.storages import FlakyStorage
from tests.consumers.test_events import stored
from tests.consumers.wire import Client, connected, recovery_of

RESTART = {"type": "websocket.close", "code": 1012}


class Gathering(Counter):
    """Hold every save back."""

    recovery_save_interval = 600


@pytest.fixture(autouse=True)
def nothing_stays_live() -> Iterator[None]:
    yield
    assert not open_connections


@pytest.fixture(autouse=True)
def heard() -> Iterator[list[int]]:
    """Return what the server hears of SIGTERM."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: heard.append(number))
    yield heard
    signal.signal(signal.SIGTERM, before)


class Turns:
    """The sleeps that a drain asks for between the turns: none goes by before `go`."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.go = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        if seconds > 0:
            await self.go.wait()

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    """Return the turns of each drain of the test."""
    turns = Turns()
    monkeypatch.setattr("recovery_app.drain.asyncio", turns)
    return turns


def only_connection() -> Any:
    (connection,) = open_connections
    return connection


def drained(counter: Any = Counter, **options: Any) -> RecoveryDrain:
    return RecoveryDrain(counter.as_asgi(), **{"seconds": 0, "grace_seconds": 5, **options})


async def sees_the_end(client: Client) -> None:
    """See the connection closed for a restart, and nothing before."""
    assert await client.raw.receive_output(timeout=5) == RESTART


async def test_what_is_held_back_is_saved_before_the_close(manager: RecoveryManager) -> None:
    app = drained(Gathering)
    async with connected(app, manager) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("add")
        draining = asyncio.create_task(app.drain())
        await sees_the_end(client)
        assert stored(manager)["count"] == 1
        await asyncio.sleep(0.01)
        assert not draining.done()
    await draining
    async with connected(Gathering, manager) as client:
        assert (await client.join(token=token))["response"]["count"] == 1


async def test_an_event_in_the_works_is_answered_and_what_comes_later_is_not(
    manager: RecoveryManager,
) -> None:
    gate = asyncio.Event()

    class Slow(Gathering):
        async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
            await gate.wait()
            return await super().handle_event(event, payload)

    app = drained(Slow)
    async with connected(app, manager) as client:
        await client.join()
        await client.cast("add")
        draining = asyncio.create_task(app.drain())
        await eventually(lambda: only_connection()._deaf)
        await client.cast("add")
        await client.cast("phx_join")
        gate.set()
        assert (await client.reply())["response"]["count"] == 1
        await sees_the_end(client)
    await draining
    assert stored(manager)["count"] == 1
    assert manager.count() == 1


async def test_a_join_that_is_half_read_is_done_before_the_end(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    monkeypatch.setattr(Gathering, "recovery_max_topics", 1)

    class Slow(Gathering):
        async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
            await gate.wait()
            return await super().handle_event(event, payload)

    app = drained(Slow)
    async with connected(app, manager) as client:
        await client.join("room:1")
        await client.cast("add", topic="room:1")
        await client.cast("phx_leave", topic="room:1")
        # It waits until the topic that was left has ended: this many may not end at once.
        await client.send("room:2", "phx_join", {}, ref="9", join_ref="9")
        await eventually(only_connection()._reading.locked)
        draining = asyncio.create_task(app.drain())
        await eventually(lambda: only_connection()._ended is not None)
        gate.set()
        frames = []
        while (message := await client.raw.receive_output(timeout=5)) != RESTART:
            frames.append(json.loads(message["text"]))
        assert [frame[2:4] for frame in frames] == [
            ["room:1", "phx_reply"],
            ["room:1", "phx_reply"],
            ["room:1", "phx_close"],
            ["room:2", "phx_reply"],
        ]
    await draining


async def test_each_has_its_turn(manager: RecoveryManager, turns: Turns) -> None:
    app = drained(seconds=600)
    async with connected(app, manager) as one, connected(app, manager) as two:
        draining = asyncio.create_task(app.drain())
        await eventually(lambda: len(turns.asked) == 2)
        first, second = turns.asked
        assert first <= 0 < 200 < second <= 300
        ends = [asyncio.create_task(sees_the_end(each)) for each in (one, two)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        assert sum(end.done() for end in ends) == 1
        turns.go.set()
        await asyncio.gather(*ends)
    await draining


async def test_other_event_loops_are_left_alone(manager: RecoveryManager) -> None:
    app = drained()
    async with connected(app, manager) as client:
        await asyncio.to_thread(asyncio.run, app.drain())
        assert await client.hears_nothing()


async def test_those_that_have_gone_take_no_turn(manager: RecoveryManager, turns: Turns) -> None:
    app = drained(seconds=600)
    async with connected(app, manager), connected(app, manager), connected(app, manager):
        draining = asyncio.create_task(app.drain())
        await eventually(lambda: len(turns.asked) == 2)
        (connection, *_) = open_connections
    turns.go.set()
    await draining
    # The second turn had begun, and the third never came.
    assert len(turns.asked) == 2
    await asyncio.wait_for(connection.drain(), 60)


async def test_one_that_is_being_accepted_is_closed_at_the_end(
    manager: RecoveryManager, turns: Turns
) -> None:
    coming, gate = asyncio.Event(), asyncio.Event()

    class Late(Counter):
        async def connect(self) -> None:
            if self.scope["path"] == "/late":
                coming.set()
                await gate.wait()
            await self.accept()

    app = drained(Late, seconds=600)
    async with connected(app, manager) as one, connected(app, manager) as two:
        late = WebsocketCommunicator(cast(Any, app), "/late")
        late.scope.update(cast(Any, {"recovery": manager}))
        connecting = asyncio.create_task(late.connect(timeout=5))
        await coming.wait()
        draining = asyncio.create_task(app.drain())
        await eventually(lambda: len(turns.asked) == 2)
        gate.set()
        assert await connecting == (True, None)
        turns.go.set()
        for raw in (one.raw, two.raw, late):
            assert await raw.receive_output(timeout=5) == RESTART
        await late.disconnect()
    await draining


async def test_what_takes_too_long_is_left(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "recovery_app")
    gate = asyncio.Event()

    class Slow(Counter):
        async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
            await gate.wait()
            return await super().handle_event(event, payload)

    app = drained(Slow, grace_seconds=0.05)
    async with connected(app, manager) as client:
        await client.join()
        await client.cast("add")
        await app.drain()
        lines = [vars(record) for record in caplog.records if record.name.endswith("recovery_app")]
        assert [line["left"] for line in lines if "left" in line] == [1]
        gate.set()
        assert (await client.reply())["response"]["count"] == 1
        assert await client.raw.receive_nothing()
    assert stored(manager)["count"] == 1


async def test_an_outage_holds_nobody_up(make_manager: Callable[..., RecoveryManager]) -> None:
    storage = FlakyStorage()
    app = drained(Gathering)
    async with connected(app, make_manager(storage=storage)) as client:
        await client.join()
        await client.push("add")
        storage.stop()
        draining = asyncio.create_task(app.drain())
        await sees_the_end(client)
    await draining


@pytest.mark.parametrize("extensions", [None, {}, {"websocket.http.response": {}}])
async def test_nobody_new_gets_in(manager: RecoveryManager, extensions: Any) -> None:
    app = drained()
    await app.drain()
    communicator = WebsocketCommunicator(cast(Any, app), "/ws/websocket")
    communicator.scope.update(cast(Any, {"recovery": manager, "extensions": extensions}))
    await communicator.send_input({"type": "websocket.connect"})
    answer = await communicator.receive_output(timeout=5)
    if extensions:
        assert (answer["type"], answer["status"]) == ("websocket.http.response.start", 503)
        await communicator.receive_output(timeout=5)
    else:
        assert answer == RESTART
    await communicator.wait(timeout=5)


async def test_other_scopes_are_served_to_the_end(heard: list[int]) -> None:
    scopes = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope["type"])

    app = RecoveryDrain(inner)
    await app({"type": "lifespan"}, None, None)
    await app({"type": "http"}, None, None)
    os.kill(os.getpid(), signal.SIGTERM)
    # No WebSocket came, so the signal was the server's alone.
    assert heard == [signal.SIGTERM]
    await app.drain()
    await app({"type": "http"}, None, None)
    assert scopes == ["lifespan", "http", "http"]


# The signal


async def test_the_signal_goes_on_when_all_are_closed(
    manager: RecoveryManager, heard: list[int]
) -> None:
    app = drained()
    async with connected(app, manager) as client:
        await client.join()
        os.kill(os.getpid(), signal.SIGTERM)
        await sees_the_end(client)
        assert heard == []
    await eventually(lambda: bool(heard))
    await asyncio.sleep(0.01)
    assert heard == [signal.SIGTERM]
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM] * 2


async def test_a_second_signal_goes_on_at_once(manager: RecoveryManager, heard: list[int]) -> None:
    app = drained()
    async with connected(app, manager):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        await asyncio.sleep(0.01)
    await eventually(lambda: not open_connections)
    await asyncio.sleep(0.01)
    assert heard == [signal.SIGTERM]


async def test_a_drain_that_fails_keeps_no_signal(
    manager: RecoveryManager,
    heard: list[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(*_: Any) -> None:
        raise LookupError("a drain that fails")

    monkeypatch.setattr(RecoveryDrain, "drain", fail)
    async with connected(drained(), manager):
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: bool(heard))
    assert "a drain that fails" in caplog.text


def test_a_loop_that_is_closed_keeps_no_signal(
    make_manager: Callable[..., RecoveryManager], heard: list[int]
) -> None:
    app = drained()

    async def visit() -> None:
        async with connected(app, make_manager()):
            pass

    asyncio.run(visit())
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM]


def unhooked(caplog: pytest.LogCaptureFixture) -> bool:
    events = [vars(record)["event"] for record in caplog.records if record.name == "recovery_app"]
    return events == ["drain_unhooked"]


def test_off_the_main_thread_it_is_called_by_hand(
    make_manager: Callable[..., RecoveryManager],
    heard: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def visit() -> None:
        app = drained()
        async with connected(app, make_manager()) as client:
            draining = asyncio.create_task(app.drain(0))
            await sees_the_end(client)
        await draining

    thread = threading.Thread(target=asyncio.run, args=(visit(),))
    thread.start()
    thread.join()
    assert unhooked(caplog)
    assert signal.getsignal(signal.SIGTERM) is before


async def test_a_loop_that_has_the_signal_for_itself_keeps_it(
    manager: RecoveryManager, heard: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    called = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, called.set)
    try:
        async with connected(drained(), manager):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(called.wait(), 60)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
    assert unhooked(caplog)


async def test_a_signal_that_is_ignored_stays_so(
    manager: RecoveryManager, heard: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    app = drained()
    async with connected(app, manager) as client:
        os.kill(os.getpid(), signal.SIGTERM)
        assert await client.hears_nothing()
    assert unhooked(caplog)
    assert not app.is_draining
