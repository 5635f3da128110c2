"""Own a storage that tests can take away and give back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from recovery_app.exceptions import StorageUnavailable
from recovery_app.storages import MemoryStorage

Result = TypeVar("Result")


class FlakyStorage(MemoryStorage):
    """A memory storage whose asynchronous calls fail with ``error`` while it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.calls = 0
        self.called = asyncio.Event()

    def stop(self) -> None:
        self.error = StorageUnavailable("FlakyStorage", "a test")

    def start(self) -> None:
        self.error = None

    async def run(self, call: Callable[[], Result]) -> Result:
        self.calls += 1
        self.called.set()
        if self.error is not None:
            raise self.error
        return await super().run(call)

    async def next_call(self) -> None:
        """Wait until the storage is asked for something."""
        self.called.clear()
        await asyncio.wait_for(self.called.wait(), timeout=5)
