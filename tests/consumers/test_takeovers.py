"""One socket, several connections: the older one goes on with a copy of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app.clock import to_us
from recovery_app.fencing import Claim
from recovery_app.snapshots import Header
from recovery_app.storages import MemoryStorage
from tests.clock import FakeClock
from tests.consumers.apps import COUNTERS, Counter
from tests.consumers.storages import FlakyStorage
from tests.consumers.wire import Client, connected, recovery_of

both = pytest.mark.parametrize("counter", COUNTERS)


async def told_token(client: Client) -> str:
    """Return the token that the server pushes next."""
    frame = await client.hear()
    assert frame["event"] == "recovery:token", frame
    assert frame["ref"] is None
    assert frame["payload"]["ttl"] > 0
    token: str = frame["payload"]["token"]
    return token


@both
async def test_both_tabs_of_a_duplicated_one_go_on(manager: RecoveryManager, counter: Any) -> None:
    async with (
        connected(counter, manager) as first,
        connected(counter, manager) as second,
    ):
        shared = recovery_of(await first.join())["token"]
        await first.push("add")
        taken = recovery_of(await second.join(token=shared))
        assert taken["outcome"] == "recovered"
        assert (await second.push("add", {"by": 10}))["response"]["count"] == 11
        await first.cast("add", {"by": 100})
        own = await told_token(first)
        assert (await first.reply())["response"]["count"] == 101
    for token, count in ((own, 101), (taken["token"], 11)):
        async with connected(counter, manager) as client:
            reply = await client.join(token=token)
            assert (recovery_of(reply)["outcome"], reply["response"]["count"]) == (
                "recovered",
                count,
            )


async def test_more_copies_can_be_made_until_one_sends_an_event(
    manager: RecoveryManager,
) -> None:
    async with connected(Counter, manager) as client:
        shared = recovery_of(await client.join())["token"]
        await client.push("add")
    async with (
        connected(Counter, manager) as first,
        connected(Counter, manager) as second,
        connected(Counter, manager) as third,
    ):
        assert recovery_of(await first.join(token=shared))["outcome"] == "recovered"
        assert recovery_of(await second.join(token=shared))["outcome"] == "recovered"
        await second.push("add")
        assert recovery_of(await third.join(token=shared))["outcome"] == "copied"


async def test_a_copy_made_a_quarter_of_a_ttl_after_the_first_goes_on_too(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> None:
    # Its touches come by the loop's clock, and nothing expires meanwhile.
    manager = make_manager(ttl=0.4, storage=MemoryStorage(clock=clock), clock=clock)
    async with (
        connected(Counter, manager) as original,
        connected(Counter, manager) as early,
        connected(Counter, manager) as between,
        connected(Counter, manager) as late,
    ):
        shared = recovery_of(await original.join(start=5))["token"]
        assert recovery_of(await early.join(token=shared))["outcome"] == "recovered"
        await early.push("add")
        # The original's storage, which a duplicated tab gets a copy of, still has this one.
        assert recovery_of(await between.join(token=shared))["outcome"] == "copied"
        own = await told_token(original)
        reply = await late.join(token=own)
        assert recovery_of(reply)["outcome"] == "recovered"
        assert reply["response"]["count"] == 5


async def test_neither_a_heartbeat_nor_a_leave_shows_that_the_reply_arrived(
    manager: RecoveryManager,
) -> None:
    class Telling(Counter):
        async def after_recover(self, takeover: Any) -> dict[str, Any]:
            self.count += 1
            return {"count": self.count}

    async with connected(Telling, manager) as client:
        token = recovery_of(await client.join())["token"]
    for count in (1, 2):
        async with connected(Telling, manager) as client:
            reply = await client.join(token=token)
            assert recovery_of(reply)["outcome"] == "recovered"
            assert reply["response"]["count"] == count
            assert await client.hears_nothing()
            await client.push("phx_leave")


async def test_an_idle_connection_learns_by_its_touch_that_it_was_taken_over(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> None:
    # Its touches come by the loop's clock, and nothing expires meanwhile.
    manager = make_manager(ttl=0.4, storage=MemoryStorage(clock=clock), clock=clock)
    async with connected(Counter, manager) as old, connected(Counter, manager) as new:
        token = recovery_of(await old.join(start=5))["token"]
        await new.join(token=token)
        own = await told_token(old)
    async with connected(Counter, manager) as client:
        assert (await client.join(token=own))["response"]["count"] == 5


async def test_an_open_connection_keeps_its_snapshot_alive(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    storage = FlakyStorage()
    clock = FakeClock()
    storage.clock = clock
    manager = make_manager(ttl=0.4, storage=storage, clock=clock)
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join(start=5))["token"]
        for _ in range(4):
            clock.advance(seconds=0.3)
            await storage.next_call()
        assert manager.count() == 1
    async with connected(Counter, manager) as client:
        reply = await client.join(token=token)
    assert recovery_of(reply)["outcome"] == "recovered"


async def test_a_touch_that_finds_nothing_saves_everything(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> None:
    storage = FlakyStorage()
    storage.clock = clock
    manager = make_manager(ttl=0.4, storage=storage, clock=clock)
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join(start=5))["token"]
        storage.delete(manager.snapshots().items[0].socket_hash)
        await storage.next_call()
        await storage.next_call()
        assert manager.count() == 1
    async with connected(Counter, manager) as client:
        assert (await client.join(token=token))["response"]["count"] == 5


async def test_a_token_is_renewed_at_half_its_age(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    storage = MemoryStorage()
    clock = FakeClock()
    manager = make_manager(token_max_age=0.4, storage=storage, clock=clock)
    async with connected(Counter, manager) as client:
        first = recovery_of(await client.join(start=5))["token"]
        clock.advance(seconds=0.3)
        second = await told_token(client)
        clock.advance(seconds=0.3)
        third = await told_token(client)
        assert len({first, second, third}) == 3
        assert (await client.push("add"))["response"]["count"] == 6
    async with connected(Counter, manager) as client:
        assert recovery_of(await client.join(token=first))["outcome"] == "expired"
    async with connected(Counter, manager) as client:
        assert (await client.join(token=third))["response"]["count"] == 6


async def test_a_token_that_grew_too_old_between_touches_is_replaced(
    manager: RecoveryManager, clock: FakeClock
) -> None:
    async with connected(Counter, manager) as client:
        await client.join()
        clock.advance(seconds=86_401)
        await client.cast("add")
        own = await told_token(client)
        await client.reply()
    async with connected(Counter, manager) as client:
        assert (await client.join(token=own))["response"]["count"] == 1


@both
async def test_a_revoked_connection_is_closed_at_its_next_event(
    manager: RecoveryManager, counter: Any
) -> None:
    async with connected(counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        (before,) = manager.snapshots().items
        key = before.socket_hash
        data = manager.storage.load(key)
        assert data is not None
        manager.storage.revoke(key, _claim_in(data), 300, now_us=to_us(manager.clock()))
        assert manager.count() == 0
        await client.cast("add")
        assert (await client.hear())["event"] == "phx_close"
        assert (await client.reply())["response"]["count"] == 1
        assert not manager.snapshots().items
    async with connected(counter, manager) as client:
        assert recovery_of(await client.join(token=token))["outcome"] == "not_found"


def _claim_in(data: bytes) -> Claim:
    header = Header.read(data)
    return Claim(issued_us=header.fence, binding=header.binding)


async def test_a_handler_that_takes_long_keeps_its_snapshot_alive(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    gate, started = asyncio.Event(), asyncio.Event()

    class Slow(Counter):
        async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
            started.set()
            await gate.wait()
            return await super().handle_event(event, payload)

    storage, clock = FlakyStorage(), FakeClock()
    storage.clock = clock
    manager = make_manager(ttl=0.2, storage=storage, clock=clock)
    async with connected(Slow, manager) as client:
        await client.join()
        await client.cast("add")
        await started.wait()
        for _ in range(3):
            clock.advance(seconds=0.15)
            await storage.next_call()
        assert manager.count() == 1
        gate.set()
        assert (await client.reply())["response"]["count"] == 1
