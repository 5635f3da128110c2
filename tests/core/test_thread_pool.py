"""The threads of blocking storages close their connections, whatever they do when they end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from recovery_app.storages import thread_pool
from recovery_app.storages.thread_pool import ThreadPool

LIMIT = 60


async def test_each_thread_makes_the_last_call_also_one_that_is_busy() -> None:
    left: list[int] = []
    pool = ThreadPool(4, at_end=lambda: left.append(threading.get_ident()))
    together = threading.Barrier(3)
    began, may_end = threading.Event(), threading.Event()

    def meet() -> int:
        together.wait(LIMIT)
        return threading.get_ident()

    def stay() -> int:
        began.set()
        assert may_end.wait(LIMIT)
        return threading.get_ident()

    idents = set(await asyncio.gather(*(pool.run(meet) for _ in range(3))))
    staying = asyncio.create_task(pool.run(stay))
    assert await asyncio.to_thread(began.wait, LIMIT)
    pool.close()
    may_end.set()
    # It may be a fourth, where none of the three was back yet.
    idents.add(await staying)
    threads = [each for each in threading.enumerate() if each.ident in idents]
    for thread in threads:
        await asyncio.to_thread(thread.join, LIMIT)
    assert idents <= set(left)


async def test_no_thread_waits_for_one_that_has_made_no_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thread_pool, "END_SECONDS", 2 * LIMIT)
    left = threading.Event()
    pool = ThreadPool(2, at_end=left.set)
    ident = await pool.run(threading.get_ident)
    assert pool._running is not None
    executor = pool._running.executor
    both, may_end, began = threading.Barrier(2), threading.Event(), threading.Event()

    def stay_on_the_other_thread() -> None:
        both.wait(LIMIT)
        if threading.get_ident() != ident:
            began.set()
            may_end.wait(3 * LIMIT)

    for _ in range(2):
        executor.submit(stay_on_the_other_thread)
    assert await asyncio.to_thread(began.wait, LIMIT)
    (caller,) = (each for each in threading.enumerate() if each.ident == ident)
    pool.close()
    await asyncio.to_thread(caller.join, LIMIT)
    may_end.set()
    assert not caller.is_alive()
    assert left.is_set()
