"""How much of our own runs for one event and one join: the coroutines that are begun."""

from __future__ import annotations

import inspect
import sys
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from channels.generic.websocket import AsyncJsonWebsocketConsumer

import recovery_app
from recovery_app import RecoveryManager
from recovery_app._core import spans
from recovery_app.consumers import RecoveryConsumerMixin
from tests.consumers.wire import Client, connected, recovery_of
from tests.core.support import make_manager

PACKAGE = str(Path(recovery_app.__file__).parent)
MOST_FOR_AN_EVENT = 14
MOST_FOR_A_JOIN = 16


class Page(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """A consumer as the README has it."""

    recovery_fields = ("count",)

    async def mount(self, topic: str, params: dict[str, Any]) -> None:
        self.count = 0

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        self.count += 1
        return {"count": self.count}


@contextmanager
def tracing() -> Iterator[Tally[str]]:
    """Count the coroutines of the package that begin within the block."""
    begun: Tally[str] = Tally()
    # Kept alive, so that no two have the same identity; a coroutine that goes on is called too.
    seen: dict[int, FrameType] = {}

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        code = frame.f_code
        is_ours = code.co_flags & inspect.CO_COROUTINE and code.co_filename.startswith(PACKAGE)
        if event == "call" and is_ours and id(frame) not in seen:
            seen[id(frame)] = frame
            begun[code.co_name] += 1

    sys.setprofile(profile)
    try:
        yield begun
    finally:
        sys.setprofile(None)


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecoveryManager]:
    # Another test of this process may have had spans recorded, which take coroutines of their own.
    monkeypatch.setattr(spans.tracing, "tracer", None)
    with make_manager() as manager:
        yield manager


async def push(client: Client, seq: int) -> None:
    assert (await client.push("add", {"_seq": seq, "_ack": seq - 1}))["status"] == "ok"


async def test_an_event_is_led_by_few_coroutines(manager: RecoveryManager) -> None:
    async with connected(Page, manager) as client:
        await client.join()
        await push(client, 1)
        with tracing() as begun:
            await push(client, 2)
            # What was running before is known by now, and isn't begun anew.
            begun.clear()
            await push(client, 3)
    assert begun["asave_fenced"] == 1
    assert sum(begun.values()) <= MOST_FOR_AN_EVENT, sorted(begun)


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_join_is_led_by_few_coroutines(manager: RecoveryManager, is_first: bool) -> None:
    async with connected(Page, manager) as client:
        token = recovery_of(await client.join())["token"]
    options = {} if is_first else {"token": token}
    async with connected(Page, manager) as client:
        with tracing() as begun:
            reply = recovery_of(await client.join(**options))
    assert reply["outcome"] == ("new" if is_first else "recovered")
    assert sum(begun.values()) <= MOST_FOR_A_JOIN, sorted(begun)
