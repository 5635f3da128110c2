"""A storage that tests can take away and give back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from recovery_app.exceptions import StorageUnavailable
from recovery_app.storages import Decision, MemoryStorage, Verdict

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

    def note_call(self) -> None:
        self.calls += 1
        self.called.set()
        if self.error is not None:
            raise self.error

    async def run(self, call: Callable[[], Result]) -> Result:
        self.note_call()
        return await super().run(call)

    async def aload(self, key: str) -> bytes | None:
        self.note_call()
        return await super().aload(key)

    async def asave_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        self.note_call()
        return await super().asave_fenced(key, data, ttl)

    async def atake_over(self, *arguments: Any, **options: Any) -> Decision:
        self.note_call()
        return await super().atake_over(*arguments, **options)

    async def next_call(self) -> None:
        """Wait until the storage is asked for something."""
        self.called.clear()
        await asyncio.wait_for(self.called.wait(), timeout=60)
