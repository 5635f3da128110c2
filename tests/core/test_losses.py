"""Why snapshots are gone: the storage is asked once for many pages, and never in vain."""

from __future__ import annotations

import asyncio

from recovery_app._core.losses import INTERVAL_SECONDS, LossReport
from recovery_app.storages import MemoryStorage
from tests.clock import FakeClock


class Talkative(MemoryStorage):
    """A storage that counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.error: Exception | None = None
        self.answering = asyncio.Event()

    async def aexplain_losses(self) -> str:
        self.asked += 1
        await self.answering.wait()
        if self.error:
            raise self.error
        return f"answer {self.asked}"


async def test_all_who_ask_meanwhile_and_soon_after_get_one_answer() -> None:
    storage, clock = Talkative(), FakeClock()
    report = LossReport(storage, clock)
    first, *others = (asyncio.create_task(report.explain()) for _ in range(3))
    await asyncio.sleep(0)
    first.cancel()
    storage.answering.set()
    assert await asyncio.gather(*others) == ["answer 1"] * 2
    clock.advance(seconds=INTERVAL_SECONDS - 1)
    assert await report.explain() == "answer 1"
    clock.advance(seconds=1)
    assert await report.explain() == "answer 2"


async def test_a_storage_that_fails_says_nothing_and_fails_no_join() -> None:
    storage, clock = Talkative(), FakeClock()
    storage.answering.set()
    storage.error = RuntimeError("a bug")
    report = LossReport(storage, clock)
    assert [await report.explain(), await report.explain()] == ["", ""]
    assert storage.asked == 1


async def test_an_answer_is_not_given_once_the_storage_fails() -> None:
    storage, clock = Talkative(), FakeClock()
    storage.answering.set()
    report = LossReport(storage, clock)
    assert await report.explain() == "answer 1"
    clock.advance(seconds=INTERVAL_SECONDS)
    storage.error = RuntimeError("an outage")
    assert await report.explain() == ""


def test_each_event_loop_asks_for_itself() -> None:
    """An answer under way on a loop that was ended is nobody's any more."""
    storage, clock = Talkative(), FakeClock()
    report = LossReport(storage, clock)

    async def leave() -> None:
        asyncio.create_task(report.explain())  # noqa: RUF006 - it is to be left
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def ask() -> str:
        storage.answering = asyncio.Event()
        storage.answering.set()
        return await report.explain()

    asyncio.run(leave())
    clock.advance(seconds=INTERVAL_SECONDS)
    assert asyncio.run(ask()) == "answer 2"


async def test_a_storage_of_one_process_says_so() -> None:
    storage = MemoryStorage()
    assert await storage.aexplain_losses() == (
        "MemoryStorage keeps only the snapshots of this process"
    )
