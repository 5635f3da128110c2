"""Gauges and counters of what is open: connections, topics, outages, drains, and their ends."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from channels.exceptions import DenyConnection
from channels.testing import WebsocketCommunicator
from prometheus_client import CollectorRegistry

from recovery_app import RecoveryManager, middleware
from recovery_app._core.driver import Driver
from recovery_app._core.telemetry import QUIET_SECONDS, StorageMonitor
from recovery_app._core.tokens import key_of
from recovery_app._logins import FallbackAuthMiddleware
from recovery_app.drain import RecoveryDrain, is_draining
from recovery_app.exceptions import StorageUnavailable
from recovery_app.metrics.definitions import MAX_CONSUMERS
from recovery_app.metrics.observer import Metrics
from tests.clock import FakeClock
from tests.consumers.apps import Counter
from tests.consumers.storages import FlakyStorage
from tests.consumers.wire import Client, connected, recovery_of
from tests.core.support import make_manager
from tests.test_metrics import PREFIX, PRINT_METRICS_OF_ALL, run, samples

WAIT_SECONDS = 60
GAUGES = (
    "joins_pending",
    "connections_open",
    "topics_open",
    "topics_unsafe",
    "draining",
    "storage_down",
)
UNAVAILABLE = StorageUnavailable("The storage", "save")


@contextmanager
def changing() -> Iterator[Callable[[str], float]]:
    """Return a function that says by how much a sample has changed since."""
    before = samples()
    yield lambda name: samples().get(name, 0) - before.get(name, 0)


async def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    """Hold each gauge to what it was before the test."""
    before = {name: samples()[name] for name in GAUGES}
    yield
    assert {name: samples()[name] for name in GAUGES} == before


@pytest.fixture
def storage() -> FlakyStorage:
    return FlakyStorage()


@pytest.fixture
def manager(storage: FlakyStorage) -> Iterator[RecoveryManager]:
    with make_manager(storage=storage) as manager:
        yield manager


# What is open


async def test_connections_and_topics_are_counted_while_they_are_open(
    manager: RecoveryManager,
) -> None:
    with changing() as change:
        async with connected(Counter, manager) as client:
            assert (change("connections_open"), change("topics_open")) == (1, 0)
            await client.join("room:1")
            await client.join("room:2")
            assert change("topics_open") == 2
            await client.send("room:2", "phx_join", {}, ref="9", join_ref="9")
            while (await client.hear())["ref"] != "9":
                pass
            assert change("topics_open") == 2
            await client.push("phx_leave", topic="room:1")
            await eventually(lambda: change("topics_open") == 1)
            async with connected(Counter, manager) as other:
                await other.join()
                assert (change("connections_open"), change("topics_open")) == (2, 2)
        await eventually(lambda: change("topics_open") == 0)
        assert change("connections_open") == 0
        assert change("connections_unjoined_total{silent}") == 0


async def test_a_consumer_that_the_server_cancels_has_nothing_open(
    manager: RecoveryManager,
) -> None:
    communicator = WebsocketCommunicator(Counter.as_asgi(), "/")
    communicator.scope.update(cast(Any, {"recovery": manager}))
    with changing() as change:
        await communicator.connect()
        await Client(communicator).join()
        assert (change("connections_open"), change("topics_open")) == (1, 1)
        communicator.stop()
        await eventually(lambda: change("topics_open") == change("connections_open") == 0)


async def test_a_topic_that_is_revoked_is_not_open_any_more(manager: RecoveryManager) -> None:
    with changing() as change:
        async with connected(Counter, manager) as client:
            token = recovery_of(await client.join())["token"]
            await manager.arevoke_socket(key_of(token))
            await client.cast("add")
            await eventually(lambda: change("topics_open") == 0)
            assert change("connections_open") == 1


async def test_states_are_unsafe_from_a_failed_save_to_the_next(
    manager: RecoveryManager, storage: FlakyStorage
) -> None:
    with changing() as change:
        async with connected(Counter, manager) as client:
            await client.join()
            storage.stop()
            for _ in range(2):
                await client.push("add")
                assert change("topics_unsafe") == 1
            storage.start()
            await client.push("add")
            assert change("topics_unsafe") == 0
            storage.stop()
            await client.push("add")
            assert change("topics_unsafe") == 1
        await eventually(lambda: change("topics_unsafe") == 0)


async def test_a_state_that_is_unsafe_from_its_join_on_is_counted(
    manager: RecoveryManager, storage: FlakyStorage
) -> None:
    with changing() as change:
        storage.stop()
        async with connected(Counter, manager) as client:
            assert recovery_of(await client.join())["outcome"] == "unavailable"
            assert change("topics_unsafe") == 1
            storage.start()
            await client.cast("add")
            assert (await client.hear())["event"] == "recovery:token"
            await client.reply()
            assert change("topics_unsafe") == 0


# Connections that join nothing


class Picky(Counter):
    """Deny the handshake, or crash in it, as the test says."""

    async def connect(self) -> None:
        wish = self.scope.get("wish")
        if wish == "deny":
            await self.close()
        elif wish == "raise a denial":
            raise DenyConnection
        elif wish == "crash":
            raise ZeroDivisionError
        else:
            await self.accept()

    async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
        if params.get("crash"):
            raise ZeroDivisionError
        return await super().mount(topic, params)


async def end_of_handshake(app: Any, manager: RecoveryManager, wish: str = "") -> None:
    """Connect and go, and raise what the application raises."""
    communicator = WebsocketCommunicator(app, "/")
    communicator.scope.update(cast(Any, {"recovery": manager, "wish": wish}))
    for message in ({"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1005}):
        await communicator.send_input(message)
    await communicator.wait()


@pytest.mark.parametrize("wish", ["deny", "raise a denial"])
async def test_a_handshake_that_is_denied_is_counted(manager: RecoveryManager, wish: str) -> None:
    with changing() as change:
        await end_of_handshake(Picky.as_asgi(), manager, wish)
        assert change("connections_unjoined_total{refused}") == 1


@pytest.mark.parametrize("wrap", [lambda app: app, middleware.RecoveryMiddlewareStack])
async def test_a_handshake_that_crashes_is_counted_once(
    manager: RecoveryManager, wrap: Callable[[Any], Any]
) -> None:
    with changing() as change:
        with pytest.raises(ZeroDivisionError):
            await end_of_handshake(wrap(Picky.as_asgi()), manager, "crash")
        assert change("connections_unjoined_total{crashed}") == 1


@pytest.mark.parametrize(
    ("joins", "cause"),
    [
        ([], "silent"),
        ([("room:1", {"refuse": True})], "refused"),
        ([("no such topic", {})], "refused"),
        ([("room:1", {"crash": True}), ("room:1", {"refuse": True})], "crashed"),
        ([("room:1", {"refuse": True}), ("room:1", {"crash": True})], "crashed"),
        ([("room:1", {"crash": True}), ("room:1", {})], None),
    ],
)
async def test_a_connection_that_joins_nothing_is_counted_at_its_end(
    manager: RecoveryManager, joins: list[tuple[str, dict[str, Any]]], cause: str | None
) -> None:
    with changing() as change:
        async with connected(Picky, manager) as client:
            for topic, params in joins:
                await client.join(topic, **params)
        found = {each: change(f"connections_unjoined_total{{{each}}}") for each in CAUSES}
        assert found == {each: int(each == cause) for each in CAUSES}
        assert change("application_errors_total{join_crashed}") == ("crash" in str(joins))


CAUSES = ("crashed", "refused", "silent")


async def test_a_middleware_that_raises_is_counted(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an outage of the database does, where the session or the user is loaded."""

    async def resolve(*_: Any) -> None:
        raise ConnectionError("the database is away")

    app = middleware.RecoveryMiddlewareStack(Counter.as_asgi())
    with changing() as change:
        async with connected(app, manager) as client:
            await client.join()
        monkeypatch.setattr(FallbackAuthMiddleware, "resolve_scope", resolve)
        with pytest.raises(ConnectionError):
            await end_of_handshake(app, manager)
        assert change("connections_unjoined_total{crashed}") == 1


# What waits for its answer


class Waiting(Counter):
    """Wait in a hook for an event of the scope, named like the hook."""

    async def connect(self) -> None:
        await self._wait("connect")
        await super().connect()

    async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
        await self._wait("mount")
        return await super().mount(topic, params)

    async def _wait(self, hook: str) -> None:
        event: asyncio.Event | None = cast(Any, self.scope).get(hook)
        if event is not None:
            await event.wait()


def waiting(manager: RecoveryManager, app: Any, **events: asyncio.Event) -> WebsocketCommunicator:
    communicator = WebsocketCommunicator(app, "/")
    communicator.scope.update(cast(Any, {"recovery": manager, **events}))
    return communicator


async def test_a_handshake_is_pending_while_middleware_or_the_consumer_hangs(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over a database that accepts connections, and answers nothing."""
    loading, connecting = asyncio.Event(), asyncio.Event()
    arrived: list[str] = []

    async def resolve(*_: Any) -> None:
        arrived.append("middleware")
        await loading.wait()
        arrived.append("consumer")

    monkeypatch.setattr(FallbackAuthMiddleware, "resolve_scope", resolve)
    app = middleware.RecoveryMiddlewareStack(Waiting.as_asgi())
    with changing() as change:
        communicator = waiting(manager, app, connect=connecting)
        handshake = asyncio.ensure_future(communicator.connect(timeout=WAIT_SECONDS))
        await eventually(lambda: arrived == ["middleware"])
        assert change("joins_pending") == 1
        loading.set()
        await eventually(lambda: arrived == ["middleware", "consumer"])
        assert change("joins_pending") == 1
        connecting.set()
        await handshake
        assert (change("joins_pending"), change("connections_open")) == (0, 1)
        await communicator.disconnect()
        assert change("connections_unjoined_total{silent}") == 1


async def test_a_join_is_pending_while_a_hook_hangs(manager: RecoveryManager) -> None:
    mounting = asyncio.Event()
    with changing() as change:
        communicator = waiting(manager, Waiting.as_asgi(), mount=mounting)
        await communicator.connect(timeout=WAIT_SECONDS)
        client = Client(communicator)
        joining = asyncio.ensure_future(client.join())
        await eventually(lambda: change("joins_pending") == 1)
        mounting.set()
        await joining
        assert (change("joins_pending"), change("topics_open")) == (0, 1)
        await communicator.disconnect()


@pytest.mark.parametrize("hook", ["connect", "mount"])
async def test_what_is_cancelled_while_it_hangs_is_pending_no_more(
    manager: RecoveryManager, hook: str
) -> None:
    with changing() as change:
        communicator = waiting(manager, Waiting.as_asgi(), **{hook: asyncio.Event()})
        await communicator.send_input({"type": "websocket.connect"})
        if hook == "mount":
            await communicator.receive_output(WAIT_SECONDS)
            await communicator.send_json_to({"event": "phx_join", "payload": {}})
        await eventually(lambda: change("joins_pending") == 1)
        communicator.stop()
        await eventually(lambda: change("joins_pending") == 0)


# The application's errors


async def test_errors_of_the_application_are_counted_although_the_log_leaves_some_out(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    with changing() as change:
        async with connected(Counter, manager) as client:
            await client.join()
            for _ in range(3):
                await client.push("break")
        assert change("application_errors_total{handler_failed}") == 3
    assert sum(getattr(each, "event", "") == "handler_failed" for each in caplog.records) == 1


# How long pages were away


async def test_the_age_of_a_state_that_comes_back_is_observed() -> None:
    clock = FakeClock()
    with make_manager(storage=FlakyStorage(), clock=clock) as manager, changing() as change:
        async with connected(Counter, manager) as client:
            token = recovery_of(await client.join())["token"]
            assert change("away_seconds_count") == 0
        clock.advance(seconds=7)
        async with connected(Counter, manager) as client:
            assert recovery_of(await client.join(token=token))["outcome"] == "recovered"
        assert change("away_seconds_count") == 1
        assert change("away_seconds_sum") == pytest.approx(7, abs=0.1)
        async with connected(Counter, manager) as client:
            assert recovery_of(await client.join(token="rubbish"))["outcome"] == "rejected"
        assert change("away_seconds_count") == 1


# Which code runs


def test_versions_of_states_are_told_for_a_bounded_number_of_classes() -> None:
    registry = CollectorRegistry()
    metrics = Metrics("shop", registry)
    for number in range(MAX_CONSUMERS + 50):
        metrics.topic_opened(f"Made{number}", 1)
        metrics.topic_opened(f"Made{number}", 1)
    found = samples(registry, "shop_recovery_")
    infos = {name: value for name, value in found.items() if name.startswith("consumer_info")}
    assert len(infos) == MAX_CONSUMERS
    assert infos["consumer_info{Made3,1}"] == 1


# Drains


async def test_a_drain_is_counted_while_it_lasts(manager: RecoveryManager) -> None:
    app = RecoveryDrain(Counter.as_asgi(), seconds=0)
    with changing() as change:
        async with connected(app, manager) as client:
            await client.join()
            draining = asyncio.create_task(app.drain())
            await client.raw.receive_output(timeout=WAIT_SECONDS)
            assert change("draining") == 1
            assert is_draining()
        await draining
        assert change("draining") == 0
        assert change("drains_total") == 1
        assert change("connections_drained_total") == 1


# Outages


def test_a_storage_is_down_until_calls_have_gone_well_for_a_while() -> None:
    clock = FakeClock()
    monitor = StorageMonitor("The storage", clock=clock)
    with changing() as change:
        for _ in range(3):
            monitor.failed("save", clock(), UNAVAILABLE)
            monitor.recovered()
            assert change("storage_down") == 1
        clock.advance(seconds=QUIET_SECONDS)
        monitor.recovered()
        monitor.recovered()
        assert change("storage_down") == 0


async def test_a_storage_is_not_down_any_more_once_its_manager_is_closed(
    storage: FlakyStorage,
) -> None:
    storage.stop()
    with changing() as change, make_manager(storage=storage) as manager:
        with pytest.raises(StorageUnavailable):
            await manager.asave(manager.create_token("socket"), {"count": 1})
        assert change("storage_down") == 1
        manager.close()
        assert change("storage_down") == 0


def test_a_storage_is_not_down_any_more_once_its_driver_is_gone() -> None:
    driver = Driver(FlakyStorage())
    with changing() as change:
        driver._monitor.failed("save", 0, StorageUnavailable("The storage", "save"))
        assert change("storage_down") == 1
        del driver
        gc.collect()
        assert change("storage_down") == 0


def test_a_forked_child_does_not_end_its_parents_outage() -> None:
    clock = FakeClock()
    monitor = StorageMonitor("The storage", clock=clock)
    monitor.failed("save", clock(), UNAVAILABLE)
    child = os.fork()
    if not child:
        clock.advance(seconds=QUIET_SECONDS)
        monitor.recovered()
        os._exit(int(samples()["storage_down"] != 0))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    monitor.close()


# Several processes

OPEN = """
import os, signal
from recovery_app.signals import observers
observers.connection_opened()
observers.topic_opened("Counter", 3)
child = os.fork()
if not child:
    observers.connection_opened()
    observers.connection_opened()
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
"""


def test_what_was_open_in_a_process_that_was_killed_is_forgotten(tmp_path: Path) -> None:
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    printed = run(OPEN + PRINT_METRICS_OF_ALL, {}, **env)
    assert f"{PREFIX}connections_open 3.0" in printed
    assert f'{PREFIX}consumer_info{{consumer="Counter",state_version="3"}} 1.0' in printed
    reused = "from recovery_app.signals import observers\nobservers.connection_opened()\n"
    printed = run(reused + PRINT_METRICS_OF_ALL, {}, **env)
    assert f"{PREFIX}connections_open 1.0" in printed
    assert "consumer_info{" not in printed
