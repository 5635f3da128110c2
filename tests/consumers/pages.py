"""A page for the tests: it keeps its newest token, and what it shows is checked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from recovery_app import RecoveryManager
from tests.consumers.apps import Counter
from tests.consumers.wire import Client, connected, recovery_of

PATIENCE_SECONDS = 120


class Page:
    """What a page knows: the newest token that it was told, and the count that it shows."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.token: str | None = None
        self.count = 0

    async def join(self, token: str | None = None) -> str:
        """Join and give the outcome; told no token, a page keeps the one that it has."""
        reply = await self.client.join(token=token)
        part = recovery_of(reply)
        self.token = part["token"] or token
        self.count = reply["response"].get("count", 0)
        outcome: str = part["outcome"]
        return outcome

    async def add(self) -> None:
        """Send an event and see it answered."""
        await self.client.cast("add")
        await self.is_answered()

    async def is_answered(self) -> None:
        """See the answer to an event: whatever the storage does, the page goes on."""
        frame = await self.client.hear()
        if frame["event"] == "recovery:token":
            self.token = frame["payload"]["token"]
            frame = await self.client.hear()
        self.count += 1
        assert frame["payload"]["status"] == "ok"
        assert frame["payload"]["response"]["count"] == self.count


@asynccontextmanager
async def opened(manager: RecoveryManager, counter: Any = Counter) -> AsyncIterator[Page]:
    """Open a page on a consumer; each test ends with its connection still up."""
    async with connected(counter, manager) as wire:
        yield Page(wire)
        assert await wire.hears_nothing()


async def comes_back(manager: RecoveryManager, token: str | None, counter: Any = Counter) -> Any:
    """Return the outcome and the count of a new connection that shows the token."""
    async with opened(manager, counter) as page:
        outcome = await page.join(token)
        return outcome, page.count


class Crowd:
    """Many pages, each of which sends one event after the other."""

    def __init__(self, pages: list[Page]) -> None:
        self.pages = pages
        self.tokens = [page.token for page in pages]
        self._over = asyncio.Event()
        self._going_on = [asyncio.create_task(self._go_on(page)) for page in pages]

    async def has_gone_on(self, events: int) -> None:
        """Wait until so many more events were answered."""
        enough = self._seen() + events
        await eventually(lambda: self._seen() >= enough)

    async def is_safe(self, manager: RecoveryManager) -> None:
        """See that each page's next event makes its state safe, under the token that it had."""
        self._over.set()
        await asyncio.gather(*self._going_on)
        await asyncio.gather(*(page.add() for page in self.pages))
        back = await asyncio.gather(*(comes_back(manager, page.token) for page in self.pages))
        assert back == [("recovered", page.count) for page in self.pages]
        assert [page.token for page in self.pages] == self.tokens

    def _seen(self) -> int:
        return sum(page.count for page in self.pages)

    async def _go_on(self, page: Page) -> None:
        while not self._over.is_set():
            await page.add()


@asynccontextmanager
async def crowded(manager: RecoveryManager, size: int = 50) -> AsyncIterator[Crowd]:
    """Open pages that go on all the time."""
    async with AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(opened(manager)) for _ in range(size)]
        assert await asyncio.gather(*(page.join() for page in pages)) == ["new"] * size
        yield Crowd(pages)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what happens on a server, and let the event loop work meanwhile."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
