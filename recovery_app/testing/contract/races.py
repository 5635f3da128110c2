"""Contract tests of fenced steps at the same time, in threads and on one event loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import TypeVar

import pytest

from recovery_app.fencing import Decision, Verdict
from recovery_app.snapshots import Header
from recovery_app.storages import Storage
from recovery_app.testing.contract.base import KEY, ContractBase, claim_of, snapshot_bytes

Result = TypeVar("Result")
THREADS = 4
ROUNDS = 5
TAKEOVERS = 5
"""How many takeovers each thread makes."""
WAIT_SECONDS = 60


class RaceTests(ContractBase):
    """No older save wins, and no two takeovers get the same fence."""

    def test_the_newest_of_many_saves_wins(self, storage: Storage) -> None:
        self._require_atomic_fence(storage)
        for start in range(0, ROUNDS * THREADS, THREADS):
            # Falling, so that a save that isn't fenced leaves an older snapshot.
            fences = [start + THREADS - number for number in range(THREADS)]

            def save(number: int, fences: list[int] = fences) -> Verdict:
                data = snapshot_bytes(fences[number], str(fences[number]).encode(), floor=0)
                return storage.save_fenced(KEY, data, self.ttl_seconds)

            verdicts = at_once(storage, save)
            assert verdicts[0] is Verdict.DONE
            assert set(verdicts) <= {Verdict.DONE, Verdict.FENCED}
            newest = snapshot_bytes(fences[0], str(fences[0]).encode(), floor=0)
            assert storage.load(KEY) == newest, "an older save has replaced a newer one"

    def test_takeovers_in_threads_get_a_fence_each(self, storage: Storage) -> None:
        self._require_atomic_fence(storage)
        storage.save_fenced(KEY, snapshot_bytes(20), self.ttl_seconds)

        def take_over(_number: int) -> list[int]:
            decisions = [
                storage.take_over(
                    KEY, claim_of(20), self.ttl_seconds, now_us=0, newest_version=None
                )
                for _ in range(TAKEOVERS)
            ]
            return [fence_of(decision) for decision in decisions]

        fences = [fence for each in at_once(storage, take_over) for fence in each]
        assert sorted(fences) == list(range(21, 21 + THREADS * TAKEOVERS))

    def test_takeovers_on_one_event_loop_get_a_fence_each(self, storage: Storage) -> None:
        self._require_atomic_fence(storage)
        count = THREADS * TAKEOVERS

        async def take_over_at_once() -> list[Decision]:
            await storage.asave_fenced(KEY, snapshot_bytes(20), self.ttl_seconds)
            steps = (
                storage.atake_over(
                    KEY, claim_of(20), self.ttl_seconds, now_us=0, newest_version=None
                )
                for _ in range(count)
            )
            return await asyncio.gather(*steps)

        fences = map(fence_of, asyncio.run(take_over_at_once()))
        assert sorted(fences) == list(range(21, 21 + count))

    def _require_atomic_fence(self, storage: Storage) -> None:
        if not storage.supports_atomic_fence:
            pytest.skip("supports_atomic_fence is false")


def fence_of(decision: Decision) -> int:
    """Return the fence in the bytes of a decision that is done."""
    assert decision.verdict is Verdict.DONE
    assert decision.data is not None
    return Header.read(decision.data).fence


def at_once(storage: Storage, call: Callable[[int], Result]) -> list[Result]:
    """Make a call with each number in a thread of its own, all at the same time."""
    together = Barrier(THREADS, timeout=WAIT_SECONDS)

    def run(number: int) -> Result:
        together.wait()
        try:
            return storage.on_thread(lambda: call(number))
        finally:
            storage.leave_thread()

    with ThreadPoolExecutor(THREADS) as threads, frequent_switches():
        return list(threads.map(run, range(THREADS)))


@contextmanager
def frequent_switches() -> Iterator[None]:
    """Let Python switch between threads as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
