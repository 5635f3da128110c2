"""A topic's channel: what groups send it, and how it leaves them when it ends."""

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
    """Return the next message of a channel layer, however often it fails until then.

    A layer that is away takes no connection down with it, and is logged once.
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
    """Return whether the running task was cancelled, which is known from Python 3.11 on."""
    count = getattr(asyncio.current_task(), "cancelling", int)
    return bool(count() > 0)


class GroupTrackingLayer:
    """A channel layer that remembers which groups it was asked to add channels to."""

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
        """Remove every channel from the groups that it is still in, as far as the layer can."""
        failure: Exception | None = None
        for group, channel in list(self._joined):
            try:
                await self.group_discard(group, channel)
            except Exception as error:
                failure = error
        if failure is not None:
            raise failure


class TopicChannel:
    """The channel of one topic: posts what it receives, one message after the other.

    It receives once its name was asked for: nobody can send to a name that nobody knows,
    and for some layers each receiver is work.
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
        """Take a channel name of its own."""
        if self._layer is not None:
            self._name = await self._layer.new_channel()

    def attach(self, consumer: HasChannel) -> None:
        """Put the channel into a copy of the consumer, which asks for the name itself."""
        if self._layer is not None:
            consumer.channel_layer = self._layer
            vars(consumer).pop("channel_name", None)

    def listen(self) -> str:
        """Return the name, and start to receive; may be called from any thread."""
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
    """Take what comes after the end."""
