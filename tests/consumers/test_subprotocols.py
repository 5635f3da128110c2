"""The subprotocol that a connection is accepted with."""

from __future__ import annotations

from typing import Any

import pytest
from channels.testing import WebsocketCommunicator

from recovery_app import RecoveryManager
from tests.consumers.apps import COUNTERS, Counter


async def accepted_with(manager: RecoveryManager, counter: Any, *offered: str) -> str | None:
    communicator = WebsocketCommunicator(counter.as_asgi(), "/ws/", subprotocols=list(offered))
    communicator.scope["recovery"] = manager  # type: ignore[typeddict-unknown-key]
    is_connected, chosen = await communicator.connect(timeout=5)
    assert is_connected
    await communicator.disconnect(timeout=5)
    assert not isinstance(chosen, int)
    return chosen


@pytest.mark.parametrize("counter", COUNTERS)
async def test_phoenix_is_chosen_where_it_is_offered(
    manager: RecoveryManager, counter: Any
) -> None:
    assert await accepted_with(manager, counter, "phoenix", "base64url.bearer.phx.YQ") == "phoenix"
    assert await accepted_with(manager, counter, "other") is None
    assert await accepted_with(manager, counter) is None


async def test_what_the_consumer_chooses_comes_first(manager: RecoveryManager) -> None:
    class Choosing(Counter):
        async def connect(self) -> None:
            await self.accept("mine")

    assert await accepted_with(manager, Choosing, "phoenix", "mine") == "mine"
