"""The storage's own explanation of why snapshots are gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from recovery_app.storages import Storage

INTERVAL_SECONDS = 30.0
"""How long an answer is used again, so that a storm of lost pages asks once."""


class LossReport:
    """Asks the storage why snapshots are gone; simultaneous callers share the answer."""

    __slots__ = ("_answer", "_asked_at", "_asking", "_clock", "_storage")

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._clock = clock
        self._answer = ""
        self._asked_at: float | None = None
        self._asking: asyncio.Task[None] | None = None

    async def explain(self) -> str:
        """Return the storage's answer, which may be some seconds old; never raise."""
        now = self._clock()
        if self._asked_at is not None and now - self._asked_at < INTERVAL_SECONDS:
            return self._answer
        asking, loop = self._asking, asyncio.get_running_loop()
        if asking is None or asking.get_loop() is not loop:
            asking = self._asking = loop.create_task(self._ask())
        # A page that leaves meanwhile takes the answer from nobody else.
        await asyncio.shield(asking)
        return self._answer

    async def _ask(self) -> None:
        try:
            self._answer = await self._storage.aexplain_losses()
        except Exception:
            # The answer is a help for people, and an outage is told elsewhere.
            self._answer = ""
        finally:
            self._asked_at = self._clock()
            self._asking = None
