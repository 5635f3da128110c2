"""Tests of the asynchronous calls: what only they promise: any event loop, and none blocked."""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from recovery_app import RecoveryManager
from recovery_app._core.metadata import SnapshotMetadata
from recovery_app.clock import Clock
from recovery_app.exceptions import SnapshotNotFound, TokenSuperseded
from recovery_app.signals import recovery_failed, state_recovered
from recovery_app.storages import MemoryStorage, Storage
from recovery_app.storages.group_listing import GroupListing
from tests.clock import FakeClock
from tests.core.support import OwnStorage, make_manager

SOCKET = "the socket"
STATE = {"count": 1}
PATIENCE_SECONDS = 120


class GatedStorage(OwnStorage):
    """A storage whose calls stand still until the gate is opened."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.saved = threading.Semaphore(0)

    def save(self, key: str, data: bytes, ttl: float) -> None:
        self._pass()
        super().save(key, data, ttl)
        self.saved.release()

    def load(self, key: str) -> bytes | None:
        self._pass()
        return super().load(key)

    def _pass(self) -> None:
        self.entered.release()
        # If the event loop were the one that stands here, nobody would open the gate.
        assert self.gate.wait(PATIENCE_SECONDS), "the event loop is blocked"

    async def wait_for(self, calls: int) -> None:
        """Wait, on the event loop, until so many calls have come to the gate."""
        for _ in range(calls):
            assert await asyncio.to_thread(self.entered.acquire, timeout=PATIENCE_SECONDS)


def test_every_call_that_touches_the_storage_has_a_twin() -> None:
    of_operators = {"exclusive", "cleanup_batches", "check", "check_server"}
    # A thread of their own writes these.
    of_operators |= {"add_incidents", "put_report"}
    # A watch is waited for by a method of its own.
    of_operators |= {*vars(GroupListing), "watch_messages"}
    for kind, without in (
        (RecoveryManager, {"create_token", "digests_of_user"}),
        (Storage, of_operators),
    ):
        names = {
            name
            for name, _ in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }
        twins = {name for name in names if name[0] == "a" and name[1:] in names}
        alone = {
            "aexplain_losses",
            "run",
            "on_thread",
            "leave_thread",
            "close",
            "asave_payload",
            "aclaim",
        }
        for name in names - twins - alone - without:
            twin = getattr(kind, f"a{name}")
            assert inspect.iscoroutinefunction(twin), name
            call, same = (inspect.signature(getattr(kind, n)) for n in (name, f"a{name}"))
            assert call == same, name


async def test_no_call_blocks_the_event_loop(clock: FakeClock) -> None:
    storage = GatedStorage(clock)
    async with make_manager(storage=storage, clock=clock) as manager:
        token = manager.create_token(SOCKET)
        storage.gate.set()
        await manager.asave(token, STATE)
        for call in (
            lambda: manager.asave(token, STATE),
            lambda: manager.arecover(token),
            lambda: manager.atouch(token),
            lambda: manager.atake_over(token),
            lambda: manager.arevoke(token),
        ):
            storage.gate.clear()
            storage.entered = threading.Semaphore(0)
            task = asyncio.create_task(call())
            await storage.wait_for(1)
            # It waits on its thread, and here the loop goes on.
            assert not task.done()
            storage.gate.set()
            await task


async def test_calls_wait_beside_each_other(clock: FakeClock) -> None:
    storage = GatedStorage(clock)
    async with make_manager(storage=storage) as manager:
        token = manager.create_token(SOCKET)
        calls = [asyncio.create_task(manager.arecover(token)) for _ in range(20)]
        await storage.wait_for(storage.threads)
        storage.gate.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {SnapshotNotFound}


async def test_memory_takes_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("a thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    manager = make_manager(storage=MemoryStorage())
    token = manager.create_token(SOCKET)
    await manager.asave(token, STATE)
    assert await manager.atouch(token)
    assert await manager.arecover(token) == STATE
    assert (await manager.atake_over(token)).state == STATE


@pytest.mark.parametrize("kind", [MemoryStorage, OwnStorage])
def test_one_manager_serves_event_loops_one_after_the_other(kind: type[Storage]) -> None:
    manager = make_manager(storage=kind(clock=FakeClock()))  # type: ignore[call-arg]
    token = manager.create_token(SOCKET)
    for count in range(3):
        asyncio.run(manager.asave(token, {"count": count}))
        assert asyncio.run(manager.arecover(token)) == {"count": count}
    manager.close()


@pytest.mark.parametrize("kind", [MemoryStorage, OwnStorage])
def test_one_manager_serves_event_loops_beside_each_other(kind: type[Storage]) -> None:
    manager = make_manager(storage=kind(clock=FakeClock()))  # type: ignore[call-arg]
    together = threading.Barrier(4)

    async def live(number: int) -> dict[str, int]:
        token = manager.create_token(f"socket {number}")
        for count in range(20):
            await manager.asave(token, {"number": number, "count": count})
            token = (await manager.atake_over(token)).token
        return await manager.arecover(token)

    def run(number: int) -> dict[str, int]:
        together.wait()
        return asyncio.run(live(number))

    with ThreadPoolExecutor(4) as threads:
        states = list(threads.map(run, range(4)))
    assert states == [{"number": number, "count": 19} for number in range(4)]
    manager.close()


async def test_a_call_that_was_cancelled_leaves_the_manager_whole(clock: FakeClock) -> None:
    storage = GatedStorage(clock)
    async with make_manager(storage=storage) as manager:
        token = manager.create_token(SOCKET)
        task = asyncio.create_task(manager.asave(token, STATE))
        await storage.wait_for(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        storage.gate.set()
        # Its thread goes on; beside it the next save might come first.
        assert await asyncio.to_thread(storage.saved.acquire, timeout=PATIENCE_SECONDS)
        await manager.asave(token, {"count": 2})
        assert await manager.arecover(token) == {"count": 2}


# What the consumers use.


async def test_the_floor_follows_what_the_client_has_shown() -> None:
    manager = make_manager()
    token = manager.create_token(SOCKET)
    await manager.asave(token, STATE)
    first = await manager.atake_over(token)
    payload = manager.codec.encode({"count": 2})

    async def save(confirmed_us: int | None) -> None:
        flow = manager.operations.save_payload(
            manager.operations.verify(first.token, b""),
            payload,
            socket_id=SOCKET,
            metadata=SnapshotMetadata(),
            confirmed_us=confirmed_us,
        )
        await manager.driver.arun(flow)

    # The client hasn't shown the new token: the older one still opens.
    for confirmed_us in (0, first.shown_us):
        await save(confirmed_us)
        assert await manager.arecover(token) == {"count": 2}
    await save(first.issued_us + 10**9)
    with pytest.raises(TokenSuperseded):
        await manager.arecover(token)
    # And what it shows never counts for more than the token that saves.
    assert (await manager.atake_over(first.token)).state == {"count": 2}


async def test_an_operation_by_itself_is_announced_by_nobody() -> None:
    heard: list[object] = []

    def receive(**facts: object) -> None:
        heard.append(facts)

    for signal in (state_recovered, recovery_failed):
        signal.connect(receive)
    try:
        manager = make_manager()
        token = manager.create_token(SOCKET)
        with pytest.raises(SnapshotNotFound):
            await manager.driver.arun(manager.operations.take_over(token, b"", None))
        await manager.asave(token, STATE)
        flow = manager.operations.take_over(token, b"", None)
        takeover, _ = await manager.driver.arun(flow)
    finally:
        for signal in (state_recovered, recovery_failed):
            signal.disconnect(receive)
    assert takeover.state == STATE
    assert heard == []
