"""Pipelining: one round trip for a turn of the loop, and no harm to other callers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import pytest_asyncio

from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.fencing import Verdict
from recovery_app.storages import RedisStorage
from recovery_app.storages.redis import pipelining
from recovery_app.testing.contract.base import claim_of, snapshot_bytes
from tests.core.redis_storages import on_cluster, on_one
from tests.core.support import make_manager
from tests.support.processes import HOST, Process
from tests.support.proxy import Tripmeter
from tests.support.redis import Cluster, ask, calls_of, client, connections_of

NAME = "pipelining"
PAUSE_MS = 1000
PATIENCE_SECONDS = 120
KEYS = [f"{number:016x}" for number in range(100)]


@pytest.fixture
def server(redis_server: Process) -> Process:
    ask(redis_server.port, "FLUSHALL")
    return redis_server


@pytest_asyncio.fixture
async def storage(server: Process) -> AsyncIterator[RedisStorage]:
    storage = RedisStorage(**on_one(server), client_name=NAME)
    await storage.asave_fenced("warm", snapshot_bytes(1), 60)
    yield storage
    storage.close()


@pytest.fixture
def counted(server: Process, storage: RedisStorage) -> Process:
    ask(server.port, "CONFIG", "RESETSTAT")
    return server


async def test_what_is_asked_in_one_turn_travels_as_one_command(
    storage: RedisStorage, counted: Process
) -> None:
    saves = [storage.asave_fenced(key, snapshot_bytes(1), 60) for key in KEYS]
    assert await asyncio.gather(*saves) == [Verdict.DONE] * 100
    assert await asyncio.gather(*map(storage.aload, KEYS)) == [snapshot_bytes(1)] * 100
    calls = calls_of(counted.port)
    assert calls["evalsha"] == 1
    assert calls["mget"] == 1
    # What a script calls is counted too: one GETRANGE, EXISTS and SET for each key.
    assert calls["set"] == 100
    assert "get" not in calls


@pytest_asyncio.fixture
async def line(server: Process) -> AsyncIterator[Tripmeter]:
    async with Tripmeter(server.port) as line:
        yield line


def sent_on(line: Tripmeter) -> list[list[tuple[str, int]]]:
    """Return the commands of each round trip since the last call, with their numbers of keys."""
    trips = [list(commands_in(bytes(sent))) for sent in line.trips]
    line.trips.clear()
    return trips


def commands_in(sent: bytes) -> Iterator[tuple[str, int]]:
    """Parse what was sent: lists of strings, each behind its length."""
    while sent:
        count, _, sent = sent.removeprefix(b"*").partition(b"\r\n")
        words = []
        for _ in range(int(count)):
            length, _, sent = sent.removeprefix(b"$").partition(b"\r\n")
            words.append(sent[: int(length)])
            sent = sent[int(length) + 2 :]
        name = words[0].decode()
        yield name, int(words[2]) if name.startswith("EVAL") else len(words) - 1


async def test_each_call_is_one_round_trip_and_so_are_a_hundred(line: Tripmeter) -> None:
    storage = RedisStorage(url=f"redis://{HOST}:{line.port}/0")
    await storage.asave_fenced("warm", snapshot_bytes(1), 60)
    manager = make_manager(storage=storage)
    tokens = [manager.create_token(f"socket {number}") for number in range(100)]
    sent_on(line)
    steps: list[Callable[[str], Awaitable[Any]]] = [
        lambda token: manager.asave(token, {"count": 1}),
        manager.atouch,
        manager.atake_over,
        manager.arevoke,
    ]
    for step in steps:
        await step(tokens[0])
        await asyncio.gather(*map(step, tokens[1:]))
        assert sent_on(line) == [[("EVALSHA", 1)], [("EVALSHA", 99)]]
        if step is manager.atouch:
            assert await manager.arecover(tokens[0]) == {"count": 1}
            await asyncio.gather(*map(manager.arecover, tokens))
            assert sent_on(line) == [[("GET", 1)], [("MGET", 100)]]
    manager.close()


async def test_calls_of_each_kind_are_one_round_trip_together(line: Tripmeter) -> None:
    storage = RedisStorage(url=f"redis://{HOST}:{line.port}/0")
    await storage.asave_fenced("warm", snapshot_bytes(1), 60)
    sent_on(line)
    done = await asyncio.gather(
        storage.aload("warm"),
        storage.aload("a"),
        storage.asave_fenced("a", snapshot_bytes(2), 60),
        storage.arevoke("b", claim_of(1), 60, now_us=9),
        storage.asave("c", b"data", 60),
        storage.adelete("warm"),
        storage.alook_up("warm"),
    )
    assert done[:2] == [snapshot_bytes(1), None]
    together = [("MGET", 3), ("EVALSHA", 2), ("SET", 4), ("DEL", 1)]
    # What looks an entry up asks a second time: until when it lives.
    assert sent_on(line) == [together, [("PTTL", 1)]]
    storage.close()


async def test_a_script_that_is_gone_costs_one_round_trip_more(
    line: Tripmeter, server: Process
) -> None:
    storage = RedisStorage(url=f"redis://{HOST}:{line.port}/0", wait_replicas=1, wait_timeout=0.01)
    await storage.aload("warm")
    for keys in (KEYS[:1], KEYS):
        ask(server.port, "SCRIPT", "FLUSH")
        for commands in (["EVALSHA", "EVAL"], ["EVALSHA"]):
            sent_on(line)
            steps = [storage.asave_fenced(key, snapshot_bytes(1), 60) for key in keys]
            done = await asyncio.gather(*steps, return_exceptions=True)
            # There is no replica, and the wait for one travels along.
            assert {type(each) for each in done} == {StorageUnavailable}
            asked = [[(name, len(keys)), ("WAIT", 2)] for name in commands]
            assert sent_on(line) == asked
    storage.close()


async def test_a_blocking_call_is_one_round_trip(line: Tripmeter) -> None:
    storage = RedisStorage(url=f"redis://{HOST}:{line.port}/0")
    await asyncio.to_thread(storage.load, "warm")
    sent_on(line)
    await asyncio.to_thread(storage.save_fenced, "warm", snapshot_bytes(1), 60)
    await asyncio.to_thread(storage.load, "warm")
    assert sent_on(line) == [[("EVALSHA", 1)], [("GET", 1)]]
    storage.close()


async def test_different_calls_go_together(storage: RedisStorage, counted: Process) -> None:
    with client(counted.port) as watcher, watcher.monitor() as monitor:
        done: list[Any] = await asyncio.gather(
            storage.asave_fenced("a", snapshot_bytes(2), 60),
            storage.asave("b", b"data", 60),
            storage.aload("a"),
            storage.aload("c"),
            storage.adelete("warm"),
            storage.atouch_fenced("c", claim_of(1), 60),
            storage.atake_over("a", claim_of(2), 60, now_us=9, newest_version=None),
        )
        seen: list[str] = []
        while len(seen) < 4:
            command = monitor.next_command()
            if command["client_type"] != "lua":
                seen.append(command["command"].split()[0])
    assert sorted(seen) == ["DEL", "EVALSHA", "MGET", "SET"]
    assert done[:6] == [Verdict.DONE, None, None, None, True, Verdict.NOT_FOUND]
    assert done[6].data == snapshot_bytes(9, floor=2)


async def test_a_lone_call_is_a_plain_command(storage: RedisStorage, counted: Process) -> None:
    assert await storage.aload("warm") == snapshot_bytes(1)
    calls = calls_of(counted.port)
    assert calls["get"] == 1
    assert "mget" not in calls


async def test_pipelines_have_a_limit(
    storage: RedisStorage, counted: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelining, "MAX_REQUESTS", 30)
    await asyncio.gather(*map(storage.aload, KEYS))
    assert calls_of(counted.port)["mget"] == 4
    monkeypatch.setattr(pipelining, "MAX_REQUESTS", 1000)
    big = b"x" * 400_000
    await asyncio.gather(*(storage.asave_fenced(k, snapshot_bytes(1, big), 60) for k in KEYS[:10]))
    assert calls_of(counted.port)["evalsha"] == 5
    assert connections_of(counted.port, NAME) <= 4


async def test_one_that_fails_fails_alone(storage: RedisStorage, counted: Process) -> None:
    ask(counted.port, "LPUSH", "golivekit:recovery:{list}", "x")
    steps = [storage.asave_fenced(key, snapshot_bytes(1), 60) for key in (KEYS[0], "list", KEYS[1])]
    done = await asyncio.gather(*steps, return_exceptions=True)
    assert (done[0], done[2]) == (Verdict.DONE, Verdict.DONE)
    assert type(done[1]) is StorageError
    with pytest.raises(StorageError):
        await storage.aload("list")


async def test_who_gives_up_takes_nobody_along(storage: RedisStorage, server: Process) -> None:
    for given_up in (0, 1, 2):
        keys = KEYS[:3]
        tasks = [
            asyncio.create_task(storage.asave_fenced(key, snapshot_bytes(5), 60)) for key in keys
        ]
        for _ in range(given_up + 1):
            await asyncio.sleep(0)
        tasks[given_up].cancel()
        done: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(done.pop(given_up), asyncio.CancelledError)
        assert done == [Verdict.DONE] * 2
    assert await storage.aload(KEYS[0]) == snapshot_bytes(5)


async def test_who_gives_up_alone_leaves_a_storage_that_works(
    storage: RedisStorage, server: Process
) -> None:
    for turns in range(6):
        task = asyncio.create_task(storage.aload("warm"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert await storage.aload("warm") == snapshot_bytes(1)
    assert connections_of(server.port, NAME) <= 4


async def test_a_listing_gets_a_connection_however_many_calls_want_one(server: Process) -> None:
    storage = RedisStorage(**on_one(server), lanes=1)
    await storage.asave("warm", snapshot_bytes(1), 60)
    over = asyncio.Event()

    async def load() -> None:
        while not over.is_set():
            await storage.aload("warm")

    for loads in (1, 20):
        over.clear()
        loading = [asyncio.create_task(load()) for _ in range(loads)]
        for turns in range(6):
            await asyncio.sleep(0)
            given_up = asyncio.create_task(storage.acount())
            for _ in range(turns):
                await asyncio.sleep(0)
            given_up.cancel()
            assert await asyncio.wait_for(storage.acount(), PATIENCE_SECONDS) == 1
        over.set()
        await asyncio.gather(*loading)
    storage.close()


async def test_the_end_of_a_wait_is_not_mistaken_for_a_cancellation(server: Process) -> None:
    storage = RedisStorage(**on_one(server), timeout=0.3)
    await storage.asave("warm", snapshot_bytes(1), 60)
    with client(server.port) as pausing:
        pausing.client_pause(PAUSE_MS, all=True)
        with pytest.raises(StorageUnavailable):
            await storage.aload("warm")
    # The server answers nobody until the pause is over.
    await asyncio.to_thread(ask, server.port, "PING")
    assert await storage.aload("warm") == snapshot_bytes(1)
    storage.close()


async def test_a_time_out_mixes_up_nobody(storage: RedisStorage, server: Process) -> None:
    await storage.asave("other", b"other", 60)
    client = await storage._async.current()
    (pipeliner,) = client._pipeliners.values()

    async def fall_silent() -> None:
        # As when the server hasn't answered in time on another connection.
        pipeliner._report(TimeoutError())

    # The first request is answered before it is sent; the second comes after that.
    asked = [storage.aload("warm"), fall_silent(), storage.aload("other")]
    done = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), PATIENCE_SECONDS)
    assert type(done[0]) is StorageUnavailable
    assert done[2] == b"other"
    assert await storage.aload("warm") == snapshot_bytes(1)


async def test_a_cluster_gets_a_pipeline_for_each_node(redis_cluster: Cluster) -> None:
    ports = [node.port for node in redis_cluster.nodes]
    for port in ports:
        ask(port, "FLUSHALL")
    storage = RedisStorage(**on_cluster(redis_cluster), client_name=NAME)
    await asyncio.gather(*(storage.asave_fenced(k, snapshot_bytes(1), 60) for k in KEYS))
    with ExitStack() as stack:
        watchers = [stack.enter_context(client(port)) for port in ports]
        for watcher in watchers:
            watcher.config_resetstat()
        assert await asyncio.gather(*map(storage.aload, KEYS)) == [snapshot_bytes(1)] * 100
        # One pipeline at each, and the command that asks.
        assert [each.info("stats")["total_reads_processed"] for each in watchers] == [2] * 3
    counts = [calls_of(port)["get"] for port in ports]
    assert sum(counts) == 100
    assert min(counts) > 10
    assert all(0 < connections_of(port, NAME) < 15 for port in ports)
    storage.close()
