"""The storage goes away and comes back: the connection stays, and no token is spent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from recovery_app import RecoveryManager
from recovery_app.exceptions import StorageUnavailable
from recovery_app.fencing import Verdict
from recovery_app.signals import Observer, observers
from tests.clock import FakeClock
from tests.consumers.apps import Counter
from tests.consumers.storages import FlakyStorage
from tests.consumers.test_groups import tell
from tests.consumers.test_takeovers import told_token
from tests.consumers.wire import connected, recovery_of


class Counting(Observer):
    tokens = 0

    def token_created(self) -> None:
        self.tokens += 1


class ReadOnlyStorage(FlakyStorage):
    """A storage whose saves alone fail, as those of a full disk do."""

    is_read_only = False

    async def asave_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        if self.is_read_only:
            raise StorageUnavailable("ReadOnlyStorage", "a test")
        return await super().asave_fenced(key, data, ttl)


@pytest.fixture
def storage() -> FlakyStorage:
    return FlakyStorage()


@pytest.fixture
def manager(storage: FlakyStorage) -> Iterator[RecoveryManager]:
    with RecoveryManager(secret=b"s" * 32, storage=storage) as made:
        yield made


async def test_during_a_join_the_client_keeps_its_token(
    manager: RecoveryManager, storage: FlakyStorage
) -> None:
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join(start=5))["token"]
    storage.stop()
    async with connected(Counter, manager) as client:
        reply = recovery_of(await client.join(token=token))
        assert (reply["outcome"], reply["token"]) == ("unavailable", None)
        assert (await client.push("quiet"))["status"] == "ok"
    storage.start()
    async with connected(Counter, manager) as client:
        reply = await client.join(token=token)
        assert (recovery_of(reply)["outcome"], reply["response"]["count"]) == ("recovered", 5)


async def test_after_it_the_first_event_starts_a_snapshot(
    manager: RecoveryManager, storage: FlakyStorage
) -> None:
    storage.stop()
    async with connected(Counter, manager) as client:
        reply = recovery_of(await client.join(start=1))
        assert (reply["outcome"], reply["token"]) == ("unavailable", None)
        assert (await client.push("add"))["response"]["count"] == 2
        storage.start()
        await client.cast("quiet")
        token = await told_token(client)
        await client.reply()
    async with connected(Counter, manager) as client:
        assert (await client.join(token=token))["response"]["count"] == 2


async def test_an_outage_makes_one_token_however_long_it_lasts(
    manager: RecoveryManager, storage: FlakyStorage
) -> None:
    counted = Counting()
    observers.add(counted)
    storage.stop()
    async with connected(Counter, manager) as client:
        await client.join()
        for _ in range(5):
            await client.push("add")
        storage.start()
        await client.cast("add")
        await told_token(client)
        await client.reply()
    observers.remove(counted)
    assert counted.tokens == 1


async def test_between_two_events_the_next_makes_all_safe(
    manager: RecoveryManager, storage: FlakyStorage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        storage.stop()
        for _ in range(2):
            assert (await client.push("add"))["status"] == "ok"
        storage.start()
        await client.push("quiet")
    async with connected(Counter, manager) as client:
        assert (await client.join(token=token))["response"]["count"] == 2
    assert [
        record.levelname for record in caplog.records if getattr(record, "event", "") == "unsafe"
    ] == ["INFO"]


async def test_a_touch_makes_safe_what_an_outage_left(
    make_manager: Callable[..., RecoveryManager], storage: FlakyStorage
) -> None:
    manager = make_manager(storage=storage, ttl=2)
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        storage.stop()
        await client.push("add")
        storage.start()
        await storage.next_call()
        assert (await client.push("quiet"))["status"] == "ok"
    async with connected(Counter, manager) as client:
        assert (await client.join(token=token))["response"]["count"] == 1


async def test_during_a_touch_nothing_changes(
    make_manager: Callable[..., RecoveryManager], storage: FlakyStorage, clock: FakeClock
) -> None:
    storage.clock = clock
    manager = make_manager(storage=storage, clock=clock, ttl=0.4, token_max_age=0.4)
    async with connected(Counter, manager) as client:
        await client.join()
        storage.stop()
        for _ in range(3):
            clock.advance(seconds=0.1)
            await storage.next_call()
        storage.start()
        await told_token(client)
        assert (await client.push("add"))["response"]["count"] == 1


async def test_a_storage_that_raises_what_it_should_not(
    manager: RecoveryManager, storage: FlakyStorage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
    storage.error = ConnectionResetError("gone")
    async with connected(Counter, manager) as client:
        assert recovery_of(await client.join(token=token))["outcome"] == "unavailable"
        assert (await client.push("add"))["response"]["count"] == 1
    assert token not in caplog.text


async def test_a_group_message_takes_no_token_from_the_client(
    manager: RecoveryManager, storage: FlakyStorage
) -> None:
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join(start=5))["token"]
    storage.stop()
    async with connected(Counter, manager) as client:
        assert recovery_of(await client.join(token=token))["outcome"] == "unavailable"
        storage.start()
        await tell({"type": "someone.added", "by": 1})
        assert (await client.hear())["payload"] == {"count": 1}
        assert await client.hears_nothing()
    async with connected(Counter, manager) as client:
        assert (await client.join(token=token))["response"]["count"] == 5


async def test_an_outage_behind_a_token_that_is_gone_is_told_first(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    storage = ReadOnlyStorage()
    manager = make_manager(storage=storage)
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join(start=5))["token"]
    (info,) = manager.snapshots().items
    manager.revoke_socket(info.socket_hash)
    storage.is_read_only = True
    async with connected(Counter, manager) as client:
        reply = recovery_of(await client.join(token=token))
        assert (reply["outcome"], reply["token"]) == ("unavailable", None)
        storage.is_read_only = False
        await tell({"type": "someone.added", "by": 1})
        assert (await client.hear())["payload"] == {"count": 1}
        assert await client.hears_nothing()
    async with connected(Counter, manager) as client:
        assert recovery_of(await client.join(token=token))["outcome"] == "not_found"
