"""Own a page for the tests: it keeps its newest token, and what it shows is checked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from recovery_app import RecoveryManager
from tests.consumers.apps import Counter
from tests.consumers.wire import Client, connected, recovery_of

PATIENCE_SECONDS = 30


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
    """Give the outcome and the count of a new connection that shows the token."""
    async with opened(manager, counter) as page:
        outcome = await page.join(token)
        return outcome, page.count


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what happens on a server, and let the event loop work meanwhile."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
