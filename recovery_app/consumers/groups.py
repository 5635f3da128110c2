"""A topic's channel: receiving messages of groups, and leaving the groups at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol

from channels.layers import InMemoryChannelLayer

logger = logging.getLogger("recovery_app")

Message = dict[str, Any]
RETRY_SECONDS = 1


class HasChannel(Protocol):
    """The part of a consumer that Channels' documentation calls its channel."""

    channel_layer: Any


async def receive_with_retry(receive: Callable[[], Awaitable[Message]]) -> Message:
    """Return the next message of a channel layer, and retry after failures.

    A failing layer doesn't end the connection, and is logged once.
    """
    failed = False
    while True:
        try:
            return await receive()
        except Exception:
            if _was_cancelled():
                # The layer failed while it ended: nobody waits for a message any more.
                raise asyncio.CancelledError from None
            if not failed:
                logger.exception("A channel layer failed.", extra={"event": "layer_failed"})
            failed = True
            await asyncio.sleep(RETRY_SECONDS)


def _was_cancelled() -> bool:
    """Return whether the running task was cancelled, which Python 3.11 and later can tell."""
    count = getattr(asyncio.current_task(), "cancelling", int)
    return bool(count() > 0)


class GroupTrackingLayer:
    """A channel layer that remembers the groups to which it has added channels."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self.keeps_no_names = isinstance(layer, InMemoryChannelLayer)
        self._joined: set[tuple[str, str]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel to a group, and remember it."""
        await self._layer.group_add(group, channel)
        self._joined.add((group, channel))

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group."""
        self._joined.discard((group, channel))
        await self._layer.group_discard(group, channel)

    async def discard_all(self) -> None:
        """Remove all channels from the groups that they are still in, as far as the layer can."""
        failure: Exception | None = None
        for group, channel in list(self._joined):
            try:
                await self.group_discard(group, channel)
            except Exception as error:
                failure = error
        if failure is not None:
            raise failure


class TopicChannel:
    """The channel of one topic, which posts the messages that it receives one by one.

    It starts to receive when its name is first read: until then nobody can send to it, and for
    some layers each receiver is work.
    """

    def __init__(
        self,
        origin: HasChannel,
        post: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]],
        handle: Callable[[Message], Awaitable[None]],
    ) -> None:
        layer = origin.channel_layer
        self._layer = None if layer is None else GroupTrackingLayer(layer)
        self._post = post
        self._handle = handle
        self._name = ""
        self._loop = asyncio.get_running_loop()
        self._context = None if layer is None else copy_context()
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Choose a new channel name."""
        if self._layer is not None:
            self._name = await self._layer.new_channel()

    def attach(self, consumer: HasChannel) -> None:
        """Set the channel on a copy of the consumer, which reads the name when it needs it."""
        if self._layer is not None:
            consumer.channel_layer = self._layer
            vars(consumer).pop("channel_name", None)

    def listen(self) -> str:
        """Return the name and start to receive; may be called from any thread."""
        if self._name:
            # Not in the context of a hook: what that has set isn't meant for every message.
            self._loop.call_soon_threadsafe(self._start, context=self._context)
        return self._name

    async def close(self) -> None:
        """Leave all groups and stop receiving."""
        self.cancel()
        if self._layer is not None:
            await self._layer.discard_all()

    def cancel(self) -> None:
        """Stop receiving."""
        self._post = self._handle = _ignore
        if self._layer is None or not self._name or self._closed:
            return
        if self._pump is None and not self._layer.keeps_no_names:
            # Some layers release a name only when its receiver is cancelled.
            self._start()
        self._closed = True
        if self._pump is not None:
            # After its start, as a task that has not begun would receive nothing.
            self._loop.call_soon(self._pump.cancel)
            # The task keeps the error that it ends with, and with it this object.
            self._pump = None

    def _start(self) -> None:
        if self._layer is not None and self._pump is None and not self._closed:
            self._pump = asyncio.create_task(self._receive(self._layer))

    async def _receive(self, layer: GroupTrackingLayer) -> None:
        receive = partial(layer.receive, self._name)
        while True:
            message = await receive_with_retry(receive)
            await self._post(partial(self._handle, message))


async def _ignore(_posted: object) -> None:
    """Ignore what is posted after the end."""
