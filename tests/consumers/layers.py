"""A channel layer for the tests that lets go of names as the pub/sub one of Redis does."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from channels.layers import BaseChannelLayer


class SubscribingLayer(BaseChannelLayer):
    """Subscribe for a new name at once, and end that when its receiver is cancelled."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.subscribed: set[str] = set()
        self._numbers = itertools.count()

    async def new_channel(self, prefix: str = "specific") -> str:
        """Subscribe."""
        name = f"{prefix}!{next(self._numbers)}"
        self.subscribed.add(name)
        return name

    async def receive(self, channel: str) -> Any:
        """Hear nothing until cancelled."""
        try:
            await asyncio.Event().wait()
        finally:
            self.subscribed.discard(channel)
