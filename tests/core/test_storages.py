"""What the contract (``test_contract``) leaves open, and each storage of ours promises."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recovery_app.exceptions import StorageError
from recovery_app.storages import EntryPage, MemoryStorage, Storage
from recovery_app.testing.contract.base import snapshot_bytes
from tests.clock import FakeClock
from tests.core.caches import LISTING
from tests.core.redis_storages import REDIS
from tests.core.support import DATABASES, MEMORY, OwnStorage

KEY = "0123456789abcdef"
OTHER = "fedcba9876543210"

listing = pytest.mark.parametrize(
    "any_storage", [MEMORY, *DATABASES, *REDIS[:-1], *LISTING], indirect=True
)
"""On the storages that can list what they hold, in order (a Cluster: ``test_redis_listing``)."""


def keys(page: EntryPage) -> list[str]:
    return [entry.key for entry in page.entries]


# Cleaning up.


@pytest.mark.parametrize("any_storage", DATABASES, indirect=True)
def test_cleaning_up_takes_more_than_one_batch(storage: Storage, clock: FakeClock) -> None:
    for number in range(7):
        storage.save(f"{number:016x}", b"data", 10)
    clock.advance(seconds=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recovery_app.storages.database.cleanup.DELETE_BATCH", 3)
        assert storage.cleanup_expired() == 7


# Listing.


@listing
def test_pages_are_full_and_in_the_order_of_keys(storage: Storage) -> None:
    names = [f"{number:016x}" for number in range(7)]
    for name in reversed(names):
        storage.save_fenced(name, snapshot_bytes(1, socket_id=f"socket {name}"), 60)
    seen, cursor = [], None
    for size in (3, 3, 1):
        page = storage.list_entries(cursor=cursor, limit=3)
        assert len(page.entries) == size
        seen += keys(page)
        cursor = page.next_cursor
    assert seen == names
    assert cursor is None
    page = storage.list_entries(limit=7)
    assert page.next_cursor is None
    assert "state" not in repr(page)


@pytest.mark.parametrize("any_storage", [OwnStorage], indirect=True)
def test_a_storage_may_not_be_able_to_list(storage: Storage) -> None:
    with pytest.raises(StorageError, match="OwnStorage can't list"):
        storage.list_entries()
    with pytest.raises(StorageError, match="OwnStorage can't count"):
        storage.count()
    assert storage.cleanup_expired() == 0


# Each by itself.


def test_a_storage_of_ones_own_needs_three_methods(clock: FakeClock) -> None:
    class Nothing(Storage):
        pass

    nothing = Nothing()
    for call in (
        lambda: nothing.save(KEY, b"", 1),
        lambda: nothing.load(KEY),
        lambda: nothing.delete(KEY),
    ):
        with pytest.raises(NotImplementedError, match=r"Nothing needs a (save|load|delete)\("):
            call()
    own = OwnStorage(clock)
    assert not own.supports_atomic_fence
    assert not own.supports_listing
    assert not own.supports_native_async
    assert not own.expires_by_itself


def test_memory_forgets_what_was_used_least(clock: FakeClock) -> None:
    memory = MemoryStorage(max_entries=2, clock=clock)
    memory.save("a", b"a", 60)
    memory.save("b", b"b", 60)
    assert memory.load("a") == b"a"
    memory.save("c", b"c", 60)
    assert [memory.load(key) for key in "abc"] == [b"a", None, b"c"]
    memory.save("a", b"again", 60)
    memory.save("d", b"d", 60)
    assert [memory.load(key) for key in "acd"] == [b"again", None, b"d"]


@pytest.mark.parametrize("max_entries", [0, -1])
def test_memory_holds_at_least_one_entry(max_entries: int) -> None:
    with pytest.raises(ValueError, match="max_entries"):
        MemoryStorage(max_entries=max_entries)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: b"RS\x01" + data))
@pytest.mark.django_db
@pytest.mark.parametrize("any_storage", [MEMORY, *DATABASES[:1]], indirect=True)
def test_any_bytes_come_back(any_storage: Storage, data: bytes) -> None:
    any_storage.save(KEY, data, 60)
    assert any_storage.load(KEY) == data
