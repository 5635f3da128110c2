"""One of the two processes that ``metrics.py`` compares: it works when it is told to."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from benchmarks.application import STATE, configure
from benchmarks.sockets import Socket

CALLS = 200
AT_ONCE = 100
TOPIC = "lv:bench"


class Works:
    """All kinds of work, each of `CALLS` calls on the manager of the settings."""

    def __init__(self, manager: Any, name: str) -> None:
        self._manager = manager
        self._tokens = [manager.create_token(f"{name} {number}") for number in range(AT_ONCE)]
        self._page: Socket | None = None
        self._token: str | None = None

    async def prepare(self) -> None:
        """Store what is recovered later."""
        for token in self._tokens:
            await self._manager.asave(token, STATE)

    async def create_token(self) -> None:
        """Issue tokens."""
        for _ in range(CALLS):
            self._manager.create_token("socket")

    async def save(self) -> None:
        """Save, for sync code."""
        for _ in range(CALLS):
            self._manager.save(self._tokens[0], STATE)

    async def recover(self) -> None:
        """Recover, for sync code."""
        for _ in range(CALLS):
            self._manager.recover(self._tokens[0])

    async def asave(self) -> None:
        """Save."""
        for _ in range(CALLS):
            await self._manager.asave(self._tokens[0], STATE)

    async def arecover(self) -> None:
        """Recover."""
        for _ in range(CALLS):
            await self._manager.arecover(self._tokens[0])

    async def atouch(self) -> None:
        """Show that a connection lives."""
        for _ in range(CALLS):
            await self._manager.atouch(self._tokens[0])

    async def atake_over(self) -> None:
        """Take over, and show the new token the next time."""
        for _ in range(CALLS):
            self._tokens[0] = (await self._manager.atake_over(self._tokens[0])).token

    async def asave_at_once(self) -> None:
        """Save for a hundred pages at once."""
        for _ in range(CALLS // AT_ONCE):
            await asyncio.gather(*(self._manager.asave(token, STATE) for token in self._tokens))

    async def atake_over_at_once(self) -> None:
        """Take over for a hundred pages at once."""
        for _ in range(CALLS // AT_ONCE):
            taken = await asyncio.gather(*map(self._manager.atake_over, self._tokens))
            self._tokens = [each.token for each in taken]

    async def event(self) -> None:
        """Send events from a page, each of which is saved before its reply."""
        if self._page is None:
            self._page = Socket()
            await self._page.open()
            await self._page.push(TOPIC, "phx_join")
        for _ in range(CALLS):
            await self._page.push(TOPIC, "count")

    async def join(self) -> None:
        """Come back with the token that was given the last time."""
        for _ in range(CALLS):
            page = Socket()
            await page.open()
            payload = {"_recovery": self._token} if self._token else {}
            response = await page.push(TOPIC, "phx_join", payload)
            self._token = response["_recovery"]["token"]
            await page.close()


async def serve(name: str) -> None:
    """Do the works that the lines name, and print the CPU seconds of one call."""
    # Only now: the settings are there.
    from recovery_app import get_manager  # noqa: PLC0415

    works = Works(get_manager(), name)
    await works.prepare()
    # No work goes on while a line is waited for.
    for line in sys.stdin:
        start = time.process_time()
        await getattr(works, line.strip())()
        print((time.process_time() - start) / CALLS, flush=True)


def main() -> None:
    """Count, or don't."""
    is_counted = "--counted" in sys.argv
    configure(with_app=is_counted)
    asyncio.run(serve("counted" if is_counted else "bare"))


if __name__ == "__main__":
    main()
