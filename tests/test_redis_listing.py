"""List what Redis holds: pages by SCAN, over more keys than a step and more nodes than one."""

from __future__ import annotations

from typing import Any

import pytest

from recovery_app.storages import RedisStorage, Storage
from recovery_app.storages.redis.listing import STEP_KEYS, Cursor
from tests.core.redis_storages import on_cluster, on_one
from tests.core.support import CALLS, claim_of, snapshot_bytes
from tests.support.processes import Process
from tests.support.redis import Cluster, ask, calls_of, client

PAGE = 70
MANY = 2 * STEP_KEYS + 100


def names_of(storage: Storage, limit: int, **options: Any) -> list[str]:
    """Give the keys of all pages, each of which is full but the last."""
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
                key = storage._keys.full(f"{number:016x}")
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
    for cursor in (Cursor(), Cursor(key="a"), Cursor(key="a", step="7", node=2), Cursor(step="9")):
        assert Cursor.read(str(cursor)) == cursor
    for text in ("a@b", "@1.x", "a@1"):
        with pytest.raises(ValueError, match="cursor"):
            Cursor.read(text)
