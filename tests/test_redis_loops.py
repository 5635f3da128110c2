"""One storage in many event loops, threads and processes: nothing leaks."""

from __future__ import annotations

import asyncio
import threading

import pytest

from recovery_app.storages import RedisStorage
from tests.core.redis_storages import on_one
from tests.core.support import run_script
from tests.support.processes import HOST, Process, wait_until
from tests.support.redis import connections_of

KEY = "0123456789abcdef"
NAME = "loops"

HEAD = """
import asyncio, gc, os, sys, threading
import django
django.setup()
from recovery_app.storages import RedisStorage
storage = RedisStorage(url=sys.argv[1], client_name="loops")

async def use(times=3):
    for _ in range(times):
        await asyncio.gather(*(storage.asave(str(n), b"data", 60) for n in range(20)))
        assert await storage.aload("1") == b"data"
"""


@pytest.fixture
def url(redis_server: Process) -> str:
    return f"redis://{HOST}:{redis_server.port}/0"


def none_stays(server: Process) -> None:
    """Wait until the server has seen the last connection of these tests close."""
    wait_until(lambda: not connections_of(server.port, NAME), 5, "Connections stay.")


def test_each_loop_closes_its_connections(url: str, redis_server: Process) -> None:
    run_script(
        HEAD
        + """
for _ in range(3):
    asyncio.run(use())
    assert not [loop for loop in storage._async._clients if not loop.is_closed()]
gc.collect()
assert storage.load("1") == b"data"
storage.close()
gc.collect()
""",
        url,
    )
    none_stays(redis_server)


def test_loops_on_several_threads(url: str) -> None:
    run_script(
        HEAD
        + """
failed = []
def work():
    try:
        asyncio.run(use(20))
        storage.load("1")
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=work) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not failed, failed
storage.close()
gc.collect()
""",
        url,
    )


def test_a_call_may_be_made_before_its_loop_runs(redis_server: Process) -> None:
    storage = RedisStorage(**on_one(redis_server))
    for number in range(3):
        asyncio.run(storage.asave(KEY, b"%d" % number, 60))
        assert asyncio.run(storage.aload(KEY)) == b"%d" % number
    storage.close()


def test_loops_side_by_side_have_each_their_own(redis_server: Process) -> None:
    storage = RedisStorage(**on_one(redis_server))
    loops = [asyncio.new_event_loop() for _ in range(2)]
    for number in range(3):
        for loop in loops:
            loop.run_until_complete(storage.asave(KEY, b"%d" % number, 60))
            assert loop.run_until_complete(storage.aload(KEY)) == b"%d" % number
    for loop in loops:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    storage.close()


def test_uvloop_and_the_loops_of_asgiref(url: str) -> None:
    run_script(
        HEAD
        + """
from asgiref.sync import async_to_sync
async_to_sync(use)()
async_to_sync(use)()
try:
    import uvloop
except ImportError:
    pass
else:
    uvloop.run(use())
storage.close()
gc.collect()
""",
        url,
    )


def test_a_forked_child_has_connections_of_its_own(url: str) -> None:
    run_script(
        HEAD
        + """
storage.save("parent", b"data", 60)
def child_main():
    asyncio.run(use())
    assert storage.load("parent") == b"data"
    storage.close()
    gc.collect()

async def with_fork():
    await use()
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        await use()
        return
    # A thread has no running loop of its own, as a worker of a pre-forking server has none.
    worker = threading.Thread(target=child_main)
    worker.start()
    worker.join()
    os._exit(0 if storage.load("parent") == b"data" else 1)
asyncio.run(with_fork())
storage.close()
gc.collect()
""",
        url,
    )


def test_a_child_may_be_forked_while_another_thread_holds_a_lock(url: str) -> None:
    run_script(
        HEAD
        + """
import signal
storage.load("1")
with storage._async._lock, storage._sync._lock:
    child = os.fork()
    if not child:
        signal.alarm(30)
        asyncio.run(use())
        os._exit(0 if storage.load("1") == b"data" else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
storage.close()
gc.collect()
""",
        url,
    )


async def test_a_closed_storage_lets_go_of_connections(redis_server: Process) -> None:
    storage = RedisStorage(**on_one(redis_server), client_name=NAME)
    await asyncio.gather(*(storage.asave(str(number), b"data", 60) for number in range(600)))
    storage.save(KEY, b"data", 60)
    assert 1 < connections_of(redis_server.port, NAME) <= 5
    await asyncio.to_thread(storage.close)
    await asyncio.to_thread(none_stays, redis_server)
    assert await storage.aload(KEY) == b"data"
    storage.close()
    await asyncio.to_thread(none_stays, redis_server)


def test_threads_share_the_connections(redis_server: Process) -> None:
    storage = RedisStorage(**on_one(redis_server), max_connections=3)
    storage.save(KEY, b"data", 60)
    found: list[bytes | None] = []
    threads = [threading.Thread(target=lambda: found.append(storage.load(KEY))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"data"] * 20
    storage.close()
