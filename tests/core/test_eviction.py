"""Which snapshots `MemoryStorage` evicts, and what it remembers of them."""

from __future__ import annotations

import random
import threading
import tracemalloc
from array import array
from typing import Any

import pytest

from recovery_app._core.metadata import SnapshotMetadata
from recovery_app._core.persons import ANONYMOUS
from recovery_app._core.tokens import Grant
from recovery_app.clock import to_us
from recovery_app.exceptions import StateTooLarge, TokenSuperseded
from recovery_app.fencing import Verdict
from recovery_app.storages import MemoryStorage
from recovery_app.storages.memory_table import key_of as table_key
from recovery_app.testing.contract.base import claim_of, snapshot_bytes
from tests.clock import FakeClock
from tests.core.support import make_manager

TTL = 60


def key_of(number: int) -> str:
    return f"{number:016x}"


def test_a_flood_of_one_holder_evicts_nobody_else(clock: FakeClock) -> None:
    storage = MemoryStorage(max_entries=100, clock=clock)
    people = [(key_of(1000 + n), snapshot_bytes(n + 1, binding=b"%d" % n)) for n in range(20)]
    for key, data in people:
        storage.save_fenced(key, data, TTL)
    for number in range(1000):
        data = snapshot_bytes(number + 1, binding=b"flood")
        assert storage.save_fenced(key_of(number + 5000), data, TTL) is Verdict.DONE
    assert [storage.load(key) for key, _ in people] == [data for _, data in people]
    # The last of the flood's own are what is left of it.
    assert storage.load(key_of(5919)) is None
    assert storage.load(key_of(5920)) is not None
    assert storage.count() == 100


@pytest.mark.parametrize("name", [b"somebody", ANONYMOUS])
def test_all_snapshots_of_a_person_count_as_one_holders(clock: FakeClock, name: bytes) -> None:
    storage = MemoryStorage(max_entries=100, clock=clock)
    manager = make_manager(storage=storage, clock=clock)

    def save(socket_id: str, name: bytes) -> Grant:
        grant = manager.operations.create(socket_id, socket_id.encode())
        metadata = SnapshotMetadata(person=manager.operations.person(name, None).digest)
        flow = manager.operations.save_payload(grant, b"{}", socket_id=socket_id, metadata=metadata)
        manager.driver.run(flow)
        return grant

    # Ten of each of two, who would lose before those who have one each.
    people = [save(f"{name}:{topic}", name.encode()) for name in "ab" for topic in range(10)]
    for topic in range(500):
        save(f"flood:{topic}", name)
    assert all(storage.load(grant.key) is not None for grant in people)


def test_a_flood_of_bytes_evicts_nobody_else(clock: FakeClock) -> None:
    storage = MemoryStorage(max_bytes=10_000_000, clock=clock)
    small = snapshot_bytes(1, binding=b"a person")
    storage.save_fenced(key_of(0), small, TTL)
    for number in range(1, 200):
        data = snapshot_bytes(number, b"x" * 1_000_000, binding=b"flood")
        storage.save_fenced(key_of(number), data, TTL)
    assert storage.load(key_of(0)) == small
    assert storage.count() == 10
    assert storage.load(key_of(199)) is not None


def test_a_save_of_a_small_holder_is_kept_under_a_flood(clock: FakeClock) -> None:
    storage = MemoryStorage(max_entries=10, clock=clock)
    for number in range(1, 50):
        storage.save_fenced(key_of(number), snapshot_bytes(number, binding=b"flood"), TTL)
    for number in range(50, 55):
        storage.save_fenced(key_of(number), snapshot_bytes(number, binding=b"%d" % number), TTL)
        assert storage.load(key_of(number)) is not None


def test_equal_holders_lose_in_the_order_of_their_last_use(clock: FakeClock) -> None:
    storage = MemoryStorage(max_entries=3, clock=clock)
    for number in range(3):
        storage.save_fenced(key_of(number), snapshot_bytes(number + 1, binding=b"%d" % number), TTL)
    storage.load(key_of(0))
    # The newcomer holds most bytes, and isn't what makes room for itself.
    data = snapshot_bytes(9, b"x" * 1000, binding=b"newcomer")
    storage.save_fenced(key_of(9), data, TTL)
    found = [number for number in (0, 1, 2, 9) if storage.load(key_of(number))]
    assert found == [0, 2, 9]


def test_a_zombie_does_not_overwrite_after_an_eviction(clock: FakeClock) -> None:
    storage = MemoryStorage(max_entries=2, clock=clock)
    storage.save_fenced(key_of(0), snapshot_bytes(10), TTL)
    taken = storage.take_over(key_of(0), claim_of(10), TTL, now_us=20, newest_version=None)
    assert taken.verdict is Verdict.DONE
    for number in range(1, 4):
        storage.save_fenced(key_of(number), snapshot_bytes(number), TTL)
    assert storage.load(key_of(0)) is None
    assert storage.save_fenced(key_of(0), snapshot_bytes(10), TTL) is Verdict.FENCED
    assert storage.save_fenced(key_of(0), snapshot_bytes(20), TTL) is Verdict.FENCED
    assert storage.touch_fenced(key_of(0), claim_of(20), TTL) is Verdict.FENCED
    assert storage.touch_fenced(key_of(0), claim_of(21), TTL) is Verdict.NOT_FOUND
    assert storage.save_fenced(key_of(0), snapshot_bytes(21), TTL) is Verdict.DONE


def test_a_revoked_state_stays_revoked_through_a_flood(clock: FakeClock) -> None:
    manager = make_manager(storage=MemoryStorage(max_entries=10, clock=clock), clock=clock)
    token = manager.create_token("revoked")
    manager.save(token, {"count": 1})
    manager.revoke(token)
    for number in range(100):
        clock.advance(seconds=0.001)
        manager.save(manager.create_token(f"socket {number}"), {})
    with pytest.raises(TokenSuperseded) as raised:
        manager.save(token, {"count": 2})
    assert raised.value.revoked


def test_markers_are_bounded_and_refuse_even_when_dropped(clock: FakeClock) -> None:
    storage = MemoryStorage(max_entries=10, clock=clock)
    for number in range(50):
        storage.revoke(key_of(number), claim_of(number + 1), TTL, now_us=0)
    assert storage.estimate_count() == 10
    for number in range(50):
        saved = storage.save_fenced(key_of(number), snapshot_bytes(number + 1), TTL)
        assert saved in (Verdict.FENCED, Verdict.REVOKED)


def test_a_fresh_socket_is_newer_than_whatever_was_evicted(clock: FakeClock) -> None:
    manager = make_manager(storage=MemoryStorage(max_entries=2, clock=clock), clock=clock)
    for number in range(100):
        token = manager.create_token(f"socket {number}")
        manager.save(token, {"number": number})
        assert manager.recover(token) == {"number": number}


def test_a_fence_from_the_future_is_not_remembered(clock: FakeClock) -> None:
    storage = MemoryStorage(max_entries=1, clock=clock)
    storage.save(key_of(0), snapshot_bytes(2**61), TTL)
    now_us = to_us(clock())
    assert storage.save_fenced(key_of(1), snapshot_bytes(now_us), TTL) is Verdict.DONE
    assert storage.save_fenced(key_of(2), snapshot_bytes(now_us + 1), TTL) is Verdict.DONE


def test_a_snapshot_above_the_limit_is_refused(clock: FakeClock) -> None:
    storage = MemoryStorage(max_bytes=1000, clock=clock)
    before = snapshot_bytes(1)
    storage.save_fenced(key_of(0), before, TTL)
    with pytest.raises(StateTooLarge):
        storage.save_fenced(key_of(0), snapshot_bytes(1, b"x" * 1000), TTL)
    assert storage.load(key_of(0)) == before


@pytest.mark.parametrize("max_bytes", [0, -1])
def test_there_is_room_for_something(max_bytes: int) -> None:
    with pytest.raises(ValueError, match="max_bytes"):
        MemoryStorage(max_bytes=max_bytes)


def test_other_spellings_are_other_keys(clock: FakeClock) -> None:
    storage = MemoryStorage(clock=clock)
    keys = ["00000000000000ab", "00000000000000AB", "0x000000000000ab", "+0000000000000ab", "ab"]
    for number, key in enumerate(keys):
        storage.save(key, b"%d" % number, TTL)
    assert [storage.load(key) for key in keys] == [b"%d" % number for number in range(len(keys))]
    assert sorted(entry.key for entry in storage.list_entries().entries) == sorted(keys)


def test_it_agrees_with_a_slow_model(clock: FakeClock) -> None:
    """Compare random calls with a plain list, the least recently used first."""
    chance = random.Random(11)
    limit, max_bytes = 12, 6000
    storage = MemoryStorage(max_entries=limit, max_bytes=max_bytes, clock=clock)
    unit = max_bytes // limit
    model: list[tuple[str, bytes, bytes]] = []
    last_use: dict[bytes, int] = {}

    def units(owner: bytes) -> int:
        return sum(len(data) + unit for _, who, data in model if who == owner) // unit

    for number in range(5000):
        key = key_of(chance.randrange(30))
        owner = b"%d" % chance.choice([0, 0, 0, 1, 2, 3])
        known = next((each for each in model if each[0] == key), None)
        call = chance.choice(["save", "save", "load", "delete"])
        if call == "load":
            assert storage.load(key) == (known[2] if known else None)
            if known:
                model.remove(known)
                model.append(known)
                last_use[known[1]] = number
        elif call == "delete":
            assert storage.delete(key) is (known is not None)
            model = [each for each in model if each is not known]
        else:
            data = snapshot_bytes(number, chance.randbytes(chance.randrange(1000)), binding=owner)
            storage.save(key, data, TTL)
            model = [each for each in model if each is not known] + [(key, owner, data)]
            last_use[owner] = number
            while len(model) > limit or sum(len(each[2]) for each in model) > max_bytes:
                owners = sorted({each[1] for each in model}, key=last_use.__getitem__)
                if sum(each[1] == owner for each in model) == 1:
                    owners.remove(owner)
                heaviest = max(owners, key=units)
                model.remove(next(each for each in model if each[1] == heaviest))
        assert storage._table.entries == len(model)
        assert storage._table.bytes == sum(len(each[2]) for each in model)
        assert len(storage._table._queue) <= 2 * len(storage._table._by_name) + 64
    assert set(map(table_key, storage._table.snapshots(0, expired=False))) == {
        each[0] for each in model
    }


def test_threads_leave_it_whole(clock: FakeClock) -> None:
    storage = MemoryStorage(max_entries=50, max_bytes=50_000, clock=clock)

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for number in range(1, 2000):
            key = key_of(chance.randrange(200))
            data = snapshot_bytes(number, b"x" * chance.randrange(2000), binding=b"%d" % seed)
            storage.save(key, data, TTL) if chance.random() < 0.5 else storage.load(key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = storage._table.snapshots(0, expired=False)
    found = [each for each in map(storage._table.find, names) if each is not None]
    assert len(found) == storage._table.entries <= 50
    assert sum(len(data) for data, _ in found) == storage._table.bytes <= 50_000


def test_what_has_expired_goes_before_what_is_live(clock: FakeClock) -> None:
    storage = MemoryStorage(max_entries=100, clock=clock)
    for number in range(98):
        storage.save(key_of(number), snapshot_bytes(1, binding=b"%d" % number), TTL)
    clock.advance(seconds=TTL + 1)
    for number in range(98, 102):
        storage.save(key_of(number), snapshot_bytes(1, binding=b"somebody"), TTL)
    assert [storage.load(key_of(number)) is not None for number in range(98, 102)] == [True] * 4


def test_an_eviction_searches_few_entries(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = MemoryStorage(max_entries=1_000, clock=clock)
    for number in range(1_000):
        storage.save(key_of(number), snapshot_bytes(1, binding=b"%d" % number), TTL)
    read: list[int] = []

    class Expiries(array):
        def __getitem__(self, slot: Any) -> Any:
            read.append(slot)
            return super().__getitem__(slot)

    monkeypatch.setattr(storage._table, "_expiries", Expiries("d", storage._table._expiries))
    storage.save(key_of(1_000), snapshot_bytes(1, binding=b"1000"), TTL)
    assert storage.count_expired() == 0
    assert storage._table.entries == 1_000
    assert len(read) <= 40


def test_a_clock_that_is_set_back_refuses_no_new_socket(clock: FakeClock) -> None:
    storage = MemoryStorage(max_entries=2, clock=clock)
    manager = make_manager(storage=storage, clock=clock)
    for number in range(4):
        manager.save(manager.create_token(f"socket {number}"), {"count": number})
    clock.advance(seconds=-3 * 86_400)
    token = manager.create_token("a fresh socket")
    manager.save(token, {"count": 5})
    assert manager.recover(token) == {"count": 5}


def test_a_look_at_everything_holds_no_copy_of_it(clock: FakeClock) -> None:
    storage = MemoryStorage(clock=clock)
    for number in range(100):
        storage.save(key_of(number), snapshot_bytes(1, b"x" * 100_000), TTL)
    tracemalloc.start()
    try:
        assert storage.count() == len(storage.sample().items) == 100
        assert len(storage.list_entries(limit=3).entries) == 3
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_a_subclass_with_its_own_save_is_used_for_each_save(clock: FakeClock) -> None:
    saved: list[str] = []

    class Auditing(MemoryStorage):
        def save(self, key: str, data: bytes, ttl: float) -> None:
            saved.append(key)
            super().save(key, data, ttl)

    storage = Auditing(clock=clock)
    storage.save_fenced("key", snapshot_bytes(1), TTL)
    assert saved == ["key"]
