"""Be one of several processes that save the same keys: ``python -m tests.support.redis_racer``."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

import django

from recovery_app.fencing import Verdict
from recovery_app.storages import RedisStorage
from recovery_app.testing.contract.base import snapshot_bytes

TTL = 600
FIRST = 2**53


class Racer:
    """Save with timestamps of its own, and note the newest that was let in for each key."""

    def __init__(self, options: dict[str, Any], number: int, processes: int) -> None:
        # Timestamps far ahead of the storage's clock would be refused.
        self.storage = RedisStorage(**options, clock=lambda: FIRST / 1_000_000)
        self.number = number
        self.processes = processes
        self.won: dict[str, int] = {}

    async def run(self, saves: int, keys: int) -> None:
        """Race, some saves late, beyond what a double tells apart."""
        fence = FIRST + self.number
        for turn in range(saves // keys):
            fence += self.processes * random.choice((1, 1, 2, 5))
            late = fence - self.processes * random.randrange(0, 40)
            late = max(late, FIRST + self.number)
            await asyncio.gather(*(self._save(f"race{key}", late) for key in range(keys)))
            if turn % 7 == 0:
                data = snapshot_bytes(fence, b"%d" % fence)
                self._note("race0", fence, self.storage.save_fenced("race0", data, TTL))

    async def _save(self, key: str, fence: int) -> None:
        data = snapshot_bytes(fence, b"%d" % fence)
        self._note(key, fence, await self.storage.asave_fenced(key, data, TTL))

    def _note(self, key: str, fence: int, verdict: Verdict) -> None:
        if verdict is Verdict.DONE:
            self.won[key] = max(self.won.get(key, 0), fence)
        else:
            assert verdict is Verdict.FENCED, verdict


def main() -> None:
    """Race as the first argument says, in JSON, and print what was won."""
    django.setup()
    options, number, processes, saves, keys = json.loads(sys.argv[1])
    racer = Racer(options, number, processes)
    asyncio.run(racer.run(saves, keys))
    racer.storage.close()
    print(json.dumps(racer.won))


if __name__ == "__main__":
    main()
