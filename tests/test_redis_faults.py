"""Failures of Redis: the storage reports each in time, and recovers by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from redis.exceptions import AskError, MovedError

from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.fencing import Verdict
from recovery_app.storages import RedisStorage
from recovery_app.storages.redis.errors import as_redirect, translate_error
from recovery_app.storages.redis.pipelining import MAX_REQUESTS
from recovery_app.storages.redis.sync_pool import FOR, GivenPool
from recovery_app.testing.contract.base import claim_of, snapshot_bytes
from tests.core.redis_storages import on_cluster, on_one, on_sentinels
from tests.core.support import CALLS, make_manager
from tests.support.processes import HOST, Process, wait_until
from tests.support.redis import (
    Cluster,
    SentinelTrio,
    ask,
    client,
    connections_of,
    make_redis,
    sentinels,
)

KEY = "0123456789abcdef"
TIMEOUT = 0.5
JOINS = 2000
PIPELINES = 40


@pytest.fixture
def server(redis_directory: Path) -> Iterator[Process]:
    """Run a server of the test's own, to be broken."""
    with make_redis(redis_directory) as server:
        yield server


@pytest.fixture
def storage(server: Process) -> Iterator[RedisStorage]:
    storage = RedisStorage(**on_one(server), timeout=TIMEOUT)
    yield storage
    storage.close()


def every_call(storage: Any) -> list[Callable[[], Any]]:
    """Return one of each call."""
    claim = claim_of(1)
    return [
        lambda: storage.save(KEY, b"data", 60),
        lambda: storage.load(KEY),
        lambda: storage.delete(KEY),
        lambda: storage.save_fenced(KEY, snapshot_bytes(1), 60),
        lambda: storage.touch_fenced(KEY, claim, 60),
        lambda: storage.take_over(KEY, claim, 60, now_us=1, newest_version=None),
        lambda: storage.renew(KEY, claim, 60, now_us=1, binding=claim.binding),
        lambda: storage.revoke(KEY, claim, 60, now_us=1),
        storage.list_entries,
        storage.count,
    ]


@pytest.mark.parametrize("calls", CALLS)
def test_a_server_that_is_gone_is_unavailable(
    storage: RedisStorage, server: Process, calls: Any
) -> None:
    server.stop()
    for call in every_call(calls(storage)):
        with pytest.raises(StorageUnavailable):
            call()
    server.start()
    for call in every_call(calls(storage)):
        call()


async def test_connections_survive_a_restart_of_the_server(
    storage: RedisStorage, server: Process
) -> None:
    for call in (storage.save_fenced, storage.save_fenced):
        assert call(KEY, snapshot_bytes(1), 60) is Verdict.DONE
    for _ in range(3):
        assert await storage.asave_fenced(KEY, snapshot_bytes(1), 60) is Verdict.DONE
        server.restart()
    assert await storage.aload(KEY) is None
    assert storage.load(KEY) is None


async def test_a_connection_that_is_killed_is_replaced(
    storage: RedisStorage, server: Process
) -> None:
    await storage.asave(KEY, b"data", 60)
    ask(server.port, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert await storage.aload(KEY) == b"data"
    assert storage.load(KEY) == b"data"
    ask(server.port, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    wait_until(lambda: connections_of(server.port) == 0, 60, "It keeps a connection.")
    for _ in range(5):
        # The loop sees what is on the wire, as it would before any other request.
        await asyncio.sleep(0)
    claim = claim_of(1)
    decision = await storage.arenew(KEY, claim, 60, now_us=1, binding=claim.binding)
    assert decision.verdict is Verdict.UNREADABLE


@pytest.mark.parametrize("calls", CALLS)
def test_a_flush_of_the_scripts_is_no_obstacle(
    storage: RedisStorage, server: Process, calls: Any
) -> None:
    called = calls(storage)
    for fence in range(1, 4):
        assert called.save_fenced(KEY, snapshot_bytes(fence), 60) is Verdict.DONE
        ask(server.port, "SCRIPT", "FLUSH")


@pytest.mark.parametrize("calls", CALLS)
def test_a_stall_lasts_no_longer_than_the_time_out(
    storage: RedisStorage, server: Process, calls: Any
) -> None:
    called = calls(storage)
    called.save(KEY, b"data", 60)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        for call in every_call(called):
            # It would stall for ever.
            with pytest.raises(StorageUnavailable):
                call()
    finally:
        os.kill(server.pid, signal.SIGCONT)
    wait_until(lambda: comes_back(called), 60, "It doesn't come back.")


def comes_back(storage: RedisStorage) -> bool:
    with suppress(StorageUnavailable):
        return storage.load(KEY) is not None
    return False


async def test_all_who_wait_in_a_stall_are_told_in_time(server: Process) -> None:
    storage = RedisStorage(**on_one(server), timeout=TIMEOUT, lanes=1)
    await storage.asave(KEY, b"data", 60)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        done = await asyncio.gather(
            *(storage.aload(KEY) for _ in range(PIPELINES * MAX_REQUESTS)), return_exceptions=True
        )
        assert {type(each) for each in done} == {StorageUnavailable}
        # Far from so many pipelines, one after the other.
        assert time.monotonic() - start < PIPELINES * TIMEOUT / 2
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert await storage.aload(KEY) == b"data"
    storage.close()


def test_threads_wait_for_a_connection(server: Process) -> None:
    storage = RedisStorage(**on_one(server), max_connections=2)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for fence in range(1, 20):
                storage.save_fenced(f"{number:016x}", snapshot_bytes(fence), 60)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert connections_of(server.port) <= 2
    storage.close()


def test_a_pool_that_stays_dry_is_unavailable(server: Process) -> None:
    storage = RedisStorage(**on_one(server), max_connections=1, timeout=TIMEOUT)
    storage.save(KEY, b"data", 60)
    (pool,) = storage._sync._pools.values()
    connection = pool.take()
    with pytest.raises(StorageUnavailable):
        storage.load(KEY)
    pool.release(connection)
    assert storage.load(KEY) == b"data"
    storage.close()


async def test_thousands_join_at_once_over_few_connections(server: Process) -> None:
    storage = RedisStorage(**on_one(server))
    manager = make_manager(storage=storage)
    tokens = [manager.create_token(f"socket {number}") for number in range(JOINS)]
    await asyncio.gather(*(manager.asave(token, {"n": n}) for n, token in enumerate(tokens)))
    taken = await asyncio.gather(*map(manager.atake_over, tokens))
    assert [takeover.state["n"] for takeover in taken] == list(range(JOINS))
    assert connections_of(server.port) <= 100
    manager.close()


# What the server says by itself.


@pytest.mark.parametrize("calls", CALLS)
def test_a_replica_a_full_and_a_busy_server_are_unavailable(
    storage: RedisStorage, server: Process, calls: Any
) -> None:
    called = calls(storage)
    called.save_fenced(KEY, snapshot_bytes(1), 60)
    for setting, back in (
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("REPLICAOF", HOST, "1"), ("REPLICAOF", "NO", "ONE")),
        (("CONFIG", "SET", "min-replicas-to-write", "1"),) * 1
        + (("CONFIG", "SET", "min-replicas-to-write", "0"),),
    ):
        ask(server.port, *setting)
        for call in (
            lambda: called.save_fenced(KEY, snapshot_bytes(2), 60),
            lambda: called.save(KEY, snapshot_bytes(2), 60),
        ):
            with pytest.raises(StorageUnavailable):
                call()
        ask(server.port, *back)
        assert called.load(KEY) == snapshot_bytes(1)


def test_who_may_not_is_told_so_and_no_password_is_shown(server: Process) -> None:
    ask(server.port, "ACL", "SETUSER", "reader", "on", ">secret word", "~*", "+get")
    url = f"redis://reader:secret%20word@{HOST}:{server.port}"
    storage = RedisStorage(url=url)
    assert storage.load(KEY) is None
    assert asyncio.run(storage.aload(KEY)) is None
    with pytest.raises(StorageError) as caught:
        storage.save(KEY, b"data", 60)
    assert not isinstance(caught.value, StorageUnavailable)
    assert "secret word" not in repr(vars(storage))
    storage.close()
    wrong = RedisStorage(url=url.replace("secret", "other"))
    for call in (wrong.load, lambda key: asyncio.run(wrong.aload(key))):
        with pytest.raises(StorageUnavailable):
            call(KEY)
    wrong.close()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (redis_py.ConnectionError(), StorageUnavailable),
        (redis_py.TimeoutError(), StorageUnavailable),
        (redis_py.exceptions.MaxConnectionsError(), StorageUnavailable),
        (redis_py.BusyLoadingError(), StorageUnavailable),
        (redis_py.ReadOnlyError(), StorageUnavailable),
        (redis_py.OutOfMemoryError(), StorageUnavailable),
        (redis_py.exceptions.ClusterDownError("down"), StorageUnavailable),
        (redis_py.exceptions.MasterDownError("down"), StorageUnavailable),
        (redis_py.exceptions.TryAgainError("again"), StorageUnavailable),
        (redis_py.exceptions.MovedError("1 :6379"), StorageUnavailable),
        (redis_py.ResponseError("MISCONF can't save"), StorageUnavailable),
        (redis_py.ResponseError("BUSY a script"), StorageUnavailable),
        (redis_py.ResponseError("NOREPLICAS enough"), StorageUnavailable),
        (redis_py.ResponseError("-OOM too much"), StorageUnavailable),
        (redis_py.ResponseError("@user_script: 18: -OOM too much"), StorageUnavailable),
        # Before redis-py 6 only a Cluster's own client has classes for these.
        (redis_py.ResponseError("CLUSTERDOWN it is down"), StorageUnavailable),
        (redis_py.ResponseError("MASTERDOWN it is down"), StorageUnavailable),
        (redis_py.ResponseError("TRYAGAIN later"), StorageUnavailable),
        (OSError(), StorageUnavailable),
        (TimeoutError(), StorageUnavailable),
        (redis_py.ResponseError("WRONGTYPE it is a list"), StorageError),
        (redis_py.exceptions.NoPermissionError(), StorageError),
        (redis_py.DataError(), StorageError),
    ],
)
def test_each_error_of_redis_is_one_of_ours(error: Exception, kind: type[Exception]) -> None:
    assert type(translate_error(error, "save", "here")) is kind


# What redis-py before 6 and 7 has in other ways. It is run by tox (py312-redis5 and others).


def test_a_redirection_is_known_by_its_words() -> None:
    moved: Any = as_redirect(redis_py.ResponseError("MOVED 7 host:6380"))
    asked: Any = as_redirect(redis_py.ResponseError("ASK 7 :6380"))
    assert (type(moved), moved.slot_id, moved.host, moved.port) == (MovedError, 7, "host", 6380)
    assert (type(asked), asked.host, asked.port) == (AskError, "", 6380)
    for other in (moved, redis_py.ResponseError("ASKED 1 :1"), redis_py.ReadOnlyError("ASK 1 :1")):
        assert as_redirect(other) is other


def test_a_pool_that_can_only_close_all_keeps_what_is_in_use(
    server: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close_all(self: Any) -> None:
        raise AssertionError("Another thread is using one of them.")

    monkeypatch.setattr(redis_py.BlockingConnectionPool, "disconnect", close_all)
    before = connections_of(server.port)
    inner = redis_py.BlockingConnectionPool(host=HOST, port=server.port, max_connections=2)
    pool = GivenPool(inner)
    used, idle = pool.take(), pool.take()
    pool.release(idle)
    pool.close_idle()
    wait_until(lambda: connections_of(server.port) == before + 1, 60, "Idle ones stay.")
    used.send_command("PING")
    assert used.read_response() in {b"PONG", "PONG"}
    pool.release(used)
    assert inner.pool.qsize() == inner.max_connections
    inner.get_connection(*FOR).disconnect()
    used.disconnect()


def test_a_close_leaves_what_is_in_use(storage: RedisStorage, server: Process) -> None:
    before = connections_of(server.port)
    storage.save(KEY, b"data", 60)
    (pool,) = storage._sync._pools.values()
    used, idle = pool.take(), pool.take()
    pool.release(idle)
    storage.close()
    wait_until(lambda: connections_of(server.port) == before + 1, 60, "Idle ones stay.")
    used.send_command("PING")
    assert used.read_response() == b"PONG"
    used.disconnect()


def test_a_connection_that_the_server_has_closed_is_replaced(
    storage: RedisStorage, server: Process
) -> None:
    storage.append_message("room:1", b"{}", lambda: None)
    with redis_py.Redis(host=HOST, port=server.port) as other:
        other.client_kill_filter(_type="normal", skipme=True)
    # Which can't be sent twice, as nobody could tell whether the first has arrived.
    storage.append_message("room:1", b"{}", lambda: None)


def test_a_pool_that_could_not_connect_has_lost_nothing(server: Process) -> None:
    storage = RedisStorage(**on_one(server), max_connections=1, timeout=TIMEOUT)
    server.kill()
    for _ in range(2):
        with pytest.raises(StorageUnavailable) as caught:
            storage.load(KEY)
        assert "No connection available" not in str(caught.value)
    server.start()
    assert storage.load(KEY) is None
    storage.close()


# Replicas.


def test_too_few_replicas_are_unavailable(server: Process) -> None:
    storage = RedisStorage(**on_one(server), wait_replicas=1, wait_timeout=0.2, timeout=1)
    for calls in (storage.save_fenced, lambda *args: asyncio.run(storage.asave_fenced(*args))):
        start = time.monotonic()
        with pytest.raises(StorageUnavailable):
            calls(KEY, snapshot_bytes(1), 60)
        assert time.monotonic() - start > 0.15
    # A load writes nothing, so it waits for nobody.
    assert storage.load(KEY) == snapshot_bytes(1)
    storage.close()


def test_enough_replicas_have_each_write(redis_sentinels: SentinelTrio) -> None:
    storage = RedisStorage(**on_sentinels(redis_sentinels), wait_replicas=1)
    # What another test has left there would refuse an older fence.
    storage.delete(KEY)
    replica = next(s for s in redis_sentinels.servers if s is not redis_sentinels.master)
    for fence in range(1, 50):
        storage.save_fenced(KEY, snapshot_bytes(fence), 60)
        with client(replica.port) as connection:
            assert connection.get(f"{storage.prefix}{{{KEY}}}") == snapshot_bytes(fence)
    storage.close()


async def test_a_failover_loses_nothing_that_replicas_have(tmp_path: Path) -> None:
    with sentinels(tmp_path) as trio:
        storage = RedisStorage(**on_sentinels(trio), wait_replicas=1, wait_timeout=0.3, timeout=1)
        fence = 1
        await storage.asave_fenced(KEY, snapshot_bytes(fence), 600)
        storage.save_fenced(KEY, snapshot_bytes(fence), 600)
        trio.master.kill()
        deadline = time.monotonic() + 240
        seen = set()
        while time.monotonic() < deadline:
            try:
                data = await storage.aload(KEY)
            except StorageUnavailable:
                seen.add("unavailable")
                await asyncio.sleep(0.1)
                continue
            break
        # Never "not there": that would cost a state which is still there.
        assert data == snapshot_bytes(fence)
        assert seen == {"unavailable"}
        assert storage.load(KEY) == snapshot_bytes(fence)
        storage.close()


# A Cluster that changes.


@pytest.mark.parametrize("calls", CALLS)
def test_a_slot_moves_while_it_is_used(redis_cluster: Cluster, calls: Any) -> None:
    storage = RedisStorage(**on_cluster(redis_cluster))
    called = calls(storage)
    names = [f"{KEY}{number}" for number in range(3)]
    # One slot for all: the prefix is before the braces, so the key's own hash tag counts.
    slot = int(ask(redis_cluster.nodes[0].port, "CLUSTER", "KEYSLOT", f"{{{names[0]}}}"))
    called.delete(names[0])
    called.save_fenced(names[0], snapshot_bytes(1), 60)
    source = redis_cluster.owner_of(slot)
    target = next(node.port for node in redis_cluster.nodes if node.port != source)
    target_id, source_id = redis_cluster.id_of(target), redis_cluster.id_of(source)
    ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    full = f"{storage.prefix}{{{names[0]}}}"
    # Still there: the source answers.
    assert called.save_fenced(names[0], snapshot_bytes(2), 60) is Verdict.DONE
    ask(source, "MIGRATE", HOST, target, full, 0, 5000)
    # On its way: the source says ASK.
    assert called.load(names[0]) == snapshot_bytes(2)
    assert called.save_fenced(names[0], snapshot_bytes(3), 60) is Verdict.DONE
    for port in (target, source):
        ask(port, "CLUSTER", "SETSLOT", slot, "NODE", target_id)
    # Moved: the source says MOVED, once.
    for fence in (4, 5):
        assert called.save_fenced(names[0], snapshot_bytes(fence), 60) is Verdict.DONE
    assert called.load(names[0]) == snapshot_bytes(5)
    assert called.save_fenced(names[0], snapshot_bytes(1), 60) is Verdict.FENCED
    storage.close()


async def test_a_slot_moves_under_load(redis_cluster: Cluster) -> None:
    storage = RedisStorage(**on_cluster(redis_cluster))
    slot = int(ask(redis_cluster.nodes[0].port, "CLUSTER", "KEYSLOT", f"{{{KEY}}}"))
    done: list[int] = []
    stopped = asyncio.Event()

    async def load() -> None:
        fence = 1
        while not stopped.is_set():
            assert await storage.asave_fenced(KEY, snapshot_bytes(fence), 60) is Verdict.DONE
            assert await storage.aload(KEY) == snapshot_bytes(fence)
            fence += 1
            done.append(fence)

    def move() -> None:
        for _ in range(4):
            source = redis_cluster.owner_of(slot)
            target = next(node.port for node in redis_cluster.nodes if node.port != source)
            target_id = redis_cluster.id_of(target)
            ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", redis_cluster.id_of(source))
            ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
            time.sleep(0.05)
            ask(source, "MIGRATE", HOST, target, f"{storage.prefix}{{{KEY}}}", 0, 5000)
            time.sleep(0.05)
            for port in (target, source):
                ask(port, "CLUSTER", "SETSLOT", slot, "NODE", target_id)
            time.sleep(0.2)

    loading = asyncio.create_task(load())
    await asyncio.to_thread(move)
    stopped.set()
    await loading
    assert len(done) > 20
    storage.close()
