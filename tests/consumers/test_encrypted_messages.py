"""Messages to durable groups in the log: encrypted where states are, and readable in all ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_app import RecoveryManager
from recovery_app._core.encryption import Cipher, MessageSealer
from recovery_app.middleware import override_manager
from recovery_app.storages import MemoryStorage
from tests.clock import FakeClock
from tests.consumers.test_durable_groups import ROOM, page_of, publish

OLD, NEW = (bytes([number]) * 32 for number in (1, 2))


@pytest.fixture
def storage(clock: FakeClock) -> MemoryStorage:
    return MemoryStorage(clock=clock)


def manager_with(
    make_manager: Callable[..., RecoveryManager], storage: MemoryStorage, *keys: bytes
) -> RecoveryManager:
    return make_manager(storage=storage, clock=storage.clock, encryption_keys=keys or None)


async def stored(storage: MemoryStorage, place: str) -> list[bytes]:
    return [data for _, data in (await storage.aread_messages(ROOM, place, 100)).items]


async def test_who_reads_the_log_reads_no_message(
    make_manager: Callable[..., RecoveryManager], storage: MemoryStorage
) -> None:
    place = await storage.anewest_position(ROOM)
    manager = manager_with(make_manager, storage, OLD)
    with override_manager(manager):
        async with page_of(manager) as page:
            await page.join(group=ROOM)
            await publish(1, secret="what somebody typed")
            await publish(1, secret="what somebody typed")
            await page.hear(1, 1)
    one, same = await stored(storage, place)
    assert b"typed" not in one
    assert one != same


async def test_older_messages_and_those_of_other_programs_are_read(
    make_manager: Callable[..., RecoveryManager], storage: MemoryStorage
) -> None:
    with override_manager(manager_with(make_manager, storage)):
        await storage.anewest_position(ROOM)
    manager = manager_with(make_manager, storage, OLD)
    with override_manager(manager):
        async with page_of(manager) as page:
            await page.join(group=ROOM)
            message = b' {"type": "chat.message", "number": 1}'
            await storage.aappend_message(ROOM, message, lambda: None)
            await publish(2)
            await page.hear(1, 2)


async def test_keys_are_rotated(
    make_manager: Callable[..., RecoveryManager], storage: MemoryStorage
) -> None:
    managers = [
        manager_with(make_manager, storage, *keys) for keys in ((OLD,), (OLD, NEW), (NEW, OLD))
    ]
    with override_manager(managers[0]):
        async with page_of(managers[0]) as page:
            await page.join(group=ROOM)
    for number, manager in enumerate(managers):
        with override_manager(manager):
            await publish(number)
    for reader in managers[1:]:
        with override_manager(reader):
            async with page_of(reader) as again:
                await again.join(page.token)
                if reader is managers[1]:
                    await again.hear(0, 1, 2)
                assert (await again.ask()) == {"seen": [0, 1, 2], "missed": []}
            page.token = again.token


@pytest.mark.parametrize("keys", [(NEW,), ()])
async def test_what_cant_be_read_is_loaded_afresh(
    make_manager: Callable[..., RecoveryManager],
    storage: MemoryStorage,
    keys: tuple[bytes, ...],
    caplog: Any,
) -> None:
    manager = manager_with(make_manager, storage, *keys)
    with override_manager(manager):
        async with page_of(manager) as page:
            await page.join(group=ROOM)
            await publish(1)
            await page.hear(1)
            with override_manager(manager_with(make_manager, storage, OLD)):
                await publish(2, 3)
            found = await page.ask()
            while not found["missed"]:
                found = await page.ask()
            await publish(4)
            await page.hear(4)
            assert (await page.ask())["seen"] == [1, 4]
    unreadable = [
        each for each in caplog.records if vars(each).get("event") == "message_unreadable"
    ]
    assert len(unreadable) == 1
    assert "ENCRYPTION_KEYS" in unreadable[0].getMessage()


@given(data=st.binary(max_size=100), at=st.integers(1, 200), change=st.integers(1, 255))
def test_no_altered_message_is_read(data: bytes, at: int, change: int) -> None:
    sealer = MessageSealer(Cipher([OLD]))
    sealed = bytearray(sealer.seal(ROOM, data))
    assert sealer.open(ROOM, bytes(sealed)) == data
    assert sealer.open("room:2", bytes(sealed)) is None
    sealed[1 + at % (len(sealed) - 1)] ^= change
    assert sealer.open(ROOM, bytes(sealed)) is None
    assert sealer.open(ROOM, bytes(sealed[: at % len(sealed) or 1])) is None
