"""Own a topic's channel: what groups send it, and its leaving of them when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

logger = logging.getLogger("recovery_app")

Message = dict[str, Any]
RETRY_SECONDS = 1


class HasChannel(Protocol):
    """The part of a consumer that Channels' documentation calls its channel."""

    channel_layer: Any
    channel_name: str


class GroupKeeper:
    """A channel layer that remembers which groups it was asked to add channels to."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._joined: set[tuple[str, str]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel to a group, and remember it."""
        await self._layer.group_add(group, channel)
        self._joined.add((group, channel))

    async def group_discard(self, group: str, channel: str) -> None:
        """Take a channel out of a group."""
        self._joined.discard((group, channel))
        await self._layer.group_discard(group, channel)

    async def discard_all(self) -> None:
        """Take out of its groups every channel that is still in one."""
        for group, channel in list(self._joined):
            await self.group_discard(group, channel)


class TopicChannel:
    """The channel of one topic: posts what it receives, one message after the other."""

    def __init__(
        self,
        origin: HasChannel,
        post: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]],
        handle: Callable[[Message], Awaitable[None]],
    ) -> None:
        layer = origin.channel_layer
        self._layer = None if layer is None else GroupKeeper(layer)
        self._post = post
        self._handle = handle
        self._name = ""
        self._pump: asyncio.Task[None] | None = None

    async def open(self, consumer: HasChannel) -> None:
        """Take a channel name of its own, and start to receive."""
        if self._layer is not None:
            self._name = await self._layer.new_channel()
            self.equip(consumer)
            self._pump = asyncio.create_task(self._receive(self._layer))

    def equip(self, consumer: HasChannel) -> None:
        """Put the channel into a copy of the consumer."""
        if self._name:
            consumer.channel_layer = self._layer
            consumer.channel_name = self._name

    async def close(self) -> None:
        """Leave all groups and receive nothing more."""
        self.cancel()
        if self._layer is not None:
            await self._layer.discard_all()

    def cancel(self) -> None:
        """Receive nothing more."""
        if self._pump is not None:
            self._pump.cancel()

    async def _receive(self, layer: GroupKeeper) -> None:
        while True:
            try:
                message = await layer.receive(self._name)
            except Exception:
                # It ends no connection, so nothing else would ever listen again.
                logger.exception("A channel layer failed.", extra={"event": "layer_failed"})
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await self._post(partial(self._handle, message))
