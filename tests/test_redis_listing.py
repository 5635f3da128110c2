"""Listings by SCAN, over more keys than a step and more nodes than one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from recovery_app._core.tokens import hash_socket_id
from recovery_app.storages import RedisStorage, Storage
from recovery_app.storages.redis.scanning import STEP_KEYS, Cursor
from recovery_app.testing.contract.base import claim_of, snapshot_bytes
from recovery_app.values import Query, Sample
from tests.core.redis_storages import on_cluster, on_one
from tests.core.support import CALLS
from tests.support.processes import Process
from tests.support.redis import Cluster, ask, calls_of, client

PAGE = 70
MANY = 3 * STEP_KEYS + 500
"""Far enough above 2,048 for Redis to have rehashed: meanwhile SCAN may return a key twice."""


def names_of(storage: Storage, limit: int, **options: Any) -> list[str]:
    """Return the keys of all pages, each of which is full but the last."""
    names: list[str] = []
    cursor = None
    while True:
        page = storage.list_entries(cursor=cursor, limit=limit, **options)
        names += [entry.key for entry in page.entries]
        cursor = page.next_cursor
        if cursor is None:
            return names
        assert len(page.entries) == limit


@pytest.mark.parametrize("calls", CALLS)
def test_pages_over_the_nodes_of_a_cluster(redis_cluster: Cluster, calls: Any) -> None:
    for port in (node.port for node in redis_cluster.nodes):
        with client(port) as connection:
            connection.flushall()
    storage = RedisStorage(**on_cluster(redis_cluster))
    names = [f"{number:016x}" for number in range(40)]
    for name in names:
        storage.save_fenced(name, snapshot_bytes(1, socket_id=f"socket {name[-2]}"), 60)
    storage.revoke("0" * 16, claim_of(1), 60, now_us=2)
    for limit in (1, 7, 100):
        assert sorted(names_of(calls(storage), limit)) == names[1:]
    assert calls(storage).count() == 39
    found = names_of(calls(storage), 5, prefix="socket 1")
    assert sorted(found) == names[16:32]
    assert names_of(calls(storage), 5, prefix="Socket") == []
    storage.close()


def test_pages_over_many_steps_miss_nothing(redis_server: Process) -> None:
    storage = RedisStorage(**on_one(redis_server), prefix="a[b]*c?\\")
    other = RedisStorage(**on_one(redis_server), prefix="abbc")
    with client(redis_server.port) as connection:
        connection.flushall()
        data = snapshot_bytes(1)
        with connection.pipeline(transaction=False) as pipeline:
            for number in range(MANY):
                key = storage._keys.encode(f"{number:016x}")
                pipeline.set(key, data, ex=60)
            pipeline.execute()
    other.save("0", data, 60)
    ask(redis_server.port, "CONFIG", "RESETSTAT")
    names = names_of(storage, PAGE)
    assert sorted(names) == [f"{number:016x}" for number in range(MANY)]
    assert storage.count() == MANY
    calls = calls_of(redis_server.port)
    assert calls["scan"] > 2
    assert "keys" not in calls
    assert other.count() == 1
    assert names_of(other, 1) == ["0"]
    storage.close()
    other.close()


def test_a_cursor_goes_on_behind_what_is_gone(redis_server: Process) -> None:
    with client(redis_server.port) as connection:
        connection.flushall()
    storage = RedisStorage(**on_one(redis_server), prefix="gone:")
    for name in "abcde":
        storage.save(name, b"data", 60)
    cursor = storage.list_entries(limit=2).next_cursor
    storage.delete("b")
    storage.delete("c")
    storage.save("bb", b"data", 60)
    entries = storage.list_entries(cursor=cursor).entries
    assert [entry.key for entry in entries] == ["bb", "d", "e"]
    storage.close()


def test_a_cursor_is_read_as_it_was_written() -> None:
    keys = ("a", "me@example.com", "x@1.2", "@")
    named = (Cursor(key=key, step=step, node=2) for key in keys for step in ("0", "7"))
    for cursor in (Cursor(), Cursor(key="a"), Cursor(key="x@1.2"), Cursor(step="9"), *named):
        assert Cursor.parse(str(cursor)) == cursor
    for text in ("a@b", "@1.x", "a@1", "@٣.0", f"@{2**64}.0", "@0." + "9" * 30):
        with pytest.raises(ValueError, match="cursor"):
            Cursor.parse(text)


# For people who look


def filled(server: Process, number: int, prefix: str = "many:", others: int = 0) -> RedisStorage:
    """Return a storage with so many snapshots of a kilobyte, among keys of others."""
    storage = RedisStorage(**on_one(server), prefix=prefix)
    with client(server.port) as connection:
        connection.flushall()
        with connection.pipeline(transaction=False) as pipeline:
            for place in range(number):
                data = snapshot_bytes(1, b"s" * 1000, socket_id=f"socket {place:06}")
                pipeline.set(storage._keys.encode(f"{place:016x}"), data, ex=60)
            for place in range(others):
                pipeline.set(f"session:{place}", b"somebody else's")
            pipeline.execute()
    return storage


@pytest.mark.parametrize("calls", CALLS)
def test_a_large_store_is_counted_by_an_estimate(redis_server: Process, calls: Any) -> None:
    storage = filled(redis_server, 12 * STEP_KEYS, others=4 * STEP_KEYS)
    before = calls_of(redis_server.port)
    sample = calls(storage).sample(500)
    spent = Counter(calls_of(redis_server.port))
    spent.subtract(before)
    assert not sample.is_exact
    assert sample.total == pytest.approx(12 * STEP_KEYS, rel=0.15)
    assert len(sample.items) == 500
    assert {info.size_bytes for info in sample.items} == {1000}
    # Heads alone, of no more than were asked for.
    assert (spent["scan"], spent["getrange"], spent.get("get", 0)) == (1, 500, 0)
    storage.close()


def test_a_small_store_among_many_keys_is_counted_exactly(redis_server: Process) -> None:
    storage = filled(redis_server, 30, others=3 * STEP_KEYS)
    storage.revoke("0" * 16, claim_of(1), 60, now_us=2)
    sample = storage.sample(500)
    assert (sample.total, len(sample.items), sample.is_exact) == (29, 29, True)
    empty = RedisStorage(**on_one(redis_server), prefix="empty:")
    assert empty.sample(500) == Sample(items=[], total=0)
    storage.close()
    empty.close()


def test_the_estimate_of_a_cluster_has_all_nodes(redis_cluster: Cluster) -> None:
    storage = RedisStorage(**on_cluster(redis_cluster))
    for port in (node.port for node in redis_cluster.nodes):
        with client(port) as connection:
            connection.flushall()
    for number in range(60):
        storage.save(hash_of(number), snapshot_bytes(1, socket_id=f"socket {number}"), 60)
    assert storage.sample(600).total == 60
    estimate = storage.sample(30)
    assert not estimate.is_exact
    assert len(estimate.items) == 30
    assert estimate.total == 60
    storage.close()


@pytest.mark.parametrize("calls", CALLS)
def test_a_search_goes_on_where_it_stopped(
    redis_server: Process, calls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recovery_app.storages.redis.listing.MAX_LOOKED_AT", 300)
    storage = filled(redis_server, MANY)
    found: list[str] = []
    looked_at: list[int] = []
    cursor = None
    while True:
        page = calls(storage).browse(Query(prefix="socket 00010", cursor=cursor, limit=4))
        assert len(page.items) <= 4
        found += [info.socket_id for info in page.items]
        looked_at.append(page.looked_at)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(found) == [f"socket {number:06}" for number in range(100, 110)]
    assert max(looked_at) == 300
    assert sum(looked_at) == MANY
    storage.close()


def test_pages_by_their_heads_miss_nothing(redis_server: Process) -> None:
    storage = filled(redis_server, MANY, others=500)
    found: list[str] = []
    cursor = None
    while True:
        page = storage.browse(Query(cursor=cursor, limit=PAGE))
        found += [info.socket_hash for info in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        assert len(page.items) == PAGE
    assert sorted(found) == [f"{number:016x}" for number in range(MANY)]
    storage.close()


def hash_of(number: int) -> str:
    """Return the key of a socket."""
    return hash_socket_id(str(number)).hex()
