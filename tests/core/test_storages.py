"""Hold every storage to the contract of plain bytes: they come back, expire, and are listed."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recovery_app.exceptions import StorageError
from recovery_app.fencing import Verdict
from recovery_app.storages import EntryPage, MemoryStorage, Storage
from tests.clock import FakeClock
from tests.core.caches import LISTING
from tests.core.redis_storages import REDIS
from tests.core.support import (
    DATABASES,
    MEMORY,
    OwnStorage,
    claim_of,
    snapshot_bytes,
)

KEY = "0123456789abcdef"
OTHER = "fedcba9876543210"

listing = pytest.mark.parametrize(
    "any_storage", [MEMORY, *DATABASES, *REDIS[:-1], *LISTING], indirect=True
)
"""On the storages that can list what they hold, in order (a Cluster: ``test_redis_listing``)."""

cleaning = pytest.mark.parametrize("any_storage", [MEMORY, *DATABASES], indirect=True)
"""On the storages where what has expired stays until it is removed."""


def keys(page: EntryPage) -> list[str]:
    return [entry.key for entry in page.entries]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(bytes(range(256)) * 4096, id="a megabyte"),
        pytest.param(b"RS", id="a bit of a snapshot"),
        pytest.param(snapshot_bytes(7, b'{"a": 1}'), id="a snapshot"),
        pytest.param(snapshot_bytes(7)[:64], id="a header alone"),
        pytest.param(b"RS\x02" + snapshot_bytes(7)[3:], id="a newer format"),
        pytest.param(b"RS\x01" + b"\xff" * 80, id="times beyond all time"),
        pytest.param(snapshot_bytes(7, socket_id="x" * 999 + "\x00"), id="a long name"),
        pytest.param(snapshot_bytes(7, socket_id="\U0001f600 ȷ\x00"), id="no plain name"),
    ],
)
def test_bytes_come_back_as_they_are(storage: Storage, data: bytes) -> None:
    assert storage.load(KEY) is None
    storage.save(KEY, data, 60)
    storage.save(OTHER, b"other", 60)
    assert storage.load(KEY) == data
    assert type(storage.load(KEY)) is bytes
    storage.save(KEY, data + b"!", 60)
    assert storage.load(KEY) == data + b"!"


def test_a_plain_save_asks_nothing_of_what_was_there(storage: Storage) -> None:
    storage.save_fenced(KEY, snapshot_bytes(20), 60)
    storage.revoke(KEY, claim_of(20), 60, now_us=30)
    storage.save(KEY, b"broken", 60)
    assert storage.load(KEY) == b"broken"
    storage.save(KEY, snapshot_bytes(10), 60)
    assert storage.load(KEY) == snapshot_bytes(10)


def test_what_is_deleted_is_gone(storage: Storage) -> None:
    storage.save(KEY, b"data", 60)
    storage.save(OTHER, b"other", 60)
    assert storage.delete(KEY) is True
    assert storage.load(KEY) is None
    assert storage.delete(KEY) is False
    assert storage.load(OTHER) == b"other"


def test_bytes_live_for_their_ttl(storage: Storage, clock: FakeClock) -> None:
    storage.save(KEY, b"data", 60)
    clock.advance(seconds=59.9)
    assert storage.load(KEY) == b"data"
    clock.advance(seconds=0.1)
    assert storage.load(KEY) is None
    assert storage.delete(KEY) is False


def test_a_save_restarts_the_ttl(storage: Storage, clock: FakeClock) -> None:
    storage.save(KEY, b"old", 60)
    clock.advance(seconds=59)
    storage.save(KEY, b"new", 60)
    clock.advance(seconds=59)
    assert storage.load(KEY) == b"new"


def test_an_expired_value_is_no_obstacle(storage: Storage, clock: FakeClock) -> None:
    storage.save(KEY, b"old", 60)
    storage.save(OTHER, b"old", 60)
    clock.advance(seconds=60)
    storage.save(KEY, b"new", 60)
    assert storage.load(KEY) == b"new"
    assert storage.save_fenced(OTHER, snapshot_bytes(1), 60) is Verdict.DONE
    assert storage.load(OTHER) == snapshot_bytes(1)


def test_a_closed_storage_works_on(storage: Storage) -> None:
    storage.save(KEY, b"data", 60)
    storage.close()
    storage.close()
    assert storage.load(KEY) == b"data"


# Cleaning up.


@cleaning
def test_cleaning_up_removes_what_has_expired(storage: Storage, clock: FakeClock) -> None:
    assert storage.cleanup_expired() == 0
    for number in range(5):
        storage.save(f"{number:016x}", b"data", 10 + number)
    clock.advance(seconds=12)
    assert storage.cleanup_expired() == 3
    assert storage.cleanup_expired() == 0
    clock.advance(seconds=-12)
    assert [number for number in range(5) if storage.load(f"{number:016x}")] == [3, 4]


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
def test_a_listing_has_pages(storage: Storage) -> None:
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
    assert storage.list_entries(limit=7).next_cursor is None
    assert storage.count() == 7


@listing
def test_a_cursor_whose_entry_is_gone_still_points(storage: Storage) -> None:
    for name in ("a", "b", "c"):
        storage.save(name, b"data", 60)
    cursor = storage.list_entries(limit=2).next_cursor
    storage.delete("b")
    assert keys(storage.list_entries(cursor=cursor)) == ["c"]
    assert keys(storage.list_entries(cursor="c")) == []


@listing
@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("", "abcdefg"),
        ("one", "ab"),
        ("one ", "b"),
        ("One", "c"),
        ("100%", "d"),
        ("100_", ""),
        ("\\", "e"),
        ("é", "f"),
        ("two", ""),
    ],
)
def test_a_listing_has_the_sockets_that_start_so(storage: Storage, prefix: str, found: str) -> None:
    names = ["one", "one more", "One", "100% sure", "\\one", "é", "e\u0301"]
    for key, name in zip("abcdefg", names, strict=True):
        storage.save_fenced(key, snapshot_bytes(1, socket_id=name), 60)
    assert "".join(keys(storage.list_entries(prefix=prefix))) == found


@listing
def test_a_listing_shows_what_is_live(storage: Storage, clock: FakeClock) -> None:
    storage.save_fenced("a", snapshot_bytes(1), 10)
    storage.save_fenced("b", snapshot_bytes(1, b'{"b": 1}'), 60)
    storage.save_fenced("c", snapshot_bytes(1), 60)
    storage.save("d", b"broken", 60)
    storage.revoke("c", claim_of(1), 60, now_us=2)
    clock.advance(seconds=20)
    page = storage.list_entries()
    assert keys(page) == ["b", "d"]
    assert page.entries[0].data == snapshot_bytes(1, b'{"b": 1}')
    assert page.entries[1].data == b"broken"
    assert page.entries[0].expires_in == pytest.approx(40, abs=0.1)
    assert "state" not in repr(page)
    assert storage.count() == 2


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
