"""A storage whose calls fail, take their time, or land without anybody knowing."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from recovery_app.exceptions import StorageUnavailable
from recovery_app.storages import Entry, MemoryStorage, Storage
from recovery_app.storages.messages import Messages

Result = TypeVar("Result")

SLOW, BLIND = "slow", "blind"
FAULTS = (SLOW, BLIND)
"""What may become of one call: it takes its time, or it lands and is told as failed."""


@dataclass(eq=False)
class Pending:
    """One call on its way: it has not landed; ``answer`` is done where nobody waits for it."""

    call: Callable[[], Any]
    caller: asyncio.Task[Any] | None
    answer: asyncio.Future[Any]

    def land(self) -> None:
        """Do it, and tell whoever waits."""
        try:
            result = self.call()
        except Exception as error:
            if not self.answer.done():
                self.answer.set_exception(error)
        else:
            if not self.answer.done():
                self.answer.set_result(result)

    def fail(self) -> None:
        """Tell whoever waits that it failed, whatever becomes of it."""
        if not self.answer.done():
            self.answer.set_exception(unavailable())


@dataclass
class Cellar:
    """What all nodes store in: it outlives them, and so do the calls that are on their way."""

    store: MemoryStorage
    is_up: bool = True
    faults: list[str] = field(default_factory=list)
    """What becomes of the next calls, in order."""
    pending: list[Pending] = field(default_factory=list)

    log: list[int] = field(default_factory=list)
    """The ids of the messages that can be read in the group, in order, without failing ones."""
    is_trimmed: bool = False
    """Whether messages were dropped that a page may lack."""

    expired: set[str] = field(default_factory=set)
    """What was asked for and had expired."""

    async def ask(self, call: Callable[[], Result]) -> Result:
        """Make one call, or let it come to what faults there are."""
        caller = asyncio.current_task()
        self.land_before(caller)
        if not self.is_up:
            raise unavailable()
        fault = self.faults.pop(0) if self.faults else ""
        if fault == BLIND:
            call()
            raise unavailable()
        if fault == SLOW:
            answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
            self.pending.append(Pending(call, caller, answer))
            return await answer
        return call()

    def append(self, group: str, data: bytes, published: Callable[[], None]) -> None:
        """Publish a message."""
        message = json.loads(data)
        if not message["fails"]:
            self.log.append(message["id"])
        self.store.append_message(group, data, published)

    def trim(self) -> None:
        """Drop all messages of the log."""
        self.is_trimmed = True
        self.store._messages.cleanup(math.inf)

    def land_before(self, caller: asyncio.Task[Any] | None) -> None:
        """Land what this caller asked for earlier: storages keep one connection's order."""
        for each in [each for each in self.pending if each.caller is caller]:
            self.land(each)

    def land(self, each: Pending) -> None:
        self.pending.remove(each)
        each.land()

    def lose(self, each: Pending) -> None:
        """Let a call fail that never lands."""
        self.pending.remove(each)
        each.fail()

    def heal(self) -> None:
        """Let all calls land and be answered from now on."""
        self.is_up = True
        self.faults.clear()
        while self.pending:
            self.land(self.pending[0])


class Door(Storage):
    """One node's way to the cellar. Nothing else runs meanwhile, so each call is one step."""

    supports_atomic_fence = True
    supports_groups = True

    def __init__(self, cellar: Cellar) -> None:
        self._cellar = cellar

    def save(self, key: str, data: bytes, ttl: float) -> None:
        self._cellar.store.save(key, data, ttl)

    def load(self, key: str) -> bytes | None:
        data = self._cellar.store.load(key)
        if data is None and self._cellar.store.look_up(key) is not None:
            self._cellar.expired.add(key)
        return data

    def delete(self, key: str) -> bool:
        return self._cellar.store.delete(key)

    def look_up(self, key: str) -> Entry | None:
        return self._cellar.store.look_up(key)

    def append_message(self, group: str, data: bytes, published: Callable[[], None]) -> None:
        self._cellar.append(group, data, published)

    def newest_position(self, group: str) -> str:
        return self._cellar.store.newest_position(group)

    def read_messages(self, group: str, after: str, limit: int) -> Messages:
        return self._cellar.store.read_messages(group, after, limit)

    async def run(self, call: Callable[[], Result]) -> Result:
        return await self._cellar.ask(call)


def unavailable() -> StorageUnavailable:
    return StorageUnavailable("The cellar", "a call")
