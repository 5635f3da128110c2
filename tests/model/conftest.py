"""Make the fixtures of the model: nothing in it may wait for a thread, or write a log."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import channels.consumer
import channels.generic.websocket
import pytest

from recovery_app.consumers import db as care
from tests.support.node import require_node


async def nothing() -> None:
    """There is no database here to take care of."""


@pytest.fixture(autouse=True)
def still_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    require_node("phoenix")
    for module in (care, channels.consumer, channels.generic.websocket):
        monkeypatch.setattr(module, "aclose_old_connections", nothing)
    logging.disable()
    yield
    logging.disable(logging.NOTSET)
